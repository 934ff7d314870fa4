"""A collector's own process: acts in one environment with the newest weights.

It acts whenever the learner grants a step or, with a control rate, whenever its own clock ticks, until the learner says
otherwise, is gone, or has taken nothing over for so long that there is no more room: the environment is then closed.
"""

import contextlib
import math
import mmap
import os
import traceback
from multiprocessing.connection import Connection

import cloudpickle
import numpy as np

from rucksac.agent import Agent
from rucksac.building import build, compile_acting
from rucksac.compilation import CompilerMissing, computing
from rucksac.config import Config
from rucksac.environments import env_group
from rucksac.environments.making import closed_at_last, make_one
from rucksac.environments.processes import Fault, end_with_parent
from rucksac.environments.reading import spaces_of, to_json
from rucksac.environments.spaces import EnvAdapter, Spaces
from rucksac.errors import EnvironmentFailed, TrainingStopped, UsageError
from rucksac.experience.columns import Column
from rucksac.experience.ring import Ring, bytes_for_ring
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


def columns_of(spaces: Spaces) -> tuple[Column, ...]:
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
    columns, rows, collectors = columns_of(agent.spaces), rows_of_ring(agent.config), agent.config.collectors
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


class Acting:
    """What a collector does when it is told to; its methods are the requests."""

    def __init__(
        self, connection: Connection, adapter: EnvAdapter, agent: Agent, weights: SharedWeights, ring: Ring, env: int
    ) -> None:
        self._connection, self._adapter, self._agent = connection, adapter, agent
        self._weights, self._ring, self._env_index = weights, ring, env
        self._streams = streams(agent.config.seed, env)
        agent.acting_noise = self._streams[1]
        self._obs, self._started, self._open = np.empty(0, np.float32), 0, False
        rate = agent.config.control_rate
        self._clock = Clock(1.0 / rate) if rate else None

    def play(self, seed: int, actions: np.ndarray) -> None:
        """Play an episode again and send what was seen."""
        first, steps = env_group.play(self._adapter, seed, actions)
        self._obs = steps[-1].next_obs if steps else first
        self._connection.send((first, steps))

    def start(self, started: int, words: np.ndarray, goes_on: bool) -> None:
        """Take up work after so many episodes: go on in the one that was played, or begin the next.

        With a control rate that waits until the clock is set going.
        """
        for stream, each in zip(self._streams, words, strict=True):
            put_words(stream, each)
        self._started = started
        if not goes_on and not self._clock:
            self._begin()

    def pace(self, at_random: bool) -> None:
        """Act at every tick of the clock until there is another request, or no learner.

        Raises `LearnerLost` when there is no room for what is seen.
        """
        clock = self._clock
        assert clock
        if not at_random:
            self._compile()
        if not self._open:
            self._begin()
        while not self._connection.poll(clock.left()):
            if self._ring.room < 2:
                seconds = self._agent.config.env_timeout
                raise LearnerLost(
                    f"nothing of what it saw was taken over for about {seconds:g} seconds, so it was closed"
                )
            late = clock.tick()
            self._act(at_random, late)

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
            action = agent.act(self._obs[None])[0]
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
        self._obs = seen.next_obs
        self._announce(STEPPED)
        if any(ends):
            self._begin()

    def _begin(self) -> None:
        seed = integer(self._agent.config.seed, Stream.EPISODE, self._env_index, self._started)
        self._obs = self._adapter.reset(seed)
        self._started += 1
        self._open = True
        self._ring.write(obs=self._obs, grad_steps=NO_ACTION)
        self._announce(BEGAN)
        if self._clock:
            self._clock.restart()

    def _announce(self, kind: bytes) -> None:
        """Let the learner have the row that was written last; a clock does not wait for room in the pipe."""
        if self._clock:
            self._ring.count()
        else:
            self._connection.send_bytes(kind)


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
            with closed_at_last(make_one(source, config)) as env, computing(threads):
                adapter = EnvAdapter(env, spaces_of(env, config.action_low, config.action_high))
                agent = build(config, adapter.spaces, *networks)
                weights, rings = shared(fileno, agent)
                acting = Acting(connection, adapter, agent, weights, rings[env_index], env_index)
                connection.send(to_json(adapter.spaces))
                while True:
                    request, *arguments = connection.recv()
                    getattr(acting, request)(*arguments)
        except LearnerLost as error:
            connection.send(Fault(str(error)))
        except EnvironmentFailed as error:
            connection.send(Fault(str(error), "".join(traceback.format_exception(error.__cause__))))
        except (UsageError, TrainingStopped) as error:
            connection.send(type(error)(str(error)))
    except (EOFError, ConnectionError):  # the learner is done, or gone
        pass
