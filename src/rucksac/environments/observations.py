"""Observations that are not one array of numbers: discrete ones, pictures, and Dict and Tuple of any kinds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from rucksac.environments.pictures import Picture, picture_of
from rucksac.environments.spaces import Numbers
from rucksac.errors import UsageError
from rucksac.text import shortened


@dataclass(frozen=True, eq=False)
class Composite:
    """Parts of Dict and Tuple one after the other, what is discrete as one-hot rows, pictures behind all else.

    Parts of a Dict come in the order of the space, which Gymnasium sorts by name where it was made of a plain dict.
    """

    space: gymnasium.Space[Any]

    @property
    def size(self) -> int:
        """Return O."""
        return spaces.flatdim(self.space)

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """Return where pictures are in the flat observation."""
        found, begin = list[Picture](), sum(spaces.flatdim(part) for part in leaves(self.space) if not picture_of(part))
        for part in leaves(self.space):
            if picture := picture_of(part, begin):
                found.append(picture)
                begin += picture.size
        return tuple(found)

    @cached_property
    def _order(self) -> list[int]:
        """Return the numbers of the parts in the order in which they are in the flat observation."""
        shown = [picture_of(part) is not None for part in leaves(self.space)]
        return sorted(range(len(shown)), key=shown.__getitem__)

    def flatten(self, obs: Any) -> np.ndarray:
        """Return one observation as (O,); raise `UsageError` when it is not in the space."""
        pieces = _pieces(self.space, obs, "an observation")
        return np.concatenate([pieces[index] for index in self._order])

    def unflatten(self, rows: np.ndarray) -> Any:
        """Return rows (B, O) as Dict and Tuple of arrays (B, ...)."""
        parts = list(leaves(self.space))
        borders = np.cumsum([spaces.flatdim(parts[index]) for index in self._order])[:-1]
        pieces = dict(zip(self._order, np.split(rows, borders, 1), strict=True))
        return _restored(self.space, iter([pieces[index] for index in range(len(parts))]))


def leaves(space: gymnasium.Space[Any]) -> Iterator[gymnasium.Space[Any]]:
    """Yield the parts of Dict and Tuple that have no parts themselves, in their order."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        for part in space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces:
            yield from leaves(part)
    else:
        yield space


def _restored(space: gymnasium.Space[Any], pieces: Iterator[np.ndarray]) -> Any:
    if isinstance(space, spaces.Dict):
        return {name: _restored(part, pieces) for name, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_restored(part, pieces) for part in space.spaces)
    return np.stack([spaces.unflatten(space, row) for row in next(pieces)])


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
