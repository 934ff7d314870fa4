"""What a replay memory holds, in the order in which it happened."""

from collections.abc import Iterator
from typing import Any

from rucksac.experience.replay import TERMINATED, TRANSITION, TRUNCATED, Replay


def transitions_of(replay: Replay, env_index: int) -> Iterator[dict[str, Any]]:
    """Yield an environment's transitions, oldest first, as `Replay.add` takes them; the arrays are no copies."""
    states = [column.name for column in replay.columns if column.of_state]
    others = [column.name for column in replay.columns if not column.of_state]
    first, written, data = env_index * replay.rows_per_env, replay.written[env_index], replay.data
    for number in range(max(0, written + 1 - replay.rows_per_env), written):
        row, after = (first + each % replay.rows_per_env for each in (number, number + 1))
        if replay.kind[row] & TRANSITION:
            yield {
                "terminated": bool(replay.kind[row] & TERMINATED),
                "truncated": bool(replay.kind[row] & TRUNCATED),
                **{name: data[name][row] for name in (*states, *others)},
                **{f"next_{name}": data[name][after] for name in states},
            }
