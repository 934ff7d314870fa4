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

    STATE = ("obs", "started", "seeds", "lengths", "returns")  # the environments themselves are re-enacted

    def __init__(self, envs: list[Door], seed: int) -> None:
        self.envs, self.seed = envs, seed
        self.obs = np.empty((len(envs), envs[0].spaces.obs_size), np.float32)
        self.started, self.seeds, self.lengths = ([0] * len(envs) for _ in range(3))
        self.returns = [0.0] * len(envs)
        self.actions: list[list[np.ndarray]] = [[] for _ in envs]  # of the open episode, to re-enact it

    def start(self) -> None:
        """Begin the first episode in every environment."""
        for lane in range(len(self.envs)):
            self.begin(lane)

    def step(self, actions: np.ndarray) -> tuple[list[Transition], list[Episode]]:
        """Act once in every environment, actions (E, A) in [-1, 1]; return what happened and which episodes ended."""
        transitions, finished = [], []
        for lane, env in enumerate(self.envs):
            next_obs, reward, terminated, truncated = env.step(actions[lane])
            transitions.append(
                Transition(lane, self.obs[lane].copy(), actions[lane], reward, next_obs, terminated, truncated)
            )
            self.returns[lane] += reward
            self.lengths[lane] += 1
            self.actions[lane].append(actions[lane])
            if terminated or truncated:
                finished.append(Episode(self.seeds[lane], self.returns[lane], self.lengths[lane]))
                self.begin(lane)
            else:
                self.obs[lane] = next_obs
        return transitions, finished

    def begin(self, lane: int) -> None:
        """Start the next episode of one environment."""
        self.seeds[lane] = integer(self.seed, Stream.EPISODE, lane, self.started[lane])
        self.started[lane] += 1
        self.returns[lane], self.lengths[lane], self.actions[lane] = 0.0, 0, []
        self.obs[lane] = self.envs[lane].reset(self.seeds[lane])
