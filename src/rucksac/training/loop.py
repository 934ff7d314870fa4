"""The straight line of a run: learn, record, evaluate, save, act, step, store."""

import math
import time
from collections.abc import Callable

from rucksac.algorithm.update import Batch
from rucksac.errors import TrainingStopped, UsageError
from rucksac.training.evaluate import Evaluation, EvaluationStopped
from rucksac.training.parts import Training, mean_metrics
from rucksac.training.record import Recorder, episode_row, metrics_row
from rucksac.training.stopping import StopRequest


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


def run(
    training: Training,
    evaluate: Callable[[], Evaluation],
    record: Recorder,
    save: Callable[[], None],
    stop: StopRequest,
    examine: Callable[[Batch], str],
    lap: Callable[[str], None],
) -> None:
    """Train until `config.steps` environment steps are done or `stop` is set.

    `save` is called whenever a checkpoint is due and once at the end; whatever a stop leaves undone is the first thing
    that is done when the run goes on. Raises `TrainingStopped` with what `examine` says of the batch when a metric is
    no longer finite; the last checkpoint is then the one from before. Raises `UsageError` when an environment fails;
    what came before may then be saved. `lap` takes the time of each phase.
    """
    agent, rollout, replay, progress = training.agent, training.rollout, training.replay, training.progress
    config = agent.config
    first_update, random_steps = config.first_update, config.random_steps
    while True:
        not_due = config.utd * (progress.env_steps % config.update_every)  # what the unfinished block owes
        while progress.owed - not_due >= 1.0 - 1e-9 and not stop.is_set():  # 0.1 owed ten times is one
            batch = training.sampler.sample()
            lap("sample")
            progress.sums += agent.update(batch).numpy()
            progress.updates += 1
            progress.owed -= 1.0
            if not math.isfinite(progress.sums.sum()):
                raise TrainingStopped(examine(batch))
            lap("update")

        env_steps, over = progress.env_steps, progress.env_steps >= config.steps
        if not stop.is_set() and crossed(progress.logged, env_steps, config.log_every):
            if progress.updates:
                counters = {"env_steps": env_steps, "grad_steps": agent.grad_steps, "episodes": progress.episodes}
                means, seconds = mean_metrics(progress, agent.grad_steps, config), sum(progress.seconds.values())
                record("metrics", [metrics_row(counters, means, seconds)])
            progress.logged, progress.updates = env_steps, 0
            progress.sums[:] = 0.0
            lap("record")
        evaluation_due = crossed(progress.evaluated, env_steps, config.eval_every) or over
        if not stop.is_set() and evaluation_due and progress.evaluated < env_steps:
            try:
                progress.evaluation = evaluate().episodes
            except EvaluationStopped:
                continue
            progress.evaluated = env_steps
            rows = [episode_row(env_steps, number, each) for number, each in enumerate(progress.evaluation)]
            record("evaluations", rows)
            lap("evaluate")
        ending = over or stop.is_set()
        if ending or crossed(progress.saved, env_steps, config.checkpoint_every):
            progress.saved = env_steps
            save()
            lap("checkpoint")
        if ending:
            return

        at_random = env_steps < random_steps
        stream = training.warmup if at_random else agent.acting_noise
        before = stream.bit_generator.state
        actions = agent.spaces.actions.random(stream, config.envs) if at_random else agent.act(rollout.obs)
        lap("act")
        try:
            transitions, finished, lost = rollout.step(actions)
        except UsageError:  # a run that goes on takes this step again, with the same actions
            stream.bit_generator.state = before
            raise
        lap("environment")
        if lost:
            training.close_episodes(lost)
        for transition in transitions:
            replay.add(**transition._asdict())
            if agent.normaliser:
                ended = transition.terminated or transition.truncated
                agent.normaliser.learn(transition.lane, transition.obs, transition.reward, ended)
        progress.env_steps += len(transitions)
        for episode in finished:
            record("episodes", [episode_row(progress.env_steps, progress.episodes, episode)])
            progress.episodes += 1
        if progress.env_steps >= first_update and len(replay) > config.batch_size:
            progress.owed += config.utd * len(transitions)
        lap("record")
        rollout.begin_anew()
        lap("environment")
