"""Actions that are choices: every combination of them is one action of the agent, held as a one-hot row (A,)."""

import math
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Discrete, MultiBinary, MultiDiscrete


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

    def random(self, generator: np.random.Generator, count: int) -> np.ndarray:
        """Return uniformly random one-hot rows."""
        return np.eye(self.size, dtype=np.float32)[generator.integers(0, self.size, count)]
