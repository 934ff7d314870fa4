"""Observations of any kind as flat numbers."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rucksac.errors import UsageError


def numbers(space: spaces.Box, obs: Any) -> np.ndarray:
    """Return an observation of a Box as an array of its shape; raise `UsageError` when it has another or no numbers."""
    try:
        array = np.asarray(obs)
    except ValueError:  # nested lists of unequal length
        array = np.asarray(None)
    if array.shape != space.shape or array.dtype.kind not in "fiub":
        raise UsageError(
            f"an observation has shape {array.shape} and type {array.dtype}, but must be numbers of shape "
            f"{space.shape}; correct what produced it"
        )
    return array


def strung_together(space: gymnasium.Space[Any], obs: Any) -> np.ndarray:
    """Return an observation as (O,): parts of Dict and Tuple one after the other, what is discrete as one-hot rows.

    Parts of a Dict come in the order of the space, which Gymnasium sorts by name. Raises `UsageError` for what does not
    fit the space.
    """
    return np.concatenate(_pieces(space, obs, "an observation"))


def _pieces(space: gymnasium.Space[Any], obs: Any, name: str) -> list[np.ndarray]:
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, dict) or not set(space.spaces) <= set(obs):
            raise UsageError(f"{name} is {_short(obs)}, but must be a dict with {', '.join(space.spaces)}; correct it")
        return [piece for key, part in space.items() for piece in _pieces(part, obs[key], f"{name} at {key!r}")]
    if isinstance(space, spaces.Tuple):
        if not isinstance(obs, tuple | list) or len(obs) != len(space.spaces):
            raise UsageError(f"{name} is {_short(obs)}, but must be a tuple of {len(space.spaces)}; correct it")
        parts = enumerate(zip(space.spaces, obs, strict=True))
        return [piece for index, (part, one) in parts for piece in _pieces(part, one, f"{name} at {index}")]
    if isinstance(space, spaces.Box):
        return [numbers(space, obs).reshape(-1)]
    if not space.contains(obs):
        raise UsageError(f"{name} is {_short(obs)}, which is not in the space {_short(space)}; correct it")
    return [np.asarray(spaces.flatten(space, obs))]


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
