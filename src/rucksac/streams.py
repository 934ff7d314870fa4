"""Random streams: one generator per purpose, all derived from the run's seed, none of them global.

Adding a purpose at the end of `Stream` leaves the others as they were.
"""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a stream of random numbers is for."""

    INITIALISATION = 0
    WARMUP = 1
    ACTING = 2
    SAMPLING = 3
    UPDATE = 4
    EPISODE = 5


def generator(seed: int, stream: Stream, *index: int) -> np.random.Generator:
    """Return the generator of one purpose; `index` tells environments or episodes apart."""
    return np.random.Generator(np.random.PCG64DXSM(_sequence(seed, stream, index)))


def integer(seed: int, stream: Stream, *index: int) -> int:
    """Return one 32-bit seed, for code that wants a number instead of a generator."""
    return int(_sequence(seed, stream, index).generate_state(1)[0])


def _sequence(seed: int, stream: Stream, index: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(int(stream), *index))
