"""The learner's end of collectors: starts them, hears of their rows and failures, starts them anew.

Where collectors run is the matter of an engine: in processes of this machine, or as actors on a Ray cluster.
"""

import dataclasses
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from rucksac.agent import Agent
from rucksac.config import Config
from rucksac.environments.env_group import nothing_played
from rucksac.environments.making import EnvSource
from rucksac.environments.opening import evaluated_in
from rucksac.environments.processes import Fault, Faults, failed
from rucksac.environments.reading import check_same, from_json
from rucksac.environments.spaces import Stepped
from rucksac.environments.workers import WorkerEnvGroup
from rucksac.training.collector_process import NO_ACTION

LONGEST_PAUSE = 30.0  # seconds before a collector is started anew


class CollectorWorker(Protocol):
    """The learner's end of one collector's process, on whatever machine that is.

    Its process is asked for one thing after the other. `begun` are the steps that it has begun since its start, whether
    or not anything was heard of them.
    """

    @property
    def begun(self) -> int: ...

    def start(self) -> None:
        """Start the process, in place of an earlier one if there was one; it tells its spaces once it is ready."""

    def ask(self, *message: Any) -> None:
        """Send a request: the name of a method of `Acting`, and its arguments."""

    def answer(self, patience: float = 0.0) -> Any:
        """Wait for the answer to a request and return it, or a `Fault`; raise `UsageError` when it sends one."""

    def hear(self) -> Iterator[Any]:
        """Yield what it has told since the last time: rows, its spaces, or a `Fault` or an error, which end it."""

    def end(self) -> Any:
        """End the process at once."""


class Engine(Protocol):
    """Where collectors run: as many as `config.collectors`, each with one environment.

    A process that is started is ready after `seconds_to_start` or not at all.
    """

    seconds_to_start: float

    @property
    def workers(self) -> Sequence[CollectorWorker]: ...

    def publish(self, tensors: Sequence[Tensor], grad_steps: int) -> None:
        """Have what is granted from now on done with these weights, of after so many gradient steps, or newer ones."""

    def wait(self, alive: Sequence[int], seconds: float) -> Sequence[int]:
        """Wait until one of these workers may have something to tell, or so many seconds; return which have."""

    def close(self) -> None:
        """End all, once; they have some seconds to close their environments."""


def evaluation_group(source: EnvSource, config: Config, faults: Faults) -> WorkerEnvGroup:
    """Return what a run with collectors evaluates in: no environment is made in the process that learns."""
    alone = dataclasses.replace(
        config, envs=1, workers=1, collectors=0, most_lag=Config.most_lag, control_rate=None, eval_env=None
    )
    return WorkerEnvGroup(evaluated_in(source, config), alone, faults)


class Member:
    """One collector, as the learner knows it.

    `granted` has, for each granted step that has not been taken over, the gradient steps when it was granted; `rows`
    are those that have come and not been taken over. A process that is `ready` is `working` once it has been told what
    to begin with, `begins` while it begins an episode, and `lost` from its failure until that has been taken over.

    One with a clock has one grant that stands: with the gradient steps of the weights behind its last row, as those
    behind the next are no older. `paced` is how it was told to act, at random or not.
    """

    def __init__(self, worker: CollectorWorker) -> None:
        self.worker = worker
        self.granted: deque[int] = deque()
        self.rows: deque[np.void] = deque()
        self.alive, self.ready, self.working, self.begins, self.lost = True, False, False, False, False
        self.paced: bool | None = None
        self.stepped, self.failures = 0, 0
        self.heard, self.starts_at = time.monotonic(), math.inf  # its last sign of life; when it is started anew

    def note(self, row: np.void) -> None:
        """Take note of a row that has come."""
        self.rows.append(row)
        self.stepped += int(row["grad_steps"] != NO_ACTION)

    def has_room(self, granted: int) -> bool:
        """Return whether it works and has been granted no more steps than these."""
        return self.working and len(self.granted) <= granted

    def deadline(self, seconds: float, to_start: float) -> float:
        """Return when it counts as hanging, given the seconds that it may take for an answer, and to start."""
        if not self.alive or (self.ready and not self.granted and not self.begins):
            return math.inf
        return self.heard + (seconds if self.ready else max(seconds, to_start))

    def due(self) -> float:
        """Return when its process is started anew: not before all that it left has been taken over."""
        return math.inf if self.lost else self.starts_at


class Crew:
    """Collectors on one engine, with an environment each."""

    seeded = True

    def __init__(self, engine: Engine, agent: Agent, faults: Faults) -> None:
        self.engine, self.spaces, self.config, self._faults = engine, agent.spaces, agent.config, faults
        self.members = [Member(worker) for worker in engine.workers]
        try:
            for member in self.members:
                if isinstance(answer := member.worker.answer(engine.seconds_to_start), Fault):
                    raise failed(answer)
                check_same(from_json(answer), self.spaces)
                member.ready = True
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return self.config.collectors

    def play(self, env_index: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        """See `Replayable`; a collector that fails has played nothing and is started anew.

        One with a clock plays nothing: actions of long ago are not for a robot.
        """
        if self.config.control_rate:
            return nothing_played(self.spaces)
        member = self.members[env_index]
        member.worker.ask("play", seed, actions)
        answer: Any = member.worker.answer()
        if isinstance(answer, Fault):
            self._fail(env_index, answer)
            return nothing_played(self.spaces)
        return answer

    def start(self, env_index: int, started: int, words: np.ndarray, goes_on: bool) -> None:
        """Tell a collector what to begin with: see `Acting.start`."""
        member = self.members[env_index]
        member.worker.ask("start", started, words, goes_on)
        member.working, member.heard = True, time.monotonic()
        member.begins = not goes_on and not self.config.control_rate

    def pace(self, env_index: int, at_random: bool, grad_steps: int) -> None:
        """Let a collector act by its clock from now on, with weights no older than after these gradient steps."""
        member = self.members[env_index]
        if not member.granted:
            member.granted.append(grad_steps)
            member.heard = time.monotonic()
        if member.paced != at_random:
            member.paced = at_random
            member.worker.ask("pace", at_random)

    def grant(self, env_index: int, at_random: bool, grad_steps: int) -> None:
        """Let a collector act once more; its weights are then no older than these gradient steps."""
        member = self.members[env_index]
        if not member.granted:
            member.heard = time.monotonic()
        member.granted.append(grad_steps)
        member.worker.ask("step", at_random)

    def listen(self, waits: bool) -> None:
        """Hear what there is to hear, after waiting for it if there is nothing.

        Raises what a collector cannot go on with, and `EnvironmentFailed` for one failure too many.
        """
        timeout, to_start = self.config.env_timeout, self.engine.seconds_to_start
        wakes_at = min(min(each.deadline(timeout, to_start), each.due()) for each in self.members)
        alive = [number for number, each in enumerate(self.members) if each.alive]
        for env_index in self.engine.wait(alive, max(0.0, wakes_at - time.monotonic()) if waits else 0.0):
            self._hear(env_index)
        now = time.monotonic()
        for env_index, member in enumerate(self.members):
            if member.deadline(timeout, to_start) <= now:
                silent = timeout if member.ready else max(timeout, to_start)
                self._fail(env_index, Fault(f"it gave no answer for {silent:g} seconds"))
            elif member.due() <= now:
                member.worker.start()
                member.alive, member.stepped, member.starts_at, member.heard = True, 0, math.inf, now

    def close(self) -> None:
        """End all, once."""
        for member in self.members:
            member.granted.clear()
        self.engine.close()

    def _hear(self, env_index: int) -> None:
        member = self.members[env_index]
        for told in member.worker.hear():
            member.heard = time.monotonic()
            if isinstance(told, np.void):
                member.note(told)
            elif isinstance(told, Fault):
                self._fail(env_index, told)
                return
            elif isinstance(told, Exception):
                raise told
            else:
                check_same(from_json(told), self.spaces)
                member.ready = True

    def _fail(self, env_index: int, fault: Fault) -> None:
        """Take note that a collector is gone; it is started anew after a pause that doubles each time."""
        member = self.members[env_index]
        gone = member.worker.begun - member.stepped
        self._faults.count(fault._replace(message=f"{fault.message}; steps lost on the way: {gone}"), [env_index])
        member.worker.end()
        member.alive, member.ready, member.working, member.lost, member.paced = False, False, False, True, None
        member.starts_at = time.monotonic() + min(LONGEST_PAUSE, 0.5 * 2**member.failures)
        member.failures += 1
