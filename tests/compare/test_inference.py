"""The statistics against SciPy, against plain enumeration and against numbers worked by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from rucksac.compare.inference import (
    correlation,
    difference,
    fewest_seeds,
    iqm,
    paired_difference,
    probability_of_improvement,
    seeds_to_tell,
    share_above,
)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 4), (3, 10), (5, 7), (10, 10)])
def test_the_test_is_mann_whitneys_and_its_interval_excludes_zero_when_it_rejects(n, m):
    generator = np.random.default_rng(n * m)
    rejected = set()
    for shift in np.linspace(-4.0, 4.0, 41):
        a, b = generator.normal(shift, 1.0, n), generator.normal(0.0, 1.0, m)
        found = difference([a], [b])
        assert found.p == pytest.approx(stats.mannwhitneyu(a, b, method="exact").pvalue)
        assert (found.sign != 0) == (found.p <= 0.05)
        assert found.sign in (0, np.sign(a.mean() - b.mean()))
        rejected.add(found.sign)
    assert rejected == ({0} if n == m == 3 else {-1, 0, 1})


@pytest.mark.parametrize("n", [5, 6, 9, 12])
def test_the_test_of_pairs_is_wilcoxons(n):
    generator = np.random.default_rng(n)
    for shift in np.linspace(-3.0, 3.0, 31):
        a, b = generator.normal(shift, 1.0, n), generator.normal(0.0, 1.0, n)
        found = paired_difference([a], [b])
        assert found.p == pytest.approx(stats.wilcoxon(a, b, method="exact").pvalue)
        assert (found.sign != 0) == (found.p <= 0.05)
        assert (found.interval is None) == (n == 5)


def test_the_interval_by_hand():
    # 1 of 70 orders has no pair the other way, 1 has one: 2 of 70 are more than 2.5 %, so the outermost are the bounds.
    a, b = np.array([10.0, 12.0, 15.0, 19.0]), np.array([1.0, 2.0, 4.0, 8.0])
    found = difference([a], [b])
    assert found == (pytest.approx(10.5), (2.0, 18.0), pytest.approx(2 / 70), 0.05)
    assert difference([a], [b], 0.02).interval is None
    assert difference([b], [a]).interval == (-18.0, -2.0)
    d = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 7.0])
    found = paired_difference([d], [np.zeros(6)])
    assert found == (3.5, (1.0, 7.0), pytest.approx(2 / 64), 0.05)


def test_tasks_are_strata_whose_orders_are_enumerated():
    a, b = (
        [np.array([3.0, 7.0, 9.0]), np.array([40.0, 80.0])],
        [np.array([1.0, 4.0, 5.0]), np.array([50.0, 30.0, 10.0])],
    )

    def wins(first, second):
        return sum(int((x[:, None] > y).sum()) for x, y in zip(first, second, strict=True))

    every = []
    for one in itertools.combinations(range(6), 3):
        for other in itertools.combinations(range(5), 2):
            pooled = [np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])]
            every.append(wins(
                [pooled[0][list(one)], pooled[1][list(other)]],
                [np.delete(pooled[0], one), np.delete(pooled[1], other)],
            ))  # fmt: skip
    most = max(wins(a, b), 15 - wins(a, b))
    p = 2 * np.mean(np.array(every) >= most)
    assert difference(a, b).p == pytest.approx(p)


def test_ties_count_against_a_difference_and_equal_runs_have_none():
    full = np.full(5, 500.0)
    assert difference([full], [full])[:3] == (0.0, (0.0, 0.0), 1.0)
    assert difference([full], [np.array([500.0, 500.0, 500.0, 499.0, 498.0])]).sign == 0
    assert difference([full], [np.array([499.0, 499.0, 498.0, 499.0, 498.0])]).sign == 1
    assert difference([full], [full + 1e-12]).p == 1.0  # rounding
    assert probability_of_improvement([full], [full + 1e-12]).value == 0.5
    assert seeds_to_tell([full], [full], paired=False) is None


@pytest.mark.parametrize("values", ["normal", "two modes", "ties"])
@pytest.mark.parametrize(("n", "m", "tasks"), [(3, 3, 1), (4, 4, 1), (3, 10, 1), (10, 10, 1), (3, 3, 3)])
def test_equal_groups_get_a_winner_in_five_per_cent_at_most(n, m, tasks, values):
    generator, trials = np.random.default_rng(0), 400

    def draw(count):
        if values == "ties":
            return generator.integers(0, 3, count).astype(float)
        return generator.normal(0.0, 1.0, count) + (10.0 * generator.integers(0, 2, count) if values != "normal" else 0)

    claims = [
        difference([draw(n) for _ in range(tasks)], [draw(m) for _ in range(tasks)]).sign != 0 for _ in range(trials)
    ]
    assert np.mean(claims) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_many_runs_go_by_the_normal_distribution():
    generator = np.random.default_rng(0)
    a, b = generator.normal(0.15, 1.0, 150), generator.normal(0.0, 1.0, 150)
    expected = stats.mannwhitneyu(a, b, method="asymptotic").pvalue
    assert difference([a], [b]).p == pytest.approx(expected, rel=1e-3)
    expected = stats.wilcoxon(a, b, method="asymptotic", correction=True).pvalue
    assert paired_difference([a], [b]).p == pytest.approx(expected, rel=1e-3)


def test_the_interquartile_mean_and_its_standard_error():
    generator = np.random.default_rng(0)
    values = generator.normal(0.0, 1.0, 12)
    found = iqm([values])
    assert found.value == pytest.approx(stats.trim_mean(values, 0.25))

    def trimmed(sample, axis):
        return stats.trim_mean(sample, 0.25, axis=axis)

    error = stats.bootstrap((values,), trimmed, n_resamples=5_000, rng=generator).standard_error
    half = stats.t.ppf(0.975, 11) * error * math.sqrt(12 / 11)
    assert found.interval == pytest.approx((found.value - half, found.value + half), abs=0.05 * half)
    assert iqm([values[:1], values]).interval is None


def test_the_interquartile_mean_resamples_within_tasks():
    # No run differs from the others of its task, so nothing is uncertain, though tasks differ.
    found = iqm([np.full(3, 0.2), np.full(3, 0.9)])
    assert found.interval == pytest.approx((found.value, found.value))


@pytest.mark.parametrize(
    ("a", "b", "p"), [([1.0, 2.0, 3.0], [-1.0, 0.0, 0.5], 1.0), ([1.0, 4.0], [2.0, 3.0, 1.0], 3.5 / 6)]
)
def test_probability_of_improvement(a, b, p):
    n, m = len(a), len(b)
    found = probability_of_improvement([np.array(a)], [np.array(b)])
    assert found.value == pytest.approx(p)

    def beyond(q):
        factor = 1 + ((n + m) / 2 - 1) * ((1 - q) / (2 - q) + q / (1 + q))
        return (p - q) ** 2 - stats.norm.ppf(0.975) ** 2 * q * (1 - q) * factor / (n * m)

    assert found.interval[0] == pytest.approx(optimize.brentq(beyond, 1e-9, p - 1e-9), abs=1e-6)
    assert found.interval[1] == pytest.approx(
        1.0 if p == 1.0 else optimize.brentq(beyond, p + 1e-9, 1 - 1e-9), abs=1e-6
    )


def test_the_fewest_seeds_are_those_with_which_complete_separation_is_enough():
    for seeds in (3, 4):
        p = stats.mannwhitneyu(np.arange(seeds) + 100.0, np.arange(seeds), method="exact").pvalue
        assert (p <= 0.05) == (seeds >= fewest_seeds(1, paired=False))
    assert fewest_seeds(1, paired=True) == 6
    assert fewest_seeds(5, paired=False) == 2
    assert fewest_seeds(1, paired=False, error=0.01) == 5


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("shift", [1.0, 1.5, 2.5])
def test_the_advised_number_of_seeds_tells_about_four_times_in_five(shift, paired):
    generator = np.random.default_rng(0)
    a, b = [np.sort(generator.normal(mean, 1.0, 400)) for mean in (shift, 0.0)]
    generator.shuffle(a)
    seeds = seeds_to_tell([a], [b], paired)
    test = paired_difference if paired else difference
    claims = [
        test([generator.normal(shift, 1.0, seeds)], [generator.normal(0.0, 1.0, seeds)]).sign == 1 for _ in range(300)
    ]
    assert 0.6 < np.mean(claims) < 0.97
    assert seeds_to_tell([a], [a + 0.01], paired=False) is None


def test_profile_and_correlation_by_hand():
    assert share_above(np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.0, 1.0, 2.0, 5.0])).tolist() == [
        1.0,
        0.75,
        0.25,
        0.0,
    ]
    a, b = np.array([1.0, 2.0, 4.0]), np.array([2.0, 1.0, 5.0])
    assert correlation([a], [b]) == pytest.approx(stats.pearsonr(a, b).statistic)
    assert correlation([a], [np.ones(3)]) is None
    assert correlation([a, a + 100.0], [a, a - 100.0]) == pytest.approx(1.0)
