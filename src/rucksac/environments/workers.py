"""Environments in processes of their own: actions and observations in shared memory, failures told and mended.

A worker is a fresh interpreter, so it needs nothing of how the program was started, and no framework: it runs
environments on one thread. What is sent both ways is small; the numbers lie in a file that both have in memory.
"""

import contextlib
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import cloudpickle
import numpy as np

from rucksac.config import Config
from rucksac.environments.lanes import Began, Lost, nothing_played
from rucksac.environments.lanes import play as play_in
from rucksac.environments.making import EnvSource, make_one, name_of
from rucksac.environments.reading import check_same, from_json, spaces_of, to_json
from rucksac.environments.spaces import Door, Spaces, Stepped
from rucksac.errors import ANYTHING, EnvironmentFailed, UsageError

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
SECONDS_TO_START, SECONDS_TO_END, SECONDS_TO_DIE, SECONDS_BETWEEN_LOOKS = 60.0, 5.0, 2.0, 1.0
SHARED_MEMORY = "/dev/shm"
CHILD = "import sys; from rucksac.environments.workers import serve; serve(int(sys.argv[1]))"


class Fault(NamedTuple):
    """What went wrong in a worker; the traceback is of the environment's own code, empty when the process is gone."""

    message: str
    traceback: str = ""


class Faults:
    """How many failures a run has survived, in training and in evaluation, and how many it may."""

    def __init__(self, allowed: int, say: Callable[[str], None]) -> None:
        self.allowed, self.seen, self._say = allowed, 0, say
        self._last: dict[int, str] = {}  # what a lane's environment raised since it last finished an episode

    def finished(self, lane: int) -> None:
        """Take note that the environment in this lane finished an episode."""
        self._last.pop(lane, None)

    def count(self, fault: Fault, lanes: list[int]) -> None:
        """Take note of one more; raise `EnvironmentFailed` when it is one too many, or the same at once again."""
        if fault.traceback and self._last.get(lanes[0]) == fault.message:
            raise _failed(fault, "; it did the same in the episode before")
        self._last[lanes[0]] = fault.message
        self.seen += 1
        if self.seen > self.allowed:
            raise _failed(fault, f"; --restarts {self.allowed} are used up")
        which = f"Environment {lanes[0]}" if len(lanes) == 1 else f"Environments {lanes[0]} to {lanes[-1]}"
        self._say(
            f"{which} of a worker: {fault.message}. Made anew, failure {self.seen} of {self.allowed} that this run "
            f"survives; what was under way there ends as truncated.\n{fault.traceback}".rstrip()
        )


class RemoteTraceback(Exception):
    """The traceback of what an environment raised in a worker."""


def shared_rows(fileno: int, lanes: int, spaces: Spaces) -> np.ndarray:
    """Return what parent and workers share: a row for each lane, in the memory of the open file."""
    kind = np.dtype(
        [
            ("action", np.float32, (spaces.action_size,)),
            ("obs", np.float32, (spaces.obs_size,)),
            ("reward", np.float64),
            ("ends", np.bool_, (2,)),  # terminated, truncated
        ],
        align=True,
    )
    os.truncate(fileno, lanes * kind.itemsize)
    return np.frombuffer(mmap.mmap(fileno, lanes * kind.itemsize), kind)


class Worker:
    """The parent's end of one process and the lanes it has."""

    def __init__(self, lanes: list[int], setup: bytes, shared: int, timeout: float) -> None:
        self.lanes, self._setup, self._shared, self._timeout = lanes, setup, shared, timeout
        self.start()

    def start(self) -> None:
        """Start the process, in place of an earlier one if there was one; its first answer says how that went."""
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(theirs.fileno())],
            pass_fds=(theirs.fileno(), self._shared),
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            start_new_session=True,  # Ctrl-C is for the parent, which ends its workers itself
        )
        theirs.close()
        with contextlib.suppress(OSError):  # it has died, which `answer` finds out
            self._connection.send_bytes(self._setup)
            self._connection.send((self.lanes, self._shared))

    def ask(self, *message: Any) -> None:
        """Send a request; `answer` has what comes of it."""
        with contextlib.suppress(OSError):  # it has died, which `answer` finds out
            self._connection.send(message)

    def answer(self, patience: float = 0.0) -> Any:
        """Return the answer, or a `Fault` when the process has died or hangs; raise `UsageError` when it sends one."""
        timeout = max(self._timeout, patience)
        try:
            if not self._connection.poll(timeout):
                return Fault(f"it gave no answer for {timeout:g} seconds")
            answer = self._connection.recv()
        except (EOFError, OSError):
            code = self.end(SECONDS_TO_DIE)
            return Fault(f"its process died ({f'signal {-code}' if code < 0 else f'exit code {code}'})")
        if isinstance(answer, UsageError):
            raise answer
        return answer

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
        self._connection.close()


class Workers:
    """Lanes in processes; what comes out is the same for any number of them.

    An environment that raises, dies or hangs is made anew, at most `config.restarts` times in all.
    """

    seeded = True

    def __init__(self, source: EnvSource, config: Config, faults: Faults) -> None:
        if os.name == "nt":
            raise UsageError("--workers is not for Windows; leave it out, --envs alone works there")
        self.config, self._faults = config, faults
        self._under_way: set[int] = set()  # lanes whose episode has begun and is not lost
        try:
            setup = cloudpickle.dumps((source, config))
        except Exception as error:  # whatever the things inside raise when they are asked to be pickled
            raise UsageError(
                f"{name_of(source)} cannot be sent to a worker ({error}); make it hold nothing but what makes an "
                "environment, or leave out --workers"
            ) from error
        self._file = tempfile.TemporaryFile(dir=SHARED_MEMORY if os.path.isdir(SHARED_MEMORY) else None)  # noqa: SIM115
        shares = [share.tolist() for share in np.array_split(np.arange(config.envs), config.workers)]
        self._workers = [Worker(share, setup, self._file.fileno(), config.env_timeout) for share in shares]
        try:
            found = [self._spaces_in(worker) for worker in self._workers]
            for other in found:
                check_same(other, found[0])
        except BaseException:
            self.close()
            raise
        self.spaces = found[0]
        self._rows = shared_rows(self._file.fileno(), config.envs, self.spaces)

    def __len__(self) -> int:
        return self.config.envs

    def reset(self, seeds: dict[int, int]) -> dict[int, np.ndarray]:
        """See `Lanes`; where an environment fails, its new one is tried again."""
        left = dict(seeds)
        while left:
            for lane in self._ask("reset", {lane: (seed,) for lane, seed in left.items()}):
                del left[lane]
                self._under_way.add(lane)
        return {lane: self._rows["obs"][lane].copy() for lane in seeds}

    def step(self, actions: np.ndarray) -> list[Stepped | Began | Lost]:
        """See `Lanes`."""
        self._rows["action"] = actions
        answered = self._ask("step", {lane: () for lane in range(len(self)) if lane in self._under_way})
        rows = self._rows.copy()
        for lane in answered:
            if rows["ends"][lane].any():
                self._faults.finished(lane)
        return [
            Stepped(row["obs"], float(row["reward"]), *map(bool, row["ends"])) if lane in answered else Lost()
            for lane, row in enumerate(rows)
        ]

    def play(self, lane: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        """See `Lanes`; an environment that fails has played nothing."""
        played = self._ask("play", {lane: (seed, actions)}).get(lane) or nothing_played(self.spaces)
        self._under_way.add(lane)
        return played

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.hang_up()
        deadline = time.monotonic() + SECONDS_TO_END
        for worker in self._workers:
            worker.end(max(0.0, deadline - time.monotonic()))
        self._file.close()

    def _ask(self, request: str, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Return the answers of all lanes asked, but for those whose environment failed and has been made anew."""
        asked = {
            worker: own
            for worker in self._workers
            if (own := {lane: arguments[lane] for lane in worker.lanes if lane in arguments})
        }
        for worker, own in asked.items():
            worker.ask(request, own)
        answered = {}
        for worker in asked:
            answers = worker.answer()
            if isinstance(answers, Fault):
                self._replace(worker, answers)
                continue
            for lane, answer in answers.items():
                if isinstance(answer, Fault):
                    self._renew(worker, lane, answer)
                else:
                    answered[lane] = answer
        return answered

    def _spaces_in(self, worker: Worker) -> Spaces:
        """Return the spaces of the environments that a worker has just made."""
        answer = worker.answer(SECONDS_TO_START)
        if isinstance(answer, Fault):
            raise _failed(answer)
        return from_json(answer)

    def _replace(self, worker: Worker, fault: Fault) -> None:
        """Start a new process for all lanes of one that is gone."""
        self._count(fault, worker.lanes)
        worker.end()
        worker.start()
        if isinstance(answer := worker.answer(SECONDS_TO_START), Fault):
            self._replace(worker, answer)
        else:
            check_same(from_json(answer), self.spaces)

    def _renew(self, worker: Worker, lane: int, fault: Fault) -> None:
        """Let the worker make one environment anew."""
        self._count(fault, [lane])
        worker.ask("renew", {lane: ()})
        answers = worker.answer(SECONDS_TO_START)
        if isinstance(answers, Fault):
            self._replace(worker, answers)
        elif isinstance(another := answers[lane], Fault):
            self._renew(worker, lane, another)

    def _count(self, fault: Fault, lanes: list[int]) -> None:
        self._under_way.difference_update(lanes)
        self._faults.count(fault, lanes)


def serve(connection_fileno: int) -> None:
    """Be a worker: make environments, answer requests until the parent closes the connection."""
    connection = Connection(connection_fileno)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    source, config = cloudpickle.loads(connection.recv_bytes())
    lanes, shared = connection.recv()
    doors: dict[int, Door] = {}
    rows = np.empty(0)  # shared once the parent knows the spaces

    def renew(lane: int) -> None:
        if lane in doors:
            with contextlib.suppress(*ANYTHING):  # it has failed already
                doors[lane].env.close()
        env = make_one(source, config)
        door = Door(env, spaces_of(env, config.action_low, config.action_high))
        for other in doors.values():
            check_same(door.spaces, other.spaces)
        doors[lane] = door

    def reset(lane: int, seed: int) -> None:
        rows[lane]["obs"] = doors[lane].reset(seed)

    def step(lane: int) -> None:
        row = rows[lane]
        row["obs"], row["reward"], *ends = doors[lane].step(row["action"].copy())
        row["ends"] = ends

    def play(lane: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        return play_in(doors[lane], seed, actions)

    requests = {each.__name__: each for each in (renew, reset, step, play)}
    try:
        try:
            made = [_attempt(renew, lane) for lane in lanes]
        except UsageError as error:
            connection.send(UsageError(str(error)))
            return
        spaces = doors[lanes[0]].spaces if lanes[0] in doors else None
        connection.send(next((fault for fault in made if fault), spaces and to_json(spaces)))
        while True:
            request, arguments = connection.recv()
            rows = rows if rows.size else shared_rows(shared, config.envs, doors[lanes[0]].spaces)
            try:
                answers = {lane: _attempt(requests[request], lane, *own) for lane, own in arguments.items()}
            except UsageError as error:
                connection.send(UsageError(str(error)))
            else:
                connection.send(answers)
    except (EOFError, ConnectionError):  # the parent is done, or gone
        pass
    finally:
        for door in doors.values():
            with contextlib.suppress(*ANYTHING):  # nobody is left to be told
                door.env.close()


def _end_with(parent: int) -> None:
    """End this process and all that it started once its parent is gone, whatever its environments are busy with."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.killpg(os.getpid(), signal.SIGKILL)


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except EnvironmentFailed as error:
        return Fault(str(error), "".join(traceback.format_exception(error.__cause__)))


def _failed(fault: Fault, more: str = "") -> EnvironmentFailed:
    error = EnvironmentFailed(f"an environment failed in its worker: {fault.message}{more}")
    error.__cause__ = RemoteTraceback(f"\n{fault.traceback}") if fault.traceback else None
    return error
