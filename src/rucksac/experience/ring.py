"""Rows of columns in shared memory: one process writes them, another reads them in the same order.

A row counts once its writer has announced it by a message, so a half-written one is never read; who may write so many
that the reader has not read is settled by those messages too. A writer that must not wait for messages counts the rows
that are whole, in the same memory; it is behind each row that the count is raised, as with shared weights.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from rucksac.experience.columns import Column

ALIGNED = 64  # bytes


class Ring:
    """Room for `rows` rows; `begun` is how many the writer has begun, whether or not they were ever announced."""

    def __init__(self, memory: memoryview, rows: int, columns: Iterable[Column]) -> None:
        self._counters = np.frombuffer(memory[:ALIGNED], np.int64)  # begun, counted as whole, read
        self._rows = np.frombuffer(memory[ALIGNED:], row_type(columns), rows)
        self._next = 0

    @property
    def begun(self) -> int:
        return int(self._counters[0])

    @property
    def room(self) -> int:
        """Return how many rows may be counted until one is read."""
        return len(self._rows) - int(self._counters[1] - self._counters[2])

    def clear(self) -> None:
        """Begin anew, for another writer."""
        self._counters[:3], self._next = 0, 0

    def begin(self) -> None:
        """Count a row that will be written."""
        self._counters[0] += 1

    def count(self) -> None:
        """Let the row that was written last be read, without a message."""
        self._counters[1] = self._next

    def news(self) -> Iterator[np.void]:
        """Yield the rows that have been counted and not been read."""
        while self._next < self._counters[1]:
            yield self.read()

    def write(self, **values: Any) -> None:
        """Write the next row: each column by its name."""
        row = self._rows[self._next % len(self._rows)]
        for name, value in values.items():
            row[name] = value
        self._next += 1

    def read(self) -> np.void:
        """Return the next row, which must have been announced."""
        row: np.void = self._rows[self._next % len(self._rows)].copy()
        self._next += 1
        self._counters[2] = self._next
        return row


def row_type(columns: Iterable[Column]) -> np.dtype[np.void]:
    """Return the type of an array of rows."""
    return np.dtype([(each.name, each.dtype, each.shape) for each in columns], align=True)


def bytes_for_ring(rows: int, columns: Iterable[Column]) -> int:
    """Return the memory that a ring takes."""
    return ALIGNED * (1 + math.ceil(rows * row_type(columns).itemsize / ALIGNED))
