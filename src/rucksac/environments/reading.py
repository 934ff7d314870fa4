"""Where `Spaces` come from: an environment that declares them, or the JSON of a checkpoint."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces as kinds

from rucksac.environments.choices import Choices
from rucksac.environments.kinds import Actions, Observations
from rucksac.environments.observations import Composite
from rucksac.environments.pictures import picture_of
from rucksac.environments.spaces import Continuous, Numbers, Spaces
from rucksac.errors import UsageError

LARGEST_OBSERVATION = 10_000_000  # numbers
MOST_CHOICES = 4_096
DISCRETE = (kinds.Discrete, kinds.MultiDiscrete, kinds.MultiBinary)
SUPPORTED = (kinds.Box, *DISCRETE, kinds.Dict, kinds.Tuple)
Bounds = Sequence[float] | None


def spaces_of(env: gymnasium.Env | gymnasium.vector.VectorEnv, low: Bounds = None, high: Bounds = None) -> Spaces:
    """Read the spaces of `env`, or of one environment in a `VectorEnv`.

    `low` and `high` take the place of its action bounds, one number for all dimensions or one each. Raises `UsageError`
    when the spaces are not supported, naming the remedy.
    """
    prefix = "single_" if isinstance(env, gymnasium.vector.VectorEnv) else ""
    observation: Any = getattr(env, f"{prefix}observation_space", None)
    action = getattr(env, f"{prefix}action_space", None)
    _check_observation(observation)
    if isinstance(action, DISCRETE):
        if low is not None or high is not None:
            raise UsageError(f"actions are {action}, which have no bounds; leave out --action-low and --action-high")
        return Spaces(_observations(observation), _choices(action))
    if not isinstance(action, kinds.Box):
        raise UsageError(
            f"actions are {type(action).__name__}, but must be Box, Discrete, MultiDiscrete or MultiBinary; "
            "wrap the environment in gymnasium.wrappers.TransformAction"
        )
    return Spaces(_observations(observation), _continuous(action, low, high))


def to_json(spaces: Spaces) -> dict[str, Any]:
    """Return the spaces as plain JSON values."""
    seen, actions = spaces.observations, spaces.actions
    assert isinstance(seen, Composite | Numbers)
    assert isinstance(actions, Choices | Continuous)
    observed = _describe(seen.space) if isinstance(seen, Composite) else {"kind": "Box", "shape": list(seen.shape)}
    if isinstance(actions, Choices):
        described = _describe(actions.space)
    else:
        described = {
            "kind": "Continuous",
            "shape": list(actions.shape),
            "dtype": actions.dtype.name,
            "low": actions.low.tolist(),
            "high": actions.high.tolist(),
        }
    return {"observation": observed, "action": described}


def from_json(values: dict[str, Any]) -> Spaces:
    """Return the spaces that `to_json` gave; raise `ValueError` or the like when they make no sense."""
    observations, action = _observations(_space(values["observation"])), values["action"]
    if action["kind"] != "Continuous":
        space = _space(action)
        if not isinstance(space, DISCRETE):
            raise ValueError(f"actions cannot be {action['kind']}")
        return Spaces(observations, _choices(space))
    actions = Continuous(
        tuple(int(n) for n in action["shape"]),
        np.dtype(action["dtype"]),
        np.asarray(action["low"], np.float64),
        np.asarray(action["high"], np.float64),
    )
    size = int(np.prod(actions.shape, dtype=int))
    if size < 1 or actions.low.shape != (size,) or actions.high.shape != (size,) or actions.dtype.kind not in "fiub":
        raise ValueError("the sizes of the actions contradict each other")
    return Spaces(observations, actions)


def check_same(given: Spaces, expected: Spaces) -> None:
    """Raise `UsageError` unless both describe the same observations and actions, parts in the same order."""
    _check(to_json(given), to_json(expected))


def check_alike(given: Spaces, expected: Spaces) -> None:
    """Raise `UsageError` unless both describe the same observations and actions, bounds of the actions aside."""
    this, other = to_json(given), to_json(expected)
    for each in (this["action"], other["action"]):
        for name in ("low", "high", "dtype"):
            each.pop(name, None)
    _check(this, other)


def _check(this: dict[str, Any], other: dict[str, Any]) -> None:
    for part in ("observation", "action"):
        if difference := _difference(this[part], other[part], part):
            where, here, there = difference
            raise UsageError(
                f"the agent was made for an environment with {where} {there}, but this one has {here}; use the "
                "environment it was made for"
            )


def _difference(one: dict[str, Any], other: dict[str, Any], where: str) -> tuple[str, Any, Any] | None:
    """Return where two described spaces first differ and what each has there, None where they are the same."""
    if one["kind"] == other["kind"] == "Tuple" and len(one["parts"]) == len(other["parts"]):
        numbered = enumerate(zip(one["parts"], other["parts"], strict=True))
        found = (_difference(part, match, f"{where} {index}") for index, (part, match) in numbered)
        return next(filter(None, found), None)
    if one["kind"] == other["kind"] == "Dict":
        names, other_names = ([name for name, _ in each["parts"]] for each in (one, other))
        if names != other_names:
            return f"{where} parts", ", ".join(names), ", ".join(other_names)
        pairs = zip(one["parts"], other["parts"], strict=True)
        found = (_difference(part, match, f"{where} {name!r}") for (name, part), (_, match) in pairs)
        return next(filter(None, found), None)
    name = next((name for name in {**one, **other} if one.get(name) != other.get(name)), None)
    return (f"{where} {name}", one.get(name), other.get(name)) if name else None


def _check_observation(space: Any, inside: str = "") -> None:
    parts = space.spaces if isinstance(space, kinds.Dict | kinds.Tuple) else ()
    if isinstance(parts, dict) and (unnamed := [name for name in parts if not isinstance(name, str)]):
        raise UsageError(f"a Dict{inside} of observations has a part named {unnamed[0]!r}, but names must be text")
    for part in parts.values() if isinstance(parts, dict) else parts:
        _check_observation(part, f" inside {type(space).__name__}")
    if not isinstance(space, SUPPORTED):
        raise UsageError(
            f"observations are {type(space).__name__}{inside}, but must be Box, Discrete, MultiDiscrete, MultiBinary, "
            "or Dict and Tuple of them; wrap the environment in gymnasium.wrappers.TransformObservation"
        )
    if isinstance(space, kinds.Box) and space.dtype is not None and space.dtype.kind not in "fiub":
        raise UsageError(f"observations{inside} are of type {space.dtype}, but must be numbers")
    size = kinds.flatdim(space)
    if not 1 <= size <= LARGEST_OBSERVATION:
        raise UsageError(
            f"an observation{inside} holds {size:,} numbers, but must hold 1 to {LARGEST_OBSERVATION:,}; "
            "choose an environment that shows something, in a form made for learning"
        )


def _observations(space: Any) -> Observations:
    return Numbers(tuple(space.shape)) if isinstance(space, kinds.Box) and not picture_of(space) else Composite(space)


def _choices(space: Any) -> Choices:
    choices = Choices(space)
    if not 2 <= choices.size <= MOST_CHOICES:
        raise UsageError(
            f"actions are {space}, {choices.size:,} in all, but there must be 2 to {MOST_CHOICES:,}; "
            "give the environment fewer choices, or continuous actions"
        )
    return choices


def _continuous(space: kinds.Box, low_given: Bounds, high_given: Bounds) -> Actions:
    low = _bound("low", np.asarray(space.low, np.float64).reshape(-1), low_given)
    high = _bound("high", np.asarray(space.high, np.float64).reshape(-1), high_given)
    if low.size == 0:
        raise UsageError("the environment has an empty action space; nothing can be learned there")
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise UsageError(
            f"actions range from {low.min():g} to {high.max():g}, but every bound must be finite; give --action-low "
            "and --action-high, or wrap the environment in gymnasium.wrappers.RescaleAction "
            "(gymnasium.wrappers.ClipAction makes bounds infinite: leave it out)"
        )
    if not (low < high).all():
        at = (low >= high).argmax()
        what = "--action-low and --action-high" if low_given or high_given else "the action space"
        raise UsageError(
            f"actions go from {low[at]:g} to {high[at]:g} in dimension {at}, but every lower bound must be below its "
            f"upper bound; correct {what}"
        )
    wrong = (low < space.low.reshape(-1)) | (high > space.high.reshape(-1))
    if wrong.any():
        raise UsageError(
            f"--action-low and --action-high go from {low[wrong][0]:g} to {high[wrong][0]:g} in dimension "
            f"{wrong.argmax()}, but the environment allows {space.low.reshape(-1)[wrong][0]:g} to "
            f"{space.high.reshape(-1)[wrong][0]:g}; stay within"
        )
    return Continuous(tuple(space.shape), space.dtype, low, high)


def _bound(name: str, own: np.ndarray, given: Bounds) -> np.ndarray:
    if given is None:
        return own
    if len(given) not in (1, own.size):
        raise UsageError(f"--action-{name} has {len(given)} numbers, but must have 1 or {own.size}")
    return np.broadcast_to(np.asarray(given, np.float64), own.shape).copy()


def _describe(space: gymnasium.Space[Any]) -> dict[str, Any]:
    kind = next(each.__name__ for each in SUPPORTED if isinstance(space, each))
    if isinstance(space, kinds.Dict):
        return {"kind": kind, "parts": [[name, _describe(part)] for name, part in space.items()]}
    if isinstance(space, kinds.Tuple):
        return {"kind": kind, "parts": [_describe(part) for part in space]}
    if isinstance(space, kinds.Discrete):
        return {"kind": kind, "n": int(space.n), "start": int(space.start)}
    if isinstance(space, kinds.MultiDiscrete):
        return {"kind": kind, "n": space.nvec.tolist(), "start": space.start.tolist()}
    return {"kind": kind, "shape": list(space.shape or ()), **({"dtype": "uint8"} if picture_of(space) else {})}


def _space(values: dict[str, Any]) -> gymnasium.Space[Any]:
    kind = values["kind"]
    if kind == "Dict":
        return kinds.Dict([(str(name), _space(part)) for name, part in values["parts"]])  # a mapping would be sorted
    if kind == "Tuple":
        return kinds.Tuple([_space(part) for part in values["parts"]])
    if kind == "Discrete":
        return kinds.Discrete(int(values["n"]), start=int(values["start"]))
    if kind == "MultiDiscrete":
        return kinds.MultiDiscrete(np.asarray(values["n"], np.int64), start=np.asarray(values["start"], np.int64))
    shape = tuple(int(n) for n in values["shape"])
    if min(shape, default=1) < 1 or int(np.prod(shape, dtype=object)) > LARGEST_OBSERVATION:
        raise ValueError(f"the shape {shape} makes no sense")
    if kind == "MultiBinary":
        return kinds.MultiBinary(shape)
    if values.get("dtype") == "uint8":
        return kinds.Box(0, 255, shape, np.uint8)
    return kinds.Box(-np.inf, np.inf, shape, np.float32)
