"""Stepping environments: yields transitions, starts episodes anew, counts returns. One lane per environment."""

from typing import NamedTuple

import numpy as np

from rucksac.environments.spaces import Door
from rucksac.streams import Stream, integer


class Transition(NamedTuple):
    """One step of the environment in `lane`; obs and next_obs (O,), action (A,) in [-1, 1], reward as given."""

    lane: int
    obs: np.ndarray
    action: np.ndarray
    reward: float
    next_obs: np.ndarray  # the true next observation, also where an episode ends
    terminated: bool
    truncated: bool  # never together with terminated: a termination is final


class Episode(NamedTuple):
    """One finished episode; the return is the plain sum of rewards."""

    seed: int
    total_return: float
    length: int


class Rollout:
    """Environments under way. Every episode starts from a seed of its own, derived from the run's seed."""

    def __init__(self, envs: list[Door], seed: int) -> None:
        self.envs, self.seed = envs, seed
        self.obs = np.empty((len(envs), envs[0].spaces.obs_size), np.float32)
        self._started, self._seeds, self._lengths = ([0] * len(envs) for _ in range(3))
        self._returns = [0.0] * len(envs)
        for lane in range(len(envs)):
            self._begin(lane)

    def step(self, actions: np.ndarray) -> tuple[list[Transition], list[Episode]]:
        """Act once in every environment, actions (E, A) in [-1, 1]; return what happened and which episodes ended."""
        transitions, finished = [], []
        for lane, env in enumerate(self.envs):
            next_obs, reward, terminated, truncated = env.step(actions[lane])
            transitions.append(
                Transition(lane, self.obs[lane].copy(), actions[lane], reward, next_obs, terminated, truncated)
            )
            self._returns[lane] += reward
            self._lengths[lane] += 1
            if terminated or truncated:
                finished.append(Episode(self._seeds[lane], self._returns[lane], self._lengths[lane]))
                self._begin(lane)
            else:
                self.obs[lane] = next_obs
        return transitions, finished

    def _begin(self, lane: int) -> None:
        self._seeds[lane] = integer(self.seed, Stream.EPISODE, lane, self._started[lane])
        self._started[lane] += 1
        self._returns[lane], self._lengths[lane] = 0.0, 0
        self.obs[lane] = self.envs[lane].reset(self._seeds[lane])
