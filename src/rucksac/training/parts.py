"""All that changes while a run goes. Each part names in its `STATE` what of it a checkpoint must hold."""

import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rucksac.agent import Agent
from rucksac.algorithm.update import METRICS
from rucksac.config import Config
from rucksac.environments.lanes import Lanes
from rucksac.environments.rollout import Collector
from rucksac.environments.spaces import Spaces
from rucksac.environments.transitions import Episode
from rucksac.experience.columns import Column
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Sampler, UniformPick, one_step
from rucksac.streams import Stream, generator

IMPROVEMENT_METRICS = ("policy_loss", "temperature_loss", "entropy")  # 0 in a step that leaves the policy alone


def columns_of(spaces: Spaces) -> tuple[Column, ...]:
    """Return what the replay memory of a run holds in each row."""
    return (
        Column("obs", (spaces.obs_size,), of_state=True),
        Column("action", (spaces.action_size,)),
        Column("reward"),
    )


@dataclass
class Progress:
    """How far a run is. Clocks count environment steps, `owed` gradient steps; sums are since the last metrics row.

    `best` is the best mean return of an evaluation, `evaluation` the latest one, which evaluations.csv keeps;
    `seconds` has the wall time of each phase.
    """

    STATE = ("env_steps", "episodes", "owed", "sums", "updates", "logged", "evaluated", "saved", "best", "seconds")
    env_steps: int = 0
    episodes: int = 0
    owed: float = 0.0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(len(METRICS)))
    updates: int = 0
    logged: int = 0
    evaluated: int = 0
    saved: int = 0
    best: float = -sys.float_info.max
    seconds: dict[str, float] = field(default_factory=dict)
    evaluation: list[Episode] = field(default_factory=list)


def mean_metrics(progress: Progress, grad_steps: int, config: Config) -> np.ndarray:
    """Return the means since the last row; those of the policy are over the gradient steps that improved it."""
    delay, updates = config.policy_delay, progress.updates
    improvements = max(1, grad_steps // delay - (grad_steps - updates) // delay)
    return progress.sums / [improvements if name in IMPROVEMENT_METRICS else updates for name in METRICS]


@dataclass
class Training:
    """The parts of a run that hold state."""

    agent: Agent
    collector: Collector
    replay: Replay
    sampler: Sampler
    progress: Progress

    def parts(self) -> dict[str, Any]:
        """Return what holds state, by its name in a checkpoint."""
        return {
            "agent": self.agent,
            "rollout": self.collector,
            "replay": self.replay,
            "sampler": self.sampler.pick,
            "warmup": self.collector.warmup,
            "progress": self.progress,
        }


def prepare(agent: Agent, lanes: Lanes, progress: Progress) -> Training:
    """Return all parts of a run before its first step; no episode has begun."""
    config = agent.config
    replay = Replay(config.buffer_size, len(lanes), columns_of(agent.spaces))
    pick = UniformPick(replay, generator(config.seed, Stream.SAMPLING))
    return Training(
        agent=agent,
        collector=Collector(lanes, config.seed),
        replay=replay,
        sampler=Sampler(replay, pick, one_step(config.gamma), config.batch_size),
        progress=progress,
    )
