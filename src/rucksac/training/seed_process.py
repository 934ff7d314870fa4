"""One seed of several: its folder, and the job that trains there."""

import time
from dataclasses import dataclass
from pathlib import Path

from rucksac.config import Config
from rucksac.training.folder import RunFolder, threads_of
from rucksac.training.jobs import Job, Place
from rucksac.training.logs import last_rows

MOST_LOSSES = 3  # of machines under one seed, until it counts as failed


@dataclass
class SeedProcess:
    """A seed's folder, its process while there is one, and how it stands."""

    folder: Path
    threads: int
    steps: int
    process: Job | None = None
    state: str = "waiting"
    began: tuple[float, int] = (0.0, 0)
    waits_for: int | None = None  # another process that trains there
    losses: int = 0

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

    def start(self, place: Place) -> None:
        self.process = place.start(self.folder, self.threads)
        self.state, self.began = "training", (time.monotonic(), self.env_steps())

    def look(self) -> None:
        """Notice when the process has ended; where it was lost with its machine, it waits for another one."""
        if self.process is None or (ending := self.process.ended()) is None:
            return
        self.process, self.losses = None, self.losses + ending.lost
        if ending.lost and self.losses < MOST_LOSSES and self.state == "training":
            self.state = "waiting"
        elif ending.complaint:
            self.state = f"failed: {ending.complaint}"
        else:
            self.state = "stopped" if ending.code else "done"

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
