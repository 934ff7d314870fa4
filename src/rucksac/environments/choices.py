"""Actions that are choices: every combination of them is one action of the agent, held as a one-hot row (A,)."""

import math
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete

from rucksac.errors import UsageError


@dataclass(frozen=True, eq=False)
class Choices:
    """The actions of a discrete space."""

    space: Discrete | MultiDiscrete | MultiBinary

    @property
    def counts(self) -> tuple[int, ...]:
        """Return how many options each choice has."""
        if isinstance(self.space, Discrete):
            return (int(self.space.n),)
        if isinstance(self.space, MultiBinary):
            return (2,) * math.prod(self.space.shape)
        return tuple(int(n) for n in self.space.nvec.reshape(-1))

    @property
    def size(self) -> int:
        """Return A, the number of combinations."""
        return math.prod(self.counts)

    def to_env(self, action: np.ndarray) -> np.ndarray:
        """Return the choice with the largest value of each row (..., A), in the environment's shape and type."""
        choice = action.argmax(-1)
        if isinstance(self.space, Discrete):
            return choice.astype(self.space.dtype) + self.space.start
        first = self.space.start if isinstance(self.space, MultiDiscrete) else 0
        options = np.stack(np.unravel_index(choice, self.counts), -1).astype(self.space.dtype)
        return options.reshape((*action.shape[:-1], *self.space.shape)) + np.asarray(first, self.space.dtype)

    def from_env(self, actions: np.ndarray) -> np.ndarray:
        """Return the environment's actions (B, ...) as one-hot rows (B, A); raise `UsageError` for others."""
        shape = self.space.shape or ()
        if actions.shape[1:] != shape or actions.dtype.kind not in "iub":
            raise UsageError(
                f"an action is of type {actions.dtype} and shape {actions.shape[1:]}, but here it must be a choice of "
                f"{self.space}"
            )
        first = 0 if isinstance(self.space, MultiBinary) else self.space.start
        options = (actions.astype(np.int64) - first).reshape(len(actions), len(self.counts))
        if not (within := (options >= 0) & (options < self.counts)).all():
            raise UsageError(f"an action is {actions[~within.all(1)][0]}, which is not in {self.space}")
        return np.eye(self.size, dtype=np.float32)[np.ravel_multi_index(tuple(options.T), self.counts)]

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Return uniformly random one-hot rows."""
        return np.eye(self.size, dtype=np.float32)[generator.integers(0, self.size, count)]
