"""The rows of a replay memory, cut into pieces that a file can hold and pasted back.

Rows are counted from the environment's very first one, so a piece says what it is whatever has been overwritten since.
"""

from collections.abc import Iterator

import numpy as np

from rucksac.experience.columns import KIND, bytes_for
from rucksac.experience.replay import TRANSITION, Replay

Piece = dict[str, np.ndarray]  # by column, `KIND` included
LARGEST_PIECE = 16 * 2**20  # bytes


def cut(replay: Replay, env_index: int, since: int) -> Iterator[tuple[int, Piece]]:
    """Yield (first row, piece) for all that the environment has written from row `since` to the row it writes next."""
    at_most = max(1, LARGEST_PIECE // bytes_for(1, replay.columns))
    end = replay.written[env_index] + 1
    for first in range(max(since, end - replay.rows_per_env), end, at_most):
        yield first, _piece(replay, env_index, first, min(end, first + at_most) - first)


def paste(replay: Replay, env_index: int, first: int, piece: Piece) -> None:
    """Put a piece where it was cut; raise `ValueError` when it does not fit this replay memory."""
    if set(piece) != set(replay.data):
        raise ValueError("a piece of the replay memory has other parts than expected")
    count = rows_in(piece)
    for name, array in replay.data.items():
        if piece[name].shape != (count, *array.shape[1:]) or piece[name].dtype != array.dtype:
            raise ValueError(f"a piece of the replay memory has {name} of another shape or type")
    if not (0 <= env_index < replay.envs and first >= 0 and count <= replay.rows_per_env):
        raise ValueError("a piece of the replay memory lies outside of it")
    rows = _rows(replay, env_index, first, count)
    for name, array in replay.data.items():
        array[rows] = piece[name]


def rows_in(piece: Piece) -> int:
    """Return how many rows a piece has."""
    return len(piece[KIND.name])


def settle(replay: Replay) -> None:
    """Let pasted rows be sampled as before; raise `ValueError` when they and the counters contradict each other."""
    for env_index in range(replay.envs):
        replay.spend(replay.behind(env_index))  # their pieces may be from before that
    if replay.transitions != np.count_nonzero(replay.kind & TRANSITION):
        raise ValueError("the replay memory holds another number of transitions than its counter says")
    filled = max(written + open_ for written, open_ in zip(replay.written, replay.in_episode, strict=True))
    if replay.used != min(replay.rows_per_env, filled):
        raise ValueError("the replay memory is filled otherwise than its counters say")


def _piece(replay: Replay, env_index: int, first: int, count: int) -> Piece:
    rows = _rows(replay, env_index, first, count)
    return {name: array[rows] for name, array in replay.data.items()}


def _rows(replay: Replay, env_index: int, first: int, count: int) -> np.ndarray:
    return env_index * replay.rows_per_env + np.arange(first, first + count) % replay.rows_per_env
