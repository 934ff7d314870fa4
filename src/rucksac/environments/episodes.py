"""What every collector knows of its environments: the open episode of each, as far as it has been handed over."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from rucksac.environments.env_group import Began, Lost, Replayable
from rucksac.environments.spaces import Stepped
from rucksac.environments.transitions import Collected, Episode, Policy, Transition
from rucksac.streams import Stream, integer


class Episodes(ABC):
    """A collector without its way of acting. Every episode starts from a seed of its own, derived from the run's seed.

    A subclass names in `STATE` what a checkpoint must hold; the environments themselves are re-enacted.
    """

    STATE: tuple[str, ...] = ("obs", "started", "seeds", "lengths", "returns")
    learn_until = math.inf  # gradient steps; with more of them what is under way would be too old

    def __init__(self, envs: Replayable, seed: int) -> None:
        self.envs, self.seed = envs, seed
        self.obs = np.empty((len(envs), envs.spaces.obs_size), np.float32)
        self.started, self.seeds, self.lengths = ([0] * len(envs) for _ in range(3))
        self.returns = [0.0] * len(envs)
        self.actions: list[list[np.ndarray]] = [[] for _ in range(len(envs))]  # of the open episode, to re-enact it
        self.over = list(range(len(envs)))  # environments whose next episode is to be begun

    @abstractmethod
    def collect(self, policy: Policy | None, lap: Callable[[str], None] = lambda _: None) -> Collected:
        """Return what came of acting, at random where no policy is given; `lap` takes the time of each phase.

        Raises `UsageError` when an environment fails; the same actions are then taken when the run goes on.
        """

    @abstractmethod
    def begin_episodes(self) -> None:
        """Start the next episode where one is over, now that its transitions are safe: a reset may fail."""

    def next_seed(self, env_index: int) -> int:
        """Return the seed of the environment's next episode."""
        return integer(self.seed, Stream.EPISODE, env_index, self.started[env_index])

    def began(self, env_index: int, obs: np.ndarray) -> None:
        """Take note that an episode has begun, from the seed in `seeds`, with this observation (O,)."""
        self.returns[env_index], self.lengths[env_index], self.actions[env_index] = 0.0, 0, []
        self.started[env_index] += 1
        self.obs[env_index] = obs

    def took(self, env_index: int, action: np.ndarray, outcome: Stepped | Began | Lost, collected: Collected) -> None:
        """Add to `collected` what came of one action (A,) in one environment."""
        if isinstance(outcome, Began):
            self.obs[env_index] = outcome.obs
        elif isinstance(outcome, Lost):
            collected.lost.append(env_index)
        else:
            obs = self.obs[env_index].copy()
            collected.transitions.append(Transition(env_index, obs, action, **outcome._asdict()))
            self.returns[env_index] += outcome.reward
            self.lengths[env_index] += 1
            self.actions[env_index].append(action)
            self.obs[env_index] = outcome.next_obs
            if outcome.terminated or outcome.truncated:
                seed = self.seeds[env_index] if self.envs.seeded else -1
                collected.finished.append(Episode(seed, self.returns[env_index], self.lengths[env_index]))
                self.over.append(env_index)
