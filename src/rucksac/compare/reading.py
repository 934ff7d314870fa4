"""From paths to runs: run folders, folders of seeds, and CSV files of anyone's."""

import csv
import gzip
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rucksac.errors import UsageError
from rucksac.text import count, shortened
from rucksac.training.folder import RunFolder
from rucksac.training.overview import SEED_FOLDER, WITHOUT_INFLUENCE, evaluations, glance, members

LARGEST = 1e100  # whose square is a number still
OF_THE_TASK = ("env_args", "eval_env", "frame_skip", "time_limit")  # settings that change what a return means
OUR_EVALUATIONS = ["env_steps", "episode", "seed", "return", "length"]


@dataclass(frozen=True, eq=False)
class Run:
    """One run: its evaluations by environment step, and what is known of it."""

    source: str
    task: str | None  # None where a file does not say
    seed: int
    steps: np.ndarray  # (E,), increasing
    returns: np.ndarray  # (E,)
    seconds: np.ndarray | None  # (E,) on the clock, None where nobody wrote them down
    state: str = "finished"
    planned: int | None = None  # steps that it was meant to have
    settings: tuple[tuple[str, str], ...] = ()  # that influence what it learns
    machine: str | None = None


@dataclass(frozen=True)
class Group:
    """The runs that stand for one of the things compared, and what had to be left out of them."""

    name: str
    runs: list[Run]
    left_out: list[str]


def read_group(paths: Iterable[Path]) -> Group:
    """Return the runs of one group; raise `UsageError` for what is no run, and for a run that is there twice."""
    given = list({path.resolve(): path for path in paths}.values())
    runs: list[Run] = []
    left_out: list[str] = []
    for path in given:
        if path.is_dir():
            for folder in _folders(path):
                _read_folder(folder, runs, left_out)
        else:
            runs += _read_file(path)
    seen: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        key = (run.task, run.seed, run.steps.tobytes(), run.returns.tobytes())
        if key in seen:
            raise UsageError(
                f"{seen[key].source} and {run.source} have one seed and equal evaluations, so they are one run; "
                "give one of them"
            )
        seen[key] = run
    name = _name(given)
    if not runs:
        raise UsageError(f"{name} has no run to compare: {'; '.join(left_out)}")
    return Group(name, runs, left_out)


def _name(paths: list[Path]) -> str:
    """Return what the names of the paths have in common, without the seed, or else their folder's name."""
    names = [re.sub(r"\.csv(\.gz)?$", "", path.name) for path in paths]
    if len(names) == 1:
        return f"{paths[0].parent.name}/{names[0]}" if SEED_FOLDER.fullmatch(names[0]) else names[0] or str(paths[0])
    shared = re.sub(r"[-_. ]*(seed)?[-_]?\d*$", "", os.path.commonprefix(names))  # noqa: RUF071 (names are no paths here)
    parents = {path.resolve().parent.name for path in paths}
    return shared or (parents.pop() if len(parents) == 1 else f"{names[0]} and {count(len(names) - 1, 'other')}")


def _folders(path: Path) -> list[Path]:
    if (path / "config.json").exists():
        return [path]
    found = members(path)
    if not found:
        raise UsageError(
            f"{path} is no run; give folders that `rucksac train` wrote, or CSV files with the columns seed, "
            "steps and return"
        )
    return found


def _read_folder(folder: Path, runs: list[Run], left_out: list[str]) -> None:
    seen = glance(folder)
    if seen.problem:
        left_out.append(f"{folder} is broken: {seen.problem}")
        return
    curve, saved = evaluations(folder), RunFolder(folder).read_config()
    if not curve.steps:
        left_out.append(f"{folder} has no evaluation yet ({seen.state}, {seen.env_steps:,} of {seen.steps:,} steps)")
        return
    if not all(abs(each) < LARGEST for each in curve.returns):
        left_out.append(f"{folder} has returns that are not finite")
        return
    settings = saved["settings"]
    odd = [f"{name} {json.dumps(settings[name])}" for name in OF_THE_TASK if settings.get(name) not in (None, 1, {})]
    influence = {name: value for name, value in settings.items() if name not in WITHOUT_INFLUENCE}
    steps = np.array(curve.steps, float)
    runs.append(
        Run(
            source=str(folder),
            task=", ".join([seen.environment or "own environment", *odd]),
            seed=seen.seed or 0,
            steps=steps,
            returns=np.array(curve.returns),
            seconds=_clock(folder / "metrics.csv", steps),
            state=seen.state,
            planned=seen.steps,
            settings=tuple((name, json.dumps(value)) for name, value in {"recipe": seen.recipe, **influence}.items()),
            machine=json.dumps(saved.get("machine")),
        )
    )


def _clock(file: Path, steps: np.ndarray) -> np.ndarray | None:
    """Return the seconds on the clock at these steps, None when the run did not write them down."""
    try:
        with file.open(newline="") as stream:
            rows = [(float(row["env_steps"]), float(row["wall_seconds"])) for row in csv.DictReader(stream)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None
    return np.interp(steps, *np.array(rows).T) if rows else None


def _read_file(file: Path) -> list[Run]:
    """Return the runs in a CSV file; rows of one task, seed and step are episodes of one evaluation."""
    found: dict[tuple[str | None, int], dict[float, list[tuple[float, float]]]] = {}
    words: dict[tuple[Any, ...], str] = {}
    for line, row in _rows(file):
        try:
            key = (row.get("task") or None, _whole(row["seed"]))
            step, value = float(row.get("env_steps") or row["steps"]), float(row["return"])
            second = float(row.get("wall_seconds") or math.nan)
        except (ValueError, KeyError):
            raise UsageError(
                f"{file}, line {line}: seed must be a whole number, steps and return numbers; correct the row"
            ) from None
        if second < 0.0:
            raise UsageError(
                f"{file}, line {line}: wall_seconds is {second:g}, but must be at least 0; correct the row"
            )
        if not (0.0 <= step < LARGEST and abs(value) < LARGEST):
            raise UsageError(
                f"{file}, line {line}: {step:g} steps and return {value:g} must be numbers below {LARGEST:g}, and "
                "steps no less than 0"
            )
        for name, word in row.items():
            if name != "task" and not _is_number(word) and words.setdefault((*key, step, name), word) != word:
                both = f"{shortened(words[(*key, step, name)])} and {shortened(word)}"
                raise UsageError(
                    f"{file} has {name} {both} for seed {key[1]} at step {step:g}, but one file holds one group; "
                    f"keep the rows of one {name}"
                )
        found.setdefault(key, {}).setdefault(step, []).append((value, second))
    if not found:
        raise UsageError(f"{file} has no rows below its header")
    runs = []
    for (task, seed), rows in sorted(found.items(), key=str):
        steps = sorted(rows)
        means = np.array([np.mean(rows[step], axis=0) for step in steps])
        source = f"{file} {f'{task} ' if task else ''}seed {seed}"
        seconds = None if np.isnan(means[:, 1]).any() else means[:, 1]
        runs.append(Run(source, task, seed, np.array(steps), means[:, 0], seconds))
    return runs


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        opened = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rt", newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip().lower() for name in next(reader, [])]
            if header == OUR_EVALUATIONS:
                raise UsageError(f"{file} belongs to a run folder; give the folder {file.parent}")
            twice = [name for name in ("task", "seed", "steps", "env_steps", "return") if header.count(name) > 1]
            if twice:
                raise UsageError(f"{file} has several columns {twice[0]}; keep one of them")
            lacking = [name for name in ("seed", "return") if name not in header]
            if not {"steps", "env_steps"} & set(header):
                lacking.append("steps or env_steps")
            if lacking:
                raise UsageError(
                    f"{file} has the columns {shortened(', '.join(header))}, but lacks {' and '.join(lacking)}"
                )
            for values in reader:
                if values:
                    yield reader.line_num, dict(zip(header, values, strict=False))
    except (OSError, EOFError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{file} cannot be read ({reason}); give run folders or CSV files") from error


def _whole(word: str) -> int:
    """Return a whole number, also one that a table has made 3.0 of."""
    if not (number := float(word)).is_integer():
        raise ValueError(word)
    return int(number)


def _is_number(word: str) -> bool:
    try:
        float(word or "0")
    except ValueError:
        return False
    return True
