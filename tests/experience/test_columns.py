"""Columns of a person's own, and folds that look further than one step: what the seams of the replay memory carry."""

import numpy as np
import pytest
import safetensors.numpy

from rucksac.experience import segments
from rucksac.experience.columns import Column, bytes_for
from rucksac.experience.replay import TERMINATED, TRANSITION, TRUNCATED, Replay
from rucksac.experience.sampling import Sampler, UniformPick, after, column, one_step
from rucksac.training import replay_files

COLUMNS = (
    Column("obs", (2,), of_state=True),
    Column("picture", (4, 4), np.uint8, of_state=True),
    Column("action", (1,)),
    Column("reward"),
    Column("log_prob"),
)
GAMMA = 0.9


def state(clock):
    """Return a state that no other moment has, as its columns."""
    return {"obs": np.array([clock, -clock]), "picture": np.full((4, 4), clock % 251)}


def play(replay, steps, seed=0):
    """Store random episodes in every environment; return all transitions by the clock in their observation."""
    random, stored = np.random.default_rng(seed), {}
    clocks = [100_000 * env_index for env_index in range(replay.envs)]
    for step in range(steps):
        for env_index in range(replay.envs):
            clock, end = clocks[env_index], random.random()
            terminated, truncated = end < 0.15, 0.15 <= end < 0.3
            values = {"action": random.uniform(-1, 1, 1), "reward": random.normal(), "log_prob": -random.random()}
            next_state = {f"next_{name}": value for name, value in state(clock + 1).items()}
            replay.add(env_index, terminated, truncated, **state(clock), **values, **next_state, unknown=step)
            stored[clock] = {**values, "terminated": terminated, "truncated": truncated}
            clocks[env_index] += 2 if terminated or truncated else 1
    return stored


def read(replay, rows, name, next_too=False):
    here = column(name)
    return (here(replay, rows, None), after(here)(replay, rows, None)) if next_too else here(replay, rows, None)


@pytest.mark.parametrize("envs", [1, 3])
def test_columns_of_ones_own_are_stored_and_drawn_beside_the_others(envs):
    replay = Replay(60 * envs, envs, COLUMNS)
    stored = play(replay, 150)
    assert len(replay) < sum(replay.written)  # the ring went round
    assert sum(array.nbytes for array in replay.data.values()) == bytes_for(60 * envs, COLUMNS)
    rows = UniformPick(replay, np.random.default_rng(1)).rows(500)
    (obs, next_obs), (picture, next_picture) = (read(replay, rows, name, True) for name in ("obs", "picture"))
    assert picture.dtype == next_picture.dtype == np.uint8
    assert (picture == (obs[:, :1, None] % 251)).all()
    assert (next_picture == (next_obs[:, :1, None] % 251)).all()
    assert (next_obs[:, 0] == obs[:, 0] + 1).all()
    expected = [stored[int(clock)] for clock in obs[:, 0]]
    for name in ("log_prob", "reward"):
        assert np.array_equal(read(replay, rows, name), np.float32([each[name] for each in expected]))


def test_a_batch_may_be_read_from_other_columns():
    replay = Replay(60, 1, COLUMNS)
    play(replay, 100)
    seen = {"obs": column("picture"), "next_obs": after(column("picture"))}
    batch = Sampler(replay, UniformPick(replay, np.random.default_rng(1)), {**one_step(GAMMA), **seen}, 32).sample()
    assert batch.obs.shape == batch.next_obs.shape == (32, 4, 4)
    assert (batch.next_obs.int() - batch.obs.int() == 1).all()


def test_columns_of_ones_own_go_to_files_and_come_back(tmp_path):
    kept, restored = Replay(120, 2, COLUMNS), Replay(120, 2, COLUMNS)
    listed, since = [], []
    (tmp_path / "replay").mkdir()
    for number in (1, 2):  # the second time only what is new, after the ring has gone round
        play(kept, 40, seed=number)
        listed = [each for each in listed if replay_files.is_live(each, kept)]
        listed += replay_files.write(tmp_path / "replay", f"{number:06d}", kept, since)
        since = list(kept.written)
    replay_files.read(tmp_path / "replay", listed, restored)
    valid = kept.kind > 0
    for name, array in kept.data.items():
        assert np.array_equal(array[valid], restored.data[name][valid]), name
    names = safetensors.numpy.load((tmp_path / "replay" / listed[-1].file).read_bytes())
    assert {name.split(".")[-1] for name in names} == {"obs", "picture", "action", "reward", "log_prob", "kind"}


def test_a_piece_with_other_columns_or_another_shape_is_refused():
    replay = Replay(60, 1, COLUMNS)
    play(replay, 20)
    ((first, piece),) = segments.cut(replay, 0, 0)
    with pytest.raises(ValueError, match="other parts"):
        segments.paste(Replay(60, 1, COLUMNS[:-1]), 0, first, piece)
    other = (*COLUMNS[:-1], Column("log_prob", (), np.float64))
    with pytest.raises(ValueError, match="log_prob of another shape or type"):
        segments.paste(Replay(60, 1, other), 0, first, piece)


def test_a_value_that_is_missing_is_named():
    with pytest.raises(KeyError, match="log_prob"):
        Replay(60, 1, COLUMNS).add(0, False, False, **state(1), action=0.0, reward=0.0)


def two_steps(gamma):
    """Return the fold of two transitions where the first does not end an episode and the second is known."""

    def goes_on(replay, rows):
        here, there = replay.kind[rows], replay.kind[replay.following(rows)]
        return (here & (TERMINATED | TRUNCATED) == 0) & (there & TRANSITION != 0)

    def at_last(read):
        def choose(replay, rows, out):
            return read(replay, np.where(goes_on(replay, rows), replay.following(rows), rows), out)

        return choose

    def reward(replay, rows, out):
        first, second = (column("reward")(replay, each, None) for each in (rows, replay.following(rows)))
        return np.add(first, np.where(goes_on(replay, rows), np.float32(gamma) * second, 0), out=out)

    def discount(replay, rows, out):
        once = one_step(gamma)["discount"]
        return np.multiply(
            at_last(once)(replay, rows, None), np.where(goes_on(replay, rows), np.float32(gamma), 1), out=out
        )

    once = one_step(gamma)
    return {**once, "reward": reward, "discount": discount, "next_obs": at_last(once["next_obs"])}


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("steps", [7, 58, 90, 200])
def test_a_fold_of_two_steps_is_what_the_episodes_say(envs, steps):
    replay = Replay(60 * envs, envs, COLUMNS)
    stored = play(replay, steps, seed=steps)
    sampler = Sampler(replay, UniformPick(replay, np.random.default_rng(1)), two_steps(GAMMA), 400)
    kinds = set()
    for obs, _, reward, discount, next_obs in zip(*sampler.sample()[:5], strict=True):
        clock = int(obs[0])
        first, second = stored[clock], stored.get(clock + 1)
        ended = first["terminated"] or first["truncated"]
        walked = [first] if ended or second is None else [first, second]
        kinds.add((len(walked), walked[-1]["terminated"], walked[-1]["truncated"]))
        assert next_obs[0] == clock + len(walked)
        assert reward.item() == pytest.approx(sum(GAMMA**n * each["reward"] for n, each in enumerate(walked)), abs=1e-5)
        assert discount.item() == pytest.approx(0.0 if walked[-1]["terminated"] else GAMMA ** len(walked))
    assert steps < 50 or len(kinds) >= 5  # one or two steps, each with every kind of end
