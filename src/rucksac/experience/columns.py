"""What a row of the replay memory holds, as data: storage, size, files and checks follow from it."""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike


class Column(NamedTuple):
    """One thing that every row holds, as an array of this shape: part of the state, else of the transition.

    A state is written one row ahead: what follows a transition is the state of the next row. Several columns may hold
    one value: each is told by `value` which one, and by `part` which of its numbers. With `stack` above 1 these numbers
    are the newest of so many frames, one behind the other; those before are in the rows before.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: DTypeLike = np.float32
    of_state: bool = False
    value: str | None = None  # the value of its own name if not given
    part: slice | None = None
    stack: int = 1

    @property
    def of(self) -> str:
        """Return the name of the value that it holds, or a part of which."""
        return self.value or self.name


KIND = Column("kind", (), np.uint8)  # what a row is; every memory has it beside its own columns


def bytes_for(rows: int, columns: Iterable[Column]) -> int:
    """Return the memory that so many rows of `columns` take."""
    return rows * sum(math.prod(each.shape) * np.dtype(each.dtype).itemsize for each in (*columns, KIND))
