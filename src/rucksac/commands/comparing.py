"""The commands that look at many runs: which of two settings is better, and what runs there are."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from rucksac.commands.parsing import Command
from rucksac.errors import UsageError
from rucksac.text import printable, table
from rucksac.training.overview import STATES, Glance, find_runs, glance

Paths = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
Against = Annotated[tuple[tuple[Path, ...], ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="RUN [RUN ...]")]
Column = Literal["name", "environment", "recipe", "progress", "best", "last", "state"]
KEYS: dict[str, Callable[[Glance], Any]] = {  # runs come in the order of their names
    "name": lambda _: 0,
    "environment": lambda each: each.environment or "",
    "recipe": lambda each: each.recipe or "",
    "progress": lambda each: -each.env_steps / each.steps if each.steps else 1.0,
    "best": lambda each: math.inf if each.best is None else -each.best,
    "last": lambda each: math.inf if each.last is None else -each.last,
    "state": lambda each: STATES.index(each.state),
}


@dataclass(frozen=True)
class Compare(Command):
    """Say which of two settings is better, or that these runs do not tell and how many more would.

    RUN is the folder of a run, the common folder of several seeds, or a CSV file (also .csv.gz) with the columns seed,
    steps (or env_steps), return, and where there are several tasks, task.
    """

    takes: ClassVar[str] = "RUN..."
    runs: Paths
    """Runs of the one setting."""
    against: Against = ()
    """Runs of the other; give it again for every further setting, each is compared with the first."""
    by: Literal["last", "area"] = "last"
    """What decides: the last evaluation, or the area under the curve divided by the steps."""
    threshold: float | None = None
    """Return to tell the steps and minutes to."""
    steps: int | None = None
    """Compare at this step, without runs that do not get there; as far as the shortest run goes if not given."""
    paired: bool = False
    """Decide by the differences of runs with the same seed."""
    json: bool = False
    """Print one JSON object with every run, curve, interval and profile."""

    def run(self) -> int:
        from rucksac.compare.alignment import Question
        from rucksac.compare.comparison import compare
        from rucksac.compare.reading import read_group
        from rucksac.compare.wording import text, verdict

        if not self.runs or not self.against or not all(self.against):
            raise UsageError("compare needs runs of two settings; give RUN [RUN ...] --against RUN [RUN ...]")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"--steps is {self.steps}, but must be at least 1")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise UsageError(f"--threshold is {self.threshold}, but must be a return, a finite number")
        question = Question(self.by, self.steps, self.paired, self.threshold)
        found = compare([read_group(paths) for paths in (self.runs, *self.against)], question)
        if self.json:
            for each in found["comparisons"]:
                each["verdict"] = verdict(found, each)
            print(json.dumps(found, allow_nan=False))
        else:
            print(text(found))
        return 0


@dataclass(frozen=True)
class Runs(Command):
    """List the runs in a folder: how far each is, its best and last evaluation, and whether it still runs."""

    takes: ClassVar[str] = "[FOLDER]"
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """Folder that holds the runs, up to two levels deep."""
    sort: Column = "name"
    """Column to sort by; numbers begin with the largest."""
    json: bool = False
    """Print a JSON array with an object for each run."""

    def run(self) -> int:
        found = []
        for path in find_runs(self.folder):
            inside = path.relative_to(self.folder)
            found.append(glance(path, str(inside) if inside.parts else str(path)))
        found.sort(key=KEYS[self.sort])
        print(json.dumps([each._asdict() for each in found]) if self.json else _listing(found))
        return 0


def _listing(found: list[Glance]) -> str:
    """Return a line for each run, and one for each that is broken."""
    rows = [["run", "environment", "recipe", "steps", "of", "best", "last", "state"]]
    for each in found:
        rows.append(
            [
                each.run,
                each.environment or ("" if each.problem else "own environment"),
                each.recipe or "",
                f"{each.env_steps:,}",
                "" if each.steps is None else f"{each.steps:,}",
                "" if each.best is None else f"{each.best:,.1f}",
                "" if each.last is None else f"{each.last:,.1f}",
                each.state,
            ]
        )
    lines = table([[printable(cell) for cell in row] for row in rows])
    return "\n".join([lines, *(printable(f"{each.run}: {each.problem}") for each in found if each.problem)])
