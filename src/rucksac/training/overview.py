"""What the logs of a run say at a glance: read without PyTorch and without checking checkpoints, which `info` does."""

import csv
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.training.folder import RunFolder
from rucksac.training.logs import last_rows

SEED_FOLDER = re.compile(r"seed(\d+)")
TRACES = ("config.json", "metrics.csv", "episodes.csv", "evaluations.csv", "summary.json", "checkpoints")
STATES = ("running", "stopped", "finished", "broken")
# Settings that change what is seen of a run or how long it is, not what it learns.
WITHOUT_INFLUENCE = {name for name in Config.__dataclass_fields__ if name.endswith("_every")} - {"target_every"}
WITHOUT_INFLUENCE |= {"seed", "steps", "eval_episodes", "threads", "compile"}


class Curve(NamedTuple):
    """The evaluations of a run: steps (E,) before each, and its mean return (E,)."""

    steps: list[int]
    returns: list[float]


class Glance(NamedTuple):
    """A run as a list of runs shows it; what a broken one does not say is None."""

    run: str
    environment: str | None
    recipe: str | None
    seed: int | None
    env_steps: int
    steps: int | None
    best: float | None
    last: float | None
    state: str
    problem: str | None


def find_runs(folder: Path) -> list[Path]:
    """Return the runs in a folder as `runs_in` does; raise `UsageError` when there is none."""
    if not (found := runs_in(folder)):
        raise UsageError(f"{folder} holds no runs; give the folder that `rucksac train` writes them to")
    return found


def runs_in(folder: Path) -> list[Path]:
    """Return what looks like a run in `folder` or up to two levels below it; raise `UsageError` when it is no folder.

    A folder with any file of a run counts, so that broken ones are found too.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the one that holds the runs")
    found: set[Path] = set()
    for path in (folder, *folder.glob("*/"), *folder.glob("*/*/")):
        if found.isdisjoint(path.parents) and _looks_like_a_run(path):
            found.add(path)
    return sorted(found, key=lambda path: [_natural(part) for part in path.parts])


def _looks_like_a_run(path: Path) -> bool:
    try:
        return any((path / trace).exists() for trace in TRACES)
    except PermissionError:  # it is listed as one that cannot be read
        return True


def _natural(name: str) -> list[tuple[int, str]]:
    """Return what sorts seed2 before seed10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def glance(run: Path, name: str | None = None) -> Glance:
    """Return what is known of a run, whatever its folder holds; `name` is what the answer calls it."""
    name = name or str(run)
    try:
        occupant = RunFolder(run).occupant()
        saved = RunFolder(run).read_config()
        config = Config.from_json(saved["settings"])
        curve = evaluations(run)
        done, stopped = progress(run)
    except (UsageError, OSError, ValueError, RecursionError, csv.Error) as error:
        return broken(name, str(error) or type(error).__name__)
    over = done >= config.steps and not stopped
    state = "running" if occupant is not None else "finished" if over else "stopped"
    returns = [value if math.isfinite(value) else None for value in curve.returns]
    best = max((value for value in returns if value is not None), default=None)
    last = returns[-1] if returns else None
    environment = saved["environment"]
    return Glance(name, environment, saved["recipe"], config.seed, done, config.steps, best, last, state, None)


def broken(name: str, problem: str) -> Glance:
    """Return what a list shows of a run that cannot be read."""
    return Glance(name, None, None, None, 0, None, None, None, "broken", problem)


def progress(run: Path) -> tuple[int, bool]:
    """Return how many environment steps the logs tell of, and whether the run was asked to stop before its end."""
    summary: dict[str, Any] = RunFolder(run).read_summary() if (run / "summary.json").is_file() else {}
    rows = last_rows(run / "metrics.csv", 1) + last_rows(run / "evaluations.csv", 1)
    steps = [int(row["env_steps"]) for row in rows if (row.get("env_steps") or "").isdecimal()]
    if isinstance(told := summary.get("env_steps"), int):
        steps.append(told)
    return max(steps, default=0), summary.get("finished") is not True


def evaluations(run: Path) -> Curve:
    """Return every whole evaluation of a run; raise `UsageError` when evaluations.csv is damaged.

    A last one with fewer episodes than the first is under way and does not count.
    """
    file, episodes, totals = run / "evaluations.csv", Counter[int](), dict[int, float]()
    if not file.is_file():
        return Curve([], [])
    try:
        text = file.read_text()
        for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
            step = int(row["env_steps"])
            totals[step] = totals.get(step, 0.0) + float(row["return"])
            episodes[step] += 1
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); let this user read it") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UsageError(f"{file} is damaged ({error}); put the whole file back") from error
    steps = sorted(totals)
    if steps and episodes[steps[-1]] < episodes[steps[0]]:
        steps.pop()
    return Curve(steps, [totals[step] / episodes[step] for step in steps])


def members(folder: Path) -> list[Path]:
    """Return the folders of the seeds in a common folder, none when it is not one."""
    found = [path for path in folder.iterdir() if SEED_FOLDER.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("seed")))
