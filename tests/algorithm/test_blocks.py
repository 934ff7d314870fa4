"""Networks of blocks against PyTorch's own layers, and their first weights."""

import math

import pytest
import torch
from torch import nn

from rucksac.algorithm import equations
from rucksac.algorithm.architecture import Architecture
from rucksac.algorithm.blocks import NETWORKS, Hyperspherical, PostBatchNorm, PostNorm, PreNorm
from rucksac.algorithm.layers import RMSNorm
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
    layer = nn.Linear(*dense.weight.shape[-2:], bias=dense.bias is not None)
    layer.weight.data = dense.weight[index].T
    if dense.bias is not None:
        layer.bias.data = dense.bias[index].reshape(-1)
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


def test_blocks_with_a_norm_after_each_layer_are_those_of_the_paper():
    network = shaken(PostNorm(Architecture((5, 6, 6, 3), 2, blocks="post-norm"), seeded()))
    x = torch.randn(4, 5, generator=seeded(1))
    together = network(x)
    assert together.shape == (2, 4, 3)
    for index in range(2):
        *layers, last = (linear(layer, index) for layer in network.layers)
        assert [layer.out_features for layer in layers] == [6] * 5
        first, *pairs = (
            nn.Sequential(layer, layer_norm(norm, index)) for layer, norm in zip(layers, network.norms, strict=True)
        )
        y = first(x).relu()
        for one, other in (pairs[:2], pairs[2:]):
            y = y + other(one(y).relu())
        torch.testing.assert_close(together[index], last(y))


def test_a_norm_after_each_layer_by_hand():
    network = PostNorm(Architecture((1, 2, 1), blocks="post-norm"), seeded())
    first, widen, narrow, last = network.layers
    assert torch.linalg.norm(first.weight).item() == pytest.approx(math.sqrt(2))
    torch.testing.assert_close(widen.weight @ widen.weight.T, 2 * torch.eye(2))
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.zero_()
        first.weight[:] = torch.tensor([[1.0, -1.0]])
        widen.weight[0, 1] = 5.0
        narrow.weight[1] = torch.tensor([3.0, 7.0])
        last.weight[:] = torch.tensor([[1.0], [10.0]])
        last.bias[:] = 0.5
    # 4 enters as (4, -4), normed (1, -1), activated (1, 0); the block's (0, 5), normed (-1, 1), activated (0, 1), is
    # (3, 7), normed (-1, 1), which makes (0, 1)
    assert network(torch.tensor([[4.0]])).item() == pytest.approx(0.5 + 10.0, abs=1e-3)


def batch_norm(norm, index):
    layer = nn.BatchNorm1d(norm.weight.shape[-1], eps=1e-3, momentum=0.01)
    layer.weight.data, layer.bias.data = norm.weight[index, 0], norm.bias[index, 0]
    return layer


def test_blocks_with_batch_norm_after_each_layer_are_those_of_the_paper():
    network = shaken(PostBatchNorm(Architecture((5, 6, 6, 3), 2, blocks="batch-norm"), seeded()))
    x = torch.randn(4, 5, generator=seeded(1))
    together = network.train()(x)
    later = network.eval()(x)
    for index in range(2):
        first, *inside, last = (linear(layer, index) for layer in network.layers)
        assert [layer.out_features for layer in inside] == [24, 6, 24, 6]
        assert [layer.bias is None for layer in (first, *inside, last)] == [True] * 5 + [False]
        norm, *norms = (batch_norm(norm, index) for norm in network.norms)
        rms = nn.RMSNorm(6, eps=1e-6)
        rms.weight.data = network.final.weight[index, 0]
        blocks = [nn.Sequential(inside[i], norms[i], nn.ReLU(), inside[i + 1], norms[i + 1], nn.ReLU()) for i in (0, 2)]
        y = first(norm(x))
        for block in blocks:
            y = y + block(y)
        torch.testing.assert_close(together[index], last(rms(y)))
        assert not torch.allclose(together[index], later[index])
        for ours, theirs in zip(network.norms, (norm, *norms), strict=True):
            torch.testing.assert_close(ours.mean[index, 0], theirs.running_mean)


def test_first_weights_between_batch_norms_are_orthonormal():
    network = PostBatchNorm(Architecture((3, 8, 2), blocks="batch-norm"), seeded())
    for layer in network.layers:
        matrix = layer.weight.detach()
        narrow = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        torch.testing.assert_close(narrow @ narrow.T, torch.eye(len(narrow)), atol=1e-4, rtol=0)


def test_a_root_mean_square_by_hand():
    norm = RMSNorm(2, None)
    with torch.no_grad():
        norm.weight[:] = torch.tensor([1.0, 10.0])
    assert norm(torch.tensor([[1.0, 7.0]])).tolist() == [pytest.approx([0.2, 14.0])]  # sqrt((1 + 49) / 2) is 5


def test_blocks_on_the_unit_sphere_are_those_of_the_paper():
    network = shaken(Hyperspherical(Architecture((5, 6, 6, 3), 2, blocks="hyperspherical"), seeded()))
    x = torch.randn(4, 5, generator=seeded(1))
    together = network(x)
    unit = nn.functional.normalize
    assert together.shape == (2, 4, 3)
    for index in range(2):
        first, *inside, before, last = (linear(layer, index) for layer in network.layers)
        assert [layer.out_features for layer in inside] == [24, 6, 24, 6]
        assert [layer.bias is None for layer in (first, *inside, before, last)] == [True] * 6 + [False]

        def factors(scale, gain, index=index):
            return gain * scale.weight[index, 0]

        y = unit(first(unit(torch.cat([x, torch.full((4, 1), 3.0)], -1))) * factors(network.first, 1.0))
        for number in range(2):
            inner, step = network.inner[number], network.steps[number]
            answer = unit(inside[2 * number + 1]((inside[2 * number](y) * factors(inner, 1.0)).relu()))
            y = unit(y + factors(step, 6**0.5 / 3) * (answer - y))
        torch.testing.assert_close(together[index], last(before(y) * factors(network.last, 1.0)))


def test_a_step_on_the_unit_sphere_by_hand():
    network = Hyperspherical(Architecture((1, 2, 1), blocks="hyperspherical"), seeded())
    first, widen, narrow, before, last = network.layers
    assert network.first.weight.tolist() == [1.0, 1.0]  # sqrt(2 / 2)
    assert network.inner[0].weight.tolist() == [0.5] * 8
    assert network.steps[0](torch.ones(2)).tolist() == pytest.approx([0.5, 0.5])  # one block of one
    with torch.no_grad():
        for layer in network.layers:
            layer.weight.zero_()
        first.weight[:] = torch.eye(2)
        widen.weight[0, 0] = 1.0
        narrow.weight[0, 0] = -1.0
        before.weight[:] = torch.eye(2)
        last.weight[:] = torch.tensor([[1.0], [10.0]])
        last.bias[:] = 0.5
    # 4 and the constant 3 are (0.8, 0.6); the block answers (-1, 0), half way is (-0.1, 0.3), of length sqrt(0.1)
    assert network(torch.tensor([[4.0]])).item() == pytest.approx(0.5 + (-0.1 + 10 * 0.3) / math.sqrt(0.1))
    assert network(torch.tensor([[4e6]])).isfinite().all()  # inputs that are far away have a direction as well


def test_first_weights_on_the_unit_sphere_are_orthonormal_and_factors_move_by_their_unit():
    network = Hyperspherical(Architecture((7, 8, 8, 8, 8), 2, blocks="hyperspherical"), seeded())
    for layer in network.layers:
        for matrix in layer.weight.detach():
            narrow = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
            torch.testing.assert_close(narrow @ narrow.T, torch.eye(len(narrow)), atol=1e-4, rtol=0)
    ones = torch.ones(1, 8)
    torch.testing.assert_close(network.first(ones), torch.full((2, 1, 8), 0.5))
    torch.testing.assert_close(network.inner[0](torch.ones(1, 32)), torch.full((2, 1, 32), 0.25))
    torch.testing.assert_close(network.steps[2](ones), torch.full((2, 1, 8), 0.25))
    with torch.no_grad():
        for scale in (network.first, network.inner[0], network.steps[0], network.last):
            scale.weight += 0.1
    torch.testing.assert_close(network.first(ones), torch.full((2, 1, 8), 0.6))
    torch.testing.assert_close(network.steps[0](ones), torch.full((2, 1, 8), 0.25 + 0.1 * 0.25 * 8**0.5))
    torch.testing.assert_close(network.last(ones), torch.full((2, 1, 8), 1.1))


def test_a_row_of_zeros_stays_and_has_a_gradient():
    x = torch.zeros(2, 3, requires_grad=True)
    row = equations.unit_rows(x)
    row.sum().backward()
    assert row.tolist() == [[0.0] * 3] * 2
    assert x.grad.isfinite().all()
    torch.testing.assert_close(equations.unit_rows(torch.tensor([[3e-3, 4e-3]])), torch.tensor([[0.6, 0.8]]))


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
    first, *inside, last = (layer.product for layer in critic.mlp.layers)
    assert (first, set(inside), last) == (None, {torch.bfloat16}, None)
    obs, action = torch.randn(5, 3, generator=seeded(1)), torch.randn(5, 2, generator=seeded(2))
    rounded = critic(obs, action)
    for layer in critic.mlp.layers:
        layer.product = None
    assert rounded.dtype == torch.float32
    assert 0.0 < (rounded - critic(obs, action)).abs().max() < 0.1
