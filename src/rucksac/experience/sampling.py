"""From replay memory to a batch: pick rows, fold them into what a gradient step needs."""

import numpy as np
import torch

from rucksac.algorithm.update import Batch
from rucksac.experience.replay import TERMINATED, TRANSITION, Replay


class UniformSampler:
    """Draws transitions uniformly with replacement. The returned batch is overwritten by the next draw."""

    STATE = ("generator",)

    def __init__(self, replay: Replay, batch_size: int, gamma: float, generator: np.random.Generator) -> None:
        self.replay, self.gamma, self.generator = replay, gamma, generator
        self.obs = np.empty((batch_size, replay.obs.shape[1]), np.float32)
        self.action = np.empty((batch_size, replay.action.shape[1]), np.float32)
        self.reward = np.empty(batch_size, np.float32)
        self.discount = np.empty(batch_size, np.float32)
        self.next_obs = np.empty_like(self.obs)
        self.batch = Batch(*map(torch.from_numpy, (self.obs, self.action, self.reward, self.discount, self.next_obs)))

    def sample(self) -> Batch:
        """Return one batch; raise `ValueError` when nothing is stored."""
        replay = self.replay
        rows = self._pick(len(self.reward))
        replay.obs.take(rows, 0, self.obs, "clip")
        replay.action.take(rows, 0, self.action, "clip")
        replay.reward.take(rows, 0, self.reward, "clip")
        np.multiply(self.gamma, (replay.kind.take(rows) & TERMINATED) == 0, out=self.discount, casting="same_kind")
        replay.obs.take(replay.following(rows), 0, self.next_obs, "clip")
        return self.batch

    def _pick(self, count: int) -> np.ndarray:
        """Return rows drawn uniformly from all that hold a transition; rows that hold none are drawn again."""
        if len(self.replay) == 0:
            raise ValueError("the replay memory is empty")
        rows = self._draw(count)
        while (missing := np.flatnonzero((self.replay.kind.take(rows) & TRANSITION) == 0)).size:
            rows[missing] = self._draw(missing.size)
        return rows

    def _draw(self, count: int) -> np.ndarray:
        replay = self.replay
        drawn = self.generator.integers(0, replay.used * replay.lanes, count)
        if replay.lanes == 1:
            return drawn
        lane, position = np.divmod(drawn, replay.used)
        return lane * replay.rows_per_lane + position
