"""The promise: a run that was interrupted, however and however often, ends as if it had not been."""

import csv
import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import rucksac
from rucksac.agent import Agent
from rucksac.errors import TrainingStopped, UsageError
from rucksac.experience.replay import TRUNCATED
from rucksac.learner import Learner
from rucksac.training import snapshot
from rucksac.training.console import Console
from rucksac.training.plan import Plan, plan_of
from rucksac.training.progress import Progress
from rucksac.training.train import resume_run, train_run
from tests.attributes import differences
from tests.runs import COMMAND, COMPILED, config, logs, run_command
from tests.worlds import Counter, OutOfStep, World

HALFWAY, END = 140, 240


def plan(env="Pendulum-v1", **settings):
    often = {"steps": END, "eval_every": 20, "eval_episodes": 1, "checkpoint_every": 30, "log_every": 10}
    return Plan(env, config(**{**often, **settings}), "sac")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"envs": 3, "utd": 0.3},
        {"envs": 2, "utd": 2.0, "target_every": 3, "buffer_size": 60},
        {"precision": "bf16", "hidden": (16, 16), "alpha": 0.2},
        {**COMPILED, "steps": 440},
        {"n_step": 4, "envs": 2, "buffer_size": 70},
        {"env": "tests.worlds:Reach", "hindsight": 4, "hindsight_strategy": "episode", "envs": 2, "buffer_size": 70},
        {"priorities": 0.6, "n_step": 3, "envs": 2, "buffer_size": 70},
        {"gsde": True, "noise_every": 4, "envs": 2},
        {"envs": 3, "workers": 2, "normalise_observations": True, "normalise_rewards": True},
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one_in_every_attribute(tmp_path, trained, settings):
    end = settings.get("steps", END)
    train_run(plan(**settings), tmp_path / "whole", None)
    train_run(plan(**{**settings, "steps": end + HALFWAY - END}), tmp_path / "halves", None)
    resume_run(plan_of(tmp_path / "halves", steps=end), tmp_path / "halves", None)
    whole, _, resumed = trained
    assert resumed.agent.grad_steps == whole.agent.grad_steps > 50
    settled = ["training.progress.saved"]  # the first half ends with a checkpoint of its own
    replay = [
        f"training.replay.data.{name}" for name in ("obs", "action", "reward")
    ]  # rows that are overwritten in part
    hindsight = ["training.sampler.transforms.0.episodes._before"]  # reaches back to rows that are overwritten
    assert set(differences(whole, resumed)) <= {*settled, *replay, *hindsight}
    valid = whole.replay.kind > 0
    for name in ("obs", "action", "reward"):
        assert np.array_equal(whole.replay.data[name][valid], resumed.replay.data[name][valid])
    assert logs(tmp_path / "whole") == logs(tmp_path / "halves")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        *((Progress, name) for name in ("owed", "sums", "counts", "logged")),
        *((part, name) for part in (Agent, Learner) for name in part.STATE),
    ],
)
def test_state_that_is_not_saved_is_noticed(tmp_path, trained, monkeypatch, part, name):
    """What the test above would say if a part forgot to name a piece of its state."""
    monkeypatch.setattr(part, "STATE", tuple(each for each in part.STATE if each != name))
    train_run(plan(utd=0.3, log_every=60), tmp_path / "whole", None)
    train_run(plan(utd=0.3, log_every=60, steps=HALFWAY), tmp_path / "halves", None)
    resume_run(plan_of(tmp_path / "halves", steps=END), tmp_path / "halves", None)
    whole, _, resumed = trained
    assert logs(tmp_path / "whole") != logs(tmp_path / "halves") or differences(whole, resumed)


def test_every_part_of_a_training_is_in_the_snapshot(trained):
    train_run(plan(steps=40), None, None)
    taken = snapshot.take(trained[0])
    parts = {field.name: getattr(trained[0], field.name) for field in dataclasses.fields(trained[0])}
    assert set(taken) == {name for name, part in parts.items() if part is not None}
    json.dumps(taken, allow_nan=False)


KILLS = Path(__file__).parents[2] / "benchmarks/kills.py"


@pytest.mark.long
@pytest.mark.parametrize("case", ["pendulum, 3 environments, bf16", "halfcheetah, 2 environments, overwritten memory"])
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path, case):
    options = ["--kills", "4", "--steps", "1200", "--cases", case, "--output", tmp_path / "kills.csv"]
    done = subprocess.run([sys.executable, KILLS, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp_path / "kills.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["kills"], row["parameters"], row["replay"], row["logs"]) == ("4", "True", "True", "True")


def test_the_first_ctrl_c_saves_and_resume_goes_on_exactly(tmp_path):
    flags = "Pendulum-v1 --steps 600 --warmup 50 --batch-size 32 --hidden 32 --threads 1 --compile never".split()
    flags += "--eval-episodes 1 --log-every 50 --quiet".split()
    assert run_command("train", *flags, "--run", tmp_path / "whole").returncode == 0
    with subprocess.Popen([*COMMAND, "train", *flags, "--run", tmp_path / "halves"]) as process:
        metrics = tmp_path / "halves/metrics.csv"
        while not (metrics.exists() and metrics.read_text().count("\n") > 1):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
        assert process.wait() == 143
        assert time.monotonic() - asked < 60
    summary = json.loads((tmp_path / "halves/summary.json").read_text())
    assert not summary["finished"]
    assert 50 <= summary["env_steps"] < 600
    assert run_command("resume", tmp_path / "halves", "--quiet").returncode == 0
    assert logs(tmp_path / "whole") == logs(tmp_path / "halves")


def test_an_environment_that_does_not_repeat_itself_gets_its_episode_closed_and_the_user_is_told(tmp_path, trained):
    forgetful = plan(Counter, steps=44, eval_every=1_000)  # counts its resets, so no episode is like the one before
    train_run(forgetful, tmp_path / "run", None)
    notes = []
    console = Console(60)
    console.note = notes.append
    resume_run(plan_of(tmp_path / "run", Counter, steps=60), tmp_path / "run", console)
    assert any("in environment 0 could not be repeated" in note for note in notes)
    resumed = trained[1]
    rewards = [json.loads(row["return"]) for row in logs(tmp_path / "run")["episodes"]]
    assert set(rewards) == {6.0, 10.0}
    ends = resumed.replay.kind[: resumed.replay.written[0]] & TRUNCATED
    assert np.count_nonzero(ends) == rewards.count(10.0) + 1  # those that ended so, and the one that was closed


def test_a_vector_env_goes_on_with_new_episodes_and_the_user_is_told(tmp_path, trained):
    def source():
        return SyncVectorEnv([Counter, OutOfStep], autoreset_mode=AutoresetMode.SAME_STEP)

    train_run(plan(source, steps=90, envs=2), tmp_path / "run", None)
    notes = []
    console = Console(150)
    console.note = notes.append
    resume_run(plan_of(tmp_path / "run", source, steps=150), tmp_path / "run", console)
    assert any("in environments 0, 1 could not be repeated" in note for note in notes)
    assert trained[1].agent.grad_steps == 150 - 20 + 2
    assert {row["seed"] for row in logs(tmp_path / "run")["episodes"]} == {"-1"}
    assert {row["return"] for row in logs(tmp_path / "run")["episodes"]} == {"6.0", "10.0"}


def test_an_environment_made_by_a_function_is_needed_again(tmp_path):
    train_run(plan(Counter, steps=40), tmp_path / "run", None)
    with pytest.raises(UsageError, match="made by a function; give it again"):
        rucksac.resume(tmp_path / "run", steps=60)
    assert rucksac.resume(tmp_path / "run", env=Counter, steps=60).grad_steps == 41


@pytest.mark.parametrize("where", ["reset", "step"])
def test_an_environment_that_fails_midway_costs_nothing(tmp_path, trained, where):
    calls = {"reset": 0, "step": 0}
    failing = {"reset": 8, "step": 53}

    class Fragile(World):
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.called("reset")
            return self.seen(), {}

        def seen(self):
            return self.np_random.normal(size=1).astype(np.float32)

        def step(self, action):
            self.called("step")
            self.steps += 1
            return self.seen(), float(action[0]), False, self.steps == 9, {}

        def called(self, what):
            calls[what] += 1
            if what == where and calls[what] == failing[what]:
                raise RuntimeError("the simulator ran out of licences")

    run, settings = tmp_path / "run", {"eval_every": END}
    with pytest.raises(UsageError, match="ran out of licences.*rucksac resume"):
        train_run(plan(Fragile, **settings), run, None)
    resume_run(plan_of(run, env=Fragile), run, None)
    train_run(plan(Fragile, **settings), tmp_path / "whole", None)
    resumed, whole = trained[-2:]
    assert set(differences(whole, resumed)) <= {"training.progress.saved"}
    assert logs(run) == logs(tmp_path / "whole")


@pytest.mark.parametrize("setting", ["stop", "continue"])
def test_a_full_disk_keeps_the_last_checkpoint_and_does_as_configured(tmp_path, setting):
    """A limit on the size of files makes the system itself refuse to write on, between steps 100 and 150."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)

    class Filling(World):
        taken = 0

        def step(self, action):
            self.steps += 1
            Filling.taken += 1
            if Filling.taken in (100, 150):
                limit = 400 if Filling.taken == 100 else unlimited[0]
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
            return self.seen(), 0.0, False, self.steps == 10, {}

    full = plan(Filling, steps=200, eval_every=1_000, if_saving_fails=setting)
    notes = []
    console = Console(200)
    console.note = notes.append
    try:
        if setting == "stop":
            with pytest.raises(
                TrainingStopped, match="could not be written to .*too large.* stay as they are. Make room"
            ):
                train_run(full, tmp_path / "run", console)
        else:
            assert train_run(full, tmp_path / "run", console).summary["grad_steps"] == 181
            assert any("A checkpoint could not be written" in note and "goes on" in note for note in notes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert rucksac.load(tmp_path / "run").grad_steps == (71 if setting == "stop" else 181)
    resume_run(plan_of(tmp_path / "run", Filling, steps=240), tmp_path / "run", None)
    assert [row["env_steps"] for row in logs(tmp_path / "run")["metrics"]] == [str(step) for step in range(20, 241, 10)]


def test_a_finished_run_of_several_environments_is_finished_when_resumed(tmp_path):
    first = train_run(plan(envs=3, steps=40), tmp_path / "run", None)
    assert first.summary["env_steps"] == 42
    again = resume_run(plan_of(tmp_path / "run"), tmp_path / "run", None)
    assert again.summary["finished"]
    assert again.summary["grad_steps"] == first.summary["grad_steps"]


def test_a_run_that_could_not_be_saved_at_all_does_not_call_itself_done(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import gymnasium, shutil\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        "class Vandal(PendulumEnv):\n"
        "    def step(self, action):\n"
        "        shutil.rmtree('run', ignore_errors=True)\n"
        "        return super().step(action)\n"
        "gymnasium.register('Vandal-v0', Vandal, max_episode_steps=20)\n"
    )
    flags = "mine:Vandal-v0 --steps 60 --warmup 40 --batch-size 32 --hidden 8 --threads 1 --compile never".split()
    words = [*COMMAND, "train", *flags, "--if-saving-fails", "continue", "--run", "run"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].endswith("the last state could not be saved to run")


def test_a_folder_that_vanishes_stops_the_run_with_a_sentence(tmp_path):
    class Vandal(World):
        def step(self, action):
            self.steps += 1
            if self.steps == 50:
                shutil.rmtree(tmp_path / "run", ignore_errors=True)
            return self.seen(), 0.0, False, self.steps == 100, {}

    with pytest.raises(TrainingStopped, match="could not be written .*No such file"):
        train_run(plan(Vandal, steps=200, checkpoint_every=60, eval_every=1_000), tmp_path / "run", None)


def test_open_files_and_memory_do_not_grow_with_checkpoints(tmp_path):
    train_run(plan(steps=40), tmp_path / "first", None)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    train_run(plan(steps=400, checkpoint_every=4), tmp_path / "second", None)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
    assert len(list((tmp_path / "second/checkpoints").iterdir())) == 3
