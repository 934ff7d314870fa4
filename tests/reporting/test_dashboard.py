"""`rucksac dashboard`: what a really started server tells of runs, whom it answers, and what it lets them do."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse

import pytest

import rucksac
from rucksac.cli import main
from rucksac.reporting.view import view
from rucksac.training.folder import RunFolder
from tests.documents import ROOT
from tests.reporting.test_report import HOSTILE, SETTINGS, altered, hostile
from tests.runs import COMMAND, rows

LONG = "--steps 1000000 --warmup 50 --batch-size 32 --hidden 8 --threads 1 --compile never --log-every 50".split()
LONG += "--eval-every 400 --eval-episodes 2 --quiet".split()


class Served:
    """A dashboard in a process of its own, and what a browser on this machine would ask of it."""

    def __init__(self, process):
        self.process, self.address = process, process.stdout.readline().strip()
        self.port = urllib.parse.urlparse(self.address).port
        self.token = self.address.partition("#token=")[2]
        self.version, self.mark, self.cursors = 0, "", {}

    def ask(self, path, method="GET", body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host="Host" in headers)
            given = {"Content_Length": str(len(body))} if body is not None else {}
            for name, value in {**given, **headers}.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read().decode()

    def news(self, *chosen):
        """Return what is new since the last time, as the page asks for it."""
        asked = [("version", self.version), ("mark", self.mark)]
        for name in chosen:
            asked += [("run", name), ("cursor", self.cursors.get(name, ""))]
        status, _, text = self.ask("/news?" + urllib.parse.urlencode(asked))
        assert status == 200, text
        told = json.loads(text, parse_constant=pytest.fail)
        self.version, self.mark = told["version"], told["mark"]
        self.cursors |= {run["run"]: run["cursor"] for run in told["runs"]}
        return told

    def act(self, action, name, **headers):
        return self.ask(f"/{action}", "POST", name.encode(), **{"Authorization": f"Bearer {self.token}", **headers})

    def state(self, name):
        self.version = 0
        return {row["run"]: row["state"] for row in self.news()["rows"]}.get(name)


@contextlib.contextmanager
def served(folder, *flags):
    words = [*COMMAND, "dashboard", folder, "--port", "0", *flags]
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
        finally:
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest, errors) == (0, "", "")


@contextlib.contextmanager
def training(run):
    """A run under way, until it is told to stop or the test is over."""
    with subprocess.Popen(
        [*COMMAND, "train", "Pendulum-v1", *LONG, "--run", run], stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: (run / "evaluations.csv").exists() and rows(run, "episodes"))  # every curve has begun
            yield process
        finally:
            process.kill()


def until(condition):
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dashboard")
    rucksac.train("Pendulum-v1", recipe="sac", seed=1, run=folder / "one", **{**SETTINGS, "steps": 200})
    return folder / "one"


@pytest.fixture
def runs(trained, tmp_path):
    folder = tmp_path / "runs"
    for name in ("one", "seeds/seed1", "seeds/seed2"):
        shutil.copytree(trained, folder / name)
    return folder


def test_what_is_told_of_chosen_runs_is_what_the_report_shows(runs):
    with served(runs) as server:
        told = server.news("seeds/seed1", "seeds/seed2")
    report = view(runs / "seeds", runs / "one")
    assert told["order"] == [row["run"] for row in told["rows"]] == ["one", "seeds/seed1", "seeds/seed2"]
    for run, shown in zip(told["runs"], report["runs"], strict=False):
        assert {name: value for name, value in run.items() if name not in ("made", "cursor")} == shown
    assert told["together"] == {"groups": report["groups"], "differences": []}


def test_the_newest_film_is_shown_and_no_other_file(runs):
    first, second = b"\0\0\0\x18ftypmp42 first", b"\0\0\0\x18ftypmp42 second"
    films = runs / "one/videos"
    films.mkdir()
    (films / "step-000000100.mp4").write_bytes(first)
    (runs / "seeds/seed1/videos").mkdir()
    (runs / "seeds/seed1/videos/step-000000100.mp4").symlink_to(films / "step-000000100.mp4")
    with served(runs) as server:
        told = server.news("one", "seeds/seed1", "seeds/seed2")["runs"]
        assert [run["video"] and run["video"]["file"] for run in told] == ["step-000000100.mp4", None, None]
        assert server.ask("/" + told[0]["video"]["url"])[2].encode() == first
        (films / "step-000000200.mp4").write_bytes(second)
        os.utime(films / "step-000000200.mp4", (2**31, 2**31))
        (run,) = server.news("one")["runs"]
        assert run["video"]["file"] == "step-000000200.mp4"
        status, headers, body = server.ask("/" + run["video"]["url"])
        assert (status, headers["Content-Type"], body.encode()) == (200, "video/mp4", second)
        for name in ("seeds/seed1", "seeds/seed2", "", "..", "one/videos/step-000000100.mp4", str(runs / "one")):
            assert server.ask(f"/film?run={name}")[0] == 404, name


def test_only_what_is_new_travels(runs):
    with served(runs) as server:
        first = server.news("one")
        again = server.news("one")
        assert [len(first["rows"]), first["runs"][0]["metrics"]["steps"]] == [3, [50, 100, 150, 200]]
        assert (again["rows"], again["runs"], "order" in again, "together" in again) == ([], [], False, False)
        row = (runs / "one/metrics.csv").read_text().splitlines()[-1].split(",")
        with (runs / "one/metrics.csv").open("a") as file:
            file.write(",".join(["250", *row[1:]]) + "\n300,1")  # and one that is being written
        (run,) = server.news("one")["runs"]
        assert run["metrics"]["steps"] == [250]
        assert run["evaluations"] == {"steps": [], "minutes": [], "return": []}
        assert "settings" not in run
        altered(runs / "one", lambda saved: saved["settings"].update(lr=0.25))
        told = server.news("one", "seeds/seed1")
        assert told["runs"][0]["metrics"]["steps"] == [50, 100, 150, 200, 250]  # another run, from its beginning
        assert told["together"]["differences"] == ["lr"]


def test_runs_that_appear_move_and_break_are_rows(runs):
    with served(runs) as server:
        server.news("one")
        (runs / "seeds/seed1").rename(runs / "elsewhere")
        (runs / "one/config.json").write_text('{"environment": "Pend')
        with (runs / "seeds/seed2/evaluations.csv").open("a") as file:
            file.write("300,0,0,high,200\n")
        told = server.news("one", "seeds/seed1")
        assert told["order"] == ["elsewhere", "one", "seeds/seed2"]
        problems = {row["run"]: row["problem"] for row in told["rows"]}
        assert problems["elsewhere"] is None
        assert "config.json cannot be read" in problems["one"]
        assert "evaluations.csv is damaged" in problems["seeds/seed2"]
        assert [(run["run"], run["state"]) for run in told["runs"]] == [("one", "broken")]
        shutil.rmtree(runs)
        gone = server.news("one")
        assert (gone["order"], gone["problem"]) == ([], f"{runs} is no folder; give the one that holds the runs")
        runs.mkdir()
        assert server.news()["problem"] is None


def test_a_hundred_runs_are_read_once_and_without_pytorch(trained, tmp_path):
    for number in range(100):
        shutil.copytree(trained, tmp_path / f"run{number}", ignore=shutil.ignore_patterns("replay", "checkpoints"))
    script = """
import builtins, pathlib, sys
from rucksac.reporting.live import Live
opened, original = [], pathlib.Path.open
pathlib.Path.open = lambda path, *rest, **named: (opened.append(path.name), original(path, *rest, **named))[1]
live = Live(pathlib.Path(sys.argv[1]))
version = live.news(0, "", [])["version"]
assert opened.count("config.json") == 100
opened.clear()
live.news(version, "", [])
print([each for each in opened if each != "lock"], "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "[] False\n"


OUTSIDE = ["..", "../secret", "/etc", "link", "seeds/../../secret", "%2e%2e/secret", "one/../../secret", "one\0"]


def test_nothing_outside_the_folder_is_reached(runs, trained):
    secret = runs.parent / "secret"
    shutil.copytree(trained, secret)
    altered(secret, lambda saved: saved.update(environment="Secret-v0"))
    (runs / "link").symlink_to(secret)
    (runs / "seeds/seed1/warnings.txt").symlink_to(secret / "config.json")
    before = {path: path.stat().st_mtime_ns for path in secret.rglob("*")}
    with served(runs, "--allow-control") as server:
        told = server.news(*OUTSIDE, str(secret), "seeds/seed1")
        assert {run["run"]: "is a link" in run["problem"] for run in told["runs"]} == {
            "link": True,
            "seeds/seed1": True,
        }
        assert "Secret" not in json.dumps(told)
        for path in (
            "/../secret/config.json",
            "/%2e%2e/secret/config.json",
            "//etc/passwd",
            f"{secret}/config.json",
            "/one",
        ):
            assert server.ask(path)[0] == 404, path
        for name in [*OUTSIDE, str(secret)]:
            assert server.act("resume", name)[0] == 409, name
    assert {path: path.stat().st_mtime_ns for path in secret.rglob("*")} == before


def test_other_pages_and_other_names_of_this_machine_are_refused(runs):
    with served(runs, "--allow-control") as server:
        own = f"127.0.0.1:{server.port}"
        for headers in (
            {"Host": "evil.example"},
            {"Host": f"evil.example:{server.port}"},
            {"Host": "127.0.0.1:1"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "same-site"},
        ):
            for path in ("/", "/news?version=0&mark=", "/film?run=one"):
                assert server.ask(path, **headers)[0] == 403, headers
            assert server.act("resume", "one", **headers)[0] == 403, headers
        for headers in (
            {"Host": f"localhost:{server.port}"},
            {"Origin": f"http://{own}", "Sec_Fetch_Site": "same-origin"},
        ):
            status, answered, _ = server.ask("/", **headers)
            assert status == 200
            assert not [name for name in answered if name.lower().startswith("access-control")]
        assert server.ask("/", "OPTIONS", Origin="http://evil.example")[0] == 501


def test_the_page_may_load_nothing_from_elsewhere(runs):
    hostile(runs / "one")
    with served(runs) as server:
        status, headers, text = server.ask("/")
        told = server.ask("/news?version=0&mark=&run=<img src=x onerror=injected=1>&cursor=".replace(" ", "%20"))
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'; media-src blob:; frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert HOSTILE not in text
    assert (told[0], told[1]["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert json.loads(told[2])["runs"][0]["environment"] == HOSTILE  # textContent takes it; the browser test looks


def test_requests_that_are_too_large_or_make_no_sense_are_refused(runs):
    with served(runs, "--allow-control") as server:
        assert server.act("stop", "x" * 5_000)[0] == 413
        assert server.act("stop", "one", Content_Length="many")[0] == 411
        assert server.act("stop", "one", Authorization=f"Bearer {server.token}ü".encode())[0] == 403
        assert server.act("remove", "one")[0] == 404
        assert server.ask("/" + "x" * 70_000)[0] == 414
        assert server.ask("/", X="x" * 70_000)[0] == 431
        for query in ("", "version=x&mark=", "version=0"):
            assert server.ask(f"/news?{query}")[0] == 400
        for cursor in ("~", "a~b~c~d", "~~~", "x" * 2_000):
            assert server.ask(f"/news?version=0&mark=&run=one&cursor={cursor}")[0] == 200
        assert server.state("one") == "finished"


def test_without_the_flag_nothing_is_written_or_done(runs):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    with served(runs) as server:
        assert server.token == ""
        server.news("one", "seeds/seed1")
        for path in ("/stop", "/resume", "/", "/news"):
            assert server.ask(path, "POST", b"one", Authorization="Bearer ")[0] == 405
        for method in ("PUT", "DELETE", "PATCH"):
            assert server.ask("/one", method)[0] == 501
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


@pytest.mark.long
def test_a_run_stops_as_by_ctrl_c_and_goes_on(tmp_path):
    run = tmp_path / "runs/live"
    with training(run) as process, served(tmp_path / "runs", "--allow-control") as server:
        first = server.news("live")["runs"][0]["metrics"]["steps"]
        later = until(lambda: server.news("live")["runs"])[0]["metrics"]["steps"]
        assert all(step > first[-1] for step in later)
        for token in ("", "wrong", server.token[:-1]):
            status, _, said = server.act("stop", "live", Authorization=f"Bearer {token}")
            assert (status, "token" in said) == (403, True)
        assert server.act("resume", "live")[0] == 409
        os.kill(process.pid, signal.SIGSTOP)  # it cannot answer yet, as if saving took long
        assert server.act("stop", "live")[0] == 200
        status, _, said = server.act("stop", "live")
        assert (status, "is saving" in said) == (409, True)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(timeout=60) == 130
        assert json.loads((run / "summary.json").read_text())["finished"] is False
        assert server.state("live") == "stopped"
        assert server.act("stop", "live")[0] == 409
        assert server.act("resume", "live")[0] == 200
        child = until(RunFolder(run).occupant)
        assert os.getsid(child) == child  # Ctrl-C and the end of this terminal are not for it
        assert server.act("resume", "live")[0] == 409
        done = len(rows(run, "metrics"))
        until(lambda: len(rows(run, "metrics")) > done)
    assert RunFolder(run).occupant() == child  # the dashboard is gone, the run goes on
    os.kill(child, signal.SIGINT)
    until(lambda: RunFolder(run).occupant() is None)


def test_a_run_that_cannot_go_on_says_why(runs):
    altered(runs / "one", lambda saved: saved["settings"].update(steps=400))
    for file in (runs / "one/checkpoints").rglob("*.json"):
        file.write_text("{}")
    with served(runs, "--allow-control") as server:
        assert server.state("one") == "stopped"
        assert server.act("resume", "one")[0] == 200
        said = until(lambda: [row["said"] for row in server.news()["rows"] if row["said"]])
        assert said[0].startswith("rucksac: ")


def test_a_process_whose_number_another_has_now_is_left_alone(runs):
    holder = "import sys, time; from pathlib import Path; from rucksac.training.folder import RunFolder\n"
    holder += "with RunFolder(Path(sys.argv[1])).alone():\n print('held', flush=True); time.sleep(600)"
    with (
        subprocess.Popen([sys.executable, "-c", holder, runs / "one"], stdout=subprocess.PIPE) as process,
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other,
        served(runs, "--allow-control") as server,
    ):
        try:
            assert process.stdout.readline() == b"held\n"
            for number in (other.pid, 0):
                (runs / "one/lock").write_text(str(number))
                status, _, said = server.act("stop", "one")
                assert (status, "is not to be found here" in said) == (409, True)
            assert other.poll() is None
            assert process.poll() is None
        finally:
            process.kill()
            other.kill()


@pytest.mark.parametrize(
    ("words", "says"),
    [(["nowhere"], "nowhere is no folder"), ([".", "--port", "70000"], "--port is 70000, but must be a number from 0")],
)
def test_what_cannot_be_served_is_said_in_one_sentence(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["dashboard", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(tmp_path, capsys):
    with served(tmp_path) as server:
        assert main(["dashboard", str(tmp_path), "--port", str(server.port)]) == 2
        assert f"port {server.port} cannot be had (Address already in use)" in capsys.readouterr().err


@pytest.fixture(scope="module")
def looked_at(trained, tmp_path_factory):
    """What Chromium finds on the dashboard of a run under way, two seeds, a hostile and a broken run."""
    runs = tmp_path_factory.mktemp("browser") / "runs"
    for name in ("seeds/seed1", "seeds/seed2", "odd", "broken"):
        shutil.copytree(trained, runs / name)
    hostile(runs / "odd")
    (runs / "broken/config.json").write_text("{")
    with training(runs / "live"), served(runs, "--allow-control") as server:
        words = ["node", ROOT / "tests/reporting/dashboard.mjs", ROOT / ".browser", server.address]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
        server.act("stop", "live")
        until(lambda: RunFolder(runs / "live").occupant() is None)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "origin": server.address.partition("#")[0]}


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
class TestInChromium:
    def test_nothing_else_is_requested_and_nothing_complained_of(self, looked_at):
        assert looked_at["console"] == []
        assert all(each.startswith(looked_at["origin"]) for each in looked_at["requests"])
        assert looked_at["address"] == looked_at["origin"]  # the token is out of it

    def test_curves_grow_without_a_reload_under_the_eyes_of_a_person(self, looked_at):
        assert all("live ends at" in each for each in looked_at["labels"])
        first, second, third = looked_at["points"]
        assert 1 <= first < second < third
        assert looked_at["kept"] == ["the beginning", "here"]
        assert "config.json cannot be read" in looked_at["texts"]

    def test_the_list_is_searched_and_runs_are_stopped_and_resumed_by_keyboard(self, looked_at):
        assert [each.strip() for each in looked_at["sifted"]] == ["seeds/seed1", "seeds/seed2"]
        assert looked_at["controls"] == 1
        assert looked_at["focus"] == "Resume"

    @pytest.mark.parametrize("name", ["wide-light", "wide-dark", "phone-light", "phone-dark"])
    def test_what_people_see(self, looked_at, name):
        found = looked_at["views"][name]
        assert (found["violations"], found["overflow"], found["injected"]) == ([], 0, None)
        assert found["judged"] > 20
        assert found["charts"] == 10
