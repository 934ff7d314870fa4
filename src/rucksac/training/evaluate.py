"""Running an agent without learning, on environments of its own; never prints."""

import threading
from collections.abc import Callable
from contextlib import nullcontext
from numbers import Integral
from typing import NamedTuple

import numpy as np

from rucksac.agent import Agent
from rucksac.environments.env_group import Began, EnvGroup, Lost
from rucksac.environments.making import Env, EnvSource, closed_at_last, make
from rucksac.environments.opening import env_group_of
from rucksac.environments.reading import check_same
from rucksac.environments.transitions import Episode
from rucksac.errors import UsageError
from rucksac.stats import Summary, summarise

LONG_EPISODE, LONGEST_EPISODE = 10_000, 100_000


class EvaluationStopped(Exception):
    """The run was asked to end while an evaluation was under way."""


class Evaluation(NamedTuple):
    """Episodes with the policy's mean action; the i-th starts from reset(seed=first_seed + i) where seeds are taken."""

    episodes: list[Episode]

    @property
    def returns(self) -> np.ndarray:
        return np.array([episode.total_return for episode in self.episodes])

    @property
    def summary(self) -> Summary:
        """Return mean, spread, interquartile mean and interval of the returns."""
        return summarise(self.returns)


def evaluate(
    agent: Agent,
    env: EnvSource | Env,
    episodes: int = 10,
    seed: int = 0,
    stop: threading.Event | None = None,
) -> Evaluation:
    """Run whole episodes with the mean action; leaves the agent and its random streams as they were.

    `env` may be an environment under the caller's care; an id or a function is made with the agent's own settings.
    Raises `UsageError` when its spaces are not the agent's or an episode does not end, and `EvaluationStopped` once
    `stop` is set.
    """
    if not (isinstance(episodes, Integral) and isinstance(seed, Integral) and episodes >= 1 and seed >= 0):
        raise UsageError(f"episodes is {episodes} and seed is {seed}, but must be whole numbers from 1 and from 0")
    with nullcontext(env) if isinstance(env, Env) else closed_at_last(make(env, agent.config)) as own:
        envs = env_group_of(agent.config, own)
        check_same(envs.spaces, agent.spaces)
        return evaluate_in(agent, envs, int(episodes), int(seed), stop)


def evaluate_in(
    agent: Agent,
    envs: EnvGroup,
    episodes: int,
    seed: int = 0,
    stop: threading.Event | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Evaluation:
    """Evaluate in a group; episode i runs in environment i modulo E, so that short ones count no more than long.

    `say` is told of an episode that takes long.
    """
    count = len(envs)
    number = list(range(count))  # of the episode under way in each environment; those past the last one do not count
    totals, lengths = [0.0] * count, [0] * count
    found: dict[int, Episode] = {}
    first = envs.reset({env_index: seed + env_index for env_index in range(count)})
    obs = np.stack([first[env_index] for env_index in range(count)])
    while len(found) < episodes:
        if stop and stop.is_set():
            raise EvaluationStopped
        again: dict[int, int] = {}
        for env_index, outcome in enumerate(envs.step(agent.act(obs, deterministic=True))):
            if isinstance(outcome, Began):
                obs[env_index] = outcome.obs
                continue
            if isinstance(outcome, Lost):  # the episode is run again
                totals[env_index], lengths[env_index], again[env_index] = 0.0, 0, seed + number[env_index]
                continue
            obs[env_index] = outcome.next_obs
            totals[env_index] += outcome.reward
            lengths[env_index] += 1
            if outcome.terminated or outcome.truncated:
                if number[env_index] < episodes:
                    started_from = seed + number[env_index] if envs.seeded else -1
                    found[number[env_index]] = Episode(started_from, totals[env_index], lengths[env_index])
                number[env_index] += count
                totals[env_index], lengths[env_index] = 0.0, 0
                again[env_index] = seed + number[env_index]
            elif lengths[env_index] == LONG_EPISODE:
                say(f"An evaluation waits for the end of an episode that has taken {LONG_EPISODE:,} steps so far.")
            elif lengths[env_index] == LONGEST_EPISODE:
                raise UsageError(
                    f"an evaluation episode has not ended after {LONGEST_EPISODE:,} steps; build a time limit into the "
                    "environment, or train anew with one, such as --time-limit 1000"
                )
        if again and len(found) < episodes:
            for env_index, begun in envs.reset(again).items():
                obs[env_index] = begun
    return Evaluation([found[index] for index in range(episodes)])
