"""What a report shows of runs, as plain values that fit into JSON; whatever a folder holds, it has an answer."""

import base64
import csv
import json
import math
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rucksac.algorithm.recipes import DEFAULT, recipe
from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.settings_text import to_flags
from rucksac.stats import interquartile_mean, mean_interval
from rucksac.training.folder import RunFolder, path_of
from rucksac.training.logs import Columns, whole_columns
from rucksac.training.overview import TRACES, WITHOUT_INFLUENCE, Curve, evaluations, glance, members
from rucksac.training.record import evaluation_at

MOST_POINTS = 400  # of a curve
MOST_VIDEO = 20 * 2**20  # bytes
FILMS, FILM = "videos", "video.mp4"  # of evaluations while a run trains; of `rucksac watch`
MOST_WARNINGS = 20_000  # characters
WINDOW = 10  # episodes in the running mean of training returns


def view(*runs: str | Path, play: int = 0) -> dict[str, Any]:
    """Return everything a report shows of these runs; a folder of seeds becomes one group.

    With `play` so many episodes are played with each agent, whose critics' estimates stand beside what came of them.
    Raises `UsageError` for paths that are no run. A run that cannot be read is in the answer with its problem.
    """
    if not runs:
        raise UsageError("report needs at least one run; give the folder that `rucksac train` wrote")
    paths = list(map(path_of, runs))
    above = os.path.commonpath([path.absolute().parent for path in paths])  # names are shown from here on
    groups, found, seen = [], [], set[Path]()
    for path in paths:
        name = os.path.relpath(path.absolute(), above)
        seeds = members(path)
        if not seeds and not any((path / trace).exists() for trace in TRACES):
            raise UsageError(f"{path} is not the folder of a run; give one that `rucksac train` wrote")
        new = [each for each in seeds or [path] if each.resolve() not in seen]
        seen |= {each.resolve() for each in new}
        curves = []
        for each in new:
            told, curve = view_of(each, os.path.relpath(each.absolute(), above))
            told |= {"video": _embedded(newest_film(each)), "group": name if seeds else None}
            if play and not told["problem"]:
                from rucksac.reporting.estimates import estimates  # which needs PyTorch

                told["estimates"] = estimates(each, told["environment"], play)
            found.append(told)
            curves.append(curve)
        if common := together(name, curves):
            groups.append(common)
    return {"runs": found, "groups": groups, "differences": differences(found)}


def view_of(path: Path, name: str) -> tuple[dict[str, Any], Curve]:
    """Return what is shown of one run, but for its film, and its evaluations; `name` is what the answer calls it."""
    seen = glance(path, name)
    told: dict[str, Any] = {**seen._asdict(), "settings": {}, "versions": {}, "machine": {}}
    told |= {"phases": {}, "warnings": "", "command": None, "target_entropy": None, "returns": [], "estimates": None}
    told |= {"evaluations": {"steps": [], "minutes": [], "return": []}, "episodes": {}, "metrics": {}}
    if seen.problem:
        return told, Curve([], [])
    try:
        saved = RunFolder(path).read_config()
        curve, metrics, episodes = (
            evaluations(path),
            whole_columns(path / "metrics.csv"),
            whole_columns(path / "episodes.csv"),
        )
        told["returns"] = (
            plain([each.total_return for each in evaluation_at(path, curve.steps[-1])]) if curve.steps else []
        )
        told["phases"] = _phases(path)
    except (UsageError, OSError, ValueError, csv.Error) as error:
        return told | {"state": "broken", "problem": str(error)}, Curve([], [])
    told |= {name: saved[name] for name in ("versions", "machine") if isinstance(saved.get(name), dict)}
    target = saved["derived"].get("target_entropy")
    told["target_entropy"] = target if isinstance(target, int | float) and math.isfinite(target) else None
    told["settings"] = saved["settings"]
    told["command"] = _command(saved)
    told["evaluations"] = _curve(np.array(curve.steps, float), {"return": np.array(curve.returns)}, metrics)
    told["metrics"] = _inside(metrics)
    if len(episodes.get("return", ())):
        smooth = np.convolve(episodes["return"], np.ones(WINDOW))[: len(episodes["return"])]
        smooth = smooth / np.minimum(np.arange(1, len(smooth) + 1), WINDOW)
        told["episodes"] = _curve(episodes["env_steps"], {"return": smooth}, metrics)
    told["warnings"] = _text(path / "warnings.txt")
    return told, curve


def _phases(run: Path) -> dict[str, float]:
    """Return the share of the wall time that each phase of the run took; nothing before its first end."""
    if not (run / "summary.json").is_file():
        return {}
    seconds = RunFolder(run).read_summary().get("wall_seconds")
    if not isinstance(seconds, dict) or not all(isinstance(each, int | float) for each in seconds.values()):
        return {}
    whole = sum(seconds.values()) or 1.0
    return {name: round(each / whole, 4) for name, each in seconds.items()}


def _inside(metrics: Columns) -> dict[str, list[float | None]]:
    """Return what happened inside the learner: every column, the size of Q's error, gradient steps per second."""
    if not metrics or not {"env_steps", "wall_seconds"} <= metrics.keys():
        return {}
    values = {k: v for k, v in metrics.items() if k not in ("env_steps", "grad_steps", "episodes", "wall_seconds")}
    if {"q", "target_q"} <= metrics.keys():
        values["td_error"] = metrics["target_q"] - metrics["q"]
    if "grad_steps" in metrics and len(metrics["env_steps"]) > 1:
        seconds = np.diff(metrics["wall_seconds"])
        speed = np.divide(
            np.diff(metrics["grad_steps"]), seconds, out=np.full(len(seconds), np.nan), where=seconds > 0.0
        )
        values["speed"] = np.concatenate([[np.nan], speed])
    return _curve(metrics["env_steps"], values, metrics)


def _curve(steps: np.ndarray, values: Columns, metrics: Columns) -> dict[str, list[float | None]]:
    """Return a curve of at most `MOST_POINTS` points, with the minutes on the clock at each."""
    keep = spread(len(steps), MOST_POINTS)
    clock = metrics.get("wall_seconds", np.array([]))
    minutes = np.interp(steps, metrics["env_steps"], clock) / 60.0 if len(clock) else np.full(len(steps), np.nan)
    named = {"steps": steps, "minutes": minutes, **values}
    return {name: plain(column[keep].tolist()) for name, column in named.items()}


def spread(length: int, most: int) -> np.ndarray:
    """Return the places of at most `most` of so many values, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(int))


def together(name: str, curves: Sequence[Curve]) -> dict[str, Any] | None:
    """Return a group of seeds: mean, its 95 % interval and interquartile mean at the steps where all were evaluated.

    None where fewer than two were evaluated at all.
    """
    whole = [curve for curve in curves if curve.steps]
    if len(whole) < 2:
        return None
    shared = sorted(set.intersection(*(set(curve.steps) for curve in whole)))
    tables = [dict(zip(curve.steps, curve.returns, strict=True)) for curve in whole]
    values = np.array([[table[step] for table in tables] for step in shared]).reshape(len(shared), len(tables))
    bounds = [mean_interval(row) or (math.nan, math.nan) for row in values]
    return {
        "name": name,
        "runs": len(whole),
        "steps": shared,
        "mean": plain(values.mean(-1).tolist()),
        "iqm": plain(interquartile_mean(values).tolist()) if shared else [],
        "low": plain([low for low, _ in bounds]),
        "high": plain([high for _, high in bounds]),
    }


def plain(values: Sequence[float]) -> list[float | None]:
    """Return the values with seven digits, as JSON can hold them: None for what is not finite."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values]


def differences(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return the settings in which runs differ, apart from those that change what is seen of a run."""
    names = dict.fromkeys(name for run in runs for name in run["settings"] if name not in WITHOUT_INFLUENCE)
    read = [run["settings"] for run in runs if run["settings"]]
    return [name for name in names if len({json.dumps(each.get(name), sort_keys=True) for each in read}) > 1]


def _command(saved: dict[str, Any]) -> str | None:
    """Return the command that trains this again; None where one command alone does not."""
    if saved["environment"] is None or saved["derived"].get("started_from"):
        return None
    try:
        words = flags(saved["recipe"], Config.from_json(saved["settings"]))
    except UsageError:
        return None
    return shlex.join(["rucksac", "train", saved["environment"], *words])


def flags(name: str, settings: Config) -> list[str]:
    """Return the flags that give `rucksac train` these settings, which began with this recipe."""
    return [*(["--recipe", name] if name != DEFAULT else []), *to_flags(settings, recipe(name).config)]


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")[-MOST_WARNINGS:]
    except OSError:
        return ""


def newest_film(run: Path) -> Path | None:
    """Return the newest film of the agent in a run folder; None where there is none, or it is too large to show."""
    films = [*sorted((run / FILMS).glob("*.mp4")), run / FILM]
    films = [film for film in films if film.is_file() and not film.is_symlink()]
    newest = max(films, key=lambda each: each.stat().st_mtime, default=None)
    return newest if newest and newest.stat().st_size <= MOST_VIDEO else None


def _embedded(film: Path | None) -> dict[str, str] | None:
    """Return the film as a data URL."""
    if film is None:
        return None
    return {"file": film.name, "url": f"data:video/mp4;base64,{base64.b64encode(film.read_bytes()).decode()}"}
