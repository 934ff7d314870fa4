"""Observations that are not one array: discrete ones, and Dict and Tuple of any kinds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rucksac.environments.spaces import Numbers
from rucksac.errors import UsageError
from rucksac.text import shortened


@dataclass(frozen=True, eq=False)
class Composite:
    """Parts of Dict and Tuple one after the other, what is discrete as one-hot rows.

    Parts of a Dict come in the order of the space, which Gymnasium sorts by name where it was made of a plain dict.
    """

    space: gymnasium.Space[Any]

    @property
    def size(self) -> int:
        """Return O."""
        return spaces.flatdim(self.space)

    def flatten(self, obs: Any) -> np.ndarray:
        """Return one observation as (O,); raise `UsageError` when it is not in the space."""
        return np.concatenate(_pieces(self.space, obs, "an observation"))

    def unflatten(self, rows: np.ndarray) -> Any:
        """Return rows (B, O) as Dict and Tuple of arrays (B, ...)."""
        return _restored(self.space, rows)


def _restored(space: gymnasium.Space[Any], rows: np.ndarray) -> Any:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        names, inside = zip(
            *(space.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)), strict=True
        )
        borders = np.cumsum([spaces.flatdim(part) for part in inside])[:-1]
        parts = [_restored(part, piece) for part, piece in zip(inside, np.split(rows, borders, 1), strict=True)]
        return dict(zip(names, parts, strict=True)) if isinstance(space, spaces.Dict) else tuple(parts)
    return np.stack([spaces.unflatten(space, row) for row in rows])


def _pieces(space: gymnasium.Space[Any], obs: Any, name: str) -> list[np.ndarray]:
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, dict) or not set(space.spaces) <= set(obs):
            raise UsageError(
                f"{name} is {shortened(obs)}, but must be a dict with {', '.join(space.spaces)}; correct it"
            )
        return [piece for key, part in space.items() for piece in _pieces(part, obs[key], f"{name} at {key!r}")]
    if isinstance(space, spaces.Tuple):
        if not isinstance(obs, tuple | list) or len(obs) != len(space.spaces):
            raise UsageError(f"{name} is {shortened(obs)}, but must be a tuple of {len(space.spaces)}; correct it")
        parts = enumerate(zip(space.spaces, obs, strict=True))
        return [piece for index, (part, one) in parts for piece in _pieces(part, one, f"{name} at {index}")]
    if isinstance(space, spaces.Box):
        flat = Numbers(space.shape).flatten(obs)
        if not (finite := np.isfinite(flat)).all():
            index = np.unravel_index(finite.argmin(), space.shape)
            where = f"{name} at index {tuple(map(int, index))}" if space.shape else name
            raise UsageError(f"{where} is {flat[finite.argmin()]}, but must be finite; correct its source")
        return [flat]
    if not space.contains(obs):
        raise UsageError(f"{name} is {shortened(obs)}, which is not in the space {shortened(space)}; correct it")
    return [np.asarray(spaces.flatten(space, obs))]


def rows_of(obs: Any, flatten: Callable[[Any], np.ndarray]) -> tuple[np.ndarray, bool]:
    """Return one observation or a batch of them as rows (B, O), and whether it was one; `flatten` gives one row.

    A batch is an array or a list, or a dict of them as vector environments give it. Raises `UsageError` for all else.
    """
    if hasattr(obs, "__array__"):  # also a tensor
        obs = np.asarray(obs)
    try:
        return flatten(obs)[None], True
    except UsageError as not_one:
        try:
            if isinstance(obs, dict):
                obs = [dict(zip(obs, row, strict=True)) for row in zip(*obs.values(), strict=True)]
            if not isinstance(obs, np.ndarray | list) or not len(obs):
                raise not_one
            return np.stack([flatten(row) for row in obs]), False
        except (UsageError, TypeError, ValueError):  # the latter two: parts that are no lists, or of unequal length
            raise not_one from None
