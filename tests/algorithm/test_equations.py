import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rucksac.algorithm import equations as eq

torch_vector = torch.tensor
finite = st.floats(-30, 30, allow_nan=False, width=32)


@given(finite)
def test_squash_correction_is_the_log_slope_of_tanh(u):
    exact = math.log(4.0) - 2.0 * (abs(u) + math.log1p(math.exp(-2.0 * abs(u))))
    assert eq.squash_correction(torch.tensor(u)).item() == pytest.approx(exact, rel=2e-6, abs=2e-6)


@given(st.floats(-1e4, 1e4, allow_nan=False, width=32))
def test_squash_correction_and_its_gradient_are_finite_far_out(u):
    point = torch.tensor(u, requires_grad=True)
    value = eq.squash_correction(point)
    value.backward()
    assert math.isfinite(value.item())
    assert abs(point.grad.item()) <= 2.0


@settings(deadline=None, max_examples=25)
@given(st.floats(-1.5, 1.5), st.floats(-1.5, 0.3))
def test_squashed_gaussian_density_integrates_to_one(mean, log_std):
    std = math.exp(log_std)
    u = torch.linspace(mean - 9 * std, mean + 9 * std, 200_001, dtype=torch.float64)
    noise = ((u - mean) / std).unsqueeze(1)
    ones = torch.ones_like(noise)
    action, log_prob = eq.squashed_gaussian(mean * ones, log_std * ones, noise)
    assert torch.trapezoid(log_prob.exp(), action.squeeze(1)).item() == pytest.approx(1.0, abs=1e-5)


def test_squashed_gaussian_by_hand():
    action, log_prob = eq.squashed_gaussian(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
    assert action.tolist()[0] == pytest.approx([0.0, math.tanh(1.0)])
    by_hand = -0.5 - math.log(2 * math.pi) - math.log(1 - math.tanh(1.0) ** 2)
    assert log_prob.tolist() == pytest.approx([by_hand])


def test_squashed_gaussian_gradients_against_finite_differences():
    generator = torch.Generator().manual_seed(0)
    mean, log_std, noise = (torch.randn(3, 2, dtype=torch.float64, generator=generator) for _ in range(3))
    mean.requires_grad_(), log_std.requires_grad_()
    assert torch.autograd.gradcheck(lambda m, s: eq.squashed_gaussian(m, s, noise), (mean, log_std))


def test_density_integrates_to_one():
    noise = torch.linspace(-9, 9, 100_001, dtype=torch.float64).unsqueeze(1)
    zeros = torch.zeros_like(noise)
    action, log_prob = eq.squashed_gaussian(zeros, zeros - 0.5, noise)
    assert torch.trapezoid(log_prob.exp(), action.squeeze(1)).item() == pytest.approx(1.0, abs=1e-6)


def test_soft_value_of_one_sample_and_of_weighted_actions():
    alpha = torch.tensor(0.5)
    one = eq.soft_value(torch.tensor([[3.0]]), torch.tensor([[-2.0]]), torch.tensor([[1.0]]), alpha)
    assert one.tolist() == [4.0]  # 3 - 0.5 * -2
    weight = torch.tensor([[0.25, 0.75]])
    two = eq.soft_value(torch.tensor([[1.0, 2.0]]), weight.log(), weight, alpha)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert two.tolist() == pytest.approx([0.25 * 1 + 0.75 * 2 + 0.5 * entropy])


def test_soft_value_is_greatest_for_the_boltzmann_policy():
    q, alpha = torch.tensor([[1.0, 2.0, -0.5]]), torch.tensor(0.7)
    best = torch.softmax(q / alpha, -1)
    best_value = eq.soft_value(q, best.log(), best, alpha).item()
    assert best_value == pytest.approx((alpha * torch.logsumexp(q / alpha, -1)).item(), rel=1e-6)
    other = torch.tensor([[0.4, 0.4, 0.2]])
    assert eq.soft_value(q, other.log(), other, alpha).item() < best_value


def test_td_target_stops_at_a_termination():
    target = eq.td_target(torch.tensor([1.0, 1.0]), torch.tensor([0.9, 0.0]), torch.tensor([10.0, 10.0]))
    assert target.tolist() == pytest.approx([10.0, 1.0])


def test_critic_loss_by_hand():
    q = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    assert eq.critic_loss(q, torch.tensor([2.0, 1.0])).item() == pytest.approx(0.5 * (1 + 4) / 2 + 0.5 * (4 + 1) / 2)


def test_a_distribution_is_moved_and_shared_by_neighbours():
    probabilities = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    reward, discount = torch.tensor([0.25, 0.0, -0.5, 3.0]), torch.tensor([0.5, 0.5, 0.0, 0.9])
    cost = torch.tensor([[0.0], [1.0], [9.0], [0.0]])
    moved = eq.categorical_target(reward, discount, probabilities.unsqueeze(1), torch.ones(4, 1), cost, 1.0)
    assert moved.tolist() == [
        pytest.approx([0.0, 0.75, 0.25]),  # all of it at 0.25
        pytest.approx([0.5, 0.5, 0.0]),  # half at -1, half at 0: both fall by 0.5 for entropy
        pytest.approx([0.5, 0.5, 0.0]),  # after a termination all of it is the reward
        pytest.approx([0.0, 0.0, 1.0]),  # beyond the end
    ]


def test_distributions_of_several_actions_are_mixed_as_the_policy_chooses_them():
    probabilities = torch.tensor([[[0.0, 0.0, 1.0], [0.5, 0.5, 0.0]]])
    weight, cost = torch.tensor([[0.25, 0.75]]), torch.tensor([[0.5, -1.0]])
    mixed = eq.categorical_target(torch.zeros(1), torch.ones(1), probabilities, weight, cost, 1.0)
    # the first is at 0.5, the second half at 0 and half at 1
    assert mixed.tolist() == [pytest.approx([0.0, 0.125 + 0.375, 0.125 + 0.375])]


def test_cross_entropy_by_hand():
    logs = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]]).log()
    expected = math.log(2) - (0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert eq.categorical_loss(logs, torch.tensor([[0.25, 0.75]])).item() == pytest.approx(expected)


def test_columns_get_length_1():
    weight = eq.unit_columns(torch.tensor([[[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]]]))
    assert weight.tolist() == [[pytest.approx([0.6, 0.0, 1.0]), pytest.approx([0.8, 0.0, 0.0])]]


def test_weights_say_how_often_each_transition_counts():
    q, target = torch.randn(2, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([2.0, 1.0, 0.0])
    quantiles, targets = torch.randn(2, 3, 5), torch.randn(3, 4)
    twice_the_last = torch.tensor([0, 1, 2, 2])
    shares = torch.randn(3, 5).softmax(-1)
    cases = (
        (eq.critic_loss, q, target),
        (eq.quantile_loss, quantiles, targets),
        (eq.categorical_loss, quantiles.log_softmax(-1), shares),
    )
    for loss, answers, learned in cases:
        weighed = loss(answers, learned, torch.tensor([1.0, 1.0, 2.0])) * 3 / 4
        assert weighed.item() == pytest.approx(loss(answers[:, twice_the_last], learned[twice_the_last]).item())
        assert loss(answers, learned, torch.ones(3)).item() == pytest.approx(loss(answers, learned).item())


def test_policy_loss_by_hand():
    loss = eq.policy_loss(
        torch.tensor([[2.0], [4.0]]), torch.tensor([[1.0], [-1.0]]), torch.ones(2, 1), torch.tensor(0.5)
    )
    assert loss.item() == pytest.approx(((0.5 - 2.0) + (-0.5 - 4.0)) / 2)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_temperature_falls_when_the_policy_is_more_random_than_wanted(policy_entropy, target_entropy):
    log_alpha = torch.tensor(0.3, requires_grad=True)
    for loss, slope in ((eq.temperature_loss, math.exp(0.3)), (eq.log_temperature_loss, 1.0)):
        log_alpha.grad = None
        loss(log_alpha, torch.tensor(policy_entropy), target_entropy).backward()
        assert log_alpha.grad.item() == pytest.approx(slope * (policy_entropy - target_entropy), abs=1e-5)


def test_smallest_takes_the_smallest_answer_element_by_element():
    assert eq.smallest(torch.tensor([[1.0, 5.0], [2.0, 4.0]])).tolist() == [1.0, 4.0]


def test_polyak_weighs_the_online_value_by_tau():
    assert eq.polyak(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor(0.25)).tolist() == [1.5]
    assert eq.polyak(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor(0.0)).tolist() == [1.0]
    assert eq.polyak(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor(1.0)).tolist() == [3.0]


@pytest.mark.parametrize("batch", [1, 7])
def test_wrong_ranks_are_refused(batch):
    flat, column = torch.zeros(batch), torch.zeros(batch, 1)
    with pytest.raises(ValueError, match="next_value must have 1 dimensions, not 2"):
        eq.td_target(flat, flat, column)
    with pytest.raises(ValueError, match="target must have 1"):
        eq.critic_loss(torch.zeros(2, batch), column)
    with pytest.raises(ValueError, match="q must have 2"):
        eq.soft_value(flat, column, column, torch.tensor(1.0))
    with pytest.raises(ValueError, match="alpha must have 0"):
        eq.policy_loss(column, column, column, torch.ones(1))
    with pytest.raises(ValueError, match="weight must have 1"):
        eq.critic_loss(torch.zeros(2, batch), flat, column)
    with pytest.raises(ValueError, match="weight must have 1"):
        eq.quantile_loss(torch.zeros(2, batch, 3), torch.zeros(batch, 3), column)
