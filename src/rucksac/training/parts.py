"""All that changes while a run goes. Each part names in its `STATE` what of it a checkpoint must hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rucksac.agent import Agent
from rucksac.config import Config
from rucksac.environments.collector import Collector, Episodes
from rucksac.environments.env_group import EnvGroup
from rucksac.environments.pictures import SMALLEST, Picture
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.experience.columns import Column
from rucksac.experience.hindsight import Goals, Hindsight
from rucksac.experience.kinds import Pick, Transform
from rucksac.experience.looking_ahead import look_ahead
from rucksac.experience.priorities import PrioritisedPick
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Mixture, Sampler, UniformPick, one_step, value
from rucksac.experience.shifting import Shift
from rucksac.learner import Learner
from rucksac.streams import Stream, generator
from rucksac.training.collectors import Collectors
from rucksac.training.crew import Crew
from rucksac.training.progress import Progress


def columns_of(spaces: Spaces, frame_stack: int) -> tuple[Column, ...]:
    """Return what the replay memory of a run holds in each row: of a stack of pictures only the newest frame."""
    others = Column("action", (spaces.action_size,)), Column("reward")
    pictures = spaces.observations.pictures
    if not pictures:
        return Column("obs", (spaces.obs_size,), of_state=True), *others
    shown = []
    for number, each in enumerate(pictures):
        size = each.size // frame_stack
        part = slice(each.begin + each.size - size, each.begin + each.size)
        shown.append(Column(f"picture{number}", (size,), np.uint8, True, "obs", part, frame_stack))
    numbers = [Column("obs", (spaces.numbers,), of_state=True, part=slice(0, spaces.numbers))] * (spaces.numbers > 0)
    return (*numbers, *shown, *others)


@dataclass
class Training:
    """The parts of a run that hold state."""

    agent: Agent
    learner: Learner
    collector: Episodes
    replay: Replay
    sampler: Sampler | Mixture
    progress: Progress
    demonstrations: Sampler | None = None
    """What makes batches of demonstrations alone; `sampler` takes its share of each batch from there too."""

    def parts(self) -> dict[str, Any]:
        """Return what holds state, by its name in a checkpoint."""
        found = {
            "agent": self.agent,
            "learner": self.learner,
            "collector": self.collector,
            "replay": self.replay,
            "sampler": self.sampler.pick,
            "progress": self.progress,
        }
        return {**found, "demonstrations": self.demonstrations.pick} if self.demonstrations else found


def prepare(
    agent: Agent,
    envs: EnvGroup | Crew,
    progress: Progress,
    goals: Goals | None = None,
    demonstrations: Replay | None = None,
) -> Training:
    """Return all parts of a run before its first step; no episode has begun. `goals` are for hindsight."""
    config, pictures = agent.config, agent.spaces.observations.pictures
    if config.augment != "none" and not pictures:
        raise UsageError(
            f"--augment {config.augment} is for pictures, but no part of the observation is one: a Box of type uint8 "
            f"and shape (H, W), (H, W, C) or (C, H, W), with sides of {SMALLEST} or more; give --augment none"
        )
    replay = Replay(config.buffer_size, len(envs), columns_of(agent.spaces, config.frame_stack))
    sampler: Sampler | Mixture
    sampler, prior = _sampler(config, replay, generator(config.seed, Stream.SAMPLING), goals, pictures), None
    if demonstrations is not None:
        prior = _sampler(config, demonstrations, generator(config.seed, Stream.DEMONSTRATIONS), goals, pictures)
        sampler = Mixture(sampler, prior, config.demonstration_rows)
        progress.owed = float(config.offline_steps)
    return Training(
        agent=agent,
        learner=Learner(agent),
        collector=Collectors(envs, agent, progress) if isinstance(envs, Crew) else Collector(envs, config.seed),
        replay=replay,
        sampler=sampler,
        progress=progress,
        demonstrations=prior,
    )


def _sampler(
    config: Config, replay: Replay, random: np.random.Generator, goals: Goals | None, pictures: Sequence[Picture]
) -> Sampler:
    """Return what makes batches of a replay memory as the settings have it."""
    fold = one_step(config.gamma, value(replay, "obs"))
    pick: Pick = UniformPick(replay, random)
    if config.priorities:
        pick = prioritised = PrioritisedPick(replay, random, config.priorities, config.priority_beta)
        fold = {**fold, "weight": prioritised.weight}
    transforms: list[Transform] = []
    if goals:
        share = config.hindsight / (config.hindsight + 1.0)
        transforms.append(Hindsight(replay, random, goals, share, config.hindsight_strategy, config.gamma))
    if config.n_step > 1:
        transforms.append(look_ahead(config.n_step))
    if config.augment == "shift":
        transforms.append(Shift(random, pictures))
    return Sampler(replay, pick, fold, config.batch_size, transforms)
