"""An environment under random actions: the same episodes and actions that the warm-up of a run would have."""

import hashlib
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import gymnasium
import numpy as np

from rucksac.environments.collector import Collector, LocalEnvGroup
from rucksac.environments.env_group import EnvGroup
from rucksac.environments.kinds import Observations
from rucksac.environments.spaces import Stepped, finite_reward
from rucksac.environments.transitions import Transition
from rucksac.errors import UsageError
from rucksac.normalisation import Moments
from rucksac.tools.patience import patience

TRAILS, TRAIL_STEPS = 2, 200  # episodes, and steps of each, that are kept to be played again
COLOUR = re.compile(r"\x1b\[\d*m")


class Extent:
    """How far rows (n,) go: least, greatest, mean and spread of each number."""

    def __init__(self, size: int) -> None:
        self.moments = Moments(size)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)

    def add(self, row: np.ndarray) -> None:
        """Take in one row."""
        self.moments.add(row)
        np.minimum(self.low, row, out=self.low)
        np.maximum(self.high, row, out=self.high)

    @property
    def count(self) -> int:
        """Return how many rows there were."""
        return int(self.moments.count[0])

    @property
    def mean(self) -> np.ndarray:
        """Return the means."""
        return self.moments.mean

    @property
    def std(self) -> np.ndarray:
        """Return the standard deviations."""
        return np.sqrt(self.moments.squares / max(1, self.count))

    @property
    def rms(self) -> np.ndarray:
        """Return the root mean squares."""
        return np.sqrt(self.mean**2 + self.std**2)


class Sights:
    """What an environment was heard to say itself, before float32 is made of it; observations as flat rows (O,)."""

    def __init__(self, space: gymnasium.Space[Any], observations: Observations) -> None:
        self.space, self._observations = space, observations
        flat: Any = gymnasium.spaces.flatten_space(space)
        size = gymnasium.spaces.flatdim(space)
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
        self._see(obs, follows=False)

    def from_env(self, transition: Transition) -> None:
        """Take in a step of an environment that cannot be heard itself."""
        self._see_flat(transition.next_obs, follows=False)
        self.reward.add(np.array([transition.reward]))

    def next(self, obs: Any, reward: Any, terminated: Any, truncated: Any) -> None:
        """Take in what a step gave."""
        self._see(obs, follows=True)
        self.reward_types.add(type(reward).__name__)
        with suppress(UsageError):  # the adapter refuses it
            self.reward.add(np.array([finite_reward(reward)]))
        self.both_ends += bool(terminated) and bool(truncated)

    def _see(self, obs: Any, follows: bool) -> None:
        with suppress(UsageError):  # the adapter refuses it
            self._see_flat(self._observations.flatten(obs), follows)

    def _see_flat(self, flat: np.ndarray, follows: bool) -> None:
        before, before_as_float32 = self.last, self.last_as_float32
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


class Hearing(gymnasium.Wrapper):
    """Lets `Sights` see what an environment says, and for how long it thinks, at most `timeout` seconds at a time."""

    def __init__(self, env: gymnasium.Env, sights: Sights, timeout: float) -> None:
        super().__init__(env)
        self.sights, self.timeout = sights, timeout

    def reset(self, **kwargs: Any) -> Any:
        """Reset and take in the first observation."""
        with self._timed():
            self.sights.episode_step = 0
            answer = self.env.reset(**kwargs)
        if isinstance(answer, tuple) and len(answer) == 2:
            self.sights.first(answer[0])
        return answer

    def step(self, action: Any) -> Any:
        """Step and take in the outcome."""
        with self._timed():
            self.sights.episode_step += 1
            answer = self.env.step(action)
        if isinstance(answer, tuple) and len(answer) == 5:
            self.sights.next(*answer[:4])
        return answer

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        with patience(self.timeout):
            yield
        self.sights.seconds += time.perf_counter() - start


@dataclass
class Trail:
    """The beginning of an episode: its seed, its actions, and a digest of what was seen at first and at each step."""

    seed: int
    marks: list[bytes]
    actions: list[np.ndarray] = field(default_factory=list)

    def follow(self, step: Transition) -> None:
        """Keep one more step, as long as there are not too many."""
        if len(self.actions) < TRAIL_STEPS:
            self.actions.append(step.action)
            self.marks.append(_mark_of_step(Stepped(step.next_obs, step.reward, step.terminated, step.truncated)))

    def first_difference(self, envs: EnvGroup) -> int | None:
        """Play it again; return the first step that went otherwise, 0 for the first observation, None for none."""
        first, steps = envs.play(0, self.seed, np.array(self.actions))
        marks = [_mark(first), *map(_mark_of_step, steps)]
        pairs = enumerate(zip_longest(marks, self.marks))
        return next((step for step, (now, then) in pairs if now != then), None)


@dataclass
class RandomPlay:
    """What came of random play; counts are of all environments."""

    steps: int = 0
    terminated: int = 0
    truncated: int = 0
    lengths: list[int] = field(default_factory=list)  # of the episodes that ended
    trails: list[Trail] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failure: UsageError | None = None
    failed_in: int = 0  # seed of the episode in which the failure came


def play_randomly(
    envs: EnvGroup, sights: Sights, seed: int, most_steps: int, episodes: int | None, most_seconds: float
) -> RandomPlay:
    """Play until `most_steps` or `most_seconds` are over, or as many episodes; a failure of the environment ends it.

    `sights` takes in what environments without a `Hearing` environment give.
    """
    play, collector = RandomPlay(), Collector(envs, seed)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            _play(play, collector, sights, most_steps, episodes or most_steps, most_seconds)
        except UsageError as error:
            play.failure, play.failed_in = error, collector.seeds[0]
    texts = (" ".join(COLOUR.sub("", str(each.message)).split()) for each in warned)
    play.warnings = list(dict.fromkeys(texts))
    return play


def _play(
    play: RandomPlay, collector: Collector, sights: Sights, most_steps: int, episodes: int, most_seconds: float
) -> None:
    start = time.perf_counter()
    collector.begin_episodes()
    while play.steps < most_steps and len(play.lengths) < episodes and play.seconds < most_seconds:
        if collector.lengths[0] == 0 and len(play.trails) < TRAILS:
            play.trails.append(Trail(collector.seeds[0], [_mark(collector.obs[0])]))
        episode_of_trail = collector.seeds[0] == play.trails[-1].seed
        transitions, finished, _ = collector.collect(None)
        for transition in transitions:
            if not isinstance(collector.envs, LocalEnvGroup):
                sights.from_env(transition)
            if transition.env_index == 0 and episode_of_trail:
                play.trails[-1].follow(transition)
        play.steps += len(transitions)
        play.lengths += [episode.length for episode in finished]
        play.terminated += sum(transition.terminated for transition in transitions)
        play.truncated += sum(transition.truncated for transition in transitions)
        collector.begin_episodes()
        play.seconds = time.perf_counter() - start


def _mark_of_step(step: Stepped) -> bytes:
    return _mark(step.next_obs, np.array([step.reward, step.terminated, step.truncated]))


def _mark(*arrays: np.ndarray) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()
