import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import strategies as st

from rucksac.environments import reading
from rucksac.errors import UsageError
from tests.worlds import World


def spaces_of(action_space, observation_space=World.observation_space):
    env = World()
    env.action_space, env.observation_space = action_space, observation_space
    return reading.spaces_of(env)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_each_action_dimension_has_its_own_map(dtype):
    spaces = spaces_of(Box(np.array([0, -3, 5], dtype), np.array([5, 1, 6], dtype), dtype=dtype))
    mapped = spaces.actions.to_env(np.array([[-1, -1, -1], [0, 0, 0], [1, 1, 1]], np.float32))
    np.testing.assert_allclose(mapped, [[0, -3, 5], [2.5, -1, 5.5], [5, 1, 6]])
    assert mapped.dtype == dtype


@given(st.lists(st.floats(-1, 1, width=32), min_size=6, max_size=6))
def test_the_map_and_back_and_always_inside(values):
    space = Box(np.array([[-2, 0, 1], [0, 0, -9]], np.float32), np.array([[2, 5, 1.5], [0.1, 7, -8]], np.float32))
    spaces = spaces_of(space)
    unit = np.array([values], np.float32)
    in_env = spaces.actions.to_env(unit)
    assert in_env.shape == (1, 2, 3)
    assert space.contains(in_env[0])
    back = (in_env.reshape(-1) - spaces.actions.low) / (spaces.actions.high - spaces.actions.low) * 2 - 1
    np.testing.assert_allclose(back, unit[0], atol=3e-6)


def test_integer_actions_are_rounded_and_scalars_keep_their_shape():
    assert spaces_of(Box(0, 10, (1,), np.int64)).actions.to_env(np.array([0.11], np.float32)).tolist() == [6]
    assert spaces_of(Box(-2.0, 2.0, (), np.float32)).actions.to_env(np.array([0.5], np.float32)).shape == ()


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (Box(-np.inf, np.inf, (2,)), "every bound must be finite; give --action-low"),
        (Box(np.array([0.0, 0.0], np.float32), np.array([1.0, np.inf], np.float32)), "every bound must be finite"),
        (Box(1.0, 1.0, (2,)), "not below its upper bound"),
        (Box(-1.0, 1.0, (0,)), "empty"),
    ],
)
def test_unusable_action_spaces_are_refused_with_the_remedy(space, says):
    with pytest.raises(UsageError, match=says):
        spaces_of(space)


def test_bounds_made_infinite_by_clip_action_are_refused():
    with pytest.raises(UsageError, match="finite"):
        reading.spaces_of(gymnasium.wrappers.ClipAction(gymnasium.make("Pendulum-v1")))


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.int32])
def test_observations_become_flat_float32(dtype):
    spaces = spaces_of(Box(-1, 1, (1,)), Box(0, 9, (2, 3), dtype))
    flat = spaces.flatten(np.arange(6, dtype=dtype).reshape(2, 3))
    assert flat.dtype == np.float32
    assert flat.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("obs", [np.zeros(2), np.zeros((1, 1)), None, np.array(["a"]), [[1.0], [2.0, 3.0]]])
def test_observations_of_the_wrong_shape_or_type_are_refused(obs):
    with pytest.raises(UsageError, match="correct what produced it"):
        spaces_of(Box(-1, 1, (1,))).flatten(obs)


def test_spaces_survive_json():
    spaces = spaces_of(Box(np.array([0, -3], np.float64), np.array([5, 1], np.float64), dtype=np.float64))
    again = reading.from_json(reading.to_json(spaces))
    assert reading.to_json(again) == reading.to_json(spaces)
