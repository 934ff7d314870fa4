"""An environment under random actions: the same episodes and actions that the warm-up of a run would have."""

import hashlib
import re
import time
import warnings
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from rucksac.doctor.statistics import PlayStatistics
from rucksac.environments.collector import Collector, LocalEnvGroup
from rucksac.environments.env_group import EnvGroup
from rucksac.environments.spaces import Stepped
from rucksac.environments.transitions import Transition
from rucksac.errors import UsageError

STARTS, START_STEPS = 2, 200  # beginnings of episodes that are kept to be played again, and their length
COLOUR = re.compile(r"\x1b\[\d*m")


@dataclass
class EpisodeStart:
    """The beginning of an episode: its seed, its actions, and digests of the first observation and of each step."""

    seed: int
    digests: list[bytes]
    actions: list[np.ndarray] = field(default_factory=list)

    def follow(self, step: Transition) -> None:
        """Keep one more step, as long as there are not too many."""
        if len(self.actions) < START_STEPS:
            self.actions.append(step.action)
            self.digests.append(_digest_of_step(Stepped(step.next_obs, step.reward, step.terminated, step.truncated)))

    def first_difference(self, envs: EnvGroup) -> int | None:
        """Play it again; return the first step that went otherwise, 0 for the first observation, None for none."""
        first, steps = envs.play(0, self.seed, np.array(self.actions))
        digests = [_digest(first), *map(_digest_of_step, steps)]
        pairs = enumerate(zip_longest(digests, self.digests))
        return next((step for step, (now, then) in pairs if now != then), None)


@dataclass
class RandomPlay:
    """What came of random play; counts are of all environments."""

    steps: int = 0
    terminated: int = 0
    truncated: int = 0
    lengths: list[int] = field(default_factory=list)  # of the episodes that ended
    starts: list[EpisodeStart] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failure: UsageError | None = None
    failed_in: int = 0  # seed of the episode in which the failure came


def play_randomly(
    envs: EnvGroup, statistics: PlayStatistics, seed: int, most_steps: int, episodes: int | None, most_seconds: float
) -> RandomPlay:
    """Play until `most_steps` or `most_seconds` are over, or as many episodes; a failure of the environment ends it.

    `statistics` takes in the steps of environments that are not `Measured` themselves.
    """
    play, collector = RandomPlay(), Collector(envs, seed)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            _play(play, collector, statistics, most_steps, episodes or most_steps, most_seconds)
        except UsageError as error:
            play.failure, play.failed_in = error, collector.seeds[0]
    texts = (" ".join(COLOUR.sub("", str(each.message)).split()) for each in warned)
    play.warnings = list(dict.fromkeys(texts))
    return play


def _play(
    play: RandomPlay,
    collector: Collector,
    statistics: PlayStatistics,
    most_steps: int,
    episodes: int,
    most_seconds: float,
) -> None:
    start = time.perf_counter()
    collector.begin_episodes()
    while play.steps < most_steps and len(play.lengths) < episodes and play.seconds < most_seconds:
        if collector.lengths[0] == 0 and len(play.starts) < STARTS:
            play.starts.append(EpisodeStart(collector.seeds[0], [_digest(collector.obs[0])]))
        in_start = collector.seeds[0] == play.starts[-1].seed
        transitions, finished, _ = collector.collect(None)
        for transition in transitions:
            if not isinstance(collector.envs, LocalEnvGroup):
                statistics.from_env(transition)
            if transition.env_index == 0 and in_start:
                play.starts[-1].follow(transition)
        play.steps += len(transitions)
        play.lengths += [episode.length for episode in finished]
        play.terminated += sum(transition.terminated for transition in transitions)
        play.truncated += sum(transition.truncated for transition in transitions)
        collector.begin_episodes()
        play.seconds = time.perf_counter() - start


def _digest_of_step(step: Stepped) -> bytes:
    return _digest(step.next_obs, np.array([step.reward, step.terminated, step.truncated]))


def _digest(*arrays: np.ndarray) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(array.tobytes())
    return digest.digest()
