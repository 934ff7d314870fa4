"""A search for settings: real trials in processes, killed and gone on with."""

import json
import signal
import sqlite3
import subprocess
import time
import tomllib

import numpy as np
import pytest

import rucksac
from rucksac import cli
from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.stats import summarise
from rucksac.tuning.space import DEFAULT, read_space, starting_point
from tests.runs import COMMAND, logs, rows

SPACE = """
lr = { from = 1e-4, to = 1e-2, log = true }
hidden = { choose = [[8], [16]] }
batch-size = { from = 16, to = 32 }
"""
TRIALS, BESIDE = 6, ["--seeds", "1-2", "--fresh-seeds", "11,12", "--jobs", "2", "--json"]
SETTINGS = (
    "--steps 120 --warmup 50 --batch-size 16 --eval-every 40 --eval-episodes 1 --compile never --buffer-size 1000 "
    "--time-limit 20 --checkpoint-every 40"
).split()


def tune(folder, space, trials):
    words = [
        "tune",
        "Pendulum-v1",
        "--recipe",
        "plain",
        "--trials",
        str(trials),
        "--space",
        space,
        "--run",
        folder,
        *BESIDE,
        *SETTINGS,
    ]
    return [*COMMAND, *map(str, words)]


def waiting_for(condition):
    for _ in range(1_200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come")


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    """A search that was killed in its second trial, and what it told when it had gone on."""
    folder, space = tmp_path_factory.mktemp("search") / "search", tmp_path_factory.mktemp("space") / "space.toml"
    space.write_text(SPACE)
    with subprocess.Popen(tune(folder, space, TRIALS), stderr=subprocess.PIPE) as first:
        log = folder / "trials/0001/seed1/evaluations.csv"
        waiting_for(lambda: log.exists() and len(log.read_text().splitlines()) > 1)
        first.send_signal(signal.SIGKILL)
    before = trials_in(folder)
    untouched = (folder / "trials/0000/seed1/summary.json").stat().st_mtime_ns
    done = subprocess.run(tune(folder, space, TRIALS), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "trials/0000/seed1/summary.json").stat().st_mtime_ns == untouched
    return folder, space, before, json.loads(done.stdout), done.stderr


def trials_in(folder):
    """Return state and settings of each trial, read from the database by hand."""
    with sqlite3.connect(folder / "study.db") as database:
        found = {number: [state, {}] for number, state in database.execute("select number, state from trials")}
        params = "select number, param_name, param_value from trial_params join trials using (trial_id)"
        for number, name, value in database.execute(params):
            found[number][1][name] = value
    return found


@pytest.mark.long
def test_a_killed_search_goes_on_with_the_trial_that_was_under_way(search):
    folder, _, before, told, _ = search
    after = trials_in(folder)
    assert (before[0][0], before[1][0]) == ("COMPLETE", "RUNNING")
    assert len(before) <= 3
    assert {number: params for number, (_, params) in after.items() if number in before} == {
        number: params for number, (_, params) in before.items()
    }
    assert len(after) == TRIALS
    assert {state for state, _ in after.values()} == {"COMPLETE", "PRUNED"}
    assert told["trials"]["complete"] + told["trials"]["pruned"] == TRIALS
    assert told["finished"]


@pytest.mark.long
def test_an_interrupted_seed_is_the_run_that_it_would_have_been(search, tmp_path):
    folder = search[0] / "trials/0001/seed1"
    settings = json.loads((folder / "config.json").read_text())["settings"]
    rucksac.train("Pendulum-v1", run=tmp_path / "run", **settings)
    assert logs(folder) == logs(tmp_path / "run")


@pytest.mark.long
def test_the_first_trial_has_the_settings_that_the_search_starts_from(search):
    first = json.loads((search[0] / "trials/0000/seed1/config.json").read_text())["settings"]

    assert (first["lr"], first["batch_size"], first["threads"]) == (1e-3, 16, 1)


@pytest.mark.long
def test_pruned_trials_ended_before_the_others_and_were_below_their_median(search):
    folder, _, _, told, said = search
    states = {number: state for number, (state, _) in trials_in(folder).items()}
    assert told["trials"]["pruned"] == list(states.values()).count("PRUNED") > 0
    for number, state in states.items():
        curves = [
            {int(row["env_steps"]): float(row["return"]) for row in rows(each, "evaluations")}
            for each in sorted((folder / f"trials/{number:04}").iterdir())
        ]
        assert (min(map(max, curves)) == 120) or state == "PRUNED"
    assert said.count("below the median") >= told["trials"]["pruned"] - 1  # one may have been told of before the kill
    assert not list(folder.glob("trials/*/seed*/replay"))


@pytest.mark.long
def test_the_best_settings_are_trained_again_with_fresh_seeds(search):
    folder, _, _, told, _ = search
    best = told["best"]
    finals = {
        number: np.mean([float(rows(seed, "evaluations")[-1]["return"]) for seed in
                         (folder / f"trials/{number:04}").iterdir()])
        for number, (state, _) in trials_in(folder).items() if state == "COMPLETE"
    }  # fmt: skip
    assert best["trial"] == max(finals, key=finals.get)
    assert best["return"] == pytest.approx(finals[best["trial"]])
    again = told["again"]
    assert list(again["seeds"]) == ["seed11", "seed12"]
    expected = summarise(np.array(list(again["final_returns"].values())))
    assert again["over_seeds"]["ci95"] == pytest.approx(expected.ci95)


@pytest.mark.long
def test_the_best_settings_are_a_file_for_config(search, tmp_path, capsys):
    folder, _, _, told, _ = search
    values = tomllib.loads((folder / "best.toml").read_text())
    assert {name: values[name] for name in told["best"]["settings"]} == told["best"]["settings"]
    words = ["train", "Pendulum-v1", "--recipe", "plain", "--config", told["config"], "--run", str(tmp_path / "run")]
    assert cli.main([*words, "--seed", "11", "--threads", "1", "--quiet"]) == 0
    assert logs(tmp_path / "run") == logs(folder / f"best/{told['best']['trial']:04}/seed11")


@pytest.mark.long
def test_another_question_in_the_same_folder_is_refused(search):
    folder, space, *_ = search
    done = subprocess.run([*tune(folder, space, TRIALS), "--gamma", "0.9"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "holds a search with other settings (gamma: 0.99, now 0.9); give the same, or another --run" in done.stderr


def test_a_search_whose_trials_all_fail_says_why(tmp_path, capsys):
    (tmp_path / "space.toml").write_text("critics = { choose = [1] }\ntarget_critics = { choose = [2] }\n")
    words = ["tune", "Pendulum-v1", "--trials", "2", "--space", str(tmp_path / "space.toml"), *SETTINGS]
    assert cli.main([*words, "--run", str(tmp_path / "search")]) == 1
    assert "none of 2 trials came to its end: --target-critics is 2 of 1 critics" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lrr = { from = 1, to = 2 }", "space.toml has 'lrr', but there is no such setting; did you mean lr?"),
        ("lr = 1e-3", "space.toml has lr = 0.001, but it must be a table: choose ="),
        ("lr = { from = 1e-2, to = 1e-3 }", "has lr from 0.01 to 0.001, but from must be below to"),
        ("lr = { from = 1e-3, to = 7.0 }", "has lr = 7.0, but it must be a number from 1e-12 to 1"),
        ('activation = { choose = ["relu", "sine"] }', "has activation = 'sine', but it must be one of relu"),
        ("steps = { from = 10, to = 20 }", "varies steps, which changes the task"),
        ("", "names no setting to vary"),
        ("lr = ", "cannot be read"),
    ],
)
def test_spaces_that_make_no_sense_are_refused_by_file_and_key(tmp_path, text, says):
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        read_space(tmp_path / "space.toml")
    assert says in str(refused.value)


def test_the_default_space_begins_at_the_default_settings():
    assert set(starting_point(read_space(DEFAULT), Config())) == {"lr", "gamma", "tau", "batch_size", "hidden"}
