"""Putting a run together: environment, agent, folder and recorders; then the loop; then what came of it."""

import dataclasses
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from torch import nn

from rucksac.agent import Agent
from rucksac.algorithm.recipes import recipe as find_recipe
from rucksac.building import build
from rucksac.compilation import computing
from rucksac.config import Config, with_settings
from rucksac.environments.making import EnvSource, make
from rucksac.environments.reading import spaces_of
from rucksac.environments.rollout import Rollout
from rucksac.environments.spaces import Door
from rucksac.errors import TrainingStopped, UsageError
from rucksac.experience.replay import Replay
from rucksac.resources import available_memory, available_threads
from rucksac.training import loop
from rucksac.training.checkpoint import save_agent, tensors_of
from rucksac.training.console import Console
from rucksac.training.evaluate import evaluate
from rucksac.training.folder import RunFolder
from rucksac.training.record import CsvRecorder, Recorders
from rucksac.training.stopping import StopRequest, stop_on_signals

WORTH_A_THREAD = 1_500_000  # multiply-adds; measured in docs/performance.md


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished or interrupted run: the agent, what summary.json says, and whether a signal ended it."""

    agent: Agent
    summary: dict[str, Any]
    stop: StopRequest


def train(
    env: EnvSource,
    *,
    recipe: str = "sac",
    run: str | Path | None = None,
    quiet: bool = True,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
    **settings: Any,
) -> Agent:
    """Train an agent and return it.

    `env` is an id or a function that returns a `gymnasium.Env`; it is called twice, for training and for evaluation.
    `settings` are fields of `rucksac.Config` and override the recipe's. With `run` everything is also written there;
    without, nothing is written. Raises `UsageError` for what cannot work, before training starts where possible.
    """
    config = with_settings(find_recipe(recipe).config, settings)
    console = None if quiet else Console(config.steps)
    return train_run(env, config, recipe, Path(run) if run else None, console, policy, critic).agent


def train_run(
    env: EnvSource,
    config: Config,
    recipe: str,
    path: Path | None,
    console: Console | None,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
) -> Result:
    """Train as `train` does and return what came of it; messages go to `console`."""
    stopwatch = loop.Stopwatch()
    threads = config.threads or _threads_for(config)
    with ExitStack() as cleanup:
        stop = cleanup.enter_context(stop_on_signals())
        training_env, evaluation_env = (cleanup.enter_context(closing(make(env))) for _ in range(2))
        if training_env.unwrapped is evaluation_env.unwrapped:
            raise UsageError("the environment function returned the same environment twice; return a new one each time")
        cleanup.enter_context(computing(threads))
        agent = build(config, spaces_of(training_env), policy, critic)
        rollout = Rollout([Door(training_env, agent.spaces)], config.seed)
        replay_bytes = _require_memory(agent)
        folder = RunFolder.create(path) if path else None
        if folder:
            cleanup.callback(folder.discard)
            derived = {"target_entropy": agent.algorithm.target_entropy, "threads": threads}
            folder.write_config(env if isinstance(env, str) else None, recipe, config, derived)
        recorder = Recorders([CsvRecorder(folder.path)] if folder else [])
        cleanup.callback(recorder.close)
        if console:
            console.start(_opening(env, agent, threads, replay_bytes, path))
            recorder.add(console)
        stopwatch.lap("start")
        why_not = agent.compile()
        if why_not and console:
            console.note(f"The gradient step runs uncompiled, slower: {why_not}.")
        stopwatch.lap("compile")
        stop.graceful = True
        outcome = loop.run(
            agent,
            rollout,
            lambda: evaluate(agent, evaluation_env, config.eval_episodes, stop=stop),
            recorder,
            lambda env_steps: _save(agent, folder, env_steps),
            stop,
            stopwatch,
        )
    summary = _summary(outcome, stop)
    if folder:
        folder.write_summary(summary)
    return Result(agent, summary, stop)


def _threads_for(config: Config) -> int:
    """Return 1 for networks so small that handing work to a second thread takes longer than the work."""
    largest_product = config.batch_size * max(config.hidden) ** 2
    return available_threads() if largest_product > WORTH_A_THREAD else 1


def _save(agent: Agent, folder: RunFolder | None, env_steps: int) -> None:
    for name, tensor in tensors_of(agent).items():
        if not tensor.isfinite().all():
            raise TrainingStopped(
                f"{name} holds a value that is not finite at environment step {env_steps}; the last checkpoint, if "
                "there was one, is from before. Smaller rewards or a smaller --lr usually help"
            )
    if folder:
        save_agent(agent, folder.path / "checkpoint", env_steps)


def _require_memory(agent: Agent) -> int:
    """Return the bytes of a full replay memory; raise `UsageError` when this machine cannot hold it."""
    config, spaces = agent.config, agent.spaces
    needed = Replay.bytes_for(config.buffer_size, spaces.obs_size, spaces.action_size)
    free = available_memory()
    if free is not None and needed > free:
        fitting = int(config.buffer_size * free / needed / 2)
        raise UsageError(
            f"a replay memory of {config.buffer_size:,} rows takes {needed / 2**20:,.0f} MiB, but only "
            f"{free / 2**20:,.0f} MiB are free; use --buffer-size {fitting} or less"
        )
    return needed


def _opening(env: EnvSource, agent: Agent, threads: int, replay_bytes: int, path: Path | None) -> str:
    config, spaces = agent.config, agent.spaces
    where = f"; writing to {path}" if path else ""
    return (
        f"{_name(env)}: {spaces.obs_size} observations, {spaces.action_size} actions; {config.steps:,} steps, "
        f"seed {config.seed}; {threads} threads; replay memory up to {replay_bytes / 2**20:,.0f} MiB{where}"
    )


def _name(env: EnvSource) -> str:
    return env if isinstance(env, str) else getattr(env, "__name__", type(env).__name__)


def _summary(outcome: loop.Outcome, stop: StopRequest) -> dict[str, Any]:
    training_seconds = sum(
        seconds for phase, seconds in outcome.wall_seconds.items() if phase not in ("start", "compile", "evaluate")
    )
    summary: dict[str, Any] = {
        "finished": not stop.is_set(),
        "env_steps": outcome.env_steps,
        "grad_steps": outcome.grad_steps,
        "episodes": outcome.episodes,
        "wall_seconds": {phase: round(seconds, 3) for phase, seconds in outcome.wall_seconds.items()},
        "env_steps_per_second": round(outcome.env_steps / training_seconds, 1) if training_seconds else 0.0,
        "final_evaluation": None,
    }
    if outcome.last_evaluation:
        figures = outcome.last_evaluation.summary
        summary["final_evaluation"] = {"episodes": len(outcome.last_evaluation.episodes), **figures._asdict()}
    return summary
