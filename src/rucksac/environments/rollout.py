"""Collecting experience: acts, hands out transitions, starts episodes anew, counts returns."""

from collections.abc import Callable

import numpy as np

from rucksac.environments.lanes import Began, Lanes, Lost, play
from rucksac.environments.spaces import Door, Stepped
from rucksac.environments.transitions import Collected, Episode, Policy, Transition
from rucksac.errors import UsageError
from rucksac.streams import Stream, generator, integer


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
        return play(self.doors[lane], seed, actions)


class Collector:
    """Lanes under way. Every episode starts from a seed of its own, derived from the run's seed."""

    STATE = ("warmup", "obs", "started", "seeds", "lengths", "returns")  # the environments themselves are re-enacted

    def __init__(self, lanes: Lanes, seed: int) -> None:
        self.lanes, self.seed, self.warmup = lanes, seed, generator(seed, Stream.WARMUP)
        self.obs = np.empty((len(lanes), lanes.spaces.obs_size), np.float32)
        self.started, self.seeds, self.lengths = ([0] * len(lanes) for _ in range(3))
        self.returns = [0.0] * len(lanes)
        self.actions: list[list[np.ndarray]] = [[] for _ in range(len(lanes))]  # of the open episode, to re-enact it
        self.over = list(range(len(lanes)))  # lanes whose next episode is to be begun

    def collect(self, policy: Policy | None, lap: Callable[[str], None] = lambda _: None) -> Collected:
        """Act once in every lane, at random where no policy is given; `lap` takes the time of each phase.

        Raises `UsageError` when an environment fails; the same actions are then taken when the run goes on.
        """
        stream = policy.acting_noise if policy else self.warmup
        before = stream.bit_generator.state
        actions = policy.act(self.obs) if policy else self.lanes.spaces.actions.random(stream, len(self.lanes))
        lap("act")
        try:
            collected = self.step(actions)
        except UsageError:
            stream.bit_generator.state = before
            raise
        lap("environment")
        return collected

    def step(self, actions: np.ndarray) -> Collected:
        """Act once in every lane, actions (E, A)."""
        collected = Collected([], [], [])
        for lane, outcome in enumerate(self.lanes.step(actions)):
            if isinstance(outcome, Began):
                self.obs[lane] = outcome.obs
            elif isinstance(outcome, Lost):
                collected.lost.append(lane)
            else:
                obs, action = self.obs[lane].copy(), actions[lane]
                collected.transitions.append(Transition(lane, obs, action, **outcome._asdict()))
                self.returns[lane] += outcome.reward
                self.lengths[lane] += 1
                self.actions[lane].append(action)
                self.obs[lane] = outcome.next_obs
                if outcome.terminated or outcome.truncated:
                    seed = self.seeds[lane] if self.lanes.seeded else -1
                    collected.finished.append(Episode(seed, self.returns[lane], self.lengths[lane]))
                    self.over.append(lane)
        self.over += collected.lost
        return collected

    def begin_episodes(self) -> None:
        """Start the next episode where one is over, now that its transitions are safe: a reset may fail."""
        if not self.over:
            return
        for lane in self.over:
            self.seeds[lane] = integer(self.seed, Stream.EPISODE, lane, self.started[lane])
        for lane, obs in self.lanes.reset({lane: self.seeds[lane] for lane in self.over}).items():
            self.returns[lane], self.lengths[lane], self.actions[lane] = 0.0, 0, []
            self.started[lane] += 1
            self.obs[lane] = obs
        self.over = []
