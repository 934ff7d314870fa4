"""Between an environment and the agent: flat float32 observations, actions in [-1, 1], finite numbers only.

One affine map per action dimension, here and nowhere else. O is the flat observation size, A the action size.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rucksac.environments import answers
from rucksac.environments.kinds import Actions, Observations
from rucksac.environments.pictures import Picture
from rucksac.errors import ANYTHING, UsageError, environment_failed

LARGEST_REWARD = 3e38  # what float32 can hold
BEYOND = 1e-6  # of half the range: by so much rounding may put an action past its bounds
RESET_GIVES = ("obs", "info")
STEP_GIVES = ("obs", "reward", "terminated", "truncated", "info")


@dataclass(frozen=True)
class Numbers:
    """Observations that are arrays of one shape."""

    shape: tuple[int, ...]
    pictures: tuple[Picture, ...] = ()

    @property
    def size(self) -> int:
        """Return O."""
        return math.prod(self.shape)

    @property
    def space(self) -> gymnasium.spaces.Box:
        """See `Observations`."""
        return gymnasium.spaces.Box(-np.inf, np.inf, self.shape, np.float32)

    def flatten(self, obs: Any) -> np.ndarray:
        """Return one observation as (O,); raise `UsageError` when it has another shape or is no number."""
        try:
            array = np.asarray(obs)
        except ValueError:  # nested lists of unequal length
            array = np.asarray(None)
        if array.shape != self.shape or array.dtype.kind not in "fiub":
            raise answers.misshapen(array, self.shape)
        return array.reshape(-1)

    def unflatten(self, rows: np.ndarray) -> np.ndarray:
        """Return rows (B, O) as (B, *shape)."""
        return rows.reshape(-1, *self.shape)


@dataclass(frozen=True, eq=False)
class Continuous:
    """Actions in the cube [-1, 1]^A, mapped to the environment's bounds."""

    shape: tuple[int, ...]
    dtype: np.dtype
    low: np.ndarray  # (A,) float64, environment units
    high: np.ndarray  # (A,)

    @cached_property
    def half_range(self) -> np.ndarray:
        """Return how much of the environment's units one unit of the cube is, (A,)."""
        return 0.5 * self.high - 0.5 * self.low  # the whole range may be more than a float64 can hold

    @property
    def size(self) -> int:
        """Return A, the number of dimensions."""
        return self.low.size

    @property
    def space(self) -> gymnasium.spaces.Box:
        """See `Actions`."""
        low, high = (bound.reshape(self.shape).astype(self.dtype) for bound in (self.low, self.high))
        return gymnasium.spaces.Box(low, high, self.shape, self.dtype.type)

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """Map actions (..., A) in [-1, 1] to the environment's bounds, shape (..., *shape) and type."""
        unit = action.astype(np.float64)
        scaled = (0.5 * self.low + 0.5 * self.high) + unit * self.half_range
        if self.dtype.kind in "iub":
            scaled = np.rint(scaled)
        scaled = np.minimum(np.maximum(scaled, self.low), self.high).astype(self.dtype)
        return scaled.reshape((*action.shape[:-1], *self.shape))

    def from_env(self, actions: np.ndarray) -> np.ndarray:
        """Map actions (B, *shape) to the cube, (B, A) float32, so that `to_env` gives the same ones again.

        Raises `UsageError` for another shape and beyond the bounds.
        """
        if actions.shape[1:] != self.shape or actions.dtype.kind not in "fiub":
            raise UsageError(f"an action has shape {actions.shape[1:]}, but here it must have {self.shape}")
        given = actions.reshape(-1, self.size).astype(np.float64)
        unit = (given - (0.5 * self.low + 0.5 * self.high)) / self.half_range
        if not (within := np.abs(unit) <= 1.0 + BEYOND).all():
            row, dimension = np.argwhere(~within)[0]
            raise UsageError(
                f"an action is {given[row, dimension]:g} in dimension {dimension}, but here it must be from "
                f"{self.low[dimension]:g} to {self.high[dimension]:g}"
            )
        return unit.clip(-1.0, 1.0).astype(np.float32)

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Return `count` actions uniform in the cube."""
        return generator.uniform(-1.0, 1.0, (count, self.size)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Spaces:
    """What the agent knows of an environment's observations and actions."""

    observations: Observations
    actions: Actions

    @property
    def obs_size(self) -> int:
        """Return O."""
        return self.observations.size

    @property
    def numbers(self) -> int:
        """Return how many numbers of an observation, the first ones, are no pixels."""
        return self.obs_size - sum(each.size for each in self.observations.pictures)

    @property
    def action_size(self) -> int:
        """Return A."""
        return self.actions.size

    def flatten(self, obs: Any) -> np.ndarray:
        """Return one observation as (O,) float32; raise `UsageError` when it does not fit or is not finite."""
        with np.errstate(over="ignore"):  # what overflows is not finite
            flat = self.observations.flatten(obs).astype(np.float32)
        if not np.isfinite(flat).all():
            index = np.isfinite(flat).argmin()
            raise UsageError(f"an observation is not finite in float32 at index {index}: {flat[index]}; correct it")
        return flat


class Stepped(NamedTuple):
    """What an action led to; next_obs (O,) is the true next observation, also where an episode ends."""

    next_obs: np.ndarray
    reward: float
    terminated: bool
    truncated: bool  # never together with terminated: a termination is final


class EnvAdapter:
    """One environment seen through its spaces; whatever it does wrong becomes a `UsageError`."""

    def __init__(self, env: gymnasium.Env, spaces: Spaces) -> None:
        self.env, self.spaces = env, spaces

    def reset(self, seed: int) -> np.ndarray:
        """Start an episode and return its first observation (O,)."""
        try:
            answer = self.env.reset(seed=seed)
        except ANYTHING as error:
            raise environment_failed("reset", error) from error
        return self.spaces.flatten(parts("reset", answer, RESET_GIVES)[0])

    def step(self, action: np.ndarray) -> Stepped:
        """Act as the agent does, (A,)."""
        try:
            answer = self.env.step(self.spaces.actions.to_env(action))
        except ANYTHING as error:
            raise environment_failed("step", error) from error
        obs, reward, terminated, truncated, _ = parts("step", answer, STEP_GIVES)
        final, cut = truth("terminated", terminated), truth("truncated", truncated)
        return Stepped(self.spaces.flatten(obs), finite_reward(reward), final, cut and not final)


def finite_reward(reward: Any) -> float:
    """Return the reward as a number; raise `UsageError` when it is none that learning can use."""
    value = reward if isinstance(reward, float) else answers.number(reward)
    if not abs(value) < LARGEST_REWARD:
        raise answers.too_large(reward, LARGEST_REWARD)
    return value


def truth(name: str, value: Any) -> bool:
    """Return whether `terminated` or `truncated` is true; raise `UsageError` when it is neither true nor false."""
    return bool(value) if isinstance(value, bool | np.bool_) else answers.truth(name, value)


def parts(method: str, answer: Any, wanted: tuple[str, ...]) -> Any:
    """Return what `reset` or `step` gave; raise `UsageError` when it is not a tuple of as many parts as wanted."""
    if not isinstance(answer, tuple) or len(answer) != len(wanted):
        raise answers.incomplete(method, answer, wanted)
    return answer
