"""Training an agent, and going on with a run: what Python programs and the command line call."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from rucksac.agent import Agent
from rucksac.algorithm.recipes import FOR_OWN_NETWORKS
from rucksac.config import with_settings
from rucksac.environments.making import EnvSource
from rucksac.errors import UsageError
from rucksac.training.callbacks import Callback, listed
from rucksac.training.console import Console
from rucksac.training.folder import path_of
from rucksac.training.plan import Plan, beginning, plan_of
from rucksac.training.run import Result, Run
from rucksac.training.tracking import checked


def train(
    env: EnvSource,
    *,
    recipe: str | None = None,
    start_from: str | Path | None = None,
    start_with_replay: bool = False,
    run: str | Path | None = None,
    quiet: bool = True,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
    track: Sequence[str] = (),
    video_every: int = 0,
    ray: str | None = None,
    **settings: Any,
) -> Agent:
    """Train an agent and return it.

    `env` is an id or a function that returns a `gymnasium.Env`; it is called once for evaluation, then for every
    training environment. `settings` are fields of `rucksac.Config` and override the recipe's, which is `plain` for
    networks of your own where none is given. With `start_from` the new
    run has the settings of that run, or of an agent that was saved, without random steps, and begins with its trained
    agent; `start_with_replay` gives it the run's replay memory too. With `run` everything is
    also written there; without, nothing is written. Each function in `callbacks` is called with a `rucksac.Event` when
    something happens, and ends the run by returning `rucksac.STOP`; one that raises does not, and console and
    warnings.txt say so. `track` names trackers beside the log files: tensorboard, wandb, mlflow, trackio; every
    `video_every` evaluations one is filmed. With `ray` collectors act on the Ray cluster at that address, such as
    "head:6379", or on one of this machine alone, "local". Raises `UsageError` for what cannot work, before training
    starts where possible.
    """
    if recipe is None and start_from is None and (policy is not None or critic is not None):
        recipe = FOR_OWN_NETWORKS
    config, name, origin = beginning(recipe, start_from, start_with_replay)
    path, calls = None if run is None else path_of(run), listed(callbacks)
    trackers = checked(track, video_every, path)
    plan = Plan(env, with_settings(config, settings), name, policy, critic, None, origin, calls, *trackers, ray)
    console = None if quiet else Console(plan.config.steps)
    result = train_run(plan, path, console)
    if console:
        console.finish(result.summary, path)
    return result.agent


def resume(
    run: str | Path,
    *,
    env: EnvSource | None = None,
    steps: int | None = None,
    quiet: bool = True,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
    callbacks: Sequence[Callback] = (),
    track: Sequence[str] | None = None,
    video_every: int | None = None,
    ray: str | None = None,
    **others: Any,
) -> Agent:
    """Go on with an interrupted run exactly where its last checkpoint was taken, and return the agent.

    `steps` extends the run. `env`, `policy` and `critic` are needed again when the run was made with a function or
    with modules of your own, and so are `callbacks`. Trackers and films are those that the run had, unless `track` and
    `video_every` say otherwise; collectors are processes of this machine, unless `ray` names a cluster. Raises
    `UsageError` when the run cannot go on, and for any other setting.
    """
    if others:
        raise UsageError(
            f"a run keeps its settings, so resume takes no {next(iter(others))}; begin a new one with its agent: "
            "train(..., start_from=run)"
        )
    path = path_of(run)
    plan = plan_of(path, env, steps, policy, critic, track, video_every, ray)
    plan = dataclasses.replace(plan, callbacks=listed(callbacks))
    console = None if quiet else Console(plan.config.steps)
    result = resume_run(plan, path, console)
    if console:
        console.finish(result.summary, path)
    return result.agent


def train_run(plan: Plan, path: Path | None, console: Console | None) -> Result:
    """Train as `train` does and return what came of it; messages go to `console`."""
    return Run(plan, path, console).go(resuming=False)


def resume_run(plan: Plan, path: Path, console: Console | None) -> Result:
    """Go on as `resume` does and return what came of it; messages go to `console`."""
    return Run(plan, path, console).go(resuming=True)
