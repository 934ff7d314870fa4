"""Where `Spaces` come from: an environment that declares them, or the JSON of a checkpoint."""

from typing import Any

import gymnasium
import numpy as np

from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError


def spaces_of(env: gymnasium.Env) -> Spaces:
    """Read the spaces of `env`; raise `UsageError` when they are not supported, naming the remedy."""
    obs_space, action_space = getattr(env, "observation_space", None), getattr(env, "action_space", None)
    if not isinstance(obs_space, gymnasium.spaces.Box):
        raise UsageError(
            f"observations are {type(obs_space).__name__}, but must be Box; "
            "wrap the environment in gymnasium.wrappers.FlattenObservation"
        )
    if not isinstance(action_space, gymnasium.spaces.Box):
        raise UsageError(
            f"actions are {type(action_space).__name__}, but must be Box: "
            "this agent controls continuous actions, so choose an environment that has them"
        )
    low, high = (np.asarray(bound, np.float64).reshape(-1) for bound in (action_space.low, action_space.high))
    if low.size == 0 or int(np.prod(obs_space.shape)) == 0:
        raise UsageError("the environment has an empty observation or action space; nothing can be learned there")
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise UsageError(
            f"actions range from {low.min():g} to {high.max():g}, but every bound must be finite; "
            "give its action space finite bounds, for example with gymnasium.wrappers.TransformAction"
        )
    if not (low < high).all():
        raise UsageError("an action dimension has a lower bound that is not below its upper bound; correct the space")
    return Spaces(tuple(obs_space.shape), tuple(action_space.shape), action_space.dtype, low, high)


def to_json(spaces: Spaces) -> dict[str, Any]:
    """Return the spaces as plain JSON values."""
    return {
        "obs_shape": list(spaces.obs_shape),
        "action_shape": list(spaces.action_shape),
        "action_dtype": spaces.action_dtype.name,
        "low": spaces.low.tolist(),
        "high": spaces.high.tolist(),
    }


def from_json(values: dict[str, Any]) -> Spaces:
    """Return the spaces that `to_json` gave; raise an error when they make no sense."""
    spaces = Spaces(
        tuple(int(n) for n in values["obs_shape"]),
        tuple(int(n) for n in values["action_shape"]),
        np.dtype(values["action_dtype"]),
        np.asarray(values["low"], np.float64),
        np.asarray(values["high"], np.float64),
    )
    size = int(np.prod(spaces.action_shape, dtype=int))
    if spaces.low.shape != (size,) or spaces.high.shape != (size,) or min(spaces.obs_shape, default=1) < 1:
        raise ValueError("the sizes of the spaces contradict each other")
    return spaces
