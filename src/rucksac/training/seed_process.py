"""One seed of several: its folder, and the process that trains there, which is `rucksac resume` on that folder."""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from rucksac.config import Config
from rucksac.training.folder import RunFolder, threads_of
from rucksac.training.logs import last_rows
from rucksac.training.stopping import FOLLOWING


def resuming(run: Path) -> list[str]:
    """Return the command that goes on with a run and writes nothing but errors."""
    return [sys.executable, "-m", "rucksac", "resume", str(run), "--quiet"]


def complaint(code: int, errors: IO[str]) -> str | None:
    """Return why such a process failed, by its exit code and what it wrote; None when it did not."""
    if code in (0, 129, 130, 143):  # done, or ended by a signal that let it save
        return None
    errors.seek(0)
    said = [line for line in errors.read().splitlines() if line.startswith("rucksac:")]
    return said[-1] if said else f"exit {code}"


@dataclass
class SeedProcess:
    """A seed's folder, its process while there is one, and how it stands."""

    folder: Path
    threads: int
    steps: int
    process: subprocess.Popen[str] | None = None
    errors: IO[str] | None = None
    state: str = "waiting"
    began: tuple[float, int] = (0.0, 0)
    waits_for: int | None = None  # another process that trains there

    @classmethod
    def of(cls, folder: Path) -> "SeedProcess":
        """Return what is to be done in a seed's folder: done, or waiting for a process."""
        run = RunFolder.open(folder)
        saved = run.read_config()
        config = Config.from_json(saved["settings"])
        seed = cls(folder, threads_of(saved) or 1, config.steps)
        if (folder / "summary.json").exists():
            summary = run.read_summary()
            seed.state = "done" if summary.get("finished") and summary["env_steps"] >= config.steps else "waiting"
        return seed

    def start(self) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed when the process has ended)
        self.process = subprocess.Popen(
            resuming(self.folder),
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
        said = complaint(code, self.errors)
        self.errors.close()
        cast(IO[str], self.process.stdin).close()
        self.process = self.errors = None
        self.state = f"failed: {said}" if said else "stopped" if code else "done"

    def env_steps(self) -> int:
        """Return the steps of a run that is done, else those of the last row of metrics, 0 before there is one."""
        if self.state == "done":
            return self.steps
        row = self.last_metrics()
        return int(row["env_steps"]) if row else 0

    def last_metrics(self) -> dict[str, str] | None:
        """Return the last row of metrics, if there is one."""
        rows = last_rows(self.folder / "metrics.csv", 1)
        return rows[0] if rows else None

    def rate(self) -> float:
        """Return environment steps per second since this process began to learn."""
        steps, seconds = self.env_steps() - self.began[1], time.monotonic() - self.began[0]
        return steps / seconds if self.process and seconds > 0 else 0.0
