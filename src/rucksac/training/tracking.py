"""Experiment trackers beside the log files: which ones a run has, where each left off, and what they are given.

A tracker gets points from a thread of its own, through a queue of bounded length, so that one that is slow or fails
does not hold up training. How far it is stands in RUN/tracking.json, written before rows are handed over. A run that
goes on gives it the rows of the log files that it lacks, and none that it has: exact resume repeats those to the bit.
"""

import csv
import importlib.util
import json
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from rucksac import files
from rucksac.errors import ANYTHING, UsageError
from rucksac.text import shortened
from rucksac.training.record import KINDS, Recorder, Row, to_all
from rucksac.training.trackers import SECONDS_AT_THE_END, TRACKERS, Point, Subject

MEMORY = "tracking.json"
MOST_WAITING = 10_000  # calls of `record`
SECONDS_BETWEEN_BATCHES = 1.0
VIDEOS = "videos"  # a kind of row with the columns env_steps and file
NO_FIGURES = ("env_steps", "episode", "seed")  # columns that make no curve
EVERYTHING = "the CSV files have everything"


def checked(track: Any, video_every: Any, run: Path | None) -> tuple[tuple[str, ...], int]:
    """Return trackers by name, and how often to film; raise `UsageError` for what cannot work."""
    names = (track,) if isinstance(track, str) else track
    if not isinstance(names, list | tuple) or any(name not in list(TRACKERS) for name in names):
        raise UsageError(f"--track is {shortened(track)}, but must be a list of names from {', '.join(TRACKERS)}")
    if isinstance(video_every, bool) or not isinstance(video_every, int) or video_every < 0:
        raise UsageError(f"--video-every is {shortened(video_every)}, but must be a whole number; 0 films nothing")
    if (names or video_every) and run is None:
        raise UsageError("track and video_every write to the folder of a run; give run=... too")
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:  # a mere folder of that name is no package
            raise UsageError(
                f'tracking with {name} needs a package that is not installed; pip install "rucksac[{name}]", or leave '
                f"{name} out of --track"
            )
    return tuple(dict.fromkeys(names)), video_every


class Place(NamedTuple):
    """How far a tracker is: what finds its run again, and the last step that it was given of each kind of row."""

    known_as: str | None
    last: dict[str, int]


class Memory:
    """RUN/tracking.json: the trackers of a run, how often it films, and how far every tracker is that it ever had."""

    def __init__(self, run: Path) -> None:
        self._file, self._lock = run / MEMORY, threading.Lock()
        self.track: tuple[str, ...] = ()
        self.video_every = 0
        self.places: dict[str, Place] = {}
        if self._file.exists():
            try:
                self._read(json.loads(self._file.read_text()))
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise UsageError(f"{self._file} is damaged or foreign ({error}); put the whole file back") from error

    def choose(self, track: tuple[str, ...], video_every: int) -> None:
        """Keep which trackers the run has from now on; nothing is written for a run that never had any."""
        self.track, self.video_every = track, video_every
        if track or video_every or self._file.exists():
            self._write()

    def put(self, name: str, place: Place) -> None:
        """Keep how far a tracker is."""
        with self._lock:  # each tracker has a thread
            self.places[name] = place
            self._write()

    def _read(self, values: dict[str, Any]) -> None:
        self.track, self.video_every = tuple(values["track"]), values["video_every"]
        for name, (known_as, last) in values["places"].items():
            if not isinstance(known_as, str) or not all(type(step) is int for step in last.values()):
                raise ValueError(f"how far {name} is makes no sense")
            self.places[name] = Place(known_as, last)

    def _write(self) -> None:
        values = {"track": self.track, "video_every": self.video_every, "places": self.places}
        files.write(self._file, (json.dumps(values, indent=1) + "\n").encode())


def chosen(memory: Memory, run: Path, track: Any, video_every: Any) -> tuple[tuple[str, ...], int]:
    """Return what a run goes on with: what is given, else what it had. Raises `UsageError` as `checked` does."""
    films_every = memory.video_every if video_every is None else video_every
    return checked(memory.track if track is None else track, films_every, run)


@contextmanager
def tracked(memory: Memory, run: Path, facts: dict[str, Any], say: Callable[[str], None]) -> Iterator[Recorder]:
    """Give a recorder for all trackers of a run; at the end wait for them, for some seconds at most.

    `facts` are the run's settings, environment and recipe. `say` gets one warning of each tracker that fails or is
    too slow.
    """
    workers = [_Worker(name, memory, run, facts, say) for name in memory.track]
    patience = SECONDS_AT_THE_END
    try:
        yield to_all([each.record for each in workers])
    except (KeyboardInterrupt, SystemExit):  # to be stopped at once
        patience = 0.0
        raise
    finally:
        until = time.monotonic() + patience
        for each in workers:
            each.ask_to_end()
        for each in workers:
            each.wait(until)


class _Item(NamedTuple):
    """What `record` was called with, and the step of its rows."""

    kind: str
    step: int
    rows: Sequence[Row]


class _Worker:
    """One tracker with its thread. `record` takes rows like any recorder and never waits."""

    def __init__(self, name: str, memory: Memory, run: Path, facts: dict[str, Any], say: Callable[[str], None]) -> None:
        self._name, self._memory, self._say = name, memory, say
        known_as, self._had = memory.places.get(name, Place(None, {}))
        self._subject = Subject(run, facts, known_as)
        self._lacking = _logged_after(run, self._had)
        self._queue: queue.Queue[_Item] = queue.Queue(MOST_WAITING)
        self._over = threading.Event()
        self._told = False
        self._failure = ""
        self._thread = threading.Thread(target=self._work, name=f"rucksac-{name}", daemon=True)
        self._thread.start()

    def record(self, kind: str, rows: Sequence[Row]) -> None:
        """Take rows, or drop them and say so once."""
        self._tell_of_failure()
        if not self._failure:
            try:
                self._queue.put_nowait(_Item(kind, rows[0]["env_steps"], rows))
            except queue.Full:
                self._tell(f"The tracker {self._name} is too slow and gets only some of what comes; {EVERYTHING}.")

    def ask_to_end(self) -> None:
        """Let the thread end once it is done with all it was given."""
        self._over.set()

    def wait(self, until: float) -> None:
        """Wait for the end of the thread, up to a moment of `time.monotonic`."""
        self._thread.join(max(0.0, until - time.monotonic()))
        self._tell_of_failure()
        if self._thread.is_alive():
            self._tell(f"The tracker {self._name} was not done when the run ended and may lack rows; {EVERYTHING}.")

    def _tell_of_failure(self) -> None:
        if self._failure:
            reason = self._failure.strip().splitlines()[-1]
            self._tell(f"The tracker {self._name} failed and gets no more ({reason}); {EVERYTHING}.\n{self._failure}")

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            self._say(text)

    def _work(self) -> None:
        try:
            tracker = TRACKERS[self._name](self._subject)
            last = self._had
            self._memory.put(self._name, Place(tracker.known_as, last))
            for batch in self._batches():
                new = [item for item in batch if item.step > self._had.get(item.kind, -1)]
                if new:
                    last = {**last, **{item.kind: item.step for item in new}}
                    self._memory.put(self._name, Place(tracker.known_as, last))
                    tracker.log(_points(new))
            tracker.close()
        except ANYTHING:
            self._failure = traceback.format_exc()

    def _batches(self) -> Iterator[list[_Item]]:
        """Yield what there is, every now and then; episodes of the newest step wait for others that ended with them."""
        waiting, over = self._lacking, False
        while not over:
            over = self._over.wait(SECONDS_BETWEEN_BATCHES)
            waiting += [self._queue.get_nowait() for _ in range(self._queue.qsize())]
            due = len(waiting)
            while due and not over and waiting[due - 1][:2] == ("episodes", waiting[-1].step):
                due -= 1
            yield waiting[:due]
            waiting = waiting[due:]


def _logged_after(run: Path, had: dict[str, int]) -> list[_Item]:
    """Return the rows of the log files that a tracker lacks, in the order of their steps."""
    items = []
    for kind in KINDS:
        with (run / f"{kind}.csv").open(newline="") as stream:
            for row in csv.DictReader(stream):
                if (step := int(row["env_steps"])) > had.get(kind, -1):
                    items.append(_Item(kind, step, [{name: float(value) for name, value in row.items()}]))
    return sorted(items, key=lambda item: item.step)


def _points(items: Sequence[_Item]) -> list[Point]:
    """Return one point for each step; episodes that ended at the same step, or are of one evaluation, give a mean."""
    rows: dict[tuple[int, str], list[Row]] = {}
    for item in items:
        rows.setdefault((item.step, item.kind), []).extend(item.rows)
    points: dict[int, Point] = {}
    for (step, kind), each in rows.items():
        point = points.setdefault(step, Point(step, {}, {}))
        if kind == VIDEOS:
            point.videos["evaluations/video"] = each[-1]["file"]
            continue
        for column in each[0]:
            if column not in NO_FIGURES:
                name = kind if column == "value" else f"{kind}/{column}"
                point.figures[name] = sum(row[column] for row in each) / len(each)
        if kind == "evaluations":
            returns = [row["return"] for row in each]
            point.figures.update({f"{kind}/return_min": min(returns), f"{kind}/return_max": max(returns)})
    return [points[step] for step in sorted(points)]
