"""Random streams: one generator per purpose, all derived from the run's seed, none of them global.

Adding a purpose at the end of `Stream` leaves the others as they were.
"""

from enum import IntEnum
from typing import Any

import numpy as np


class Stream(IntEnum):
    """What a stream of random numbers is for."""

    INITIALISATION = 0
    WARMUP = 1
    ACTING = 2
    SAMPLING = 3
    UPDATE = 4
    EPISODE = 5
    DEMONSTRATIONS = 6
    HELD_NOISE = 7


def generator(seed: int, stream: Stream, *index: int) -> np.random.Generator:
    """Return the generator of one purpose; `index` tells environments or episodes apart."""
    return np.random.Generator(np.random.PCG64DXSM(_sequence(seed, stream, index)))


def integer(seed: int, stream: Stream, *index: int) -> int:
    """Return one 32-bit seed, for code that wants a number instead of a generator."""
    return int(_sequence(seed, stream, index).generate_state(1)[0])


def words_of(random: np.random.Generator) -> np.ndarray:
    """Return where a generator of `generator` is in its stream, as numbers (4,) uint64."""
    state: Any = random.bit_generator.state
    high, low = divmod(state["state"]["state"], 2**64)
    return np.array([high, low, state["has_uint32"], state["uinteger"]], np.uint64)


def put_words(random: np.random.Generator, words: np.ndarray) -> None:
    """Bring a generator of the same purpose to where `words_of` found it."""
    high, low, has_uint32, uinteger = map(int, words)
    state: Any = random.bit_generator.state
    state["state"]["state"] = (high << 64) + low
    random.bit_generator.state = state | {"has_uint32": has_uint32, "uinteger": uinteger}


def _sequence(seed: int, stream: Stream, index: tuple[int, ...]) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(int(stream), *index))
