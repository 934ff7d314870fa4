import math

import pytest
import torch

import rucksac
from rucksac.algorithm.deterministic import Deterministic
from rucksac.building import build
from rucksac.errors import UsageError
from rucksac.learner import Learner
from tests.algorithm.steps import SPACES, batch, config, equal
from tests.runs import SMALL

HUGE = torch.tensor([[0.0, 5.0], [-0.5, -5.0]])


def test_noise_is_scaled_cut_off_and_kept_within_the_cube():
    policy = Deterministic(noise=0.1, clip=0.25)
    action = policy.sample(HUGE, torch.tensor([[1.0, 1.0], [-9.0, 3.0]]))
    expected = [[0.1, 1.0], [math.tanh(-0.5) - 0.25, math.tanh(-5.0) + 0.25]]
    torch.testing.assert_close(action, torch.tensor(expected))


def test_no_noise_gives_the_mean_action():
    for policy in (Deterministic(), Deterministic(0.0, 0.5), Deterministic(0.3, 0.5)):
        noise = torch.zeros(2, 2) if policy.noise else torch.ones(2, 2)
        assert torch.equal(policy.sample(HUGE, noise), HUGE.tanh())


def test_there_is_one_candidate_whose_entropy_is_nothing():
    candidates = Deterministic(0.1, 0.2).candidates(HUGE, torch.ones(2, 2))
    assert candidates.log_prob.tolist() == [[0.0], [0.0]]
    assert candidates.weight.tolist() == [[1.0], [1.0]]


def test_the_spread_of_noise_within_its_bounds_is_as_given():
    noise = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    drawn = Deterministic(0.1, 0.5).sample(torch.zeros(20_000, 1), noise)
    assert drawn.std().item() == pytest.approx(0.1, abs=5 * 0.1 / math.sqrt(40_000))


def test_acting_uses_the_noise_of_exploration():
    agent = build(config(deterministic_policy=True, exploration_noise=0.1, target_noise=0.4), SPACES)
    obs = torch.ones(2_000, 3)
    mean = agent.act(obs.numpy(), deterministic=True)
    assert (agent.act(obs.numpy()) - mean).std() == pytest.approx(0.1, abs=0.01)
    noise = torch.randn(2_000, 2, generator=torch.Generator().manual_seed(0))
    acted = agent.algorithm.act(agent.state.policy.parameters, obs, noise)
    torch.testing.assert_close(acted, torch.from_numpy(mean) + 0.1 * noise)


def test_alpha_has_no_effect():
    agents = [build(config(deterministic_policy=True, alpha=alpha), SPACES) for alpha in (0.01, 5.0, "learned")]
    learners = [Learner(agent) for agent in agents]
    for index in range(3):
        metrics = [learner.update(batch(index)).metrics for learner in learners]
        assert metrics[0]["entropy"] == 0.0
    for agent in agents[1:]:
        assert equal(agents[0].state._replace(temperature=()), agent.state._replace(temperature=()))
    assert agents[2].alpha == 1.0
    assert agents[0].grad_steps == 3


def test_a_deterministic_policy_is_refused_where_it_means_nothing():
    with pytest.raises(UsageError, match="no entropy, so --target-entropy -1 would do nothing; leave that out"):
        config(deterministic_policy=True, target_entropy=-1.0)
    with pytest.raises(UsageError, match="continuous actions, but here are 2 choices; give --no-deterministic-policy"):
        rucksac.train("CartPole-v1", deterministic_policy=True, steps=40, **SMALL)
