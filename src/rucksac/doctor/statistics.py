"""What an environment returns, in numbers: ranges, spreads, types and time, before anything is converted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gymnasium
import numpy as np

from rucksac.doctor.timeout import timeout_after
from rucksac.environments.kinds import Observations
from rucksac.environments.pictures import without_pictures
from rucksac.environments.spaces import finite_reward
from rucksac.environments.transitions import Transition
from rucksac.errors import UsageError
from rucksac.normalisation import Moments


class Extent:
    """How far rows (n,) go: least, greatest, mean and spread of each number."""

    def __init__(self, size: int) -> None:
        self.moments = Moments(size)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)

    def add(self, row: np.ndarray) -> None:
        self.moments.add(row)
        np.minimum(self.low, row, out=self.low)
        np.maximum(self.high, row, out=self.high)

    @property
    def count(self) -> int:
        return int(self.moments.count[0])

    @property
    def mean(self) -> np.ndarray:
        return self.moments.mean

    @property
    def std(self) -> np.ndarray:
        return np.sqrt(self.moments.squares / max(1, self.count))

    @property
    def rms(self) -> np.ndarray:
        return np.sqrt(self.mean**2 + self.std**2)


class PlayStatistics:
    """Statistics of what an environment returns, before float32 is made of it.

    Observations are flat rows, of the numbers that are no pixels. `space` is what is left without pictures.
    """

    def __init__(self, space: gymnasium.Space[Any], observations: Observations) -> None:
        self.space, self._observations = without_pictures(space), observations
        size = gymnasium.spaces.flatdim(self.space)
        flat: Any = gymnasium.spaces.flatten_space(self.space) if size else gymnasium.spaces.Box(0.0, 0.0, (0,))
        self.low, self.high = (np.asarray(bound, np.float32).reshape(-1) for bound in (flat.low, flat.high))
        self.obs, self.reward = Extent(size), Extent(1)
        self.last = np.zeros(0)  # the newest observation, whatever is wrong with it
        self.last_as_float32 = np.zeros(0, np.float32)
        self.types: set[str] = set()
        self.reward_types: set[str] = set()
        self.outside = np.zeros(size, np.int64)  # how often each number was outside of the declared space
        self.changed, self.change_lost = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self.both_ends = 0  # steps that were termination and truncation at once
        self.seconds = 0.0  # in the environment's own code
        self.episode_step = 0

    def first(self, obs: Any) -> None:
        """Take in the first observation of an episode."""
        self._add(obs, follows=False)

    def from_env(self, transition: Transition) -> None:
        """Take in a step of an environment that cannot be wrapped."""
        self._add_flat(transition.next_obs, follows=False)
        self.reward.add(np.array([transition.reward]))

    def next(self, obs: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """Take in what a step gave."""
        self._add(obs, follows=True)
        self.reward_types.add(type(reward).__name__)
        with suppress(UsageError):  # the adapter refuses it
            self.reward.add(np.array([finite_reward(reward)]))
        self.both_ends += bool(terminated) and bool(truncated)

    def _add(self, obs: Any, follows: bool) -> None:
        with suppress(UsageError):  # the adapter refuses it
            self._add_flat(self._observations.flatten(obs), follows)

    def _add_flat(self, flat: np.ndarray, follows: bool) -> None:
        before, before_as_float32, flat = self.last, self.last_as_float32, flat[: self.low.size]
        self.types.add(flat.dtype.name)
        self.last = flat.astype(np.float64).reshape(-1)
        with np.errstate(over="ignore"):
            self.last_as_float32 = now = self.last.astype(np.float32)
        if not np.isfinite(now).all():
            return
        self.obs.add(self.last)
        self.outside += (now < self.low) | (now > self.high)
        if follows:
            changed = self.last != before
            self.changed += changed
            self.change_lost += changed & (now == before_as_float32)


class Measured(gymnasium.Wrapper):
    """Records what an environment returns, and the seconds it takes; a call ends after `timeout` seconds."""

    def __init__(self, env: gymnasium.Env, statistics: PlayStatistics, timeout: float) -> None:
        super().__init__(env)
        self.statistics, self.timeout = statistics, timeout

    def reset(self, **kwargs: Any) -> Any:
        """Reset and take in the first observation."""
        with self._timed():
            self.statistics.episode_step = 0
            answer = self.env.reset(**kwargs)
        if isinstance(answer, tuple) and len(answer) == 2:
            self.statistics.first(answer[0])
        return answer

    def step(self, action: Any) -> Any:
        """Step and take in the outcome."""
        with self._timed():
            self.statistics.episode_step += 1
            answer = self.env.step(action)
        if isinstance(answer, tuple) and len(answer) == 5:
            self.statistics.next(*answer[:4])
        return answer

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        with timeout_after(self.timeout):
            yield
        self.statistics.seconds += time.perf_counter() - start
