"""Environments in processes of their own: actions and observations in shared memory, failures told and mended.

A worker is a fresh interpreter, so it needs nothing of how the program was started, and no framework: it runs
environments on one thread. What is sent both ways is small; the numbers lie in a file that both have in memory.
"""

import contextlib
import mmap
import os
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import cloudpickle
import numpy as np

from rucksac.config import Config
from rucksac.environments.env_group import Began, Lost, nothing_played
from rucksac.environments.env_group import play as play_in
from rucksac.environments.making import EnvSource, make_one
from rucksac.environments.processes import (
    SECONDS_TO_END,
    SECONDS_TO_START,
    Fault,
    Faults,
    Worker,
    end_with_parent,
    failed,
    setup_of,
    shared_file,
)
from rucksac.environments.reading import check_same, from_json, spaces_of, to_json
from rucksac.environments.spaces import EnvAdapter, Spaces, Stepped
from rucksac.errors import ANYTHING, EnvironmentFailed, UsageError

CHILD = "import sys; from rucksac.environments.workers import serve; serve(int(sys.argv[1]))"


def shared_rows(fileno: int, envs: int, spaces: Spaces) -> np.ndarray:
    """Return what parent and workers share: a row for each environment, in the memory of the open file."""
    kind = np.dtype(
        [
            ("action", np.float32, (spaces.action_size,)),
            ("obs", np.float32, (spaces.obs_size,)),
            ("reward", np.float64),
            ("ends", np.bool_, (2,)),  # terminated, truncated
        ],
        align=True,
    )
    os.truncate(fileno, envs * kind.itemsize)
    return np.frombuffer(mmap.mmap(fileno, envs * kind.itemsize), kind)


class WorkerEnvGroup:
    """Environments in worker processes; what comes out is the same for any number of them.

    An environment that raises, dies or hangs is made anew, at most `config.restarts` times in all.
    """

    seeded = True

    def __init__(self, source: EnvSource, config: Config, faults: Faults) -> None:
        self.config, self._faults = config, faults
        self._under_way: set[int] = set()  # environments whose episode has begun and is not lost
        setup = setup_of(source, config)
        self._file = shared_file()
        shares = [share.tolist() for share in np.array_split(np.arange(config.envs), config.workers)]
        self._workers = [Worker(share, setup, self._file.fileno(), config.env_timeout, CHILD) for share in shares]
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
        """See `EnvGroup`; where an environment fails, its new one is tried again."""
        left = dict(seeds)
        while left:
            for env_index in self._ask("reset", {env_index: (seed,) for env_index, seed in left.items()}):
                del left[env_index]
                self._under_way.add(env_index)
        return {env_index: self._rows["obs"][env_index].copy() for env_index in seeds}

    def step(self, actions: np.ndarray) -> list[Stepped | Began | Lost]:
        self._rows["action"] = actions
        answered = self._ask("step", {env_index: () for env_index in range(len(self)) if env_index in self._under_way})
        rows = self._rows.copy()
        for env_index in answered:
            if rows["ends"][env_index].any():
                self._faults.finished(env_index)
        return [
            Stepped(row["obs"], float(row["reward"]), *map(bool, row["ends"])) if env_index in answered else Lost()
            for env_index, row in enumerate(rows)
        ]

    def play(self, env_index: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        """See `EnvGroup`; an environment that fails has played nothing."""
        played = self._ask("play", {env_index: (seed, actions)}).get(env_index) or nothing_played(self.spaces)
        self._under_way.add(env_index)
        return played

    def close(self) -> None:
        for worker in self._workers:
            worker.hang_up()
        deadline = time.monotonic() + SECONDS_TO_END
        for worker in self._workers:
            worker.end(max(0.0, deadline - time.monotonic()))
        self._file.close()

    def _ask(self, request: str, arguments: dict[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Return the answers of all environments asked, but for those that failed and have been made anew."""
        asked = {
            worker: own
            for worker in self._workers
            if (own := {env_index: arguments[env_index] for env_index in worker.env_indices if env_index in arguments})
        }
        for worker, own in asked.items():
            worker.ask(request, own)
        answered = {}
        for worker in asked:
            answers = worker.answer()
            if isinstance(answers, Fault):
                self._replace(worker, answers)
                continue
            for env_index, answer in answers.items():
                if isinstance(answer, Fault):
                    self._renew(worker, env_index, answer)
                else:
                    answered[env_index] = answer
        return answered

    def _spaces_in(self, worker: Worker) -> Spaces:
        """Return the spaces of the environments that a worker has just made."""
        answer = worker.answer(SECONDS_TO_START)
        if isinstance(answer, Fault):
            raise failed(answer)
        return from_json(answer)

    def _replace(self, worker: Worker, fault: Fault) -> None:
        """Start a new process for all environments of one that is gone."""
        self._count(fault, worker.env_indices)
        worker.end()
        worker.start()
        if isinstance(answer := worker.answer(SECONDS_TO_START), Fault):
            self._replace(worker, answer)
        else:
            check_same(from_json(answer), self.spaces)

    def _renew(self, worker: Worker, env_index: int, fault: Fault) -> None:
        """Let the worker make one environment anew."""
        self._count(fault, [env_index])
        worker.ask("renew", {env_index: ()})
        answers = worker.answer(SECONDS_TO_START)
        if isinstance(answers, Fault):
            self._replace(worker, answers)
        elif isinstance(another := answers[env_index], Fault):
            self._renew(worker, env_index, another)

    def _count(self, fault: Fault, env_indices: list[int]) -> None:
        self._under_way.difference_update(env_indices)
        self._faults.count(fault, env_indices)


def serve(connection_fileno: int) -> None:
    """Be a worker: make environments, answer requests until the parent closes the connection."""
    connection = Connection(connection_fileno)
    end_with_parent()
    source, config = cloudpickle.loads(connection.recv_bytes())
    env_indices, shared = connection.recv()
    adapters: dict[int, EnvAdapter] = {}
    rows = np.empty(0)  # shared once the parent knows the spaces

    def renew(env_index: int) -> None:
        if env_index in adapters:
            with contextlib.suppress(*ANYTHING):  # it has failed already
                adapters[env_index].env.close()
        env = make_one(source, config)
        adapter = EnvAdapter(env, spaces_of(env, config.action_low, config.action_high))
        for other in adapters.values():
            check_same(adapter.spaces, other.spaces)
        adapters[env_index] = adapter

    def reset(env_index: int, seed: int) -> None:
        rows[env_index]["obs"] = adapters[env_index].reset(seed)

    def step(env_index: int) -> None:
        row = rows[env_index]
        row["obs"], row["reward"], *ends = adapters[env_index].step(row["action"].copy())
        row["ends"] = ends

    def play(env_index: int, seed: int, actions: np.ndarray) -> tuple[np.ndarray, list[Stepped]]:
        return play_in(adapters[env_index], seed, actions)

    requests = {each.__name__: each for each in (renew, reset, step, play)}
    try:
        try:
            made = [_attempt(renew, env_index) for env_index in env_indices]
        except UsageError as error:
            connection.send(UsageError(str(error)))
            return
        spaces = adapters[env_indices[0]].spaces if env_indices[0] in adapters else None
        connection.send(next((fault for fault in made if fault), spaces and to_json(spaces)))
        while True:
            request, arguments = connection.recv()
            rows = rows if rows.size else shared_rows(shared, config.envs, adapters[env_indices[0]].spaces)
            try:
                answers = {
                    env_index: _attempt(requests[request], env_index, *own) for env_index, own in arguments.items()
                }
            except UsageError as error:
                connection.send(UsageError(str(error)))
            else:
                connection.send(answers)
    except (EOFError, ConnectionError):  # the parent is done, or gone
        pass
    finally:
        for adapter in adapters.values():
            with contextlib.suppress(*ANYTHING):  # nobody is left to be told
                adapter.env.close()


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except EnvironmentFailed as error:
        return Fault(str(error), "".join(traceback.format_exception(error.__cause__)))
