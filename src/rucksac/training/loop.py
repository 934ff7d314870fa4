"""The straight line of a run: learn, attend to what is due, collect."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rucksac.algorithm.update import Batch
from rucksac.environments.transitions import Collected
from rucksac.errors import TrainingStopped
from rucksac.experience.sampling import Mixture, Sampler
from rucksac.training.collectors import LAGS
from rucksac.training.pace import BINS
from rucksac.training.parts import Training
from rucksac.training.progress import Progress, metrics_row
from rucksac.training.record import Recorder, episode_row
from rucksac.training.stopping import StopRequest

Listener = Callable[[Training, Collected], None]


class Stopwatch:
    """Shares out all time since its start among named phases, in `seconds`."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap to `phase`."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


def crossed(before: int, after: int, every: int) -> bool:
    """Return whether going from `before` to `after` steps reached or passed a multiple of `every`."""
    return after // every > before // every


def store(training: Training, collected: Collected) -> None:
    """Put what was collected into the replay memory."""
    for env_index in collected.lost:
        training.replay.close_episode(env_index)
    for transition in collected.transitions:
        training.replay.add(**transition._asdict())


def normalise(training: Training, collected: Collected) -> None:
    """Let the normaliser, if there is one, learn from what was collected."""
    if normaliser := training.agent.normaliser:
        normaliser.running[collected.lost] = 0.0
        for env_index, obs, _, reward, _, terminated, truncated in collected.transitions:
            normaliser.learn(env_index, obs, reward, terminated or truncated)


def metrics_of(training: Training) -> tuple[str, ...]:
    """Return the names of all metrics of a run."""
    config = training.agent.config
    of_collectors = (*LAGS, *(BINS if config.control_rate else ())) if config.collectors else ()
    return *training.agent.algorithm.metrics(), *of_collectors


LISTENERS: tuple[Listener, ...] = (store, normalise)


@dataclass
class Loop:
    """What a run is made of: `evaluate` and `save` are called when they are due, `listeners` with what is collected.

    `examine` says what is wrong with a batch that led to metrics that are not finite, `lap` takes each phase's time.
    """

    training: Training
    record: Recorder
    evaluate: Callable[[], None]
    save: Callable[[], None]
    examine: Callable[[Batch], str]
    stop: StopRequest
    lap: Callable[[str], None]
    listeners: Sequence[Listener] = LISTENERS

    def run(self) -> None:
        """Train until `config.steps` environment steps are done or `stop` is set, and save at the end.

        Whatever a stop leaves undone is the first thing that is done when the run goes on. Raises `TrainingStopped`
        when a metric is no longer finite; the last checkpoint is then the one from before. Raises `UsageError` when an
        environment fails; what came before may then be saved.
        """
        config = self.training.agent.config
        first_update, random_steps = config.first_update, config.random_steps
        if self.training.demonstrations and not self.training.progress.env_steps:
            self._learn_offline(self.training.demonstrations)
        while True:
            self._learn(self.training.sampler)
            if self._attend():
                return
            self._collect(first_update, random_steps)

    def _learn_offline(self, demonstrations: Sampler) -> None:
        """Take the gradient steps that come before the first environment step; then evaluate, if there were any.

        Rows of metrics and checkpoints come every so many of these steps as later of environment steps.
        """
        progress, config, stop = self.training.progress, self.training.agent.config, self.stop
        while True:
            done = round(config.offline_steps - progress.owed)
            if progress.sums and (done % config.log_every == 0 or progress.owed < 1.0):
                self._record_metrics()
            if progress.owed < 1.0 or stop.is_set():
                break
            stretch = min(config.log_every - done % config.log_every, progress.owed)
            self._learn(demonstrations, progress.owed - stretch)
            if not stop.is_set() and crossed(done, done + round(stretch), config.checkpoint_every):
                self.save()
                self.lap("checkpoint")
        if config.offline_steps and progress.best == Progress.best and not stop.is_set():
            self.evaluate()
            self.lap("evaluate")

    def _record_metrics(self) -> None:
        """Record the means over the stretch of training since the last row."""
        progress = self.training.progress
        self.record("metrics", [metrics_row(progress, self.training.agent.grad_steps, metrics_of(self.training))])
        progress.sums, progress.counts = {}, {}
        self.lap("record")

    def _learn(self, sampler: Sampler | Mixture, not_due: float = 0.0) -> None:
        """Take the gradient steps that are owed, but for those that are not due yet."""
        agent, progress, lap = self.training.agent, self.training.progress, self.lap
        config = agent.config
        not_due += config.utd * (progress.env_steps % config.update_every)  # what the unfinished block owes
        while progress.owed - not_due >= 1.0 - 1e-9 and not self.stop.is_set():  # 0.1 owed ten times is one
            if agent.grad_steps >= self.training.collector.learn_until:
                break
            batch = sampler.sample()
            lap("sample")
            metrics, td_error = self.training.learner.update(batch)
            progress.add(metrics)
            progress.owed -= 1.0
            if not math.isfinite(sum(metrics.values())):
                raise TrainingStopped(self.examine(batch))
            sampler.learned(td_error)
            lap("update")

    def _attend(self) -> bool:
        """Record, evaluate and save as far as they are due; return whether the run ends here."""
        agent, progress, lap = self.training.agent, self.training.progress, self.lap
        config, stop = agent.config, self.stop
        env_steps, over = progress.env_steps, progress.env_steps >= config.steps
        if not stop.is_set() and crossed(progress.logged, env_steps, config.log_every):
            if progress.sums:
                self._record_metrics()
            progress.logged = env_steps
        evaluation_due = crossed(progress.evaluated, env_steps, config.eval_every) or over
        if not stop.is_set() and evaluation_due and progress.evaluated < env_steps:
            self.evaluate()
            lap("evaluate")
        ending = over or stop.is_set()
        if ending or crossed(progress.saved, env_steps, config.checkpoint_every):
            progress.saved = env_steps
            self.save()
            lap("checkpoint")
        return ending

    def _collect(self, first_update: int, random_steps: int) -> None:
        """Act once in every environment, and hand over what came of it before the next episodes begin."""
        training, progress, config = self.training, self.training.progress, self.training.agent.config
        policy = training.agent if progress.env_steps >= random_steps else None
        collected = training.collector.collect(policy, self.lap)
        for listen in self.listeners:
            listen(training, collected)
        progress.env_steps += len(collected.transitions)
        for episode in collected.finished:
            progress.episodes += 1
            self.record("episodes", [episode_row(progress.env_steps, progress.episodes - 1, episode)])
        if progress.env_steps >= first_update and len(training.replay) > config.batch_size:
            progress.owed += config.utd * len(collected.transitions)
        self.lap("record")
        training.collector.begin_episodes()
        self.lap("environment")
