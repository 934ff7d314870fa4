"""Collectors and runs on Ray: real clusters of several nodes on this machine, whose parts really die."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter as Tally
from pathlib import Path

import pytest

import rucksac
from rucksac.errors import UsageError
from rucksac.training.cluster import connected
from rucksac.training.folder import RunFolder
from rucksac.training.info import info
from rucksac.training.plan import Plan, plan_of
from rucksac.training.train import resume_run, train_run
from tests.runs import COMMAND, config, logs, run_command
from tests.training.test_collectors import FEATURES, rows_of, tensors, without_lag
from tests.training.test_sweep import SETTINGS, waiting_for
from tests.worlds import Counter, Faulty

SMALL = "--steps 40 --warmup 20 --batch-size 16 --hidden 8 --threads 1 --compile never --eval-episodes 1".split()


class Watched(Counter):
    """A counter that notes which process began which step."""

    def __init__(self, log):
        self.log = log

    def step(self, action):
        with open(self.log, "a") as file:
            file.write(f"{os.getpid()}\n")
        return super().step(action)


def acting(log):
    """Return how many steps each process has begun."""
    return Tally(map(int, log.read_text().split())) if log.exists() else Tally()


@pytest.fixture(scope="module")
def cluster():
    """A cluster of three nodes; the first has no processor to give away, so whatever runs is on one of the others.

    Its nodes ignore interrupts, as those do that a script starts in its background.
    """
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=2)
    signal.signal(signal.SIGINT, before)
    yield cluster
    cluster.shutdown()


def plan(cluster, env="tests.worlds:Random", callbacks=(), **settings):
    given = config(**{"steps": 120, "eval_episodes": 1, "checkpoint_every": 30, "collectors": 1, **settings})
    return Plan(env, given, "sac", callbacks=callbacks, ray=cluster and cluster.address)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--ray"], "--ray says where collectors act, but there are none; give --collectors 2 or more too"),
        (["--ray", "--collectors", "2"], '--ray needs the package ray; pip install "rucksac[ray]"'),
        (["--ray", "host", "--collectors", "2"], "--ray is 'host', but must be local or HOST:PORT, as ray start"),
        (["--ray", "ray://a:1", "--collectors", "2"], "--ray is 'ray://a:1', but must be local or HOST:PORT"),
        (["--ray", "a:1", "b:2"], "--ray is 'a:1 b:2', but must be one HOST:PORT at most"),
        (["--ray", "--collectors", "2", "--control-rate", "9"], "--control-rate 9 has a clock, and calls over"),
        (["--ray", "--seeds", "1-2"], "--ray is for the collectors of one run, not for several seeds; leave it out"),
    ],
)
def test_where_it_cannot_be_and_where_ray_is_not_installed_is_one_sentence(tmp_path, monkeypatch, words, says):
    monkeypatch.setitem(sys.modules, "ray", None)  # what Python makes of a package that must not be imported
    done = run_command("train", "Pendulum-v1", "--run", tmp_path / "run", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"rucksac: {says}")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["sweep", "--set", "lr", "1e-3", "1e-4"], ["tune"]], ids=["sweep", "tune"])
def test_runs_on_a_cluster_need_ray_too(tmp_path, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "ray", None)
    command, *more = words
    done = run_command(command, "Pendulum-v1", *more, "--ray", "--run", tmp_path / "runs")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == 'rucksac: --ray needs the package ray; pip install "rucksac[ray]"\n'
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_without_ray_collectors_act_as_ever(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run_command("train", "Pendulum-v1", "--collectors", 1, *SMALL, "--run", tmp_path / "run", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    assert info(tmp_path / "run")["finished"]


@pytest.mark.long
@pytest.mark.parametrize("words", [["--ray", "127.0.0.1:9"], ["--ray", "no.such.host.invalid:6379"]])
def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path, words):
    done = run_command("train", "Pendulum-v1", "--collectors", 1, *words, "--run", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.startswith(f"rucksac: there is no Ray cluster to use at {words[1]} (")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.long
def test_a_cluster_with_too_few_processors_is_one_sentence(tmp_path, cluster):
    with pytest.raises(
        UsageError, match="the Ray cluster has room for 4 collectors of 1 processor each, not for 5; give"
    ):
        train_run(plan(cluster, collectors=5), tmp_path / "run", None)
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_one_collector_without_lag_is_the_plain_loop_to_the_bit(tmp_path, trained, cluster):
    settings = {**FEATURES, "hidden": (16, 16)}
    train_run(plan(cluster, **settings, most_lag=0), tmp_path / "ray", None)
    train_run(plan(None, **settings, collectors=0), tmp_path / "plain", None)
    ray, plain = trained
    assert ray.agent.grad_steps == plain.agent.grad_steps > 20
    assert tensors(ray) == tensors(plain)
    assert rows_of(ray.replay) == rows_of(plain.replay)
    assert without_lag(logs(tmp_path / "ray")) == logs(tmp_path / "plain")


@pytest.mark.long
def test_without_lag_a_run_goes_from_ray_to_this_machine_and_is_the_uninterrupted_one(tmp_path, trained, cluster):
    settings = {"collectors": 2, "most_lag": 0, "utd": 0.5, "normalise_observations": True}
    train_run(plan(cluster, **settings), tmp_path / "whole", None)
    train_run(plan(cluster, **settings, steps=60), tmp_path / "halves", None)
    resume_run(plan_of(tmp_path / "halves", steps=120), tmp_path / "halves", None)
    whole, _, resumed = trained
    assert resumed.agent.grad_steps == whole.agent.grad_steps == 0.5 * (120 - 18)
    assert tensors(resumed) == tensors(whole)
    assert logs(tmp_path / "halves") == logs(tmp_path / "whole")


def kill(pid, _):
    os.kill(pid, signal.SIGKILL)


def stop(pid, _):
    os.kill(pid, signal.SIGSTOP)


def parent(pid):
    return int(Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0])


def end_node(pid, cluster):
    """Kill the node of a process that Ray has started there, and with it all that is there."""
    raylet = parent(pid)
    (node,) = (
        each
        for each in cluster.worker_nodes
        if raylet in (process.process.pid for process in each.all_processes["raylet"])
    )
    cluster.remove_node(node, allow_graceful=False)


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "most_lag", "says"),
    [
        (kill, 0, "its process died"),
        (kill, 8, "its process died"),
        (stop, 8, "it gave no answer for 5 seconds"),
        (end_node, 8, "its process died|its node is gone|it gave no answer for 5 seconds"),
    ],
    ids=["killed-in-turns", "killed", "hanging", "node-killed"],
)
def test_a_collector_that_is_lost_is_started_anew_and_nothing_counts_twice(
    tmp_path, trained, cluster, fault, most_lag, says
):
    log, gone = tmp_path / "log", []

    def lose_one(event):
        if event.kind == "metrics" and not gone and event.env_steps >= 50:
            gone.append(max(acting(log)))
            fault(gone[0], cluster)

    settings = {"collectors": 2, "most_lag": most_lag, "env_timeout": 5.0, "env_args": {"log": str(log)}}
    given = plan(cluster, "tests.training.test_ray:Watched", (lose_one,), **settings)
    train_run(given, tmp_path / "run", None)
    (training,) = trained
    progress, warnings = training.progress, (tmp_path / "run/warnings.txt").read_text()
    lost = sum(int(words.split(".")[0]) for words in warnings.split("steps lost on the way: ")[1:])
    found = logs(tmp_path / "run")
    taken = sum(acting(log).values()) - sum(int(row["length"]) for row in found["evaluations"])
    assert gone
    assert re.search(says, warnings)
    assert "Made anew, failure 1 of 3" in warnings
    if fault is not end_node:
        assert "failure 2" not in warnings
        waiting_for(lambda: not Path(f"/proc/{gone[0]}").exists())
    assert progress.env_steps == len(training.replay) >= 120
    assert training.agent.grad_steps + progress.owed == pytest.approx(progress.env_steps - 20, abs=8)
    assert progress.env_steps <= taken <= progress.env_steps + lost + 4  # at the end two may be under way for each
    assert max(float(row["lag_max"]) for row in found["metrics"][3:]) <= most_lag
    reached = Tally(  # an environment made anew counts its episodes from the beginning
        obs.item() for obs, kind in zip(*(training.replay.data[name] for name in ("obs", "kind")), strict=True) if kind
    )
    assert max(reached.values()) <= 4
    if fault is end_node:
        cluster.add_node(num_cpus=2)


@pytest.mark.long
def test_an_environment_that_gives_nan_ends_the_run_as_it_does_without_collectors(tmp_path, cluster):
    with pytest.raises(UsageError, match="observation is not finite.* at environment step"):
        train_run(plan(cluster, lambda: Faulty("nan")), tmp_path / "run", None)


def endless(cluster, tmp_path):
    """Return a command that trains for a long time, and the log of what its collectors do."""
    log = tmp_path / "log"
    words = ["--collectors", "2", "--ray", cluster.address, "--env.log", str(log), "--run", str(tmp_path / "run")]
    given = [*SMALL, "--checkpoint-every", "30", "--quiet", "--steps", "100000", *words]
    return [*COMMAND, "train", "tests.training.test_ray:Watched", *given], log


@pytest.mark.long
def test_actors_end_with_a_learner_that_is_killed_and_the_run_goes_on(tmp_path, cluster):
    command, log = endless(cluster, tmp_path)
    with subprocess.Popen(command) as process:
        waiting_for(lambda: (tmp_path / "run/checkpoints").exists() and len(acting(log)) >= 2)
        process.kill()
    waiting_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in acting(log)))
    begun = acting(log)
    resumed = [*COMMAND, "resume", str(tmp_path / "run"), "--steps", "200", "--ray", cluster.address, "--quiet"]
    done = subprocess.run(resumed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = info(tmp_path / "run")
    assert told["finished"]
    assert told["whole"]
    assert len(acting(log)) > len(begun)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_actors_and_their_environments_with_the_run(tmp_path, cluster, number):
    command, log = endless(cluster, tmp_path)
    with subprocess.Popen(command, start_new_session=True) as process:
        waiting_for(lambda: (tmp_path / "run/checkpoints").exists() and len(acting(log)) >= 2)
        os.killpg(process.pid, number)
    assert process.returncode == 128 + number
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["finished"], summary["saved"]) == (False, True)
    waiting_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in acting(log)))


GRID = ["--set", "lr", "1e-3", "1e-4", "--seeds", "1"]


def sweep(cluster, folder, *words):
    return [*COMMAND, "sweep", "Pendulum-v1", *SETTINGS, *GRID, "--ray", cluster.address, "--run", str(folder), *words]


def told(command):
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def alone(run, tmp_path):
    """Return the logs of the same run, trained without interruption in this process."""
    settings = json.loads((run / "config.json").read_text())["settings"]
    rucksac.train("Pendulum-v1", run=tmp_path / "alone", **settings)
    return logs(tmp_path / "alone")


@pytest.mark.long
def test_a_sweep_whose_driver_is_killed_goes_on_where_each_run_was(tmp_path, cluster):
    command = sweep(cluster, tmp_path / "sweep", "--steps", "600", "--jobs", "1")
    done, half = (tmp_path / f"sweep/lr={lr}/seed1" for lr in ("0.001", "0.0001"))
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as driver:
        waiting_for(lambda: (half / "checkpoints").exists() and (half / "evaluations.csv").exists())
        driver.kill()
    waiting_for(lambda: RunFolder(half).occupant() is None)
    assert not info(half)["finished"]
    whole = (done / "summary.json").stat().st_mtime_ns
    assert set(told(command)["runs"].values()) == {"done"}
    assert (done / "summary.json").stat().st_mtime_ns == whole
    assert logs(half) == alone(half, tmp_path)


@pytest.mark.long
def test_runs_of_a_sweep_go_on_elsewhere_when_their_node_is_killed(tmp_path, cluster):
    command = sweep(cluster, tmp_path / "sweep", "--steps", "1000")
    run = tmp_path / "sweep/lr=0.001/seed1"
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, text=True) as driver:
        waiting_for(lambda: (run / "checkpoints").exists())
        end_node(parent(RunFolder(run).occupant()), cluster)
        assert set(json.loads(driver.communicate()[0])["runs"].values()) == {"done"}
    cluster.add_node(num_cpus=2)
    assert driver.returncode == 0
    assert logs(run) == alone(run, tmp_path)


@pytest.mark.long
def test_a_sweep_that_is_asked_to_stop_saves_on_every_node(tmp_path, cluster):
    runs = [tmp_path / f"sweep/lr={lr}/seed1" for lr in ("0.001", "0.0001")]
    command = sweep(cluster, tmp_path / "sweep", "--steps", "30000")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as driver:
        waiting_for(lambda: all((run / "checkpoints").exists() for run in runs))
        os.killpg(driver.pid, signal.SIGINT)
        assert driver.communicate()[0].splitlines()[-1] == "The same command goes on."
    assert driver.returncode == 130
    for run in runs:
        assert json.loads((run / "summary.json").read_text())["finished"] is False


@pytest.mark.long
def test_a_search_on_a_cluster_comes_to_its_end(tmp_path, cluster):
    space = tmp_path / "space.toml"
    space.write_text("lr = { choose = [1e-3, 3e-4] }\n")
    words = ["--trials", "2", "--seeds", "1", "--fresh-seeds", "2", "--space", str(space), "--ray", cluster.address]
    found = told([*COMMAND, "tune", "Pendulum-v1", *SETTINGS, *words, "--run", str(tmp_path / "search")])
    assert found["finished"]
    assert found["trials"]["complete"] == 2
    assert found["again"]["seeds"] == {"seed2": "done"}


@pytest.mark.long
def test_a_run_whose_folder_a_node_does_not_see_says_so(tmp_path, cluster):
    import ray

    from rucksac.training.ray_jobs import RayCluster

    with connected(cluster.address, "run", 1):
        job = RayCluster().start(tmp_path / "nowhere", 1)
        job.wait()
        ending = job.ended()
    assert not ray.is_initialized()
    assert ending.code == 2
    assert ending.complaint.startswith(f"rucksac: {tmp_path}/nowhere is not there on ")
