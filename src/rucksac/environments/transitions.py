"""What passes between a collector and its learner: a policy one way, what came of acting the other way.

E is the number of environments, O and A are the sizes of a flat observation and an action.
"""

from typing import NamedTuple, Protocol

import numpy as np

from rucksac.exploration import Moments


class Policy(Protocol):
    """What a collector acts with."""

    @property
    def acting_noise(self) -> np.random.Generator:
        """Return the stream of random numbers behind `act`."""

    def act(self, obs: np.ndarray, moments: Moments) -> np.ndarray:
        """Return actions (E, A) in [-1, 1] for observations (E, O) at the moments that `moments()` returns."""


class Transition(NamedTuple):
    """One step of an environment; obs and next_obs (O,), action (A,) of the agent, reward as given.

    `env_index` is its place in the group. The replay memory keeps the fields that it has columns for.
    """

    env_index: int
    obs: np.ndarray
    action: np.ndarray
    reward: float
    next_obs: np.ndarray
    terminated: bool
    truncated: bool


class Episode(NamedTuple):
    """One finished episode; the return is the plain sum of rewards."""

    seed: int  # -1 where the environment begins anew by itself
    total_return: float
    length: int


class Collected(NamedTuple):
    """What came of acting: transitions, episodes that ended, and environments whose open episode cannot go on."""

    transitions: list[Transition]
    finished: list[Episode]
    lost: list[int]
