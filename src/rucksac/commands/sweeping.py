"""The command that trains a grid of settings with several seeds each, and compares them."""

import dataclasses
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import tyro

from rucksac.commands import wording
from rucksac.commands.parsing import ENV_ARG, Address, Command, parse, settings_of
from rucksac.commands.quiet import aside, hushed
from rucksac.commands.training import Train
from rucksac.config import DECLARED, Config, flag
from rucksac.errors import UsageError
from rucksac.settings_text import check_name, settings_from_file
from rucksac.text import shortened

if TYPE_CHECKING:
    from rucksac.training.sweep import Grid, Setting

Sets = Annotated[
    tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="set", metavar="NAME VALUE ...")
]


@dataclass(frozen=True)
class Sweep(Command):
    """Train every combination of some settings with several seeds, and compare them.

    --set lr 1e-4 3e-4 --set hidden "64 64" "256 256" makes four settings. A value is what the flag of train takes, in
    quotes where that is several words. The same command goes on after an interruption, and more values or seeds are
    added to what is there. See docs/sweeps.md.
    """

    takes: ClassVar[str] = "ENV"
    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Environment id, such as Pendulum-v1; for your own, module:Name-v0 or module:function."""
    sets: Sets = ()
    """A setting and the values it takes, such as lr 1e-4 3e-4; give it again for each further setting."""
    seeds: str = "1-5"
    """Seeds of every setting, such as 1-10 or 1,3,5-7."""
    jobs: int | None = None
    """Runs at once; as many as there are processors for if not given."""
    ray: Address = None
    """Ray cluster where runs are trained; one of this machine alone without an address."""
    recipe: str | None = None
    """Named settings to begin with, rucksac if not given; see: rucksac recipes."""
    start_from: Path | None = None
    """Folder of a run: every run has its settings and begins with its trained agent, without random steps."""
    start_with_replay: bool = False
    """Take over that run's replay memory too."""
    config: Path | None = None
    """TOML file with settings; it overrides the recipe, flags override it."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder to write to; runs/ENV-RECIPE-sweep if not given."""
    track: tuple[str, ...] = ()
    """Trackers to log every run to: tensorboard, wandb, mlflow, trackio; each is an extra of rucksac."""
    video_every: int = 0
    """Film one episode of every so many evaluations, and of the last, of every run; 0 films nothing."""
    quiet: bool = False
    """Print nothing but errors."""
    json: bool = False
    """Print how every run ended, and the comparison, as one JSON object on standard output."""
    settings: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default_factory=Config)

    @classmethod
    def defaults(cls, words: list[str]) -> "Sweep":
        """Return the settings of the recipe, and of the settings file, that the words name."""
        return cls(env=tyro.MISSING, settings=settings_of(words))

    def run(self) -> int:
        with hushed(self.quiet), aside(self.json):
            found, code = self._run()
        if self.json:
            print(json.dumps(found, allow_nan=False))
        elif not self.quiet:
            print(wording.sweep(found))
        return code

    def _run(self) -> tuple[dict[str, Any], int]:
        from rucksac.training.group import Group
        from rucksac.training.group_display import settings_table
        from rucksac.training.places import place_of
        from rucksac.training.plan import beginning
        from rucksac.training.seeds import parse_seeds
        from rucksac.training.sweep import Sweep as Planned
        from rucksac.training.sweep import combinations, prepared
        from rucksac.training.tracking import Memory, checked

        base, recipe, origin = beginning(self.recipe, self.start_from, self.start_with_replay)
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"--jobs is {self.jobs}, but must be at least 1")
        grid = self._grid(settings_from_file(self.config, base) if self.config else base)
        settings, seeds = combinations(self.settings, grid), parse_seeds(self.seeds)
        name = re.sub(r"[^\w.-]+", "-", self.env) + f"-{recipe}-sweep"
        folder = (self.run_folder or Path("runs") / name).expanduser()
        trackers = checked(self.track, self.video_every, folder)
        planned = Planned(self.env, recipe, self.settings, settings, seeds, origin)
        threads = max(each.config.threads or 1 for each in settings)
        at_once = self.jobs if self.ray is None else 1  # on this machine, whose memory is looked at
        with place_of(self.ray, threads) as place, prepared(planned, folder, at_once) as runs:
            for run in runs:
                Memory(run).choose(*trackers)
            summary, code = Group(folder, runs, self.quiet, self.jobs, settings_table, place).run()
        found = {"run": str(folder), "runs": summary["seeds"], "final_returns": summary["final_returns"]}
        over = code in (0, 1)  # any other is of a signal
        comparison, notes = _compared(folder, settings, seeds) if over else (None, [])
        return {**found, "over": over, "comparison": comparison, "notes": notes}, code

    def _grid(self, base: Config) -> "Grid":
        """Return what --set says; raise `UsageError` for what cannot be read. `base` has no flag yet."""
        grid: Grid = {}
        for words in self.sets:
            if not words:
                raise UsageError("--set needs a setting and its values, such as --set lr 1e-4 3e-4")
            name, *values = [words[0].replace("-", "_"), *words[1:]]
            if "=" in name:
                raise UsageError(f"--set {words[0]} must have a blank in place of =: --set NAME VALUE VALUE")
            if name == "seed":
                raise UsageError("--set varies seed, but --seeds says with which seeds each setting is trained")
            if flag(name).startswith(ENV_ARG):
                taken = self.settings.env_args.get(name.partition(".")[2]) is not None
            else:
                check_name("--set", name)
                taken = getattr(self.settings, name) != getattr(base, name)
            if taken:
                raise UsageError(f"{flag(name)} and --set {name} both say what it is; leave one of them out")
            if not values or name in grid:
                raise UsageError(f"--set {name} must be given once, with all its values: --set {name} VALUE VALUE")
            grid[name] = [self._value(name, value) for value in values]
            if len(set(map(repr, grid[name]))) < len(values):
                raise UsageError(f"--set {name} has one value twice: {' '.join(values)}; give each once")
        if max(map(len, grid.values()), default=0) < 2:
            raise UsageError("sweep needs a setting with two values or more, such as --set lr 1e-4 3e-4")
        return grid

    def _value(self, name: str, value: str) -> Any:
        """Return the value of a setting that the words behind its flag stand for."""
        if name not in DECLARED:
            words = [f"{flag(name)}={value}"]
        elif isinstance(getattr(self.settings, name), bool):
            if value.lower() not in ("true", "false"):
                raise UsageError(f"--set {name} has {shortened(value)}, but must be true or false")
            words = [flag(name if value.lower() == "true" else f"no_{name}")]
        else:
            words = [flag(name), *value.split()]
        settings = cast(Train, parse("train", Train, [self.env, *words])).settings
        return getattr(settings, name) if name in DECLARED else next(iter(settings.env_args.values()))


def _compared(folder: Path, settings: "Sequence[Setting]", seeds: list[int]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the first setting against each other one, None where that cannot be, and why anything was left out."""
    from rucksac.compare.alignment import Question
    from rucksac.compare.comparison import compare
    from rucksac.compare.reading import read_group
    from rucksac.compare.wording import verdict

    groups, notes = [], []
    for setting in settings:
        try:
            group = read_group([folder / setting.name / f"seed{seed}" for seed in seeds])
            groups.append(dataclasses.replace(group, name=setting.name))
        except UsageError as error:
            notes.append(str(error))
    try:
        if len(groups) < 2:
            raise UsageError("fewer than two settings have an evaluation")
        found = compare(groups, Question())
    except UsageError as error:
        return None, [*notes, str(error)]
    for each in found["comparisons"]:
        each["verdict"] = verdict(found, each)
    return found, notes
