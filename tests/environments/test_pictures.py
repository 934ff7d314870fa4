"""What counts as a picture, where its numbers go, and stacks of frames as an environment shows them."""

import json
import types

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Tuple

from rucksac.environments import reading
from rucksac.environments.making import make, make_one
from rucksac.environments.observations import Composite
from rucksac.environments.pictures import FrameStack, picture_of, without_pictures
from rucksac.environments.spaces import Numbers
from rucksac.errors import UsageError
from tests.runs import config
from tests.worlds import Forever, Screen

ACTIONS = Box(-1.0, 1.0, (1,), np.float32)


def picture(*shape, dtype=np.uint8):
    return Box(0, 255, shape, dtype)


def spaces_of(observation):
    return reading.spaces_of(types.SimpleNamespace(observation_space=observation, action_space=ACTIONS))


@pytest.mark.parametrize(
    ("shape", "means"),
    [
        ((84, 84, 3), (1, 84, 84, 3, False)),
        ((3, 84, 96), (1, 84, 96, 3, True)),
        ((20, 30), (1, 20, 30, 1, False)),
        ((4, 64, 64), (1, 64, 64, 4, True)),
        ((16, 20, 16), (1, 16, 20, 16, False)),  # Gymnasium's own order where both are as many
        ((4, 84, 90, 3), (4, 84, 90, 3, False)),
        ((4, 3, 84, 90), (4, 84, 90, 3, True)),
        ((5, 20, 30), (1, 20, 30, 5, True)),
    ],
)
def test_pictures_are_recognised_in_either_order(shape, means):
    assert picture_of(picture(*shape), 7) == (7, *means)
    assert picture_of(picture(*shape), 7).size == np.prod(shape)


@pytest.mark.parametrize(
    "space", [picture(14, 40, 3), picture(128), picture(7, 7, 3), picture(84, 84, 3, dtype=np.float32), Discrete(3)]
)
def test_what_is_small_or_no_bytes_is_no_picture(space):
    assert picture_of(space) is None
    seen = spaces_of(space).observations
    assert seen.pictures == ()
    assert isinstance(seen, Numbers if isinstance(space, Box) else Composite)


MIXED = Dict(
    eye=picture(16, 17, 3),
    a=Tuple([Discrete(2), picture(2, 15, 15), Box(-1, 1, (2,))]),
    joint=Box(-1, 1, (1,)),
)


def test_pictures_lie_behind_all_other_numbers_and_come_back_from_there():
    spaces, sample = spaces_of(MIXED), MIXED.sample()
    flat = spaces.flatten(sample)
    number, small, pair = sample["a"]
    numbers = [*np.eye(2)[number], *pair, *sample["joint"]]
    assert spaces.numbers == 5
    assert flat[:5].tolist() == np.float32(numbers).tolist()
    assert [each.begin for each in spaces.observations.pictures] == [5, 5 + 16 * 17 * 3]
    assert np.array_equal(flat[5:], np.concatenate([sample["eye"].reshape(-1), small.reshape(-1)]))
    back = spaces.observations.unflatten(flat[None])
    assert np.array_equal(back["eye"][0], sample["eye"])
    assert back["a"][0].tolist() == [number]
    assert np.array_equal(back["a"][1][0], small)
    again = reading.from_json(json.loads(json.dumps(reading.to_json(spaces))))
    assert again.observations.pictures == spaces.observations.pictures
    assert np.array_equal(again.flatten(sample), flat)
    left = without_pictures(MIXED)
    assert list(left) == ["a", "joint"]
    assert gymnasium.spaces.flatdim(left) == 5
    with pytest.raises(
        UsageError, match=r"has observation dtype uint8, but this one has None|dtype None, but .* uint8"
    ):
        reading.check_same(spaces_of(picture(20, 20)), spaces_of(picture(20, 20, dtype=np.float32)))


@pytest.mark.parametrize("order", ["HWC", "CHW", "HW"])
def test_a_stack_is_the_one_that_gymnasium_makes(order):
    ours, theirs = FrameStack(Screen(order), 3), gymnasium.wrappers.FrameStackObservation(Screen(order), 3)
    assert ours.observation_space == theirs.observation_space
    for seed in (1, 2):
        pairs = [(ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0])]
        pairs += [(ours.step(np.zeros(1))[0], theirs.step(np.zeros(1))[0]) for _ in range(5)]
        for mine, other in pairs:
            assert ours.observation_space.contains(mine)
            assert np.array_equal(mine, other)
        assert len({mine.tobytes() for mine, _ in pairs}) == 6


def test_only_pictures_are_stacked_and_what_cannot_be_is_refused():
    env = make_one(lambda: Screen(numbers=True), config(frame_stack=2, time_limit=4))
    obs, _ = env.reset(seed=0)
    assert (obs["eye"].shape, obs["place"].shape) == ((2, 16, 16, 3), (1,))
    after = env.step(np.zeros(1))[0]
    assert np.array_equal(after["eye"][0], obs["eye"][1])
    assert not np.array_equal(after["eye"][1], obs["eye"][1])
    with pytest.raises(UsageError, match="--frame-stack 2 is for pictures, but no part .* 15 or more; leave it out"):
        make(Forever, config(frame_stack=2))
    with pytest.raises(UsageError, match="stacks of pictures, but here is one already, of shape .3, 16, 16, 3."):
        make(lambda: gymnasium.wrappers.FrameStackObservation(Screen(), 3), config(frame_stack=2))
    with pytest.raises(UsageError, match="--frame-stack and --time-limit are not for a VectorEnv"):
        make(lambda: gymnasium.vector.SyncVectorEnv([Screen]), config(frame_stack=2))


class Broken(Screen):
    """Shows a picture of another size after a step."""

    def step(self, action):
        return self.seen()[:-1], 0.0, False, False, {}


def test_a_picture_that_does_not_fit_is_refused_whether_stacked_or_not():
    for stack in (1, 2):
        env = make_one(Broken, config(frame_stack=stack))
        spaces = reading.spaces_of(env)
        assert spaces.flatten(env.reset(seed=0)[0]).size == stack * 16 * 16 * 3
        with pytest.raises(UsageError, match="shape"):
            spaces.flatten(env.step(np.zeros(1))[0])
