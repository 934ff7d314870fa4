"""Collectors as processes of this machine: weights and rows lie in memory that all share, pipes carry the rest."""

import math
import pickle
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any

from torch import Tensor

from rucksac.agent import Agent
from rucksac.environments.processes import SECONDS_TO_END, SECONDS_TO_START, Worker, shared_file
from rucksac.experience.ring import Ring
from rucksac.training.collector_process import BEGAN, CHILD, STEPPED, shared

LONGEST_SLEEP = 0.02  # seconds until what a clock brings is noticed


class LocalCollector(Worker):
    """The learner's end of one process: see `crew.CollectorWorker`."""

    def __init__(self, env_index: int, setup: bytes, shared: int, timeout: float, ring: Ring) -> None:
        self.ring = ring
        super().__init__([env_index], setup, shared, timeout, CHILD)

    @property
    def begun(self) -> int:
        return self.ring.begun

    def start(self) -> None:
        self.ring.clear()
        super().start()

    def hear(self) -> Iterator[Any]:
        while (told := self._message()) is not None:
            if told in (BEGAN, STEPPED):
                yield self.ring.read()
            else:
                yield from self.ring.news()  # they were counted before it went wrong
                yield told
        yield from self.ring.news()

    def _message(self) -> Any:
        """Return the next message: what announces a row, or what else there is to know; None when there is none."""
        try:
            if not self.connection.poll():
                return None
            message = self.connection.recv_bytes()
        except (EOFError, OSError):
            return self.died()
        return message if message in (BEGAN, STEPPED) else pickle.loads(message)  # from a process of our own


class LocalCollectors:
    """As many processes as `config.collectors`: see `crew.Engine`."""

    seconds_to_start = SECONDS_TO_START

    def __init__(self, setup: bytes, agent: Agent) -> None:
        self.config, self._file = agent.config, shared_file()
        fileno = self._file.fileno()
        self._weights, rings = shared(fileno, agent)
        self.workers = [
            LocalCollector(number, setup, fileno, self.config.env_timeout, ring) for number, ring in enumerate(rings)
        ]

    def publish(self, tensors: Sequence[Tensor], grad_steps: int) -> None:
        self._weights.publish(tensors, grad_steps)

    def wait(self, alive: Sequence[int], seconds: float) -> Sequence[int]:
        """See `crew.Engine`; what a clock brings is not announced by a message."""
        if self.config.control_rate:
            seconds = min(seconds, 0.5 / self.config.control_rate, LONGEST_SLEEP)
        by_connection: dict[Any, int] = {self.workers[number].connection: number for number in alive}
        heard = wait(list(by_connection), None if math.isinf(seconds) else seconds)
        return alive if self.config.control_rate else [by_connection[each] for each in heard]

    def close(self) -> None:
        """End all, once; a robot has as long for that as for any answer."""
        if self._file.closed:
            return
        for worker in self.workers:
            worker.hang_up()
        deadline = time.monotonic() + (self.config.env_timeout if self.config.control_rate else SECONDS_TO_END)
        for worker in self.workers:
            worker.end(max(0.0, deadline - time.monotonic()))
        self._file.close()
