"""How often `rucksac compare` names a winner where there is none and where there is one, and what intervals cover.

    python benchmarks/compare.py

Runs are drawn with replacement from those on record in results/learning, and the episodes of each of their evaluations
once more, so two groups of one task are equal. Rows are in results/compare.csv:

- `equal`: both groups are equal; `share` is how often a winner is named, by the exact test that decides in rucksac, by
  Welch's t, and by percentiles of a stratified bootstrap of the difference of interquartile means.
- `spread`: the same, but the second group lies four times as far from the common median.
- `better`: the second group is higher by so many standard deviations (`shift`) of the runs.
- `iqm` and `chance`: how often the 95 % interval of the interquartile mean, or of the probability of improvement, holds
  the value of the pool.
"""

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from learning import Record

from rucksac.compare.inference import difference, iqm, paired_difference, probability_of_improvement
from rucksac.stats import interquartile_mean, students_t

RESULT = Path(__file__).parent / "results/compare.csv"
TASKS = ("pendulum", "cartpole", "halfcheetah", "hopper", "lunarlander-discrete")
MEASURES = ("middle", "last", "area")
SIZES = ((3, 3), (5, 5), (10, 10), (3, 10), (5, 10))
IN_PAIRS = ((6, 6), (10, 10))
TRIALS, RESAMPLES = 2_000, 500
ROUNDING = 1e-9  # sums of equal returns may differ by so much
WHO = ("library", "recipe", "settings", "seed", "steps")
Draw = Callable[[np.random.Generator, int], np.ndarray]


def pool(task: str) -> list[dict[int, np.ndarray]]:
    """Return the episodes' returns of each run on record, by step."""
    runs: dict[tuple, dict[int, list[float]]] = {}
    for row in Record(task).rows():
        run = runs.setdefault(tuple(row[name] for name in WHO), {})
        run.setdefault(int(row["env_steps"]), []).append(float(row["return"]))
    shared = set.intersection(*(set(run) for run in runs.values()))
    return [{step: np.array(run[step]) for step in sorted(shared)} for run in runs.values()]


def draw(runs: list[dict[int, np.ndarray]], measure: str, generator: np.random.Generator, count: int) -> np.ndarray:
    """Return a number for each of `count` runs."""
    steps = np.array(list(runs[0]))
    wanted = {"middle": steps[[len(steps) // 2]], "last": steps[-1:], "area": steps}[measure]
    values = np.empty((count, len(wanted)))
    for row, which in enumerate(generator.integers(0, len(runs), count)):
        for column, step in enumerate(wanted):
            episodes = runs[which][step]
            values[row, column] = episodes[generator.integers(0, len(episodes), len(episodes))].mean()
    return values[:, 0] if measure != "area" else np.trapezoid(values, steps) / (steps[-1] - steps[0])


def by_exact(a: np.ndarray, b: np.ndarray, _: np.random.Generator) -> int:
    return difference([a], [b]).sign


def by_welch(a: np.ndarray, b: np.ndarray, _: np.random.Generator) -> int:
    """Return the sign that Welch's t allows; degrees of freedom are rounded down."""
    one, other = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    gap, error = a.mean() - b.mean(), np.sqrt(one + other)
    if error == 0.0:
        return int(np.sign(gap))
    freedom = (one + other) ** 2 / (one**2 / (len(a) - 1) + other**2 / (len(b) - 1))
    return int(np.sign(gap)) if abs(gap) > students_t(int(freedom)) * error else 0


def by_percentiles(a: np.ndarray, b: np.ndarray, generator: np.random.Generator) -> int:
    low, high = np.percentile(resampled(a, generator) - resampled(b, generator), (2.5, 97.5))
    return int(low > ROUNDING) - int(high < -ROUNDING)


def resampled(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return interquartile means of bootstrap samples."""
    return interquartile_mean(values[generator.integers(0, len(values), (RESAMPLES, len(values)))])


METHODS = {"exact": by_exact, "welch": by_welch, "percentiles": by_percentiles}


def rows() -> Iterator[dict[str, object]]:
    draws = {
        (task, measure): partial(draw, runs, measure) for task in TASKS for runs in [pool(task)] for measure in MEASURES
    }
    for (task, measure), sample in draws.items():
        generator = np.random.default_rng(0)
        many = sample(generator, 5_000)
        middle, deviation = np.median(many), many.std()
        where = {"task": task, "measure": measure}
        for first, second in SIZES:
            sizes = {**where, "first": first, "second": second}
            pairs = [(sample(generator, first), sample(generator, second)) for _ in range(TRIALS)]
            for method, sign in METHODS.items():
                claims = [sign(a, b, generator) != 0 for a, b in pairs]
                yield {"what": "equal", **sizes, "method": method, "shift": 0, "share": np.mean(claims)}
            claims = [by_exact(a, middle + 4.0 * (b - middle), generator) != 0 for a, b in pairs]
            yield {"what": "spread", **sizes, "method": "exact", "shift": 0, "share": np.mean(claims)}
            for shift in (1, 2, 3, 5):
                claims = [by_exact(a, b + shift * deviation, generator) < 0 for a, b in pairs]
                yield {"what": "better", **sizes, "method": "exact", "shift": shift, "share": np.mean(claims)}
            if first == second:
                yield from coverage(sizes, pairs, many, generator)
        for first, second in IN_PAIRS:
            sizes = {**where, "first": first, "second": second}
            pairs = [(sample(generator, first), sample(generator, second)) for _ in range(TRIALS)]
            claims = [paired_difference([a], [b]).sign != 0 for a, b in pairs]
            yield {"what": "equal", **sizes, "method": "paired", "shift": 0, "share": np.mean(claims)}
    for measure in MEASURES:
        generator = np.random.default_rng(0)
        for count in (2, 3, 5):
            groups = [
                [[draws[task, measure](generator, count) for task in TASKS] for _ in range(2)] for _ in range(TRIALS)
            ]
            claims = [difference(a, b).sign != 0 for a, b in groups]
            where = {"task": "all", "measure": measure, "first": count, "second": count}
            yield {"what": "equal", **where, "method": "exact", "shift": 0, "share": np.mean(claims)}


def coverage(sizes: dict, pairs: list, many: np.ndarray, generator: np.random.Generator) -> Iterator[dict[str, object]]:
    """Return how often intervals hold what is true of the pool."""
    true = float(interquartile_mean(many))
    if many.std() == 0.0:
        return
    estimates = [iqm([a]).interval for a, _ in pairs[:500]]
    held = [low - ROUNDING <= true <= high + ROUNDING for low, high in estimates]
    yield {"what": "iqm", **sizes, "method": "t", "shift": 0, "share": np.mean(held)}
    bounds = [np.percentile(resampled(a, generator), (2.5, 97.5)) for a, _ in pairs[:500]]
    held = [low <= true <= high for low, high in bounds]
    yield {"what": "iqm", **sizes, "method": "percentiles", "shift": 0, "share": np.mean(held)}
    for shift in (0, 1, 2):
        moved = many[:2_500] + shift * many.std()
        chance = probability_of_improvement([moved], [many[2_500:]]).value
        found = [probability_of_improvement([a + shift * many.std()], [b]).interval for a, b in pairs[:500]]
        held = [low - ROUNDING <= chance <= high + ROUNDING for low, high in found]
        yield {"what": "chance", **sizes, "method": "newcombe", "shift": shift, "share": np.mean(held)}


def main() -> None:
    """Write all rows."""
    with RESULT.open("w", newline="") as file:
        columns = ("what", "task", "measure", "first", "second", "method", "shift", "share")
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows():
            writer.writerow({**row, "share": f"{row['share']:.4f}"})
            file.flush()


if __name__ == "__main__":
    main()
