"""Environments with goals: what hindsight takes, and the sentence that it refuses others with."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit, TransformReward

import rucksac
from rucksac.environments.goals import GoalTask
from rucksac.environments.reading import spaces_of
from rucksac.errors import UsageError
from rucksac.training.run import _largest_reward
from tests.learning import learn
from tests.runs import config
from tests.worlds import Reach

HINDSIGHT = {"hindsight": 4}


def task_of(env):
    return GoalTask(env, spaces_of(env))


class Unsorted(Reach):
    """Goals that are not where the alphabet would have them, of a shape and type of their own."""

    def __init__(self):
        super().__init__(terminates=True)
        goal = Box(-1.0, 1.0, (1, 2), np.float64)
        parts = [("observation", Box(-1.0, 1.0, (2,))), ("desired_goal", goal), ("achieved_goal", goal)]
        self.observation_space = Dict(parts)

    def seen(self):
        return {"observation": self.point, "achieved_goal": self.point[None], "desired_goal": self.goal[None]}

    def compute_reward(self, achieved_goal, desired_goal, info):
        assert achieved_goal.dtype == np.float64
        return super().compute_reward(achieved_goal, desired_goal, info).reshape(achieved_goal.shape[:-2])


def test_goals_are_slices_of_the_flat_observation_and_rewards_are_those_of_the_environment():
    env = TimeLimit(Unsorted(), 9)
    task = task_of(env)
    assert (task.desired, task.achieved) == (slice(2, 4), slice(4, 6))
    goals = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 50, 2)).astype(np.float32)
    near = np.linalg.norm(goals[0] - goals[1], axis=1) <= env.unwrapped.near
    assert 5 < near.sum() < 45
    assert np.array_equal(task.reward(*goals), -(~near).astype(np.float32))


@pytest.mark.parametrize("in_batches", [True, False])
def test_terminations_are_asked_for_one_by_one_where_there_is_no_other_way(in_batches):
    class OneTruth(Reach):
        def compute_terminated(self, achieved_goal, desired_goal, info):
            return bool(np.linalg.norm(achieved_goal - desired_goal) <= self.near)

    goals = np.random.default_rng(0).uniform(-0.1, 0.1, (2, 50, 2)).astype(np.float32)
    near = np.linalg.norm(goals[0] - goals[1], axis=1) <= Reach().near
    task = task_of(Reach(terminates=True) if in_batches else OneTruth(terminates=True))
    assert np.array_equal(task.terminated(*goals), near)


def test_an_environment_that_says_nothing_of_terminations_keeps_its_own():
    class Silent(Reach):
        compute_terminated = property()

    assert task_of(Silent()).terminated(np.zeros((3, 2)), np.zeros((3, 2))) is None


class NoReward(Reach):
    compute_reward = property()

    def step(self, action):
        return self.seen(), 0.0, False, True, {}


class OneByOne(Reach):
    def compute_reward(self, achieved_goal, desired_goal, info):
        return -float(np.linalg.norm(achieved_goal - desired_goal) > self.near)


class NotInBatches(Reach):
    def compute_reward(self, achieved_goal, desired_goal, info):
        return -float(abs(achieved_goal - desired_goal).max() > self.near) if achieved_goal.ndim == 1 else info.near


class NeedsInfo(Reach):
    def compute_reward(self, achieved_goal, desired_goal, info):
        return -float(info["effort"])

    def step(self, action):
        self.steps += 1
        return self.seen(), -1.0, False, self.steps == 9, {"effort": 1.0}


class OtherShapes(Reach):
    def __init__(self):
        super().__init__()
        self.observation_space = Dict({**self.observation_space.spaces, "desired_goal": Box(-1, 1, (1, 2))})


@pytest.mark.parametrize(
    ("env", "settings", "says"),
    [
        ("Pendulum-v1", {}, "for environments with goals, .* here is no such achieved_goal; leave out --hindsight"),
        (NoReward, {}, "the environment has no compute_reward; leave out --hindsight, or give it one"),
        (OneByOne, {}, r"does not answer for a batch of goals \(compute_reward returned shape \(\) for 3 goals\)"),
        (NotInBatches, {}, "does not answer for a batch of goals .*'list' object has no attribute 'near'.*last axis"),
        (NeedsInfo, {}, r"does not work with an empty info \(KeyError\('effort'\)\); leave out --hindsight"),
        (OtherShapes, {}, r"achieved_goal has shape \(2,\) and desired_goal \(1, 2\); .* give both one shape"),
        (lambda: TransformReward(Reach(), lambda reward: 9 * reward), {}, "a step gave -9 where .* gives -1; leave"),
        (Reach, {"frame_skip": 2}, "--frame-skip 2 adds the rewards of several steps, .*; leave out one of them"),
        (lambda: SyncVectorEnv([Reach]), {}, "makes a VectorEnv; give what makes a single one, and --envs"),
    ],
)  # fmt: skip
def test_what_hindsight_cannot_work_with_is_refused_in_one_sentence(env, settings, says):
    with pytest.raises(UsageError, match=says) as refusal:
        rucksac.train(env, **{**config(**HINDSIGHT, **settings).to_json(), "steps": 40})
    assert "\n" not in str(refusal.value)


def test_goals_may_live_in_workers(trained):
    rucksac.train(Reach, **config(steps=90, envs=3, workers=2, **HINDSIGHT).to_json())
    (training,) = trained
    assert training.agent.grad_steps == 72
    relabelled = training.sampler.transforms[0]
    batch = training.sampler.sample()
    real = set(map(tuple, training.replay.data["obs"][:, relabelled.goals.desired].tolist()))
    drawn = list(map(tuple, batch.obs[:, relabelled.goals.desired].tolist()))
    assert 0 < sum(goal in real for goal in drawn) < len(drawn)


def test_the_largest_reward_may_be_one_that_only_another_goal_gave(trained):
    class OneAtLast(Reach):
        def compute_reward(self, achieved_goal, desired_goal, info):
            return 1.0 + super().compute_reward(achieved_goal, desired_goal, info)

    rucksac.train(lambda: OneAtLast(near=1e-3), **config(steps=60, **HINDSIGHT).to_json())
    (training,) = trained
    assert training.replay.data["reward"].max() == 0.0
    assert _largest_reward(training)() == 1.0


@pytest.mark.parametrize("settings", [{"terminates": False}, {"terminates": True}])
def test_hindsight_learns_what_cannot_be_learned_without(settings):
    """Nearly optimal with it, no better than at random without."""

    def world():
        return Reach(**settings)

    def reached(**more):
        agent = learn(world, steps=1_000, compile="never", alpha=0.02, **more)
        returns = np.array(rucksac.evaluate(agent, world, episodes=40).returns)
        return np.mean(returns > -8)

    assert reached(**HINDSIGHT) > 0.9
    if not settings["terminates"]:
        assert reached() < 0.2
