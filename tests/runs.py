"""Small runs, and what is read of them."""

import contextlib
import csv
import io
import sys
import warnings
from typing import NamedTuple

from rucksac.cli import main
from rucksac.config import Config

SMALL = {
    "warmup": 20, "batch_size": 16, "hidden": (16,), "compile": "never", "threads": 1, "log_every": 10,
    "eval_every": 60, "eval_episodes": 2, "checkpoint_every": 50, "buffer_size": 1_000,
}  # fmt: skip
COMPILED = {
    "compile": "auto",
    "hidden": (64, 64),
    "batch_size": 256,
    "temperature_loss": "log",
    "warmup": 260,
}  # on Pendulum-v1 the step that README's example compiles too
COMMAND = [sys.executable, "-m", "rucksac"]
SMALL_FLAGS = (
    "--steps 300 --warmup 50 --batch-size 32 --hidden 16 --threads 1 --eval-episodes 2 --compile never".split()
)


class Done(NamedTuple):
    """What a command left to whoever gave it; the names are those of a completed process."""

    returncode: int
    stdout: str
    stderr: str


def run_command(*words, cwd="."):
    """Give a command in this process, which has everything loaded already."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2)]
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        code = main([*map(str, words)])
    return Done(code, *(stream.buffer.getvalue().decode() for stream in streams))


def config(**settings):
    return Config(**{**SMALL, "steps": 100, **settings})


def rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def logs(run):
    """Return all rows of all logs but for the wall clock."""
    names = ("metrics", "episodes", "evaluations")
    return {
        name: [{key: value for key, value in row.items() if key != "wall_seconds"} for row in rows(run, name)]
        for name in names
    }
