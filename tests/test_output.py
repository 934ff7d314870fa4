"""Output that nobody takes: the work is done and saved all the same."""

import contextlib
import json
import os
import subprocess
import sys

import pytest

from tests.runs import COMMAND, SMALL_FLAGS

TRAIN = [*COMMAND, "train", "Pendulum-v1", *SMALL_FLAGS, "--run"]


@contextlib.contextmanager
def the_end_of(ours, theirs):
    os.close(ours)
    with open(theirs, "wb", buffering=0) as stream:
        yield stream


def a_pipe_without_a_reader():
    return the_end_of(*os.pipe())


def a_terminal_that_was_closed():
    return the_end_of(*os.openpty())


def a_full_disk():
    return open("/dev/full", "wb", buffering=0)


@pytest.mark.parametrize("gone", [a_pipe_without_a_reader, a_terminal_that_was_closed, a_full_disk])
def test_progress_that_cannot_be_shown_does_not_end_a_run(tmp_path, gone):
    with gone() as stream:
        done = subprocess.run([*TRAIN, tmp_path / "run"], stdout=stream, stderr=stream, check=False)
    assert done.returncode == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["finished"]


def test_closed_streams_leave_their_numbers_to_no_file_of_the_run(tmp_path):
    script = 'exec "$@" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", script, "sh", *TRAIN, tmp_path / "run"], check=False)
    assert done.returncode == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["finished"]


def test_an_answer_that_a_closed_stream_cannot_take_is_told(tmp_path):
    subprocess.run([*TRAIN, tmp_path / "run"], check=True)
    words = [*COMMAND, "info", tmp_path / "run", "--json"]
    done = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "rucksac: the answer could not be written to standard output (Bad file descriptor)\n"


def test_a_program_without_standard_error_may_train_with_messages(tmp_path):
    script = (
        "import rucksac; rucksac.train('Pendulum-v1', steps=40, warmup=32, batch_size=32, hidden=8, compile='never', "
    )
    script += "threads=1, eval_episodes=1, quiet=False, run='run')"
    done = subprocess.run(["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert json.loads((tmp_path / "run/summary.json").read_text())["finished"]


def test_a_reader_that_has_seen_enough_is_no_error():
    with a_pipe_without_a_reader() as stream:
        done = subprocess.run([*COMMAND, "recipes"], stdout=stream, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_answer_that_is_lost_is_told_after_the_run_is_saved(tmp_path):
    with a_full_disk() as stream:
        command = [*TRAIN, tmp_path / "run", "--json", "--quiet"]
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "rucksac: the answer could not be written to standard output (No space left on device)\n"
    assert json.loads((tmp_path / "run/summary.json").read_text())["finished"]


def test_names_that_the_terminal_cannot_show_are_escaped(tmp_path):
    words = [*COMMAND, "info", tmp_path / "läuft-nicht-\N{SNOWMAN}"]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert "l\\xe4uft-nicht-\\u2603 is not the folder of a run" in done.stderr
    script = "from rucksac.cli import main; import sys; main(['--version']); print('\\N{SNOWMAN}')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
