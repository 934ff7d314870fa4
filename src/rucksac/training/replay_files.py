"""The replay memory in files that are written once: segments, each with the rows that were new at a checkpoint.

In a segment the array `2.1500.reward` has the rewards of environment 2 from its row 1500 on.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy

from rucksac import files
from rucksac.experience import segments
from rucksac.experience.replay import Replay

ROWS = re.compile(r"(\d+)\.(\d+)\.(\w+)")
LARGEST_SEGMENT = 4 * segments.LARGEST_PIECE


class Segment(NamedTuple):
    """One file of replay memory; `last` has the last row of each environment in it."""

    file: str
    sha256: str
    last: dict[str, int]


def write(folder: Path, name: str, replay: Replay, since: list[int]) -> list[Segment]:
    """Write all rows from `since` on, by environment, or all there are; return the segments, NAME-0 and so on."""
    written: list[Segment] = []
    pending: dict[str, np.ndarray] = {}
    last: dict[str, int] = {}

    def flush() -> None:
        file = f"{name}-{len(written)}.safetensors"
        written.append(Segment(file, files.write(folder / file, safetensors.numpy.save(pending)), dict(last)))
        pending.clear()
        last.clear()

    for env_index in range(replay.envs):
        for first, piece in segments.cut(replay, env_index, since[env_index] if since else 0):
            pending.update({f"{env_index}.{first}.{column}": array for column, array in piece.items()})
            last[str(env_index)] = first + segments.rows_in(piece) - 1
            if sum(array.nbytes for array in pending.values()) >= segments.LARGEST_PIECE:
                flush()
    if pending:
        flush()
    files.make_durable(folder)
    return written


def is_live(segment: Segment, replay: Replay) -> bool:
    """Return whether the replay memory still holds any of its rows."""
    return any(row > replay.written[int(env_index)] - replay.rows_per_env for env_index, row in segment.last.items())


def read(folder: Path, live: Iterable[Segment], replay: Replay) -> None:
    """Fill `replay` from its segments; raise `ValueError` or the like when one is damaged or does not fit."""
    replay.kind[:] = 0  # whatever a damaged checkpoint may have put there
    for each in live:
        _paste(replay, safetensors.numpy.load(content(folder, each)))


def content(folder: Path, segment: Segment) -> bytes:
    """Return the bytes of a segment; raise `ValueError` when they are not those that were written."""
    return files.read(folder, segment.file, segment.sha256, LARGEST_SEGMENT)


def _paste(replay: Replay, arrays: dict[str, np.ndarray]) -> None:
    pieces: dict[tuple[int, int], segments.Piece] = {}
    for name, array in arrays.items():
        match = ROWS.fullmatch(name)
        if match is None:
            raise ValueError("a segment of the replay memory names its rows otherwise")
        pieces.setdefault((int(match[1]), int(match[2])), {})[match[3]] = array
    for (env_index, first), piece in pieces.items():
        segments.paste(replay, env_index, first, piece)
