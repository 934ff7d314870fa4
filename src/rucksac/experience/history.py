"""What a replay memory holds, in the order in which it happened: step by step, or as whole episodes and back."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from rucksac.experience.columns import Column
from rucksac.experience.replay import TERMINATED, TRANSITION, TRUNCATED, Replay


class Episode(NamedTuple):
    """So many steps, T, as arrays by column: (T + 1, ...) of a state, (T, ...) of a transition; and how it ended."""

    steps: int
    values: dict[str, np.ndarray]
    terminated: bool  # else truncated


def transitions_of(replay: Replay, env_index: int) -> Iterator[dict[str, Any]]:
    """Yield an environment's transitions, oldest first, as `Replay.add` takes them; the arrays are no copies."""
    states = [column.name for column in replay.columns if column.of_state]
    others = [column.name for column in replay.columns if not column.of_state]
    rows, data = replay.rows_since(env_index, 0), replay.data
    for row, after in itertools.pairwise(rows.tolist()):
        if replay.kind[row] & TRANSITION:
            yield {
                "terminated": bool(replay.kind[row] & TERMINATED),
                "truncated": bool(replay.kind[row] & TRUNCATED),
                **{name: data[name][row] for name in (*states, *others)},
                **{f"next_{name}": data[name][after] for name in states},
            }


def episodes_of(replay: Replay, env_index: int) -> Iterator[Episode]:
    """Yield an environment's episodes, oldest first, as far as they are kept; one that is open ends as truncated."""
    rows = replay.rows_since(env_index, 0)
    lone = np.flatnonzero((replay.kind[rows] & TRANSITION) == 0)  # the last state of an episode has a row for itself
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
