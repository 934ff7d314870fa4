import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete

from rucksac.algorithm.categorical import Categorical
from rucksac.building import build, compile_steps
from rucksac.environments.choices import Choices
from rucksac.environments.spaces import Numbers, Spaces
from rucksac.errors import UsageError
from rucksac.learner import Learner
from tests.algorithm.steps import batch, config, equal
from tests.learning import learn
from tests.worlds import World

SPACES = Spaces(Numbers((3,)), Choices(Discrete(4)))


def discrete_batch(seed=0):
    made = batch(seed)
    return made._replace(action=torch.eye(4)[torch.arange(len(made.reward)) % 4])


def test_expectations_over_all_actions_are_exact():
    agent = build(config(alpha=0.3, entropy_to_come="always"), SPACES)
    rows = discrete_batch()
    with torch.no_grad():
        logits = agent.algorithm.policy(rows.next_obs).numpy().astype(np.float64)
        q = agent.algorithm.critic.network(rows.next_obs).numpy().min(0)  # the targets start as a copy
        taken = (agent.algorithm.critic.network(rows.obs) * rows.action).sum(-1).numpy()
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    value = (probability * (q - 0.3 * np.log(probability))).sum(1)
    target = rows.reward.numpy() + rows.discount.numpy() * value
    metrics = Learner(agent).update(rows).metrics
    assert metrics["alpha"] == pytest.approx(0.3)
    assert metrics["target_q"] == pytest.approx(target.mean(), rel=1e-4)
    assert metrics["critic_loss"] == pytest.approx(0.5 * ((taken - target) ** 2).mean(1).sum(), rel=1e-4)


def test_only_the_action_taken_moves_its_value():
    agent = build(config(critics=1, hidden=(16,)), SPACES)
    before = agent.state.critic.parameters["layers.1.bias"].clone()
    rows = discrete_batch()
    Learner(agent).update(rows._replace(action=torch.eye(4)[torch.zeros(len(rows.reward), dtype=torch.long)]))
    moved = (agent.state.critic.parameters["layers.1.bias"] != before).flatten().tolist()
    assert moved == [True, False, False, False]


def test_samples_have_the_probabilities_of_the_policy_and_no_noise_gives_the_most_probable():
    probability = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits = probability.log().expand(20_000, 4)
    noise = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0))
    drawn = Categorical.sample(logits, noise)
    assert (drawn.sum(1) == 1).all()
    spread = (probability * (1 - probability) / 20_000).sqrt()
    assert ((drawn.mean(0) - probability).abs() < 5 * spread).all()
    assert Categorical.sample(logits[:1], torch.zeros(1, 4)).tolist() == [[1.0, 0.0, 0.0, 0.0]]


@pytest.mark.parametrize(("given", "expected"), [(None, 0.8 * math.log(4)), (0.5, 0.5)])
def test_the_target_entropy_is_a_share_of_the_highest(given, expected):
    assert build(config(target_entropy=given), SPACES).algorithm.target_entropy == pytest.approx(expected)


@pytest.mark.parametrize("target", [-1.0, 0.0, math.log(4), 2.0])
def test_a_target_entropy_out_of_reach_is_refused(target):
    with pytest.raises(UsageError, match=r"lies between 0 and 1.386 nats"):
        build(config(target_entropy=target), SPACES)


@pytest.mark.long
def test_compiled_equals_eager():
    eager, compiled = (Learner(build(config(compile=mode), SPACES)) for mode in ("never", "auto"))
    assert compile_steps(compiled) is None
    for index in range(5):
        left, right = (learner.update(discrete_batch(index)).metrics for learner in (eager, compiled))
        assert left == pytest.approx(right, rel=1e-4, abs=1e-5)
    obs = np.ones((1, 3), np.float32)
    assert equal(*(torch.from_numpy(learner.agent.act(obs, deterministic=True)) for learner in (eager, compiled)))


class Arms(World):
    """One step, four choices; the best soft policy is the softmax of reward over alpha."""

    action_space = Discrete(4)
    rewards, alpha = np.array([0.0, 0.5, 1.0, -1.0]), 0.5

    def step(self, action):
        return self.seen(), float(self.rewards[action]), True, False, {}


def test_the_policy_becomes_the_softmax_of_reward_over_alpha():
    agent = learn(Arms, alpha=Arms.alpha, steps=1_500, compile="never")
    with torch.no_grad():
        found = agent.algorithm.policy(torch.zeros(1, 1)).softmax(-1)[0].numpy()
    best = np.exp(Arms.rewards / Arms.alpha)
    np.testing.assert_allclose(found, best / best.sum(), atol=0.03)
    action, _ = agent.predict(np.zeros(1))
    assert action == 2
