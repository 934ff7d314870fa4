"""What is in a run folder, how far the run is, and whether it is whole."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.training.folder import RunFolder
from rucksac.training.logs import whole_columns
from rucksac.training.pace import BINS
from rucksac.training.starting import origin_of
from rucksac.training.wholeness import examine, obstacle


def info(run: Path) -> dict[str, Any]:
    """Return what there is to know of a run; every file is read and compared with its digest.

    Raises `UsageError` when config.json is damaged, saying how many checkpoints are whole.
    """
    folder = RunFolder.open(run)
    checkpoints = examine(run)
    whole = [each["env_steps"] for each in checkpoints if not (each["best"] or each["problem"])]
    try:
        saved = folder.read_config()
        config = Config.from_json(saved["settings"])
    except UsageError as error:
        number = sum(not each["best"] for each in checkpoints)
        raise UsageError(
            f"{error}; checkpoints: {len(whole)} of {number} whole, put config.json back to use them"
        ) from error
    env_steps = max(whole, default=0)
    stopped = (run / "summary.json").is_file() and folder.read_summary().get("finished") is False
    return {
        "run": str(run),
        "environment": saved["environment"],
        "recipe": saved["recipe"],
        "seed": config.seed,
        "steps": config.steps,
        "env_steps": env_steps,
        "finished": env_steps >= config.steps and not stopped,  # a stop may leave the last evaluation undone
        "whole": all(each["problem"] is None for each in checkpoints),
        "acting": acting(run, config) if config.collectors else None,
        "obstacle": obstacle(run, config, origin_of(saved)),
        "training_process": folder.occupant(),
        "checkpoints": checkpoints,
        "bytes": _size(run.rglob("*")),
        "bytes_of_replay": _size((run / "replay").glob("*")),
    }


def acting(run: Path, config: Config) -> dict[str, Any]:
    """Return how a run with collectors acts: what it was told, and what its metrics say of lag and lateness.

    `lag` is the mean, `lag_max` the largest, `late` the share of steps in each bin, all None where nothing is measured.
    """
    try:
        columns = whole_columns(run / "metrics.csv")
    except UsageError:  # a damaged log is told of by the checkpoints
        columns = {}
    steps = np.diff(columns.get("env_steps", np.zeros(0)), prepend=0.0)

    def mean(name: str) -> float | None:
        measured = np.isfinite(columns[name]) if name in columns else np.zeros(0, bool)
        return float(np.average(columns[name][measured], weights=steps[measured])) if measured.any() else None

    largest = columns.get("lag_max", np.zeros(0))
    return {
        "collectors": config.collectors,
        "most_lag": config.most_lag,
        "control_rate": config.control_rate,
        "lag": mean("lag"),
        "lag_max": float(np.nanmax(largest)) if np.isfinite(largest).any() else None,
        "late": {name: mean(name) for name in BINS} if config.control_rate else None,
    }


def _size(files: Iterable[Path]) -> int:
    return sum(file.lstat().st_size for file in files if not file.is_dir())
