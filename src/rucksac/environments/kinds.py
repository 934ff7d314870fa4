"""What all kinds of observations, and all kinds of actions, have in common (O and A are their sizes)."""

from typing import Any, Protocol

import numpy as np


class Observations(Protocol):
    """A kind of observations: how the environment's become rows of numbers."""

    @property
    def size(self) -> int:
        """Return O."""

    def flatten(self, obs: Any) -> np.ndarray:
        """Return one observation as numbers (O,); raise `UsageError` when it does not fit."""


class Actions(Protocol):
    """A kind of actions: how the agent's (..., A) become the environment's."""

    @property
    def size(self) -> int:
        """Return A."""

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """Map actions (..., A) to the environment's shape and type."""

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Return `count` uniformly random actions, (count, A) float32."""
