import contextlib
import os
import re
import subprocess
import sys
import threading
import time

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from rucksac.building import build
from rucksac.config import Config
from rucksac.environments.collector import Collector
from rucksac.environments.making import make
from rucksac.environments.opening import env_group_of, open_envs
from rucksac.errors import EnvironmentFailed, UsageError
from rucksac.training.evaluate import evaluate_in
from tests.worlds import Counter, Failing, OnlyInWorkers, OutOfStep, Random, World


def an_agent(group, **settings):
    return build(Config(hidden=(8,), **settings), group.spaces)


def opened(source, cleanup, say=lambda text: None, **settings):
    return open_envs(source, Config(**settings), cleanup, say)[0]


def play(envs, steps, seed=1):
    """Return the transitions, episodes and lost environments of so many steps with actions of their own."""
    collector, generator = Collector(envs, seed), np.random.default_rng(0)
    collector.begin_episodes()
    transitions, episodes, lost = [], [], []
    for _ in range(steps):
        actions = generator.uniform(-1, 1, (len(envs), envs.spaces.action_size)).astype(np.float32)
        for found, new in zip((transitions, episodes, lost), collector.step(actions), strict=True):
            found += new
        collector.begin_episodes()
    return transitions, episodes, lost


def test_a_vector_env_that_takes_a_single_seed_gets_one():
    def seen():
        with contextlib.closing(gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")) as envs:
            assert not isinstance(envs.unwrapped, SyncVectorEnv)
            group = env_group_of(Config(), envs)
            return [transition.next_obs.tolist() for transition in play(group, 30)[0]], group.seeded

    assert seen() == seen()
    assert seen()[1] is False  # no environment starts from a seed of its own


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("mode", AutoresetMode)
def test_a_vector_env_gives_true_transitions_in_every_autoreset_mode(kind, mode):
    steps = 21
    envs = kind([Counter, OutOfStep, Counter], autoreset_mode=mode)
    with contextlib.closing(envs):
        transitions, episodes, _ = play(env_group_of(Config(), envs), steps)
    for env_index in range(3):
        own = [t for t in transitions if t.env_index == env_index]
        for t in own:
            episode, step = divmod(t.next_obs[0], 100)
            assert t.next_obs[0] == t.obs[0] + 1  # never from one episode into the next, never a reset's observation
            assert t.reward == step
            assert t.terminated == (episode % 2 == 0 and step == 3)
            assert t.truncated == (episode % 2 == 1 and step == 4)
        # Each reset takes a step of its own, which is no transition; every eighth step ends all three at once.
        resets = 3 if mode is AutoresetMode.NEXT_STEP else 0
        assert len(own) == steps - resets
    assert {(e.length, e.total_return) for e in episodes} == {(3, 6.0), (4, 10.0)}


def test_a_vector_env_that_does_not_say_how_it_resets_is_refused():
    envs = SyncVectorEnv([Counter])
    del envs.metadata["autoreset_mode"]
    with pytest.raises(UsageError, match="set metadata"):
        env_group_of(Config(), envs)


@pytest.mark.parametrize("mode", AutoresetMode)
def test_evaluation_counts_short_episodes_no_more_than_long_ones(mode):
    class OfLength(World):
        def __init__(self, length):
            self.length = length

        def step(self, action):
            self.steps += 1
            return self.seen(), 1.0, self.steps == self.length, False, {}

    two = SyncVectorEnv([lambda: OfLength(2), lambda: OfLength(11)], autoreset_mode=mode)
    envs = env_group_of(Config(), two)
    agent = an_agent(envs, envs=2)
    for _ in range(3):  # each evaluation begins with whole episodes, whatever the one before left under way
        evaluation = evaluate_in(agent, envs, episodes=5, seed=7)
        assert evaluation.returns.tolist() == [2, 11, 2, 11, 2]
        known = mode is AutoresetMode.DISABLED  # elsewhere later episodes begin from seeds that nobody tells
        assert [each.seed for each in evaluation.episodes] == ([7, 8, 9, 10, 11] if known else [-1] * 5)


WRONG_STEPS = {
    "too few values": (lambda obs, *rest: (obs, *rest[:-1]), "step returned 4 values, but must return"),
    "too few rows": (lambda obs, *rest: (obs[:1], *rest), "gave obs for 1 environments, but it has 2"),
    "too many rows": (lambda obs, *rest: (np.zeros((3, 1), np.float32), *rest), "gave obs for 3 environments"),
    "no observations": (lambda obs, *rest: (None, *rest), "gave the observations None, which are not in Box"),
    "one reward": (lambda obs, reward, *rest: (obs, 1.0, *rest), "gave reward for 1.0 environments, but it has 2"),
    "no rewards": (lambda obs, reward, *rest: (obs, [None, 1], *rest), "the reward None of type NoneType"),
    "ends that are numbers": (lambda obs, reward, end, *rest: (obs, reward, [0.5, 0], *rest), "gave terminated = 0.5"),
    "no ends": (lambda obs, reward, end, *rest: (obs, reward, None, *rest), "gave terminated for None environments"),
    "no infos": (lambda *answer: (*answer[:-1], None), "no final_obs for environment 0, which ended"),
    "infos as a list": (lambda *answer: (*answer[:-1], [{}, {}]), "no final_obs for environment 0"),
    "rewards by name": (
        lambda obs, reward, *rest: (obs, {"a": 1.0, "b": 2.0}, *rest),
        "gave reward for {'a': 1.0, 'b'",
    ),
    "ends by environment": (
        lambda obs, reward, end, *rest: (obs, reward, {0: False, 1: False}, *rest),
        "gave terminated for {0",
    ),
    "a number for a last observation": (lambda *answer: (*answer[:-1], {"final_obs": 3}), "no final_obs for"),
    "a batch for last observations": (
        lambda *answer: (*answer[:-1], {"final_obs": {"a": 1, "b": 2}}),
        "no final_obs for",
    ),
    "another last observation": (lambda *answer: (*answer[:-1], {"final_obs": [None, None]}), "no final_obs for"),
}


@pytest.mark.parametrize("wrong", WRONG_STEPS)
def test_a_vector_env_that_answers_wrongly_is_refused_in_one_sentence(wrong):
    change, says = WRONG_STEPS[wrong]

    class Wrong(VectorWrapper):
        def step(self, actions):
            return change(*self.env.step(actions))

    envs = Wrong(SyncVectorEnv([Counter, Counter], autoreset_mode=AutoresetMode.SAME_STEP))
    with pytest.raises(UsageError, match=re.escape(says)) as caught:
        play(env_group_of(Config(), envs), 5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("num_envs", None), ("num_envs", 0), ("metadata", None)])
def test_a_vector_env_that_does_not_say_what_it_is_is_refused(name, value):
    envs = SyncVectorEnv([Counter, Counter])
    setattr(envs, name, value)
    with pytest.raises(UsageError, match="the VectorEnv does not say how"):
        env_group_of(Config(), envs)


def test_workers_give_what_one_process_gives_whatever_their_number():
    def seen(**settings):
        with contextlib.ExitStack() as cleanup:
            transitions, episodes, lost = play(opened(Random, cleanup, envs=3, **settings), 40)
        assert not lost
        return repr(transitions), episodes

    assert seen(workers=0) == seen(workers=1) == seen(workers=2)


def test_workers_play_an_open_episode_again():
    with contextlib.ExitStack() as cleanup:
        envs = opened(Random, cleanup, envs=2, workers=1)
        actions = np.ones((4, 1), np.float32)
        first, steps = envs.play(1, 5, actions)
        again, same = envs.play(0, 5, actions)
    assert np.array_equal(first, again)
    assert repr(steps) == repr(same)


@pytest.mark.parametrize("how", ["raises", "dies", "hangs"])
@pytest.mark.parametrize("where", ["step", "reset"])
def test_an_environment_that_fails_in_a_worker_is_made_anew_and_the_rest_goes_on(where, how, tmp_path):
    said = []
    settings = {"env_args": {"where": where, "how": how, "once": str(tmp_path / "failed")}, "env_timeout": 2.0}
    with contextlib.ExitStack() as cleanup:
        envs = opened(OnlyInWorkers(Failing), cleanup, said.append, envs=2, workers=1, restarts=1, **settings)
        transitions, episodes, lost = play(envs, 12)
    assert (tmp_path / "failed").exists()
    assert len(said) == 1
    assert {"raises": "at rest", "dies": "exit code 7", "hangs": "no answer for 2 seconds"}[how] in said[0]
    assert lost == ([] if where == "reset" else [0] if how == "raises" else [0, 1])
    assert len(transitions) == 24 - len(lost)
    assert all(t.next_obs[0] == t.obs[0] + 1 for t in transitions)
    assert {episode.length for episode in episodes} == {5}


@pytest.mark.parametrize("where", ["constructor", "reset", "step"])
def test_an_environment_that_raises_the_same_again_ends_the_run_with_its_own_traceback(where):
    said = []
    with contextlib.ExitStack() as cleanup, pytest.raises(EnvironmentFailed, match="at rest.*worlds.py") as caught:
        settings = {"env_args": {"where": where}, "restarts": 100}
        play(opened(OnlyInWorkers(Failing), cleanup, said.append, envs=1, workers=1, **settings), 10)
    assert len(said) == (where != "constructor")
    assert "raise ZeroDivisionError" in str(caught.value.__cause__)


def test_when_restarts_are_used_up_the_run_ends():
    with contextlib.ExitStack() as cleanup, pytest.raises(EnvironmentFailed, match="exit code 7.*restarts 2 are used"):
        settings = {"env_args": {"where": "step", "how": "dies"}, "restarts": 2}
        play(opened(OnlyInWorkers(Failing), cleanup, envs=1, workers=1, **settings), 20)


def test_a_dead_worker_takes_only_its_own_lanes_with_it(tmp_path):
    once = str(tmp_path / "failed")
    with contextlib.ExitStack() as cleanup:
        source = OnlyInWorkers(Failing)
        envs = opened(source, cleanup, envs=4, workers=2, env_args={"where": "step", "how": "dies", "once": once})
        _, _, lost = play(envs, 6)
    assert lost in ([0, 1], [2, 3])


def test_a_function_that_cannot_be_imported_reaches_the_workers_too():
    scale = 3.0

    def local():
        return gymnasium.wrappers.TransformReward(gymnasium.make("Pendulum-v1"), lambda reward: scale * reward)

    with contextlib.ExitStack() as cleanup:
        transitions, _, _ = play(opened(local, cleanup, envs=1, workers=1), 3)
    with contextlib.ExitStack() as cleanup:
        plain, _, _ = play(opened("Pendulum-v1", cleanup, envs=1), 3)
    np.testing.assert_allclose([t.reward for t in transitions], [3.0 * t.reward for t in plain])


def test_settings_that_contradict_a_vector_env_are_refused():
    def source():
        return gymnasium.make_vec("Pendulum-v1", 2)

    for settings, says in (({"envs": 1}, "the VectorEnv has 2"), ({"envs": 2, "workers": 1}, "makes a VectorEnv, but")):
        with contextlib.ExitStack() as cleanup, pytest.raises(UsageError, match=says):
            opened(source, cleanup, **settings)
    with pytest.raises(UsageError, match="not for a VectorEnv"):
        make(source, Config(time_limit=3))
    assert isinstance(make(source, Config()), VectorEnv)


def test_an_episode_of_an_evaluation_that_is_lost_is_run_again(tmp_path):
    arguments = {"where": "step", "how": "dies", "once": str(tmp_path / "failed")}
    settings = Config(workers=1, env_args=arguments)
    with contextlib.ExitStack() as cleanup:
        _, evaluation_envs = open_envs(OnlyInWorkers(Failing), settings, cleanup, lambda text: None)
        evaluation = evaluate_in(an_agent(evaluation_envs), evaluation_envs, episodes=2)
    assert (tmp_path / "failed").exists()
    assert [episode.length for episode in evaluation.episodes] == [5, 5]
    assert [episode.seed for episode in evaluation.episodes] == [0, 1]


class Threads(World):
    """Shows how many threads numerical libraries may use in its process."""

    def seen(self):
        return np.array([float(os.environ.get("OMP_NUM_THREADS", "0"))], np.float32)


def test_a_worker_runs_on_one_thread_and_this_process_keeps_its_own():
    before = os.environ.get("OMP_NUM_THREADS")
    with contextlib.ExitStack() as cleanup:
        envs = opened(Threads, cleanup, envs=2, workers=2)
        assert [float(obs[0]) for obs in envs.reset({0: 0, 1: 1}).values()] == [1.0, 1.0]
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_a_source_that_cannot_be_sent_to_a_worker_is_refused():
    lock = threading.Lock()

    def source():
        with lock:
            return World()

    with contextlib.ExitStack() as cleanup, pytest.raises(UsageError, match="cannot be sent to a worker"):
        opened(source, cleanup, envs=1, workers=1)


class WithChild(World):
    """Starts a process of its own, as simulators do."""

    def __init__(self):
        self.observation_space = Box(0, 1e9, (1,))
        self.child = subprocess.Popen(["sleep", "600"])

    def seen(self):
        return np.array([self.child.pid], np.float32)


def test_what_an_environment_started_ends_with_its_worker():
    with contextlib.ExitStack() as cleanup:
        envs = opened(OnlyInWorkers(WithChild), cleanup, envs=1, workers=1)
        child = int(envs.reset({0: 0})[0][0])
        os.kill(child, 0)
    with pytest.raises(ProcessLookupError):
        for _ in range(100):  # until the system has buried it
            os.kill(child, 0)
            time.sleep(0.05)


ORPHANS = """
import contextlib, os, signal, sys
import numpy as np
from rucksac.building import build
from rucksac.config import Config
from rucksac.environments.opening import open_envs
from tests.worlds import Forever

class Stuck(Forever):
    def step(self, action):
        import time
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(600)

envs, _ = open_envs(Stuck, Config(workers=1), contextlib.ExitStack(), print)
envs.reset({0: 0})
envs.step(np.zeros((1, 1), np.float32))
"""


def test_a_worker_ends_with_its_parent_even_when_its_environment_hangs(tmp_path):
    written = tmp_path / "pid"
    script = ORPHANS.replace("sys.argv[1]", repr(str(written)))
    with subprocess.Popen([sys.executable, "-c", script]) as parent:
        while not (written.exists() and written.read_text()):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
    worker = int(written.read_text())
    with pytest.raises(ProcessLookupError):
        for _ in range(200):
            os.kill(worker, 0)
            time.sleep(0.05)


def test_a_constructor_that_dies_or_hangs_in_a_worker_does_not_take_the_run_along():
    for how, says in (("dies", "its process died .exit code 7"), ("raises", "at rest")):
        with contextlib.ExitStack() as cleanup, pytest.raises(EnvironmentFailed, match=says):
            opened(Failing, cleanup, workers=1, env_args={"where": "constructor", "how": how})
