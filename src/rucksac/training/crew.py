"""The learner's end of collectors' processes: starts them, hears of their rows and failures, starts them anew."""

import dataclasses
import math
import pickle
import time
from collections import deque
from multiprocessing.connection import wait
from typing import Any

import numpy as np
from torch import nn

from rucksac.agent import Agent
from rucksac.config import Config
from rucksac.environments.env_group import nothing_played
from rucksac.environments.making import EnvSource
from rucksac.environments.opening import evaluated_in
from rucksac.environments.processes import (
    SECONDS_TO_END,
    SECONDS_TO_START,
    Fault,
    Faults,
    Worker,
    failed,
    setup_of,
    shared_file,
)
from rucksac.environments.reading import check_same, from_json
from rucksac.environments.spaces import Spaces, Stepped
from rucksac.environments.workers import WorkerEnvGroup
from rucksac.experience.ring import Ring
from rucksac.training.collector_process import BEGAN, CHILD, NO_ACTION, STEPPED, shared

LONGEST_PAUSE = 30.0  # seconds before a collector is started anew
LONGEST_SLEEP = 0.02  # seconds until what a clock brings is noticed


def evaluation_group(source: EnvSource, config: Config, faults: Faults) -> WorkerEnvGroup:
    """Return what a run with collectors evaluates in: no environment is made in the process that learns."""
    alone = dataclasses.replace(
        config, envs=1, workers=1, collectors=0, most_lag=Config.most_lag, control_rate=None, eval_env=None
    )
    return WorkerEnvGroup(evaluated_in(source, config), alone, faults)


class Member:
    """One collector, as the learner knows it.

    `granted` has, for each granted step that has not been taken over, the gradient steps when it was granted;
    `announced` are its rows that wait in the ring. A process that is `ready` is `working` once it has been told what
    to begin with, `begins` while it begins an episode, and `lost` from its failure until that has been taken over.

    One with a clock has one grant that stands: with the gradient steps of the weights behind its last row, as those
    behind the next are no older. `paced` is how it was told to act, at random or not.
    """

    def __init__(self, worker: Worker, ring: Ring) -> None:
        self.worker, self.ring = worker, ring
        self.granted: deque[int] = deque()
        self.announced: deque[bytes] = deque()
        self.alive, self.ready, self.working, self.begins, self.lost = True, False, False, False, False
        self.paced: bool | None = None
        self.stepped, self.failures = 0, 0
        self.heard, self.starts_at = time.monotonic(), math.inf  # its last sign of life; when it is started anew

    def announce(self, kind: bytes) -> None:
        """Take note of a row in the ring."""
        self.announced.append(kind)
        self.stepped += kind == STEPPED
        self.heard = time.monotonic()

    def has_room(self, granted: int) -> bool:
        """Return whether it works and has been granted no more steps than these."""
        return self.working and len(self.granted) <= granted

    def deadline(self, seconds: float) -> float:
        """Return when it counts as hanging, given the seconds that it may take for an answer."""
        if not self.alive or (self.ready and not self.granted and not self.begins):
            return math.inf
        return self.heard + (seconds if self.ready else max(seconds, SECONDS_TO_START))

    def due(self) -> float:
        """Return when its process is started anew: not before all that it left has been taken over."""
        return math.inf if self.lost else self.starts_at


class Crew:
    """As many processes as `config.collectors`, with an environment each."""

    seeded = True

    def __init__(
        self,
        source: EnvSource,
        agent: Agent,
        networks: tuple[nn.Module | None, nn.Module | None],
        threads: int,
        faults: Faults,
    ) -> None:
        self.spaces: Spaces = agent.spaces
        self.config, self._faults = agent.config, faults
        setup = setup_of(source, self.config, networks, threads)
        self._file = shared_file()
        fileno, timeout = self._file.fileno(), self.config.env_timeout
        self.weights, rings = shared(fileno, agent)
        self.members = [
            Member(Worker([number], setup, fileno, timeout, CHILD), ring) for number, ring in enumerate(rings)
        ]
        try:
            for member in self.members:
                if isinstance(answer := member.worker.answer(SECONDS_TO_START), Fault):
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
        by_connection = {each.worker.connection: index for index, each in enumerate(self.members) if each.alive}
        timeout = self.config.env_timeout
        wakes_at = min(min(each.deadline(timeout), each.due()) for each in self.members)
        patience = max(0.0, wakes_at - time.monotonic()) if waits else 0.0
        if self.config.control_rate:  # what a clock brings is not announced by a message
            patience = min(patience, 0.5 / self.config.control_rate, LONGEST_SLEEP)
        for connection in wait(list(by_connection), None if math.isinf(patience) else patience):
            self._hear(by_connection[connection])  # type: ignore[index]
        now = time.monotonic()
        for env_index, member in enumerate(self.members):
            for row in member.ring.news():
                member.announce(BEGAN if row["grad_steps"] == NO_ACTION else STEPPED)
            if member.deadline(timeout) <= now:
                self._fail(env_index, Fault(f"it gave no answer for {timeout:g} seconds"))
            elif member.due() <= now:
                member.ring.clear()
                member.worker.start()
                member.alive, member.stepped, member.starts_at, member.heard = True, 0, math.inf, now

    def close(self) -> None:
        """End all, once; a robot has as long for that as for any answer."""
        if self._file.closed:
            return
        for member in self.members:
            member.granted.clear()
            member.worker.hang_up()
        deadline = time.monotonic() + (self.config.env_timeout if self.config.control_rate else SECONDS_TO_END)
        for member in self.members:
            member.worker.end(max(0.0, deadline - time.monotonic()))
        self._file.close()

    def _hear(self, env_index: int) -> None:
        member = self.members[env_index]
        try:
            while member.alive and member.worker.connection.poll():
                message = member.worker.connection.recv_bytes()
                member.heard = time.monotonic()
                if message in (BEGAN, STEPPED):
                    member.announce(message)
                    continue
                told = pickle.loads(message)  # from a process of our own
                if isinstance(told, Fault):
                    self._fail(env_index, told)
                elif isinstance(told, Exception):
                    raise told
                else:
                    check_same(from_json(told), self.spaces)
                    member.ready = True
        except (EOFError, OSError):
            self._fail(env_index, member.worker.died())

    def _fail(self, env_index: int, fault: Fault) -> None:
        """Take note that a collector is gone; it is started anew after a pause that doubles each time."""
        member = self.members[env_index]
        gone = member.ring.begun - member.stepped
        self._faults.count(fault._replace(message=f"{fault.message}; steps lost on the way: {gone}"), [env_index])
        member.worker.end()
        member.alive, member.ready, member.working, member.lost, member.paced = False, False, False, True, None
        member.starts_at = time.monotonic() + min(LONGEST_PAUSE, 0.5 * 2**member.failures)
        member.failures += 1
