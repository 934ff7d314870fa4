"""Collectors: the same run without lag, bounded lag with it, and nothing counted twice or lost when one goes."""

import copy
import dataclasses
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter as Tally
from pathlib import Path

import numpy as np
import pytest
import torch

from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.experience.columns import Column
from rucksac.experience.replay import TRANSITION
from rucksac.experience.ring import Ring, bytes_for_ring
from rucksac.streams import Stream, generator, integer, put_words, words_of
from rucksac.training.collectors import LAGS, Collectors
from rucksac.training.console import Console
from rucksac.training.info import info
from rucksac.training.plan import Plan, plan_of
from rucksac.training.starting import Origin
from rucksac.training.train import resume_run, train_run
from rucksac.training.weights import SharedWeights, bytes_for_weights
from tests.runs import COMMAND, config, logs
from tests.worlds import Faulty


def plan(env="tests.worlds:Random", **settings):
    return Plan(env, config(**{"steps": 120, "eval_episodes": 1, "checkpoint_every": 30, **settings}), "sac")


def tensors(training):
    return {name: tensor.tolist() for name, tensor in training.agent.tensors().items()}


def without_lag(found):
    return {
        **found,
        "metrics": [{name: each for name, each in row.items() if name not in LAGS} for row in found["metrics"]],
    }


def rows_of(replay):
    """Return the transitions of each environment as lists, in their order."""
    share = replay.rows_per_env
    found = []
    for env_index in range(replay.envs):
        own = slice(env_index * share, (env_index + 1) * share)
        found.append([replay.data[name][own].tolist() for name in ("obs", "action", "reward", "kind")])
    return found


FEATURES = {
    "n_step": 2,
    "priorities": 0.6,
    "normalise_observations": True,
    "normalise_rewards": True,
    "update_every": 3,
}


@pytest.mark.parametrize(
    "settings",
    [
        FEATURES,
        {"gsde": True, "noise_every": "zeta"},
        pytest.param({"utd": 0.3, "compile": "auto"}, marks=pytest.mark.long),
    ],
)
def test_one_collector_without_lag_is_the_plain_loop_to_the_bit(tmp_path, trained, settings):
    train_run(plan(**settings), tmp_path / "plain", None)
    train_run(plan(**settings, collectors=1, most_lag=0), tmp_path / "collected", None)
    plain, collected = trained
    assert isinstance(collected.collector, Collectors)
    assert collected.agent.grad_steps == plain.agent.grad_steps > 20
    assert tensors(collected) == tensors(plain)
    assert rows_of(collected.replay) == rows_of(plain.replay)
    assert without_lag(logs(tmp_path / "collected")) == logs(tmp_path / "plain")
    assert {float(row["lag"]) for row in logs(tmp_path / "collected")["metrics"][3:]} == {0.0}


@pytest.mark.long
def test_without_lag_a_resumed_run_of_several_collectors_equals_the_uninterrupted_one(tmp_path, trained):
    settings = {"collectors": 2, "most_lag": 0, "utd": 0.5, "normalise_observations": True}
    train_run(plan(**settings), tmp_path / "whole", None)
    train_run(plan(**settings, steps=60), tmp_path / "halves", None)
    resume_run(plan_of(tmp_path / "halves", steps=120), tmp_path / "halves", None)
    whole, _, resumed = trained
    assert resumed.agent.grad_steps == whole.agent.grad_steps == 0.5 * (120 - 18)
    assert tensors(resumed) == tensors(whole)
    assert logs(tmp_path / "halves") == logs(tmp_path / "whole")
    assert np.array_equal(resumed.collector.streams, whole.collector.streams)


@pytest.mark.long
def test_the_lag_is_bounded_every_transition_counts_once_and_a_resumed_run_says_what_it_is(tmp_path, trained):
    settings = {"collectors": 2, "most_lag": 3, "hindsight": 2, "time_limit": 5}
    train_run(plan("tests.worlds:Reach", **settings), tmp_path / "run", None)
    notes, console = [], Console(160)
    console.note = notes.append
    resume_run(plan_of(tmp_path / "run", steps=160), tmp_path / "run", console)
    assert any("--most-lag 0 resumes exactly" in note for note in notes)
    for training, steps in zip(trained, (120, 160), strict=True):
        progress = training.progress
        assert steps <= progress.env_steps <= steps + 1
        assert progress.env_steps == len(training.replay) == np.count_nonzero(training.replay.kind & TRANSITION)
        assert training.agent.grad_steps + progress.owed == pytest.approx(progress.env_steps - 20, abs=4)
    lags, largest = ([float(row[name]) for row in logs(tmp_path / "run")["metrics"][3:]] for name in LAGS)
    assert 0 < max(lags) <= max(largest) <= 3
    assert all(mean <= most for mean, most in zip(lags, largest, strict=True))
    assert info(tmp_path / "run")["acting"]["lag_max"] == max(largest)
    seeds = Tally(int(row["seed"]) for row in logs(tmp_path / "run")["episodes"])
    assert set(seeds.values()) == {1}  # no episode was counted twice, none is of another run
    assert set(seeds) <= {integer(1, Stream.EPISODE, env_index, each) for env_index in (0, 1) for each in range(40)}


@pytest.mark.long
@pytest.mark.parametrize(
    ("most_lag", "number", "says"),
    [(0, signal.SIGKILL, "its process died (signal 9)"), (8, signal.SIGSTOP, "it gave no answer for 3 seconds")],
)
def test_a_collector_that_dies_or_hangs_is_started_anew_and_nothing_counts_twice(
    tmp_path, trained, most_lag, number, says
):
    gone = []

    def end_one(event):
        if event.kind == "metrics" and not gone and event.env_steps >= 50:
            gone.append(trained[0].collector.envs.members[1].worker.pid)
            os.kill(gone[0], number)

    settings = {"collectors": 2, "most_lag": most_lag, "env_timeout": 3.0}
    given = plan("tests.worlds:Counter", **settings)
    train_run(Plan(given.env, given.config, "sac", callbacks=(end_one,)), tmp_path / "run", None)
    (training,) = trained
    warnings = (tmp_path / "run/warnings.txt").read_text()
    assert warnings.count("Made anew, failure 1 of 3") == 1
    assert "failure 2" not in warnings
    assert says in warnings
    assert "steps lost on the way: " in warnings
    assert not Path(f"/proc/{gone[0]}").exists()
    assert training.progress.env_steps == len(training.replay) >= 120
    assert training.agent.grad_steps + training.progress.owed == pytest.approx(training.progress.env_steps - 20, abs=4)
    reached = Tally(  # an environment made anew counts its episodes from the beginning
        obs.item() for obs, kind in zip(*(training.replay.data[name] for name in ("obs", "kind")), strict=True) if kind
    )
    assert max(reached.values()) <= 3


def test_collectors_end_with_a_learner_that_is_killed(tmp_path):
    flags = "Pendulum-v1 --collectors 2 --steps 100000 --hidden 16 --threads 1 --compile never --quiet".split()
    with subprocess.Popen([*COMMAND, "train", *flags, "--run", tmp_path / "run"]) as process:
        episodes = tmp_path / "run/episodes.csv"
        while not (episodes.exists() and episodes.read_text().count("\n") > 1):
            assert process.poll() is None
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGSTOP)  # even one that hangs
        process.kill()
    os.kill(int(children[1]), signal.SIGCONT)
    assert len(children) == 3  # two collectors, and the worker that evaluates
    while any(
        Path(f"/proc/{each}").exists() and "Z (" not in Path(f"/proc/{each}/stat").read_text() for each in children
    ):
        time.sleep(0.1)  # the test's own time limit ends this


def test_an_environment_that_gives_nan_ends_the_run_as_it_does_without_collectors(tmp_path):
    with pytest.raises(UsageError, match="observation is not finite.* at environment step"):
        train_run(plan(lambda: Faulty("nan"), collectors=1), tmp_path / "run", None)
    assert json.loads((tmp_path / "run/config.json").read_text())["settings"]["collectors"] == 1


@pytest.mark.parametrize("settings", [{"envs": 2}, {"envs": 2, "workers": 2}])
def test_a_collector_has_one_environment(settings):
    with pytest.raises(UsageError, match="^each of --collectors 2 has one environment .*; leave them out$"):
        Config(collectors=2, **settings)


def test_weights_are_never_torn():
    source, target = ([torch.zeros(20_000), torch.zeros(7, dtype=torch.float64)] for _ in range(2))
    memory = memoryview(bytearray(bytes_for_weights(source)))
    writer, reader = SharedWeights(memory, source), SharedWeights(memory, target)
    writer.publish(source, 0)
    over = threading.Event()

    def write():
        for version in range(1, 3_000):
            for tensor in source:
                tensor.fill_(version)
            writer.publish(source, version)
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    seen = []
    while not over.is_set() or not seen:
        seen.append(reader.receive(target))
        assert all((tensor == seen[-1]).all() for tensor in target)
    thread.join()
    assert seen == sorted(seen)
    assert reader.receive(target) == 2_999


def test_a_ring_gives_back_what_was_written_and_counts_what_was_begun():
    columns = (Column("obs", (2,)), Column("step", (), np.int64))
    memory = memoryview(bytearray(bytes_for_ring(3, columns)))
    writer, reader = Ring(memory, 3, columns), Ring(memory, 3, columns)
    for step in range(10):
        writer.begin()
        writer.write(obs=[step, -step], step=step)
        row = reader.read()
        assert (row["step"], row["obs"].tolist()) == (step, [step, -step])
    writer.begin()
    assert reader.begun == 11


def test_a_stream_goes_on_from_its_words():
    first, second = (generator(3, Stream.ACTING, 5) for _ in range(2))
    first.standard_normal(3, np.float32)
    put_words(second, words_of(first))
    assert second.standard_normal(5, np.float32).tolist() == first.standard_normal(5, np.float32).tolist()


@pytest.mark.parametrize("with_replay", [False, True])
def test_a_run_that_starts_from_another_is_the_same_with_a_collector_without_lag(tmp_path, trained, with_replay):
    train_run(plan(steps=60), tmp_path / "origin", None)
    settings = {"steps": 40, "warmup": 0, "checkpoint_every": 20}
    for name, more in (("plain", {}), ("collected", {"collectors": 1, "most_lag": 0})):
        given = dataclasses.replace(plan(**settings, **more), origin=Origin(tmp_path / "origin", with_replay))
        train_run(given, tmp_path / name, None)
    origin, plain, collected = trained
    assert isinstance(collected.collector, Collectors)
    assert len(collected.replay) == 40 + 60 * with_replay
    assert collected.agent.grad_steps == plain.agent.grad_steps > 20
    assert tensors(collected) == tensors(plain) != tensors(origin)
    assert rows_of(collected.replay) == rows_of(plain.replay)
    assert without_lag(logs(tmp_path / "collected")) == logs(tmp_path / "plain")


class Shifted(torch.nn.Module):
    """A policy that a person might bring, with a parameter that is no layer's."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
        self.shift = torch.nn.Parameter(torch.full((2,), 0.1))

    def forward(self, obs):
        return self.layers(obs) + self.shift


@pytest.mark.parametrize("most_lag", [0, 8])
def test_collectors_act_with_a_policy_of_ones_own(tmp_path, trained, most_lag):
    torch.manual_seed(3)
    policy, runs = Shifted(), {"plain": {}, "collected": {"collectors": 1, "most_lag": most_lag}}
    for name, more in runs.items():
        train_run(dataclasses.replace(plan(**more), policy=copy.deepcopy(policy)), tmp_path / name, None)
    plain, collected = trained
    assert collected.agent.grad_steps >= plain.agent.grad_steps > 20
    assert any("shift" in name for name in tensors(collected))
    acted = [rows_of(each.replay)[0][1] for each in trained]
    assert acted[0][:20] == acted[1][:20]  # those at random
    assert (acted[0] == acted[1]) == (most_lag == 0)
    if most_lag == 0:
        assert tensors(collected) == tensors(plain)


@pytest.mark.long
@pytest.mark.parametrize("clock", [[], ["--control-rate", "50"]])
def test_ctrl_c_ends_collectors_with_the_run_which_then_goes_on(tmp_path, clock):
    flags = "Pendulum-v1 --collectors 2 --steps 100000 --hidden 16 --threads 1 --compile never --quiet".split()
    with subprocess.Popen([*COMMAND, "train", *flags, *clock, "--run", tmp_path / "run"]) as process:
        episodes = tmp_path / "run/episodes.csv"
        while not (episodes.exists() and episodes.read_text().count("\n") > 1):
            assert process.poll() is None
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert not any(Path(f"/proc/{each}").exists() for each in children)
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["finished"], summary["saved"]) == (False, True)
    steps = str(summary["env_steps"] + 50)
    done = subprocess.run([*COMMAND, "resume", tmp_path / "run", "--steps", steps, "--quiet"], check=False)
    assert done.returncode == 0
    assert info(tmp_path / "run")["finished"]
