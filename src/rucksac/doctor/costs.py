"""What a run would cost on this machine: memory when everything is full, and time, step by step."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rucksac.algorithm.update import Batch
from rucksac.building import build, compile_steps, describe
from rucksac.compilation import computing
from rucksac.config import Config
from rucksac.environments.spaces import Spaces
from rucksac.learner import Learner
from rucksac.training.needs import threads_for

FLOAT = 4  # bytes
SECONDS_OF_STEPS = 1.0
LEAST_STEPS, MOST_STEPS = 3, 50


@dataclass(frozen=True)
class StepCost:
    """Seconds of one gradient step and of acting once in all environments, undisturbed; whether they were compiled."""

    update: float
    act: float
    compiled: bool


def network_bytes(config: Config, spaces: Spaces) -> int:
    """Return about what the networks take: values, both moments, slow copies, and all of it anew in a step."""
    described, encoder = describe(config, spaces)
    seen = len(described) * encoder.weights if encoder else 0
    return 2 * FLOAT * 4 * (seen + sum(network.weights for network in described.values()))


def time_steps(config: Config, spaces: Spaces) -> StepCost:
    """Time gradient steps and acting: compiled where that was done before, as they are where not.

    Raises `UsageError` when no agent can be made with these settings.
    """
    with computing(config.threads or threads_for(config)):
        agent = build(config, spaces)
        learner = Learner(agent)
        compiled = compile_steps(learner, only_cached=True) is None
        random = np.random.default_rng(0)
        rows, obs = config.batch_size, spaces.obs_size
        obs_rows, next_obs = (random.standard_normal((rows, obs), np.float32) for _ in range(2))
        reward, discount = random.standard_normal(rows, np.float32), np.full(rows, config.gamma, np.float32)
        actions = spaces.actions.random(random, rows)
        batch = Batch(*map(torch.from_numpy, (obs_rows, actions, reward, discount, next_obs)))
        if config.priorities:
            batch = batch._replace(weight=torch.ones(rows))
        seen = random.standard_normal((config.envs, obs), np.float32)
        return StepCost(_seconds(lambda: learner.update(batch)), _seconds(lambda: agent.act(seen)), compiled)


def run_seconds(
    config: Config, environment: float, cost: StepCost, processors: int, episode_length: float
) -> dict[str, float]:
    """Return about how long each phase of a run takes.

    `environment` is in seconds per step, `episode_length` what an evaluation has to reckon with.
    """
    side_by_side = max(1, min(config.workers, processors))
    updates = config.utd * max(0, config.steps - max(config.first_update, config.batch_size))
    evaluations = math.ceil(config.steps / config.eval_every) * config.eval_episodes
    return {
        "environment": config.steps * environment / side_by_side,
        "acting": config.steps / config.envs * cost.act,
        "gradient steps": updates * cost.update,
        "evaluations": evaluations * episode_length * (environment + cost.act),
    }


def _seconds(call: Callable[[], object]) -> float:
    for _ in range(2):  # the first calls make room
        call()
    taken: list[float] = []
    while len(taken) < LEAST_STEPS or (len(taken) < MOST_STEPS and sum(taken) < SECONDS_OF_STEPS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)  # what is more was other work on this machine
