"""The door between an environment and the agent: flat float32 observations, actions in [-1, 1], finite numbers only.

One affine map per action dimension, here and nowhere else. O is the flat observation size, A the action size.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from rucksac.errors import UsageError, environment_failed

LARGEST_REWARD = 3e38  # what float32 can hold


@dataclass(frozen=True, eq=False)
class Spaces:
    """What the agent knows of an environment's observations and actions."""

    obs_shape: tuple[int, ...]
    action_shape: tuple[int, ...]
    action_dtype: np.dtype
    low: np.ndarray  # (A,) float64, environment units
    high: np.ndarray  # (A,)

    @property
    def obs_size(self) -> int:
        """Return O."""
        return int(np.prod(self.obs_shape, dtype=int))

    @property
    def action_size(self) -> int:
        """Return A."""
        return self.low.size

    def flatten(self, obs: Any) -> np.ndarray:
        """Return one observation as (O,) float32; raise `UsageError` for a wrong shape or NaN."""
        try:
            flat = np.asarray(obs)
        except ValueError:  # nested lists of unequal length
            flat = np.asarray(None)
        if flat.shape != self.obs_shape or flat.dtype.kind not in "fiub":
            raise UsageError(
                f"an observation has shape {flat.shape} and type {flat.dtype}, but must be numbers of shape "
                f"{self.obs_shape}; correct what produced it"
            )
        flat = flat.astype(np.float32).reshape(-1)
        if not np.isfinite(flat).all():
            raise UsageError(f"an observation is not finite at index {np.isfinite(flat).argmin()}; correct its source")
        return flat

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """Map actions (..., A) in [-1, 1] to the environment's bounds, shape (..., *action_shape) and type."""
        scaled = self.low + (action.astype(np.float64) + 1.0) * (0.5 * (self.high - self.low))
        if self.action_dtype.kind in "iu":
            scaled = np.rint(scaled)
        scaled = np.clip(scaled, self.low, self.high).astype(self.action_dtype)
        return scaled.reshape((*action.shape[:-1], *self.action_shape))


class Door:
    """One environment seen through its spaces; whatever it does wrong becomes a `UsageError`."""

    def __init__(self, env: gymnasium.Env, spaces: Spaces) -> None:
        self.env, self.spaces = env, spaces

    def reset(self, seed: int) -> np.ndarray:
        """Start an episode and return its first observation (O,)."""
        try:
            obs, _ = self.env.reset(seed=seed)
        except Exception as error:
            raise environment_failed("reset", error) from error
        return self.spaces.flatten(obs)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool]:
        """Act, (A,) in [-1, 1]; return next_obs (O,), reward, terminated, truncated; a termination wins."""
        try:
            obs, reward, terminated, truncated, _ = self.env.step(self.spaces.to_env(action))
            value = float(reward)
        except Exception as error:
            raise environment_failed("step", error) from error
        if not abs(value) < LARGEST_REWARD:
            raise UsageError(f"the environment gave the reward {value}, not a finite number; correct the environment")
        return self.spaces.flatten(obs), value, bool(terminated), bool(truncated) and not terminated
