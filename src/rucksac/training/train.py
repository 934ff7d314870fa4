"""Putting a run together, fresh or from its last checkpoint; then the loop; then what came of it."""

import dataclasses
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from rucksac.agent import Agent
from rucksac.algorithm.recipes import DEFAULT
from rucksac.algorithm.recipes import recipe as find_recipe
from rucksac.building import build, compile_agent
from rucksac.compilation import computing
from rucksac.config import Config, with_settings
from rucksac.device import chosen
from rucksac.environments.lanes import Lanes
from rucksac.environments.making import EnvSource, name_of
from rucksac.environments.opening import open_lanes
from rucksac.environments.rollout import Rollout
from rucksac.errors import TrainingStopped, UsageError
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Sampler, UniformPick, one_step
from rucksac.resources import available_memory, available_threads
from rucksac.streams import Stream, generator
from rucksac.text import count, shortened, size
from rucksac.training import loop
from rucksac.training.agent_file import tensors_of
from rucksac.training.checkpoint import Checkpoints
from rucksac.training.console import Console
from rucksac.training.diagnosis import Watchdog, divergence
from rucksac.training.evaluate import Evaluation, evaluate_lanes
from rucksac.training.files import Beginning
from rucksac.training.folder import STARTED_FROM, RunFolder, origin_of, path_of, threads_of
from rucksac.training.parts import Progress, Training, columns_of, replay_bytes
from rucksac.training.record import CsvRecorder, Recorder, evaluation_at, harmless, to_all
from rucksac.training.starting import begin_from, settings_from
from rucksac.training.stopping import StopRequest, stop_on_signals

WORTH_A_THREAD = 1_500_000  # multiply-adds; measured in docs/performance.md


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished or interrupted run: the agent, what summary.json says, and whether a signal ended it."""

    agent: Agent
    summary: dict[str, Any]
    stop: StopRequest


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run is made of; `threads` are those that a run to go on with had, `start_from` is a run to begin from."""

    env: EnvSource
    config: Config
    recipe: str
    policy: nn.Module | None = None
    critic: nn.Module | None = None
    threads: int | None = None
    start_from: Path | None = None
    recorders: tuple[Recorder, ...] = ()


def train(
    env: EnvSource,
    *,
    recipe: str | None = None,
    start_from: str | Path | None = None,
    run: str | Path | None = None,
    quiet: bool = True,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
    recorders: Sequence[Recorder] = (),
    **settings: Any,
) -> Agent:
    """Train an agent and return it.

    `env` is an id or a function that returns a `gymnasium.Env`; it is called for every training environment and once
    for evaluation. `settings` are fields of `rucksac.Config` and override the recipe's. With `start_from` the new run
    has the settings of that one, without random steps, and begins with its trained agent. With `run` everything is also
    written there; without, nothing is written. Every row that is logged also goes to each function in `recorders`, as
    (kind, rows); one that raises gets no more, and console and warnings.txt say so. Raises `UsageError` for what cannot
    work, before training starts where possible.
    """
    config, name, origin = beginning(recipe, start_from)
    listed = _listed(recorders)
    plan = Plan(env, with_settings(config, settings), name, policy, critic, start_from=origin, recorders=listed)
    path, console = None if run is None else path_of(run), None if quiet else Console(plan.config.steps)
    result = train_run(plan, path, console)
    if console:
        console.finish(result.summary, path)
    return result.agent


def _listed(recorders: Any) -> tuple[Recorder, ...]:
    if not isinstance(recorders, list | tuple):
        raise UsageError(f"recorders is {shortened(recorders)}, but must be a list of functions")
    return tuple(recorders)


def beginning(recipe: str | None, start_from: str | Path | None) -> tuple[Config, str, Path | None]:
    """Return the settings that a run has unless others are given, the recipe they are called by, and where it starts.

    Raises `UsageError` for a recipe or a run that does not exist, and for both together.
    """
    if start_from is None:
        return find_recipe(recipe or DEFAULT).config, recipe or DEFAULT, None
    if recipe is not None:
        raise UsageError("--recipe and --start-from both say which settings a run has; give one of them")
    origin = path_of(start_from)
    return *settings_from(origin), origin


def resume(
    run: str | Path,
    *,
    env: EnvSource | None = None,
    steps: int | None = None,
    quiet: bool = True,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
    recorders: Sequence[Recorder] = (),
    **others: Any,
) -> Agent:
    """Go on with an interrupted run exactly where its last checkpoint was taken, and return the agent.

    `steps` extends the run. `env`, `policy` and `critic` are needed again when the run was made with a function or
    with modules of your own. Raises `UsageError` when the run cannot go on, and for any other setting.
    """
    if others:
        raise UsageError(
            f"a run keeps its settings, so resume takes no {next(iter(others))}; begin a new one with its agent: "
            "train(..., start_from=run)"
        )
    path = path_of(run)
    plan = dataclasses.replace(plan_of(path, env, steps, policy, critic), recorders=_listed(recorders))
    console = None if quiet else Console(plan.config.steps)
    result = resume_run(plan, path, console)
    if console:
        console.finish(result.summary, path)
    return result.agent


def plan_of(
    run: Path,
    env: EnvSource | None = None,
    steps: int | None = None,
    policy: nn.Module | None = None,
    critic: nn.Module | None = None,
) -> Plan:
    """Return what the run in this folder was made of; raise `UsageError` when something is missing."""
    saved = RunFolder.open(run).read_config()
    source = env if env is not None else saved["environment"]
    if source is None:
        raise UsageError(f"{run} was trained with an environment made by a function; give it again")
    config = Config.from_json(saved["settings"])
    if steps is not None:
        config = with_settings(config, {"steps": steps})
    return Plan(source, config, saved["recipe"], policy, critic, threads_of(saved), origin_of(saved))


def train_run(plan: Plan, path: Path | None, console: Console | None) -> Result:
    """Train as `train` does and return what came of it; messages go to `console`."""
    return _Run(plan, path, console).go(resuming=False)


def resume_run(plan: Plan, path: Path, console: Console | None) -> Result:
    """Go on as `resume` does and return what came of it; messages go to `console`."""
    return _Run(plan, path, console).go(resuming=True)


def prepare(agent: Agent, lanes: Lanes, progress: Progress) -> Training:
    """Return all parts of a run before its first step; no episode has begun."""
    config, spaces = agent.config, agent.spaces
    replay = Replay(config.buffer_size, len(lanes), columns_of(spaces))
    pick = UniformPick(replay, generator(config.seed, Stream.SAMPLING))
    return Training(
        agent=agent,
        rollout=Rollout(lanes, config.seed),
        replay=replay,
        sampler=Sampler(replay, pick, one_step(config.gamma), config.batch_size),
        warmup=generator(config.seed, Stream.WARMUP),
        progress=progress,
    )


class _Run:
    """One run from its first environment to its summary."""

    def __init__(self, plan: Plan, path: Path | None, console: Console | None) -> None:
        self.plan, self.config, self.console = plan, plan.config.settled(), console
        self.path = path and path.absolute()  # an environment may change the current folder
        self.shown_path = path
        self.saved = True  # whether the last attempt to save went well
        self.threads = plan.threads or plan.config.threads or threads_for(plan.config)

    def go(self, resuming: bool) -> Result:
        progress = Progress()
        lap = loop.Stopwatch(progress.seconds).lap
        with ExitStack() as cleanup:
            stop = cleanup.enter_context(stop_on_signals())
            lanes, judging = open_lanes(self.plan.env, self.config, cleanup, self._warn)
            cleanup.enter_context(computing(self.threads))
            agent = build(self.config, lanes.spaces, self.plan.policy, self.plan.critic, chosen(self.config.device))
            self.replay_bytes = _require_memory(agent)
            training = prepare(agent, lanes, progress)
            folder = self._folder(resuming, training, cleanup)
            self.checkpoints = Checkpoints(self.path, self.config.keep) if self.path else None
            kept: dict[str, Beginning] | None = None
            notes: list[str] = []
            if self.checkpoints and self.checkpoints.exist():  # a run killed before its first one starts again
                kept, notes = self.checkpoints.restore(training)
                if progress.env_steps >= self.config.steps + self.config.envs:
                    raise UsageError(
                        f"{self.shown_path} has {progress.env_steps:,} steps behind it, but --steps is "
                        f"{self.config.steps:,}; give more"
                    )
            else:
                if self.path and (self.path / "replay").exists() and not (self.path / "checkpoints").exists():
                    raise UsageError(f"{self.shown_path} lost its checkpoints; put them back, or train anew elsewhere")
                if self.plan.start_from:
                    begin_from(agent, self.plan.start_from)
                training.rollout.start()
            if folder and resuming and (changed := folder.changed_versions()):
                notes.append(f"{changed}: from here on the run may not be the one it would have been.")
            if folder:
                parts = agent.algorithm
                derived: dict[str, Any] = {
                    "target_entropy": parts.target_entropy,
                    "entropy_to_come": parts.entropy_to_come,
                    "threads": self.threads,
                }
                if self.plan.start_from:
                    derived[STARTED_FROM] = str(self.plan.start_from.absolute())
                name = self.plan.env if isinstance(self.plan.env, str) else None
                folder.write_config(name, self.plan.recipe, self.config, derived)
            self.csv = (
                CsvRecorder(self.path, lambda error: self._cannot_write("a log", error), kept) if self.path else None
            )
            recorders: list[Recorder] = []
            if self.csv:
                cleanup.callback(self.csv.close)
                recorders.append(self.csv.record)
            if resuming and self.path:
                progress.evaluation = evaluation_at(self.path, progress.evaluated)
            if self.console:
                compiles = self.config.compile != "never" and progress.env_steps < self.config.steps
                self.console.start(self._opening(agent, training), compiles)
                cleanup.callback(self.console.close)
                recorders.append(self.console.record)
            watchdog = Watchdog(
                self.config.gamma,
                self.config.envs,
                _largest_reward(agent, training.replay),
                lambda: progress.seconds.get("update", 0.0),
                self._warn,
            )
            recorders += [watchdog.record, *(harmless(each, self._warn) for each in self.plan.recorders)]
            if self.threads > (most := available_threads()):
                notes.append(
                    f"{self.threads} threads share {count(most, 'processor')}, which is much slower than one each."
                )
            for note in notes:
                self._warn(note)
            lap("start")
            if why_not := compile_agent(agent):
                self._say(f"The gradient step runs uncompiled, slower: {why_not}.")
            lap("compile")
            stop.graceful = True
            self._train(training, judging, to_all(recorders), stop, lap)
        summary = {**_summary(training, stop), "saved": self.saved}
        if folder:
            with self._saving("summary.json"):
                folder.write_summary(summary)
        return Result(agent, summary, stop)

    def _train(
        self, training: Training, judging: Lanes, record: Recorder, stop: StopRequest, lap: Callable[[str], None]
    ) -> None:
        try:
            loop.run(
                training,
                lambda: self._evaluate(training, judging, stop),
                record,
                lambda: self._save(training),
                stop,
                lambda batch: divergence(training.agent, batch, training.progress.env_steps, self.path),
                lap,
            )
        except UsageError as error:
            if self.saved:  # the environment failed, not the disk; what was learned must not be lost with it
                self._save(training)
            when = f" This was at environment step {training.progress.env_steps:,}"
            saved = self.saved and self.checkpoints and self.checkpoints.exist()
            go_on = (
                f"; what came before is saved, and rucksac resume {shlex.quote(str(self.shown_path))} goes on"
                if saved
                else ""
            )
            error.args = (f"{error}.{when}{go_on}",)
            raise

    def _folder(self, resuming: bool, training: Training, cleanup: ExitStack) -> RunFolder | None:
        if not self.path:
            return None
        folder = RunFolder.open(self.path) if resuming else RunFolder.create(self.path)
        if not resuming:
            cleanup.callback(lambda: None if training.progress.env_steps else folder.discard())
        cleanup.enter_context(folder.alone())
        return folder

    def _evaluate(self, training: Training, lanes: Lanes, stop: StopRequest) -> Evaluation:
        evaluation = evaluate_lanes(training.agent, lanes, self.config.eval_episodes, stop=stop, say=self._say)
        progress = training.progress
        if evaluation.summary.mean > progress.best:
            progress.best = evaluation.summary.mean
            if self.checkpoints:
                with self._saving("the best agent"):
                    self.checkpoints.save_best(training.agent, progress.env_steps)
        return evaluation

    def _save(self, training: Training) -> None:
        for name, tensor in tensors_of(training.agent).items():
            if not tensor.isfinite().all():
                raise TrainingStopped(
                    f"{name} holds a value that is not finite at environment step {training.progress.env_steps}; the "
                    "last checkpoint, if there was one, is from before. Smaller rewards or a smaller --lr usually help"
                )
        if self.checkpoints and self.csv:
            self.saved = False
            with self._saving("a checkpoint"):
                self.checkpoints.save(training, self.csv.written())
                self.saved = True

    @contextmanager
    def _saving(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._cannot_write(what, error)

    def _cannot_write(self, what: str, error: OSError) -> None:
        """Stop the run, or say so and let it go on, as the settings have it."""
        text = (
            f"{what} could not be written to {self.shown_path} ({error.strerror}); checkpoints there stay as they are"
        )
        if self.config.if_saving_fails == "stop":
            raise TrainingStopped(f"{text}. Make room and resume, or use --if-saving-fails continue") from error
        self._warn(f"{text if '.' in what else text[0].upper() + text[1:]}; the run goes on.")

    def _say(self, text: str) -> None:
        if self.console:
            self.console.note(text)

    def _warn(self, text: str) -> None:
        """Say what a person must know of this run, in a line, and keep all of it in the folder."""
        self._say(text.partition("\n")[0])
        if self.path and self.path.is_dir():
            with suppress(OSError), (self.path / "warnings.txt").open("a") as file:
                file.write(f"{datetime.now().isoformat(' ', 'seconds')} {text}\n")

    def _opening(self, agent: Agent, training: Training) -> str:
        config, spaces, done = self.config, agent.spaces, training.progress.env_steps
        where = f"; writing to {self.shown_path}" if self.path else ""
        numbers = f"{count(spaces.obs_size, 'observation')}, {count(spaces.action_size, 'action')}"
        environments = count(config.envs, "environment")
        if config.workers:
            environments += f" in {count(config.workers, 'worker')} of one thread each, one more to evaluate"
        progress = f"going on at step {done:,} of {config.steps:,}" if done else count(config.steps, "step")
        return (
            f"{name_of(self.plan.env)}: {numbers}; {progress}, seed {config.seed}; "
            f"{environments}, {count(self.threads, 'thread')} to learn; "
            f"replay memory up to {size(self.replay_bytes)}{where}"
        )


def threads_for(config: Config) -> int:
    """Return 1 for networks so small that handing work to a second thread takes longer than the work."""
    largest_product = config.batch_size * max(config.hidden) ** 2
    return available_threads() if largest_product > WORTH_A_THREAD else 1


def _largest_reward(agent: Agent, replay: Replay) -> Callable[[], float]:
    """Return what tells the largest reward so far, as the critics see it."""

    def largest() -> float:
        reward = np.abs(replay.data["reward"])
        return float((agent.normaliser.rewards(reward) if agent.normaliser else reward).max())

    return largest


def _require_memory(agent: Agent) -> int:
    """Return the bytes of a full replay memory; raise `UsageError` when this machine cannot hold it."""
    config, spaces = agent.config, agent.spaces
    needed = replay_bytes(config, spaces)
    free = available_memory()
    if free is not None and needed > free:
        fitting = int(config.buffer_size * free / needed / 2)
        raise UsageError(
            f"a replay memory of {config.buffer_size:,} rows takes {needed / 2**20:,.0f} MiB, but only "
            f"{free / 2**20:,.0f} MiB are free; use --buffer-size {fitting} or less"
        )
    return needed


def _summary(training: Training, stop: StopRequest) -> dict[str, Any]:
    progress, wall_seconds = training.progress, training.progress.seconds
    training_seconds = sum(
        seconds for phase, seconds in wall_seconds.items() if phase not in ("start", "compile", "evaluate")
    )
    summary: dict[str, Any] = {
        "finished": not stop.is_set(),
        "env_steps": progress.env_steps,
        "grad_steps": training.agent.grad_steps,
        "episodes": progress.episodes,
        "wall_seconds": {phase: round(seconds, 3) for phase, seconds in wall_seconds.items()},
        "env_steps_per_second": round(progress.env_steps / training_seconds, 1) if training_seconds else 0.0,
        "final_evaluation": None,
    }
    if progress.evaluation:
        figures = Evaluation(progress.evaluation).summary
        summary["final_evaluation"] = {"episodes": len(progress.evaluation), **figures._asdict()}
    return summary
