"""All that is known of a run: its logs, its newest agent, its replay memory, and episodes played with the agent."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rucksac.agent import Agent
from rucksac.config import Config
from rucksac.environments.making import EnvSource, closed_at_last, make_one
from rucksac.environments.opening import evaluated_in
from rucksac.errors import UsageError
from rucksac.experience.replay import TERMINATED, TRANSITION, TRUNCATED, Replay
from rucksac.experience.sampling import value
from rucksac.training.checkpoint_layout import UNREADABLE, in_short
from rucksac.training.estimates import Played, play
from rucksac.training.folder import RunFolder, path_of
from rucksac.training.loading import load_agent, load_replay
from rucksac.training.logs import Columns, whole_columns
from rucksac.training.needs import require_memory
from rucksac.training.overview import progress
from rucksac.training.parts import columns_of

LOOKED_AT = 5_000  # transitions that the networks are asked about
NUMBERS = 5_000_000  # of their observations, which may be pictures


class Memory(NamedTuple):
    """Transitions of a replay memory, environment by environment, the oldest first: obs (T, V), action (T, A).

    V are the numbers of an observation that are no pixels. `some` are whole observations and actions, evenly over all.
    `warmup` says which are of random actions; none where these are no longer kept. `lengths` and `terminated` are of
    the episodes that are kept from their beginning to their end.
    """

    obs: np.ndarray
    action: np.ndarray
    reward: np.ndarray  # (T,), as the environment gave it
    terminal: np.ndarray  # (T,), whether it ended in a termination
    warmup: np.ndarray
    lengths: np.ndarray
    terminated: np.ndarray
    some: tuple[np.ndarray, np.ndarray]


@dataclass
class Evidence:
    """What was found of a run, and under `missing` what could not be looked at and why."""

    run: Path
    saved: dict[str, Any]
    config: Config
    env_steps: int
    metrics: Columns
    episodes: Columns
    agent: Agent | None = None
    memory: Memory | None = None
    played: list[Played] = field(default_factory=list)
    failure: str | None = None  # of the environment, in these episodes
    missing: dict[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Return whether a process is training it."""
        return RunFolder(self.run).occupant() is not None

    @property
    def grad_steps(self) -> int:
        """Return how many gradient steps the run has taken, as far as agent or logs say."""
        logged = self.metrics.get("grad_steps", np.zeros(0))
        return max(self.agent.grad_steps if self.agent else 0, int(logged[-1]) if len(logged) else 0)

    @property
    def reward(self) -> np.ndarray:
        """Return the rewards of the memory as the critics see them, (T,)."""
        if self.memory is None:
            return np.zeros(0)
        normaliser = self.agent.normaliser if self.agent else None
        seen = normaliser.rewards(self.memory.reward) if normaliser else self.memory.reward
        return seen.astype(np.float64)

    @property
    def some(self) -> tuple[np.ndarray, np.ndarray]:
        """Return observations (B, O) and actions of at most `LOOKED_AT` transitions, evenly over the memory."""
        assert self.memory is not None
        return self.memory.some


def gather(run: str | Path, env: EnvSource | None = None) -> Evidence:
    """Read a run and play episodes with its newest agent in `env`, in the run's own environment if not given.

    Raises `UsageError` when `run` is no run or its logs are damaged; all else that cannot be had is `missing`.
    """
    path = path_of(run)
    saved = RunFolder.open(path).read_config()
    config = Config.from_json(saved["settings"])
    metrics, episodes = (whole_columns(path / f"{name}.csv") for name in ("metrics", "episodes"))
    found = Evidence(path, saved, config, progress(path)[0], metrics, episodes)
    ended = metrics.get("episodes", np.zeros(1))[-1] > 0
    learned = found.env_steps >= config.first_update + config.log_every
    for name, columns, expected in (("metrics.csv", metrics, learned), ("episodes.csv", episodes, ended)):
        if expected and not columns:
            found.missing[name] = "it is not there, or empty"
    with _or_missing(found, "agent"):
        found.agent = load_agent(path)
    if found.agent is None:
        return found
    with _or_missing(found, "replay memory"):
        require_memory(config, found.agent.spaces)
        replay = Replay(config.buffer_size, config.env_count, columns_of(found.agent.spaces, config.frame_stack))
        load_replay(path, replay)
        found.memory = _memory(replay, config.random_steps, found.agent.spaces.obs_size)
    with _or_missing(found, "episodes with the agent"):
        source = env or evaluated_in(saved["environment"], config)
        if source is None:
            raise UsageError("the environment was made by a function; name it with --env module:function")
        with closed_at_last(make_one(source, found.agent.config)) as one:
            try:
                found.played = play(found.agent, one)
            except UsageError as error:
                found.failure = str(error)
    return found


@contextmanager
def _or_missing(evidence: Evidence, what: str) -> Iterator[None]:
    try:
        yield
    except (UsageError, *UNREADABLE) as error:
        evidence.missing[what] = in_short(error)


def _memory(replay: Replay, random_steps: int, obs_size: int) -> Memory:
    rows, warmup, lengths, terminated = [], [], list[int](), list[bool]()
    for env_index in range(replay.envs):
        written = replay.rows_since(env_index, 0)
        written = written[(replay.kind[written] & TRANSITION) > 0]
        whole = replay.written[env_index] <= replay.rows_per_env
        ends = np.flatnonzero(replay.kind[written] & (TERMINATED | TRUNCATED))
        begins = np.concatenate([[0], ends + 1])[: len(ends)]
        kept = slice(0 if whole else 1, None)  # the beginning of the first one may have been overwritten
        lengths += (ends - begins + 1)[kept].tolist()
        terminated += ((replay.kind[written[ends]] & TERMINATED) > 0)[kept].tolist()
        rows.append(written)
        warmup.append(whole & (np.arange(len(written)) < random_steps // replay.envs))
    all_rows = np.concatenate(rows)
    columns = {name: replay.data[name][all_rows] for name in ("action", "reward")}
    columns["obs"] = replay.data["obs"][all_rows] if "obs" in replay.data else np.zeros((all_rows.size, 0), np.float32)
    most = min(all_rows.size, LOOKED_AT, max(1, NUMBERS // obs_size))
    few = all_rows[np.unique(np.linspace(0, all_rows.size - 1, most).round().astype(int))]
    some = value(replay, "obs")(replay, few, None), replay.data["action"][few]
    terminal = (replay.kind[all_rows] & TERMINATED) > 0
    return Memory(**columns, terminal=terminal, warmup=np.concatenate(warmup), lengths=np.array(lengths, int),
                  terminated=np.array(terminated, bool), some=some)  # fmt: skip
