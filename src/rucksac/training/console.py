"""A run as a person sees it: a live table on a terminal, plain lines elsewhere."""

import io
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
from rich.console import Console as RichConsole
from rich.live import Live

from rucksac.output import Unfailing
from rucksac.stats import summarise
from rucksac.text import count, interval
from rucksac.training.health import Health
from rucksac.training.live import Standing
from rucksac.training.record import Row

RECENT_EPISODES = 10
SECONDS_BETWEEN_LINES = 5.0
COMPILING = "preparing the gradient step; compiling it the first time takes up to a minute"
NUMBERS = {  # shown, from which column and how it is written
    "alpha": ("alpha", ".3g"),
    "entropy": ("entropy", ".2f"),
    "Q": ("q", ".1f"),
    "critic loss": ("critic_loss", ".3g"),
    "policy loss": ("policy_loss", ".3g"),
}
NAMES = {column: name for name, (column, _) in NUMBERS.items()}


def console() -> RichConsole:
    """Return standard error for people to read; no failure to write there reaches the run."""
    return RichConsole(
        file=cast(TextIO, Unfailing(sys.stderr or io.StringIO())), stderr=True, highlight=False, soft_wrap=True
    )


class Console:
    """Shows what is recorded. Everything goes to standard error, so that standard output stays for results."""

    def __init__(self, steps: int) -> None:
        self._out = console()
        self._steps = steps
        self._standing = Standing(steps, self._out)
        self._health: Health | None = None
        self._latest: list[float] = []  # returns
        self._last_line = -SECONDS_BETWEEN_LINES
        self._first: tuple[float, int] | None = None
        self._live: Live | None = None

    def start(self, opening: str, compiles: bool, health: Health) -> None:
        """Say what the run is, and whether compiling comes first; from here on a terminal shows how the run stands."""
        self._health = health
        self._out.print(opening, markup=False)
        if compiles:
            self._standing.note = COMPILING
        if self._out.is_terminal:
            self._live = Live(self._standing, console=self._out, refresh_per_second=4, transient=False)
            self._live.start()
        elif compiles:
            self._out.print(f"{COMPILING.capitalize()}.")

    def note(self, text: str) -> None:
        self._out.print(text, markup=False)

    def finish(self, summary: dict[str, Any], folder: Path | None) -> None:
        """Say how the run has ended, with the commands that come next where there is a folder."""
        evaluation = summary["final_evaluation"]
        result = (
            f"Return {evaluation['mean']:.1f}, {interval(evaluation['ci95'])} "
            f"({count(evaluation['episodes'], 'episode')}, mean action)."
            if evaluation
            else "Not evaluated."
        )
        state = "Done" if summary["finished"] else "Stopped early"
        self.note(
            f"{state}: {count(summary['env_steps'], 'step')}, {count(summary['grad_steps'], 'gradient step')}, "
            f"{summary['env_steps_per_second']:,.0f} steps/s. {result}"
        )
        if folder:
            run, first = shlex.quote(str(folder)), "plot" if summary["finished"] else "resume"
            self.note(f"Next:  rucksac {first} {run}")
            self.note(f"       rucksac watch {run}\n       rucksac evaluate {run} --episodes 100")

    def record(self, kind: str, rows: Sequence[Row]) -> None:
        """Show rows of any kind."""
        self._standing.advance(rows[-1]["env_steps"])
        if kind == "metrics":
            self._metrics(rows[-1])
        elif kind == "episodes":
            for row in rows:
                self._standing.returns.add(row["return"])
            self._latest = [*self._latest, *(row["return"] for row in rows)][-RECENT_EPISODES:]
            mean = sum(self._latest) / len(self._latest)
            self._standing.recent = f"{mean:.1f}, mean of the last {count(len(self._latest), 'episode')}"
        else:
            self._evaluated(rows)

    def _metrics(self, row: Row) -> None:
        standing = self._standing
        standing.numbers = {name: f"{row[column]:{form}}" for name, (column, form) in NUMBERS.items()}
        standing.numbers["speed"] = self._rate(row)
        if self._health:
            if self._health.target_entropy is not None:
                standing.numbers["entropy"] += f" (target {self._health.target_entropy:.2f})"
            standing.problems = {NAMES[column] for column in self._health.problems(row)}
        if not self._live and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._out.print(self._line(row))

    def _evaluated(self, rows: Sequence[Row]) -> None:
        figures, standing = summarise(np.array([row["return"] for row in rows])), self._standing
        standing.evaluations.add(figures.mean)
        standing.evaluation = f"{figures.mean:.1f} ({interval(figures.ci95)})"
        if not self._live:
            self._out.print(f"step {rows[0]['env_steps']:,}: evaluation {standing.evaluation}")

    def close(self, env_steps: int) -> None:
        """Leave standing where the run is."""
        self._standing.advance(env_steps)
        self._standing.over = True
        if self._live:
            self._live.stop()

    def _rate(self, row: Row) -> str:
        now, steps = row["wall_seconds"], row["env_steps"]
        if self._first is None:
            self._first = now, steps
        seconds = now - self._first[0]
        return f"{(steps - self._first[1]) / seconds:,.0f} steps/s" if seconds > 0 else ""

    def _line(self, row: Row) -> str:
        standing = self._standing
        recent = standing.recent.partition(",")[0] or "none yet"
        return (
            f"step {row['env_steps']:,} of {self._steps:,}: return {recent}, alpha {row['alpha']:.3g}, "
            f"entropy {row['entropy']:.2f}, Q {row['q']:.1f} {standing.numbers['speed']}".rstrip()
        )
