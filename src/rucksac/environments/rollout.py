"""Stepping environments: yields transitions, starts episodes anew, counts returns. One lane per environment."""

from typing import NamedTuple

import numpy as np

from rucksac.environments.lanes import Began, Lanes, Lost
from rucksac.environments.spaces import Door, Stepped
from rucksac.streams import Stream, integer


class Doors:
    """Environments in this process, one after the other."""

    seeded = True

    def __init__(self, doors: list[Door]) -> None:
        self.doors, self.spaces = doors, doors[0].spaces

    def __len__(self) -> int:
        return len(self.doors)

    def reset(self, seeds: dict[int, int]) -> dict[int, np.ndarray]:
        """See `Lanes`."""
        return {lane: self.doors[lane].reset(seed) for lane, seed in seeds.items()}

    def step(self, actions: np.ndarray) -> list[Stepped | Began | Lost]:
        """See `Lanes`."""
        return [door.step(action) for door, action in zip(self.doors, actions, strict=True)]

    def play(self, lane: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        """See `Lanes`."""
        return self.doors[lane].play(seed, actions)


class Transition(NamedTuple):
    """One step of the environment in `lane`; obs and next_obs (O,), action (A,) of the agent, reward as given."""

    lane: int
    obs: np.ndarray
    action: np.ndarray
    reward: float
    next_obs: np.ndarray
    terminated: bool
    truncated: bool


class Episode(NamedTuple):
    """One finished episode; the return is the plain sum of rewards."""

    seed: int  # -1 where the environment begins anew by itself
    total_return: float
    length: int


class Rollout:
    """Lanes under way. Every episode starts from a seed of its own, derived from the run's seed."""

    STATE = ("obs", "started", "seeds", "lengths", "returns")  # the environments themselves are re-enacted

    def __init__(self, lanes: Lanes, seed: int) -> None:
        self.lanes, self.seed = lanes, seed
        self.obs = np.empty((len(lanes), lanes.spaces.obs_size), np.float32)
        self.started, self.seeds, self.lengths = ([0] * len(lanes) for _ in range(3))
        self.returns = [0.0] * len(lanes)
        self.actions: list[list[np.ndarray]] = [[] for _ in range(len(lanes))]  # of the open episode, to re-enact it
        self.over: list[int] = []  # lanes whose next episode is to be begun

    def start(self) -> None:
        """Begin the first episode in every lane."""
        self.begin(*range(len(self.lanes)))

    def step(self, actions: np.ndarray) -> tuple[list[Transition], list[Episode], list[int]]:
        """Act once in every lane, actions (E, A); return transitions, episodes that ended, lanes that lost theirs."""
        transitions, finished, lost = [], [], []
        for lane, outcome in enumerate(self.lanes.step(actions)):
            if isinstance(outcome, Stepped):
                next_obs, reward, terminated, truncated = outcome
                obs, action = self.obs[lane].copy(), actions[lane]
                transitions.append(Transition(lane, obs, action, reward, next_obs, terminated, truncated))
                self.returns[lane] += reward
                self.lengths[lane] += 1
                self.actions[lane].append(action)
                self.obs[lane] = next_obs
                if terminated or truncated:
                    finished.append(
                        Episode(self.seeds[lane] if self.lanes.seeded else -1, self.returns[lane], self.lengths[lane])
                    )
                    self.over.append(lane)
            elif isinstance(outcome, Began):
                self.obs[lane] = outcome.obs
            else:
                lost.append(lane)
        self.over += lost
        return transitions, finished, lost

    def begin_anew(self) -> None:
        """Start the next episode where the last step ended one, now that its transitions are safe: a reset may fail."""
        if self.over:
            self.begin(*self.over)
            self.over = []

    def begin(self, *lanes: int) -> None:
        """Start the next episode in these lanes."""
        for lane in lanes:
            self.seeds[lane] = integer(self.seed, Stream.EPISODE, lane, self.started[lane])
        begun = self.lanes.reset({lane: self.seeds[lane] for lane in lanes})
        for lane in lanes:
            self.returns[lane], self.lengths[lane], self.actions[lane] = 0.0, 0, []
            self.started[lane] += 1
        for lane, obs in begun.items():
            self.obs[lane] = obs
