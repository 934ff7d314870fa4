"""A ring of transitions that keeps one copy of every observation.

Each environment writes into a lane of its own. A row holds an observation and, once it is known, the action taken
there and what came of it; the next observation is the observation of the next row. An episode of n steps therefore
takes n + 1 rows, the last one holding the final observation alone. Knows how episodes end, nothing of algorithms.
"""

import numpy as np

# What a row is, as bits: a row without TRANSITION cannot be sampled.
TRANSITION, TERMINATED, TRUNCATED = 1, 2, 4


class Replay:
    """Preallocated storage for `rows` rows, shared evenly by `lanes` environments; float32 throughout."""

    STATE = ("transitions", "used", "written", "in_episode")  # beside the rows themselves, which `segments` keeps

    def __init__(self, rows: int, lanes: int, obs_size: int, action_size: int) -> None:
        self.lanes, self.rows_per_lane = lanes, max(2, rows // lanes)
        total = lanes * self.rows_per_lane
        self.obs = np.zeros((total, obs_size), np.float32)
        self.action = np.zeros((total, action_size), np.float32)
        self.reward = np.zeros(total, np.float32)
        self.kind = np.zeros(total, np.uint8)
        self.transitions = 0  # how many rows can be sampled
        self.used = 0  # rows per lane that have ever been written, the same bound for every lane
        self.written = [0] * lanes  # rows ever completed; the lane's next action goes to this row, modulo its size
        self.in_episode = [False] * lanes

    def __len__(self) -> int:
        return self.transitions

    @staticmethod
    def bytes_for(rows: int, obs_size: int, action_size: int) -> int:
        """Return the memory taken when the ring is full: float32 but for one byte of `kind`."""
        return rows * (4 * (obs_size + action_size + 1) + 1)

    def add(
        self,
        lane: int,
        obs: np.ndarray,
        action: np.ndarray,
        reward: float,
        next_obs: np.ndarray,
        terminated: bool,
        truncated: bool,
    ) -> None:
        """Store one step; obs and next_obs (O,), action (A,). Within an episode obs is the previous next_obs."""
        first, written = lane * self.rows_per_lane, self.written[lane]
        row = first + written % self.rows_per_lane
        if not self.in_episode[lane]:
            self._write_obs(row, obs)
        self.action[row] = action
        self.reward[row] = reward
        self.kind[row] = TRANSITION | (TERMINATED if terminated else TRUNCATED if truncated else 0)
        self.transitions += 1
        self.used = max(self.used, min(written + 2, self.rows_per_lane))
        self._write_obs(first + (written + 1) % self.rows_per_lane, next_obs)
        self.in_episode[lane] = not (terminated or truncated)
        self.written[lane] = written + (1 if self.in_episode[lane] else 2)

    def close_episode(self, lane: int) -> None:
        """Let the lane's open episode end as truncated at its last transition."""
        if self.in_episode[lane]:
            self.kind[lane * self.rows_per_lane + (self.written[lane] - 1) % self.rows_per_lane] |= TRUNCATED
            self.in_episode[lane] = False
            self.written[lane] += 1

    def following(self, rows: np.ndarray) -> np.ndarray:
        """Return the row after each row, within its lane."""
        after = rows + 1
        after[after % self.rows_per_lane == 0] -= self.rows_per_lane
        return after

    def _write_obs(self, row: int, obs: np.ndarray) -> None:
        self.transitions -= int(self.kind[row] & TRANSITION)
        self.obs[row] = obs
        self.kind[row] = 0
