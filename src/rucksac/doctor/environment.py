"""Examining an environment from its making to the cost of a run in it; what is found comes out as it is found."""

import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack

import gymnasium
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import TimeLimit

from rucksac.compilation import compiler
from rucksac.config import Config
from rucksac.doctor import costs
from rucksac.doctor.assessment import assess_play, assess_spaces, failure
from rucksac.doctor.findings import Finding
from rucksac.doctor.random_play import RandomPlay, play_randomly
from rucksac.doctor.statistics import Measured, PlayStatistics
from rucksac.doctor.timeout import timeout_after
from rucksac.environments.collector import LocalEnvGroup
from rucksac.environments.env_group import EnvGroup
from rucksac.environments.making import Env, EnvSource, closed_at_last, make
from rucksac.environments.opening import env_group_of
from rucksac.environments.reading import spaces_of
from rucksac.environments.spaces import Spaces
from rucksac.errors import UsageError
from rucksac.resources import available_memory, available_threads
from rucksac.training.needs import replay_bytes

MOST_STEPS, MOST_SECONDS = 2_000, 10.0  # of random play
WORTH_A_WORKER = 1e-3  # seconds per environment step; what a worker costs is a tenth of that
EXPLAINED = "reset(seed=...) and the same actions must give the same episode"


def examine_environment(
    source: EnvSource, config: Config, most_steps: int | None = None, episodes: int | None = None
) -> Iterator[Finding]:
    """Find out how an environment fits these settings, by making it and playing randomly.

    Play ends after `most_steps`, as many `episodes`, or `MOST_SECONDS`. What cannot work is the last finding; nothing
    is raised for it.
    """
    most_steps = most_steps or (MOST_STEPS if episodes is None else sys.maxsize)
    try:
        with ExitStack() as cleanup:
            yield from _examine(source, config, most_steps, episodes, cleanup)
    except UsageError as error:
        yield Finding("failure", str(error), {"error": str(error)}, "cannot")


def _examine(
    source: EnvSource, config: Config, most_steps: int, episodes: int | None, cleanup: ExitStack
) -> Iterator[Finding]:
    with timeout_after(config.env_timeout):
        env = cleanup.enter_context(closed_at_last(make(source, config)))
    spaces = spaces_of(env, config.action_low, config.action_high)
    observation = env.single_observation_space if isinstance(env, VectorEnv) else env.observation_space
    yield from assess_spaces(observation, spaces)
    statistics = PlayStatistics(observation, spaces.observations)
    envs = env_group_of(
        config, Measured(env, statistics, config.env_timeout) if isinstance(env, gymnasium.Env) else env
    )
    play = play_randomly(envs, statistics, config.seed, most_steps, episodes, MOST_SECONDS)
    time_limit = _time_limit(env)
    yield from assess_play(play, statistics, config, time_limit)
    if play.failure:
        yield failure(play, statistics)
        return
    seconds = (statistics.seconds or play.seconds) / play.steps
    if isinstance(envs, LocalEnvGroup):
        other = cleanup.enter_context(closed_at_last(make(source, config)))
        if other.unwrapped is env.unwrapped:
            raise UsageError("the environment function returned the same environment twice; return a new one each time")
        yield _repeatability(play, envs, env_group_of(config, other))
    yield Finding(
        "speed", f"{1 / seconds:,.0f} steps per second of the environment alone", {"steps_per_second": 1 / seconds}
    )
    fits = _memory(config, spaces)
    yield fits
    if fits.verdict != "cannot":
        length = sum(play.lengths) / len(play.lengths) if play.lengths else time_limit or math.nan
        yield from _time(config, spaces, env, seconds, length)


def _repeatability(play: RandomPlay, envs: EnvGroup, other: EnvGroup) -> Finding:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same as during play
        here = [start.first_difference(envs) for start in play.starts]
        there = play.starts[0].first_difference(other)
    again = next((step for step in here if step is not None), None)
    values = {"same_instance": again is None, "new_instance": there is None, "steps": [again, there]}
    if again is None and there is None:
        return Finding(
            "repeatability", "the same seed and actions gave the same episode, also in a new instance", values
        )
    parts = [
        f"{where} from {'its first observation' if step == 0 else f'step {step}'} on"
        for where, step in (("in the same instance", again), ("in a new one", there))
        if step is not None
    ]
    return Finding(
        "repeatability",
        f"the same seed and actions gave another episode {' and '.join(parts)}: runs with one seed will differ, and a "
        "resumed run is not the uninterrupted one",
        values,
        "advice",
        f"{EXPLAINED}: draw all that is random from self.np_random, and let reset set all that an episode changes",
    )


def _memory(config: Config, spaces: Spaces) -> Finding:
    replay, networks = replay_bytes(config, spaces), costs.network_bytes(config, spaces)
    free = available_memory()
    values = {"replay_bytes": replay, "network_bytes": networks, "free_bytes": free}
    says = (
        f"{replay / 2**20:,.0f} MiB for a full replay memory of {config.buffer_size:,} rows, about "
        f"{networks / 2**20:,.0f} MiB for the networks"
    )
    if free is None or replay + networks < free / 2:
        return Finding("run: memory", says, values)
    if networks > free / 2:
        return Finding(
            "run: memory",
            f"{says}; {free / 2**20:,.0f} MiB are free",
            values,
            "cannot",
            "show the agent fewer numbers, or give a narrower --hidden",
        )
    rows = int(config.buffer_size * (free / 2 - networks) / replay)
    return Finding(
        "run: memory",
        f"{says}; {free / 2**20:,.0f} MiB are free",
        values,
        "cannot" if replay > free else "advice",
        f"--buffer-size {rows} leaves half of it to others",
        ("--buffer-size", str(rows)),
    )


def _time(config: Config, spaces: Spaces, env: Env, seconds: float, episode_length: float) -> Iterator[Finding]:
    cost, processors = costs.time_steps(config, spaces), available_threads()
    phases = costs.run_seconds(config, seconds, cost, processors, episode_length)
    known = {name: value for name, value in phases.items() if math.isfinite(value)}
    says = f"{1e3 * cost.update:.2f} ms, measured {'compiled' if cost.compiled else 'uncompiled'}"
    if provisional := not cost.compiled and config.compile == "auto" and compiler() is not None:
        says += "; compiled, as a run would have it, it is several times as fast, but that has not been done here yet"
    yield Finding(
        "gradient step",
        says,
        {"seconds": cost.update, "compiled": cost.compiled, "acting_seconds": cost.act},
    )
    most = max(known, key=known.__getitem__)
    yield Finding(
        "run: time",
        f"{'at most about' if provisional else 'about'} {_duration(sum(known.values()))} for {config.steps:,} steps, "
        f"most of it {most} ({_duration(known[most])})"
        + ("" if len(known) == len(phases) else "; evaluations not counted, as no episode ended"),
        {"seconds": sum(known.values()), "phases": known},
    )
    slow = seconds > WORTH_A_WORKER and seconds > config.utd * cost.update
    if slow and processors > 1 and not config.workers and not isinstance(env, VectorEnv):
        count = str(max(processors, config.envs))
        yield Finding(
            "side by side",
            f"an environment step takes {1e3 * seconds:.1f} ms, longer than the learning that goes with it",
            {"processors": processors},
            "advice",
            f"--envs {count} --workers {processors} let {processors} processors step environments at the same time",
            ("--envs", count, "--workers", str(processors)),
        )


def _time_limit(env: Env) -> int | None:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    return None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3_600:.1f} h"
