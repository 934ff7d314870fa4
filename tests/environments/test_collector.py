import gymnasium
import numpy as np
import pytest

from rucksac.config import Config
from rucksac.environments.collector import Collector
from rucksac.environments.making import make
from rucksac.environments.opening import env_group_of
from rucksac.errors import UsageError
from tests.worlds import Counter, Faulty, Once, World


def collector_of(*envs, seed=0):
    collector = Collector(env_group_of(Config(), *envs), seed)
    collector.begin_episodes()
    return collector


@pytest.mark.parametrize("envs", [1, 3])
def test_transitions_never_join_two_episodes_and_returns_are_counted(envs):
    collector = collector_of(*(Counter() for _ in range(envs)))
    transitions, episodes = [], []
    for _ in range(21):  # three rounds of an episode of 3 and one of 4
        new, finished, _ = collector.step(np.zeros((envs, 1), np.float32))
        collector.begin_episodes()
        transitions += new
        episodes += finished
    for env_index in range(envs):
        own = [t for t in transitions if t.env_index == env_index]
        assert len(own) == 21
        for t in own:
            assert t.next_obs[0] == t.obs[0] + 1
            episode, step = divmod(t.next_obs[0], 100)
            assert t.terminated == (episode % 2 == 0 and step == 3)
            assert t.truncated == (episode % 2 == 1 and step == 4)
    assert sorted((e.length, e.total_return) for e in episodes) == [(3, 6.0)] * 3 * envs + [(4, 10.0)] * 3 * envs


def test_termination_wins_over_truncation():
    (transition,), _, _ = collector_of(Once()).step(np.zeros((1, 1), np.float32))
    assert (transition.terminated, transition.truncated) == (True, False)


def test_every_episode_has_a_seed_of_its_own_and_equal_runs_have_equal_seeds():
    class Remembering(World):
        def __init__(self):
            self.seeds = []

        def reset(self, *, seed=None, options=None):
            self.seeds.append(seed)
            return super().reset(seed=seed)

        def step(self, action):
            return self.seen(), 0.0, True, False, {}

    def seeds(seed):
        envs = [Remembering(), Remembering()]
        collector = collector_of(*envs, seed=seed)
        for _ in range(5):
            collector.step(np.zeros((2, 1), np.float32))
            collector.begin_episodes()
        return envs[0].seeds + envs[1].seeds

    assert seeds(1) == seeds(1)
    assert len(set(seeds(1) + seeds(2))) == 24


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("nan", "not finite in float32 at index 0"),
        ("shape", r"shape \(2,\) .* must be numbers of shape \(1,\)"),
        ("none", "gave the reward None of type NoneType, but must give a plain number"),
        ("infinite", "reward inf, not a finite number"),
        ("exits", r"failed in step: SystemExit: bye \(.*worlds.py, line \d+\)"),
        ("array", "gave terminated = .* of type ndarray, but must give True or False"),
        ("raises", r"failed in step: ZeroDivisionError: .* \(.*worlds.py, line \d+\)"),
        ("four", "step returned 4 values, but must return \\(obs, reward"),
    ],
)
def test_an_environment_that_breaks_its_word_is_named_as_the_cause(fault, says):
    collector = collector_of(Faulty(fault))
    with pytest.raises(UsageError, match=says):
        for _ in range(4):
            collector.step(np.zeros((1, 1), np.float32))
            collector.begin_episodes()


def test_unknown_environments_get_the_nearest_names():
    with pytest.raises(UsageError, match="Pendulum-v1"):
        make("Pendulm-v1", Config())
    with pytest.raises(UsageError, match="nowhere_to_be_found.*change to its folder, install it, or correct the id"):
        make("nowhere_to_be_found:Thing-v0", Config())
    with pytest.raises(UsageError, match="must return a gymnasium.Env"):
        make(lambda: 3, Config())


def test_an_argument_that_the_environment_needs_is_named():
    def arm(joints):
        return World()

    with pytest.raises(UsageError, match="needs an argument .*'joints'.*; give it by --env.joints VALUE"):
        make(arm, Config())
    assert isinstance(make(arm, Config(env_args={"joints": 3})), World)


def test_a_missing_simulator_names_the_extra(monkeypatch):
    def absent(*args, **kwargs):
        raise gymnasium.error.DependencyNotInstalled("no simulator")

    monkeypatch.setattr(gymnasium, "make", absent)  # both simulators are installed where the tests run
    with pytest.raises(UsageError, match=r'pip install "rucksac\[mujoco\]"'):
        make("HalfCheetah-v5", Config())
    with pytest.raises(UsageError, match=r'pip install "rucksac\[box2d\]"'):
        make("BipedalWalker-v3", Config())
