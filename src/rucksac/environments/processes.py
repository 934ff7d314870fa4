"""Processes with environments: started, asked, ended, and what is told of those that fail.

A process is a fresh interpreter, so it needs nothing of how the program was started. What it makes of requests is its
own: workers.py has one that only steps environments.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from typing import IO, Any, NamedTuple

import cloudpickle

from rucksac.environments.making import EnvSource, name_of
from rucksac.errors import EnvironmentFailed, UsageError

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
SECONDS_TO_START, SECONDS_TO_END, SECONDS_TO_DIE, SECONDS_BETWEEN_LOOKS = 60.0, 5.0, 2.0, 1.0
SHARED_MEMORY = "/dev/shm"


class Fault(NamedTuple):
    """What went wrong in a worker; the traceback is of the environment's own code, empty when the process is gone."""

    message: str
    traceback: str = ""


class Faults:
    """How many failures a run has survived, in training and in evaluation, and how many it may."""

    def __init__(self, allowed: int, say: Callable[[str], None]) -> None:
        self.allowed, self.seen, self._say = allowed, 0, say
        self._last: dict[int, str] = {}  # what an environment raised since it last finished an episode

    def finished(self, env_index: int) -> None:
        """Take note that an environment finished an episode."""
        self._last.pop(env_index, None)

    def count(self, fault: Fault, env_indices: list[int]) -> None:
        """Take note of one more; raise `EnvironmentFailed` when it is one too many, or the same at once again."""
        if fault.traceback and self._last.get(env_indices[0]) == fault.message:
            raise failed(fault, "; it did the same in the episode before")
        self._last[env_indices[0]] = fault.message
        self.seen += 1
        if self.seen > self.allowed:
            raise failed(fault, f"; --restarts {self.allowed} are used up")
        which = (
            f"Environment {env_indices[0]}"
            if len(env_indices) == 1
            else f"Environments {env_indices[0]} to {env_indices[-1]}"
        )
        self._say(
            f"{which} of a worker: {fault.message}. Made anew, failure {self.seen} of {self.allowed} that this run "
            f"survives; what was under way there ends as truncated.\n{fault.traceback}".rstrip()
        )


class RemoteTraceback(Exception):
    """The traceback of what an environment raised in a worker."""


def setup_of(source: EnvSource, *others: Any) -> bytes:
    """Return what a process is told first: what makes its environments, and what else it needs; raise `UsageError`."""
    if os.name == "nt":
        raise UsageError("--workers and --collectors are not for Windows; leave them out, --envs alone works there")
    try:
        return cloudpickle.dumps((source, *others))
    except Exception as error:  # whatever the things inside raise when they are asked to be pickled
        raise UsageError(
            f"{name_of(source)} cannot be sent to a worker ({error}); make it hold nothing but what makes an "
            "environment, or leave out --workers and --collectors"
        ) from error


def shared_file() -> IO[bytes]:
    """Return an open file that processes share as memory and that goes with the last of them."""
    return tempfile.TemporaryFile(dir=SHARED_MEMORY if os.path.isdir(SHARED_MEMORY) else None)


class Worker:
    """The parent's end of one process and the environments it has."""

    def __init__(self, env_indices: list[int], setup: bytes, shared: int, timeout: float, child: str) -> None:
        self.env_indices, self._setup, self._shared, self._timeout = env_indices, setup, shared, timeout
        self._child = child
        self.start()

    def start(self) -> None:
        """Start the process, in place of an earlier one if there was one; its first answer says how that went."""
        self.connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._child, str(theirs.fileno())],
            pass_fds=(theirs.fileno(), self._shared),
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers itself
        )
        theirs.close()
        with contextlib.suppress(OSError):  # it has died, which `answer` finds out
            self.connection.send_bytes(self._setup)
            self.connection.send((self.env_indices, self._shared))

    @property
    def pid(self) -> int:
        """Return the number of the process."""
        return self._process.pid

    def ask(self, *message: Any) -> None:
        """Send a request; `answer` has what comes of it."""
        with contextlib.suppress(OSError):  # it has died, which `answer` finds out
            self.connection.send(message)

    def answer(self, patience: float = 0.0) -> Any:
        """Return the answer, or a `Fault` when the process has died or hangs; raise `UsageError` when it sends one."""
        timeout = max(self._timeout, patience)
        try:
            if not self.connection.poll(timeout):
                return Fault(f"it gave no answer for {timeout:g} seconds")
            answer = self.connection.recv()
        except (EOFError, OSError):
            return self.died()
        if isinstance(answer, UsageError):
            raise answer
        return answer

    def died(self) -> Fault:
        """Return what is said of a process that has closed its end of the connection."""
        code = self.end(SECONDS_TO_DIE)
        return Fault(f"its process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})")

    def end(self, seconds: float = 0.0) -> int:
        """End the process and all that it started, after some seconds to do so itself; return its exit code."""
        self.hang_up()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()

    def hang_up(self) -> None:
        """Let the process know that nothing more is wanted."""
        self.connection.close()


def end_with_parent(patience: Callable[[], float] = lambda: 0.0) -> None:
    """End this process and all that it started once its parent is gone, whatever its environments are busy with.

    It has so many seconds of `patience` to end by itself.
    """
    threading.Thread(target=_end_with, args=(os.getppid(), patience), daemon=True).start()


def _end_with(parent: int, patience: Callable[[], float]) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    time.sleep(patience())
    os.killpg(os.getpid(), signal.SIGKILL)


def failed(fault: Fault, more: str = "") -> EnvironmentFailed:
    """Return the error for what went wrong in a worker, with `more` behind its message."""
    error = EnvironmentFailed(f"an environment failed in its worker: {fault.message}{more}")
    error.__cause__ = RemoteTraceback(f"\n{fault.traceback}") if fault.traceback else None
    return error
