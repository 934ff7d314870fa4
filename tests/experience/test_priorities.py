"""Draws in proportion to priorities, and what happens to the priorities of rows as the ring goes round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rucksac.experience.columns import Column
from rucksac.experience.looking_ahead import look_ahead
from rucksac.experience.priorities import LEAST, PrioritisedPick, SumTree
from rucksac.experience.replay import TRANSITION, Replay
from rucksac.experience.sampling import Sampler, one_step

COLUMNS = (Column("obs", (1,), of_state=True), Column("action", (1,)), Column("reward"))
ALPHA, BETA = 0.7, 0.4


def memory(rows=50, envs=1):
    replay = Replay(rows * envs, envs, COLUMNS)
    return replay, PrioritisedPick(replay, np.random.default_rng(1), ALPHA, BETA)


def add(replay, env_index, terminated=False, truncated=False):
    replay.add(env_index, terminated, truncated, obs=0.0, action=0.0, reward=0.0, next_obs=1.0)


def play(replay, steps, seed=0, end=0.1):
    random = np.random.default_rng(seed)
    for _ in range(steps):
        for env_index in range(replay.envs):
            how = random.random()
            add(replay, env_index, how < end, end <= how < 2 * end)


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=3_000), st.data())
def test_a_draw_is_where_the_running_sum_passes_it(numbers, data):
    tree = SumTree(len(numbers))
    order = np.random.default_rng(0).permutation(len(numbers))
    for places in np.array_split(order, 3):
        tree.numbers[places] = np.array(numbers, float)[places]
        tree.refresh(places)
    if not any(numbers):
        return
    shares = np.array(data.draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20)))
    expected = np.searchsorted(np.cumsum(numbers), np.minimum(shares * sum(numbers), sum(numbers) - 1e-9), "right")
    assert np.array_equal(tree.draw(shares), expected)


@pytest.mark.parametrize("size", [1, 31, 32, 33, 40_000])
def test_nothing_of_no_priority_is_ever_drawn_however_far_apart_the_others_are(size):
    random, tree = np.random.default_rng(size), SumTree(size)
    tree.numbers[:] = np.where(random.random(size) < 0.5, 0.0, 10.0 ** random.uniform(-9, 9, size))
    tree.numbers[-1] = 0.0 if size > 1 else 1e-9
    tree.refresh(np.arange(size))
    shares = np.concatenate([random.random(20_000), [0.0, np.nextafter(1.0, 0.0)]])
    assert (tree.numbers[tree.draw(shares)] > 0).all()


def test_the_sums_do_not_depend_on_the_order_in_which_numbers_came():
    random, one, other = np.random.default_rng(0), SumTree(5_000), SumTree(5_000)
    for _ in range(50):
        places = random.integers(0, 5_000, 64)
        one.numbers[places] = random.random(64)
        one.refresh(places)
    other.numbers[:] = one.numbers
    other.refresh(np.arange(5_000))
    assert np.array_equal(one._nodes, other._nodes)
    assert one._nodes.nbytes == SumTree.bytes_for(5_000)
    assert one._nodes[1] == pytest.approx(one.numbers.sum())


@pytest.mark.parametrize("envs", [1, 3])
def test_draws_are_in_proportion_to_the_errors_to_the_power_of_alpha(envs):
    replay, pick = memory(40, envs)
    play(replay, 90)
    errors = np.random.default_rng(2).exponential(2.0, replay.kind.size).astype(np.float32)
    for _ in range(200):
        pick.learned(errors[pick.rows(64)])
    right = np.where(replay.kind & TRANSITION, (errors.astype(float) + LEAST) ** ALPHA, 0.0)
    np.testing.assert_allclose(pick.priorities.reshape(-1), right, rtol=1e-6)
    singly = [pick.rows(1)[0] for _ in range(30_000)]  # a draw of one row has one stratum
    counts = np.bincount(singly, minlength=right.size)
    assert counts[right == 0].sum() == 0
    expected = right / right.sum() * len(singly)
    assert stats.chisquare(counts[right > 0], expected[right > 0]).pvalue > 1e-3
    in_batches = np.bincount(np.concatenate([pick.rows(300) for _ in range(100)]), minlength=right.size)
    assert np.abs(in_batches - expected).max() < 4 * np.sqrt(expected.max())  # 30,000 rows again
    assert stats.chisquare(in_batches[right > 0], expected[right > 0]).pvalue > 1e-3


@pytest.mark.parametrize("seed", range(20))
def test_rows_have_the_priority_of_their_last_error_and_new_ones_the_largest_so_far(seed):
    """Against a dictionary by transition, over a ring that goes round, with episodes that end or are lost."""
    random = np.random.default_rng(seed)
    envs = int(random.integers(1, 4))
    replay, pick = memory(int(random.integers(3, 20)), envs)
    held, right, largest, waiting = {}, {}, 1.0, []
    for clock in range(400):
        env_index = int(random.integers(envs))
        row = env_index * replay.rows_per_env + replay.written[env_index] % replay.rows_per_env
        add(replay, env_index, *random.choice([True, False], 2, p=[0.1, 0.9]))
        held[row] = clock
        waiting.append(clock)
        if random.random() < 0.1:
            replay.close_episode(env_index)
        if random.random() < 0.4:
            rows = pick.rows(5)
            right |= dict.fromkeys(waiting, largest)
            waiting = []
            expected = [right[held[row]] if kind & TRANSITION else 0.0 for row, kind in enumerate(replay.kind)]
            priorities = np.zeros((envs, replay.rows_per_env))
            priorities[:, : replay.used] = pick.priorities
            np.testing.assert_allclose(priorities.reshape(-1), expected, rtol=1e-6)
            errors = {int(row): np.float32(random.exponential(3.0)) for row in rows}
            pick.learned(np.array([errors[int(row)] for row in rows]))
            right |= {held[row]: (float(error) + LEAST) ** ALPHA for row, error in errors.items()}
            largest = max(largest, *(right[held[row]] for row in errors))


def test_weights_take_back_the_share_that_beta_says():
    replay, pick = memory()
    play(replay, 45)
    for error in (0.0, 3.0):  # a few with a large error, and others with hardly any
        pick.learned(np.full(8, error, np.float32)[: pick.rows(8).size])
    sampler = Sampler(replay, pick, {**one_step(0.9), "weight": pick.weight}, 16, [look_ahead(3)])
    batch = sampler.sample()
    priorities = np.resize(pick.priorities, replay.kind.size)[pick._drawn]
    assert len(set(priorities)) > 1
    right = (priorities * len(replay)) ** -BETA  # (1 / N 1 / P)^beta, but for a factor that all have
    np.testing.assert_allclose(batch.weight, right / right.max(), rtol=1e-5)
    assert batch.weight.max() == 1


def test_an_empty_memory_cannot_be_drawn_from():
    with pytest.raises(ValueError, match="empty"):
        memory()[1].rows(3)
