"""Other critics and layers than the default ones: what the parts must allow."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from rucksac.algorithm import distributional, equations
from rucksac.algorithm.critics import Critic
from rucksac.algorithm.policies import Candidates
from rucksac.building import build, compile_steps
from rucksac.learner import Learner
from tests.algorithm.steps import SPACES, batch, config, draws, equal, scalars

QUANTILES = 5


class Quantiles:
    """The distribution of the return by M quantiles, all critics' pooled and the largest dropped (arXiv 2005.04269)."""

    metrics = ("q", "target_q", "spread")
    dropped = 2

    def expected(self, answers):
        return answers.mean(-1)

    def target(self, answers, candidates, alpha, reward, discount, one):
        pooled = answers[:, :, 0].transpose(0, 1).flatten(1).sort(-1).values[:, : -self.dropped]
        return reward[:, None] + discount[:, None] * (pooled - alpha * candidates.log_prob)

    def loss(self, answers, target, weight=None):
        error = target[:, None, :] - answers[..., None]  # (N, B, M, targets)
        at = (torch.arange(QUANTILES) + 0.5) / QUANTILES
        huber = torch.where(error.abs() < 1, 0.5 * error.square(), error.abs() - 0.5)
        return ((at[:, None] - (error < 0).float()).abs() * huber).mean((1, 2, 3)).sum()

    def report(self, answers, target):
        q = answers.mean(-1)
        return (q - target.mean(-1)).abs().mean(0), {
            "q": q.mean(), "target_q": target.mean(), "spread": answers.std(-1).mean()
        }  # fmt: skip


class Network(nn.Module):
    """Two critics with batch normalisation between their layers."""

    def __init__(self, outputs=()):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first = nn.Parameter(torch.randn(5, 16, generator=generator))
        self.norm = nn.BatchNorm1d(16)
        self.last = nn.Parameter(torch.randn(2, 16, *(outputs or (1,)), generator=generator) / 4)
        self.outputs = outputs

    def forward(self, obs, action):
        hidden = self.norm(torch.cat([obs, action], -1) @ self.first).relu() @ self.last
        return hidden if self.outputs else hidden.squeeze(-1)


def with_critic(critic, **settings):
    agent = build(config(**settings), SPACES)
    agent.algorithm = dataclasses.replace(agent.algorithm, critic=critic)
    agent.state = agent.algorithm.start(1.0)
    return Learner(agent)


@pytest.mark.long
def test_a_critic_of_quantiles_is_one_class():
    eager, compiled = (
        with_critic(Critic(Network((QUANTILES,)), returns=Quantiles()), compile=mode) for mode in ("never", "auto")
    )
    assert compile_steps(compiled) is None
    for index in range(5):
        left, right = (learner.update(batch(index)) for learner in (eager, compiled))
        assert set(left.metrics) >= {"spread", "critic_loss", "entropy"}
        assert left.metrics == pytest.approx(right.metrics, rel=1e-3, abs=1e-4)
        assert left.td_error == pytest.approx(right.td_error, rel=1e-3, abs=1e-4)


def test_statistics_of_layers_are_learned_where_the_critic_learns_and_used_elsewhere():
    agent = build(config(), SPACES, critic=Network())
    learner, rows = Learner(agent), batch()
    seen = agent.state.critic.statistics
    assert set(seen) == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    before = {name: tensor.clone() for name, tensor in seen.items()}
    inside = torch.cat([rows.obs, rows.action], -1) @ agent.state.critic.parameters["first"]
    expected = 0.9 * before["norm.running_mean"] + 0.1 * inside.mean(0)  # of the actions taken, and of nothing else
    learner.update(rows)
    torch.testing.assert_close(seen["norm.running_mean"], expected)
    assert seen["norm.num_batches_tracked"] == 1
    slow = agent.state.target["critic"]
    tau = agent.config.tau
    torch.testing.assert_close(slow["norm.running_mean"], (1 - tau) * before["norm.running_mean"] + tau * expected)
    assert slow["norm.num_batches_tracked"] == 1
    still = {"policy": 0.0, "critic": 0.0, "temperature": 0.0, "tau": 0.0}
    after, _ = agent.algorithm.step(agent.state, rows, draws(), scalars(**still))
    assert equal(after.critic.parameters, agent.state.critic.parameters)
    assert not equal(after.critic.statistics, agent.state.critic.statistics)


def test_the_reductions_for_target_and_policy_are_apart():
    network = build(config(), SPACES).algorithm.critic.network
    states = {}
    for name, parts in {
        "smallest": {},
        "mean for the policy": {"for_policy": lambda q: q.mean(0)},
        "mean for the target": {"for_target": lambda q: q.mean(0)},
    }.items():
        learner = with_critic(Critic(network, **parts))
        states[name] = learner.agent.algorithm.step(learner.agent.state, batch(), draws(), scalars())[0]
    plain, for_policy, for_target = states.values()
    assert equal(plain.critic, for_policy.critic)
    assert not equal(plain.policy, for_policy.policy)
    assert not equal(plain.critic, for_target.critic)


def test_targets_from_all_critics_and_from_their_mean_by_hand():
    candidates = Candidates(None, torch.tensor([[-2.0]]), torch.ones(1, 1))  # alpha log pi is -1
    given = candidates, torch.tensor(0.5), torch.tensor([10.0]), torch.tensor([0.5]), equations.smallest
    quantiles = torch.tensor([[[[1.0, 5.0]]], [[[3.0, 2.0]]]])
    assert distributional.Quantiles(1).target(quantiles, *given).tolist() == [[11.0, 11.5]]  # of 1 and 2, less -1
    assert distributional.Quantiles(1, averaged=True).target(quantiles, *given).tolist() == [[11.5, 12.25]]
    # of the values -4, 0, 4 the first critic gives 0 all, the second shares it out between 0 and 4
    logits = torch.tensor([[[[-math.inf, 0.0, -math.inf]]], [[[-math.inf, 0.0, 0.0]]]])
    at = candidates, torch.tensor(0.5), torch.tensor([-0.5]), torch.tensor([0.5]), equations.smallest
    lowest, averaged = (distributional.Categories(3, 4.0, each).target(logits, *at) for each in (False, True))
    assert lowest.tolist() == [[0.0, 1.0, 0.0]]  # 0 becomes -0.5 + (0 + 1) / 2
    assert averaged.tolist() == [[0.0, pytest.approx(0.75 + 0.25 / 2), pytest.approx(0.25 / 2)]]  # 4 becomes 2


def test_td_errors_are_those_of_each_transition():
    agent = build(config(alpha=0.3), SPACES)
    rows, given = batch(), draws()
    _, report = agent.algorithm.step(agent.state, rows, given, scalars())
    for index in range(len(rows.reward)):
        one = {name: each[index : index + 1] for name, each in given.items() if name != "subset"}
        single = type(rows)(*(each[index : index + 1] for each in rows[:5]))
        _, alone = agent.algorithm.step(agent.state, single, one, scalars())
        torch.testing.assert_close(alone.td_error[0], report.td_error[index])
