"""A collector's own process: acts in one environment with the newest weights.

It acts whenever the learner grants a step or, with a control rate, whenever its own clock ticks, until the learner says
otherwise, is gone, or has taken nothing over for so long that there is no more room: the environment is then closed.
"""

import contextlib
import math
import mmap
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Protocol

import cloudpickle
import numpy as np
from torch import Tensor, nn

from rucksac.agent import Agent
from rucksac.building import build, compile_acting
from rucksac.compilation import CompilerMissing, computing
from rucksac.config import Config
from rucksac.environments import env_group
from rucksac.environments.making import EnvSource, closed_at_last, make_one
from rucksac.environments.processes import Fault, end_with_parent
from rucksac.environments.reading import spaces_of, to_json
from rucksac.environments.spaces import EnvAdapter, Spaces
from rucksac.errors import EnvironmentFailed, TrainingStopped, UsageError
from rucksac.experience.columns import Column
from rucksac.experience.ring import Ring, bytes_for_ring
from rucksac.exploration import Moment
from rucksac.streams import Stream, generator, integer, put_words, words_of
from rucksac.training.pace import Clock
from rucksac.training.weights import SharedWeights, bytes_for_weights

CHILD = "import sys; from rucksac.training.collector_process import serve; serve(int(sys.argv[1]))"
BEGAN, STEPPED = b"b", b"s"  # what a message says of the row that it announces; anything longer is pickled
STEPS_AHEAD = 2  # steps that a collector may have been granted and that have not come back
RANDOM = -1  # gradient steps behind an action that no weights chose
NO_ACTION = -2  # in a row that begins an episode
MOST_ROWS = 1_000_000  # of a ring


class LearnerLost(Exception):
    """The learner takes nothing over any more."""


TOLD = (LearnerLost, EnvironmentFailed, UsageError, TrainingStopped)
"""Errors that a collector tells its learner; any other is a defect."""
Networks = tuple[nn.Module | None, nn.Module | None]
"""A policy and a critic of one's own."""


def columns_of_ring(spaces: Spaces) -> tuple[Column, ...]:
    """Return what a row in a ring holds: what an action led to, or the first observation of an episode.

    `grad_steps` are those of the weights that chose the action, `stream` is where its random numbers were then, `late`
    by how much of a control period it came late.
    """
    return (
        Column("obs", (spaces.obs_size,)),
        Column("action", (spaces.action_size,)),
        Column("reward", (), np.float64),
        Column("ends", (2,), np.bool_),  # terminated, truncated
        Column("grad_steps", (), np.int64),
        Column("stream", (4,), np.uint64),
        Column("late", (), np.float64),
    )


def rows_of_ring(config: Config) -> int:
    """Return the rows that a collector may be ahead by, with a clock about as long as an answer may take.

    Each step may begin an episode, which has a row of its own.
    """
    if config.control_rate is None:
        return 2 * STEPS_AHEAD + 2
    return min(MOST_ROWS, math.ceil(config.control_rate * config.env_timeout) + 2)


def shared(fileno: int, agent: Agent) -> tuple[SharedWeights, list[Ring]]:
    """Return what learner and collectors share, in the memory of the open file: the weights, and a ring for each."""
    columns, rows, collectors = columns_of_ring(agent.spaces), rows_of_ring(agent.config), agent.config.collectors
    weights, ring = bytes_for_weights(agent.acting_tensors()), bytes_for_ring(rows, columns)
    os.truncate(fileno, weights + collectors * ring)
    memory = memoryview(mmap.mmap(fileno, weights + collectors * ring))
    rings = [Ring(memory[begin : begin + ring], rows, columns) for begin in range(weights, len(memory), ring)]
    return SharedWeights(memory[:weights], agent.acting_tensors()), rings


def streams(seed: int, env_index: int) -> list[np.random.Generator]:
    """Return a collector's streams of random numbers, for random actions and for the policy's.

    The first collector has those of a run without collectors.
    """
    index = (env_index,) if env_index else ()
    return [generator(seed, stream, *index) for stream in (Stream.WARMUP, Stream.ACTING)]


class Line(Protocol):
    """A collector's way to its learner, such as the end of a pipe."""

    def send(self, told: Any, /) -> None:
        """Tell the learner something, such as what it asked for."""

    def send_bytes(self, kind: bytes, /) -> None:
        """Announce the row that was written last."""


class Weights(Protocol):
    """Weights as they come from the learner; `version` is that of those received last, 0 for none."""

    version: int

    def receive(self, tensors: Sequence[Tensor], /) -> int:
        """Put the newest into `tensors`; return their gradient steps."""


class Acting:
    """What a collector does when it is told to; its methods are the requests."""

    def __init__(self, line: Line, adapter: EnvAdapter, agent: Agent, weights: Weights, ring: Ring, env: int) -> None:
        self._line, self._adapter, self._agent = line, adapter, agent
        self._weights, self._ring, self._env_index = weights, ring, env
        self._streams = streams(agent.config.seed, env)
        agent.acting_noise = self._streams[1]
        self._obs, self._started, self._steps = np.empty(0, np.float32), 0, 0

    def play(self, seed: int, actions: np.ndarray) -> None:
        """Play an episode again and send what was seen."""
        first, steps = env_group.play(self._adapter, seed, actions)
        self._obs, self._steps = steps[-1].next_obs if steps else first, len(steps)
        self._line.send((first, steps))

    def start(self, started: int, words: np.ndarray, goes_on: bool) -> None:
        """Take up work after so many episodes: go on in the one that was played, or begin the next."""
        for stream, each in zip(self._streams, words, strict=True):
            put_words(stream, each)
        self._started = started
        if not goes_on:
            self._begin()

    def step(self, at_random: bool) -> None:
        """Act once, and begin the next episode where that ended one."""
        if not at_random:
            self._compile()
        self._act(at_random)

    def _compile(self) -> None:
        """Load what the learner has compiled, before the first weights come."""
        if not self._weights.version and self._agent.config.compile == "auto":
            with contextlib.suppress(CompilerMissing):  # then the learner has said so
                compile_acting(self._agent, only_cached=True)

    def _act(self, at_random: bool, late: float = 0.0) -> None:
        stream, agent, grad_steps = self._streams[not at_random], self._agent, RANDOM
        if at_random:
            action = agent.spaces.actions.random(stream, 1)[0]
        else:
            grad_steps = self._weights.receive(agent.acting_tensors())
            action = agent.act(self._obs[None], self._moments)[0]
        self._ring.begin()
        seen = self._adapter.step(action)
        ends = (seen.terminated, seen.truncated)
        self._ring.write(
            obs=seen.next_obs,
            action=action,
            reward=seen.reward,
            ends=ends,
            grad_steps=grad_steps,
            stream=words_of(stream),
            late=late,
        )
        self._obs, self._steps = seen.next_obs, self._steps + 1
        self._announce(STEPPED)
        if any(ends):
            self._begin()

    def _moments(self) -> list[Moment]:
        return [Moment(self._env_index, self._started, self._steps)]

    def _begin(self) -> None:
        seed = integer(self._agent.config.seed, Stream.EPISODE, self._env_index, self._started)
        self._obs, self._steps = self._adapter.reset(seed), 0
        self._started += 1
        self._ring.write(obs=self._obs, grad_steps=NO_ACTION)
        self._announce(BEGAN)

    def _announce(self, kind: bytes) -> None:
        """Let the learner have the row that was written last."""
        self._line.send_bytes(kind)


class ActingByTheClock(Acting):
    """A collector with a control rate acts at every tick of its clock, once that is set going."""

    def __init__(
        self, line: Connection, adapter: EnvAdapter, agent: Agent, weights: Weights, ring: Ring, env: int
    ) -> None:
        super().__init__(line, adapter, agent, weights, ring, env)
        assert agent.config.control_rate
        self._requests, self._clock, self._open = line, Clock(1.0 / agent.config.control_rate), False

    def start(self, started: int, words: np.ndarray, goes_on: bool) -> None:  # noqa: ARG002 (it has played nothing)
        """See `Acting`; the first episode begins with the clock."""
        super().start(started, words, goes_on=True)

    def pace(self, at_random: bool) -> None:
        """Act at every tick of the clock until there is another request, or no learner.

        Raises `LearnerLost` when there is no room for what is seen.
        """
        if not at_random:
            self._compile()
        if not self._open:
            self._begin()
        while not self._requests.poll(self._clock.left()):
            if self._ring.room < 2:
                seconds = self._agent.config.env_timeout
                raise LearnerLost(
                    f"nothing of what it saw was taken over for about {seconds:g} seconds, so it was closed"
                )
            late = self._clock.tick()
            self._act(at_random, late)

    def _begin(self) -> None:
        super()._begin()
        self._open = True
        self._clock.restart()

    def _announce(self, kind: bytes) -> None:  # noqa: ARG002 (the row says it)
        """See `Acting`; a clock does not wait for room in the pipe."""
        self._ring.count()


def what_went_wrong(error: Exception) -> Fault | Exception:
    """Return what a learner is told of an error: a fault, after which it starts a collector anew, or what ends the run.

    `error` is one of `TOLD`.
    """
    if isinstance(error, UsageError | TrainingStopped) and not isinstance(error, EnvironmentFailed):
        return type(error)(str(error))
    cause = error.__cause__
    return Fault(str(error), "".join(traceback.format_exception(cause)) if cause else "")


@contextmanager
def made(source: EnvSource, config: Config, networks: Networks, threads: int) -> Iterator[tuple[EnvAdapter, Agent]]:
    """Give what a collector acts in and with, computing with so many threads meanwhile."""
    with closed_at_last(make_one(source, config)) as env, computing(threads):
        adapter = EnvAdapter(env, spaces_of(env, config.action_low, config.action_high))
        yield adapter, build(config, adapter.spaces, *networks)


def serve(connection_fileno: int) -> None:
    """Be a collector: make an environment and an agent, do what is asked until the learner closes the connection."""
    connection = Connection(connection_fileno)
    patience = [0.0]
    end_with_parent(lambda: patience[0])
    source, config, networks, threads = cloudpickle.loads(connection.recv_bytes())
    patience[0] = config.env_timeout if config.control_rate else 0.0  # a robot needs time to be closed
    (env_index,), fileno = connection.recv()
    try:
        try:
            with made(source, config, networks, threads) as (adapter, agent):
                weights, rings = shared(fileno, agent)
                acts = ActingByTheClock if config.control_rate else Acting
                acting = acts(connection, adapter, agent, weights, rings[env_index], env_index)
                connection.send(to_json(adapter.spaces))
                while True:
                    request, *arguments = connection.recv()
                    getattr(acting, request)(*arguments)
        except TOLD as error:
            connection.send(what_went_wrong(error))
    except (EOFError, ConnectionError):  # the learner is done, or gone
        pass
