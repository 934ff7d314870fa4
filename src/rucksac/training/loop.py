"""The straight line of a run: act, step, store, sample, update, record."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rucksac.agent import Agent
from rucksac.algorithm.update import METRICS
from rucksac.environments.rollout import Rollout
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import UniformSampler
from rucksac.streams import Stream, generator
from rucksac.training.evaluate import Evaluation, EvaluationStopped
from rucksac.training.record import Recorder, episode_row, metrics_row
from rucksac.training.stopping import StopRequest


class Outcome(NamedTuple):
    """How a run went. `wall_seconds` tells the phases apart; a phase is what a lap of the stopwatch was given to."""

    env_steps: int
    grad_steps: int
    episodes: int
    wall_seconds: dict[str, float]
    last_evaluation: Evaluation | None


def crossed(before: int, after: int, every: int) -> bool:
    """Return whether going from `before` to `after` steps reached or passed a multiple of `every`."""
    return after // every > before // every


class UpdateDebt:
    """Gradient steps owed: `utd` per stored transition, fractions carried over."""

    def __init__(self, utd: float) -> None:
        self.utd, self.owed = utd, 0.0

    def incur(self, transitions: int) -> int:
        """Owe for new transitions and return how many whole gradient steps to take now."""
        self.owed += self.utd * transitions
        due = int(self.owed + 1e-9)  # 0.1 owed ten times is one
        self.owed -= due
        return due


class Stopwatch:
    """Shares out all time since its start among named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap to `phase`."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._last
        self._last = now


def run(
    agent: Agent,
    rollout: Rollout,
    evaluate: Callable[[], Evaluation],
    recorder: Recorder,
    save: Callable[[int], None],
    stop: StopRequest,
    stopwatch: Stopwatch,
) -> Outcome:
    """Train `agent` for `config.steps` environment steps, or until `stop` is set.

    `save` is called with the environment steps so far whenever a checkpoint is due and once at the end. Raises
    `TrainingStopped` when a metric is no longer finite; the last checkpoint is then the one from before.
    """
    config, spaces = agent.config, agent.spaces
    replay = Replay(config.buffer_size, len(rollout.envs), spaces.obs_size, spaces.action_size)
    sampler = UniformSampler(replay, config.batch_size, config.gamma, generator(config.seed, Stream.SAMPLING))
    warmup = generator(config.seed, Stream.WARMUP)
    debt = UpdateDebt(config.utd)
    env_steps = episodes = 0
    last_evaluation = None
    sums, updates = np.zeros(len(METRICS)), 0

    def evaluate_now() -> Evaluation | None:
        try:
            evaluation = evaluate()
        except EvaluationStopped:
            return last_evaluation
        recorder.evaluation([episode_row(env_steps, index, each) for index, each in enumerate(evaluation.episodes)])
        stopwatch.lap("evaluate")
        return evaluation

    over = stop.is_set()
    while not over:
        if env_steps < config.warmup:
            actions = warmup.uniform(-1.0, 1.0, (len(rollout.envs), spaces.action_size)).astype(np.float32)
        else:
            actions = agent.act(rollout.obs)
        stopwatch.lap("act")

        transitions, finished = rollout.step(actions)
        stopwatch.lap("environment")

        for transition in transitions:
            replay.add(*transition)
        before, env_steps = env_steps, env_steps + len(transitions)
        for episode in finished:
            recorder.episode(episode_row(env_steps, episodes, episode))
            episodes += 1
        stopwatch.lap("record")

        if env_steps >= config.warmup and len(replay) > config.batch_size:
            for _ in range(debt.incur(len(transitions))):
                if stop.is_set():
                    break
                batch = sampler.sample()
                stopwatch.lap("sample")
                sums += agent.update(batch).numpy()
                updates += 1
                stopwatch.lap("update")

        if crossed(before, env_steps, config.log_every) and updates:
            counters = {"env_steps": env_steps, "grad_steps": agent.grad_steps, "episodes": episodes}
            recorder.metrics(metrics_row(counters, sums / updates, sum(stopwatch.seconds.values())))
            sums[:], updates = 0.0, 0
            stopwatch.lap("record")
        over = env_steps >= config.steps or stop.is_set()
        if over or crossed(before, env_steps, config.checkpoint_every):
            save(env_steps)
            stopwatch.lap("checkpoint")
        if not stop.is_set() and (over or crossed(before, env_steps, config.eval_every)):
            last_evaluation = evaluate_now()
    return Outcome(env_steps, agent.grad_steps, episodes, stopwatch.seconds, last_evaluation)
