"""Sweeps: a grid of settings, in real processes; killed, gone on with, and compared."""

import json
import signal
import subprocess
import time

import pytest

import rucksac
from rucksac import cli
from rucksac.config import Config
from rucksac.training.folder import RunFolder
from rucksac.training.sweep import combinations
from tests.runs import COMMAND, logs

SETTINGS = (
    "--steps 120 --warmup 50 --batch-size 16 --eval-every 60 --eval-episodes 1 --compile never --buffer-size 1000 "
    "--time-limit 20 --checkpoint-every 40 --hidden 8"
).split()
GRID = ["--set", "lr", "1e-3", "1e-4", "--jobs", "2"]


def sweep(folder, *words, env="Pendulum-v1"):
    return [*COMMAND, "sweep", env, *SETTINGS, "--run", str(folder), *map(str, words)]


def told(folder, *words, code=0, **named):
    done = subprocess.run(sweep(folder, *words, "--json", **named), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def waiting_for(condition):
    for _ in range(2_400):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come")


def test_a_grid_is_every_combination_under_names_that_do_not_depend_on_the_order():
    base = Config(env_args={"mass": 2})
    found = combinations(base, {"env.name": ["a/b", "a-b"], "hidden": [(64, 64)], "lr": [1e-3, 3e-4]})
    assert [each.name for each in found] == [
        f"lr={lr},hidden=64x64,env.name={name}" for name in ("a%2Fb", "a-b") for lr in ("0.001", "0.0003")
    ]
    assert found[1].config == Config(env_args={"mass": 2, "name": "a/b"}, hidden=(64, 64), lr=3e-4)
    turned = combinations(base, {"lr": [3e-4], "hidden": [(64, 64)], "env.name": ["a/b"]})
    assert turned == [found[1]]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "sweep needs a setting with two values or more, such as --set lr 1e-4 3e-4"),
        (["--set", "lr", "1e-3"], "sweep needs a setting with two values or more"),
        (["--set", "lr=1e-3,1e-4"], "--set lr=1e-3,1e-4 must have a blank in place of =: --set NAME VALUE VALUE"),
        (["--set", "lrr", "1", "2"], "--set has 'lrr', but there is no such setting; did you mean lr?"),
        (["--set", "lr", "1e-3", "x"], "--lr is 'x', but must be a number from 1e-12 to 1"),
        (["--set", "lr", "1e-3", "7"], "--lr is 7.0, but must be a number from 1e-12 to 1"),
        (["--set", "lr", "1e-3", "0.001"], "--set lr has one value twice: 1e-3 0.001; give each once"),
        (["--set", "lr", "1", "--set", "lr", "2"], "--set lr must be given once, with all its values"),
        (["--set", "demonstrations", "minari:a-v0", "minari:b-v0"], "there is no Minari data set 'a-v0'"),
        (
            ["--set", "lr", "1e-3", "1e-4", "--eval-env", "CartPole-v1"],
            "the agent was made for an environment with obs",
        ),
        (["--set"], "--set needs a setting and its values, such as --set lr 1e-4 3e-4"),
        (["--set", "lr"], "--set lr must be given once, with all its values"),
        (["--set", "hidden", "8", "8,8"], "--hidden is '8,8', but must be one or more whole numbers"),
        (["--set", "seed", "1", "2"], "--set varies seed, but --seeds says with which seeds"),
        (["--set", "weight_norm", "yes", "no"], "--set weight_norm has 'yes', but must be true or false"),
        (["--set", "gamma", "0.9", "0.8", "--gamma", "0.7"], "--gamma and --set gamma both say what it is"),
        (["--set", "env.g", "9", "8", "--env.g", "7"], "--env.g and --set env.g both say what it is"),
        (
            ["--set", "critics", "2", "1", "--set", "target-critics", "2"],
            "target-critics=2,critics=1: --target-critics",
        ),
        (["--set", "env.g", "9", "--set", "env.x", "1", "2"], "the environment takes no argument 'x'"),
        (["--set", "lr", "1e-3", "1e-4", "--jobs", "0"], "--jobs is 0, but must be at least 1"),
        (["--set", "lr", "1e-3", "1e-4", "--seeds", "x"], "--seeds is 'x', but must be numbers and ranges"),
    ],
)
def test_a_mistake_is_one_sentence_before_anything_is_written(tmp_path, capsys, words, says):
    assert cli.main(["sweep", "Pendulum-v1", "--run", str(tmp_path / "sweep"), "--buffer-size", "1000", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"rucksac: {says}")
    assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_a_run_that_fails_is_named_leaves_the_others_alone_and_is_tried_again(tmp_path):
    folder = tmp_path / "sweep"
    words = [*GRID, "--seeds", "3", "--jobs", "1", "--env.where", "step", "--env.once", tmp_path / "once"]
    done = subprocess.run(
        sweep(folder, *words, env="tests.worlds:Failing"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    *_, why, last = done.stdout.splitlines()
    assert why.startswith("lr=0.001/seed3 failed: rucksac: ")
    assert "ZeroDivisionError" in why
    assert last == "The same command goes on."
    assert "Not compared: fewer than two settings have an evaluation." in done.stdout
    whole = (folder / "lr=0.0001/seed3/summary.json").stat().st_mtime_ns
    found = told(folder, *words, env="tests.worlds:Failing")
    assert found["runs"] == {"lr=0.001/seed3": "done", "lr=0.0001/seed3": "done"}
    assert (folder / "lr=0.0001/seed3/summary.json").stat().st_mtime_ns == whole
    (comparison,) = found["comparison"]["comparisons"]
    assert (comparison["first"], comparison["against"]) == ("lr=0.001", "lr=0.0001")
    assert "no winner" in comparison["verdict"]


@pytest.mark.long
def test_a_killed_sweep_goes_on_where_each_run_was_and_takes_more_seeds(tmp_path):
    folder, words = tmp_path / "sweep", [*GRID, "--seeds", "1-2", "--jobs", "1", "--steps", "300"]
    done, half = folder / "lr=0.001/seed1", folder / "lr=0.0001/seed1"
    with subprocess.Popen(sweep(folder, *words), stderr=subprocess.DEVNULL) as driver:
        waiting_for(lambda: (half / "checkpoints").exists() and (half / "evaluations.csv").exists())
        driver.send_signal(signal.SIGKILL)
    waiting_for(lambda: RunFolder(half).occupant() is None)
    assert json.loads((half / "summary.json").read_text())["finished"] is False
    whole = (done / "summary.json").stat().st_mtime_ns
    assert not (folder / "lr=0.001/seed2/checkpoints").exists()  # every setting has its first seed before others
    found = told(folder, *words)
    assert set(found["runs"].values()) == {"done"}
    assert len(found["final_returns"]) == 4
    assert (done / "summary.json").stat().st_mtime_ns == whole
    settings = json.loads((half / "config.json").read_text())["settings"]
    rucksac.train("Pendulum-v1", run=tmp_path / "alone", **settings)
    assert logs(half) == logs(tmp_path / "alone")
    assert [group["count"] for group in found["comparison"]["groups"]] == [2, 2]
    more = told(folder, *words, "--seeds", "1-3")
    assert [group["count"] for group in more["comparison"]["groups"]] == [3, 3]
    assert (done / "summary.json").stat().st_mtime_ns == whole
    refused = subprocess.run(sweep(folder, *words, "--gamma", "0.9"), capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "holds a sweep with other settings (gamma: 0.99, now 0.9); give the same, or" in refused.stderr


@pytest.mark.long
def test_a_sweep_that_is_asked_to_stop_saves_and_says_how_it_goes_on(tmp_path):
    folder = tmp_path / "sweep"
    words = sweep(folder, *GRID, "--seeds", "1", "--steps", "100000")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        waiting_for(lambda: all((folder / f"lr={lr}/seed1/checkpoints").exists() for lr in ("0.001", "0.0001")))
        driver.send_signal(signal.SIGINT)
        assert driver.communicate()[0].splitlines()[-1] == "The same command goes on."
    assert driver.returncode == 130
    for lr in ("0.001", "0.0001"):
        assert json.loads((folder / f"lr={lr}/seed1/summary.json").read_text())["finished"] is False
