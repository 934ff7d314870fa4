"""Random numbers that are held for several steps."""

import itertools

import numpy as np
import pytest

import rucksac
from rucksac.environments.collector import Collector
from rucksac.environments.opening import env_group_of
from rucksac.exploration import LENGTHS, SHARES, HeldNoise, Moment
from tests.runs import config
from tests.worlds import Counter


def lasts(every, steps=400, episode=1):
    held = HeldNoise(3, every, 2)
    drawn = [tuple(held(Moment(0, episode, step))) for step in range(steps)]
    return [(numbers, len(list(same))) for numbers, same in itertools.groupby(drawn)]


def test_numbers_are_held_for_so_many_steps_and_then_drawn_anew():
    blocks = lasts(5)
    assert [length for _, length in blocks] == [5] * 80
    assert len({numbers for numbers, _ in blocks}) == 80
    values = np.array([numbers for numbers, _ in lasts(1, 4_000)])
    assert abs(values.mean()) < 0.06  # five standard errors
    assert abs(values.std() - 1.0) < 0.05


def test_zeta_draws_how_long_by_the_inverse_square():
    lengths = [length for _, length in lasts("zeta", 30_000)[:-1]]
    counts = np.array([lengths.count(each) for each in LENGTHS])
    expected = SHARES * len(lengths)
    assert SHARES[0] == pytest.approx(1 / sum(n**-2 for n in range(1, 17)))
    assert ((counts - expected) ** 2 / expected).sum() < 39.3  # chi-square, 15 degrees of freedom: 1 of 1,700 by chance


@pytest.mark.parametrize("every", [3, "zeta"])
def test_what_is_held_follows_from_the_moment_alone(every):
    held = HeldNoise(3, every, 2)
    ordered = [held(Moment(0, 1, step)) for step in range(50)]
    for step in (49, 20, 0, 7):
        np.testing.assert_array_equal(HeldNoise(3, every, 2)(Moment(0, 1, step)), ordered[step])
        np.testing.assert_array_equal(held(Moment(0, 1, step)), ordered[step])
    others = [HeldNoise(3, every, 2)(moment) for moment in (Moment(0, 2, 0), Moment(1, 1, 0))]
    others += [HeldNoise(4, every, 2)(Moment(0, 1, 0)), ordered[0]]
    assert len({tuple(each) for each in others}) == 4


def test_a_collector_holds_the_noise_behind_its_actions_in_each_environment():
    settings = config(noise_every=2, envs=2, deterministic_policy=True, exploration_noise=0.01)
    group = env_group_of(settings, Counter(), Counter())
    agent, collector = rucksac.building.build(settings, group.spaces), Collector(group, 0)
    collector.begin_episodes()
    noise = []
    for _ in range(3):  # the length of their first episode
        mean = agent.act(collector.obs, deterministic=True)
        noise.append(np.array([each.action for each in collector.collect(agent).transitions]) - mean)
    collector.begin_episodes()
    np.testing.assert_allclose(noise[0], noise[1], atol=1e-6)
    assert not np.isclose(noise[0], noise[2]).any()
    assert not np.isclose(noise[0][0], noise[0][1]).any()
    mean = agent.act(collector.obs, deterministic=True)
    later = np.array([each.action for each in collector.collect(agent).transitions]) - mean
    assert not np.isclose(later, noise[2]).any()  # an episode begins with noise of its own
