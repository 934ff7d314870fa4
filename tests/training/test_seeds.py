import csv
import json
import os
import signal
import subprocess
import time

import pytest
import torch

import rucksac
from rucksac.errors import UsageError
from rucksac.training.folder import RunFolder
from rucksac.training.logs import last_rows
from rucksac.training.seeds import parse_seeds
from tests.runs import COMMAND, logs

FLAGS = "Pendulum-v1 --steps 500 --warmup 40 --batch-size 32 --hidden 32 --compile never".split()
FLAGS += "--eval-episodes 1 --log-every 50 --checkpoint-every 100".split()


def test_seeds_are_numbers_and_ranges():
    assert parse_seeds("1-3") == [1, 2, 3]
    assert parse_seeds("7, 1,3-4,3") == [7, 1, 3, 4]
    for wrong in ("", "a", "3-1", "-1", "1-", "1-999999999"):
        with pytest.raises(UsageError, match="such as 1-10 or 1,3,5-7"):
            parse_seeds(wrong)


@pytest.mark.long
def test_seeds_side_by_side_are_the_runs_they_would_be_alone_also_when_stopped_in_between(tmp_path):
    group, alone = tmp_path / "group", tmp_path / "alone"
    with subprocess.Popen([*COMMAND, "train", *FLAGS, "--seeds", "1-3", "--run", group], stderr=subprocess.PIPE) as run:
        deadline = time.monotonic() + 120
        while not any(len(last_rows(group / f"seed{seed}/metrics.csv", 9)) > 2 for seed in (1, 2, 3)):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.send_signal(signal.SIGTERM)
        assert run.wait() == 143, run.stderr.read()
    assert json.loads((group / "seed1/summary.json").read_text())["finished"] is False
    assert not (group / "seed3/checkpoints").exists()
    done = subprocess.run([*COMMAND, "resume", group, "--json"], capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["seeds"] == {"seed1": "done", "seed2": "done", "seed3": "done"}
    assert len(summary["final_returns"]) == 3
    subprocess.run([*COMMAND, "train", *FLAGS, "--seed", "2", "--threads", "1", "--run", alone, "--quiet"], check=True)
    assert logs(alone) == logs(group / "seed2")
    plotted = subprocess.run([*COMMAND, "plot", group, "-o", tmp_path / "curve.png"], capture_output=True, check=True)
    assert len(plotted.stdout.splitlines()) == 2
    refused = subprocess.run([*COMMAND, "info", group], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "holds several seeds; give one of them, such as" in refused.stderr
    first, second = (rucksac.load(run).tensors() for run in (alone, group / "seed2"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.long
def test_one_failing_seed_leaves_the_others_alone(tmp_path):
    group = tmp_path / "group"
    subprocess.run([*COMMAND, "train", *FLAGS, "--seeds", "1,2", "--run", group, "--quiet"], check=True)
    (group / "seed1/metrics.csv").write_text("")
    words = [*COMMAND, "resume", group, "--steps", "600", "--json", "--quiet"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    states = json.loads(done.stdout)["seeds"]
    assert states["seed2"] == "done"
    assert "failed: rucksac:" in states["seed1"]
    assert "metrics.csv is shorter" in states["seed1"]


def test_rows_of_a_log_that_is_being_written_are_whole(tmp_path):
    file = tmp_path / "metrics.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["step", "value"])
        writer.writerows([number, "x" * 150] for number in range(50))
        stream.write("50,hal")
    assert [int(row["step"]) for row in last_rows(file, 3)] == [47, 48, 49]
    assert len(last_rows(file, 1_000)) == 50
    file.write_text("step,value\n1,2\n")
    assert last_rows(file, 3) == [{"step": "1", "value": "2"}]
    assert last_rows(tmp_path / "none.csv", 3) == []


@pytest.mark.long
def test_seeds_whose_parent_was_killed_save_and_end_and_are_waited_for(tmp_path):
    group = tmp_path / "group"
    long = [word if word != "500" else "1000000" for word in FLAGS]
    with subprocess.Popen([*COMMAND, "train", *long, "--seeds", "1", "--run", group, "--quiet"]) as parent:
        wait_until(lambda: len(last_rows(group / "seed1/metrics.csv", 9)) > 2 and parent.poll() is None)
        child = RunFolder(group / "seed1").occupant()
        os.kill(child, signal.SIGSTOP)  # it cannot answer yet, as if saving took long
        parent.kill()
    words = [*COMMAND, "resume", group, "--steps", "1000", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as resumed:
        assert "1 run in" in resumed.stderr.readline()
        assert resumed.stderr.readline() == f"{group / 'seed1'} is in use by process {child}; waiting for it to end\n"
        os.kill(child, signal.SIGCONT)
        wait_until(lambda: RunFolder(group / "seed1").occupant() != child)
        assert json.loads((group / "seed1/summary.json").read_text())["finished"] is False
        summary = json.loads(resumed.communicate()[0])
    assert summary["seeds"] == {"seed1": "done"}


def wait_until(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
