"""Random numbers behind actions that stay the same for several steps of an episode."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rucksac.streams import Stream, generator

LONGEST = 16  # steps, where their number is drawn
LENGTHS = np.arange(1, LONGEST + 1)
SHARES = LENGTHS**-2.0 / (LENGTHS**-2.0).sum()  # a zeta distribution with the exponent 2, cut off


class Moment(NamedTuple):
    """Where an environment is: episodes that it has begun, and steps of the last one."""

    env_index: int
    episode: int
    step: int


Moments = Callable[[], Sequence[Moment]]
"""What tells the moments of E environments, asked where they matter."""


class HeldNoise:
    """Standard normal numbers (size,) for every moment, drawn anew after `every` steps of an episode.

    `every` may be "zeta", which draws each number of steps from 1 to `LONGEST` in proportion to its inverse square
    (FlashSAC, arXiv 2604.04539). Everything follows from the seed and the moment, so nothing of it is to be saved.
    """

    def __init__(self, seed: int, every: int | str, size: int) -> None:
        self._seed, self._every, self._size = seed, every, size
        self._held: dict[int, _Episode] = {}

    def __call__(self, moment: Moment) -> np.ndarray:
        """Return the numbers, float32; moments of an environment are asked for in their order."""
        held = self._held.get(moment.env_index)
        if held is None or held.episode != moment.episode or held.until - held.lasts > moment.step:
            held = self._held[moment.env_index] = _Episode(self._seed, moment.env_index, moment.episode)
        while held.until <= moment.step:
            held.draw(self._every, self._size)
        return held.noise


class _Episode:
    """What is held in an episode: `noise` for `lasts` steps, `until` a step of it."""

    def __init__(self, seed: int, env_index: int, episode: int) -> None:
        self._random = generator(seed, Stream.HELD_NOISE, env_index, episode)
        self.episode, self.until, self.lasts = episode, 0, 0
        self.noise = np.empty(0, np.float32)

    def draw(self, every: int | str, size: int) -> None:
        self.lasts = int(self._random.choice(LENGTHS, p=SHARES)) if every == "zeta" else int(every)
        self.noise = self._random.standard_normal(size, np.float32)
        self.until += self.lasts
