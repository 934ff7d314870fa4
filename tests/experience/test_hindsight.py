"""Relabelled transitions against what the episodes say, in memories that go round, with one step and with several."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rucksac.experience.columns import Column
from rucksac.experience.hindsight import Episodes, Hindsight
from rucksac.experience.looking_ahead import look_ahead
from rucksac.experience.replay import TRANSITION, Replay
from rucksac.experience.sampling import Sampler, UniformPick, one_step

COLUMNS = (Column("obs", (2,), of_state=True), Column("action", (1,)), Column("reward"))
GAMMA = 0.9
OPEN, TERMINATED, TRUNCATED, LOST = range(4)


class Arithmetic:
    """A state is [achieved, desired]; its moment counts as achieved, so that a goal says where it comes from."""

    achieved, desired = slice(0, 1), slice(1, 2)

    def __init__(self, ends):
        self.ends = ends

    def reward(self, achieved, desired):
        assert achieved.shape == desired.shape == (len(achieved), 1)
        return ((3 * achieved + 5 * desired)[:, 0] % 7).astype(np.float32)

    def terminated(self, achieved, desired):
        return (achieved + desired)[:, 0] % 4 == 0 if self.ends else None


class Memory:
    """A replay memory, and the same transitions by the moment at which they began."""

    def __init__(self, rows, envs):
        self.replay = Replay(rows * envs, envs, COLUMNS)
        self.moments = [1_000_000 * env_index for env_index in range(envs)]
        self.episodes = [[] for _ in range(envs)]  # by environment: [first moment, own goal, transitions]
        self.at = {}  # by moment: its episode and its place there

    def add(self, env_index, how, reward):
        replay, now = self.replay, self.moments[env_index]
        if how == LOST:  # nothing is added, as in a collector: the episode under way, if any, ends where it is
            if replay.in_episode[env_index]:
                replay.close_episode(env_index)
                steps = self.episodes[env_index][-1][2]
                steps[-1] = LOST, steps[-1][1]
                self.moments[env_index] += 1
            return
        if not replay.in_episode[env_index]:
            self.episodes[env_index].append((now, -1.0 - len(self.episodes[env_index]), []))
        _, goal, steps = self.episodes[env_index][-1]
        replay.add(env_index, how == TERMINATED, how == TRUNCATED,
                   obs=(now, goal), action=0.0, reward=reward, next_obs=(now + 1, goal))  # fmt: skip
        self.at[now] = self.episodes[env_index][-1]
        steps.append((how, reward))
        self.moments[env_index] += 1 if how == OPEN else 2

    def allowed(self, moment, strategy):
        """Return the moments whose states a transition may get its goal from, if it gets one."""
        first, _, steps = self.at[moment]
        if steps[-1][0] == OPEN:
            return []
        last = first + len(steps)
        begun = {"future": moment, "final": last - 1, "episode": first}[strategy]
        kept = set(self.replay.data["obs"][:, 0].tolist())
        return [each for each in range(begun + 1, last + 1) if strategy != "episode" or each - 1 in kept]

    def expected(self, moment, goal, goals, steps):
        """Return reward, discount and next moment of a return that begins at `moment` with this goal."""
        first, own, known = self.at[moment]
        total, factor = 0.0, 1.0
        for now in range(moment, min(moment + steps, first + len(known))):
            how, reward = known[now - first]
            ends = how == TERMINATED
            if goal != own:
                next_and_goal = np.array([[now + 1.0]]), np.array([[goal]])
                reward = goals.reward(*next_and_goal)[0]
                ends = goals.terminated(*next_and_goal)[0] if goals.ends else ends
            total, factor = total + factor * reward, 0.0 if ends else factor * GAMMA
            if ends:
                break
        return total, factor, now + 1


def sampler_of(replay, goals, strategy, steps=1, share=0.7, rows=60, seed=0):
    random = np.random.default_rng(seed)
    transforms = [Hindsight(replay, random, goals, share, strategy, GAMMA), look_ahead(steps)][: 1 + (steps > 1)]
    return Sampler(replay, UniformPick(replay, random), one_step(GAMMA), rows, transforms)


def check(memory, sampler, goals, strategy, steps):
    obs, _, rewards, discounts, next_obs, _ = (each if each is None else each.numpy() for each in sampler.sample())
    for (moment, goal), reward, discount, (after, goal_after) in zip(obs, rewards, discounts, next_obs, strict=True):
        assert goal == goal_after
        own = memory.at[moment][1]
        assert goal == own or goal in memory.allowed(int(moment), strategy)
        total, factor, next_moment = memory.expected(int(moment), goal, goals, steps)
        assert reward == pytest.approx(total, abs=1e-4)
        assert discount == pytest.approx(factor, rel=1e-5)
        assert after == next_moment


moments = st.tuples(
    st.integers(0, 2), st.sampled_from([OPEN] * 6 + [TERMINATED, TRUNCATED, LOST]), st.integers(-9, 9).map(float)
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.integers(2, 14),
    envs=st.integers(1, 3),
    steps=st.integers(1, 4),
    strategy=st.sampled_from(["future", "final", "episode"]),
    ends=st.booleans(),
    moments=st.lists(moments, min_size=1, max_size=80),
    every=st.integers(1, 40),
)
def test_a_batch_is_what_the_episodes_say_whenever_it_is_drawn(rows, envs, steps, strategy, ends, moments, every):
    memory, goals = Memory(rows, envs), Arithmetic(ends)
    sampler = sampler_of(memory.replay, goals, strategy, steps)
    for count, (env_index, how, reward) in enumerate(moments, 1):
        memory.add(env_index % envs, how, reward)
        if (count % every == 0 or count == len(moments)) and len(memory.replay):
            check(memory, sampler, goals, strategy, steps)


@pytest.mark.parametrize("seed", range(30))
def test_what_is_known_of_episodes_follows_from_the_rows(seed):
    """One that looked before, often or now and then, and one that begins to look now, as in a resumed run."""
    random = np.random.default_rng(seed)
    memory, often = Memory(int(random.integers(2, 20)), 2), random.choice([1.0, 0.3, 0.1])
    before = Episodes(memory.replay)
    for _ in range(400):
        memory.add(int(random.integers(2)), random.choice([OPEN, TERMINATED, LOST], p=[0.8, 0.1, 0.1]), 0.0)
        if random.random() > often:
            continue
        before.take_in()
        afresh = Episodes(memory.replay)
        afresh.take_in()
        rows = np.flatnonzero(memory.replay.kind & TRANSITION)
        (behind, ahead), (behind_afresh, ahead_afresh) = before.around(rows), afresh.around(rows)
        assert np.array_equal(ahead, ahead_afresh)
        assert np.array_equal(behind[ahead > 0], behind_afresh[ahead > 0])


@pytest.mark.parametrize("strategy", ["future", "final", "episode"])
def test_so_many_are_relabelled_and_each_state_is_as_likely_as_the_others(strategy):
    memory, share, rows = Memory(40, 1), 0.8, 40_000
    for how in [OPEN] * 4 + [TRUNCATED] + [OPEN] * 3:
        memory.add(0, how, 0.0)
    obs = sampler_of(memory.replay, Arithmetic(False), strategy, share=share, rows=rows).sample().obs.numpy()
    counts = Counter(map(tuple, obs.tolist()))
    for moment in range(5):
        allowed = memory.allowed(moment, strategy)
        found = np.array([counts[moment, goal] for goal in allowed])
        own = counts[moment, -1.0]
        assert stats.binomtest(int(found.sum()), int(found.sum() + own), share).pvalue > 1e-3
        assert len(allowed) == 1 or stats.chisquare(found).pvalue > 1e-3
    open_ones = [goal for moment, goal in counts if moment > 5]
    assert set(open_ones) == {-2.0}


def test_rows_of_the_memory_stay_as_they_are():
    memory = Memory(40, 2)
    for index in range(60):
        memory.add(index % 2, TRUNCATED if index % 9 == 8 else OPEN, 1.0)
    before = {name: array.copy() for name, array in memory.replay.data.items()}
    sampler_of(memory.replay, Arithmetic(True), "future", steps=3).sample()
    for name, array in memory.replay.data.items():
        assert np.array_equal(array, before[name])
