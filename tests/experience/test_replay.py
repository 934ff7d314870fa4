"""The replay memory against a naive list, and what its sampler hands over."""

from collections import Counter as Tally

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from rucksac.experience.columns import Column, bytes_for
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Sampler, UniformPick, one_step

GAMMA = 0.9


def numbers(obs_size, action_size):
    return Column("obs", (obs_size,), of_state=True), Column("action", (action_size,)), Column("reward")


NUMBERS = numbers(1, 1)


def sampler_of(replay, rows=64, seed=0):
    return Sampler(replay, UniformPick(replay, np.random.default_rng(seed)), one_step(GAMMA), rows)


def drawn(replay, rounds=30):
    """Return the set of transitions seen in many batches, as (obs, action, reward, discount, next_obs)."""
    sampler, seen = sampler_of(replay), set()
    for _ in range(rounds):
        obs, action, reward, discount, next_obs, _ = sampler.sample()
        seen |= {
            (o.item(), a.item(), r.item(), round(d.item(), 4), n.item())
            for o, a, r, d, n in zip(obs, action, reward, discount, next_obs, strict=True)
        }
    return seen


class ReplayAgainstList(RuleBasedStateMachine):
    """Adds steps in several environments; the model keeps rows as the documentation describes them."""

    @initialize(rows=st.integers(6, 30), envs=st.integers(1, 3))
    def start(self, rows, envs):
        self.replay = Replay(rows, envs, NUMBERS)
        self.capacity = self.replay.rows_per_env
        self.model = [[] for _ in range(envs)]  # by environment: rows, a transition or None for a lone observation
        self.open = [False] * envs
        self.clock = 0.0

    @rule(data=st.data(), terminated=st.booleans(), truncated=st.booleans())
    def add(self, data, terminated, truncated):
        env_index = data.draw(st.integers(0, self.replay.envs - 1))
        rows, ended = self.model[env_index], terminated or truncated
        if not self.open[env_index]:
            self.clock += 1.0
            rows.append(None)
        obs, next_obs = self.clock_of(env_index), self.clock + 1.0
        self.clock = next_obs
        self.replay.add(env_index, terminated, truncated, obs=obs, action=obs / 1000, reward=obs / 7, next_obs=next_obs)
        rows[-1] = (obs, obs / 1000, obs / 7, 0.0 if terminated else GAMMA, next_obs)
        rows.append(None)
        self.last = {**getattr(self, "last", {}), env_index: next_obs}
        self.open[env_index] = not ended

    def clock_of(self, env_index):
        return self.last[env_index] if self.open[env_index] else self.clock

    @invariant()
    def holds_what_the_list_holds(self):
        if not hasattr(self, "model"):
            return
        kept = [row for rows in self.model for row in rows[-self.capacity :] if row]
        assert len(self.replay) == len(kept)
        if kept:
            expected = {tuple(np.float32(v).item() for v in row) for row in kept}
            expected = {(o, a, r, round(d, 4), n) for o, a, r, d, n in expected}
            seen = drawn(self.replay, rounds=4)
            assert seen <= expected
            if len(kept) <= 8:
                assert seen == expected


TestReplayAgainstList = ReplayAgainstList.TestCase
TestReplayAgainstList.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def fill(replay, lengths, truncated=False):
    clock = 0
    for length in lengths:
        for step in range(length):
            last = step == length - 1
            replay.add(
                0, last and not truncated, last and truncated, obs=clock, action=0.0, reward=0.0, next_obs=clock + 1
            )
            clock += 1
        clock += 1


def test_sampling_is_uniform_over_transitions_not_over_rows():
    replay = Replay(40, 1, NUMBERS)
    fill(replay, [1, 2, 9, 1, 4])
    sampler, tally = sampler_of(replay, rows=1000), Tally()
    for _ in range(100):
        tally.update(sampler.sample().obs.flatten().tolist())
    assert len(tally) == 17
    expected = 100_000 / 17
    chi_square = sum((count - expected) ** 2 / expected for count in tally.values())
    assert chi_square < 39.25  # 16 degrees of freedom: exceeded once in a thousand seeds


def test_truncation_keeps_the_discount_and_the_last_observation():
    replay = Replay(20, 1, NUMBERS)
    fill(replay, [3], truncated=True)
    fill(replay, [1], truncated=True)
    assert (2.0, 0.0, 0.0, 0.9, 3.0) in drawn(replay)


def test_termination_ends_the_discount():
    replay = Replay(20, 1, NUMBERS)
    fill(replay, [3])
    assert {(o, d, n) for o, _, _, d, n in drawn(replay)} == {(0, 0.9, 1), (1, 0.9, 2), (2, 0.0, 3)}


def test_an_empty_memory_cannot_be_sampled():
    with pytest.raises(ValueError, match="empty"):
        sampler_of(Replay(10, 1, NUMBERS)).sample()


def test_a_transition_takes_one_copy_of_each_observation():
    replay = Replay(1000, 1, numbers(17, 6))
    taken = sum(array.nbytes for array in replay.data.values())
    assert taken == bytes_for(1000, replay.columns)
    assert taken / 1000 <= 110
