"""Collecting experience in the process that learns: acts, hands out transitions, starts episodes anew."""

from collections.abc import Callable

import numpy as np

from rucksac.environments.env_group import Began, EnvGroup, Lost, play
from rucksac.environments.episodes import Episodes
from rucksac.environments.spaces import EnvAdapter, Stepped
from rucksac.environments.transitions import Collected, Policy
from rucksac.errors import UsageError
from rucksac.streams import Stream, generator


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
        actions = policy.act(self.obs) if policy else self.envs.spaces.actions.random(stream, len(self.envs))
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
