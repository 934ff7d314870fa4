"""Stacks of frames out of a replay memory that keeps one copy of each, against what was written down when seen."""

import numpy as np
import pytest

from rucksac.experience import segments
from rucksac.experience.columns import Column, bytes_for
from rucksac.experience.history import latest, transitions_of
from rucksac.experience.looking_ahead import look_ahead
from rucksac.experience.priorities import PrioritisedPick
from rucksac.experience.replay import TRANSITION, Replay
from rucksac.experience.sampling import Sampler, UniformPick, one_step, value
from rucksac.training import replay_files

GAMMA, LARGE, SMALL = 0.9, 5, 3  # numbers in a frame of each of two pictures


def columns(stack):
    first = 1 + (stack - 1) * LARGE
    second = 1 + stack * LARGE + (stack - 1) * SMALL
    return (
        Column("obs", (1,), of_state=True, part=slice(0, 1)),
        Column("picture0", (LARGE,), np.uint8, True, "obs", slice(first, first + LARGE), stack),
        Column("picture1", (SMALL,), np.uint8, True, "obs", slice(second, second + SMALL), stack),
        Column("action", (1,)),
        Column("reward"),
    )


class Play:
    """Random episodes in every environment, with what each moment showed written down by its clock."""

    def __init__(self, envs, stack, seed):
        self.random, self.stack, self.shown, self.step = np.random.default_rng(seed), stack, {}, {}
        self.clocks = [100_000 * (env + 1) for env in range(envs)]
        self.stacks = [self.begin(env) for env in range(envs)]

    def frames(self, clock):
        return np.full(LARGE, clock * 7 % 251, np.uint8), np.full(SMALL, clock * 13 % 251, np.uint8)

    def begin(self, env):
        return self.see(env, [self.frames(self.clocks[env])] * self.stack)

    def see(self, env, frames):
        large, small = zip(*frames, strict=True)
        clock = self.clocks[env]
        self.shown[clock] = np.concatenate([[clock], *large, *small]).astype(np.float32)
        return frames

    def go(self, replay, steps):
        for _ in range(steps):
            env = int(self.random.integers(replay.envs))
            clock, how = self.clocks[env], self.random.choice(4, p=[0.85, 0.05, 0.05, 0.05])
            obs, reward = self.shown[clock], float(self.random.normal())
            self.clocks[env] += 1
            self.stacks[env] = self.see(env, [*self.stacks[env][1:], self.frames(clock + 1)])
            ends = {"terminated": how == 1, "truncated": how == 2}
            replay.add(env, **ends, obs=obs, action=[0.5], reward=reward, next_obs=self.shown[clock + 1])
            self.step[clock] = reward, how
            if how == 3:
                replay.close_episode(env)
            if how:
                self.clocks[env] += 10
                self.stacks[env] = self.begin(env)

    def ahead(self, clock, steps):
        """Return the return over so many steps from here, its discount, and where it leads."""
        total, discount = 0.0, 1.0
        for _ in range(steps):
            reward, how = self.step[clock]
            total, discount, clock = total + discount * reward, discount * GAMMA * (how != 1), clock + 1
            if clock not in self.step:
                break
        return total, discount, clock


def check(replay, play, pick, steps=1):
    """Compare batches with what was written down; return the clocks of their transitions."""
    transforms = [look_ahead(steps)] if steps > 1 else []
    sampler, seen = Sampler(replay, pick, one_step(GAMMA, value(replay, "obs")), 60, transforms), set()
    for _ in range(3):
        batch = sampler.sample()
        for row, clock in enumerate(batch.obs[:, 0].int().tolist()):
            reward, discount, end = play.ahead(clock, steps)
            assert np.array_equal(batch.obs[row], play.shown[clock])
            assert np.array_equal(batch.next_obs[row], play.shown[end])
            assert (float(batch.reward[row]), float(batch.discount[row])) == pytest.approx((reward, discount), abs=1e-5)
            seen.add(clock)
        sampler.learned(np.ones(60, np.float32))
    return seen


@pytest.mark.parametrize(("stack", "envs"), [(1, 2), (2, 1), (3, 3), (4, 2)])
@pytest.mark.parametrize("rows", [9, 40])
def test_stacks_are_those_that_were_seen_however_often_the_ring_goes_round(stack, envs, rows):
    replay, play = Replay(rows * envs, envs, columns(stack)), Play(envs, stack, seed=stack)
    assert sum(array.nbytes for array in replay.data.values()) == bytes_for(rows * envs, columns(stack))
    picks = [UniformPick(replay, np.random.default_rng(1)), PrioritisedPick(replay, np.random.default_rng(2), 0.5, 0.4)]
    for _ in range(8):
        play.go(replay, 15 * envs)
        assert len(replay) == np.count_nonzero(replay.kind & TRANSITION) > 0
        drawable = {clock for env in range(envs) for clock in clocks_of(replay, env)}
        for pick in picks:
            for steps in (1, 3):
                assert check(replay, play, pick, steps) <= drawable
        for env in range(envs):
            rows_of_state = replay.rows_since(env, 0)
            kept = np.count_nonzero(replay.data["action"][rows_of_state, 0] * (replay.kind[rows_of_state] > 0))
            assert kept - (stack - 1) <= len(clocks_of(replay, env)) <= kept
    assert max(replay.written) > 2 * rows  # it went round


def clocks_of(replay, env):
    rows = replay.rows_since(env, 0)
    return replay.data["obs"][rows[(replay.kind[rows] & TRANSITION) > 0], 0].astype(int).tolist()


@pytest.mark.parametrize("stack", [2, 4])
def test_transitions_in_order_and_the_last_ones_show_what_was_seen(stack):
    replay, play = Replay(60, 2, columns(stack)), Play(2, stack, seed=7)
    play.go(replay, 150)
    for env in range(2):
        found = list(transitions_of(replay, env))
        assert [int(each["obs"][0]) for each in found] == clocks_of(replay, env)
        for each in found:
            clock = int(each["obs"][0])
            assert np.array_equal(each["obs"], play.shown[clock])
            assert np.array_equal(each["next_obs"], play.shown[clock + 1])
        again = Replay(60, 1, columns(stack))
        for each in found:
            again.add(0, **each)
        again.close_episode(0)
        assert clocks_of(again, 0) == [int(each["obs"][0]) for each in found]


def test_an_episode_longer_than_the_memory_is_known_as_far_as_it_is_whole():
    replay, stack = Replay(10, 1, columns(3)), 3
    play = Play(1, stack, seed=1)
    play.random = type(
        "Never", (), {"integers": lambda _, n: 0, "choice": lambda *_, **__: 0, "normal": lambda _: 1.0}
    )()
    play.go(replay, 25)
    rows = latest(replay, 0, 25)
    clock = play.clocks[0]
    shown = value(replay, "obs")(replay, rows, None)
    assert shown[:, 0].tolist() == list(range(clock - 7, clock))
    assert np.array_equal(shown, np.stack([play.shown[each] for each in range(clock - 7, clock)]))


@pytest.mark.parametrize("before", [10, 35, 120])
def test_a_memory_that_was_saved_goes_on_as_if_nothing_had_happened(tmp_path, before):
    kept, play = Replay(60, 2, columns(3)), Play(2, 3, seed=before)
    folder = tmp_path / "replay"
    folder.mkdir()
    listed, since = [], []
    for number in range(3):  # each time only what is new, so that rows were written to files before they were spent
        play.go(kept, before)
        listed = [each for each in listed if replay_files.is_live(each, kept)]
        listed += replay_files.write(folder, f"{number}", kept, since)
        since = list(kept.written)
    restored = Replay(60, 2, columns(3))
    replay_files.read(folder, listed, restored)
    for name in Replay.STATE:
        setattr(restored, name, list(it) if isinstance(it := getattr(kept, name), list) else it)
    segments.settle(restored)
    draws = [UniformPick(each, np.random.default_rng(3)) for each in (kept, restored)]
    for pick in draws:
        check(pick.replay, play, pick)
    assert np.array_equal(kept.kind, restored.kind)
    again = [UniformPick(each, np.random.default_rng(4)).rows(100).tolist() for each in (kept, restored)]
    assert again[0] == again[1]
