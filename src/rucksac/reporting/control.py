"""Stopping and resuming the runs of a folder, as Ctrl-C and `rucksac resume` do it, for who has the token."""

import hmac
import os
import secrets
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from rucksac.errors import UsageError
from rucksac.training.folder import RunFolder
from rucksac.training.jobs import complaint, resuming
from rucksac.training.overview import glance


class Control:
    """Signals to processes that train, and new ones of its own; `token` is the secret that a request must bring."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self._asked: dict[Path, tuple[int, int]] = {}  # who was asked to stop, and since when it trains
        self._started: dict[Path, tuple[subprocess.Popen[bytes], IO[str]]] = {}

    def permits(self, token: str) -> bool:
        """Return whether this is the token; how long that takes does not tell how much of it is right."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def stop(self, run: Path) -> None:
        """Send the process that trains here the signal of Ctrl-C, once: a second one would end it without saving.

        The number of a process is given to others when it has ended. So it must hold the lock of this run, and the
        signal goes by a handle that means this process alone. Raises `UsageError` where that cannot be made sure.
        """
        lock, process = run / "lock", RunFolder(run).occupant()
        if process is None:
            raise UsageError(f"nothing trains in {run} any more")
        if not hasattr(os, "pidfd_open"):
            raise UsageError(f"process {process} cannot be told for sure on this system; stop it where it was started")
        started = process, lock.stat().st_mtime_ns
        if self._asked.get(run) == started:
            raise UsageError(f"{run} was asked to stop and is saving; wait for it")
        try:
            handle = os.pidfd_open(process)
            try:
                if not _has_open(process, lock):
                    raise ProcessLookupError
                signal.pidfd_send_signal(handle, signal.SIGINT)
            finally:
                os.close(handle)
        except OSError:  # it is on another machine, in another container, of another user, or ended just now
            raise UsageError(
                f"process {process}, which trains in {run}, is not to be found here; stop it where it was started"
            ) from None
        self._asked[run] = started

    def resume(self, run: Path) -> None:
        """Start `rucksac resume` on a run that is stopped, in a process that outlives this one.

        Raises `UsageError` where there is nothing to go on with.
        """
        if run in self._started and self._started[run][0].poll() is None:
            raise UsageError(f"{run} is being resumed already")
        if (state := glance(run).state) != "stopped":
            raise UsageError(f"{run} is {state}; only a run that is stopped can be resumed here")
        errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (read when the process has ended)
        process = subprocess.Popen(
            resuming(run),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # neither Ctrl-C here nor the end of this terminal is for it
        )
        self._started[run] = process, errors

    def said(self, run: Path) -> str | None:
        """Return why a process that was started here failed, None while it runs and where it did not."""
        if run not in self._started:
            return None
        process, errors = self._started[run]
        code = process.poll()
        return None if code is None else complaint(code, errors)


def _has_open(process: int, file: Path) -> bool:
    """Return whether a process has this file open; raise `OSError` when there is none, or it is another user's."""
    wanted = file.stat()
    return any(os.path.samestat(each.stat(), wanted) for each in Path(f"/proc/{process}/fd").iterdir() if each.exists())
