"""Collecting experience in the process that learns: acts, hands out transitions, starts episodes anew."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from rucksac.environments.env_group import Began, EnvGroup, Lost, Replayable, play
from rucksac.environments.spaces import EnvAdapter, Stepped
from rucksac.environments.transitions import Collected, Episode, Policy, Transition
from rucksac.errors import UsageError
from rucksac.exploration import Moment
from rucksac.streams import Stream, generator, integer


class LocalEnvGroup:
    """Environments in this process, one after the other."""

    seeded = True

    def __init__(self, adapters: list[EnvAdapter]) -> None:
        self.adapters, self.spaces = adapters, adapters[0].spaces

    def __len__(self) -> int:
        return len(self.adapters)

    def reset(self, seeds: dict[int, int]) -> dict[int, np.ndarray]:
        return {env_index: self.adapters[env_index].reset(seed) for env_index, seed in seeds.items()}

    def step(self, actions: np.ndarray) -> list[Stepped | Began | Lost]:
        return [adapter.step(action) for adapter, action in zip(self.adapters, actions, strict=True)]

    def play(self, env_index: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        return play(self.adapters[env_index], seed, actions)


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

    def moments(self) -> list[Moment]:
        """Return where each environment is."""
        return [Moment(env_index, *at) for env_index, at in enumerate(zip(self.started, self.lengths, strict=True))]

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


class Collector(Episodes):
    """Acts in a group of environments, between gradient steps."""

    STATE = ("warmup", *Episodes.STATE)
    envs: EnvGroup

    def __init__(self, envs: EnvGroup, seed: int) -> None:
        super().__init__(envs, seed)
        self.warmup = generator(seed, Stream.WARMUP)

    def collect(self, policy: Policy | None, lap: Callable[[str], None] = lambda _: None) -> Collected:
        """See `Episodes`; acts once in every environment."""
        stream = policy.acting_noise if policy else self.warmup
        before = stream.bit_generator.state
        actions = (
            policy.act(self.obs, self.moments) if policy else self.envs.spaces.actions.random(stream, len(self.envs))
        )
        lap("act")
        try:
            collected = self.step(actions)
        except UsageError:
            stream.bit_generator.state = before
            raise
        lap("environment")
        return collected

    def step(self, actions: np.ndarray) -> Collected:
        """Act once in every environment, actions (E, A)."""
        collected = Collected([], [], [])
        for env_index, outcome in enumerate(self.envs.step(actions)):
            self.took(env_index, actions[env_index], outcome, collected)
        self.over += collected.lost
        return collected

    def begin_episodes(self) -> None:
        if not self.over:
            return
        for env_index in self.over:
            self.seeds[env_index] = self.next_seed(env_index)
        for env_index, obs in self.envs.reset({env_index: self.seeds[env_index] for env_index in self.over}).items():
            self.began(env_index, obs)
        self.over = []
