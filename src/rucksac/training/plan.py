"""What a run is made of, from what a person asks for or from the folder of an earlier one."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from rucksac.algorithm.recipes import DEFAULT
from rucksac.algorithm.recipes import recipe as find_recipe
from rucksac.config import Config, with_settings
from rucksac.environments.making import EnvSource
from rucksac.errors import UsageError
from rucksac.training.callbacks import Callback
from rucksac.training.cluster import check_address
from rucksac.training.folder import RunFolder, path_of, threads_of
from rucksac.training.starting import Origin, origin_of, settings_from
from rucksac.training.tracking import Memory, chosen


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run is made of; `threads` are those that a run to go on with had, `origin` is where a run starts from.

    `ray` is the address of the Ray cluster where collectors act, None for this machine. Raises `UsageError` where that
    cannot be.
    """

    env: EnvSource
    config: Config
    recipe: str
    policy: nn.Module | None = None
    critic: nn.Module | None = None
    threads: int | None = None
    origin: Origin | None = None
    callbacks: tuple[Callback, ...] = ()
    track: tuple[str, ...] = ()
    video_every: int = 0
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.ray is None:
            return
        if not self.config.collectors:
            raise UsageError("--ray says where collectors act, but there are none; give --collectors 2 or more too")
        if self.config.control_rate:
            raise UsageError(
                f"--control-rate {self.config.control_rate:g} has a clock, and calls over a network come when they "
                "may, so --ray does not go with it; leave one of them out"
            )
        check_address(self.ray)


def beginning(
    recipe: str | None, start_from: str | Path | None, with_replay: bool = False
) -> tuple[Config, str, Origin | None]:
    """Return the settings that a run has unless others are given, the recipe they are called by, and where it starts.

    Raises `UsageError` for a recipe or a run that does not exist, and for both together.
    """
    if not isinstance(with_replay, bool):
        raise UsageError(f"start_with_replay is {with_replay!r}, but must be True or False")
    if start_from is None:
        if with_replay:
            raise UsageError("--start-with-replay needs --start-from RUN, whose replay memory is meant")
        return find_recipe(recipe or DEFAULT).config, recipe or DEFAULT, None
    if recipe is not None:
        raise UsageError("--recipe and --start-from both say which settings a run has; give one of them")
    folder = path_of(start_from)
    return *settings_from(folder), Origin(folder, with_replay)


def plan_of(
    run: Path,
    env: EnvSource | None = None,
    steps: int | None = None,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
    track: Sequence[str] | None = None,
    video_every: int | None = None,
    ray: str | None = None,
) -> Plan:
    """Return what the run in this folder was made of; raise `UsageError` when something is missing.

    What is given takes the place of what the run had.
    """
    saved = RunFolder.open(run).read_config()
    source = env if env is not None else saved["environment"]
    if source is None:
        raise UsageError(f"{run} was trained with an environment made by a function; give it again")
    config = Config.from_json(saved["settings"])
    if steps is not None:
        config = with_settings(config, {"steps": steps})
    trackers = chosen(Memory(run), run, track, video_every)
    return Plan(
        source, config, saved["recipe"], policy, critic, threads_of(saved), origin_of(saved), (), *trackers, ray
    )
