"""How several runs stand, as a table for a screen and as a line for a log."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from rucksac.training.console import RECENT_EPISODES
from rucksac.training.logs import last_evaluation, last_rows
from rucksac.training.seed_process import SeedProcess


def seeds_table(seeds: Sequence[SeedProcess]) -> Table:
    """Return how each seed stands, a row each."""
    shown = Table("seed", "state", "steps", f"return, last {RECENT_EPISODES}", "evaluation", "alpha", "steps/s")
    for each in seeds:
        row = each.last_metrics()
        shown.add_row(
            each.folder.name.removeprefix("seed"),
            each.state,
            f"{each.env_steps():,} of {each.steps:,}",
            _mean_return(last_rows(each.folder / "episodes.csv", RECENT_EPISODES)),
            _mean_return(last_evaluation(each.folder / "evaluations.csv")),
            f"{float(row['alpha']):.3g}" if row else "",
            f"{each.rate():,.0f}" if each.process else "",
        )
    return shown


def settings_table(runs: Sequence[SeedProcess]) -> Table:
    """Return how the runs of each setting stand, a row for each folder of seeds."""
    shown = Table("setting", "done", "training", "failed", "of", "steps", "evaluation, mean", "steps/s")
    for folder in dict.fromkeys(each.folder.parent for each in runs):
        own = [each for each in runs if each.folder.parent == folder]
        last = [rows for each in own if (rows := last_evaluation(each.folder / "evaluations.csv"))]
        rate = sum(each.rate() for each in own)
        shown.add_row(
            folder.name,
            *(str(sum(each.state.startswith(state) for each in own)) for state in ("done", "training", "failed")),
            str(len(own)),
            f"{sum(each.env_steps() for each in own):,} of {sum(each.steps for each in own):,}",
            _mean_return([row for rows in last for row in rows]),
            f"{rate:,.0f}" if rate else "",
        )
    return shown


def line(seeds: Sequence[SeedProcess]) -> str:
    """Return how all of them stand."""
    done = sum(each.state == "done" for each in seeds)
    steps, total = (sum(values) for values in zip(*((e.env_steps(), e.steps) for e in seeds), strict=True))
    rate = sum(each.rate() for each in seeds)
    return f"{done} of {len(seeds)} runs done, {steps:,} of {total:,} steps, {rate:,.0f} steps/s in total"


def _mean_return(rows: list[dict[str, str]]) -> str:
    return f"{np.mean([float(row['return']) for row in rows]):.1f}" if rows else ""
