"""Whole runs that see pictures: what is learned from is what was shown, runs resume exactly, agents go on elsewhere."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

import rucksac
from rucksac.algorithm.recipes import RECIPES
from rucksac.config import Config, with_settings
from rucksac.environments.collector import Episodes
from rucksac.environments.making import make_one
from rucksac.environments.reading import spaces_of
from rucksac.errors import UsageError
from rucksac.exporting.export import export
from rucksac.learner import Learner
from rucksac.training.needs import replay_bytes, require_memory
from rucksac.training.plan import Plan, plan_of
from rucksac.training.train import resume_run, train_run
from tests.attributes import differences
from tests.runs import SMALL, config, logs, run_command
from tests.worlds import Reach, Screen

SCREEN = {"env_args": {"numbers": True}, "batch_size": 6, "hidden": (8,), "warmup": 14, "frame_stack": 2}


class SeenReach(Reach):
    """Reach with a picture that comes before the goals."""

    def __init__(self):
        super().__init__()
        self.observation_space = Dict(a=Box(0, 255, (16, 16), np.uint8), **self.observation_space.spaces)

    def seen(self):
        picture = np.full((16, 16), self.steps, np.uint8)
        return {"a": picture, **super().seen()}


def plan(env="tests.worlds:Screen", **settings):
    often = {"steps": 40, "eval_every": 11, "eval_episodes": 1, "checkpoint_every": 13, "log_every": 10}
    return Plan(env, config(**{**SCREEN, **often, **settings}), "drq")


@pytest.mark.parametrize(
    "settings",
    [
        {"augment": "shift"},
        {
            "augment": "shift",
            "envs": 2,
            "buffer_size": 30,
            "n_step": 2,
            "priorities": 0.6,
            "normalise_observations": True,
        },
        pytest.param({"augment": "shift", "envs": 3, "workers": 2, "frame_stack": 3}, marks=pytest.mark.long),
        pytest.param({"collectors": 2, "most_lag": 0, "value_network": True}, marks=pytest.mark.long),
        pytest.param({"deterministic_policy": True, "target_policy": True, "reset_every": 9}, marks=pytest.mark.long),
        pytest.param({"env_args": {"order": "CHW"}, "time_limit": 100, "buffer_size": 20}, marks=pytest.mark.long),
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, trained, settings):
    train_run(plan(**settings), tmp_path / "whole", None)
    train_run(plan(**settings, steps=22), tmp_path / "halves", None)
    resume_run(plan_of(tmp_path / "halves", steps=40), tmp_path / "halves", None)
    whole, _, resumed = trained
    assert resumed.agent.grad_steps == whole.agent.grad_steps > 15
    assert set(differences(whole, resumed)) <= {"training.progress.saved"}
    assert logs(tmp_path / "whole") == logs(tmp_path / "halves")


@pytest.mark.parametrize("settings", [{}, {"envs": 3, "buffer_size": 40}, {"n_step": 3, "priorities": 0.5}])
def test_batches_show_what_the_environments_showed(monkeypatch, settings):
    shown, given = set(), []
    began, took, update = Episodes.began, Episodes.took, Learner.update

    def watched_began(self, env_index, obs):
        shown.add(obs.tobytes())
        began(self, env_index, obs)

    def watched_took(self, env_index, action, outcome, collected):
        shown.add(outcome.next_obs.tobytes())
        took(self, env_index, action, outcome, collected)

    def watched_update(self, batch):
        given.extend(row.tobytes() for row in (*batch.obs.numpy(), *batch.next_obs.numpy()))
        return update(self, batch)

    monkeypatch.setattr(Episodes, "began", watched_began)
    monkeypatch.setattr(Episodes, "took", watched_took)
    monkeypatch.setattr(Learner, "update", watched_update)
    train_run(plan(steps=60, frame_stack=3, utd=0.3, **settings), None, None)
    assert len(shown) > 60
    assert len(given) > 100
    assert set(given) <= shown
    assert len(set(given)) > 25


def test_goals_of_hindsight_leave_pictures_alone(trained):
    settings = {"env_args": {}, "hindsight": 4, "frame_stack": 2, "steps": 40, "augment": "shift"}
    train_run(plan("tests.training.test_pictures:SeenReach", **settings), None, None)
    (training,) = trained
    goals = training.replay.data["obs"]
    assert goals.shape[1] == 6
    batch = training.sampler.sample()
    assert batch.obs.shape == (6, 6 + 2 * 256)
    assert (batch.obs[:, 6:] == batch.obs[:, 6:].round()).all()
    own = set(map(tuple, goals[:, 2:4].tolist()))
    assert any(tuple(goal) not in own for _ in range(5) for goal in training.sampler.sample().obs[:, 2:4].tolist())


def test_an_agent_that_sees_acts_elsewhere_as_it_did(tmp_path):
    agent = rucksac.train("tests.worlds:Screen", run=tmp_path / "run", **{**SMALL, **SCREEN, "steps": 24})
    again = rucksac.load(tmp_path / "run")
    env = make_one("tests.worlds:Screen", agent.config)
    obs, _ = env.reset(seed=3)
    assert agent.predict(obs)[0] == again.predict(obs)[0]
    assert "diagnos" not in run_command("diagnose", tmp_path / "run").stderr
    followed = rucksac.train(
        "tests.worlds:Screen", start_from=tmp_path / "run", start_with_replay=True, steps=10, seed=2
    )
    assert followed.grad_steps > 0
    with pytest.raises(UsageError, match="shape"):
        rucksac.train("tests.worlds:Screen", start_from=tmp_path / "run", frame_stack=3)


@pytest.mark.parametrize("settings", [{"numbers": True}, pytest.param({}, marks=pytest.mark.long)])
def test_policies_that_see_are_exported_where_that_can_be(tmp_path, settings):
    normalised = bool(settings)
    agent = rucksac.train(
        lambda: Screen("CHW", **settings),
        **{**SMALL, **SCREEN, "env_args": {}, "steps": 20, "normalise_observations": normalised},
    )
    for name in ("policy.pt2", "policy.onnx"):
        found = export(agent, tmp_path / name)
        assert found.check.passed, (name, found.check)
        assert found.inputs[0]["dtype"] == "uint8"
        assert found.inputs[0]["shape"] == [2, 2, 16, 16]
    for name, says in (
        ("policy.npz", "plain networks only, but the policy sees pictures"),
        ("policy.h", "sees pictures"),
    ):
        with pytest.raises(UsageError, match=says):
            export(agent, tmp_path / name)
    with pytest.raises(UsageError, match="--int8 is for policies without pictures"):
        export(agent, tmp_path / "small.onnx", int8=True)


def test_memory_is_that_of_one_copy_of_each_frame_and_what_fits_is_said(monkeypatch):
    seen = Config(buffer_size=100_000, frame_stack=3)
    spaces = spaces_of(make_one(lambda: Screen(size=84), seen))
    assert replay_bytes(seen, spaces) == 100_000 * (84 * 84 * 3 + 4 + 4 + 1)
    monkeypatch.setattr("rucksac.training.needs.available_memory", lambda: 10**9)
    with pytest.raises(UsageError, match=r"100,000 rows takes 2,020 MiB, .* use --buffer-size 236[0-9]{2} or less"):
        require_memory(seen, spaces)


def test_what_is_for_pictures_is_refused_without_one():
    for recipe in ("drq", "drq-v2"):
        with pytest.raises(UsageError, match="--frame-stack 3 is for pictures, but no part of the observation is one"):
            rucksac.train("Pendulum-v1", recipe=recipe, steps=20)
        small = {"frame_stack": 1, "hidden": (4,), "buffer_size": 2_000}
        without = with_settings(RECIPES[recipe].config, small)
        with pytest.raises(UsageError, match="--augment shift is for pictures, .* give --augment none"):
            train_run(Plan("Pendulum-v1", without, recipe), None, None)


@pytest.mark.long
@pytest.mark.parametrize(("recipe", "order"), [("drq", "HWC"), ("drq-v2", "CHW")])
def test_an_agent_learns_to_do_what_a_picture_shows(recipe, order):
    settings = {**SMALL, "steps": 1_200, "warmup": 200, "batch_size": 32, "hidden": (64,), "gamma": 0.0, "lr": 1e-3}
    settings |= {"utd": 1.0, "eval_every": 10_000, "buffer_size": 2_000, "n_step": 1, "policy_delay": 1}
    settings |= {"augment": "none"}  # the place is what is shown
    settings |= (
        {"initial_alpha": 0.01} if recipe == "drq" else {"initialisation": "default"}
    )  # so few units begin large
    agent = rucksac.train(lambda: Screen(order), recipe=recipe, **settings)
    found = rucksac.evaluate(agent, lambda: Screen(order), episodes=10).summary
    assert found.mean > 6.0  # of 8; the best action without looking gives 4.4
