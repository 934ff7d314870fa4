"""Environments of every family that Gymnasium has, trained for real, if not for long."""

import numpy as np
import pytest

import rucksac

SMALL = {"steps": 120, "warmup": 40, "batch_size": 32, "hidden": (16,), "eval_episodes": 1, "compile": "never"}


@pytest.mark.parametrize(
    ("env", "settings", "sizes"),
    [
        ("BipedalWalker-v3", {}, (24, 4)),
        ("LunarLander-v3", {"env_args": {"continuous": True}}, (8, 2)),
        ("LunarLander-v3", {}, (8, 4)),
        ("MountainCarContinuous-v0", {}, (2, 1)),
        ("CartPole-v1", {"envs": 2}, (4, 2)),
        ("FrozenLake-v1", {}, (16, 4)),
        ("Blackjack-v1", {}, (32 + 11 + 2, 2)),
        ("Reacher-v5", {}, (10, 2)),
        ("Swimmer-v5", {"frame_skip": 2}, (8, 2)),
        ("HalfCheetah-v5", {"normalise_observations": True}, (17, 6)),
        ("Humanoid-v5", {"normalise_rewards": True}, (348, 17)),
    ],
)
def test_every_family_trains(env, settings, sizes):
    agent = rucksac.train(env, time_limit=50, **SMALL, **settings)
    assert (agent.spaces.obs_size, agent.spaces.action_size) == sizes
    assert agent.grad_steps == 120 - 40 + settings.get("envs", 1)
    judged = rucksac.evaluate(agent, env, episodes=2)
    assert max(episode.length for episode in judged.episodes) <= 50
    assert np.isfinite(judged.returns).all()
