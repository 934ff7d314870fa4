import numpy as np
import pytest

from rucksac.stats import interquartile_mean, mean_interval, students_t, summarise


def test_interquartile_mean_by_hand():
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, -50.0])) == pytest.approx(1.5)
    assert interquartile_mean(np.array([3.0])) == pytest.approx(3.0)
    # Of five values the middle half is the third one whole and three quarters of its neighbours.
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 4.0, 0.0])) == pytest.approx((0.75 * 1 + 2 + 0.75 * 4) / 2.5)


def test_interquartile_mean_is_over_the_last_axis():
    assert interquartile_mean(np.array([[1.0, 1.0], [5.0, 7.0]])).tolist() == [1.0, 6.0]


@pytest.mark.parametrize("count", [2, 3, 5, 10, 100])
def test_the_interval_covers_the_mean_as_often_as_it_says(count):
    generator = np.random.default_rng(count)
    trials = 2_000
    intervals = [mean_interval(values) for values in generator.normal(2.0, 3.0, (trials, count))]
    covered = np.mean([low <= 2.0 <= high for low, high in intervals])
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / trials))  # four standard errors


@pytest.mark.parametrize(
    ("freedom", "t"), [(1, 12.706205), (2, 4.302653), (3, 3.182446), (9, 2.262157), (99, 1.984217)]
)
def test_students_t_is_the_tabulated_one(freedom, t):
    assert students_t(freedom) == pytest.approx(t, rel=1e-6)


def test_summary_of_one_value_has_no_interval():
    assert summarise(np.array([7.0])) == (7.0, 0.0, 7.0, None)
