import math

import pytest
import torch

from rucksac.algorithm.architecture import Architecture
from rucksac.algorithm.networks import MLP, PairMLP
from rucksac.algorithm.policies import LOG_STD_MAX, LOG_STD_MIN, SquashedGaussian


def seeded(number=0):
    return torch.Generator().manual_seed(number)


def test_stacked_critics_equal_separate_networks():
    critics = PairMLP(Architecture((5, 16, 8, 1), 4, "tanh"), seeded())
    obs, action = torch.randn(5, 3, generator=seeded(1)), torch.randn(5, 2, generator=seeded(2))
    together = critics(obs, action)
    assert together.shape == (4, 5)
    for index in range(4):
        x = torch.cat([obs, action], -1)
        for layer in critics.mlp.layers[:-1]:
            x = torch.tanh(x @ layer.weight[index] + layer.bias[index])
        last = critics.mlp.layers[-1]
        torch.testing.assert_close(together[index], (x @ last.weight[index] + last.bias[index]).squeeze(-1))


def test_critics_start_different_from_each_other():
    critics = PairMLP(Architecture((5, 16, 1), 2), seeded())
    answers = critics(torch.ones(1, 3), torch.ones(1, 2))
    assert answers[0].item() != answers[1].item()


def test_default_initialisation_is_that_of_linear_layers():
    network = MLP(Architecture((400, 300, 10)), seeded())
    for layer, inputs in zip(network.layers, (400, 300), strict=True):
        bound = 1 / math.sqrt(inputs)
        for tensor in (layer.weight, layer.bias):
            assert tensor.abs().max() <= bound + 1e-7
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)  # uniform within the bound


def test_orthogonal_initialisation_keeps_lengths_up_to_the_root_of_two_and_has_zero_biases():
    network = MLP(Architecture((6, 6, 6), 2, initialisation="orthogonal"), seeded())
    for layer in network.layers:
        assert not layer.bias.any()
        for matrix in layer.weight.detach():
            torch.testing.assert_close(matrix @ matrix.T, 2.0 * torch.eye(6), atol=1e-5, rtol=0)
    assert not torch.equal(*network.layers[0].weight)


def test_xavier_initialisation_has_its_bound_and_zero_biases():
    network = MLP(Architecture((30, 50, 20), 2, initialisation="xavier"), seeded())
    assert network.layers[0].weight.abs().max().item() == pytest.approx(math.sqrt(6 / 80), rel=0.01)
    assert all((layer.bias == 0).all() for layer in network.layers)


def test_candidates_stay_finite_for_wild_network_outputs():
    output = torch.tensor([[1e4, -1e4, 1e4, -1e4], [-1e4, 1e4, -1e4, 1e4]])
    action, log_prob, weight = SquashedGaussian().candidates(output, torch.randn(2, 2, generator=seeded()))
    assert action.abs().max() <= 1
    assert log_prob.isfinite().all()
    assert weight.tolist() == [[1.0], [1.0]]


def test_log_std_is_bounded_and_the_mean_action_ignores_it():
    output = torch.tensor([[0.3, 50.0]])
    noise = torch.ones(1, 1)
    assert SquashedGaussian().sample(output, noise).item() == pytest.approx(math.tanh(0.3 + math.exp(LOG_STD_MAX)))
    low = SquashedGaussian().sample(torch.tensor([[0.3, -50.0]]), noise).item()
    assert low == pytest.approx(math.tanh(0.3 + math.exp(LOG_STD_MIN)))
    assert SquashedGaussian().sample(output, torch.zeros(1, 1)).item() == pytest.approx(math.tanh(0.3))


def test_by_tanh_log_std_begins_near_its_middle_and_stays_between_its_bounds():
    noise = torch.ones(1, 1)
    for given, log_std in ((0.0, -4.0), (0.1, -4 + 6 * math.tanh(0.1)), (-50.0, -10.0), (50.0, 2.0)):
        found = SquashedGaussian(by_tanh=True).sample(torch.tensor([[0.3, given]]), noise).item()
        assert found == pytest.approx(math.tanh(0.3 + math.exp(log_std)), rel=1e-6)


def test_bf16_rounds_the_products_between_hidden_layers_and_nothing_else():
    network = MLP(Architecture((30, 20, 10, 4), precision="bf16"), seeded())
    x = torch.randn(5, 30, generator=seeded(1))
    first, second, last = network.layers
    hidden = torch.relu(x @ first.weight + first.bias)
    exact = hidden @ second.weight
    rounded = (hidden.bfloat16() @ second.weight.bfloat16()).float()
    assert 0.0 < (rounded - exact).abs().max() < 0.02
    expected = torch.relu(rounded + second.bias) @ last.weight + last.bias
    assert torch.equal(network(x), expected)
    assert network(x).dtype == torch.float32
