"""What a replay memory holds, in the order in which it happened: step by step, or as whole episodes and back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rucksac.experience.columns import Column
from rucksac.experience.replay import SPENT, TERMINATED, TRANSITION, TRUNCATED, Replay
from rucksac.experience.sampling import value

AT_ONCE = 64  # transitions that are read together


class Episode(NamedTuple):
    """So many steps, T, as arrays by column: (T + 1, ...) of a state, (T, ...) of a transition; and how it ended."""

    steps: int
    values: dict[str, np.ndarray]
    terminated: bool  # else truncated


def transitions_of(replay: Replay, env_index: int) -> Iterator[dict[str, Any]]:
    """Yield an environment's transitions, oldest first, as `Replay.add` takes them."""
    reads = {each.of: value(replay, each.of) for each in replay.columns}
    states = {each.of for each in replay.columns if each.of_state}
    rows = replay.rows_since(env_index, 0)
    for first in range(0, rows.size - 1, AT_ONCE):
        some, after = rows[:-1][first : first + AT_ONCE], rows[1:][first : first + AT_ONCE]
        kinds = replay.kind[some].tolist()
        values = {name: read(replay, some, None) for name, read in reads.items()}
        values |= {f"next_{name}": reads[name](replay, after, None) for name in states}
        for place, kind in enumerate(kinds):
            if kind & TRANSITION:
                yield {
                    "terminated": bool(kind & TERMINATED),
                    "truncated": bool(kind & TRUNCATED),
                    **{name: array[place] for name, array in values.items()},
                }


def latest(replay: Replay, env_index: int, count: int) -> np.ndarray:
    """Return the rows of the environment's last `count` transitions, or of as many of them as are whole."""
    count, written = min(count, replay.rows_per_env - replay.stack), replay.written[env_index]
    return env_index * replay.rows_per_env + np.arange(written - count, written) % replay.rows_per_env


def episodes_of(replay: Replay, env_index: int) -> Iterator[Episode]:
    """Yield an environment's episodes, oldest first, as far as they are kept; one that is open ends as truncated."""
    rows = replay.rows_since(env_index, 0)
    lone = np.flatnonzero(
        (replay.kind[rows] & (TRANSITION | SPENT)) == 0
    )  # the last state of an episode has a row for itself
    begin = 0
    for end in lone.tolist():
        states, steps = rows[begin : end + 1], rows[begin:end]
        if steps.size:  # else all but its last state is overwritten
            values = {each.name: replay.data[each.name][states if each.of_state else steps] for each in replay.columns}
            yield Episode(steps.size, values, bool(replay.kind[steps[-1]] & TERMINATED))
        begin = end + 1


def overwritten(replay: Replay) -> int:
    """Return how many of the oldest rows are no longer kept."""
    ends = np.add(replay.written, replay.in_episode)
    return int(np.maximum(ends - replay.rows_per_env, 0).sum())


def replay_of(episodes: Sequence[Episode], columns: Iterable[Column]) -> Replay:
    """Return a replay memory of one environment that holds these episodes and has room for nothing more."""
    columns = tuple(columns)
    replay = Replay(sum(steps + 1 for steps, _, _ in episodes), 1, columns)
    row = 0
    for steps, values, terminated in episodes:
        for each in columns:
            replay.data[each.name][row : row + steps + each.of_state] = values[each.name]
        replay.kind[row : row + steps] = TRANSITION
        replay.kind[row + steps - 1] |= TERMINATED if terminated else TRUNCATED
        row += steps + 1
    replay.transitions, replay.used, replay.written = row - len(episodes), row, [row]
    return replay
