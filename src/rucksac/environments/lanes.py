"""What a rollout needs of environments, wherever they run; a lane is one environment, E their number."""

from typing import NamedTuple, Protocol

import numpy as np

from rucksac.environments.spaces import Door, Spaces, Stepped


class Began(NamedTuple):
    """The lane took no action, as it used this step to begin an episode of its own accord."""

    obs: np.ndarray


class Lost(NamedTuple):
    """The lane's environment failed and was made anew: its episode cannot go on."""


class Lanes(Protocol):
    """Several environments, wherever they run."""

    spaces: Spaces
    seeded: bool  # whether every episode starts from the seed given to `reset`

    def __len__(self) -> int: ...

    def reset(self, seeds: dict[int, int]) -> dict[int, np.ndarray]:
        """Start an episode in each lane named, from its seed; return their first observations (O,)."""

    def step(self, actions: np.ndarray) -> list[Stepped | Began | Lost]:
        """Act once in every lane, actions (E, A)."""

    def play(self, lane: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        """Start an episode in one lane and take the actions (n, A) until it ends; return what was seen.

        Where that cannot be done it is `nothing_played`.
        """


def play(door: Door, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
    """Start an episode and take the actions (n, A) until it ends; return what was seen."""
    first, steps = door.reset(seed), []
    for action in actions:
        steps.append(door.step(action))
        if steps[-1].terminated or steps[-1].truncated:
            break
    return first, steps


def nothing_played(spaces: Spaces) -> tuple[np.ndarray, list[Stepped]]:
    """Return an episode that is like no other, as NaN equals nothing."""
    return np.full(spaces.obs_size, np.nan, np.float32), []
