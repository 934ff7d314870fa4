"""Random shifts: against a picture worked by hand, and what of a batch they leave alone."""

import numpy as np
import pytest

from rucksac.environments.pictures import Picture
from rucksac.experience.columns import Column
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Sampler, UniformPick, column, one_step
from rucksac.experience.shifting import FARTHEST, Shift, shift

HAND = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)


@pytest.mark.parametrize(
    ("down", "right", "wanted"),
    [
        (0, 0, [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        (1, 0, [[1, 2, 3], [1, 2, 3], [4, 5, 6]]),
        (0, -1, [[2, 3, 3], [5, 6, 6], [8, 9, 9]]),
        (-2, 1, [[7, 7, 8], [7, 7, 8], [7, 7, 8]]),
        (4, 4, [[1, 1, 1], [1, 1, 1], [1, 1, 1]]),
    ],
)
def test_a_shift_is_the_one_worked_by_hand(down, right, wanted):
    for first in (False, True):
        frames = np.stack([HAND + 10 * frame for frame in range(2)])  # (frames, 3, 3)
        shape = (2, 2, 3, 3) if first else (2, 3, 3, 2)
        both = np.stack([frames, -frames], 1 if first else -1).reshape(shape)  # two channels
        moved = np.stack([np.float32(wanted) + 10 * frame for frame in range(2)])
        expected = np.stack([moved, -moved], 1 if first else -1)
        obs = np.concatenate([[0.5], both.reshape(-1), [0.25]])[None].repeat(2, 0).astype(np.float32)
        left = obs[1].copy()
        shift(obs, Picture(1, 2, 3, 3, 2, first), np.array([down, 0]), np.array([right, 0]))
        assert np.array_equal(obs[0, 1:-1], expected.reshape(-1))
        assert (obs[0, 0], obs[0, -1]) == (0.5, 0.25)
        assert np.array_equal(obs[1], left)


def test_each_observation_is_moved_by_its_own_amount_and_all_as_far_as_allowed():
    size = 1 + 20 * 20
    replay = Replay(10, 1, (Column("obs", (size,), of_state=True), Column("action", (1,)), Column("reward")))
    ramp = np.add.outer(100 * np.arange(20), np.arange(20)).reshape(-1)  # where a pixel was is in its value
    obs = np.concatenate([[7], ramp])
    replay.add(0, False, False, obs=obs, action=[0], reward=0, next_obs=obs)
    pick = UniformPick(replay, np.random.default_rng(0))
    sampler = Sampler(
        replay, pick, one_step(0.9, column("obs")), 2_000, [Shift(pick.generator, [Picture(1, 1, 20, 20, 1, False)])]
    )
    batch = sampler.sample()
    middle = 1 + 10 * 20 + 10
    moves = []
    for rows in (batch.obs.numpy(), batch.next_obs.numpy()):
        assert (rows[:, 0] == 7).all()
        down, right = 10 - rows[:, middle] // 100, 10 - rows[:, middle] % 100
        for move in (down, right):
            counts = np.unique(move, return_counts=True)
            assert counts[0].tolist() == list(range(-FARTHEST, FARTHEST + 1))
            assert counts[1].min() > 2_000 / 9 / 1.5
            moves.append(move)
    assert np.abs(np.corrcoef(moves) - np.eye(4)).max() < 0.1
