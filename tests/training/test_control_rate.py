"""Acting by the clock: nothing holds it up, it ends with the learner, and nothing is repeated on a robot."""

import json
import signal
import subprocess
import time

import pytest

from rucksac.config import Config
from rucksac.diagnosing.evidence import gather
from rucksac.errors import UsageError
from rucksac.training import pace
from rucksac.training.console import Console
from rucksac.training.info import info
from rucksac.training.plan import Plan, plan_of
from rucksac.training.train import resume_run, train_run
from tests.runs import COMMAND, config, rows, run_command

SETTINGS = {
    "collectors": 1,
    "steps": 120,
    "eval_episodes": 1,
    "checkpoint_every": 30,
    "eval_env": "tests.worlds:Forever",
}


class Robot:
    """Makes robots in collectors and in nothing else, as evaluations have their own; `said` is what they were told."""

    def __init__(self, log):
        self.log = log

    def __call__(self):
        from tests.worlds import Robot as World

        return World(str(self.log))

    def said(self):
        return self.log.read_text().split() if self.log.exists() else []


def until(condition):
    for _ in range(1_200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come")


class FakeTime:
    """A clock that goes on while somebody sleeps, and by `work`."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def test_a_clock_leaves_out_the_ticks_that_were_missed_and_says_how_late_it_is(monkeypatch):
    fake = FakeTime()
    monkeypatch.setattr(pace, "time", fake)
    clock = pace.Clock(0.5)
    found = []
    for work in (0.1, 0.4, 0.6, 2.2, 0.1):
        late = clock.tick()
        found.append((round(fake.now - 100.0, 6), round(late, 6)))
        fake.now += work
    assert found == [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.6, 0.2), (3.8, 3.6)]
    assert clock.tick() == pytest.approx(0.0)
    assert fake.now == pytest.approx(104.0)


@pytest.mark.parametrize(
    ("late", "name"), [(0.0, "late_to_1_percent"), (0.02, "late_to_3_percent"), (1.0, "late_to_100_percent"),
                       (7.0, "late_by_more")]
)  # fmt: skip
def test_every_step_is_in_one_bin(late, name):
    assert {each for each, value in pace.in_bins(late).items() if value} == {name}


def test_a_robot_acts_while_the_learner_is_busy_is_closed_at_the_end_and_starts_anew_when_resumed(tmp_path, trained):
    robot, waited = Robot(tmp_path / "log"), []

    def be_busy(event):
        if event.kind == "metrics" and not waited:
            waited.append(robot.said().count("step"))
            until(lambda: robot.said().count("step") >= waited[0] + 20)

    given = config(**SETTINGS, control_rate=50.0, most_lag=4, warmup=0)
    train_run(Plan(robot, given, "sac", callbacks=(be_busy,)), tmp_path / "run", None)
    (training,) = trained
    assert training.progress.env_steps == len(training.replay) == 120
    assert 100 <= training.agent.grad_steps + training.progress.owed <= 120
    assert robot.said()[-1] == "closed"
    assert robot.said().count("closed") == 1
    metrics = rows(tmp_path / "run", "metrics")
    measured = [row for row in metrics if row["lag"] != "nan"]
    assert measured
    assert all(0 <= float(row["lag"]) <= float(row["lag_max"]) <= 4 for row in measured)
    assert all(sum(float(row[name]) for name in pace.BINS) == pytest.approx(1.0) for row in metrics)
    assert {row["return"] for row in rows(tmp_path / "run", "evaluations")} == {"5.0"}  # of another environment
    told = info(tmp_path / "run")["acting"]
    assert sum(told["late"].values()) == pytest.approx(1.0)
    assert told["lag_max"] == max(float(row["lag_max"]) for row in measured)

    before, notes, console = len(robot.said()), [], Console(160)
    console.note = notes.append
    resume_run(plan_of(tmp_path / "run", env=robot, steps=160), tmp_path / "run", console)
    assert robot.said()[before : before + 2] == ["reset", "step"]
    assert any("goes on with a new episode" in note for note in notes)
    assert trained[1].progress.env_steps == 160
    assert rows(tmp_path / "run", "evaluations")[-1]["env_steps"] == "160"


def test_a_robot_whose_learner_is_killed_is_closed_after_one_more_step_at_most(tmp_path):
    flags = (
        "tests.worlds:Robot --collectors 1 --control-rate 4 --steps 100000 --hidden 16 --threads 1 --compile never "
        f"--quiet --eval-env tests.worlds:Robot --env.log={tmp_path}/log"
    ).split()
    robot = Robot(tmp_path / "log")
    with subprocess.Popen([*COMMAND, "train", *flags, "--run", tmp_path / "run"]) as process:
        until(lambda: robot.said().count("step") >= 2)
        seen = robot.said().count("step")
        process.send_signal(signal.SIGKILL)
    until(lambda: "closed" in robot.said())
    assert robot.said().count("step") <= seen + 2  # one that was under way when the others were counted
    assert robot.said()[robot.said().index("closed") :].count("step") == 0


def test_a_robot_whose_learner_takes_nothing_over_is_closed_and_the_run_says_so(tmp_path, trained):
    robot = Robot(tmp_path / "log")

    def hang(event):
        if event.kind == "metrics" and "closed" not in robot.said():
            until(lambda: "closed" in robot.said())

    given = config(**SETTINGS, control_rate=100.0, env_timeout=1.0)
    train_run(Plan(robot, given, "sac", callbacks=(hang,)), tmp_path / "run", None)
    warnings = (tmp_path / "run/warnings.txt").read_text()
    assert "nothing of what it saw was taken over for about 1 seconds, so it was closed" in warnings
    assert trained[0].progress.env_steps == len(trained[0].replay) == 120
    assert json.loads((tmp_path / "run/summary.json").read_text())["finished"]


def test_acting_by_the_clock_and_waiting_for_learning_exclude_each_other():
    with pytest.raises(UsageError, match="^with --most-lag 0 acting waits for learning, with --control-rate 50 for"):
        Config(collectors=1, most_lag=0, control_rate=50)


@pytest.mark.parametrize("settings", [{}, {"envs": 2, "workers": 1}])
def test_evaluations_may_have_an_environment_of_another_kind(tmp_path, settings):
    given = config(eval_env="tests.worlds:Once", eval_every=50, **settings)
    train_run(Plan("tests.worlds:Forever", given, "sac"), tmp_path / "run", None)
    assert {(row["return"], row["length"]) for row in rows(tmp_path / "run", "evaluations")} == {("1.0", "1")}
    assert {row["length"] for row in rows(tmp_path / "run", "episodes")} == {"5"}
    told = json.loads(run_command("evaluate", tmp_path / "run", "--episodes", 2, "--json").stdout)
    assert told["lengths"] == [1, 1]  # later commands keep to it: the other may be a robot
    assert {each.total_return for each in gather(tmp_path / "run").played} == {1.0}


def test_an_environment_to_evaluate_in_must_look_like_the_other(tmp_path):
    with pytest.raises(UsageError, match="observation"):
        train_run(Plan("tests.worlds:Forever", config(eval_env="tests.worlds:Random"), "sac"), tmp_path / "run", None)
