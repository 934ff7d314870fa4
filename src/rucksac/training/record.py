"""What happens in a run, as rows: to the CSV files of its folder, and to every function that wants them."""

import contextlib
import csv
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from rucksac.environments.transitions import Episode
from rucksac.errors import UsageError
from rucksac.files import Beginning, GrowingFile

EPISODE = ("env_steps", "episode", "seed", "return", "length")
KINDS = ("metrics", "episodes", "evaluations")
Row = Mapping[str, Any]
Recorder = Callable[[str, Sequence[Row]], None]
"""Takes a kind of row, one of `KINDS`, and rows: the means of one stretch of training ("metrics"),
one finished training episode ("episodes"), or all episodes of one evaluation ("evaluations")."""


def episode_row(env_steps: int, index: int, episode: Episode) -> Row:
    """Return the row of an episode that ended, or was evaluated, after `env_steps`."""
    values = (env_steps, index, episode.seed, episode.total_return, episode.length)
    return dict(zip(EPISODE, values, strict=True))


def metrics_columns(metrics: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of rows of metrics for the metrics of one agent."""
    return ("env_steps", "grad_steps", "episodes", *metrics, "wall_seconds")


def evaluation_at(folder: Path, env_steps: int) -> list[Episode]:
    """Return the episodes that evaluations.csv has for this step; raise `UsageError` when it cannot be read."""
    try:
        with (folder / "evaluations.csv").open(newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if int(row["env_steps"]) == env_steps]
            return [Episode(int(row["seed"]), float(row["return"]), int(row["length"])) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / 'evaluations.csv'} is damaged; put the whole file back, or train anew") from error


class CsvRecorder:
    """Writes metrics.csv, episodes.csv and evaluations.csv, each row handed to the system as soon as it is known.

    Given what is `kept` of each file, it goes on after that and cuts off the rest. `on_error` is called when the system
    refuses a row; if it returns, the row waits for the next time.
    """

    def __init__(
        self,
        folder: Path,
        metrics: Sequence[str],
        on_error: Callable[[OSError], None],
        kept: dict[str, Beginning] | None = None,
    ) -> None:
        self._on_error = on_error
        self._files: dict[str, IO[str]] = {}
        self._measured: dict[str, GrowingFile] = {}
        self._writers: dict[str, Any] = {}
        for name in KINDS:
            columns = metrics_columns(metrics) if name == "metrics" else EPISODE
            path = folder / f"{name}.csv"
            if kept is not None:
                os.truncate(path, kept[path.name].size)
            self._files[name] = path.open("w" if kept is None else "a", newline="")
            self._measured[name] = GrowingFile(path)
            self._writers[name] = csv.DictWriter(self._files[name], columns, lineterminator="\n")
            if self._files[name].tell() == 0:
                self._writers[name].writeheader()
                self._files[name].flush()

    def written(self) -> dict[str, Beginning]:
        """Return what has been written of each file, by its name, once it is safely on disk."""
        found = {}
        for name, file in self._files.items():
            file.flush()
            os.fsync(file.fileno())
            found[f"{name}.csv"] = self._measured[name].beginning(file.tell())
        return found

    def record(self, kind: str, rows: Sequence[Row]) -> None:
        """Append rows to the file of their kind."""
        try:
            self._writers[kind].writerows(rows)
            self._files[kind].flush()
        except OSError as error:
            self._on_error(error)

    def close(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what belongs to the last checkpoint has been written by `written`
                file.close()


def to_all(recorders: Sequence[Recorder]) -> Recorder:
    """Return a recorder that hands every row to all of these."""

    def record(kind: str, rows: Sequence[Row]) -> None:
        for each in recorders:
            each(kind, rows)

    return record
