"""What trains a run for another process: a process of this machine, which is `rucksac resume` on the run's folder."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from rucksac.resources import runs_at_once
from rucksac.training.stopping import FOLLOWING


class Ending(NamedTuple):
    """How a job ended: its exit code, why it failed if it did, and whether only its machine is to blame for that."""

    code: int
    complaint: str | None
    lost: bool = False


class Job(Protocol):
    """What trains one run."""

    def ended(self) -> Ending | None:
        """Return how it ended, None while it trains."""

    def terminate(self) -> None:
        """Let it save and end."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self) -> None:
        """Wait for its end."""


class Place(Protocol):
    """Where jobs are done."""

    def room(self, threads: int) -> int:
        """Return how many runs of so many threads there are processors for, at least 1."""

    def start(self, run: Path, threads: int) -> Job:
        """Begin to train a run of so many threads, or to go on with it."""


class LocalJob:
    """A process of this machine."""

    def __init__(self, run: Path) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed when the process has ended)
        self._process = subprocess.Popen(
            resuming(run),
            stdin=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, FOLLOWING: "yes"},
            start_new_session=True,  # Ctrl-C is for this process, which passes it on
        )

    def ended(self) -> Ending | None:
        if (code := self._process.poll()) is None:
            return None
        said = complaint(code, self._errors)
        self._errors.close()
        assert self._process.stdin
        self._process.stdin.close()
        return Ending(code, said)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self) -> None:
        self._process.wait()


class ThisMachine:
    """See `Place`."""

    def room(self, threads: int) -> int:
        return runs_at_once(threads)

    def start(self, run: Path, threads: int) -> LocalJob:  # noqa: ARG002 (the run knows it)
        return LocalJob(run)


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
