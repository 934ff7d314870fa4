"""What a few runs allow to conclude: intervals and tests on one number per run, in strata, which are tasks.

The interquartile mean, the probability of improvement and performance profiles are those of Agarwal et al., arXiv
2108.13264. The test and its interval are exact for any distribution: Mann-Whitney and Hodges-Lehmann for independent
runs, Wilcoxon's signed ranks for pairs (Lehmann, Nonparametrics, 1975). A `Strata` has an array of values per task.
"""

import functools
import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from rucksac.stats import interquartile_mean, students_t

Strata = Sequence[np.ndarray]
RESAMPLES = 2_000
MOST_EXACT = 10_000  # comparisons; beyond that the normal distribution stands for the exact one
MOST_SEEDS = 100  # what is never advised
POWER = 0.8
ROUNDING = 1e-9  # of a return, that the order of its sum may make


class Estimate(NamedTuple):
    """A value with its 95 % interval, None where there are too few runs for one."""

    value: float
    interval: tuple[float, float] | None


class Difference(NamedTuple):
    """By how much runs of one group exceed runs of another, and how sure that is.

    `value` is the median of all comparisons of two runs (of all means of two differences, for pairs), `interval`
    the exact one at 1 - `error`, None where so few runs have none; `p` is two-sided, ties count against a difference.
    """

    value: float
    interval: tuple[float, float] | None
    p: float
    error: float

    @property
    def sign(self) -> int:
        """Return 1 or -1 when the interval is above or below 0, else 0."""
        low, high = self.interval or (0.0, 0.0)
        return int(low > 0.0) - int(high < 0.0)


def iqm(strata: Strata) -> Estimate:
    """Return the interquartile mean of all values, with Student's t times a stratified bootstrap's standard error.

    The bootstrap's own percentiles are too narrow for few runs: of three they cover 75 % in place of 95 %.
    """
    values = np.concatenate(list(strata))
    value, freedom = float(interquartile_mean(values)), len(values) - len(strata)
    if min(map(len, strata)) < 2:
        return Estimate(value, None)
    generator = np.random.default_rng(0)
    drawn = [each[generator.integers(0, len(each), (RESAMPLES, len(each)))] for each in strata]
    error = float(interquartile_mean(np.concatenate(drawn, axis=1)).std()) * math.sqrt(len(values) / freedom)
    half = students_t(freedom) * error
    return Estimate(value, (value - half, value + half))


def probability_of_improvement(first: Strata, second: Strata) -> Estimate:
    """Return how often a run of the first group exceeds one of the second on the same task; ties count half.

    The interval is Newcombe's (Statistics in Medicine 25, 2006, method 5), which stays sensible at 0 and 1.
    """
    pairs = [len(a) * len(b) for a, b in zip(first, second, strict=True)]
    p = float(sum(_wins(_gaps(a, b)).sum() for a, b in zip(first, second, strict=True)) / sum(pairs))

    def outside(q: float) -> bool:
        variance = sum(_variance(q, len(a), len(b)) * n**2 for a, b, n in zip(first, second, pairs, strict=True))
        return abs(p - q) > NormalDist().inv_cdf(0.975) * math.sqrt(variance) / sum(pairs)

    return Estimate(p, (_border(outside, 0.0, p), _border(outside, 1.0, p)))


def _variance(p: float, n: int, m: int) -> float:
    """Return the variance of the share of pairs that the first of two groups of n and m wins, if p is expected."""
    larger = (n + m) / 2.0 - 1.0
    return p * (1.0 - p) * (1.0 + larger * ((1.0 - p) / (2.0 - p) + p / (1.0 + p))) / (n * m)


def _border(outside: Callable[[float], bool], end: float, inside: float) -> float:
    for _ in range(50):
        middle = (end + inside) / 2.0
        end, inside = (middle, inside) if outside(middle) else (end, middle)
    return inside


def difference(first: Strata, second: Strata, error: float = 0.05) -> Difference:
    """Return by how much the first group exceeds the second, from all comparisons of two runs on one task."""
    comparisons = [_gaps(a, b).ravel() for a, b in zip(first, second, strict=True)]
    by_chance = functools.reduce(
        np.convolve, (_mann_whitney(len(a), len(b)) for a, b in zip(first, second, strict=True))
    )
    return _exact(np.concatenate(comparisons), by_chance, error)


def paired_difference(first: Strata, second: Strata, error: float = 0.05) -> Difference:
    """Return the same for groups whose i-th values belong together, from all means of two differences on one task."""
    differences = [np.diag(_gaps(a, b)) for a, b in zip(first, second, strict=True)]
    comparisons = [np.add.outer(d, d)[np.triu_indices(len(d))] / 2.0 for d in differences]
    by_chance = functools.reduce(np.convolve, (_signed_ranks(len(d)) for d in differences))
    return _exact(np.concatenate(comparisons), by_chance, error)


def _exact(comparisons: np.ndarray, by_chance: np.ndarray, error: float) -> Difference:
    """Invert the test whose statistic, the number of positive comparisons, has this distribution by chance."""
    ordered, below = np.sort(comparisons), np.cumsum(by_chance)
    place = int(np.searchsorted(below, error / 2.0 * (1.0 + 1e-9), side="right"))  # of the bounds, from either end
    interval = (float(ordered[place - 1]), float(ordered[-place])) if place else None
    fewest = min(int((ordered <= 0.0).sum()), int((ordered >= 0.0).sum()))
    return Difference(float(np.median(ordered)), interval, min(1.0, 2.0 * float(below[fewest])), error)


@functools.cache
def _mann_whitney(n: int, m: int) -> np.ndarray:
    """Return the probability of each number of pairs, 0 to n m, that one of two equal groups wins."""
    if n * m > MOST_EXACT:
        return _normal(n * m, n * m * (n + m + 1) / 12.0)
    ways = np.zeros((n + 1, n * m + 1))  # of choosing so many ranks with so many smaller ones among the others
    ways[0, 0] = 1.0
    for rank in range(n + m):
        for chosen in range(min(n, rank + 1), 0, -1):
            smaller = rank - chosen + 1
            if smaller <= m:
                ways[chosen, smaller:] += ways[chosen - 1, : n * m + 1 - smaller]
    return ways[n] / ways[n].sum()


@functools.cache
def _signed_ranks(n: int) -> np.ndarray:
    """Return the probability of each sum, 0 to n (n + 1) / 2, of the ranks of positive differences."""
    most = n * (n + 1) // 2
    if most > MOST_EXACT:
        return _normal(most, n * (n + 1) * (2 * n + 1) / 24.0)
    chance = np.zeros(most + 1)
    chance[0] = 1.0
    for rank in range(1, n + 1):
        chance[rank:] += chance[:-rank].copy()
        chance /= 2.0
    return chance


def _normal(most: int, variance: float) -> np.ndarray:
    distances = np.arange(most + 1) - most / 2.0
    chance = np.exp(-(distances**2) / (2.0 * variance))
    return chance / chance.sum()


def fewest_seeds(tasks: int, paired: bool, error: float = 0.05) -> int:
    """Return the smallest number of seeds per task and group that allows a winner at all."""
    seeds = 1
    while 2.0 * _all_one_way(seeds, paired) ** tasks > error:
        seeds += 1
    return seeds


def _all_one_way(seeds: int, paired: bool) -> float:
    return 0.5**seeds if paired else 1.0 / math.comb(2 * seeds, seeds)


def seeds_to_tell(first: Strata, second: Strata, paired: bool, error: float = 0.05) -> int | None:
    """Return with about how many seeds per task the difference would show four times in five, if it is as it looks.

    None when more than `MOST_SEEDS` would be needed. By the normal distribution, with the spread of the runs at hand.
    """
    tasks, spread = len(first), 0.0
    if paired:
        gaps = [np.diag(_gaps(a, b)) for a, b in zip(first, second, strict=True)]
        wins = [_wins(np.add.outer(d, d)) for d in gaps]
        spread = 4.0 * _mean([float(each.mean(1).var()) for each in wins])
    else:
        wins = [_wins(_gaps(a, b)) for a, b in zip(first, second, strict=True)]
        spread = _mean([float(each.mean(1).var() + each.mean(0).var()) for each in wins])
    lead = abs(sum(each.sum() for each in wins) / sum(each.size for each in wins) - 0.5)
    sure, powerful = NormalDist().inv_cdf(1.0 - error / 2.0), NormalDist().inv_cdf(POWER)
    for seeds in range(fewest_seeds(tasks, paired, error), MOST_SEEDS + 1):
        chance = (2 * seeds + 1) / (6 * seeds * (seeds + 1) if paired else 12 * seeds**2)
        if lead >= sure * math.sqrt(chance / tasks) + powerful * math.sqrt(spread / seeds / tasks):
            return seeds
    return None


def _gaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return by how much each of a exceeds each of b; what may be rounding of equal values is 0."""
    gaps = np.subtract.outer(a, b)
    return np.where(np.abs(gaps) <= ROUNDING * np.maximum.outer(np.abs(a), np.abs(b)), 0.0, gaps)


def _wins(gaps: np.ndarray) -> np.ndarray:
    return (np.sign(gaps) + 1.0) / 2.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def share_above(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the performance profile (L,): the share of the values (N,) above each level (L,)."""
    return (values[:, None] > levels).mean(0)


def correlation(first: Strata, second: Strata) -> float | None:
    """Return the correlation of pairs within tasks, None where a group does not vary."""
    a, b = (np.concatenate([each - each.mean() for each in strata]) for strata in (first, second))
    scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale > 0.0 else None
