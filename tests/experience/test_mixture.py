"""Batches that are made of two replay memories, against what is in each."""

import numpy as np
import pytest

from rucksac.experience.looking_ahead import look_ahead
from rucksac.experience.priorities import LEAST, PrioritisedPick
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Mixture, Sampler, UniformPick, one_step
from tests.experience.test_history import moments
from tests.experience.test_looking_ahead import COLUMNS, GAMMA, expected, play

ROWS = 20


def memory_of(steps, envs, seed):
    replay = Replay(60 * envs, envs, COLUMNS)
    return replay, play(replay, moments(steps, envs, seed))


def sampler_of(replay, seed, prioritised=False, steps=1, rows=ROWS):
    random, fold = np.random.default_rng(seed), one_step(GAMMA)
    if prioritised:
        pick = PrioritisedPick(replay, random, 1.0, 0.5)
        return Sampler(replay, pick, {**fold, "weight": pick.weight}, rows, [look_ahead(steps)])
    return Sampler(replay, UniformPick(replay, random), fold, rows, [look_ahead(steps)])


@pytest.mark.parametrize("count", [1, 7, 19])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("prioritised", [False, True])
def test_each_part_of_a_batch_is_of_its_own_memory(count, steps, prioritised):
    memories = memory_of(150, 2, 1), memory_of(90, 1, 2)
    mixture = Mixture(*(sampler_of(replay, 3, prioritised, steps) for replay, _ in memories), count)
    sizes = ROWS - count, count
    alone = [sampler_of(replay, 3, prioritised, steps, rows) for (replay, _), rows in zip(memories, sizes, strict=True)]
    for _ in range(5):
        batch = mixture.sample()
        parts = [slice(None, ROWS - count), slice(ROWS - count, None)]
        for part, (_, episodes), one in zip(parts, memories, alone, strict=True):
            right = expected(episodes, steps)
            assert batch.obs[part].shape[0] == one.batch_size
            for obs, reward, discount, after in zip(*(x[part].flatten().tolist() for x in (
                batch.obs, batch.reward, batch.discount, batch.next_obs)), strict=True):  # fmt: skip
                total, factor, then = right[obs]
                assert (reward, discount, after) == (pytest.approx(total, abs=1e-5), pytest.approx(factor), then)
            assert batch.obs[part].equal(one.sample().obs)  # each has its own stream of random numbers
            assert (batch.weight is not None) == prioritised
            if prioritised:
                assert batch.weight[part].max() == 1.0


def test_what_was_learned_reaches_the_memory_that_it_is_of():
    (own, _), (other, _) = memory_of(40, 1, 1), memory_of(40, 1, 2)
    samplers = sampler_of(own, 3, True), sampler_of(other, 4, True)
    mixture = Mixture(*samplers, 5)
    mixture.sample()
    errors = np.arange(1.0, ROWS + 1)
    mixture.learned(errors)
    for sampler, learned in zip(samplers, (errors[:15], errors[15:]), strict=True):
        set_to = sampler.pick.priorities[sampler.pick.priorities > 1.0 + 2 * LEAST]
        assert set(set_to) <= set(learned + LEAST)
        assert sampler.pick.largest == pytest.approx(learned[-1] + LEAST)


def test_nothing_to_draw_from_is_an_error():
    full, empty = memory_of(40, 1, 1)[0], Replay(60, 1, COLUMNS)
    for pair in ((full, empty), (empty, full)):
        with pytest.raises(ValueError, match="the replay memory is empty"):
            Mixture(*(sampler_of(replay, 0) for replay in pair), 4).sample()
