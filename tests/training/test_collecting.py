"""The seam between collecting and learning: what a collector promises, and that another one fits."""

import dataclasses
from itertools import chain

import numpy as np
import pytest

from rucksac.building import build
from rucksac.environments.collector import Collector
from rucksac.environments.opening import env_group_of
from rucksac.environments.transitions import Collected
from rucksac.errors import UsageError
from rucksac.training.loop import LISTENERS, Loop
from rucksac.training.parts import prepare
from rucksac.training.progress import Progress
from rucksac.training.stopping import StopRequest
from tests.runs import config
from tests.worlds import Counter, Faulty


class ActsAsToldByItsStream:
    """A policy that is no agent: as much of one as a collector needs."""

    def __init__(self):
        self.acting_noise = np.random.default_rng(3)

    def act(self, obs, moments):
        return self.acting_noise.uniform(-1, 1, (len(obs), 1)).astype(np.float32)


def collector_of(*envs):
    collector = Collector(env_group_of(config(), *envs), seed=1)
    collector.begin_episodes()
    return collector


@pytest.mark.parametrize("policy", [None, ActsAsToldByItsStream()])
def test_an_environment_that_fails_leaves_the_stream_of_actions_where_it_was(policy):
    collector = collector_of(Faulty("raises"))
    stream = policy.acting_noise if policy else collector.warmup
    with pytest.raises(UsageError, match="ZeroDivisionError"):
        for _ in range(9):
            before = stream.bit_generator.state
            collector.collect(policy)
            assert stream.bit_generator.state != before
    assert stream.bit_generator.state == before


def test_the_policy_acts_on_the_observations_of_the_transitions():
    collector, policy = collector_of(Counter(), Counter()), ActsAsToldByItsStream()
    same = np.random.default_rng(3)
    for _ in range(5):
        expected = same.uniform(-1, 1, (2, 1)).astype(np.float32)
        obs = collector.obs.copy()
        collected = collector.collect(policy)
        assert [each.env_index for each in collected.transitions] == [0, 1]
        assert np.array_equal([each.action for each in collected.transitions], expected)
        assert np.array_equal([each.obs for each in collected.transitions], obs)
        collector.begin_episodes()


class SeveralRounds(Collector):
    """Hands over three rounds at once, as one that does not wait for the learner may."""

    def collect(self, policy, lap=lambda _: None):
        rounds = []
        for _ in range(3):
            rounds.append(super().collect(policy, lap))
            self.begin_episodes()
        return Collected(*(list(chain(*parts)) for parts in zip(*rounds, strict=True)))


def test_another_collector_and_another_listener_fit_the_loop():
    settings, envs = config(envs=2, utd=0.5, normalise_rewards=True), env_group_of(config(), Counter(), Counter())
    training = prepare(build(settings, envs.spaces), envs, Progress())
    training = dataclasses.replace(training, collector=SeveralRounds(envs, settings.seed))
    training.collector.begin_episodes()
    rows, seen = [], []
    Loop(
        training,
        record=lambda kind, each: rows.extend((kind, row) for row in each),
        evaluate=lambda: None,
        save=lambda: None,
        examine=lambda batch: "a metric is not finite",
        stop=StopRequest(),
        lap=lambda phase: None,
        listeners=(*LISTENERS, lambda training, collected: seen.append(len(collected.transitions))),
    ).run()
    assert seen == [6] * 17
    assert training.progress.env_steps == len(training.replay) == 102
    assert training.agent.grad_steps == 0.5 * (102 - 18)  # the first 18 came before the warm-up was over
    episodes = [row for kind, row in rows if kind == "episodes"]
    assert len(episodes) == training.progress.episodes == 2 * 14
    assert training.agent.normaliser.returns.count == 102
