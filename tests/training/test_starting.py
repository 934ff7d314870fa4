"""A new run from a trained agent."""

import json
import shutil

import pytest
import torch

import rucksac
from rucksac.cli import main
from rucksac.errors import UsageError
from rucksac.training.agent_file import tensors_of
from rucksac.training.info import info
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
    trained = tensors_of(rucksac.load(origin))
    agent = rucksac.train(wide, start_from=origin, run=tmp_path / "run", steps=15, lr=1e-4)  # too short to learn
    assert agent.config.lr == 1e-4
    assert (agent.config.hidden, agent.config.warmup, agent.config.learning_starts) == ((16,), 0, None)
    assert agent.grad_steps == 0
    for name, tensor in tensors_of(agent).items():
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
    for name, tensor in tensors_of(whole).items():
        assert torch.equal(tensor, tensors_of(resumed)[name]), name


def test_a_run_killed_before_its_first_checkpoint_begins_from_the_other_again(origin, tmp_path):
    run = tmp_path / "run"
    rucksac.train(wide, start_from=origin, steps=15, run=run)
    for inside in ("checkpoints", "replay"):
        shutil.rmtree(run / inside)
    assert plan_of(run, env=wide).start_from == origin
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
