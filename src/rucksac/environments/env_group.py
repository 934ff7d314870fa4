"""What a collector needs of environments, wherever they run: a group of E, called by their index in it."""

from typing import NamedTuple, Protocol

import numpy as np

from rucksac.environments.spaces import EnvAdapter, Spaces, Stepped


class Began(NamedTuple):
    """The environment took no action, as it used this step to begin an episode of its own accord."""

    obs: np.ndarray


class Lost(NamedTuple):
    """The environment failed and was made anew: its episode cannot go on."""


class Replayable(Protocol):
    """Several environments that can be brought back to the middle of an episode."""

    spaces: Spaces
    seeded: bool  # whether every episode starts from the seed that the run has for it

    def __len__(self) -> int: ...

    def play(self, env_index: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        """Start an episode in one environment and take the actions (n, A) until it ends; return what was seen.

        Where that cannot be done it is `nothing_played`.
        """


class EnvGroup(Replayable, Protocol):
    """Several environments, wherever they run."""

    def reset(self, seeds: dict[int, int]) -> dict[int, np.ndarray]:
        """Start an episode in each environment named, from its seed; return their first observations (O,)."""

    def step(self, actions: np.ndarray) -> list[Stepped | Began | Lost]:
        """Act once in every environment, actions (E, A)."""


def play(adapter: EnvAdapter, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
    """Start an episode and take the actions (n, A) until it ends; return what was seen."""
    first, steps = adapter.reset(seed), []
    for action in actions:
        steps.append(adapter.step(action))
        if steps[-1].terminated or steps[-1].truncated:
            break
    return first, steps


def nothing_played(spaces: Spaces) -> tuple[np.ndarray, list[Stepped]]:
    """Return an episode that is like no other, as NaN equals nothing."""
    return np.full(spaces.obs_size, np.nan, np.float32), []
