import numpy as np
import pytest
from gymnasium import make
from gymnasium.wrappers import TransformReward
from hypothesis import given
from hypothesis import strategies as st

import rucksac
from rucksac.normalisation import Moments, Normaliser
from tests.runs import SMALL


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e-3, 1e-3)), min_size=2, max_size=50))
def test_running_moments_are_those_of_all_rows(rows):
    moments = Moments(2)
    for row in rows:
        moments.add(np.array(row))
    np.testing.assert_allclose(moments.mean, np.mean(rows, 0), rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(moments.spread, np.sqrt(np.var(rows, 0) + 1e-8), rtol=1e-6, atol=1e-4)


def test_observations_are_scaled_and_far_ones_cut_off():
    normaliser = Normaliser(2, 1, 0.9, observations=True, rewards=False)
    rows = np.random.default_rng(0).normal([5.0, -1e4], [2.0, 1e3], (500, 2)).astype(np.float32)
    for row in rows:
        normaliser.learn(0, row, 0.0, False)
    seen = normaliser.observations(rows)
    assert seen.dtype == np.float32
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(seen.std(0), 1, atol=1e-3)
    assert normaliser.observations(np.array([[1e9, 0.0]], np.float32))[0, 0] == 10.0
    assert (normaliser.rewards(np.array([3.0])) == 3.0).all()


def test_rewards_are_divided_by_the_spread_of_returns_and_each_environment_has_its_own():
    normaliser = Normaliser(1, 2, 0.5, observations=False, rewards=True)
    returns = []
    for reward, ended in ((1.0, False), (2.0, True), (3.0, False)):
        for env_index in (0, 1):
            normaliser.learn(env_index, np.zeros(1), reward * (env_index + 1), ended)
            returns.append(normaliser.running[env_index])
    assert normaliser.running.tolist() == [3.0, 6.0]  # 1, 2 + 0.5, end, 3; and twice that
    spread = np.std([1.0, 2.0, 2.5, 5.0, 3.0, 6.0])
    np.testing.assert_allclose(normaliser.rewards(np.array([7.0])), 7.0 / spread, rtol=1e-5)
    assert (normaliser.observations(np.array([[3.0]])) == 3.0).all()


def test_rewards_are_divided_by_more_where_a_return_would_be_beyond_the_bound():
    normaliser = Normaliser(1, 2, 0.5, observations=False, rewards=True, bound=2.0)
    for env_index, reward, ended in ((0, -4.0, False), (1, 1.0, False), (0, -5.0, True), (0, 1.0, False)):
        normaliser.learn(env_index, np.zeros(1), reward, ended)
    assert normaliser.returns.largest.tolist() == [7.0]  # -5 after -4, halved
    assert np.std([-4.0, 1.0, -7.0, 1.0]) == pytest.approx(3.418, abs=1e-3)
    assert normaliser.rewards(np.array([7.0])) == pytest.approx(2.0)  # by 7 / 2, which is more
    for _ in range(20):
        normaliser.learn(0, np.zeros(1), 0.0, True)
    assert normaliser.rewards(np.array([7.0])) == pytest.approx(2.0)  # the spread falls, what was largest stays
    assert set(normaliser.arrays()) == {
        "running",
        *(f"returns.{each}" for each in ("count", "mean", "squares", "largest")),
    }
    wide = Normaliser(1, 1, 0.5, observations=False, rewards=True, bound=100.0)
    for reward in (1.0, 3.0):
        wide.learn(0, np.zeros(1), reward, True)
    assert wide.rewards(np.array([1.0])) == pytest.approx(1.0)  # by the spread of 1 and 3


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_first_reward_after_many_zeros_is_cut_off(scale):
    normaliser = Normaliser(1, 1, 0.99, observations=False, rewards=True, reward_scale=scale)
    for reward in [0.0] * 10_000 + [1.0]:
        normaliser.learn(0, np.zeros(1), reward, False)
    assert normaliser.returns.spread < 0.02
    assert normaliser.rewards(np.array([1.0, -1.0, 0.01], np.float32)) == pytest.approx(
        scale * np.array([10, -10, 1]), rel=0.01
    )


def test_statistics_count_environment_steps_once_and_are_loaded_with_the_agent(tmp_path):
    settings = {**SMALL, "steps": 60, "envs": 2, "utd": 3.0, "normalise_observations": True, "normalise_rewards": True}
    agent = rucksac.train("Pendulum-v1", run=tmp_path / "run", **settings)
    assert agent.normaliser.seen.count == agent.normaliser.returns.count == 60
    loaded = rucksac.load(tmp_path / "run")
    for name, tensor in agent.tensors().items():
        assert loaded.tensors()[name].equal(tensor), name
    before = loaded.normaliser.seen.mean.copy()
    rucksac.evaluate(loaded, "Pendulum-v1", episodes=1)
    assert (loaded.normaliser.seen.mean == before).all()
    assert loaded.predict(np.ones(3))[0] == agent.predict(np.ones(3))[0]


def test_a_constant_factor_in_the_rewards_makes_no_difference():
    def returns(factor):
        def env():
            return TransformReward(make("Pendulum-v1"), lambda reward: factor * reward)

        agent = rucksac.train(env, **{**SMALL, "steps": 80, "normalise_rewards": True})
        return rucksac.evaluate(agent, "Pendulum-v1", episodes=1).returns

    assert returns(1.0) == pytest.approx(returns(1024.0), rel=1e-3)
