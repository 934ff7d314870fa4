"""From an environment's name and the settings to groups: in this process, in workers, or a person's own `VectorEnv`."""

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, TypeVar

import gymnasium
from gymnasium.vector import VectorEnv, VectorWrapper

from rucksac.config import Config
from rucksac.environments.collector import LocalEnvGroup
from rucksac.environments.env_group import EnvGroup
from rucksac.environments.making import Env, EnvSource, closed_at_last, make
from rucksac.environments.processes import Faults
from rucksac.environments.reading import check_same, spaces_of
from rucksac.environments.spaces import EnvAdapter
from rucksac.environments.vector import VectorEnvGroup
from rucksac.environments.workers import WorkerEnvGroup
from rucksac.errors import UsageError

OUTSIDE_STATISTICS = {"NormalizeObservation": "--normalise-observations", "NormalizeReward": "--normalise-rewards"}


Source = TypeVar("Source", EnvSource, EnvSource | None)


def open_envs(
    source: EnvSource, config: Config, cleanup: ExitStack, say: Callable[[str], None]
) -> tuple[EnvGroup, EnvGroup]:
    """Return environments to train in and others to evaluate in, or `config.eval_env`; `cleanup` closes them.

    `say` gets what a person should know while they run. Raises `UsageError` when they cannot be made or do not fit.
    """

    def one_more(source: EnvSource) -> Env:
        return cleanup.enter_context(closed_at_last(make(source, config)))

    def warn_of_statistics(env: Any) -> None:
        while isinstance(env, gymnasium.Wrapper | VectorWrapper):
            if flag := OUTSIDE_STATISTICS.get(type(env).__name__):
                say(
                    f"the environment is wrapped in {type(env).__name__}, whose statistics are no part of the agent: "
                    f"evaluation and a loaded agent see other numbers than training; use {flag} in its place."
                )
            env = env.env

    if config.workers:  # then no environment is made in this process, where it could hang or die
        faults, alone = Faults(config.restarts, say), dataclasses.replace(config, envs=1, workers=1)
        workers = [
            cleanup.enter_context(closing(WorkerEnvGroup(each, settings, faults)))
            for each, settings in ((source, config), (evaluated_in(source, config), alone))
        ]
        check_same(workers[1].spaces, workers[0].spaces)
        return workers[0], workers[1]
    one = one_more(evaluated_in(source, config))
    warn_of_statistics(one)
    envs = [one_more(source) for _ in range(1 if isinstance(one, VectorEnv) else config.envs)]
    if len({id(env.unwrapped) for env in (one, *envs)}) <= len(envs):
        raise UsageError("the environment function returned the same environment twice; return a new one each time")
    training = env_group_of(config, *envs)
    if len(training) != config.envs:
        raise UsageError(
            f"the VectorEnv has {len(training)} environments, but envs is {config.envs}; give envs={len(training)}"
        )
    evaluation = env_group_of(config, one)
    check_same(evaluation.spaces, training.spaces)
    return training, evaluation


def evaluated_in(source: Source, config: Config) -> Source | str:
    """Return what makes the environment to evaluate in, for a run that trains in `source`; None if unknown."""
    return config.eval_env or source


def env_group_of(config: Config, *envs: Env) -> EnvGroup:
    """Return environments, or one `VectorEnv`, as a group in this process."""
    spaces = [spaces_of(env, config.action_low, config.action_high) for env in envs]
    for other in spaces:
        check_same(other, spaces[0])
    if isinstance(envs[0], VectorEnv):
        return VectorEnvGroup(envs[0], spaces[0])
    return LocalEnvGroup([EnvAdapter(env, spaces[0]) for env in envs if isinstance(env, gymnasium.Env)])
