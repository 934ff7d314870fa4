"""Drawing transitions in proportion to how wrong the critics were there: prioritised experience replay.

Schaul et al. 2016, arXiv 1511.05952, in its proportional form (Sec. 3.3). B is the batch size.
"""

import numpy as np

from rucksac.experience.replay import TRANSITION, Replay

LEAST = 1e-6  # added to each TD error, so that no transition is lost for ever


class SumTree:
    """Numbers, 0 or larger, as the leaves of a binary tree in which every node is the sum of the two below it.

    Node n has the nodes 2n and 2n + 1 below it, the root is node 1. The sums depend on nothing but the numbers, in
    whatever order these came.
    """

    def __init__(self, size: int) -> None:
        self.depth = (size - 1).bit_length()
        self._nodes = np.zeros(2 << self.depth)
        self.numbers = self._nodes[1 << self.depth :][:size]  # to be set from outside; `refresh` then follows

    @staticmethod
    def bytes_for(size: int) -> int:
        """Return the memory that a tree of so many numbers takes."""
        return (2 << (size - 1).bit_length()) * 8

    def refresh(self, places: np.ndarray) -> None:
        """Bring the sums up to date after the numbers at `places` were set."""
        nodes = places + (1 << self.depth)
        for _ in range(self.depth):
            left = nodes & ~1
            nodes = nodes >> 1
            self._nodes[nodes] = self._nodes.take(left) + self._nodes.take(left + 1)

    def draw(self, shares: np.ndarray) -> np.ndarray:
        """Return the places at which the running sum passes these shares (B,) of the whole, each in [0, 1)."""
        rest, nodes = shares * self._nodes[1], np.ones(shares.size, np.int64)
        for _ in range(self.depth):
            nodes = 2 * nodes
            left = self._nodes.take(nodes)
            beyond = (rest >= left) & (self._nodes.take(nodes + 1) > 0.0)  # rounded, it may reach the whole
            rest -= left * beyond
            nodes += beyond
        return nodes - (1 << self.depth)


class PrioritisedPick:
    """Chooses with a probability proportional to (TD error + `LEAST`)^alpha, as it was when last learned from.

    What is new has the largest priority so far, 1 in the beginning.
    """

    STATE: tuple[str, ...] = ("generator", "largest", "known")
    ARRAYS = ("priorities",)

    def __init__(self, replay: Replay, generator: np.random.Generator, alpha: float, beta: float) -> None:
        self.replay, self.generator, self.alpha, self.beta = replay, generator, alpha, beta
        self.largest = 1.0
        self.known = [0] * replay.envs  # by environment, the first row whose priority is not in the tree
        self._tree = SumTree(replay.envs * replay.rows_per_env)
        self._drawn = np.zeros(0, np.int64)  # rows of the last batch

    @property
    def priorities(self) -> np.ndarray:
        """Return the priorities of the rows in use, (environments, rows)."""
        return np.ascontiguousarray(self._by_env[:, : self.replay.used])

    @priorities.setter
    def priorities(self, values: np.ndarray) -> None:
        if (values < 0.0).any():
            raise ValueError("a priority is below 0")
        self._by_env[:] = 0.0
        self._by_env[:, : self.replay.used] = values
        self._tree.refresh(np.arange(self._tree.numbers.size))

    def rows(self, count: int) -> np.ndarray:
        """See `Pick`; one row from each of `count` equal shares of all priorities (App. B.2.1)."""
        if len(self.replay) == 0:
            raise ValueError("the replay memory is empty")
        self._tree.refresh(np.concatenate([self._drawn, *self._take_in()]))
        self._drawn = self._tree.draw((np.arange(count) + self.generator.random(count)) / count)
        return self._drawn

    def learned(self, td_error: np.ndarray) -> None:
        """See `Pick`."""
        priorities = (td_error.astype(np.float64) + LEAST) ** self.alpha
        self.largest = max(self.largest, float(priorities.max()))
        self._tree.numbers[self._drawn] = priorities

    def weight(self, _: Replay, rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
        """Read (smallest priority in the batch / priority)^beta, (B,): importance weights / the largest (Sec. 3.4)."""
        priorities = np.maximum(self._tree.numbers.take(rows), LEAST)
        return np.power(np.float32(priorities.min() / priorities), np.float32(self.beta), out=out)

    @property
    def _by_env(self) -> np.ndarray:
        return self._tree.numbers.reshape(self.replay.envs, self.replay.rows_per_env)

    def _take_in(self) -> list[np.ndarray]:
        """Return the rows that were written or spent since the last call, with priorities of new ones, or none."""
        replay, found = self.replay, []
        if self.known != replay.written:
            for env_index, known in enumerate(self.known):
                rows = np.concatenate([replay.rows_since(env_index, known), replay.behind(env_index)])
                self._tree.numbers[rows] = np.where(replay.kind[rows] & TRANSITION, self.largest, 0.0)
                found.append(rows)
            self.known = list(replay.written)
        return found
