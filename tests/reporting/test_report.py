"""`rucksac report`: everything a run folder says is in the page, and nothing a run folder says can act in it."""

import csv
import json
import shlex
import shutil
import subprocess
from html.parser import HTMLParser

import gymnasium
import numpy as np
import pytest

import rucksac
from rucksac.cli import main
from rucksac.commands.parsing import parse
from rucksac.commands.training import Train
from rucksac.reporting.page import page
from rucksac.reporting.view import MOST_POINTS, view
from rucksac.stats import interquartile_mean, mean_interval
from rucksac.training.estimates import at_starts, play
from rucksac.training.folder import RunFolder
from rucksac.training.overview import evaluations, glance
from tests.documents import ROOT
from tests.runs import rows

SETTINGS = {"warmup": 50, "batch_size": 32, "hidden": (8,), "threads": 1, "compile": "never"}
SETTINGS |= {"eval_every": 100, "eval_episodes": 2, "log_every": 50, "steps": 400}
HOSTILE = "</script><img src=x onerror='injected=1'><b>&amp;\u2028<!--<script>"


class Outline(HTMLParser):
    """What elements a page has, and the text of its scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for seed in (1, 2, 3):
        run = folder / f"seeds/seed{seed}"
        rucksac.train("Pendulum-v1", recipe="sac", seed=seed, run=run, video_every=4 if seed == 1 else 0, **SETTINGS)
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    shutil.copytree(trained / "seeds", tmp_path / "seeds")
    return tmp_path


def altered(run, change):
    saved = json.loads((run / "config.json").read_text())
    change(saved)
    (run / "config.json").write_text(json.dumps(saved))


def hostile(run):
    """Put markup wherever a run folder has text; return the folder, whose own name is markup too."""
    (run / "warnings.txt").write_text(HOSTILE)
    altered(run, lambda saved: saved.update(environment=HOSTILE, versions={HOSTILE: HOSTILE}))
    altered(run, lambda saved: saved["settings"]["env_args"].update({HOSTILE: HOSTILE}))
    return run.rename(run.with_name("<img src=x onerror=injected=1>"))


def data_of(text):
    return json.loads(Outline(text).scripts[0])


def test_the_page_holds_what_the_logs_say_and_asks_for_nothing(runs, capsys):
    one = runs / "seeds/seed1"
    assert main(["report", str(one), "-o", str(runs / "new/r.html"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    text = (runs / "new/r.html").read_text(encoding="utf-8")
    shown = data_of(text)
    assert told == {"report": str(runs / "new/r.html"), **shown}
    (run,) = shown["runs"]
    curve, seen = evaluations(one), glance(one)
    assert run["evaluations"]["steps"] == curve.steps == [100, 200, 300, 400]
    assert run["evaluations"]["return"] == pytest.approx(curve.returns, rel=1e-6)
    assert (run["best"], run["last"], run["state"]) == (seen.best, seen.last, "finished")
    assert run["returns"] == pytest.approx([float(each["return"]) for each in rows(one, "evaluations")[-2:]], rel=1e-6)
    metrics = rows(one, "metrics")
    assert run["metrics"]["alpha"] == pytest.approx([float(each["alpha"]) for each in metrics], rel=1e-6)
    assert run["metrics"]["td_error"][-1] == pytest.approx(
        float(metrics[-1]["target_q"]) - float(metrics[-1]["q"]), rel=1e-4
    )
    grads, seconds = ([float(each[name]) for each in metrics[-2:]] for name in ("grad_steps", "wall_seconds"))
    assert run["metrics"]["speed"][-1] == pytest.approx((grads[1] - grads[0]) / (seconds[1] - seconds[0]), rel=1e-4)
    assert run["metrics"]["minutes"][-1] == pytest.approx(seconds[1] / 60.0, rel=1e-6)
    seconds = json.loads((one / "summary.json").read_text())["wall_seconds"]
    assert run["phases"]["update"] == pytest.approx(seconds["update"] / sum(seconds.values()), abs=1e-4)
    assert run["video"]["url"].startswith("data:video/mp4;base64,AAAA")
    outline = Outline(text)
    assert not [each for each in outline.elements if {"src", "href", "srcset", "onerror", "onclick"} & each[1].keys()]
    policy = next(each["content"] for tag, each in outline.elements if each.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert ("html", {"lang": "en"}) in outline.elements
    names = [each["id"] for _, each in outline.elements if "id" in each]
    assert len(names) == len(set(names))


def test_a_folder_of_seeds_is_one_group_with_an_interval(runs):
    shown = view(runs / "seeds", runs / "seeds/seed2")
    assert [run["seed"] for run in shown["runs"]] == [1, 2, 3]  # each once
    (group,) = shown["groups"]
    values = np.array([evaluations(runs / f"seeds/seed{seed}").returns[-1] for seed in (1, 2, 3)])
    assert group["mean"][-1] == pytest.approx(values.mean(), rel=1e-6)
    assert group["iqm"][-1] == pytest.approx(float(interquartile_mean(values)), rel=1e-6)
    assert [group["low"][-1], group["high"][-1]] == pytest.approx(mean_interval(values), rel=1e-6)
    assert shown["differences"] == []


def test_settings_in_which_runs_differ_are_named(runs):
    altered(runs / "seeds/seed2", lambda saved: saved["settings"].update(lr=0.25, seed=99, log_every=7))
    assert view(runs / "seeds")["differences"] == ["lr"]


def test_the_command_gives_the_settings_again(runs):
    (run,) = view(runs / "seeds/seed3")["runs"]
    _, _, *words = shlex.split(run["command"])
    again = parse("train", Train, words)
    assert again.env == "Pendulum-v1"
    assert again.settings.to_json() == RunFolder(runs / "seeds/seed3").read_config()["settings"]


def test_episodes_are_played_on_request_and_show_what_the_critics_expected(runs, capsys):
    one, output = runs / "seeds/seed1", runs / "r.html"
    assert main(["report", str(one), "-o", str(output), "--play", "2", "--json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run == data_of(output.read_text(encoding="utf-8"))["runs"][0]
    expected = at_starts(play(rucksac.load(one), gymnasium.make("Pendulum-v1"), 2))
    assert run["estimates"]["estimated"] == pytest.approx(expected.estimated)
    assert run["estimates"]["obtained"] == pytest.approx(expected.obtained)
    assert view(one)["runs"][0]["estimates"] is None
    altered(one, lambda saved: saved.update(environment=None))
    (run,) = view(one, play=2)["runs"]
    assert run["estimates"] == {"problem": "the environment was made by a function", "estimated": [], "obtained": []}
    assert main(["report", str(one), "-o", str(output), "--play", "-1"]) == 2
    assert "--play is -1, but must be from 0" in capsys.readouterr().err


def test_markup_in_a_run_stays_text(runs):
    run = hostile(runs / "seeds/seed1")
    text, clean = page(view(run)), page(view(runs / "seeds/seed2"))
    assert data_of(text)["runs"][0]["environment"] == HOSTILE
    assert data_of(text)["runs"][0]["warnings"] == HOSTILE
    assert Outline(text).elements == Outline(clean).elements  # not one element more


def test_a_broken_run_is_told_and_does_not_hide_the_others(runs):
    (runs / "seeds/seed1/config.json").write_text('{"environment": "Pend')
    with (runs / "seeds/seed2/metrics.csv").open("a") as file:
        file.write("500,1,nonsense\n")
    shown = view(runs / "seeds")
    assert [run["state"] for run in shown["runs"]] == ["broken", "broken", "finished"]
    assert "config.json" in shown["runs"][0]["problem"]
    assert "metrics.csv is damaged" in shown["runs"][1]["problem"]
    assert data_of(page(shown)) == shown
    (runs / "seeds/seed1/config.json").unlink()
    given = [runs / f"seeds/seed{seed}" for seed in (1, 3)]
    assert [run["state"] for run in view(*given)["runs"]] == ["broken", "finished"]


def test_a_row_that_is_being_written_and_values_that_are_not_finite_do_no_harm(runs):
    run = runs / "seeds/seed1"
    lines = (run / "metrics.csv").read_text().splitlines()
    fields = lines[-1].split(",")
    fields[lines[0].split(",").index("critic_loss")] = "nan"
    (run / "metrics.csv").write_text("\n".join([*lines[:-1], ",".join(fields), "450,3"]))
    (shown,) = view(run)["runs"]
    assert shown["metrics"]["steps"][-1] == 400
    assert shown["metrics"]["critic_loss"][-1] is None


def test_long_logs_are_thinned_and_keep_their_ends(runs):
    file = runs / "seeds/seed1/episodes.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["env_steps", "episode", "seed", "return", "length"])
        writer.writerows([step, step, 0, 2.0, 1] for step in range(1, 50_001))
    (shown,) = view(runs / "seeds/seed1")["runs"]
    steps = shown["episodes"]["steps"]
    assert (len(steps), steps[0], steps[-1]) == (MOST_POINTS, 1, 50_000)
    assert set(shown["episodes"]["return"]) == {2.0}


@pytest.mark.parametrize("given", ["nowhere", ".", "a\0b"])
def test_what_is_no_run_is_refused(given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", given]) == 2
    assert "folder" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_a_report_that_cannot_be_written_is_said(runs, capsys):
    (runs / "taken.html").mkdir()
    for name, says in (("taken.html", "cannot be written"), ("seeds/seed1/config.json", "a report is an HTML file")):
        before = (runs / "seeds/seed1/config.json").read_bytes()
        assert main(["report", str(runs / "seeds"), "-o", str(runs / name)]) == 2
        assert says in capsys.readouterr().err
        assert (runs / "seeds/seed1/config.json").read_bytes() == before


@pytest.fixture(scope="module")
def looked_at(trained, tmp_path_factory):
    """What Chromium finds in a report of three seeds, one more run, and one with hostile names."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(trained / "seeds/seed2", folder / "other")
    altered(folder / "other", lambda saved: saved["settings"].update(lr=0.25))
    shutil.copytree(trained / "seeds/seed3", folder / "odd")
    (folder / "r.html").write_text(
        page(view(trained / "seeds", folder / "other", hostile(folder / "odd"))), encoding="utf-8"
    )
    words = ["node", ROOT / "tests/reporting/browser.mjs", ROOT / ".browser", folder / "r.html"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.browser
@pytest.mark.xdist_group("browser")
class TestInChromium:
    def test_nothing_is_requested_or_complained_of(self, looked_at):
        assert looked_at["console"] == []
        assert len(looked_at["requests"]) == 5
        assert all(each.startswith("file:///") for each in looked_at["requests"])
        assert looked_at["underPolicy"] == 10

    @pytest.mark.parametrize("name", ["wide-light", "wide-dark", "phone-light", "phone-dark"])
    def test_what_people_see_and_do(self, looked_at, name):
        found = looked_at["views"][name]
        assert (found["violations"], found["overflow"], found["injected"]) == ([], 0, None)
        assert found["judged"] > 20
        assert found["charts"] == 10
        assert found["inked"]
        assert found["theme"] == name.partition("-")[2] != found["toggled"]
        assert "seed1 ends" in found["before"]
        assert "mean of" in found["before"]
        assert "seed1 ends" not in found["hidden"]
        assert "seed2 ends" in found["hidden"]
        assert "by steps" in found["hidden"]
        assert "by minutes" in found["minutes"]
        assert found["cursor"].startswith("100 steps: ")
        assert found["moved"].startswith("200 steps: ")
        assert "lr (differs)" in found["text"]
        assert "rucksac train Pendulum-v1 --recipe sac" in found["text"]
        assert "<b>&amp;" in found["text"]
        assert found["film"] == "data:video/mp4;base64,"
        assert found["sorted"] == ["1", "2", "2", "3", "3"]
