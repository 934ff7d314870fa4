"""The runs in a folder as they are now, told in pieces: what changed since the last look, and points that are new."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from rucksac.errors import UsageError
from rucksac.reporting.control import Control
from rucksac.reporting.view import FILM, FILMS, differences, newest_film, plain, spread, together, view_of
from rucksac.training.folder import RunFolder
from rucksac.training.logs import last_rows
from rucksac.training.overview import SEED_FOLDER, Curve, broken, evaluations, glance, runs_in

READ = ("config.json", "summary.json", "metrics.csv", "episodes.csv", "evaluations.csv", "warnings.txt", FILMS, FILM)
CURVES = ("evaluations", "episodes", "metrics")
MOST_LISTED = 30  # evaluations in the small curve of the list
ROWS_FOR_SPEED = 20


class Seen(NamedTuple):
    """What changes when a run does. `problem` is why nothing in its folder is read."""

    problem: str | None
    occupant: int | None = None
    said: str | None = None
    files: tuple[tuple[str, int, int, int], ...] = ()
    """Name, inode, bytes and time of change in nanoseconds of each."""


class Listed(NamedTuple):
    """A run in the list: where it is, what was seen of it, what is told of it, and since which version."""

    path: Path
    seen: Seen
    row: dict[str, Any]
    version: int


class Live:
    """The runs in a folder; several threads may ask. Links are not followed, so whatever is read is in there."""

    def __init__(self, folder: Path, control: Control | None = None) -> None:
        self._folder, self._control, self._lock = folder.resolve(), control, threading.Lock()
        self._listed: dict[str, Listed] = {}
        self._views: dict[str, tuple[Seen, dict[str, Any], Curve]] = {}
        self._version = self._ordered = int(time.time() * 1000)  # above all that an earlier server told
        self._problem: str | None = None

    def news(self, version: int, mark: str, chosen: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Return what changed in the list since `version`, and of each chosen run the points after its cursor.

        A run is chosen by its name and the cursor that came with it last, "" at first. `mark` came with what the chosen
        runs have in common, which comes again when it is another.
        """
        with self._lock:
            self._look()
            views = {name: self._view(name) for name, _ in chosen if name in self._listed}
            answer: dict[str, Any] = {
                "version": self._version,
                "problem": self._problem,
                "rows": [each.row for each in self._listed.values() if each.version > version],
            }
            if self._ordered > version:
                answer["order"] = list(self._listed)
        cursors = [(name, cursor) for name, cursor in chosen if name in views]
        answer["runs"] = [new for name, cursor in cursors if (new := _since(cursor, views[name][0]))]
        common = _common(list(views.values()))
        answer["mark"] = _digest(common)
        if answer["mark"] != mark:
            answer["together"] = common
        return answer

    def path_of(self, name: str) -> Path:
        """Return the folder of a run in the list; raise `UsageError` for a name that is none, or of a broken one."""
        with self._lock:
            self._look()
            if name not in self._listed or self._listed[name].row["problem"]:
                raise UsageError(f"{name!r} is no run, or a broken one; choose one of the list")
            return self._listed[name].path

    def _look(self) -> None:
        """Bring the list up to date; only runs that changed are read."""
        try:
            paths, self._problem = runs_in(self._folder), None
        except (UsageError, OSError) as error:
            paths, self._problem = [], str(error)
        before, self._listed = self._listed, {}
        for path in paths:
            name = str(path.relative_to(self._folder)) if path != self._folder else path.name
            known, seen = before.get(name), self._see(path)
            if known is None or known.seen != seen:
                self._version += 1
                known = Listed(path, seen, _row(path, name, seen), self._version)
            self._listed[name] = known
        if list(before) != list(self._listed):
            self._version += 1
            self._ordered = self._version
            self._views = {name: view for name, view in self._views.items() if name in self._listed}

    def _see(self, path: Path) -> Seen:
        try:
            if path.resolve() != path:
                return Seen(f"{path} is a link, which is not followed; open a dashboard of where it leads")
            files = []
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_symlink():
                        return Seen(f"{entry.path} is a link, but a run folder holds none; remove it")
                    if entry.name in READ:
                        stat = entry.stat()
                        files.append((entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
            said = self._control.said(path) if self._control else None
            return Seen(None, RunFolder(path).occupant(), said, tuple(sorted(files)))
        except (OSError, ValueError) as error:
            return Seen(str(error))

    def _view(self, name: str) -> tuple[dict[str, Any], Curve]:
        path, seen, row, _ = self._listed[name]
        known = self._views.get(name)
        if known is None or known[0] != seen:
            if row["problem"]:
                told, curve = {**row, "settings": {}, "returns": [], **{kind: {} for kind in CURVES}}, Curve([], [])
            else:
                told, curve = view_of(path, name)
            told["group"] = Path(name).parent.name or self._folder.name if SEED_FOLDER.fullmatch(path.name) else None
            film = None if row["problem"] else newest_film(path)
            told["video"] = film and {"file": film.name, "url": _address(film, name)}
            made = [each for each in seen.files if each[0] in ("config.json", "warnings.txt")]
            told["made"] = _digest([made, told["video"]])
            known = self._views[name] = seen, told, curve
        return known[1:]


def _address(film: Path, run: str) -> str:
    """Return where the page finds the newest film of a run: another address for another film."""
    return f"film?{urlencode({'run': run, 'of': film.stat().st_mtime_ns})}"


def _row(path: Path, name: str, seen: Seen) -> dict[str, Any]:
    """Return a run as the list shows it."""
    found = broken(name, seen.problem) if seen.problem else glance(path, name)
    changed = max((nanoseconds for *_, nanoseconds in seen.files), default=0) / 1e9
    curve, speed = [], None
    if not found.problem:
        try:
            returns = evaluations(path).returns
            curve, speed = plain([returns[place] for place in spread(len(returns), MOST_LISTED)]), _speed(path)
        except (UsageError, OSError, ValueError) as error:  # another change since
            found = broken(name, str(error))
    return {**found._asdict(), "curve": curve, "speed": speed, "said": seen.said, "changed": changed or None}


def _speed(run: Path) -> float | None:
    """Return environment steps per second, evaluations included, over the last rows of metrics."""
    rows = last_rows(run / "metrics.csv", ROWS_FOR_SPEED)
    try:
        first, last = ([float(row[name]) for name in ("env_steps", "wall_seconds")] for row in (rows[0], rows[-1]))
        return plain([(last[0] - first[0]) / (last[1] - first[1])])[0]
    except (ValueError, LookupError, ZeroDivisionError):
        return None


def _since(cursor: str, told: dict[str, Any]) -> dict[str, Any] | None:
    """Return what is new of a run with the cursor for the next time, None for nothing; everything at first.

    A cursor says of which run it is, as its settings, warnings and columns tell, and which step ends each curve.
    """
    made = _digest([told["made"], told["problem"], [list(told[kind]) for kind in CURVES]])
    ends = [told[kind]["steps"][-1] if told[kind].get("steps") else -1.0 for kind in CURVES]
    now = "~".join([made, *map(repr, ends)])
    if cursor == now:
        return None
    before = cursor.split("~")
    if before[0] != made or len(before) != len(CURVES) + 1:
        return {**told, "cursor": now}
    new = {kind: _after(float(step), told[kind]) for kind, step in zip(CURVES, before[1:], strict=True)}
    return {"run": told["run"], "cursor": now, "returns": told["returns"], **new}


def _after(step: float, curve: dict[str, list[Any]]) -> dict[str, list[Any]]:
    first = sum(each <= step for each in curve.get("steps", ()))
    return {name: values[first:] for name, values in curve.items()}


def _common(views: Sequence[tuple[dict[str, Any], Curve]]) -> dict[str, Any]:
    """Return what the chosen runs have in common: groups of seeds, and the settings in which runs differ."""
    groups = dict.fromkeys(told["group"] for told, _ in views if told["group"])
    found = [together(name, [curve for told, curve in views if told["group"] == name]) for name in groups]
    return {"groups": [each for each in found if each], "differences": differences([told for told, _ in views])}


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
