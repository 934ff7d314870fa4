"""Returns over several steps, against what the episodes say one transition after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rucksac.experience.columns import Column
from rucksac.experience.looking_ahead import look_ahead
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Sampler, UniformPick, one_step
from tests.learning import learn, q_of
from tests.worlds import Delayed, Forever

COLUMNS = (Column("obs", (1,), of_state=True), Column("action", (1,)), Column("reward"))
GAMMA = 0.9
OPEN, TERMINATED, TRUNCATED, LOST = range(4)


def play(replay, moments):
    """Store steps (environment, how the episode goes on, reward); return the episodes of each environment."""
    episodes = [[] for _ in range(replay.envs)]
    clocks = [100_000 * env_index for env_index in range(replay.envs)]
    for env_index, how, reward in moments:
        clock = clocks[env_index]
        if not replay.in_episode[env_index]:
            episodes[env_index].append([])
        replay.add(env_index, how == TERMINATED, how == TRUNCATED,
                   obs=clock, action=0.0, reward=reward, next_obs=clock + 1)  # fmt: skip
        if how == LOST:
            replay.close_episode(env_index)
        episodes[env_index][-1].append((clock, how, reward))
        clocks[env_index] += 1 if how == OPEN else 2
    return episodes


def expected(episodes, steps):
    """Return reward, discount and next observation by the observation that a return begins with."""
    found = {}
    for episode in (each for own in episodes for each in own):
        for begin in range(len(episode)):
            walked = episode[begin : begin + steps]
            total = sum(GAMMA**index * reward for index, (_, _, reward) in enumerate(walked))
            clock, how, _ = walked[-1]
            found[episode[begin][0]] = total, 0.0 if how == TERMINATED else GAMMA ** len(walked), clock + 1
    return found


def check(replay, episodes, steps, rows=200):
    right = expected(episodes, steps)
    pick = UniformPick(replay, np.random.default_rng(0))
    sampler = Sampler(replay, pick, one_step(GAMMA), rows, [look_ahead(steps)])
    for _ in range(2):
        batch = sampler.sample()
        for obs, reward, discount, next_obs in zip(
            batch.obs.flatten().tolist(), batch.reward, batch.discount, batch.next_obs.flatten().tolist(), strict=True
        ):
            total, factor, after = right[obs]
            assert next_obs == after
            assert reward.item() == pytest.approx(total, abs=1e-5)
            assert discount.item() == pytest.approx(factor, rel=1e-5)


moments = st.tuples(
    st.integers(0, 2),
    st.sampled_from([OPEN, OPEN, OPEN, OPEN, TERMINATED, TRUNCATED, LOST]),
    st.integers(-9, 9).map(float),
)


@settings(max_examples=300, deadline=None)
@given(rows=st.integers(2, 12), envs=st.integers(1, 3), steps=st.integers(1, 9), moments=st.lists(moments, min_size=1))
def test_a_return_is_what_the_episodes_say(rows, envs, steps, moments):
    replay = Replay(rows * envs, envs, COLUMNS)
    episodes = play(replay, [(env_index % envs, how, reward) for env_index, how, reward in moments])
    if len(replay):
        check(replay, episodes, steps, rows=40)


@pytest.mark.parametrize("envs", [1, 5])
@pytest.mark.parametrize("steps", [2, 3, 10, 100])
def test_returns_in_a_memory_that_went_round_many_times(envs, steps):
    random, replay = np.random.default_rng(steps), Replay(97 * envs, envs, COLUMNS)
    hows = random.choice([OPEN, TERMINATED, TRUNCATED, LOST], (600, envs), p=[0.91, 0.03, 0.03, 0.03])
    moments = [
        (env_index, how, random.normal()) for row in hows for env_index, how in enumerate(row) if random.random() < 0.9
    ]
    episodes = play(replay, moments)
    assert len(replay) < sum(replay.written) / 4
    check(replay, episodes, steps)


@pytest.mark.parametrize(("world", "value"), [(Forever, 10.0), (Delayed, 0.9)])
def test_values_are_those_of_single_steps_where_rewards_do_not_depend_on_the_policy(world, value):
    agent = learn(world, steps=700, n_step=3, tau=0.2, compile="never")
    np.testing.assert_allclose(q_of(agent, 0), value, rtol=0.05)
