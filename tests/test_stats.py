import numpy as np
import pytest

from rucksac.stats import bootstrap_interval, interquartile_mean, summarise


def test_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, -50.0])) == pytest.approx(1.5)
    assert interquartile_mean(np.array([3.0])) == pytest.approx(3.0)
    # Of five values the middle half is the third one whole and three quarters of its neighbours.
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 4.0, 0.0])) == pytest.approx((0.75 * 1 + 2 + 0.75 * 4) / 2.5)


def test_interquartile_mean_is_over_the_last_axis():
    assert interquartile_mean(np.array([[1.0, 1.0], [5.0, 7.0]])).tolist() == [1.0, 6.0]


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        low, high = bootstrap_interval(generator.normal(2.0, 1.0, 40))
        covered += low <= 2.0 <= high
    assert 0.90 <= covered / 300 <= 0.98  # 95 % less the small-sample bias of about 1.5 %; four standard errors wide


def test_summary_of_one_value_has_no_width():
    assert summarise(np.array([7.0])) == (7.0, 0.0, 7.0, (7.0, 7.0))
