"""Telling what went wrong, or is about to, from the numbers of a run."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import safetensors.torch
from torch import Tensor

from rucksac.agent import Agent
from rucksac.algorithm.update import Batch
from rucksac.training.health import Health
from rucksac.training.record import Row

SLOWER = 8.0  # times the seconds of a gradient step in the fastest stretch so far
WORTH_A_WARNING = ("q", "alpha")  # entropy below its target often comes back by itself
PATIENCE = 5_000  # steps of each environment without the end of an episode


def first_not_finite(agent: Agent, batch: Batch) -> str:
    """Return the name of the first tensor that holds NaN or infinity: in the batch, then in what learning changes."""
    for name, tensor in _tensors(batch).items():
        if not tensor.isfinite().all():
            return f"{name} in the batch"
    for name, tensor in agent.tensors().items():
        if not tensor.isfinite().all():
            return name
    return "a metric, though no tensor is"


def divergence(agent: Agent, batch: Batch, env_steps: int, folder: Path | None) -> str:
    """Return what to say of a gradient step that gave NaN or infinity; write its batch where there is a folder."""
    where = ""
    if folder:
        file = folder / "diverged.safetensors"
        safetensors.torch.save_file({name: tensor.clone() for name, tensor in _tensors(batch).items()}, file)
        where = f" The batch is in {file}."
    return (
        f"not finite at environment step {env_steps}, gradient step {agent.grad_steps}: "
        f"{first_not_finite(agent, batch)}. The last checkpoint, if there was one, is from before.{where} "
        "Smaller rewards or a smaller --lr usually help"
    )


def _tensors(batch: Batch) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in batch._asdict().items() if tensor is not None}


class Watchdog:
    """Says once when Q or alpha leave what rewards can explain, no episode ends or steps become slow.

    `learning_seconds` returns how long all gradient steps of the process have taken so far.
    """

    def __init__(
        self, health: Health, envs: int, learning_seconds: Callable[[], float], say: Callable[[str], None]
    ) -> None:
        self._health, self._envs, self._learning_seconds, self._say = health, envs, learning_seconds, say
        self._learned: tuple[int, float] | None = None  # gradient steps and seconds at the row before
        self._fastest = math.inf  # seconds of a gradient step
        self._said: set[str] = set()

    def record(self, kind: str, rows: Sequence[Row]) -> None:
        """Look at the metrics."""
        if kind == "metrics":
            for row in rows:
                self._watch(row)

    def _watch(self, row: Row) -> None:
        for what, text in self._health.problems(row).items():
            if what in WORTH_A_WARNING:
                self._once(what, text)
        self._watch_speed(row)
        if row["episodes"] == 0 and row["env_steps"] >= PATIENCE * self._envs:
            self._once(
                "endless",
                f"no episode has ended after {row['env_steps']:,} steps, and evaluations wait for whole ones; if the "
                "environment never ends by itself, give it a limit, such as --time-limit 1000.",
            )

    def _watch_speed(self, row: Row) -> None:
        """Compare the time of a gradient step with that in the fastest stretch so far."""
        steps, seconds = row["grad_steps"], self._learning_seconds()
        before, self._learned = self._learned, (steps, seconds)
        if before is None or steps == before[0]:
            return
        each = (seconds - before[1]) / (steps - before[0])
        if each > SLOWER * self._fastest:
            self._once(
                "slow",
                f"gradient steps take {each / self._fastest:.0f} times as long at step {row['env_steps']:,} as they "
                "did: another program may want the same processors, which a run with --threads 1 depends less on.",
            )
        self._fastest = min(self._fastest, each)

    def _once(self, what: str, text: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._say(text)
