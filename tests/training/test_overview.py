"""`rucksac runs`: what there is, at a glance, whatever the folders hold."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading

import pytest

import rucksac
from rucksac.cli import main
from rucksac.training.folder import RunFolder
from rucksac.training.info import info
from rucksac.training.overview import Glance, evaluations, find_runs, glance
from rucksac.training.seeds import extend_group

SETTINGS = {"warmup": 50, "batch_size": 32, "hidden": (8,), "threads": 1, "compile": "never"}
SETTINGS |= {"eval_every": 100, "eval_episodes": 2, "log_every": 50, "steps": 200}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overview")
    rucksac.train("Pendulum-v1", recipe="sac", seed=3, run=folder / "one", **SETTINGS)
    return folder / "one"


@pytest.fixture
def runs(trained, tmp_path):
    folder = tmp_path / "runs"
    for name in ("one", "group/seed2", "group/seed10", "broken"):
        shutil.copytree(trained, folder / name)
    (folder / "notes.txt").write_text("not a run")
    (folder / "empty").mkdir()
    return folder


def test_what_is_told_of_a_run_is_what_info_says(trained):
    seen, whole = glance(trained), info(trained)
    returns = evaluations(trained).returns
    assert seen == Glance(
        str(trained), "Pendulum-v1", "sac", 3, 200, 200, max(returns), returns[-1], "finished", None
    )  # fmt: skip
    assert [seen.environment, seen.recipe, seen.seed, seen.env_steps, seen.steps] == [
        whole[name] for name in ("environment", "recipe", "seed", "env_steps", "steps")
    ]
    summary = json.loads((trained / "summary.json").read_text())
    assert seen.last == pytest.approx(summary["final_evaluation"]["mean"])


def test_runs_are_listed_and_broken_ones_do_not_hide_the_others(runs, capsys):
    (runs / "broken/config.json").write_text('{"environment": "Pend')
    extend_group(runs / "group", 800)
    with RunFolder(runs / "group/seed2").alone():
        assert main(["runs", str(runs)]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "environment", "recipe", "steps", "of", "best", "last", "state"]
    last = f"{glance(runs / 'one').last:,.1f}"
    best = f"{glance(runs / 'one').best:,.1f}"
    assert [line.split() for line in lines[:4]] == [
        ["broken", "0", "broken"],
        ["group/seed2", "Pendulum-v1", "sac", "200", "800", best, last, "running"],
        ["group/seed10", "Pendulum-v1", "sac", "200", "800", best, last, "stopped"],
        ["one", "Pendulum-v1", "sac", "200", "200", best, last, "finished"],
    ]
    assert lines[4].startswith(f"broken: {runs}/broken/config.json cannot be read")
    assert main(["runs", str(runs / "one"), "--json"]) == 0
    assert [each["run"] for each in json.loads(capsys.readouterr().out)] == [str(runs / "one")]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", None),
        ("config.json", b""),
        ("config.json", b"[" * 100_000),
        ("config.json", b'{"environment": 3, "recipe": "sac", "settings": {}, "derived": {}}'),
        ("config.json", b'{"environment": null, "recipe": "sac", "settings": {"lr": -1}, "derived": {}}'),
        ("evaluations.csv", b"env_steps,episode,seed,return,length\n100,0,0,high,200\n"),
        ("evaluations.csv", b"\xff\xfe\n\xff\n"),
        ("metrics.csv", b"env_steps\n\xff\xfe\n"),
        ("summary.json", b"{"),
    ],
)
def test_every_kind_of_damage_is_a_line(runs, file, content, capsys):
    (runs / "broken" / file).unlink()
    if content is not None:
        (runs / "broken" / file).write_bytes(content)
    assert main(["runs", str(runs), "--json"]) == 0
    told = {each["run"]: each for each in json.loads(capsys.readouterr().out)}
    assert told["one"]["state"] == "finished"
    assert told["broken"]["state"] == "broken"
    assert told["broken"]["problem"]


def test_a_run_that_was_killed_is_stopped(runs):
    (runs / "one/summary.json").unlink()
    (runs / "one/evaluations.csv").unlink()
    assert glance(runs / "one")[4:] == (200, 200, None, None, "stopped", None)


def test_who_looks_at_a_run_is_not_in_the_way_of_who_trains_it(runs):
    with (runs / "one/lock").open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (look, fcntl.LOCK_UN)).start()
        with RunFolder(runs / "one").alone():
            assert RunFolder(runs / "one").occupant() == os.getpid()


def test_returns_that_are_no_numbers_are_not_told(runs, capsys):
    file = runs / "one/evaluations.csv"
    file.write_text(file.read_text() + "300,0,0,nan,200\n300,1,1,-3.0,200\n")
    assert main(["runs", str(runs / "one"), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["last"] is None
    assert told["best"] == glance(runs / "group/seed2").best


def test_runs_sort_by_every_column(runs, capsys):
    (runs / "broken/config.json").unlink()
    extend_group(runs / "group", 800)
    file = runs / "group/seed2/evaluations.csv"
    file.write_text(file.read_text() + "300,0,0,-1.0,200\n300,1,1,-3.0,200\n")
    for column, order in (
        ("name", ["broken", "group/seed2", "group/seed10", "one"]),
        ("progress", ["one", "group/seed2", "group/seed10", "broken"]),
        ("best", ["group/seed2", "group/seed10", "one", "broken"]),
        ("last", ["group/seed2", "group/seed10", "one", "broken"]),
        ("state", ["group/seed2", "group/seed10", "one", "broken"]),
        ("environment", ["broken", "group/seed2", "group/seed10", "one"]),
        ("recipe", ["broken", "group/seed2", "group/seed10", "one"]),
    ):
        assert main(["runs", str(runs), "--sort", column, "--json"]) == 0
        assert [each["run"] for each in json.loads(capsys.readouterr().out)] == order, column


def test_folders_without_runs_are_refused_in_one_sentence(tmp_path, capsys):
    for folder, says in ((tmp_path, "holds no runs"), (tmp_path / "none", "is no folder")):
        assert main(["runs", str(folder)]) == 2
        told = capsys.readouterr().err
        assert says in told
        assert len(told.splitlines()) == 1


def test_a_hundred_runs_are_listed_without_pytorch_and_without_their_checkpoints(trained, tmp_path):
    for number in range(100):
        copy = shutil.copytree(trained, tmp_path / f"run{number}", ignore=shutil.ignore_patterns("replay"))
        for file in (copy / "checkpoints").rglob("*.safetensors"):
            file.write_bytes(b"")  # nobody looks
    script = (
        f"import sys; from rucksac.cli import main; main(['runs', {str(tmp_path)!r}]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *lines, torch = done.stdout.splitlines()
    assert torch == "False"
    assert len(lines) == 101
    assert all(line.endswith("finished") for line in lines[1:])
    assert find_runs(tmp_path)[99] == tmp_path / "run99"
