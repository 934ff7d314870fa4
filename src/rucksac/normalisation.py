"""Scales of observations and rewards, mostly running statistics: learned in training, frozen in evaluation."""

import numpy as np

FARTHEST = 10.0  # standard deviations; what lies beyond is cut off
LEAST_VARIANCE = 1e-8


class Moments:
    """Mean and variance of all rows (n,) so far, updated row by row (Welford 1962)."""

    def __init__(self, size: int) -> None:
        self.count, self.mean, self.squares = np.zeros(1), np.zeros(size), np.zeros(size)

    def add(self, row: np.ndarray) -> None:
        self.count += 1.0
        delta = row - self.mean
        self.mean += delta / self.count
        self.squares += delta * (row - self.mean)

    @property
    def spread(self) -> np.ndarray:
        """Return the standard deviation, 1 before there are two rows."""
        if self.count[0] < 2.0:
            return np.ones_like(self.mean)
        return np.sqrt(self.squares / self.count + LEAST_VARIANCE)


class BoundedMoments(Moments):
    """Moments of one number whose spread is never below the largest size so far, divided by `bound`."""

    def __init__(self, bound: float) -> None:
        super().__init__(1)
        self.largest, self._bound = np.zeros(1), bound

    def add(self, row: np.ndarray) -> None:
        super().add(row)
        np.maximum(self.largest, np.abs(row), out=self.largest)

    @property
    def spread(self) -> np.ndarray:
        """Return the standard deviation or that bound, whichever is larger."""
        return np.maximum(super().spread, self.largest / self._bound)


class Normaliser:
    """What the networks see instead of raw observations and rewards; replay memory keeps the raw ones.

    Of an observation the first `numbers` are meant; what follows are pixels, which stay as they are.
    Observations become (obs - mean) / spread, rewards are divided by the spread of the discounted returns so far of
    each environment, so that a constant factor in the rewards makes no difference; both are cut off at `FARTHEST`. With
    `bound` they are divided by more where the largest of these returns would still be beyond it (arXiv 2502.15280).
    `reward_scale` then multiplies what the critics see. The logs never see any of it.
    """

    def __init__(
        self,
        numbers: int,
        envs: int,
        gamma: float,
        observations: bool,
        rewards: bool,
        reward_scale: float = 1.0,
        bound: float | None = None,
    ) -> None:
        self.gamma, self.reward_scale = gamma, reward_scale
        self.seen = Moments(numbers) if observations else None
        self.returns = (BoundedMoments(bound) if bound else Moments(1)) if rewards else None
        self.running = np.zeros(envs)  # each environment's discounted return so far in its episode

    def learn(self, env_index: int, obs: np.ndarray, reward: float, ended: bool) -> None:
        """Take in one environment step: the observation (O,) acted on and the reward for it."""
        if self.seen:
            self.seen.add(obs[: self.seen.mean.size])
        if self.returns:
            self.running[env_index] = self.gamma * self.running[env_index] + reward
            self.returns.add(self.running[env_index : env_index + 1])
            if ended:
                self.running[env_index] = 0.0

    def observations(self, obs: np.ndarray) -> np.ndarray:
        """Return observations (B, O) as the networks see them."""
        if not self.seen:
            return obs
        size = self.seen.mean.size
        scaled = ((obs[:, :size] - self.seen.mean) / self.seen.spread).clip(-FARTHEST, FARTHEST).astype(np.float32)
        return scaled if obs.shape[1] == size else np.concatenate([scaled, obs[:, size:]], 1)

    def rewards(self, reward: np.ndarray) -> np.ndarray:
        """Return rewards (B,) as the critics see them."""
        scaled = (reward / self.returns.spread).clip(-FARTHEST, FARTHEST) if self.returns else reward
        return (scaled * self.reward_scale).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that changes, by name; the arrays are the ones in use."""
        found = {"running": self.running}
        for name, moments in (("observations", self.seen), ("returns", self.returns)):
            if moments:
                found |= {f"{name}.{part}": array for part, array in vars(moments).items() if part[0] != "_"}
        return found
