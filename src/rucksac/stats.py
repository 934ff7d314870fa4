"""Statistics of returns: interquartile mean and bootstrap intervals (Agarwal et al., arXiv 2108.13264)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

RESAMPLES = 2_000


class Summary(NamedTuple):
    """Mean, standard deviation (over the values, ddof = 0), interquartile mean and the mean's 95 % interval."""

    mean: float
    std: float
    iqm: float
    ci95: tuple[float, float]


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean of the middle half over the last axis; a value on the border counts by its part."""
    ordered = np.sort(values, axis=-1)
    n = ordered.shape[-1]
    edges = np.arange(n + 1) / n
    weight = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0.0, None)
    return (ordered * weight).sum(-1) / weight.sum()


def bootstrap_interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray] = lambda rows: rows.mean(-1)
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a statistic of `values` (n,), the same one at every call."""
    if len(values) == 1:
        return float(values[0]), float(values[0])
    generator = np.random.Generator(np.random.PCG64DXSM(0))
    resamples = values[generator.integers(0, len(values), (RESAMPLES, len(values)))]
    low, high = np.quantile(statistic(resamples), [0.025, 0.975])
    return float(low), float(high)


def summarise(values: np.ndarray) -> Summary:
    """Return the summary of at least one value (n,)."""
    values = np.asarray(values, np.float64)
    return Summary(
        float(values.mean()), float(values.std()), float(interquartile_mean(values)), bootstrap_interval(values)
    )
