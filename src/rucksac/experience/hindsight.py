"""Transitions as if what was achieved later had been the goal: hindsight experience replay.

Andrychowicz et al. 2017, arXiv 1707.01495. B is the batch size, G the size of a goal.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

from rucksac.experience.kinds import Fold, Read
from rucksac.experience.replay import TERMINATED, TRUNCATED, Replay

Strategy = Literal["future", "final", "episode"]


class Goals(Protocol):
    """Where goals are in an observation, and what M steps are worth that achieved and desired these goals, (M, G)."""

    achieved: slice
    desired: slice

    def reward(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return the rewards, (M,)."""

    def terminated(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray | None:
        """Return which steps end the episode, (M,); None where that does not depend on goals."""


class Episodes:
    """How far the rows of a replay memory are from the ends of their episodes. All of it follows from the rows."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self._after = np.zeros(replay.kind.size, np.int32)  # rows to the last state, 0 while there is none
        self._before = np.zeros(replay.kind.size, np.int32)  # rows since the first state, overwritten ones too
        self._known = [0] * replay.envs  # by environment, the first row that has not been looked at
        self._begun = [0] * replay.envs  # and the first row of the episode whose end has not been seen

    def take_in(self) -> None:
        """Look at the rows that were written since the last call."""
        for env_index, (known, written) in enumerate(zip(self._known, self.replay.written, strict=True)):
            if known < written:
                self._take_in(env_index, known)
                self._known[env_index] = written

    def around(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how many rows of the same episode are kept before each row, and how many come after it, (B,).

        There are none after it while the episode goes on.
        """
        replay = self.replay
        end = np.add(replay.written, replay.in_episode)[rows // replay.rows_per_env]
        return np.minimum(self._before[rows], (rows - end) % replay.rows_per_env), self._after[rows]

    def _take_in(self, env_index: int, known: int) -> None:
        replay = self.replay
        new = replay.rows_since(env_index, known)
        end = replay.written[env_index] + replay.in_episode[env_index]
        oldest = max(0, end - replay.rows_per_env)
        self._after[new] = 0
        if oldest >= known:  # nothing of what was known is left; the last state of an episode has a row for itself
            self._begun[env_index] = oldest + int(replay.kind[new[0]] == 0)
        ends = replay.rows_since(env_index, max(self._begun[env_index], known - 1))  # `known - 1` may have been closed
        for last in end - ends.size + np.flatnonzero(replay.kind[ends] & (TERMINATED | TRUNCATED)):
            positions = np.arange(max(self._begun[env_index], oldest), last + 1)
            rows = replay.rows_since(env_index, positions[0])[: positions.size]
            self._after[rows], self._before[rows] = last + 1 - positions, positions - self._begun[env_index]
            self._begun[env_index] = int(last) + 2


class Hindsight:
    """Gives `share` of the transitions the goal that was achieved in a state of the same episode, once that has ended.

    That is a state after the transition ("future"), the last one ("final") or any but the first ("episode"). Rewards
    and terminations are those of the new goal.
    """

    def __init__(
        self,
        replay: Replay,
        generator: np.random.Generator,
        goals: Goals,
        share: float,
        strategy: Strategy,
        gamma: float,
    ) -> None:
        self.generator, self.goals, self.share, self.strategy, self.gamma = generator, goals, share, strategy, gamma
        self.episodes = Episodes(replay)

    def __call__(self, replay: Replay, rows: np.ndarray, fold: Fold) -> Fold:
        """See `Transform`."""
        self.episodes.take_in()
        before, after = self.episodes.around(rows)
        chance, where = self.generator.random((2, rows.size))
        which = (chance < self.share) & (after > 0)
        if not which.any():
            return fold
        steps, first = _AHEAD[self.strategy](where, before, after), rows - rows % replay.rows_per_env
        states, goals = replay.data["obs"], self.goals
        goal = states[(first + (rows - first + steps) % replay.rows_per_env)[which], goals.achieved]

        def outcomes(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """Return what the relabelled transitions achieved, and their goals, (M, G)."""
            achieved = states[replay.following(rows[..., which]), goals.achieved]
            desired = np.broadcast_to(goal, achieved.shape)
            return achieved.reshape(-1, goal.shape[1]), desired.reshape(-1, goal.shape[1])

        def with_goal(read: Read) -> Read:
            def relabelled(replay: Replay, rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
                found = read(replay, rows, out)
                found[..., which, goals.desired] = goal
                return found

            return relabelled

        def reward(replay: Replay, rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
            found = fold["reward"](replay, rows, out)
            found[..., which] = goals.reward(*outcomes(rows)).reshape(*rows.shape[:-1], -1)
            return found

        def discount(replay: Replay, rows: np.ndarray, out: np.ndarray | None) -> np.ndarray:
            found, terminated = fold["discount"](replay, rows, out), goals.terminated(*outcomes(rows))
            if terminated is not None:
                found[..., which] = np.where(terminated, 0.0, self.gamma).reshape(*rows.shape[:-1], -1)
            return found

        obs, next_obs = map(with_goal, (fold["obs"], fold["next_obs"]))
        return {**fold, "obs": obs, "reward": reward, "discount": discount, "next_obs": next_obs}


_AHEAD: dict[Strategy, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "future": lambda where, _, after: 1 + (where * after).astype(int),
    "final": lambda _, __, after: after,
    "episode": lambda where, before, after: 1 - before + (where * (before + after)).astype(int),
}
"""How many rows ahead the state is whose goal is taken, from a place in [0, 1) and the rows before and after, (B,)."""
