"""How networks see pictures: against PyTorch's own layers in float64, and who learns from what."""

import copy

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict
from torch import nn

from rucksac.algorithm.architecture import FEATURES, Encoder
from rucksac.algorithm.encoder import CONVOLUTIONS, Seeing, channels_of
from rucksac.algorithm.networks import MLP, weights_of
from rucksac.building import build, compile_steps, describe
from rucksac.environments.observations import Composite
from rucksac.environments.pictures import Picture
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.learner import Learner
from tests.algorithm.steps import ACTIONS, PICTURES, ROWS, SEEING, SPACES, batch, config, draws, equal, scalars


def seen(seed=0, rows=ROWS, spaces=SEEING):
    """Return a batch with observations of these spaces."""
    random = torch.Generator().manual_seed(seed)
    numbers = torch.randn(2, rows, spaces.numbers, generator=random)
    pixels = torch.randint(256, (2, rows, spaces.obs_size - spaces.numbers), generator=random).float()
    obs, next_obs = torch.cat([numbers, pixels], -1)
    return batch(seed, rows)._replace(obs=obs, next_obs=next_obs)


def test_channels_are_those_of_the_picture_in_either_order():
    frames = torch.arange(2 * 16 * 15 * 3.0).reshape(1, 2, 16, 15, 3)  # two frames, rows, columns, channels
    wanted = torch.cat([frames[:, 0].permute(0, 3, 1, 2), frames[:, 1].permute(0, 3, 1, 2)], 1)
    ahead = torch.full((1, 4), -1.0)
    for first, given in ((False, frames), (True, frames.permute(0, 1, 4, 2, 3))):
        obs = torch.cat([ahead, given.reshape(1, -1), ahead], -1)
        assert torch.equal(channels_of(obs, Picture(4, 2, 16, 15, 3, first)), wanted)


LARGER = Dict(a=Box(0, 255, (2, 36, 45, 1), np.uint8), b=Box(-1.0, 1.0, (3,)), c=Box(0, 255, (2, 37, 36), np.uint8))
LAYERS = {"drq": [(32, 3, 2), (32, 3, 1), (32, 3, 1), (32, 3, 1)], "nature": [(32, 8, 4), (64, 4, 2), (64, 3, 1)]}


@pytest.mark.parametrize(("name", "space"), [("drq", PICTURES), ("nature", LARGER)])
def test_features_are_those_of_pytorchs_own_layers(name, space):
    spaces = Spaces(Composite(space), ACTIONS)
    encoder = describe(config(encoder=name), spaces)[1]
    assert isinstance(encoder, Encoder)
    network = Seeing(encoder, nn.Identity(), torch.Generator().manual_seed(0), learned=True).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    obs, found = seen(spaces=spaces).obs.double(), []
    first, second = space["a"].shape[:3], space["c"].shape  # of two frames, and of two channels
    begin = 3 + int(np.prod(first))
    for number, picture in enumerate((obs[:, 3:begin].reshape(-1, *first), obs[:, begin:].reshape(-1, *second))):
        x, inputs = picture / 255 - 0.5, 2
        for layer, (filters, side, stride) in enumerate(LAYERS[name]):
            convolution = nn.Conv2d(inputs, filters, side, stride).double()
            convolution.weight.data = getattr(network.convolutions, f"weight{number}_{layer}").data
            convolution.bias.data = getattr(network.convolutions, f"bias{number}_{layer}").data
            x, inputs = convolution(x).relu(), filters
        found.append(x.flatten(1))
    linear, norm = nn.Linear(encoder.convolved, FEATURES).double(), nn.LayerNorm(FEATURES).double()
    linear.weight.data, linear.bias.data = network.features.weight.data.T, network.features.bias.data
    norm.weight.data, norm.bias.data = network.norm.weight.data, network.norm.bias.data
    features = torch.tanh(norm(linear(torch.cat(found, -1))))
    torch.testing.assert_close(network(obs), torch.cat([obs[:, :3], features], -1), rtol=0, atol=1e-12)
    weights = [each for name, each in network.named_parameters() if "weight" in name and "norm" not in name]
    assert encoder.weights == sum(map(torch.numel, weights))
    assert encoder.outputs == 3 + FEATURES


def test_an_encoder_that_fits_no_picture_is_refused():
    with pytest.raises(UsageError, match="--encoder nature leaves nothing of a picture of 15 x 15 pixels; give"):
        build(config(encoder="nature"), SEEING)
    with pytest.raises(UsageError, match="--encoder nature is for pictures, but no part of the observation is one"):
        build(config(encoder="nature"), SPACES)


@pytest.mark.parametrize("settings", [{}, {"value_network": True}, {"deterministic_policy": True}, {"critics": 4}])
def test_the_critics_learn_the_convolutions_and_all_else_reads_them(settings):
    agent = build(config(**settings), SEEING)
    state, step = agent.state, agent.algorithm.step
    shared = [name for name in state.critic.parameters if name.startswith(CONVOLUTIONS)]
    assert len(shared) == 2 * 4 * 2  # weights and biases of four layers for each picture
    assert set(shared) == set(state.policy.statistics) == set(agent.algorithm.shared)
    assert not set(shared) & set(state.policy.parameters)

    def convolutions(weights):
        return {name: weights[name] for name in shared}

    assert equal(convolutions(state.policy.statistics), convolutions(state.critic.parameters))
    still, _ = step(state, seen(), draws(), scalars(policy=1e-2, critic=0.0, temperature=0.0, tau=0.0))
    assert equal(still.critic, state.critic._replace(moments=still.critic.moments))
    assert equal(still.policy.statistics, state.policy.statistics)
    assert not torch.equal(still.policy.parameters["features.weight"], state.policy.parameters["features.weight"])
    moved, _ = step(state, seen(), draws(), scalars(policy=0.0, critic=1e-2, temperature=0.0, tau=0.0), improve=False)
    assert equal(moved.policy.parameters, state.policy.parameters)
    for reader in ("policy", *(["state_value"] if "value_network" in settings else [])):
        assert equal(convolutions(getattr(moved, reader).statistics), convolutions(moved.critic.parameters))
    for name in shared:
        if "weight" in name:
            assert not torch.equal(moved.critic.parameters[name], state.critic.parameters[name]), name


def test_the_policy_acts_by_what_the_critics_have_learned():
    learner = Learner(build(config(lr=1e-2), SEEING))
    agent, obs = learner.agent, seen().obs.numpy()
    for index in range(3):
        learner.update(seen(index))
    module = copy.deepcopy(agent.algorithm.policy)
    with torch.no_grad():
        for name, parameter in agent.state.critic.parameters.items():
            if name.startswith(CONVOLUTIONS):
                module.get_buffer(name).copy_(parameter)
        mean = module(torch.from_numpy(obs))[:, :2].tanh()
    assert np.array_equal(agent.act(obs, deterministic=True), mean.numpy())


def test_numbers_are_normalised_and_pixels_are_not():
    agent = build(config(normalise_observations=True), SEEING)
    rows = seen().obs.numpy()
    for row in rows:
        agent.normaliser.learn(0, row, 0.0, ended=False)
    found = agent.normaliser.observations(rows)
    assert np.array_equal(found[:, 3:], rows[:, 3:])
    assert found[:, :3].std(0) == pytest.approx([1.0] * 3, abs=1e-3)
    only = Spaces(Composite(Box(0, 255, (15, 15, 3), np.uint8)), ACTIONS)
    with pytest.raises(UsageError, match="--normalise-observations is for numbers, but here are nothing but pictures"):
        build(config(normalise_observations=True), only)


def test_one_network_of_ones_own_is_not_enough_for_pictures():
    policy = MLP(describe(config(), SEEING)[0]["policy"], torch.Generator())
    with pytest.raises(UsageError, match="give both policy and critic, or none"):
        build(config(), SEEING, policy=policy)


def test_networks_of_ones_own_get_the_flat_pictures():
    class Flat(nn.Module):
        def __init__(self, outputs):
            super().__init__()
            self.linear = nn.Linear(SEEING.obs_size, outputs)

        def forward(self, obs, *action):
            answer = self.linear(obs / 255.0)
            return answer.expand(2, *answer.shape).squeeze(-1) if action else answer

    with pytest.raises(UsageError, match="--encoder is for rucksac's own networks; leave it out"):
        build(config(encoder="nature"), SEEING, policy=Flat(4), critic=Flat(1))
    learner = Learner(build(config(), SEEING, policy=Flat(4), critic=Flat(1)))
    assert np.isfinite(sum(learner.update(seen()).metrics.values()))
    assert not weights_of(learner.agent.algorithm.policy)[1]


@pytest.mark.long
def test_compiled_equals_eager():
    learners = [Learner(build(config(compile=how, lr=1e-3), SEEING)) for how in ("never", "auto")]
    assert compile_steps(learners[1]) is None
    for index in range(6):
        left, right = (learner.update(seen(index)).metrics for learner in learners)
        assert left == pytest.approx(right, rel=1e-4, abs=1e-5)
    for name, tensor in learners[0].agent.tensors().items():
        torch.testing.assert_close(tensor, learners[1].agent.tensors()[name], rtol=1e-3, atol=1e-5)
    obs = seen(rows=1).obs.numpy()
    np.testing.assert_allclose(*(each.agent.act(obs, deterministic=True) for each in learners), rtol=1e-4, atol=1e-6)
