"""What all kinds of observations, and all kinds of actions, have in common (O and A are their sizes)."""

from typing import Any, Protocol

import gymnasium
import numpy as np

from rucksac.environments.pictures import Picture


class Observations(Protocol):
    """A kind of observations: how the environment's become rows of numbers."""

    @property
    def size(self) -> int:
        """Return O."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Return where pictures are in a row of numbers, behind all else."""

    @property
    def space(self) -> gymnasium.Space[Any]:
        """Return the space that observations are in, of any numbers where that says nothing of their bounds."""

    def flatten(self, obs: Any) -> np.ndarray:
        """Return one observation as numbers (O,); raise `UsageError` when it does not fit."""

    def unflatten(self, rows: np.ndarray) -> Any:
        """Return what rows (B, O) stand for, in arrays (B, ...) in place of each part of an observation."""


class Actions(Protocol):
    """A kind of actions: how the agent's (..., A) become the environment's."""

    @property
    def size(self) -> int:
        """Return A."""

    @property
    def space(self) -> gymnasium.Space[Any]:
        """Return the space that the environment's actions are in."""

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """Map actions (..., A) to the environment's shape and type."""

    def from_env(self, actions: np.ndarray) -> np.ndarray:
        """Map actions (B, ...) of the environment back to the agent's, (B, A) float32.

        Raises `UsageError` when one is none of this environment.
        """

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Return `count` uniformly random actions, (count, A) float32."""
