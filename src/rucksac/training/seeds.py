"""Several seeds of one setting: a process and a folder for each, as many at once as there are processors.

Every process is `rucksac resume` on a prepared folder, so starting the whole and going on with it are the same thing.
Compiled steps are shared: the first process builds them, the others wait for the file.
"""

import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from rich.live import Live
from rich.table import Table

from rucksac.config import Config, with_settings
from rucksac.environments.making import closed_at_last, make
from rucksac.environments.reading import spaces_of
from rucksac.errors import UsageError
from rucksac.resources import available_memory, available_threads
from rucksac.stats import summarise
from rucksac.text import count
from rucksac.training.console import RECENT_EPISODES, console
from rucksac.training.folder import STARTED_FROM, RunFolder, threads_of
from rucksac.training.parts import replay_bytes
from rucksac.training.stopping import FOLLOWING, StopRequest, stop_on_signals

SEED_FOLDER = re.compile(r"seed(\d+)")
SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_LINES = 0.5, 10.0
LONGEST_ROW = 400  # bytes


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that `1-10` or `1,3,5-7` stand for; raise `UsageError` for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + 10_000:
            raise UsageError(f"--seeds is {text!r}, but must be numbers and ranges such as 1-10 or 1,3,5-7")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def is_group(folder: Path) -> bool:
    """Return whether this is the common folder of several seeds."""
    return not (folder / "config.json").exists() and bool(members(folder))


def prepare_group(
    env: str, config: Config, recipe: str, folder: Path, seeds: list[int], start_from: Path | None = None
) -> None:
    """Make a folder for each seed; raise `UsageError` when the environment or the memory does not allow the run."""
    config = config.settled()
    with closed_at_last(make(env, config)) as probe:
        spaces = spaces_of(probe, config.action_low, config.action_high)
    threads = config.threads or 1
    needed = replay_bytes(config, spaces) * _at_once(threads)
    if (free := available_memory()) is not None and needed > free:
        raise UsageError(
            f"{_at_once(threads)} runs at once take {needed / 2**20:,.0f} MiB of replay memory, but only "
            f"{free / 2**20:,.0f} MiB are free; use a smaller --buffer-size or more --threads per run"
        )
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is already in use; give another --run, or remove it first")
    derived: dict[str, Any] = {"threads": threads}
    if start_from:
        derived[STARTED_FROM] = str(start_from.absolute())
    for seed in seeds:
        member = RunFolder.create(folder / f"seed{seed}")
        member.write_config(env, recipe, with_settings(config, {"seed": seed}), derived)


def extend_group(folder: Path, steps: int) -> None:
    """Let every seed train for so many steps in all."""
    for path in members(folder):
        member = RunFolder.open(path)
        saved = member.read_config()
        config = with_settings(Config.from_json(saved["settings"]), {"steps": steps})
        member.write_config(saved["environment"], saved["recipe"], config, saved["derived"])


@dataclass
class _Member:
    """One seed: its folder, its process while there is one, and how it stands."""

    folder: Path
    threads: int
    steps: int
    process: subprocess.Popen[str] | None = None
    errors: IO[str] | None = None
    state: str = "waiting"
    began: tuple[float, int] = (0.0, 0)
    waits_for: int | None = None  # another process that trains there

    def start(self) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed when the process has ended)
        command = [sys.executable, "-m", "rucksac", "resume", str(self.folder), "--quiet"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env={**os.environ, FOLLOWING: "yes"},
            start_new_session=True,  # Ctrl-C is for this process, which passes it on
        )
        self.state, self.began = "training", (time.monotonic(), self.env_steps())

    def look(self) -> None:
        """Notice when the process has ended."""
        if self.process is None or self.errors is None or (code := self.process.poll()) is None:
            return
        self.errors.seek(0)
        said = [line for line in self.errors.read().splitlines() if line.startswith("rucksac:")]
        self.errors.close()
        cast(IO[str], self.process.stdin).close()
        self.process = self.errors = None
        stopped = code in (129, 130, 143)  # by a signal that let it save
        self.state = (
            "done" if code == 0 else "stopped" if stopped else f"failed: {said[-1] if said else f'exit {code}'}"
        )

    def env_steps(self) -> int:
        row = self.last_metrics()
        return int(row["env_steps"]) if row else 0

    def last_metrics(self) -> dict[str, str] | None:
        rows = _last_rows(self.folder / "metrics.csv", 1)
        return rows[0] if rows else None

    def rate(self) -> float:
        """Return environment steps per second since this process began to learn."""
        steps, seconds = self.env_steps() - self.began[1], time.monotonic() - self.began[0]
        return steps / seconds if self.process and seconds > 0 else 0.0


class Group:
    """All seeds in a common folder."""

    def __init__(self, folder: Path, quiet: bool) -> None:
        self.folder, self.quiet = folder, quiet
        self._out = console()
        self.members = []
        for path in members(folder):
            saved = RunFolder.open(path).read_config()
            config = Config.from_json(saved["settings"])
            member = _Member(path, threads_of(saved) or 1, config.steps)
            if (path / "summary.json").exists():
                summary = RunFolder.open(path).read_summary()
                member.state = "done" if summary.get("finished") and summary["env_steps"] >= config.steps else "waiting"
            self.members.append(member)

    def run(self) -> tuple[dict[str, Any], int]:
        """Train all seeds that are not done; return a summary and the exit code."""
        at_once, last_line = _at_once(max(each.threads for each in self.members)), time.monotonic()
        self._say(f"{count(len(self.members), 'seed')} in {self.folder}, {at_once} at once")
        with stop_on_signals() as stop, self._live() as live:
            stop.graceful = True
            try:
                while not self._settled(stop):
                    self._attend(stop, at_once)
                    if live:
                        live.update(self._table())
                    elif time.monotonic() - last_line > SECONDS_BETWEEN_LINES:
                        last_line = time.monotonic()
                        self._say(self._line())
                    stop.wait(SECONDS_BETWEEN_LOOKS) if not stop.is_set() else time.sleep(SECONDS_BETWEEN_LOOKS)
            finally:
                for each in self.members:
                    if each.process:
                        each.process.kill()
                        each.process.wait()
        return self._summary(), self._exit_code(stop)

    def _attend(self, stop: StopRequest, at_once: int) -> None:
        for each in self.members:
            each.look()
        running = sum(each.process is not None for each in self.members)
        for each in self.members:
            if each.state == "waiting" and running < at_once and not stop.is_set() and self._is_free(each):
                each.start()
                running += 1
            elif stop.is_set() and each.process and each.state == "training":
                each.process.terminate()
                each.state = "stopping"

    def _is_free(self, member: _Member) -> bool:
        """Return whether no other process trains there, such as one that still saves after its parent was killed."""
        occupant = RunFolder(member.folder).occupant()
        if occupant and occupant != member.waits_for:
            self._say(f"{member.folder} is in use by process {occupant}; waiting for it to end")
        member.waits_for = occupant
        return occupant is None

    def _settled(self, stop: StopRequest) -> bool:
        if any(each.process for each in self.members):
            return False
        return stop.is_set() or all(each.state != "waiting" for each in self.members)

    def _exit_code(self, stop: StopRequest) -> int:
        return stop.exit_code or int(any(each.state != "done" for each in self.members))

    def _summary(self) -> dict[str, Any]:
        finals = {}
        for each in self.members:
            if each.state == "done":
                evaluation = RunFolder.open(each.folder).read_summary().get("final_evaluation")
                finals[each.folder.name] = evaluation["mean"] if evaluation else None
        means = np.array([mean for mean in finals.values() if mean is not None])
        return {
            "run": str(self.folder),
            "seeds": {each.folder.name: each.state for each in self.members},
            "final_returns": finals,
            "over_seeds": summarise(means)._asdict() if means.size else None,
        }

    def _live(self) -> AbstractContextManager[Live | None]:
        if self.quiet or not self._out.is_terminal:
            return nullcontext()
        return Live(self._table(), console=self._out, refresh_per_second=4)

    def _table(self) -> Table:
        table = Table("seed", "state", "steps", f"return, last {RECENT_EPISODES}", "evaluation", "alpha", "steps/s")
        for each in self.members:
            row = each.last_metrics()
            table.add_row(
                each.folder.name.removeprefix("seed"),
                each.state,
                f"{each.env_steps():,} of {each.steps:,}",
                _mean_return(_last_rows(each.folder / "episodes.csv", RECENT_EPISODES)),
                _mean_return(_last_evaluation(each.folder / "evaluations.csv")),
                f"{float(row['alpha']):.3g}" if row else "",
                f"{each.rate():,.0f}" if each.process else "",
            )
        return table

    def _line(self) -> str:
        done = sum(each.state == "done" for each in self.members)
        steps, total = (sum(values) for values in zip(*((e.env_steps(), e.steps) for e in self.members), strict=True))
        rate = sum(each.rate() for each in self.members)
        return f"{done} of {len(self.members)} seeds done, {steps:,} of {total:,} steps, {rate:,.0f} steps/s in total"

    def _say(self, text: str) -> None:
        if not self.quiet:
            self._out.print(text, markup=False)


def members(folder: Path) -> list[Path]:
    """Return the folders of the seeds in a common folder, none when it is not one."""
    found = [path for path in folder.iterdir() if SEED_FOLDER.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("seed")))


def _at_once(threads: int) -> int:
    return max(1, available_threads() // threads)


def _last_rows(file: Path, count: int) -> list[dict[str, str]]:
    """Return the last whole rows of a log that another process is writing."""
    try:
        with file.open("rb") as stream:
            columns, start = stream.readline().decode().strip().split(","), stream.tell()
            begin = max(start, stream.seek(0, os.SEEK_END) - LONGEST_ROW * (count + 1))
            stream.seek(begin)
            lines = stream.read().decode().split("\n")[int(begin > start) : -1]
    except OSError:
        return []
    rows = [dict(zip(columns, values, strict=False)) for values in csv.reader(lines[-count:])]
    return [row for row in rows if len(row) == len(columns)]


def _last_evaluation(file: Path) -> list[dict[str, str]]:
    rows = _last_rows(file, 100)
    return [row for row in rows if row["env_steps"] == rows[-1]["env_steps"]]


def _mean_return(rows: list[dict[str, str]]) -> str:
    return f"{np.mean([float(row['return']) for row in rows]):.1f}" if rows else ""
