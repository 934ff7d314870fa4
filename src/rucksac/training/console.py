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
from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from rucksac.output import Unfailing
from rucksac.stats import summarise
from rucksac.text import count, interval
from rucksac.training.record import Row

RECENT_EPISODES = 10
SECONDS_BETWEEN_LINES = 5.0


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
        self._returns: list[float] = []
        self._evaluation = ""
        self._row: Row = {}
        self._beginning = ""  # what is shown before there is a row
        self._last_line = -SECONDS_BETWEEN_LINES
        self._first: tuple[float, int] | None = None
        self._live: Live | None = None
        self._progress = Progress(
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._out,
        )
        self._task = self._progress.add_task("train", total=steps)

    def start(self, opening: str, compiles: bool) -> None:
        """Say what the run is, and whether compiling comes first; from here on the table is live."""
        self._out.print(opening, markup=False)
        if compiles:
            self._beginning = "preparing the gradient step; compiling it the first time takes up to a minute"
        if self._out.is_terminal:
            self._live = Live(self._picture(), console=self._out, refresh_per_second=4, transient=False)
            self._live.start()
        elif compiles:
            self._out.print(f"{self._beginning.capitalize()}.")

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
        if kind == "metrics":
            self._metrics(rows[-1])
        elif kind == "episodes":
            self._returns = [*self._returns, *(row["return"] for row in rows)][-RECENT_EPISODES:]
        else:
            self._evaluated(rows)

    def _metrics(self, row: Row) -> None:
        self._row = row
        self._progress.update(self._task, completed=row["env_steps"])
        if self._live:
            self._live.update(self._picture())
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._out.print(self._line())

    def _evaluated(self, rows: Sequence[Row]) -> None:
        figures = summarise(np.array([row["return"] for row in rows]))
        self._evaluation = f"{figures.mean:.1f} ({interval(figures.ci95)})"
        if not self._live:
            self._out.print(f"step {rows[0]['env_steps']:,}: evaluation {self._evaluation}")

    def close(self) -> None:
        """Leave the last table standing."""
        if self._live:
            self._live.update(self._picture())
            self._live.stop()

    def _rate(self) -> str:
        now, steps = self._row["wall_seconds"], self._row["env_steps"]
        if self._first is None:
            self._first = now, steps
        seconds = now - self._first[0]
        return f"{(steps - self._first[1]) / seconds:,.0f} steps/s" if seconds > 0 else ""

    def _recent(self) -> str:
        return f"{sum(self._returns) / len(self._returns):.1f}" if self._returns else "none yet"

    def _line(self) -> str:
        row = self._row
        return (
            f"step {row['env_steps']:,} of {self._steps:,}: return {self._recent()}, alpha {row['alpha']:.3g}, "
            f"entropy {row['entropy']:.2f}, Q {row['q']:.1f} {self._rate()}".rstrip()
        )

    def _picture(self) -> Group:
        table = Table.grid(padding=(0, 3))
        if self._row:
            row = self._row
            table.add_row(f"return, last {RECENT_EPISODES} episodes", self._recent(), "alpha", f"{row['alpha']:.3g}")
            table.add_row("evaluation", self._evaluation or "none yet", "entropy", f"{row['entropy']:.2f}")
            table.add_row("speed", self._rate(), "Q", f"{row['q']:.1f}")
            losses = f"{row['policy_loss']:.3g}"
            table.add_row("critic loss", f"{row['critic_loss']:.3g}", "policy loss", losses)
        else:
            table.add_row(self._beginning)
        return Group(self._progress, table)
