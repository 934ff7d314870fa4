"""Whole episodes out of a replay memory, and a replay memory of whole episodes."""

import numpy as np
import pytest

from rucksac.experience import segments
from rucksac.experience.columns import Column
from rucksac.experience.history import episodes_of, overwritten, replay_of, transitions_of
from rucksac.experience.replay import Replay
from tests.experience.test_looking_ahead import LOST, OPEN, TERMINATED, TRUNCATED, play

COLUMNS = (Column("obs", (1,), of_state=True), Column("action", (1,)), Column("reward"))


def moments(steps, envs, seed):
    random = np.random.default_rng(seed)
    ends = random.choice([OPEN, TERMINATED, TRUNCATED, LOST], steps, p=[0.7, 0.1, 0.1, 0.1])
    return [
        (int(env), int(how), float(random.normal()))
        for env, how in zip(random.integers(envs, size=steps), ends, strict=True)
    ]


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("steps", [1, 9, 40, 58, 150, 400])
def test_episodes_are_those_that_were_stored_as_far_as_they_are_kept(envs, steps):
    replay = Replay(60 * envs, envs, COLUMNS)
    stored, kept, rows = play(replay, moments(steps, envs, steps)), 0, 0
    for env_index, own in enumerate(stored):
        found = list(episodes_of(replay, env_index))
        kept += sum(each.steps for each in found)
        rows += sum(len(each) + 1 for each in own)
        assert len(found) <= len(own)
        for index, (right, episode) in enumerate(zip(reversed(own), reversed(found), strict=False)):
            clocks, hows, rewards = zip(*right, strict=True)
            assert episode.values["obs"][:, 0].tolist() == [*clocks, clocks[-1] + 1][-1 - episode.steps :]
            assert np.array_equal(episode.values["reward"], np.float32(rewards[-episode.steps :]))
            assert episode.values["action"].shape == (episode.steps, 1)
            assert episode.terminated == (hows[-1] == TERMINATED)
            assert episode.steps == len(right) or index == len(found) - 1
    assert kept == len(replay)
    assert 0 <= overwritten(replay) <= max(0, rows)
    assert (overwritten(replay) > 0) == (max(replay.written) + 1 > 60)


@pytest.mark.parametrize("steps", [1, 40, 400])
def test_a_memory_of_episodes_holds_them_and_nothing_else(steps):
    ring = Replay(60, 1, COLUMNS)
    play(ring, moments(steps, 1, steps))
    episodes = list(episodes_of(ring, 0))
    memory = replay_of(episodes, COLUMNS)
    segments.settle(memory)
    assert len(memory) == sum(each.steps for each in episodes) == sum(1 for _ in transitions_of(memory, 0))
    again = list(episodes_of(memory, 0))
    assert len(again) == len(episodes)
    for left, right in zip(episodes, again, strict=True):
        assert (left.steps, left.terminated) == (right.steps, right.terminated)
        assert all(np.array_equal(left.values[name], right.values[name]) for name in left.values)
