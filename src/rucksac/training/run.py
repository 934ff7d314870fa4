"""Putting a run together, fresh or from its last checkpoint; then the loop; then what came of it."""

import dataclasses
import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from rucksac.agent import Agent
from rucksac.building import build, compile_steps
from rucksac.compilation import computing
from rucksac.device import chosen
from rucksac.environments.env_group import EnvGroup
from rucksac.environments.goals import open_goals
from rucksac.environments.making import name_of
from rucksac.environments.opening import evaluated_in, open_envs
from rucksac.environments.processes import Faults, setup_of
from rucksac.errors import UsageError
from rucksac.files import Beginning
from rucksac.resources import available_threads
from rucksac.text import count, size
from rucksac.training.callbacks import calling
from rucksac.training.checkpoint import Checkpoints
from rucksac.training.cluster import connected
from rucksac.training.console import Console
from rucksac.training.crew import Crew, Engine, evaluation_group
from rucksac.training.demonstrations import Demonstrations, demonstrations_of, introduce
from rucksac.training.diagnosis import Watchdog, divergence
from rucksac.training.evaluate import Evaluation
from rucksac.training.filming import films
from rucksac.training.folder import RunFolder
from rucksac.training.health import Health
from rucksac.training.local_collectors import LocalCollectors
from rucksac.training.loop import Loop, Stopwatch, metrics_of
from rucksac.training.milestones import Milestones
from rucksac.training.needs import replay_bytes, require_memory, threads_for
from rucksac.training.parts import Training, prepare
from rucksac.training.plan import Plan
from rucksac.training.progress import Progress
from rucksac.training.record import CsvRecorder, Recorder, evaluation_at, to_all
from rucksac.training.report import Report
from rucksac.training.starting import begin_from
from rucksac.training.stopping import StopRequest, stop_on_signals
from rucksac.training.tracking import Memory, tracked


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished or interrupted run: the agent, what summary.json says, and whether a signal ended it."""

    agent: Agent
    summary: dict[str, Any]
    stop: StopRequest


BY_THE_CLOCK = (
    "With --control-rate nothing of the checkpoint is lost, but the run goes on with a new episode and is not the one "
    "it would have been."
)
EXACT_WITHOUT_LAG = (
    "Collectors with --most-lag above 0: nothing of the checkpoint is lost, but from here on the run is not the one it "
    "would have been; --most-lag 0 resumes exactly."
)


class Run:
    """One run from its first environment to its summary."""

    def __init__(self, plan: Plan, path: Path | None, console: Console | None) -> None:
        self.plan, self.config, self.console = plan, plan.config.settled(), console
        self.path = path and path.absolute()  # an environment may change the current folder
        self.shown_path = path
        self.threads = plan.threads or plan.config.threads or threads_for(plan.config)
        self.demonstrations: Demonstrations | None = None
        self.report = Report(self.path, path, console, self.config.if_saving_fails == "stop")

    def go(self, resuming: bool) -> Result:
        """Train, from the beginning or from where the run was, and return what came of it."""
        progress = Progress()
        lap = Stopwatch(progress.seconds).lap
        with ExitStack() as cleanup:
            stop = cleanup.enter_context(stop_on_signals())
            training, evaluation_envs = self._make(progress, cleanup)
            folder = self._folder(resuming, training, cleanup)
            checkpoints = Checkpoints(self.path, self.config.keep, self.demonstrations) if self.path else None
            kept, notes = self._begin(training, checkpoints)
            if folder:
                if resuming and (changed := folder.changed_versions()):
                    notes.append(f"{changed}: from here on the run may not be the one it would have been.")
                self._write_config(folder, training.agent)
            csv = self._open_logs(metrics_of(training), kept, cleanup)
            if resuming and self.path:
                progress.evaluation = evaluation_at(self.path, progress.evaluated)
            track = self._trackers(cleanup)
            call = calling(self.plan.callbacks, training, self.path, stop, track, self.report.warn)
            record = to_all([*self._recorders(training, csv, cleanup), track, *self._films(training, track), call])
            self._warn_of(notes)
            lap("start")
            if why_not := compile_steps(training.learner):
                self.report.say(f"The gradient step runs uncompiled, slower: {why_not}.")
            lap("compile")
            stop.graceful = True
            milestones = Milestones(training, evaluation_envs, checkpoints, csv, record, call, self.report, stop)
            call("start", [])
            self._train(training, milestones, record, stop, lap)
        summary = {**_summary(training, stop), "saved": milestones.saved}
        if folder:
            with self.report.saving("summary.json"):
                folder.write_summary(summary)
        return Result(training.agent, summary, stop)

    def _make(self, progress: Progress, cleanup: ExitStack) -> tuple[Training, EnvGroup]:
        """Return the parts of the run, without an episode begun, and other environments to evaluate in."""
        plan, config, warn = self.plan, self.config, self.report.warn
        envs: EnvGroup | Crew
        evaluation_envs: EnvGroup
        if plan.ray:
            cleanup.enter_context(connected(plan.ray, "collector", config.collectors))
        if config.collectors:
            faults = Faults(config.restarts, warn)
            evaluation_envs = cleanup.enter_context(closing(evaluation_group(plan.env, config, faults)))
        else:
            envs, evaluation_envs = open_envs(plan.env, config, cleanup, warn)
        cleanup.enter_context(computing(self.threads))
        spaces = evaluation_envs.spaces
        agent = build(config, spaces, plan.policy, plan.critic, chosen(config.device))
        self.demonstrations = demonstrations_of(config, spaces)
        require_memory(config, spaces)
        if config.collectors:
            engine = self._engine(setup_of(plan.env, config, (plan.policy, plan.critic), self.threads), agent)
            envs = cleanup.enter_context(closing(Crew(engine, agent, faults)))
        goals = open_goals(evaluated_in(plan.env, config), config, spaces, cleanup) if config.hindsight else None
        prior = self.demonstrations and self.demonstrations.replay
        return prepare(agent, envs, progress, goals, prior), evaluation_envs

    def _engine(self, setup: bytes, agent: Agent) -> Engine:
        """Return where collectors run, which begin with this setup."""
        if not self.plan.ray:
            return LocalCollectors(setup, agent)
        from rucksac.training.ray_collectors import RayCollectors

        return RayCollectors(setup, agent)

    def _folder(self, resuming: bool, training: Training, cleanup: ExitStack) -> RunFolder | None:
        """Open or make the folder and keep others out; a start that comes to nothing leaves none."""
        if not self.path:
            return None
        folder = RunFolder.open(self.path) if resuming else RunFolder.create(self.path)
        if not resuming:
            cleanup.callback(lambda: None if _has_begun(training) else folder.discard())
        cleanup.enter_context(folder.alone())
        return folder

    def _begin(
        self, training: Training, checkpoints: Checkpoints | None
    ) -> tuple[dict[str, Beginning] | None, list[str]]:
        """Bring the parts to the last checkpoint or the first step; return what to keep of the logs, what to tell."""
        if checkpoints and checkpoints.exist():  # a run killed before its first one starts again
            kept, notes = checkpoints.restore(training)
            if training.progress.env_steps >= self.config.steps + self.config.env_count:
                raise UsageError(
                    f"{self.shown_path} has {training.progress.env_steps:,} steps behind it, but --steps is "
                    f"{self.config.steps:,}; give more"
                )
            if self.config.collectors and self.config.most_lag:
                notes.append(BY_THE_CLOCK if self.config.control_rate else EXACT_WITHOUT_LAG)
            return kept, notes
        if self.path and (self.path / "replay").exists() and not (self.path / "checkpoints").exists():
            raise UsageError(f"{self.shown_path} lost its checkpoints; put them back, or train anew elsewhere")
        if self.plan.origin:
            begin_from(training, self.plan.origin)
        elif self.demonstrations and training.agent.normaliser:  # a trained agent's stays as it is
            introduce(training.agent.normaliser, self.demonstrations.replay)
        training.collector.begin_episodes()
        return None, []

    def _write_config(self, folder: RunFolder, agent: Agent) -> None:
        derived: dict[str, Any] = {
            "target_entropy": agent.algorithm.target_entropy,
            "entropy_to_come": agent.algorithm.entropy_to_come,
            "threads": self.threads,
        }
        if self.plan.origin:
            derived |= self.plan.origin.to_json()
        name = self.plan.env if isinstance(self.plan.env, str) else None
        folder.write_config(name, self.plan.recipe, self.config, derived)

    def _open_logs(
        self, metrics: Sequence[str], kept: dict[str, Beginning] | None, cleanup: ExitStack
    ) -> CsvRecorder | None:
        if not self.path:
            return None
        csv = CsvRecorder(self.path, metrics, lambda error: self.report.not_written("a log", error), kept)
        cleanup.callback(csv.close)
        return csv

    def _recorders(self, training: Training, csv: CsvRecorder | None, cleanup: ExitStack) -> list[Recorder]:
        """Return all that get the rows of this run; the console begins to show it."""
        progress = training.progress
        recorders: list[Recorder] = [csv.record] if csv else []
        health = Health(self.config.gamma, training.agent.algorithm.target_entropy, _largest_reward(training))
        if self.console:
            compiles = self.config.compile != "never" and progress.env_steps < self.config.steps
            self.console.start(self._opening(training), compiles, health)
            cleanup.callback(lambda: self.console.close(progress.env_steps) if self.console else None)
            recorders.append(self.console.record)
        watchdog = Watchdog(
            health, self.config.env_count, lambda: progress.seconds.get("update", 0.0), self.report.warn
        )
        return [*recorders, watchdog.record]

    def _trackers(self, cleanup: ExitStack) -> Recorder:
        """Return what hands rows to the trackers of the run, in the background."""
        if not self.path:
            return to_all([])
        memory = Memory(self.path)
        memory.choose(self.plan.track, self.plan.video_every)
        facts = {"environment": name_of(self.plan.env), "recipe": self.plan.recipe, **self.config.to_json()}
        return cleanup.enter_context(tracked(memory, self.path, facts, self.report.warn))

    def _films(self, training: Training, track: Recorder) -> list[Recorder]:
        """Return what films evaluations, where the run has a folder and films are wanted."""
        if not (self.path and self.plan.video_every):
            return []
        env = evaluated_in(self.plan.env, self.config)
        return [films(self.plan.video_every, training.agent, env, self.path, track, self.report.warn)]

    def _warn_of(self, notes: list[str]) -> None:
        if self.threads > (most := available_threads()):
            notes.append(
                f"{self.threads} threads share {count(most, 'processor')}, which is much slower than one each."
            )
        for note in notes:
            self.report.warn(note)

    def _train(
        self,
        training: Training,
        milestones: Milestones,
        record: Recorder,
        stop: StopRequest,
        lap: Callable[[str], None],
    ) -> None:
        """Go through the loop; when an environment fails, save and say how to go on."""
        loop = Loop(
            training,
            record,
            milestones.evaluate,
            milestones.save,
            lambda batch: divergence(training.agent, batch, training.progress.env_steps, self.path),
            stop,
            lap,
        )
        try:
            loop.run()
        except UsageError as error:
            if milestones.saved:  # the environment failed, not the disk; what was learned must not be lost with it
                milestones.save()
            when = f" This was at environment step {training.progress.env_steps:,}"
            go_on = (
                f"; what came before is saved, and rucksac resume {shlex.quote(str(self.shown_path))} goes on"
                if milestones.can_go_on()
                else ""
            )
            error.args = (f"{error}.{when}{go_on}",)
            raise

    def _opening(self, training: Training) -> str:
        config, spaces, done = self.config, training.agent.spaces, training.progress.env_steps
        where = f"; writing to {self.shown_path}" if self.path else ""
        numbers = f"{count(spaces.obs_size, 'observation')}, {count(spaces.action_size, 'action')}"
        environments = count(config.envs, "environment")
        if config.collectors:
            lag = f"at most {count(config.most_lag, 'gradient step')} behind" if config.most_lag else "in turns"
            rate = f", {config.control_rate:g} steps per second of the clock" if config.control_rate else ""
            where_they_are = " on a Ray cluster" if self.plan.ray else ""
            environments = (
                f"{count(config.collectors, 'collector')} of one environment each{where_they_are}{rate}, {lag}, "
                "one to evaluate"
            )
        if config.workers:
            environments += f" in {count(config.workers, 'worker')} of one thread each, one more to evaluate"
        prior = ""
        if self.demonstrations:
            share = f"{config.demonstration_rows} of {config.batch_size} rows"
            prior = f"{count(len(self.demonstrations.replay), 'demonstrated step')} for {share} of each batch; "
        progress = f"going on at step {done:,} of {config.steps:,}" if done else count(config.steps, "step")
        return (
            f"{name_of(self.plan.env)}: {numbers}; {progress}, seed {config.seed}; "
            f"{environments}, {count(self.threads, 'thread')} to learn; "
            f"{prior}replay memory up to {size(replay_bytes(config, spaces))}{where}"
        )


def _has_begun(training: Training) -> bool:
    return bool(training.progress.env_steps or training.agent.grad_steps)


def _largest_reward(training: Training) -> Callable[[], float]:
    """Return what tells the largest reward so far, as the critics see it."""
    normaliser, prior = training.agent.normaliser, training.demonstrations
    memories = [training.replay, *([prior.replay] if prior else [])]

    def largest() -> float:
        batch = training.sampler.batch.reward  # those of hindsight are in no row
        reward = np.abs(np.concatenate([*(each.data["reward"] for each in memories), batch]))
        return float((normaliser.rewards(reward) if normaliser else reward).max())

    return largest


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
    if offline_steps := training.agent.config.offline_steps:
        summary["offline_grad_steps"] = offline_steps - (0 if progress.env_steps else round(progress.owed))
    if progress.evaluation:
        figures = Evaluation(progress.evaluation).summary
        summary["final_evaluation"] = {"episodes": len(progress.evaluation), **figures._asdict()}
    return summary
