"""Collectors as actors on a Ray cluster: a call asks for something, such as a step, and its answer is what came of it.

Nothing is shared. The newest weights go with the first call that they are for; rows come back with answers, in the
order of the calls. Each side counts calls and steps, so none is taken twice and none goes missing unnoticed. Ray
repeats no call and starts no actor anew: that is the learner's matter, as with any collector.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import cloudpickle
import numpy as np
import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError, RayTaskError
from torch import Tensor

from rucksac.agent import Agent
from rucksac.environments.processes import SECONDS_TO_END, Fault
from rucksac.environments.reading import to_json
from rucksac.errors import UsageError
from rucksac.experience.ring import Ring, bytes_for_ring, row_type
from rucksac.training.collector_process import (
    NO_ACTION,
    TOLD,
    Acting,
    columns_of_ring,
    made,
    rows_of_ring,
    what_went_wrong,
)

LONGEST_WAIT = 1.0  # seconds that the learner waits in Ray, where it hears no signal


class Posted(NamedTuple):
    """Weights on their way to collectors: the values of all tensors, and after how many gradient steps they are."""

    arrays: list[np.ndarray]
    grad_steps: int


class Answer(NamedTuple):
    """What comes of a call: its number, the steps that the collector has begun in all, and what it has to tell.

    A row is told as bytes.
    """

    number: int
    begun: int
    told: list[Any]


class PostedWeights:
    """See `collector_process.Weights`; `newest` came with a call and has not been received yet."""

    def __init__(self) -> None:
        self.version = self._grad_steps = 0
        self.newest: Posted | None = None

    def receive(self, tensors: Sequence[Tensor]) -> int:
        if self.newest:
            for tensor, array in zip(tensors, self.newest.arrays, strict=True):
                tensor.numpy()[...] = array
            self.version, self._grad_steps, self.newest = self.version + 1, self.newest.grad_steps, None
        return self._grad_steps


class Mailbox:
    """See `collector_process.Line`; reads rows as they are written, and keeps what is told until the call is over."""

    def __init__(self, ring: Ring) -> None:
        self._ring, self.told = ring, list[Any]()

    def send(self, told: Any) -> None:
        self.told.append(told)

    def send_bytes(self, _kind: bytes) -> None:
        self.told.append(self._ring.read().tobytes())


class Actor:
    """A collector's own process, on some node of the cluster. Ray makes one call after the other."""

    def __init__(self, setup: bytes, env_index: int, path: list[str]) -> None:
        sys.path += [each for each in path if each not in sys.path]
        self._setup, self._env_index, self._number = setup, env_index, 0
        self._cleanup, self._weights = ExitStack(), PostedWeights()
        self._acting: Acting | None = None

    def make(self) -> Answer:
        """Make an environment and an agent; tell the environment's spaces."""
        try:
            adapter, agent = self._cleanup.enter_context(made(*cloudpickle.loads(self._setup)))
        except TOLD as error:
            return Answer(0, 0, [what_went_wrong(error)])
        columns, rows = columns_of_ring(agent.spaces), rows_of_ring(agent.config)
        memory = memoryview(bytearray(bytes_for_ring(rows, columns)))
        self._ring, self._mailbox = Ring(memory, rows, columns), Mailbox(Ring(memory, rows, columns))
        self._acting = Acting(self._mailbox, adapter, agent, self._weights, self._ring, self._env_index)
        return Answer(0, 0, [to_json(adapter.spaces)])

    def do(self, number: int, request: str, arguments: tuple[Any, ...], weights: Posted | None) -> Answer:
        """Do what is asked for, with these weights from now on if there are any."""
        if not self._acting or number != self._number + 1:
            raise RuntimeError(f"call {number} came after call {self._number}, which may have been the last")
        self._number, self._mailbox.told = number, []
        if weights:
            self._weights.newest = weights
        try:
            getattr(self._acting, request)(*arguments)
        except TOLD as error:
            self.close()
            self._mailbox.send(what_went_wrong(error))
        return Answer(number, self._ring.begun, self._mailbox.told)

    def close(self) -> None:
        """Close the environment; nothing is done any more."""
        self._acting = None
        self._cleanup.close()


class RayCollector:
    """The learner's end of one actor: see `crew.CollectorWorker`."""

    def __init__(self, engine: "RayCollectors", env_index: int) -> None:
        self._engine, self._env_index = engine, env_index
        self._closing: ray.ObjectRef[Any] | None = None
        self.start()

    @property
    def begun(self) -> int:
        """Return the steps that it was asked for: whether one was begun is not known before its answer is there."""
        return self._asked

    @property
    def next(self) -> "ray.ObjectRef[Any] | None":
        """Return the answer that comes next, None when nothing has been asked for."""
        return self._calls[0] if self._calls else None

    def start(self) -> None:
        self._actor: Any = self._engine.actors.remote(self._engine.setup, self._env_index, self._engine.path)
        self._number = self._asked = self._came = self._version = self._heard = 0
        self._calls = deque([self._actor.make.remote()])

    def ask(self, *message: Any) -> None:
        request, *arguments = message
        weights = None
        if self._version != self._engine.version:
            weights, self._version = self._engine.newest, self._engine.version
        self._number += 1
        self._asked += request == "step"
        self._calls.append(self._actor.do.remote(self._number, request, tuple(arguments), weights))

    def answer(self, patience: float = 0.0) -> Any:
        timeout = max(self._engine.config.env_timeout, patience)
        if not ray.wait([self._calls[0]], timeout=timeout)[0]:
            return Fault(f"it gave no answer for {timeout:g} seconds")
        (told,) = self._told(self._calls.popleft())
        if isinstance(told, UsageError):
            raise told
        return told

    def hear(self) -> Iterator[Any]:
        while self._calls and ray.wait([self._calls[0]], timeout=0)[0]:
            yield from self._told(self._calls.popleft())

    def hang_up(self) -> None:
        """Let it close its environment; nothing more is wanted."""
        self._closing = self._actor.close.remote()

    def end(self, seconds: float = 0.0) -> None:
        """End the actor, after some seconds to do so itself if it was told that nothing more is wanted."""
        if self._closing:
            ray.wait([self._closing], timeout=seconds)
        ray.kill(self._actor)

    def _told(self, call: "ray.ObjectRef[Any]") -> Iterator[Any]:
        """Yield what an answer tells, or a `Fault` where there is none or the two sides count differently."""
        try:
            answer: Answer = ray.get(call, timeout=self._engine.config.env_timeout)
        except RayError as error:
            yield _fault(error)
            return
        told = [self._engine.row(each) if isinstance(each, bytes) else each for each in answer.told]
        self._came += sum(isinstance(each, np.void) and each["grad_steps"] != NO_ACTION for each in told)
        if told and not isinstance(told[-1], np.void):
            yield from told  # what is last may be that a step failed, which was begun
        elif (answer.number, answer.begun) == (self._heard + 1, self._came):
            yield from told
        else:
            yield Fault(f"its call {answer.number} left {answer.begun} steps behind it, of which {self._came} came")
        self._heard = answer.number


class RayCollectors:
    """As many actors as `config.collectors`, wherever the cluster has a processor for each: see `crew.Engine`.

    A node that is new starts Python, Ray and PyTorch from a cold disk.
    """

    seconds_to_start = 180.0

    def __init__(self, setup: bytes, agent: Agent) -> None:
        self.config, self._columns = agent.config, columns_of_ring(agent.spaces)
        self.setup, self.path = ray.put(setup), [*map(os.path.abspath, sys.path)]
        self.version = 0
        self.newest: Any = None
        self.actors: Any = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Actor)
        self.workers = [RayCollector(self, env_index) for env_index in range(self.config.collectors)]

    def row(self, row: bytes) -> np.void:
        """Return a row that came as bytes."""
        return np.frombuffer(row, row_type(self._columns))[0]

    def publish(self, tensors: Sequence[Tensor], grad_steps: int) -> None:
        self.newest = ray.put(Posted([tensor.cpu().numpy() for tensor in tensors], grad_steps))
        self.version += 1

    def wait(self, alive: Sequence[int], seconds: float) -> Sequence[int]:
        calls = {call: number for number in alive if (call := self.workers[number].next)}
        if not calls:
            time.sleep(min(seconds, LONGEST_WAIT))
            return []
        ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        if not ready and seconds:
            ready, _ = ray.wait(list(calls), timeout=min(seconds, LONGEST_WAIT))
        return [calls[each] for each in ready]

    def close(self) -> None:
        for worker in self.workers:
            worker.hang_up()
        deadline = time.monotonic() + SECONDS_TO_END
        for worker in self.workers:
            worker.end(max(0.0, deadline - time.monotonic()))
        self.workers = []


def _fault(error: RayError) -> Fault:
    """Return what is said of a call that has no answer."""
    if isinstance(error, RayTaskError):
        return Fault(f"it failed with {type(error.cause).__name__}: {error.cause}", str(error))
    gone = isinstance(error, ActorUnavailableError | GetTimeoutError) or "its node" in str(error)
    return Fault("its node is gone or cannot be reached" if gone else "its process died")
