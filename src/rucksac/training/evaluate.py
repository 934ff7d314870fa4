"""Running an agent without learning, on environments of its own; never prints."""

import threading
from typing import NamedTuple

import gymnasium
import numpy as np

from rucksac.agent import Agent
from rucksac.environments.making import EnvSource, make
from rucksac.environments.reading import spaces_of, to_json
from rucksac.environments.rollout import Episode
from rucksac.environments.spaces import Door
from rucksac.errors import UsageError
from rucksac.stats import Summary, summarise

LONGEST_EPISODE = 100_000


class EvaluationStopped(Exception):
    """The run was asked to end while an evaluation was under way."""


class Evaluation(NamedTuple):
    """Episode i started from reset(seed=first_seed + i) and used the policy's mean action."""

    episodes: list[Episode]

    @property
    def returns(self) -> np.ndarray:
        """Return the returns, one per episode."""
        return np.array([episode.total_return for episode in self.episodes])

    @property
    def summary(self) -> Summary:
        """Return mean, spread, interquartile mean and interval of the returns."""
        return summarise(self.returns)


def evaluate(
    agent: Agent,
    env: EnvSource | gymnasium.Env,
    episodes: int = 10,
    seed: int = 0,
    stop: threading.Event | None = None,
) -> Evaluation:
    """Run whole episodes with the mean action; leaves the agent and its random streams as they were.

    `env` may be an environment under the caller's care. Raises `UsageError` when its spaces are not the agent's or an
    episode does not end, and `EvaluationStopped` once `stop` is set.
    """
    if not (isinstance(episodes, int) and isinstance(seed, int) and episodes >= 1 and seed >= 0):
        raise UsageError(f"episodes is {episodes} and seed is {seed}, but must be whole numbers from 1 and from 0")
    own = env if isinstance(env, gymnasium.Env) else make(env)
    try:
        check_spaces(agent, own)
        door = Door(own, agent.spaces)
        return Evaluation([_episode(agent, door, seed + index, stop) for index in range(episodes)])
    finally:
        if own is not env:
            own.close()


def check_spaces(agent: Agent, env: gymnasium.Env) -> None:
    """Raise `UsageError` unless `env` has the spaces that the agent was made for."""
    given, own = to_json(spaces_of(env)), to_json(agent.spaces)
    if given != own:
        name = next(name for name in own if own[name] != given[name])
        raise UsageError(
            f"the agent was trained with {name} {own[name]}, but the environment has {given[name]}; "
            "evaluate it in the environment it was trained in"
        )


def _episode(agent: Agent, env: Door, seed: int, stop: threading.Event | None) -> Episode:
    obs = env.reset(seed)
    total_return, length, ended = 0.0, 0, False
    while not ended:
        if stop and stop.is_set():
            raise EvaluationStopped
        if length == LONGEST_EPISODE:
            raise UsageError(
                f"an evaluation episode has not ended after {LONGEST_EPISODE:,} steps; give the environment a time "
                "limit (gymnasium.wrappers.TimeLimit)"
            )
        obs, reward, terminated, truncated = env.step(agent.act(obs[None], deterministic=True)[0])
        total_return += reward
        length += 1
        ended = terminated or truncated
    return Episode(seed, total_return, length)
