import dataclasses
import json
import re
import time
import warnings

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from rucksac.cli import main
from rucksac.config import Config
from rucksac.doctor.assessment import name_of_number
from rucksac.doctor.environment import examine_environment
from rucksac.doctor.findings import EXIT_CODES, Finding, closing, to_json, worst
from rucksac.doctor.machine import examine_machine
from rucksac.environments.spaces import LARGEST_REWARD
from rucksac.resources import available_threads
from tests.worlds import Counter, Faulty, World

SMALL = Config(hidden=(8,), compile="never", threads=1, buffer_size=1_000, batch_size=16, warmup=20)
SMALL_FLAGS = "--hidden 8 --compile never --threads 1 --buffer-size 1000 --batch-size 16 --warmup 20".split()


def examined(source, steps=300, config=SMALL, **settings):
    """The findings by name, each of which must be there once."""
    found = list(examine_environment(source, dataclasses.replace(config, **settings), steps))
    assert len({finding.what for finding in found}) == len(found)
    json.dumps(to_json(found), allow_nan=False)
    return {finding.what: finding for finding in found}


def advised(found):
    return [name for name, finding in found.items() if finding.verdict != "fine"]


class Odd(World):
    """Fit for training; subclasses each do one thing worth telling."""

    limit = 20

    def seen(self):
        return self.np_random.normal(size=1).astype(np.float32)

    def reward(self, action):
        return -(float(action[0]) ** 2)

    def step(self, action):
        self.steps += 1
        return self.seen(), self.reward(action), False, self.steps == self.limit, {}


class Hanging(Odd):
    where = "step"

    def reset(self, *, seed=None, options=None):
        while self.where == "reset":
            time.sleep(0.01)
        return super().reset(seed=seed)

    def step(self, action):
        while self.where == "step" and self.steps == 2:
            time.sleep(0.01)
        return super().step(action)


class Unseeded(Odd):
    def seen(self):
        return np.random.default_rng().normal(size=1).astype(np.float32)


class Carried(Odd):
    """What one episode did is still there in the next."""

    total = 0

    def seen(self):
        self.total += 1
        return np.array([self.total / 100.0], np.float32)


class Overflowing(Odd):
    observation_space = Box(-np.inf, np.inf, (1,), np.float64)

    def seen(self):
        return np.array([10.0 ** (10 * self.steps)])


class Outside(Odd):
    observation_space = Box(-1.0, 1.0, (1,), np.float32)

    def seen(self):
        return np.array([3.0 if self.steps % 10 == 9 else self.np_random.uniform(-1, 1)], np.float32)


class Clock(Odd):
    observation_space = Box(-np.inf, np.inf, (2,), np.float64)

    def seen(self):
        return np.array([self.np_random.normal(), 1.7e9 + self.steps])


class Parts(Odd):
    observation_space = Dict({"speed": Box(-9.0, 9.0, (2,), np.float32), "gear": Discrete(3)})

    def seen(self):
        return {"speed": np.array([self.np_random.normal(), 4.0], np.float32), "gear": 1}


class Picture(Odd):
    observation_space = Box(0, 255, (4, 4, 3), np.uint8)

    def seen(self):
        return self.np_random.integers(0, 256, (4, 4, 3), dtype=np.uint8)


class Endless(Odd):
    limit = None


class Disguised(Odd):
    """A time limit that says it is a termination."""

    def step(self, action):
        obs, reward, _, over, info = super().step(action)
        return obs, reward, over, False, info


class Unbounded(Odd):
    action_space = Box(-np.inf, np.inf, (1,), np.float32)


class Rounded(Odd):
    action_space = Box(-3, 3, (1,), np.int64)


class Wide(Odd):
    action_space = Box(-3e38, 3e38, (1,), np.float32)

    def reward(self, action):
        return 1.0 if action[0] < 1.0 else 0.0


class Generous(Odd):
    def reward(self, action):
        return 1_000.0 * float(action[0])


class Boxed(Odd):
    """Rewards come in an object of their own."""

    class Coin(float):
        pass

    def reward(self, action):
        return self.Coin(action[0])


class Complaining(Odd):
    def step(self, action):
        warnings.warn("the motor is warm", stacklevel=2)
        return super().step(action)


class Slow(Odd):
    def step(self, action):
        time.sleep(0.003)
        return super().step(action)


def test_pendulum_is_ready():
    found = examined("Pendulum-v1", 450)
    assert advised(found) == []
    assert found["episodes"].values == {
        "steps": 450, "ended": 2, "terminated": 0, "truncated": 2, "time_limit": 200,
        "shortest": 200, "mean": 200.0, "longest": 200,
    }  # fmt: skip
    assert -8.0 <= found["observation scale"].values["low"] < -1.0
    assert found["rewards"].values["low"] >= -16.3
    assert found["run: memory"].values["replay_bytes"] == 1_000 * (4 * (3 + 1 + 1) + 1)
    assert set(found["run: time"].values["phases"]) == {"environment", "acting", "gradient steps", "evaluations"}


def test_play_is_the_warm_up_of_a_run(tmp_path):
    main(["train", "CartPole-v1", *SMALL_FLAGS, "--warmup", "100", "--steps", "100", "--quiet", "--eval-episodes", "1",
          "--run", str(tmp_path / "run"), "--seed", "7"])  # fmt: skip
    lengths = [int(line.split(",")[-1]) for line in (tmp_path / "run/episodes.csv").read_text().splitlines()[1:]]
    seen = examined("CartPole-v1", 100, seed=7)["episodes"].values
    assert (seen["ended"], seen["terminated"], seen["longest"]) == (len(lengths), len(lengths), max(lengths))


def test_discrete_actions():
    found = examined("CartPole-v1")
    assert advised(found) == []
    assert found["actions"].values == {"kind": "discrete", "size": 2}


@pytest.mark.parametrize(
    ("world", "what", "says"),
    [
        (Unseeded, "repeatability", "in the same instance from its first observation on and in a new one from its"),
        (Outside, "outside of space", "obs[0]; the first of them in"),
        (Clock, "digits lost", "obs[1], such as 1700000020"),
        (Disguised, "episodes", "looks like a time limit"),
        (Endless, "episodes", "none ended in 300 steps"),
        (Rounded, "actions", "rounded to whole numbers"),
        (Wide, "actions", "enormous"),
        (Generous, "rewards", "large"),
        (Boxed, "reward type", "Coin"),
    ],
)
def test_what_is_odd_is_told_and_nothing_else(world, what, says):
    found = examined(world, normalise_observations=True)
    assert advised(found) == [what]
    assert found[what].verdict == "advice"
    assert found[what].remedy
    assert says in found[what].says


def test_state_carried_from_episode_to_episode_shows_in_the_same_instance_alone():
    found = examined(Carried)
    assert found["repeatability"].values == {"same_instance": False, "new_instance": True, "steps": [0, None]}
    assert not examined(Counter)["repeatability"].values["same_instance"]


def test_settings_take_their_advice_back():
    assert examined(Endless)["episodes"].flags == ("--time-limit", "1000")
    assert advised(examined(Endless, time_limit=50)) == []
    assert examined(Clock)["observation scale"].flags == ("--normalise-observations",)
    assert "observation scale" not in advised(examined(Clock, normalise_observations=True))
    assert examined(Generous)["rewards"].flags == ("--normalise-rewards",)
    assert advised(examined(Generous, normalise_rewards=True)) == []
    assert examined(Wide, action_low=(-1.0,), action_high=(1.0,))["actions"].verdict == "fine"


def test_parts_of_observations_are_named():
    found = examined(Parts)
    assert found["observations"].values["size"] == 5
    assert advised(found) == ["constant numbers"]
    assert found["constant numbers"].says == "never changed: obs['speed'][1]"
    assert name_of_number(Parts.observation_space, 1) == "['gear'][1]"
    assert name_of_number(Box(0, 1, (2, 3)), 4) == "[1, 1]"


def test_images_are_taken_as_rows():
    found = examined(Picture)
    assert advised(found) == ["image", "observation scale"]
    assert found["observations"].says == "48 numbers: shape (4, 4, 3), uint8, from 0 to 255"


@pytest.mark.parametrize("fault", ["nan", "shape", "raises", "four", "none", "infinite"])
def test_a_fault_is_placed_and_what_was_seen_before_is_told(fault):
    found = examined(lambda: Faulty(fault))
    assert list(found)[-1] == "failure"
    failure = found["failure"]
    assert failure.verdict == "cannot"
    assert failure.says.startswith(f"at step 3 of the episode that reset(seed={failure.values['seed']}) began: ")
    assert found["episodes"].values["steps"] == 2
    assert found["observation scale"].values["high"] == 0.0


@pytest.mark.parametrize("where", ["constructor", "reset", "step"])
def test_an_environment_that_hangs_is_given_up(where):
    def make():
        while where == "constructor":
            time.sleep(0.01)
        env = Hanging()
        env.where = where
        return env

    found = examined(make, env_timeout=0.5)
    assert found["failure"].verdict == "cannot"
    assert re.search(rf"failed in .*{where}: TimeoutError: no answer for 0.5 seconds", found["failure"].says)
    time.sleep(0.6)  # no alarm is left to ring


def test_numbers_too_large_for_float32_are_told_from_infinity():
    found = examined(Overflowing)
    assert found["failure"].values["step"] == 4
    assert found["failure"].says.endswith("as 1e+40 is too large for float32")
    assert LARGEST_REWARD < 1e40


def test_bounds_that_are_infinite_cannot_work_until_others_are_given():
    found = examined(Unbounded)
    assert list(found) == ["failure"]
    assert "--action-low" in found["failure"].says
    assert advised(examined(Unbounded, action_low=(-1.0,), action_high=(1.0,))) == []


def test_unreachable_entropy_cannot_work_and_all_else_is_told():
    found = examined(Odd, target_entropy=5.0)
    assert advised(found) == ["failure"]
    assert "--target-entropy" in found["failure"].says
    assert "repeatability" in found


def test_memory_that_is_not_there_cannot_work_and_a_size_that_fits_is_named():
    found = examined(Odd, buffer_size=10**13)
    assert advised(found) == ["run: memory"]
    assert found["run: memory"].verdict == "cannot"
    rows = int(found["run: memory"].flags[1])
    assert advised(examined(Odd, buffer_size=rows // 2)) == []


def test_a_function_that_returns_one_environment_twice_cannot_work():
    env = Odd()
    assert "same environment twice" in examined(lambda: env)["failure"].says


@pytest.mark.skipif(available_threads() == 1, reason="there is one processor only")
def test_slow_environments_are_worth_workers():
    found, count = examined(Slow, 30, utd=0.01), str(available_threads())
    assert found["side by side"].flags == ("--envs", count, "--workers", count)
    assert "side by side" not in examined(Slow, 30, utd=0.01, workers=1)


def test_nothing_is_compiled_for_the_doctor(monkeypatch, tmp_path):
    monkeypatch.setenv("RUCKSAC_CACHE", str(tmp_path))
    found = examined(Odd, compile="auto")
    assert found["gradient step"].values["compiled"] is False
    assert "measured uncompiled" in found["gradient step"].says
    assert not list(tmp_path.iterdir())


def test_long_episodes_are_set_against_the_discount():
    found = examined(Endless, time_limit=5_000)
    assert found["time scale"].flags == ("--frame-skip", "5")
    assert advised(examined(Endless, time_limit=5_000, gamma=0.999)) == []


def test_a_vector_of_environments_is_examined_as_far_as_it_goes():
    def three():
        return SyncVectorEnv([Odd] * 3, autoreset_mode=AutoresetMode.NEXT_STEP)

    found = examined(three, 90)
    assert advised(found) == []
    assert found["episodes"].values["truncated"] == 3
    assert "repeatability" not in found


def test_warnings_are_told():
    found = examined(Complaining)
    assert advised(found) == []
    assert found["warnings"].values["texts"] == ["the motor is warm"]


def test_the_machine():
    found = {finding.what: finding for finding in examine_machine()}
    assert set(found) == {
        "versions", "compiler", "processors", "memory", "graphics card", "display", "drawing MuJoCo", "ffmpeg",
        "compiled steps",
    }  # fmt: skip
    assert found["versions"].values["rucksac"]
    assert all(finding.verdict != "cannot" for finding in found.values())


def test_a_missing_compiler_and_folder_are_advice(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    monkeypatch.setenv("RUCKSAC_CACHE", str(tmp_path / "cache"))
    found = {finding.what: finding for finding in examine_machine()}
    assert found["compiler"].verdict == "advice"
    assert found["compiled steps"].values == {"folder": str(tmp_path / "cache"), "bytes": 0}


def test_json_from_the_command_line_reads_back(capsys):
    code = main(["doctor", "Pendulum-v1", *SMALL_FLAGS, "--play-steps", "250", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"verdict", "machine", "environment"}
    assert {finding["verdict"] for finding in told["environment"]} == {"fine"}
    assert told["verdict"] in (finding["verdict"] for finding in told["machine"])
    assert code == EXIT_CODES[told["verdict"]] < 2


def test_text_from_the_command_line(capsys, tmp_path, monkeypatch):
    (tmp_path / "endless_world.py").write_text("from tests.doctor.test_doctor import Endless\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["doctor", "endless_world:Endless", *SMALL_FLAGS, "--episodes", "1", "--play-steps", "50"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "This machine"
    assert any(line.startswith(" ! episodes") for line in lines)
    assert max(map(len, lines[:-1])) <= 120
    assert lines[-1].startswith("Next:  rucksac train endless_world:Endless --")  # the flags given, then those advised
    assert lines[-1].endswith(" --time-limit 1000")
    assert "--compile never" in lines[-1]


def test_unknown_names_and_counts_are_refused(capsys):
    assert main(["doctor", "Pendulm-v1"]) == 2
    out = capsys.readouterr().out
    assert "did you mean Pendulum-v1" in " ".join(out.split())
    assert out.splitlines()[-1].startswith("It cannot work like this")
    assert main(["doctor", "Pendulum-v1", "--episodes", "0"]) == 2
    assert "--episodes is 0, but must be at least 1" in capsys.readouterr().err


def test_the_gravest_finding_decides():
    fine, advice, cannot = (Finding("a", "b", verdict=verdict) for verdict in ("fine", "advice", "cannot"))
    assert (worst([]), worst([fine, advice]), worst([cannot, advice])) == ("fine", "advice", "cannot")
    assert closing(None, [], [fine]) == "All is well."
    assert to_json([Finding("a", "b", {"c": (np.inf, 1.0)})])[0]["values"] == {"c": [None, 1.0]}
