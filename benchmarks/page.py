"""docs/benchmarks.md and its pictures, from the rows that learning.py has put on record.

python benchmarks/page.py
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from learning import RESULTS, TASKS, Record
from matplotlib.figure import Figure

from rucksac.algorithm.recipes import DEFAULT
from rucksac.stats import interquartile_mean, mean_interval
from rucksac.text import count

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs/benchmarks.md"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
AT = (100_000, 300_000, 1_000_000)  # steps that tables have a row for, beside the last one of each run
REACHED = {
    "pendulum": -150, "pendulum-pixels": -200, "cartpole": 475, "lunarlander": 200, "lunarlander-discrete": 200,
    "reacher": -6, "pendulum-double": 9_000, "halfcheetah": 5_000, "hopper": 1_000, "walker2d": 1_000, "ant": 750,
    "humanoid": 500,
}  # fmt: skip
TITLES = {"pendulum-pixels": "Pendulum-v1 in pictures of 48 x 48"}  # where the environment's own name says little
CHOOSING = 100  # seeds from here on chose settings and are told apart
NAMES = {"rucksac": "rucksac", "sb3": "Stable-Baselines3", "sbx": "SBX"}
BEGINNING = """\
# How well it learns

`python benchmarks/page.py` has made this page from the rows in `benchmarks/results/learning`, where
`python benchmarks/learning.py` puts every evaluation episode with seed, settings and versions. All libraries follow one
protocol: the policy's mean action in an environment of its own, ten episodes from the starts `reset(seed=0)` to
`reset(seed=9)` (a hundred on Pendulum), every 5,000 steps (2,000 on short tasks). All seeds are shown; what counts is
the evaluation at the given step, never the best one. Intervals are 95 % intervals of the mean over seeds (Student's t).
*Area* is the mean return over all evaluations up to that step; *reached* says after how many steps each seed's
evaluation first reached the given return.

Published figures are those of their sources, with their own protocols, mostly on older versions of the environments.
Ant, Hopper, Walker2d and Humanoid changed between versions, so only rows of one table compare like with like.
"""


@dataclass(frozen=True)
class Variant:
    """All runs of one library with one set of settings: mean return per evaluation, (seeds, evaluations)."""

    name: str
    chose: bool
    seeds: list[int]
    steps: np.ndarray
    returns: np.ndarray

    def at(self, step: int) -> np.ndarray | None:
        """Return each seed's evaluation at a step."""
        (where,) = np.nonzero(self.steps == step)
        return self.returns[:, where[0]] if where.size else None


def variants(task: str) -> Iterator[Variant]:
    """Yield what is on record of a task, runs of equal length together."""
    found: dict[tuple, dict[int, dict[int, list[float]]]] = {}
    for row in Record(task).rows():
        seed = int(row["seed"])
        key = (row["library"], row["recipe"], row["settings"], int(row["steps"]), seed >= CHOOSING)
        evaluations = found.setdefault(key, {}).setdefault(seed, {})
        evaluations.setdefault(int(row["env_steps"]), []).append(float(row["return"]))
    for (library, recipe, settings, _, chose), seeds in sorted(found.items()):
        name = NAMES[library] if recipe == DEFAULT or library != "rucksac" else f"rucksac, recipe {recipe}"
        name += f" `{settings}`" if settings else ""
        same = sorted(seeds)
        steps = np.array(sorted(seeds[same[0]]))
        returns = np.array([[np.mean(seeds[seed][step]) for step in steps] for seed in same])
        yield Variant(name, chose, same, steps, returns)


def line(variant: Variant, step: int, threshold: float) -> str:
    """Return a row of the table."""
    final = variant.at(step)
    until = variant.returns[:, variant.steps <= step]
    interval = mean_interval(final)
    reached = []
    for curve in until:
        (where,) = np.nonzero(curve >= threshold)
        reached.append(f"{variant.steps[where[0]]:,}" if where.size else "-")
    cells = [
        variant.name,
        f"{step:,}",
        str(len(variant.seeds)),
        f"{final.mean():,.0f}" + (f" ({interval[0]:,.0f} to {interval[1]:,.0f})" if interval else ""),
        f"{interquartile_mean(final):,.0f}",
        f"{until.mean():,.0f}",
        ", ".join(reached),
        ", ".join(f"{value:,.0f}" for value in final),
    ]
    return f"| {' | '.join(cells)} |"


def table(found: list[Variant], threshold: float) -> str:
    """Return one table of all variants at every step that they reached."""
    head = f"| what | steps | seeds | mean (interval) | IQM | area | reached {threshold:,} | each seed |"
    steps = sorted({*AT, *(each.steps[-1] for each in found)})
    rows = [
        line(each, step, threshold)
        for step in steps
        for each in found
        if each.at(step) is not None and (step in AT or step == each.steps[-1])
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *rows]) + "\n"


def published(env: str) -> str:
    """Return the published figures on any version of an environment."""
    with (HERE / "published.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["env"].rpartition("-")[0] == env.rpartition("-")[0]]
    rows.sort(key=lambda row: (int(row["env_steps"]), row["algorithm"], -float(row["return"])))
    lines = []
    for row in rows:
        figure = f"{float(row['return']):,.0f}" + (f" ± {float(row['std']):,.0f}" if row["std"] else "")
        cells = [row["source"], row["algorithm"], row["env"], f"{int(row['env_steps']):,}", figure]
        lines.append(f"| {' | '.join([*cells, row['seeds'], row['note']])} |")
    head = "| published by | algorithm | environment | steps | mean ± standard deviation | seeds | |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *lines]) + "\n" if lines else ""


def picture(env: str, found: list[Variant]) -> Figure:
    """Draw the mean over seeds with its interval, and every seed as a thin line."""
    found = sorted(found, key=lambda variant: variant.chose)
    figure = Figure(figsize=(8, 4.5 + 0.2 * len(found)), layout="constrained")
    axes = figure.subplots()
    for variant, colour in zip(found, COLOURS * 3, strict=False):
        label = f"{variant.name.replace('`', '')}, {count(len(variant.seeds), 'seed')}" + (
            " (to choose)" if variant.chose else ""
        )
        style = "--" if variant.chose else "-"
        axes.plot(variant.steps, variant.returns.T, color=colour, alpha=0.25, linewidth=0.7)
        axes.plot(variant.steps, variant.returns.mean(0), color=colour, linewidth=2, label=label, linestyle=style)
        if len(variant.seeds) > 2:
            low, high = np.array([mean_interval(column) for column in variant.returns.T]).T
            axes.fill_between(variant.steps, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="environment steps", ylabel="return of the mean action", title=env)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower left", frameon=False, fontsize="small")
    return figure


def text() -> str:
    """Return the page."""
    sections = [BEGINNING]
    for task, what in TASKS.items():
        found = list(variants(task))
        if not found:
            continue
        twice = sum(each.env == what.env for each in TASKS.values()) > 1
        title = TITLES.get(task, what.env) + (f" ({task})" if twice else "")
        sections.append(f"## {title}\n\n![{title}](../benchmarks/results/learning/{task}.png)\n")
        if what.settings:
            sections.append(f"With the settings of the task: `{what.settings}`.\n")
        reported, chose = ([each for each in found if each.chose is chose] for chose in (False, True))
        if reported:
            sections.append(table(reported, REACHED[task]))
        if chose:
            sections.append("Seeds that settings were chosen by:\n\n" + table(chose, REACHED[task]))
        sections.append(published(what.env))
    return "\n".join(filter(None, sections))


def main() -> None:
    """Write the page and the pictures."""
    PAGE.write_text(text())
    for task, what in TASKS.items():
        if found := list(variants(task)):
            picture(what.env, found).savefig(RESULTS / f"{task}.png", dpi=110)


if __name__ == "__main__":
    main()
