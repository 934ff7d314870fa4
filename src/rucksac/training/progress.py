"""How far a run is, and the means of its metrics since the last row of them."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from rucksac.environments.transitions import Episode
from rucksac.training.record import Row, metrics_columns


@dataclass
class Progress:
    """How far a run is. Clocks count environment steps, `owed` gradient steps.

    `sums` of metrics, each over `counts` gradient steps, are since the last row of them. `best` is the best mean return
    of an evaluation, `evaluation` the latest one, which evaluations.csv keeps; `seconds` has the wall time of each
    phase.
    """

    STATE = ("env_steps", "episodes", "owed", "sums", "counts", "logged", "evaluated", "saved", "best", "seconds")
    env_steps: int = 0
    episodes: int = 0
    owed: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    logged: int = 0
    evaluated: int = 0
    saved: int = 0
    best: float = -sys.float_info.max
    seconds: dict[str, float] = field(default_factory=dict)
    evaluation: list[Episode] = field(default_factory=list)

    def add(self, metrics: dict[str, float]) -> None:
        """Take in the metrics of a gradient step; one that leaves the policy alone has none of the policy's."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0.0) + 1.0

    def add_largest(self, metric: str, value: float) -> None:
        """Take in a value of a metric whose largest is kept."""
        self.sums[metric], self.counts[metric] = float(max(self.sums.get(metric, value), value)), 1.0

    def mean(self, metric: str) -> float:
        """Return a metric's mean, or its largest value, since the last row; NaN where there was none."""
        return self.sums[metric] / self.counts[metric] if metric in self.sums else math.nan


def metrics_row(progress: Progress, grad_steps: int, metrics: Sequence[str]) -> Row:
    """Return the row of metrics of the stretch of training since the last one."""
    values = (
        progress.env_steps,
        grad_steps,
        progress.episodes,
        *map(progress.mean, metrics),
        round(sum(progress.seconds.values()), 3),
    )
    return dict(zip(metrics_columns(metrics), values, strict=True))
