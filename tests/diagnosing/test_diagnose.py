"""Each fault is planted in a real run and must be found; runs without one must give no advice."""

import dataclasses
import functools
import json
import shlex

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

import rucksac
from rucksac.building import build
from rucksac.cli import main
from rucksac.commands.parsing import parse
from rucksac.commands.training import Train
from rucksac.config import Config
from rucksac.diagnosing.diagnosis import diagnose
from rucksac.diagnosing.units import dead_units
from rucksac.environments.reading import spaces_of
from rucksac.training.estimates import at_starts, play
from tests.diagnosing.faults import Cart
from tests.worlds import Delayed, Reach

SHORT = {"hidden": (32,), "compile": "never", "threads": 1, "batch_size": 32, "warmup": 100, "steps": 200}
SHORT |= {"eval_every": 10_000, "eval_episodes": 1, "checkpoint_every": 10_000, "buffer_size": 10_000, "log_every": 50}
LONGER = {**SHORT, "hidden": (32, 32), "steps": 1_400}


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Return what is found of a run in an environment with this fault; each is trained once."""
    folder, runs = tmp_path_factory.mktemp("planted"), {}

    def found(env, **settings):
        key = repr((env, settings))
        if key not in runs:
            runs[key] = folder / str(len(runs))
            rucksac.train(env, run=runs[key], **{"recipe": "plain", **settings})
        told = diagnose(runs[key], env)
        json.dumps(told.to_json(), allow_nan=False)
        assert told.evidence.missing == {}
        assert len({finding.what for finding in told.findings}) == len(told.findings)
        return {finding.what: finding for finding in told.findings}

    return found


def cart(**fault):
    return functools.partial(Cart, **fault)


def test_a_run_that_is_short_is_said_to_be_that_and_nothing_else(planted):
    found = planted(cart(), **SHORT)
    assert list(found) == ["short run"]
    assert found["short run"].values == {"grad_steps": 101}


@pytest.mark.long
def test_the_memory_of_a_run_with_collectors_is_read_too(planted):
    found = planted(cart(terminates=True), **{**SHORT, "collectors": 2, "most_lag": 0})["time limit"]
    assert found.values == {"length": 50, "episodes": 4, "of": 4}


def test_a_time_limit_that_counts_as_termination(planted):
    found = planted(cart(terminates=True), **SHORT)["time limit"]
    assert found.values == {"length": 50, "episodes": 4, "of": 4}
    assert "truncated instead of terminated" in found.remedy


def test_observations_of_unequal_scale(planted):
    found = planted(cart(obs_scales=(1e-3, 1e3)), **SHORT)["observation scale"]
    assert found.flags == ("--normalise-observations",)
    assert found.values["largest_rms"] > 1e4 * found.values["smallest_std"]
    assert "obs[1] has a root mean square" in found.says
    assert "obs[0] varies" in found.says
    for scales in ({"recipe": "rucksac"}, {"normalise_observations": True}, {"blocks": "batch-norm", "hidden": 8}):
        assert "observation scale" not in planted(cart(obs_scales=(1e-3, 1e3)), **{**SHORT, **scales})


def test_a_number_that_never_changes(planted):
    found = planted(cart(blind=True), **SHORT)["constant numbers"]
    assert "obs[1]" in found.says
    assert "obs[0]" not in found.says


def test_a_warm_up_without_any_reward(planted):
    found = planted(cart(near=0.0), **SHORT)["no reward"]
    assert found.values == {"reward": 0.0, "steps": 100, "other": 0.0}
    assert found.flags == ()
    goals = planted(functools.partial(Reach, near=1e-9), **SHORT)["no reward"]
    assert goals.flags == ("--hindsight", "4")


def test_hardly_any_gradient_steps(planted):
    found = planted(cart(), **{**SHORT, "utd": 0.05})["few gradient steps"]
    assert found.values == {"grad_steps": 5, "env_steps": 100, "utd": 0.05}
    assert found.flags == ("--utd", "1")


def test_a_run_that_has_not_begun_to_learn(planted):
    found = planted(cart(), **{**SHORT, "steps": 90})
    assert list(found) == ["no learning yet"]


def test_an_environment_that_fails_while_the_agent_acts(tmp_path):
    rucksac.train(cart(), run=tmp_path / "run", **{**SHORT, "steps": 100})
    told = diagnose(tmp_path / "run", cart(nan=True))
    assert "not finite" in told.findings[0].says
    assert told.findings[0].what == "environment"


@pytest.mark.long
def test_episodes_that_do_not_end(planted):
    settings = {**SHORT, "steps": 5_050, "utd": 0.01}
    found = planted(cart(limit=5_100), **settings)["no episode ended"]
    assert found.flags == ("--time-limit", "1000")


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "settings", "what", "flags"),
    [
        ({"reward_scale": 1e3}, {}, "reward scale", ("--normalise-rewards",)),
        ({"reward_scale": 1e-4}, {}, "reward scale", ("--normalise-rewards",)),
        ({}, {"alpha": 100.0}, "reward scale", ("--alpha", "learned")),
        ({}, {"alpha": 1e-5}, "entropy", ("--alpha", "learned")),
        ({}, {"lr": 0.1}, "policy units", ("--lr", "0.0003")),
        ({"push": True, "reward_scale": 100.0}, {}, "saturation", ("--policy-lr", "0.00033")),
    ],
)
def test_a_fault_in_learning(planted, fault, settings, what, flags):
    assert planted(cart(**fault), **LONGER, **settings)[what].flags == flags


@pytest.mark.long
def test_a_run_that_learns_gets_no_advice(planted):
    for recipe in ("plain", "rucksac"):
        assert planted(cart(), recipe=recipe, **LONGER) == {}


@pytest.mark.long
def test_critics_that_expect_too_much(planted):
    settings = {**LONGER, "critics": 1, "utd": 8.0, "lr": 3e-3, "tau": 0.2, "steps": 280, "log_every": 100}
    found = planted(cart(), **settings)["over-estimation"]
    assert np.mean(found.values["estimated"]) > np.mean(found.values["obtained"])
    assert found.flags == ("--critics", "2")


@pytest.mark.long
@pytest.mark.parametrize(("env", "steps", "hidden"), [("Pendulum-v1", 3_000, (64, 64)), ("CartPole-v1", 3_000, (64,))])
def test_runs_with_default_settings_get_no_advice(tmp_path, capsys, env, steps, hidden):
    rucksac.train(env, run=tmp_path / "run", steps=steps, hidden=hidden, compile="never", threads=1)
    assert main(["diagnose", str(tmp_path / "run")]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"Nothing stands out: {steps:,} steps, ")
    assert "critics expect" in line


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    run = tmp_path_factory.mktemp("pendulum") / "run"
    rucksac.train("Pendulum-v1", run=run, **{**SHORT, "steps": 450, "utd": 0.05})
    return run


def test_the_answer_ends_with_a_command_that_tries_the_first_remedy(pendulum, capsys):
    assert main(["diagnose", str(pendulum)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(pendulum)
    assert lines[1].startswith(" ! few gradient steps")
    command = shlex.split(lines[-1].removeprefix("Try first:"))
    assert command[:3] == ["rucksac", "train", "Pendulum-v1"]
    again = parse("train", Train, command[2:])
    before = Config.from_json(json.loads((pendulum / "config.json").read_text())["settings"])
    assert again.settings == dataclasses.replace(before, utd=1.0)


def test_json_has_the_figures(pendulum, capsys):
    assert main(["diagnose", str(pendulum), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["env_steps"], told["grad_steps"], told["not_looked_at"]) == (450, 17, {})
    assert [each["what"] for each in told["findings"]] == ["few gradient steps"]
    assert len(told["estimates"]["estimated"]) == len(told["estimates"]["obtained"]) == 10


def test_what_cannot_be_looked_at_is_said(tmp_path, capsys):
    rucksac.train(cart(), run=tmp_path / "run", **{**SHORT, "steps": 100})
    assert main(["diagnose", str(tmp_path / "run")]) == 0
    assert "Not looked at: episodes with the agent (the environment was made by a function" in capsys.readouterr().out
    for file in (tmp_path / "run/replay").iterdir():
        file.write_bytes(b"")
    assert main(["diagnose", str(tmp_path / "run"), "--env", "tests.diagnosing.faults:Cart", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["not_looked_at"]) == ["replay memory"]
    assert told["estimates"]
    for file in (tmp_path / "run/checkpoints").glob("*/agent.json"):
        file.unlink()
    assert main(["diagnose", str(tmp_path / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["not_looked_at"]) == ["agent"]
    assert told["grad_steps"] == 1  # as the logs have it
    (tmp_path / "run/episodes.csv").unlink()
    assert main(["diagnose", str(tmp_path / "run"), "--json"]) == 0
    assert "episodes.csv" in json.loads(capsys.readouterr().out)["not_looked_at"]
    for name in ("metrics.csv", "evaluations.csv"):
        whole = (tmp_path / "run" / name).read_bytes()
        (tmp_path / "run" / name).write_bytes(b"env_steps\n\xff\n")
        assert main(["diagnose", str(tmp_path / "run")]) == 2
        assert f"{name} is damaged" in capsys.readouterr().err
        (tmp_path / "run" / name).write_bytes(whole)


@pytest.mark.parametrize("given", ["nowhere", "."])
def test_what_is_no_run_is_refused(given, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["diagnose", given]) == 2
    assert "folder of a run" in capsys.readouterr().err


class Walk(gymnasium.Env):
    """Three steps, whose rewards are 1, 2 and 3; the last one ends the episode as it is told."""

    observation_space = Box(-9, 9, (1,), np.float32)
    action_space = Discrete(3)

    def __init__(self, terminates):
        self.terminates = terminates

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        over = self.steps == 3
        return np.array([self.steps], np.float32), float(self.steps), over and self.terminates, over, {}


WALKER = Config(hidden=(8,), gamma=0.9, alpha=0.5, entropy_to_come="always", reward_scale=2.0, compile="never")


def networks_at(agent, obs):
    """The entropy of the policy and the smaller of both critics' answers, in each state."""
    seen = torch.from_numpy(obs)
    with torch.inference_mode():
        log_prob = agent.algorithm.policy(seen).log_softmax(-1)
        return -(log_prob.exp() * log_prob).sum(-1).numpy(), agent.algorithm.critic.network(seen).amin(0).numpy()


def test_the_soft_return_is_the_sum_of_its_definition():
    env = Walk(terminates=True)
    agent = build(WALKER, spaces_of(env))
    before = [tensor.clone() for tensor in agent.tensors().values()]
    noise = agent.acting_noise.bit_generator.state
    played = play(agent, env, episodes=2)
    entropy, q = networks_at(agent, np.arange(3, dtype=np.float32)[:, None])
    for each in played:
        last = 2.0 * 3.0
        middle = 2.0 * 2.0 + 0.9 * (0.5 * entropy[2] + last)
        assert each.obtained == pytest.approx([2.0 + 0.9 * (0.5 * entropy[1] + middle), middle, last])
        assert each.estimated == pytest.approx(q[np.arange(3), each.action.argmax(-1)])
        assert (each.total_return, each.beyond) == (6.0, 0.0)
    starts = at_starts(played)
    assert starts.obtained.tolist() == [each.obtained[0] for each in played]
    assert starts.error.mean == pytest.approx(np.mean([each.estimated[0] - each.obtained[0] for each in played]))
    assert all(torch.equal(*pair) for pair in zip(before, agent.tensors().values(), strict=True))
    assert agent.acting_noise.bit_generator.state == noise


def test_where_an_episode_is_cut_off_the_critics_stand_for_the_rest():
    env = Walk(terminates=False)
    agent = build(WALKER, spaces_of(env))
    (cut, short) = play(agent, env, episodes=2, most_steps=5)
    entropy, q = networks_at(agent, np.arange(4, dtype=np.float32)[:, None])
    starts = at_starts([cut, short])
    assert starts.error.mean == pytest.approx(
        np.mean([(each.estimated[0] - each.obtained[0]) / (1.0 - each.beyond) for each in (cut, short)])
    )
    for each, length in ((cut, 3), (short, 2)):
        assert (len(each.obs), each.beyond) == (length, pytest.approx(0.9**length))
        rest = each.obtained[-1] - 2.0 * length
        assert np.isclose(0.9 * (0.5 * entropy[length] + q[length]), rest).any()


def test_without_entropy_to_come_the_return_is_plain():
    env = Delayed()
    agent = build(Config(hidden=(8,), gamma=0.9, deterministic_policy=True, compile="never"), spaces_of(env))
    (played,) = play(agent, env, episodes=1)
    assert played.obtained == pytest.approx([0.9, 1.0])


def test_units_that_never_answer_are_counted():
    config = Config(hidden=(8, 4), critics=2, compile="never")
    env = gymnasium.make("Pendulum-v1")
    agent = build(config, spaces_of(env))
    tensors = agent.tensors()
    tensors["policy.parameters.layers.0.bias"][:] = torch.tensor([-1e3] * 2 + [1e3] * 6)
    tensors["critic.parameters.mlp.layers.0.bias"][:] = 1e3
    tensors["critic.parameters.mlp.layers.1.weight"][:] = 0.0
    tensors["critic.parameters.mlp.layers.1.bias"][0] = -1.0  # all units of the first critic
    tensors["critic.parameters.mlp.layers.1.bias"][1] = 1.0
    obs, action = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32), np.zeros((50, 1), np.float32)
    found = dead_units(agent, obs, action)
    assert found["policy"][0] == 0.25
    assert found["critic"] == [0.0, 0.5]
    assert dead_units(build(dataclasses.replace(config, activation="tanh"), agent.spaces), obs, action) == {}
