"""Metrics out. Whoever wants to see a run implements `Recorder`; the run folder's CSV files are always written."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from rucksac.algorithm.update import METRICS
from rucksac.environments.rollout import Episode
from rucksac.errors import TrainingStopped

COLUMNS = {
    "metrics": ("env_steps", "grad_steps", "episodes", *METRICS, "wall_seconds"),
    "episodes": ("env_steps", "episode", "seed", "return", "length"),
    "evaluations": ("env_steps", "episode", "seed", "return", "length"),
}
Row = Mapping[str, Any]


class Recorder(Protocol):
    """Receives what happens in a run; the columns of each row are those in `COLUMNS`."""

    def metrics(self, row: Row) -> None:
        """Take the means of one stretch of training."""

    def episode(self, row: Row) -> None:
        """Take one finished training episode."""

    def evaluation(self, rows: list[Row]) -> None:
        """Take one evaluation, a row per episode."""

    def close(self) -> None:
        """Take note that nothing follows."""


def episode_row(env_steps: int, index: int, episode: Episode) -> Row:
    """Return the row of an episode that ended, or was evaluated, after `env_steps`."""
    values = (env_steps, index, episode.seed, episode.total_return, episode.length)
    return dict(zip(COLUMNS["episodes"], values, strict=True))


def metrics_row(counters: Row, means: np.ndarray, wall_seconds: float) -> Row:
    """Return the row of one stretch of training; raise `TrainingStopped` when a metric is not finite."""
    metrics = dict(zip(METRICS, means.tolist(), strict=True))
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise TrainingStopped(
                f"{name} became {value} before environment step {counters['env_steps']}; the last checkpoint, if there "
                "was one, is from before. Smaller rewards or a smaller --lr usually help"
            )
    return {**counters, **metrics, "wall_seconds": round(wall_seconds, 3)}


class CsvRecorder:
    """Writes metrics.csv, episodes.csv and evaluations.csv, each row on disk as soon as it is known."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, IO[str]] = {}
        self._writers: dict[str, Any] = {}
        for name, columns in COLUMNS.items():
            self._files[name] = (folder / f"{name}.csv").open("w", newline="")
            self._writers[name] = csv.DictWriter(self._files[name], columns, lineterminator="\n")
            self._writers[name].writeheader()

    def metrics(self, row: Row) -> None:
        """Append one row to metrics.csv."""
        self._write("metrics", [row])

    def episode(self, row: Row) -> None:
        """Append one row to episodes.csv."""
        self._write("episodes", [row])

    def evaluation(self, rows: list[Row]) -> None:
        """Append the episodes of one evaluation to evaluations.csv."""
        self._write("evaluations", rows)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _write(self, name: str, rows: list[Row]) -> None:
        self._writers[name].writerows(rows)
        self._files[name].flush()


class Recorders:
    """Several recorders as one."""

    def __init__(self, recorders: list[Recorder]) -> None:
        self._recorders = recorders

    def add(self, recorder: Recorder) -> None:
        """Let one more take part."""
        self._recorders.append(recorder)

    def metrics(self, row: Row) -> None:
        """Pass on."""
        for recorder in self._recorders:
            recorder.metrics(row)

    def episode(self, row: Row) -> None:
        """Pass on."""
        for recorder in self._recorders:
            recorder.episode(row)

    def evaluation(self, rows: list[Row]) -> None:
        """Pass on."""
        for recorder in self._recorders:
            recorder.evaluation(rows)

    def close(self) -> None:
        """Pass on."""
        for recorder in self._recorders:
            recorder.close()
