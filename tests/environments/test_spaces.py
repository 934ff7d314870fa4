import json
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Text, Tuple
from hypothesis import given
from hypothesis import strategies as st

from rucksac.environments import reading
from rucksac.environments.observations import rows_of
from rucksac.environments.spaces import finite_reward, truth
from rucksac.errors import UsageError
from tests.spaces import NESTED, spaces_of


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


SHAPES = {
    "continuous": Box(np.array([[-0.4, 0], [0, -9]], np.float32), np.array([[0.4, 5], [0.1, -8]], np.float32)),
    "whole numbers": Box(np.array([0, -7]), np.array([10, 90]), dtype=np.int64),
    "one number": Box(-1.7, 0.3, (), np.float32),
    "discrete": Discrete(5, start=-2),
    "several choices": MultiDiscrete([3, 2, 4], start=[1, 0, -1]),
    "switches": MultiBinary(3),
}


@pytest.mark.parametrize("space", SHAPES.values(), ids=SHAPES)
def test_actions_of_the_environment_come_back_to_the_bit(space):
    actions, random = spaces_of(space).actions, np.random.default_rng(0)
    in_env = actions.to_env(actions.random(random, 20_000))
    assert space.contains(np.asarray(in_env[0]))
    unit = actions.from_env(in_env)
    assert unit.dtype == np.float32
    assert unit.shape == (20_000, actions.size)
    assert np.array_equal(actions.to_env(unit), in_env)
    assert actions.space == space


@pytest.mark.parametrize(
    ("space", "given", "says"),
    [
        (Box(-2.0, 2.0, (2,)), [[0.0, 2.1]], "an action is 2.1 in dimension 1, but here it must be from -2 to 2"),
        (Box(-2.0, 2.0, (2,)), [[np.nan, 0.0]], "an action is nan in dimension 0"),
        (Box(-2.0, 2.0, (2,)), [0.0], r"an action has shape \(\), but here it must have \(2,\)"),
        (Discrete(3, start=1), [0], "an action is 0, which is not in Discrete"),
        (Discrete(3), [0.5], r"of type float64 and shape \(\), but here it must be a choice of Discrete"),
        (MultiDiscrete([2, 3]), [[1, 3]], r"an action is \[1 3\], which is not in MultiDiscrete"),
    ],
)
def test_actions_of_another_environment_are_refused(space, given, says):
    with pytest.raises(UsageError, match=says):
        spaces_of(space).actions.from_env(np.array(given))


def test_flat_observations_become_what_they_were():
    for space in (NESTED, Box(-1.0, 1.0, (2, 3)), Discrete(4)):
        seen = spaces_of(Discrete(2), space).observations
        space.seed(0)
        given = [space.sample() for _ in range(5)]
        flat = np.stack([seen.flatten(each).astype(np.float32) for each in given])
        parts = seen.unflatten(flat)

        def at(part, index):
            if isinstance(part, dict):
                return {name: at(each, index) for name, each in part.items()}
            return tuple(at(each, index) for each in part) if isinstance(part, tuple) else part[index]

        for index in range(5):
            assert np.array_equal(seen.flatten(at(parts, index)).astype(np.float32), flat[index])
    assert parts.tolist() == [int(each) for each in given]


def test_integer_actions_are_rounded_and_scalars_keep_their_shape():
    assert spaces_of(Box(0, 10, (1,), np.int64)).actions.to_env(np.array([0.11], np.float32)).tolist() == [6]
    assert spaces_of(Box(-2.0, 2.0, (), np.float32)).actions.to_env(np.array([0.5], np.float32)).shape == ()


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (Box(-np.inf, np.inf, (2,)), "every bound must be finite; give --action-low"),
        (Box(np.array([0.0, 0.0], np.float32), np.array([1.0, np.inf], np.float32)), "every bound must be finite"),
        (Box(1.0, 1.0, (2,)), "from 1 to 1 in dimension 0, .* below its upper bound; correct the action space"),
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


def nested(**changes):
    seen = {
        "arm": {"angle": np.array([[0.1, 0.2], [0.3, 0.4]]), "grip": 1},
        "lamps": np.array([1, 0], np.int8),
        "modes": np.array([0, 2]),
        "pair": (1, np.array([7], np.uint8)),
    }
    return {**seen, **changes}


def test_parts_of_an_observation_are_strung_together_and_discrete_ones_become_one_hot():
    spaces = spaces_of(Box(-1, 1, (1,)), NESTED)
    angle, grip, lamps, modes, pair = [0.1, 0.2, 0.3, 0.4], [0, 0, 1], [1, 0], [1, 0, 0, 0, 1], [0, 1, 7]
    expected = np.array([*angle, *grip, *lamps, *modes, *pair], np.float32)
    assert spaces.flatten(nested()).tolist() == expected.tolist()
    assert spaces.obs_size == len(expected)
    flat = gymnasium.spaces.flatten(NESTED, nested())  # what the wrapper FlattenObservation gives
    np.testing.assert_array_equal(spaces.flatten(nested()), flat.astype(np.float32))
    again = reading.from_json(json.loads(json.dumps(reading.to_json(spaces))))
    assert again.flatten(nested()).tolist() == expected.tolist()


def test_a_dict_of_batches_is_a_batch():
    space = Dict(angle=Box(-1, 1, (2,)), grip=Discrete(3))
    flatten = spaces_of(Box(-1, 1, (1,)), space).flatten
    batch = {"angle": np.array([[0.5, 1.0], [0.25, 0.0]]), "grip": np.array([2, 0])}
    rows, one = rows_of(batch, flatten)
    assert not one
    assert rows.tolist() == [[0.5, 1.0, 0, 0, 1], [0.25, 0.0, 1, 0, 0]]
    for wrong in ({**batch, "grip": np.array([2])}, {**batch, "grip": 7}, {"angle": batch["angle"]}):
        with pytest.raises(UsageError, match="observation"):
            rows_of(wrong, flatten)


def kinds_of_space(parts):
    names = st.lists(st.sampled_from("badec"), min_size=1, max_size=4, unique=True)
    return st.one_of(
        names.flatmap(
            lambda keys: st.tuples(*[parts] * len(keys)).map(lambda each: Dict(list(zip(keys, each, strict=True))))
        ),
        names.flatmap(
            lambda keys: st.tuples(*[parts] * len(keys)).map(lambda each: Dict(**dict(zip(keys, each, strict=True))))
        ),
        st.lists(parts, min_size=1, max_size=3).map(Tuple),
    )


SIMPLE = st.one_of(
    st.lists(st.integers(1, 3), max_size=2).map(lambda shape: Box(-9, 9, tuple(shape), np.float32)),
    st.builds(Discrete, st.integers(2, 4), start=st.integers(-2, 2)),
    st.lists(st.integers(2, 3), min_size=1, max_size=2).map(MultiDiscrete),
    st.integers(1, 3).map(MultiBinary),
)


@given(kinds_of_space(st.recursive(SIMPLE, kinds_of_space, max_leaves=6)), st.integers(0, 2**16))
def test_any_space_is_the_same_after_it_was_written_and_read(space, seed):
    spaces = spaces_of(Box(-1, 1, (1,)), space)
    again = reading.from_json(json.loads(json.dumps(reading.to_json(spaces), sort_keys=True)))
    reading.check_same(again, spaces)
    space.seed(seed)
    obs = space.sample()
    expected = gymnasium.spaces.flatten(space, obs).astype(np.float32)
    np.testing.assert_array_equal(spaces.flatten(obs), expected)
    np.testing.assert_array_equal(again.flatten(obs), expected)


def test_parts_in_another_order_are_another_space():
    one, other = (
        spaces_of(Box(-1, 1, (1,)), Dict(pair=Dict([(key, Discrete(2)) for key in keys]))) for keys in ("ba", "ab")
    )
    with pytest.raises(UsageError, match=r"with observation 'pair' parts a, b, but this one has b, a"):
        reading.check_same(one, other)


def test_where_spaces_differ_is_named_also_inside_of_tuples():
    one, other = (spaces_of(Box(-1, 1, (1,)), Tuple([Discrete(2), Dict(a=Discrete(n))])) for n in (2, 3))
    with pytest.raises(UsageError, match=r"with observation 1 'a' n 3, but this one has 2"):
        reading.check_same(one, other)


def test_parts_whose_names_are_no_text_are_refused():
    with pytest.raises(UsageError, match="a Dict of observations has a part named 1, but names must be text"):
        spaces_of(Box(-1, 1, (1,)), Dict({1: Discrete(2)}))


@pytest.mark.parametrize(
    ("obs", "says"),
    [
        (nested(arm={"grip": 1}), "at 'arm' is .* but must be a dict with angle, grip"),
        (nested(arm={"angle": np.zeros((2, 2)), "grip": 2}), r"at 'arm' at 'grip' is 2, which is not in .*Discrete\(3"),
        (nested(arm={"angle": np.zeros(4), "grip": 0}), r"shape \(4,\)"),
        (nested(pair=(1,)), "at 'pair' is .* but must be a tuple of 2"),
        (nested(lamps=np.array([2, 0], np.int8)), "at 'lamps' is .* which is not in"),
        (nested(arm={"angle": np.diag([0.0, np.nan]), "grip": 0}), r"at 'arm' at 'angle' at index \(1, 1\) is nan"),
        (None, "is None, but must be a dict"),
    ],
)
def test_observations_that_are_not_in_their_space_are_refused_by_name(obs, says):
    with pytest.raises(UsageError, match=says):
        spaces_of(Box(-1, 1, (1,)), NESTED).flatten(obs)


@pytest.mark.parametrize("space", [Text(5), Dict(a=Text(5)), Sequence(Discrete(2)), Box(0, 1, (0,))])
def test_observations_that_cannot_be_numbers_are_refused(space):
    with pytest.raises(UsageError, match=r"observations are (Text|Sequence).*must be Box|holds 0 numbers"):
        spaces_of(Box(-1, 1, (1,)), space)


@pytest.mark.parametrize("space", [Discrete(4), Discrete(3, start=-1), MultiDiscrete([2, 3]), MultiBinary((1, 2))])
def test_every_choice_of_a_discrete_space_is_one_action(space):
    actions = spaces_of(space).actions
    chosen = actions.to_env(np.eye(actions.size, dtype=np.float32))
    assert len({repr(each) for each in chosen}) == len(chosen) == actions.size
    assert all(space.contains(each) for each in chosen)
    assert space.contains(actions.to_env(np.eye(actions.size, dtype=np.float32)[0]))
    drawn = actions.random(np.random.default_rng(0), 400)
    assert (drawn.sum(1) == 1).all()
    assert (drawn.sum(0) > 0.5 * 400 / actions.size).all()


def test_choices_are_refused_when_there_are_none_or_too_many():
    with pytest.raises(UsageError, match="1 in all, but there must be 2 to 4,096"):
        spaces_of(Discrete(1))
    with pytest.raises(UsageError, match=r"1,048,576 in all"):
        spaces_of(MultiBinary(20))
    with pytest.raises(UsageError, match="have no bounds; leave out --action-low"):
        reading.spaces_of(gymnasium.make("CartPole-v1"), low=[0.0])


def test_given_bounds_take_the_place_of_infinite_ones():
    env = gymnasium.wrappers.ClipAction(gymnasium.make("Pendulum-v1"))
    spaces = reading.spaces_of(env, [-2.0], [1.0])
    assert spaces.actions.to_env(np.array([[-1.0], [1.0]], np.float32)).tolist() == [[-2.0], [1.0]]
    assert reading.to_json(reading.from_json(reading.to_json(spaces))) == reading.to_json(spaces)


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [
        ([-3.0], None, "dimension 0, but the environment allows -2 to 2; stay within"),
        ([0.0, 0.0], None, "--action-low has 2 numbers, but must have 1 or 1"),
        ([5.0], None, "from 5 to 2 in dimension 0, .* correct --action-low and --action-high"),
    ],
)
def test_given_bounds_that_make_no_sense_are_refused(low, high, says):
    with pytest.raises(UsageError, match=says):
        reading.spaces_of(gymnasium.make("Pendulum-v1"), low, high)


def test_environments_of_different_kinds_are_not_taken_for_the_same():
    pendulum, cart = (reading.spaces_of(gymnasium.make(name)) for name in ("Pendulum-v1", "CartPole-v1"))
    with pytest.raises(
        UsageError, match=r"made for an environment with observation shape \[3\], but this one has \[4\]"
    ):
        reading.check_same(cart, pendulum)


def test_actions_may_be_true_or_false():
    spaces = spaces_of(Box(0, 1, (2,), np.bool_))
    again = reading.from_json(reading.to_json(spaces))
    chosen = again.actions.to_env(np.array([[-0.9, 0.9]], np.float32))
    assert chosen.dtype == bool
    assert chosen.tolist() == [[False, True]]


TENSORS = [torch.tensor(2.0), torch.tensor(2.0, requires_grad=True), torch.tensor(2.0, dtype=torch.bfloat16)]


@pytest.mark.parametrize(
    "reward", [2, 2.0, np.float32(2), np.array(2), np.ma.array(2.0), *TENSORS, Decimal(2), Fraction(4, 2)]
)
def test_rewards_are_numbers_of_any_library(reward):
    assert finite_reward(reward) == 2.0


@pytest.mark.parametrize(
    "reward",
    [
        None,
        "2",
        [2.0],
        np.ones(1),
        torch.ones(1),
        np.ma.masked,
        2 + 0j,
        timedelta(1),
        np.timedelta64(1, "s"),
        10**400,
        Decimal("1e99"),
    ],
)
def test_rewards_that_no_float_can_hold_are_refused(reward):
    with pytest.raises(UsageError, match="gave the reward .*correct the environment"):
        finite_reward(reward)


@pytest.mark.parametrize("value", [True, 1, np.True_, np.array(True), torch.tensor(True), torch.tensor(1)])
def test_truth_values_are_those_of_any_library(value):
    assert truth("terminated", value) is True


@pytest.mark.parametrize("value", [None, 1.0, "yes", [True], np.array([True]), np.ma.masked])
def test_what_is_neither_true_nor_false_is_refused(value):
    with pytest.raises(UsageError, match="gave truncated = .*must give True or False"):
        truth("truncated", value)


def test_bounds_as_wide_as_float64_are_mapped_without_overflow():
    widest = float(np.finfo(np.float64).max)
    actions = spaces_of(Box(-widest, widest, (1,), np.float64)).actions
    mapped = actions.to_env(np.array([[-1], [0], [0.5], [1]], np.float32)).ravel()
    assert mapped.tolist() == [-widest, 0.0, widest / 2, widest]
