"""A collector's own process: acts in one environment with the newest weights whenever the learner grants a step."""

import contextlib
import mmap
import os
import traceback
from multiprocessing.connection import Connection

import cloudpickle
import numpy as np

from rucksac.agent import Agent
from rucksac.building import build, compile_acting
from rucksac.compilation import CompilerMissing, computing
from rucksac.environments import env_group
from rucksac.environments.making import closed_at_last, make_one
from rucksac.environments.processes import Fault, end_with_parent
from rucksac.environments.reading import spaces_of, to_json
from rucksac.environments.spaces import EnvAdapter, Spaces, Stepped
from rucksac.errors import EnvironmentFailed, TrainingStopped, UsageError
from rucksac.experience.columns import Column
from rucksac.experience.ring import Ring, bytes_for_ring
from rucksac.streams import Stream, generator, integer, put_words, words_of
from rucksac.training.weights import SharedWeights, bytes_for_weights

CHILD = "import sys; from rucksac.training.collector_process import serve; serve(int(sys.argv[1]))"
BEGAN, STEPPED = b"b", b"s"  # what a message says of the row that it announces; anything longer is pickled
STEPS_AHEAD = 2  # steps that a collector may have been granted and that have not come back
RANDOM = -1  # gradient steps behind an action that no weights chose


def columns_of(spaces: Spaces) -> tuple[Column, ...]:
    """Return what a row in a ring holds: what an action led to, or the first observation of an episode.

    `grad_steps` are those of the weights that chose the action, `stream` is where its random numbers were then.
    """
    return (
        Column("obs", (spaces.obs_size,)),
        Column("action", (spaces.action_size,)),
        Column("reward", (), np.float64),
        Column("ends", (2,), np.bool_),  # terminated, truncated
        Column("grad_steps", (), np.int64),
        Column("stream", (4,), np.uint64),
    )


def shared(fileno: int, agent: Agent, collectors: int) -> tuple[SharedWeights, list[Ring]]:
    """Return what learner and collectors share, in the memory of the open file: the weights, and a ring for each."""
    columns, rows = columns_of(agent.spaces), 2 * STEPS_AHEAD + 2  # each step may begin an episode
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
        self._obs, self._started = np.empty(0, np.float32), 0

    def play(self, seed: int, actions: np.ndarray) -> None:
        """Play an episode again and send what was seen."""
        first, steps = env_group.play(self._adapter, seed, actions)
        self._obs = steps[-1].next_obs if steps else first
        self._connection.send((first, steps))

    def start(self, started: int, words: np.ndarray, goes_on: bool) -> None:
        """Take up work after so many episodes: go on in the one that was played, or begin the next."""
        for stream, each in zip(self._streams, words, strict=True):
            put_words(stream, each)
        self._started = started
        if not goes_on:
            self._begin()

    def step(self, at_random: bool) -> None:
        """Act once, and begin the next episode where that ended one."""
        stream, agent, grad_steps = self._streams[not at_random], self._agent, RANDOM
        if at_random:
            action = agent.spaces.actions.random(stream, 1)[0]
        else:
            if not self._weights.version and agent.config.compile == "auto":
                with contextlib.suppress(CompilerMissing):  # then the learner has said so
                    compile_acting(agent, only_cached=True)
            grad_steps = self._weights.receive(agent.acting_tensors())
            action = agent.act(self._obs[None])[0]
        self._ring.begin()
        self._post(STEPPED, self._adapter.step(action), action, grad_steps, words_of(stream))

    def _begin(self) -> None:
        seed = integer(self._agent.config.seed, Stream.EPISODE, self._env_index, self._started)
        self._obs = self._adapter.reset(seed)
        self._started += 1
        self._ring.write(obs=self._obs)
        self._connection.send_bytes(BEGAN)

    def _post(self, kind: bytes, seen: Stepped, action: np.ndarray, grad_steps: int, stream: np.ndarray) -> None:
        ends = (seen.terminated, seen.truncated)
        self._ring.write(
            obs=seen.next_obs, action=action, reward=seen.reward, ends=ends, grad_steps=grad_steps, stream=stream
        )
        self._obs = seen.next_obs
        self._connection.send_bytes(kind)
        if any(ends):
            self._begin()


def serve(connection_fileno: int) -> None:
    """Be a collector: make an environment and an agent, do what is asked until the learner closes the connection."""
    connection = Connection(connection_fileno)
    end_with_parent()
    source, config, networks, threads = cloudpickle.loads(connection.recv_bytes())
    (env_index,), fileno = connection.recv()
    try:
        try:
            with closed_at_last(make_one(source, config)) as env, computing(threads):
                adapter = EnvAdapter(env, spaces_of(env, config.action_low, config.action_high))
                agent = build(config, adapter.spaces, *networks)
                weights, rings = shared(fileno, agent, config.collectors)
                acting = Acting(connection, adapter, agent, weights, rings[env_index], env_index)
                connection.send(to_json(adapter.spaces))
                while True:
                    request, *arguments = connection.recv()
                    getattr(acting, request)(*arguments)
        except EnvironmentFailed as error:
            connection.send(Fault(str(error), "".join(traceback.format_exception(error.__cause__))))
        except (UsageError, TrainingStopped) as error:
            connection.send(type(error)(str(error)))
    except (EOFError, ConnectionError):  # the learner is done, or gone
        pass
