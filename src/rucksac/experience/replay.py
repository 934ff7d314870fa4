"""A ring of transitions that keeps one copy of every state.

Each environment has a share of the rows for itself. A row holds a state, such as an observation, and, once it is known,
the transition that begins there: the action taken and what came of it; the next state is that of the next row. An
episode of n steps therefore takes n + 1 rows, the last one holding the final state alone. Knows how episodes end,
nothing of algorithms.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rucksac.experience.columns import KIND, Column

# What a row is, as bits: a row without TRANSITION cannot be sampled.
TRANSITION, TERMINATED, TRUNCATED = 1, 2, 4


class Replay:
    """Preallocated storage for `rows` rows of `columns`, shared evenly by `envs` environments."""

    STATE = ("transitions", "used", "written", "in_episode")  # beside the rows themselves, which `segments` keeps

    def __init__(self, rows: int, envs: int, columns: Iterable[Column]) -> None:
        self.envs, self.rows_per_env, self.columns = envs, max(2, rows // envs), tuple(columns)
        total = envs * self.rows_per_env
        self.data = {each.name: np.zeros((total, *each.shape), each.dtype) for each in (*self.columns, KIND)}
        self.kind = self.data[KIND.name]
        self._names = {each.name: each.name for each in self.columns if each.of_state}  # of what `add` takes
        self._next_names = {name: f"next_{name}" for name in self._names}
        self._of_transition = [each.name for each in self.columns if not each.of_state]
        self.transitions = 0  # how many rows can be sampled
        self.used = 0  # rows per environment that have ever been written, the same bound for all
        self.written = [0] * envs  # rows ever completed; the next transition goes to this row, modulo `rows_per_env`
        self.in_episode = [False] * envs

    def __len__(self) -> int:
        return self.transitions

    def add(self, env_index: int, terminated: bool, truncated: bool, **values: Any) -> None:
        """Store one step: each column by its name, and the next value of each column of the state as `next_NAME`.

        Within an episode a state is the next one of the step before. Values that no column is named for are not kept.
        """
        first, written = env_index * self.rows_per_env, self.written[env_index]
        row = first + written % self.rows_per_env
        if not self.in_episode[env_index]:
            self._write_state(row, values, self._names)
        for name in self._of_transition:
            self.data[name][row] = values[name]
        self.kind[row] = TRANSITION | (TERMINATED if terminated else TRUNCATED if truncated else 0)
        self.transitions += 1
        self.used = max(self.used, min(written + 2, self.rows_per_env))
        self._write_state(first + (written + 1) % self.rows_per_env, values, self._next_names)
        self.in_episode[env_index] = not (terminated or truncated)
        self.written[env_index] = written + (1 if self.in_episode[env_index] else 2)

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

    def _write_state(self, row: int, values: Mapping[str, Any], called: Mapping[str, str]) -> None:
        self.transitions -= int(self.kind[row] & TRANSITION)
        for name, given in called.items():
            self.data[name][row] = values[given]
        self.kind[row] = 0
