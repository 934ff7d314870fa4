"""A ring of transitions that keeps one copy of every state.

Each environment has a share of the rows for itself. A row holds a state, such as an observation, and, once it is known,
the transition that begins there: the action taken and what came of it; the next state is that of the next row. An
episode of n steps therefore takes n + 1 rows, the last one holding the final state alone. Where a state is a stack of
frames, a row holds the newest one, and the rows before it the others. Knows how episodes end, nothing of algorithms.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rucksac.experience.columns import KIND, Column

# What a row is, as bits: a row without TRANSITION cannot be sampled. SPENT is a transition with frames that later rows
# need, some of whose own are overwritten.
TRANSITION, TERMINATED, TRUNCATED, SPENT = 1, 2, 4, 8


class Replay:
    """Preallocated storage for `rows` rows of `columns`, shared evenly by `envs` environments."""

    STATE = ("transitions", "used", "written", "in_episode")  # beside the rows themselves, which `segments` keeps

    def __init__(self, rows: int, envs: int, columns: Iterable[Column]) -> None:
        self.columns = tuple(columns)
        self.stack = max(each.stack for each in self.columns)  # frames of a state
        self.envs, self.rows_per_env = envs, max(1 + self.stack, rows // envs)
        total = envs * self.rows_per_env
        self.data = {each.name: np.zeros((total, *each.shape), each.dtype) for each in (*self.columns, KIND)}
        self.kind = self.data[KIND.name]
        states = [each for each in self.columns if each.of_state]
        self._now = {each.name: (each.of, each.part) for each in states}  # of what `add` takes
        self._next = {each.name: (f"next_{each.of}", each.part) for each in states}
        self._of_transition = [each.name for each in self.columns if not each.of_state]
        self.transitions = 0  # how many rows can be sampled
        self.used = 0  # rows per environment that have ever been written, the same bound for all
        self.written = [0] * envs  # rows ever completed; the next transition goes to this row, modulo `rows_per_env`
        self.in_episode = [False] * envs

    def __len__(self) -> int:
        return self.transitions

    def add(self, env_index: int, terminated: bool, truncated: bool, **values: Any) -> None:
        """Store a step: what columns hold, by name, that of the next state as `next_NAME`; the next step repeats it."""
        first, written = env_index * self.rows_per_env, self.written[env_index]
        row = first + written % self.rows_per_env
        if not self.in_episode[env_index]:
            self._write_state(row, values, self._now)
        for name in self._of_transition:
            self.data[name][row] = values[name]
        self.kind[row] = TRANSITION | (TERMINATED if terminated else TRUNCATED if truncated else 0)
        self.transitions += 1
        self.used = max(self.used, min(written + 2, self.rows_per_env))
        self._write_state(first + (written + 1) % self.rows_per_env, values, self._next)
        self.in_episode[env_index] = not (terminated or truncated)
        self.written[env_index] = written + (1 if self.in_episode[env_index] else 2)
        if self.stack > 1:
            self.transitions -= self.spend(self.behind(env_index))

    def close_episode(self, env_index: int) -> None:
        """Let the environment's open episode end as truncated at its last transition."""
        if self.in_episode[env_index]:
            self.kind[env_index * self.rows_per_env + (self.written[env_index] - 1) % self.rows_per_env] |= TRUNCATED
            self.in_episode[env_index] = False
            self.written[env_index] += 1

    def rows_since(self, env_index: int, since: int) -> np.ndarray:
        """Return the rows that the environment wrote from its row `since` on, as far as they are kept, oldest first."""
        end = self.written[env_index] + self.in_episode[env_index]
        first = max(since, end - self.rows_per_env)
        return env_index * self.rows_per_env + np.arange(first, end) % self.rows_per_env

    def following(self, rows: np.ndarray) -> np.ndarray:
        """Return the row after each row, within its environment's share."""
        after = rows + 1
        after[after % self.rows_per_env == 0] -= self.rows_per_env
        return after

    def preceding(self, rows: np.ndarray) -> np.ndarray:
        """Return the row before each row, or the row itself where it is the first of its episode.

        That holds for all frames of a row that can be sampled, and of the one that follows it.
        """
        before = rows - 1
        before[rows % self.rows_per_env == 0] += self.rows_per_env
        return np.where(self.kind.take(before) & (TRANSITION | SPENT), before, rows)

    def behind(self, env_index: int) -> np.ndarray:
        """Return the rows behind the environment's newest one: those that lack frames it has overwritten.

        Once the share is full they are the oldest. There are none where a state is no stack.
        """
        newest = self.written[env_index] + self.in_episode[env_index] - 1
        return env_index * self.rows_per_env + np.arange(newest + 1, newest + self.stack) % self.rows_per_env

    def spend(self, rows: np.ndarray) -> int:
        """Let these rows never be sampled again, and return how many of them could be."""
        spent = rows[(self.kind[rows] & TRANSITION) > 0]
        self.kind[spent] ^= TRANSITION | SPENT
        return spent.size

    def _write_state(self, row: int, values: Mapping[str, Any], called: Mapping[str, tuple[str, slice | None]]) -> None:
        self.transitions -= int(self.kind[row] & TRANSITION)
        for name, (given, part) in called.items():
            self.data[name][row] = values[given] if part is None else values[given][part]
        self.kind[row] = 0
