"""Telling what went wrong, or is about to, from the numbers of a run."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import safetensors.torch

from rucksac.agent import Agent
from rucksac.algorithm.update import Batch
from rucksac.training.record import Row

TOO_FAR = 10.0  # times the largest value that rewards and entropy can add up to
TOO_HOT = 100.0  # times the largest reward, per nat
GROWN = 10.0  # times its first value
SLOWER = 8.0  # times the seconds of a gradient step in the fastest stretch so far
PATIENCE = 5_000  # steps of each environment without the end of an episode


def first_not_finite(agent: Agent, batch: Batch) -> str:
    """Return the name of the first tensor that holds NaN or infinity: in the batch, then in what learning changes."""
    for name, tensor in batch._asdict().items():
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
        safetensors.torch.save_file({name: tensor.clone() for name, tensor in batch._asdict().items()}, file)
        where = f" The batch is in {file}."
    return (
        f"not finite at environment step {env_steps}, gradient step {agent.grad_steps}: "
        f"{first_not_finite(agent, batch)}. The last checkpoint, if there was one, is from before.{where} "
        "Smaller rewards or a smaller --lr usually help"
    )


class Watchdog:
    """Says once when Q or alpha leave what rewards can explain, no episode ends or steps become slow.

    `learning_seconds` returns how long all gradient steps of the process have taken so far.
    """

    def __init__(
        self,
        gamma: float,
        envs: int,
        largest_reward: Callable[[], float],
        learning_seconds: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._gamma, self._envs, self._largest_reward, self._say = gamma, envs, largest_reward, say
        self._learning_seconds = learning_seconds
        self._learned: tuple[int, float] | None = None  # gradient steps and seconds at the row before
        self._fastest = math.inf  # seconds of a gradient step
        self._said: set[str] = set()
        self._first_alpha: float | None = None

    def record(self, kind: str, rows: Sequence[Row]) -> None:
        """Look at the metrics."""
        if kind == "metrics":
            for row in rows:
                self._watch(row)

    def _watch(self, row: Row) -> None:
        """Compare Q with the discounted sum of the largest reward and entropy bonus, alpha with the largest reward."""
        reward = self._largest_reward()
        possible = (reward + row["alpha"] * abs(row["entropy"])) / (1.0 - self._gamma)
        if abs(row["q"]) > TOO_FAR * possible:
            self._once(
                "q",
                f"Q is {row['q']:.3g} at step {row['env_steps']:,}, but rewards and entropy so far allow at most "
                f"{possible:.3g}: the critics diverge; a smaller --lr or --tau, or more --critics, usually help.",
            )
        self._first_alpha = self._first_alpha or row["alpha"]
        if row["alpha"] > max(TOO_HOT * reward, GROWN * self._first_alpha) and reward > 0.0:
            self._once(
                "alpha",
                f"alpha has grown to {row['alpha']:.3g} at step {row['env_steps']:,}, more than {TOO_HOT:g} times the "
                f"largest reward ({reward:.3g}), as entropy {row['entropy']:.2f} stays below its target; rewards "
                "hardly count any more, and a lower --target-entropy or a fixed --alpha usually helps.",
            )
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
