"""The command that searches for good settings."""

import dataclasses
import importlib.util
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from rucksac.algorithm.recipes import DEFAULT, recipe
from rucksac.commands.parsing import Address, Command, settings_of
from rucksac.commands.quiet import aside, hushed
from rucksac.config import Config, with_settings
from rucksac.errors import UsageError
from rucksac.settings_text import spelled_out, to_toml
from rucksac.text import interval


@dataclass(frozen=True)
class Tune(Command):
    """Search for good settings and train the best ones again with fresh seeds.

    Each trial is trained with several seeds and ends early when it is below the median of others at the same step. The
    same command goes on where a search was interrupted, or adds trials. See docs/tuning.md.
    """

    takes: ClassVar[str] = "ENV"
    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Environment id, such as Pendulum-v1; for your own, module:Name-v0 or module:function."""
    trials: int = 30
    """Trials in all; the first has the settings that the search starts from."""
    seeds: str = "1-2"
    """Seeds of every trial, such as 1-3."""
    fresh_seeds: str = "101-105"
    """Seeds that the best settings are trained again with."""
    space: Path | None = None
    """TOML file with the settings to vary and their values; those of docs/tuning.md if not given."""
    jobs: int | None = None
    """Runs at once, each with one thread; as many as there are processors if not given."""
    ray: Address = None
    """Ray cluster where runs are trained; one of this machine alone without an address."""
    recipe: str = DEFAULT
    """Named settings to begin with; see: rucksac recipes."""
    config: Path | None = None
    """TOML file with settings; it overrides the recipe, flags override it."""
    run_folder: Annotated[Path | None, tyro.conf.arg(name="run")] = None
    """Folder to write to; runs/ENV-RECIPE-tuning if not given."""
    quiet: bool = False
    """Print nothing but errors."""
    json: bool = False
    """Print the result as one JSON object on standard output."""
    settings: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default_factory=Config)

    @classmethod
    def defaults(cls, words: list[str]) -> "Tune":
        """Return the settings of the recipe, and of the settings file, that the words name."""
        return cls(env=tyro.MISSING, settings=settings_of(words))

    def run(self) -> int:
        if not importlib.util.find_spec("optuna"):
            raise UsageError('tune needs the package optuna; pip install "rucksac[tune]"')
        with hushed(self.quiet), aside(self.json):
            found, code = self._search()
        if self.json:
            print(json.dumps(found))
        elif not self.quiet:
            print(self._told(found))
        return code

    def _search(self) -> tuple[dict[str, Any], int]:
        from rucksac.training.places import place_of
        from rucksac.training.seeds import parse_seeds
        from rucksac.tuning.space import DEFAULT as USUAL
        from rucksac.tuning.space import read_space
        from rucksac.tuning.study import Question, Search

        seeds, fresh = parse_seeds(self.seeds), parse_seeds(self.fresh_seeds)
        for name, given in (("--trials", self.trials), ("--jobs", self.jobs)):
            if given is not None and given < 1:
                raise UsageError(f"{name} is {given}, but must be at least 1")
        if both := sorted(set(seeds) & set(fresh)):
            raise UsageError(f"seed {both[0]} is in --seeds and in --fresh-seeds, which must be others; change one")
        name = re.sub(r"[^\w.-]+", "-", self.env) + f"-{self.recipe}-tuning"
        folder = (self.run_folder or Path("runs") / name).expanduser()
        config = dataclasses.replace(self.settings, threads=1)
        question = Question(self.env, self.recipe, config, read_space(self.space or USUAL), seeds, fresh)
        with place_of(self.ray, threads=1) as place:
            found, code = Search(question, folder, self.trials, self.jobs, self.quiet, place).run()
        if found["best"]:
            best = with_settings(self.settings, found["best"]["settings"])
            values = {**spelled_out(best, recipe(self.recipe).config), **found["best"]["settings"]}
            values.pop("seed", None)
            (folder / "best.toml").write_text(to_toml(values))
            found["config"] = str(folder / "best.toml")
        return found, code

    def _told(self, found: dict[str, Any]) -> str:
        """Return what is shown of a search: how many trials, the best one, its seeds, what to do with it."""
        trials, best = found["trials"], found["best"]
        ends = {"complete": "to the end", "pruned": "ended early", "fail": "failed", "running": "interrupted"}
        lines = [
            ", ".join(f"{trials[name]} {words}" for name, words in ends.items() if trials[name]) + " of the trials"
        ]
        if best:
            lines.append(f"best: trial {best['trial'] + 1}, return {best['return']:.1f} with seeds {self.seeds}")
            lines += [f"  {line}" for line in to_toml(best["settings"]).splitlines()]
        if over := found.get("again", {}).get("over_seeds"):
            lines.append(f"again with fresh seeds {self.fresh_seeds}: {over['mean']:.1f}, {interval(over['ci95'])}")
        if not found["finished"]:
            lines.append("The same command goes on.")
        elif best:
            words = ["rucksac", "train", self.env, *(["--recipe", self.recipe] if self.recipe != DEFAULT else [])]
            lines.append(f"Next:  {shlex.join([*words, '--config', found['config']])}")
        return "\n".join(lines)
