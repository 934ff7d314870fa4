"""The commands that train: from nothing, and from where a run was interrupted."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from rucksac.commands import wording
from rucksac.commands.parsing import Address, Command, settings_of
from rucksac.commands.quiet import aside, hushed
from rucksac.config import Config
from rucksac.errors import TrainingStopped, UsageError

if TYPE_CHECKING:
    from rucksac.training.console import Console
    from rucksac.training.run import Result
    from rucksac.training.starting import Origin


@dataclass(frozen=True)
class Train(Command):
    """Train an agent and write everything about it to a run folder.

    The environment's own arguments are given as --env.NAME VALUE.
    """

    takes: ClassVar[str] = "ENV"
    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Environment id, such as Pendulum-v1; for your own, module:Name-v0 or module:function."""
    recipe: str | None = None
    """Named settings to begin with, rucksac if not given; see: rucksac recipes."""
    start_from: Path | None = None
    """Folder of a run: the new run has its settings and begins with its trained agent, without random steps."""
    start_with_replay: bool = False
    """Take over that run's replay memory too."""
    config: Path | None = None
    """TOML file with settings; it overrides the recipe, flags override it."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder to write to; runs/ENV-RECIPE-seedN if not given."""
    seeds: str | None = None
    """Several seeds, such as 1-10 or 1,3,5-7: a process and a folder for each, as many at once as processors allow."""
    track: tuple[str, ...] = ()
    """Trackers to log to beside the CSV files: tensorboard, wandb, mlflow, trackio; each is an extra of rucksac."""
    video_every: int = 0
    """Film one episode of every so many evaluations, and of the last, for the run's folder and its trackers; 0 films
    nothing."""
    ray: Address = None
    """Ray cluster where collectors act; one of this machine alone without an address."""
    quiet: bool = False
    """Print nothing but errors."""
    json: bool = False
    """Print the summary as one JSON object on standard output."""
    settings: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default_factory=Config)

    @classmethod
    def defaults(cls, words: list[str]) -> "Train":
        """Return the settings of the recipe, and of the settings file, that the words name."""
        return cls(env=tyro.MISSING, settings=settings_of(words))

    def run(self) -> int:
        with hushed(self.quiet):
            return self._run()

    def _run(self) -> int:
        from rucksac.training.console import Console
        from rucksac.training.folder import next_free
        from rucksac.training.plan import Plan, beginning
        from rucksac.training.tracking import checked
        from rucksac.training.train import train_run

        _, recipe, origin = beginning(self.recipe, self.start_from, self.start_with_replay)
        name = re.sub(r"[^\w.-]+", "-", self.env) + f"-{recipe}"
        if self.seeds is not None:
            _refuse_several(self.ray)
            return self._run_seeds(self.seeds, f"{name}-seeds{self.seeds.replace(',', '-')}", recipe, origin)
        folder = self.run_folder or next_free(Path("runs") / f"{name}-seed{self.settings.seed}")
        trackers = checked(self.track, self.video_every, folder)
        plan = Plan(self.env, self.settings, recipe, None, None, None, origin, (), *trackers, self.ray)
        console = None if self.quiet else Console(self.settings.steps)
        with aside(self.json):
            result = train_run(plan, folder, console)
        return _report(result, folder, self.json, console)

    def _run_seeds(self, text: str, name: str, recipe: str, origin: "Origin | None") -> int:
        from rucksac.training.folder import next_free
        from rucksac.training.overview import members
        from rucksac.training.seeds import parse_seeds, prepare_group
        from rucksac.training.tracking import Memory, checked

        seeds = parse_seeds(text)
        folder = self.run_folder or next_free(Path("runs") / name)
        trackers = checked(self.track, self.video_every, folder)
        prepare_group(self.env, self.settings, recipe, folder, seeds, origin)
        for member in members(folder):
            Memory(member).choose(*trackers)
        return _run_group(folder, self.quiet, self.json)


@dataclass(frozen=True)
class Resume(Command):
    """Go on with an interrupted run, exactly as if nothing had happened."""

    takes: ClassVar[str] = "RUN"
    no_settings: ClassVar[str] = (
        "a run keeps its settings; begin a new one with its agent: rucksac train ENV --start-from RUN"
    )
    no_env_args: ClassVar[str] = "keeps the environment of its run; train a new one with --start-from RUN and"
    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of the run, or the common folder of several seeds."""
    steps: int | None = None
    """Environment steps to train for in all; gives a finished run more."""
    track: tuple[str, ...] | None = None
    """Trackers to go on with, those that the run has if not given; --track alone goes on without."""
    video_every: int | None = None
    """Film one episode of every so many evaluations; as the run does if not given."""
    ray: Address = None
    """Ray cluster where collectors act; one of this machine alone without an address."""
    quiet: bool = False
    """Print nothing but errors."""
    json: bool = False
    """Print the summary as one JSON object on standard output."""

    def run(self) -> int:
        with hushed(self.quiet):
            return self._run()

    def _run(self) -> int:
        from rucksac.training.console import Console
        from rucksac.training.overview import members
        from rucksac.training.plan import plan_of
        from rucksac.training.seeds import extend_group, is_group
        from rucksac.training.tracking import Memory, chosen
        from rucksac.training.train import resume_run

        if is_group(self.run_folder):
            _refuse_several(self.ray)
            if self.steps is not None:
                extend_group(self.run_folder, self.steps)
            for member in members(self.run_folder):
                memory = Memory(member)
                memory.choose(*chosen(memory, member, self.track, self.video_every))
            return _run_group(self.run_folder, self.quiet, self.json)
        plan = plan_of(self.run_folder, steps=self.steps, track=self.track, video_every=self.video_every, ray=self.ray)
        console = None if self.quiet else Console(plan.config.steps)
        with aside(self.json):
            result = resume_run(plan, self.run_folder, console)
        return _report(result, self.run_folder, self.json, console)


def _refuse_several(ray: str | None) -> None:
    if ray is not None:
        raise UsageError(
            "--ray is for the collectors of one run, not for several seeds; leave it out, or give them to rucksac "
            "sweep, which has its runs on a Ray cluster"
        )


def _report(result: "Result", folder: Path, as_json: bool, console: "Console | None") -> int:
    if as_json:
        print(json.dumps({"run": str(folder), **result.summary}))
    if not result.summary["saved"]:
        raise TrainingStopped(f"it is over, but the last state could not be saved to {folder}")
    if console:
        console.finish(result.summary, folder)
    return result.stop.exit_code


def _run_group(folder: Path, quiet: bool, as_json: bool) -> int:
    from rucksac.training.group import Group
    from rucksac.training.overview import members

    summary, code = Group(folder, members(folder), quiet).run()
    if as_json:
        print(json.dumps(summary))
    elif not quiet:
        print(wording.group(summary, folder, code))
    return code
