"""A grid of settings on disk: a folder for each setting, in it a folder for each seed."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from rucksac.config import DECLARED, Config, with_settings
from rucksac.errors import UsageError
from rucksac.training.claim import claim
from rucksac.training.folder import RunFolder
from rucksac.training.seeds import prepare_group
from rucksac.training.starting import Origin

FILE = "sweep.json"
ENV_ARG = "env."  # before the name of an argument of the environment
Grid = dict[str, list[Any]]
"""The values of each setting that is varied, by its name."""


class Setting(NamedTuple):
    """One point of a grid: the name of its folder, and all settings of its runs but the seed."""

    name: str
    config: Config


@dataclass(frozen=True)
class Sweep:
    """What is trained: each of `settings` with each of `seeds`; `base` is what all settings share."""

    env: str
    recipe: str
    base: Config
    settings: list[Setting]
    seeds: list[int]
    origin: Origin | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what must stay the same when settings or seeds are added."""
        values = {"environment": self.env, "recipe": self.recipe, "settings": self.base.to_json()}
        return {**values, "origin": self.origin and self.origin.to_json()}


def combinations(base: Config, grid: Grid) -> list[Setting]:
    """Return every combination of the values in a grid; the first has the first value of each setting.

    Raises `UsageError`, naming the combination, for values that do not go together.
    """
    found = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        env_args = {name.removeprefix(ENV_ARG): v for name, v in chosen.items() if name.startswith(ENV_ARG)}
        settings = {name: value for name, value in chosen.items() if not name.startswith(ENV_ARG)}
        name = _name(chosen)
        try:
            config = with_settings(base, {**settings, "env_args": {**base.env_args, **env_args}})
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from error
        found.append(Setting(name, config))
    return found


@contextmanager
def prepared(sweep: Sweep, folder: Path, at_once: int | None) -> Iterator[list[Path]]:
    """Make a folder for each run that has none; give those of all runs, in the order in which they are to begin.

    Every setting is trained with the first seed before any is trained with the second. Other processes are kept out.
    Raises `UsageError` when the folder is used for something else, or for a setting that cannot be trained; nothing
    is then left behind.
    """
    begins = not (folder / FILE).exists()
    claim(folder, FILE, sweep.to_json(), "sweep")
    with RunFolder(folder).alone():
        new = folder / ".new"
        shutil.rmtree(new, ignore_errors=True)
        try:
            for name, config in sweep.settings:
                missing = [seed for seed in sweep.seeds if not (folder / name / f"seed{seed}").exists()]
                if missing:
                    prepare_group(sweep.env, config, sweep.recipe, new / name, missing, sweep.origin, at_once)
        except UsageError:
            shutil.rmtree(folder if begins else new)
            raise
        for run in sorted(new.glob("*/seed*")):
            (folder / run.parent.name).mkdir(exist_ok=True)
            run.rename(folder / run.parent.name / run.name)
        shutil.rmtree(new, ignore_errors=True)
        yield [folder / setting.name / f"seed{seed}" for seed in sweep.seeds for setting in sweep.settings]


def _name(chosen: dict[str, Any]) -> str:
    """Return the name of a folder, such as lr=0.0003,hidden=64x64: the same whatever order the values came in."""
    order = [*DECLARED, *sorted(chosen)]
    return ",".join(f"{name.replace('_', '-')}={_word(chosen[name])}" for name in sorted(chosen, key=order.index))


def _word(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "x".join(map(_word, value))
    return quote(str(value), safe="")
