"""A new run from a trained agent."""

import json
import shutil

import numpy as np
import pytest
import torch

import rucksac
from rucksac.cli import main
from rucksac.errors import UsageError
from rucksac.experience.history import transitions_of
from rucksac.experience.replay import TRANSITION, Replay
from rucksac.training.info import info
from rucksac.training.loading import load_replay
from rucksac.training.parts import columns_of
from rucksac.training.plan import plan_of
from tests.runs import SMALL
from tests.worlds import Scaled

NORMALISED = {"normalise_observations": True, "normalise_rewards": True}


def narrow():
    return Scaled(-1.0, 1.0)


def wide():
    return Scaled(0.0, 8.0)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    run = tmp_path_factory.mktemp("origin") / "run"
    rucksac.train(narrow, run=run, **{**SMALL, **NORMALISED, "steps": 200, "lr": 0.01})
    return run


def test_a_run_begins_with_the_parameters_of_another_and_the_given_settings(origin, tmp_path):
    trained = rucksac.load(origin).tensors()
    agent = rucksac.train(wide, start_from=origin, run=tmp_path / "run", steps=15, lr=1e-4)  # too short to learn
    assert agent.config.lr == 1e-4
    assert (agent.config.hidden, agent.config.warmup, agent.config.learning_starts) == ((16,), 0, None)
    assert agent.grad_steps == 0
    for name, tensor in agent.tensors().items():
        if ".moments." in name:
            assert not tensor.any()
        elif name.startswith(("policy", "critic", "target", "temperature")):
            assert torch.equal(tensor, trained[name]), name
    assert agent.normaliser.seen.count == 215
    settings = json.loads((tmp_path / "run/config.json").read_text())
    assert settings["derived"]["started_from"] == str(origin)


def test_a_run_that_started_from_another_learns_and_goes_on_without_it(origin, tmp_path):
    moved, run = tmp_path / "moved", tmp_path / "run"
    shutil.copytree(origin, moved)
    settings = {"learning_starts": 20, "warmup": 0, "checkpoint_every": 10}
    whole = rucksac.train(wide, start_from=moved, steps=90, **settings)
    rucksac.train(wide, start_from=moved, steps=60, run=run, **settings)
    shutil.rmtree(moved)
    resumed = rucksac.resume(run, env=wide, steps=90)
    assert resumed.grad_steps == whole.grad_steps == 71
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, resumed.tensors()[name]), name


def test_a_run_killed_before_its_first_checkpoint_begins_from_the_other_again(origin, tmp_path):
    run = tmp_path / "run"
    rucksac.train(wide, start_from=origin, steps=15, run=run)
    for inside in ("checkpoints", "replay"):
        shutil.rmtree(run / inside)
    assert plan_of(run, env=wide).origin.folder == origin
    assert info(run)["obstacle"] is None
    away = origin.rename(tmp_path / "away")
    assert f"{origin}, whose agent it begins with, has no whole one" in info(run)["obstacle"]
    away.rename(origin)
    again = rucksac.resume(run, env=wide)
    assert torch.equal(
        again.state.policy.parameters["layers.0.weight"],
        rucksac.load(origin).state.policy.parameters["layers.0.weight"],
    )


@pytest.mark.parametrize(
    ("env", "settings", "says"),
    [
        ("Pendulum-v1", {}, "made for an environment with observation shape"),
        (wide, {"activation": "tanh"}, "was trained with --activation relu, not tanh"),
        (wide, {"hidden": (8,)}, "has no policy.parameters.layers.0.weight of shape .*keep its --hidden"),
        (wide, {"critics": 3}, "keep its --hidden, --critics"),
        (wide, {"recipe": "sac"}, "--recipe and --start-from both say"),
    ],
)
def test_what_does_not_fit_is_refused(origin, env, settings, says):
    with pytest.raises(UsageError, match=says):
        rucksac.train(env, start_from=origin, **settings)


def test_the_command_takes_the_settings_of_the_run_that_it_starts_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--steps 60 --warmup 32 --batch-size 32 --hidden 16 --compile never --eval-episodes 1 --quiet".split()
    assert main(["train", "Pendulum-v1", *small]) == 0
    first = "runs/Pendulum-v1-rucksac-seed1"
    assert main(["train", "Pendulum-v1", "--start_from", first, "--steps", "50", "--quiet"]) == 0
    settings = json.loads((tmp_path / f"{first}-2/config.json").read_text())["settings"]
    assert (settings["hidden"], settings["steps"], settings["warmup"]) == ([16], 50, 0)
    assert main(["train", "Pendulum-v1", "--start-from", "nowhere", "--quiet"]) == 2
    assert "nowhere is not the folder of a run" in capsys.readouterr().err


def test_a_run_may_begin_with_the_replay_memory_of_another(origin, trained, tmp_path):
    kept = Replay(1_000, 1, columns_of(rucksac.load(origin).spaces, frame_stack=1))
    load_replay(origin, kept)
    settings = {"steps": 16, "envs": 2, "buffer_size": 900, "log_every": 4}
    rucksac.train(narrow, start_from=origin, start_with_replay=True, run=tmp_path / "run", **settings)
    replay = trained[0].replay
    assert len(replay) == 200 + 16
    assert trained[0].agent.grad_steps == 16  # more than a batch is there from the first step on
    before, now = list(transitions_of(kept, 0)), list(transitions_of(replay, 0))
    assert (len(before), len(now), len(list(transitions_of(replay, 1)))) == (200, 208, 8)
    for left, right in zip(before, now, strict=False):
        assert all(np.array_equal(left[name], right[name]) for name in left)


def test_a_run_that_begins_with_a_replay_memory_needs_one(origin, tmp_path):
    with pytest.raises(UsageError, match="--start-with-replay needs --start-from"):
        rucksac.train(wide, start_with_replay=True)
    with pytest.raises(UsageError, match="start_with_replay is 'no', but must be True or False"):
        rucksac.train(wide, start_from=origin, start_with_replay="no")
    rucksac.load(origin).save(tmp_path / "agent")
    with pytest.raises(UsageError, match="is an agent without a replay memory"):
        rucksac.train(wide, start_from=tmp_path / "agent", start_with_replay=True)
    with pytest.raises(UsageError, match="holds other observations or actions .*leave --start-with-replay out"):
        rucksac.train(wide, start_from=origin, start_with_replay=True)
    with pytest.raises(UsageError, match="has steps of --frame-skip 1, not 2; keep that or"):
        rucksac.train(narrow, start_from=origin, start_with_replay=True, frame_skip=2)


def test_a_run_starts_from_an_agent_that_was_saved(origin, tmp_path):
    rucksac.load(origin).save(tmp_path / "agent")
    from_run, from_agent = (rucksac.train(wide, start_from=each, steps=30) for each in (origin, tmp_path / "agent"))
    for name, tensor in from_run.tensors().items():
        assert torch.equal(tensor, from_agent.tensors()[name]), name


def test_an_argument_of_the_environment_is_changed_or_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = "--steps 50 --hidden 8 --compile never --eval-episodes 1 --quiet".split()
    assert main(["train", "Pendulum-v1", "--env.g", "9.81", *small, "--run", "a"]) == 0
    assert main(["train", "Pendulum-v1", "--start-from", "a", "--env.g=", "--quiet", "--run", "b"]) == 0
    settings = [json.loads((tmp_path / run / "config.json").read_text())["settings"]["env_args"] for run in "ab"]
    assert settings == [{"g": 9.81}, {}]
    for run, says in (("a", "those to leave out are g"), ("b", "there is none to leave out")):
        assert main(["train", "Pendulum-v1", "--start-from", run, "--env.mass=", "--quiet"]) == 2
        assert f"--env.mass= leaves out an argument that was not given; {says}" in capsys.readouterr().err
    assert main(["evaluate", "a", "--env.g=", "--episodes", "1", "--json"]) == 0
    without = json.loads(capsys.readouterr().out)["mean"]
    assert main(["evaluate", "a", "--env.g", "10.0", "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == without


def test_a_replay_memory_that_was_taken_over_is_drawn_by_priority(origin, trained):
    rucksac.train(narrow, start_from=origin, start_with_replay=True, priorities=0.6, n_step=3, steps=20)
    training = trained[0]
    assert training.agent.grad_steps == 20
    rows = training.replay.kind & TRANSITION > 0
    priorities = training.sampler.pick.priorities[0]
    assert (priorities > 0.0).sum() >= 200  # those of the other run can be drawn
    assert len(set(priorities[rows[: priorities.size]])) > 10  # and what was drawn has an error of its own
