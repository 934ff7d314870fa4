"""Small runs, and what is read of them."""

import csv
import sys

from rucksac.config import Config

SMALL = {
    "warmup": 20, "batch_size": 16, "hidden": (16,), "compile": "never", "threads": 1, "log_every": 10,
    "eval_every": 60, "eval_episodes": 2, "checkpoint_every": 50, "buffer_size": 1_000,
}  # fmt: skip
COMMAND = [sys.executable, "-m", "rucksac"]
SMALL_FLAGS = (
    "--steps 300 --warmup 50 --batch-size 32 --hidden 16 --threads 1 --eval-episodes 2 --compile never".split()
)


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
