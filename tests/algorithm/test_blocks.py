"""Networks of blocks against PyTorch's own layers, and their first weights."""

import math

import pytest
import torch
from torch import nn

from rucksac.algorithm.architecture import Architecture
from rucksac.algorithm.blocks import NETWORKS, PreNorm
from rucksac.algorithm.networks import PairMLP


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def shaken(network):
    """Return the network with all its parameters away from where they begin."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=seeded(7))
    return network


def linear(dense, index):
    layer = nn.Linear(*dense.weight.shape[-2:])
    layer.weight.data, layer.bias.data = dense.weight[index].T, dense.bias[index].reshape(-1)
    return layer


def layer_norm(norm, index):
    layer = nn.LayerNorm(norm.weight.shape[-1])
    layer.weight.data, layer.bias.data = norm.weight[index].reshape(-1), norm.bias[index].reshape(-1)
    return layer


def test_blocks_with_a_norm_before_them_are_those_of_the_paper():
    network, x = shaken(PreNorm(Architecture((5, 6, 6, 3), 2, blocks="pre-norm"), seeded())), torch.randn(4, 5)
    together = network(x)
    assert together.shape == (2, 4, 3)
    for index in range(2):
        first, *inside, last = (linear(layer, index) for layer in network.layers)
        assert [layer.out_features for layer in inside] == [24, 6, 24, 6]
        *before, final = (layer_norm(norm, index) for norm in network.norms)
        y = first(x)
        for number, norm in enumerate(before):
            y = y + nn.Sequential(norm, inside[2 * number], nn.ReLU(), inside[2 * number + 1])(y)
        torch.testing.assert_close(together[index], last(final(y)))


def test_a_block_by_hand():
    network = PreNorm(Architecture((1, 2, 1), blocks="pre-norm"), seeded())
    first, widen, narrow, last = network.layers
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.zero_()
        first.weight[:] = torch.tensor([[1.0, -1.0]])
        widen.weight[0, 0] = 2.0
        narrow.weight[0, 1] = 3.0
        last.weight[:] = torch.tensor([[1.0], [0.0]])
        last.bias[:] = 0.5
    # 4 enters as (4, -4), normed (1, -1), to which the block answers (0, 3 * 2); the sum (4, 2) is normed (1, -1) again
    assert network(torch.tensor([[4.0]])).item() == pytest.approx(1.5, abs=1e-4)


def test_first_weights_are_orthonormal_at_the_ends_and_of_variance_two_over_inputs_inside():
    network = PreNorm(Architecture((200, 200, 200), 2, blocks="pre-norm"), seeded())
    first, widen, narrow, last = network.layers
    for layer in (first, last):
        for matrix in layer.weight.detach():
            torch.testing.assert_close(matrix @ matrix.T, torch.eye(200), atol=1e-4, rtol=0)
    for layer, inputs in ((widen, 200), (narrow, 800)):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.01)
    assert not any(layer.bias.any() for layer in network.layers)


@pytest.mark.parametrize("blocks", [name for name in NETWORKS if name != "none"])
def test_weights_of_length_one_and_products_in_bf16_are_for_blocks_as_well(blocks):
    architecture = Architecture((5, 64, 1), 2, precision="bf16", unit_columns=True, blocks=blocks)
    critic = PairMLP(architecture, seeded(), NETWORKS[blocks])
    for layer in critic.mlp.layers:
        torch.testing.assert_close(layer.weight.square().sum(-2), torch.ones(2, layer.weight.shape[-1]))
    assert [layer.product for layer in critic.mlp.layers] == [None, torch.bfloat16, torch.bfloat16, None]
    obs, action = torch.randn(5, 3, generator=seeded(1)), torch.randn(5, 2, generator=seeded(2))
    rounded = critic(obs, action)
    for layer in critic.mlp.layers:
        layer.product = None
    assert rounded.dtype == torch.float32
    assert 0.0 < (rounded - critic(obs, action)).abs().max() < 0.1
