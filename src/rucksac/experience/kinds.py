"""What all kinds of picks, and all kinds of folds, have in common (B is the batch size)."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from rucksac.experience.replay import Replay


class Pick(Protocol):
    """Chooses which transitions to learn from, with random numbers of its own."""

    STATE: tuple[str, ...]  # what of it a checkpoint holds

    def rows(self, count: int) -> np.ndarray:
        """Return rows (count,) that hold transitions; raise `ValueError` when nothing is stored."""

    def learned(self, td_error: np.ndarray) -> None:
        """Take in the TD errors of the rows chosen last, (count,), from before they were learned from."""


Read = Callable[[Replay, np.ndarray, np.ndarray | None], np.ndarray]
"""Returns something for each of these rows (..., B), in the array given last if there is one; changes nothing else."""

Fold = Mapping[str, Read]
"""How to read each field of a `Batch`."""

Transform = Callable[[Replay, np.ndarray, Fold], Fold]
"""Returns how to read the batch that begins at these rows (B,), given how it would be read otherwise.

What it looks up or draws for these rows is in the reads that it returns. These take rows (..., B), the last dimension
being that of the batch.
"""
