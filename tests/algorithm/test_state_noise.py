"""Noise that is linear in the policy's last hidden layer, against numbers by NumPy."""

import copy

import numpy as np
import pytest
import torch

from rucksac.algorithm.networks import call
from rucksac.building import build
from rucksac.errors import UsageError
from tests.algorithm.steps import SEEING, SPACES, batch, config, draws, equal, learner, scalars
from tests.algorithm.test_parts import discrete_spaces

OBS = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))


def by_numpy(agent, obs):
    """Return hidden layer, mean and weights' standard deviations."""
    hidden = obs.double().numpy()
    weights = {name: tensor.double().numpy() for name, tensor in agent.state.policy.weights.items()}
    for layer in range(2):
        hidden = np.maximum(
            hidden @ weights[f"network.layers.{layer}.weight"] + weights[f"network.layers.{layer}.bias"], 0.0
        )
    mean = hidden @ weights["network.layers.2.weight"] + weights["network.layers.2.bias"]
    return hidden, mean, np.exp(weights["log_std"])


def test_the_output_is_the_gaussian_that_the_noise_makes():
    agent = build(config(gsde=True), SPACES)
    hidden, mean, std = by_numpy(agent, OBS)
    given = call(agent.algorithm.policy, agent.state.policy.weights, OBS).numpy()
    np.testing.assert_allclose(given[:, :2], mean, atol=1e-6)
    np.testing.assert_allclose(np.exp(given[:, 2:]), np.sqrt(hidden**2 @ std**2 + 1e-6), rtol=1e-5)
    assert agent.noise_size == 8 * 2
    noise = np.random.default_rng(0).standard_normal((20_000, 16))
    rows = OBS[:1].expand(20_000, 3)
    acted = call(agent.algorithm.policy, agent.state.policy.weights, rows, torch.from_numpy(noise).float()).numpy()
    spread = acted[:, :2].std(0) / np.exp(given[0, 2:])
    np.testing.assert_allclose(spread, 1.0, atol=0.03)  # six standard errors
    assert abs(np.corrcoef(acted[:, 0], acted[:, 1])[0, 1]) < 0.05


def test_equal_noise_is_the_same_function_of_every_state():
    agent = build(config(gsde=True), SPACES)
    hidden, mean, std = by_numpy(agent, OBS)
    noise = np.random.default_rng(1).standard_normal(16).astype(np.float32)
    theta = noise.reshape(8, 2) * std
    given = agent.algorithm.act(agent.state.policy.weights, OBS, torch.from_numpy(noise).expand(5, 16))
    np.testing.assert_allclose(given.numpy(), np.tanh(mean + hidden @ theta), atol=1e-6)
    quiet = agent.algorithm.act(agent.state.policy.weights, OBS, torch.zeros(5, 16))
    np.testing.assert_allclose(quiet.numpy(), np.tanh(mean), atol=1e-6)
    np.testing.assert_array_equal(agent.act(OBS.numpy(), deterministic=True), quiet.numpy())


def test_learning_reaches_the_noise_and_nothing_but_the_policy():
    agent = build(config(gsde=True), SPACES)
    before = copy.deepcopy(agent.state)
    after, _ = agent.algorithm.step(agent.state, batch(), draws(), scalars())
    assert not equal(after.policy.parameters["log_std"], before.policy.parameters["log_std"])
    assert set(after.critic.parameters) == set(build(config(), SPACES).state.critic.parameters)
    still, _ = agent.algorithm.step(agent.state, batch(), draws(), scalars(), improve=False)
    assert equal(still.policy, before.policy)


@pytest.mark.parametrize(
    "settings",
    [
        {"policy_norm": "batch-before", "weight_norm": True},
        *({"blocks": blocks, "hidden": (6,)} for blocks in ("pre-norm", "post-norm", "hyperspherical", "batch-norm")),
    ],
)
def test_it_goes_with_every_kind_of_network(settings):
    learns = learner(gsde=True, **settings)
    first = copy.deepcopy(learns.agent.state.policy)
    for index in range(3):
        learns.update(batch(index))
    for name, tensor in learns.agent.state.policy.parameters.items():
        if settings.get("weight_norm") and name.endswith("weight") and "layers" in name:
            torch.testing.assert_close(tensor.square().sum(-2), torch.ones(tensor.shape[-1]))
    assert not equal(first.parameters["log_std"], learns.agent.state.policy.parameters["log_std"])
    assert np.isfinite(learns.agent.act(OBS.numpy())).all()


def test_pictures_are_seen_before_the_noise_is_made():
    agent = build(config(gsde=True), SEEING)
    obs = np.random.default_rng(0).uniform(0, 255, (2, SEEING.obs_size)).astype(np.float32)
    assert not np.array_equal(agent.act(obs), agent.act(obs, deterministic=True))
    assert agent.noise_size == 16


def test_it_is_refused_where_it_has_no_meaning():
    with pytest.raises(UsageError, match="--gsde is for continuous actions, but here are 2 choices; leave it out"):
        build(config(gsde=True), discrete_spaces())
    own = torch.nn.Linear(3, 4)
    with pytest.raises(UsageError, match="--gsde is for rucksac's own networks"):
        build(config(gsde=True), SPACES, policy=own)
