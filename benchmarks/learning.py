"""How well it learns: one protocol for every task, every setting and every library.

    python benchmarks/learning.py --suite mujoco --seeds 1-10 --steps 100000
    python benchmarks/learning.py --tasks halfcheetah --seeds 1-5 --steps 100000 --peer sb3 --set learning_starts=10000

The policy's mean action is evaluated in an environment of its own, from the starts reset(seed=0), reset(seed=1) and so
on, at equal intervals from the first steps to the last. Every episode is a row in results/learning/TASK.csv.gz,
together with settings and versions. A run that was stopped goes on where it was when the same command is given again,
one that is on record is not repeated; a peer's run starts over. Runs go side by side on one thread each, because
returns do not depend on what else the machine does. `benchmarks/page.py` makes tables and pictures of the rows.
Settings are chosen by seeds from 101, which the page shows apart.
"""

import argparse
import csv
import gzip
import importlib.metadata
import io
import json
import os
import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from throughput import peers_python

HERE = Path(__file__).parent
RESULTS, RUNS = HERE / "results/learning", HERE / ".runs"
PATHS = (str(HERE), os.environ.get("PYTHONPATH"))
COLUMNS = (
    "library",
    "recipe",
    "settings",
    "seed",
    "steps",
    "env_steps",
    "episode",
    "start",
    "return",
    "length",
    "versions",
)
IDENTITY = ("library", "recipe", "settings", "seed", "steps")  # a longer run may have a longer warm-up
VERSIONS = ("torch", "gymnasium", "mujoco", "numpy")
SMALL = "hidden=128,128 batch_size=128"


class Task(NamedTuple):
    """What is trained, for how long, how often it is evaluated, and settings that the task wants of rucksac.

    Other libraries train `peer_env`; where there is none, they train `env`, unless that wants settings.
    """

    env: str
    steps: int = 100_000
    every: int = 5_000
    episodes: int = 10
    settings: str = ""
    peer_env: str = ""


TASKS = {
    "pendulum": Task("Pendulum-v1", 20_000, 2_000, 100),
    "pendulum-pixels": Task(
        "seen_pendulum:make", 10_000, 1_000, settings="frame_stack=3", peer_env="seen_pendulum:stacked"
    ),
    "cartpole": Task("CartPole-v1", 30_000, 2_000),
    "lunarlander": Task("LunarLander-v3", 150_000, settings=f"env.continuous=true {SMALL}"),
    "lunarlander-discrete": Task("LunarLander-v3", 150_000, settings=SMALL),
    "reacher": Task("Reacher-v5", 30_000),
    "pendulum-double": Task("InvertedDoublePendulum-v5", 30_000),
    "halfcheetah": Task("HalfCheetah-v5"),
    "hopper": Task("Hopper-v5"),
    "walker2d": Task("Walker2d-v5"),
    "ant": Task("Ant-v5"),
    "humanoid": Task("Humanoid-v5"),
}
SUITES = {
    "pendulum": ("pendulum",),
    "classic": ("pendulum", "cartpole"),
    "pixels": ("pendulum-pixels",),
    "box2d": ("lunarlander", "lunarlander-discrete"),
    "mujoco-small": ("reacher", "pendulum-double"),
    "mujoco": ("halfcheetah", "hopper", "walker2d", "ant", "humanoid"),
}


class Job(NamedTuple):
    """One run."""

    task: str
    library: str
    recipe: str
    settings: str  # NAME=VALUE, separated by spaces
    seed: int
    steps: int

    @property
    def folder(self) -> Path:
        """Return where the run lies until it is on record."""
        return RUNS / "-".join([*map(str, self[:3]), *self.settings.split(), str(self.seed), str(self.steps)]).replace(
            "/", "_"
        )

    def train(self) -> list[dict]:
        """Return a row for every evaluation episode."""
        task = TASKS[self.task]
        self.folder.parent.mkdir(exist_ok=True)
        if self.library == "rucksac":
            self._rucksac(task)
        else:
            self._peer(task)
        with (self.folder / "evaluations.csv").open(newline="") as stream:
            return [
                {
                    **{name: getattr(self, name) for name in IDENTITY},
                    **{name: row[name] for name in ("env_steps", "episode", "return", "length")},
                    "start": row["seed"],
                    "versions": versions(self.library),
                }
                for row in csv.DictReader(stream)
            ]

    def _rucksac(self, task: Task) -> None:
        command = [sys.executable, "-m", "rucksac"]
        if (self.folder / "checkpoints").exists():
            command += ["resume", str(self.folder), "--steps", str(self.steps)]
        else:
            subprocess.run(["rm", "-rf", self.folder], check=True)
            words = f"--recipe {self.recipe} --seed {self.seed} --steps {self.steps} --threads 1 --quiet"
            words += f" --eval-every {task.every} --eval-episodes {task.episodes}"
            for setting in f"{task.settings} {self.settings}".split():
                name, value = setting.split("=", 1)
                name = name.replace("_", "-")
                if value in ("true", "false") and not name.startswith("env."):
                    words += f" --{name}" if value == "true" else f" --no-{name}"
                else:
                    words += f" --{name} {value.replace(',', ' ')}"
            command += ["train", task.env, "--run", str(self.folder), *words.split()]
        run(command)

    def _peer(self, task: Task) -> None:
        order = {"library": self.library, "env": task.peer_env or task.env, "seed": self.seed, "steps": self.steps}
        order |= {"every": task.every, "episodes": task.episodes, "folder": str(self.folder)}
        order["settings"] = dict(setting.split("=", 1) for setting in self.settings.split())
        run([peers_python(), str(HERE / "learning_peer.py"), json.dumps(order)])


def run(command: list) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, PATHS))},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")


def versions(library: str) -> str:
    """Return what a run was made with."""
    if library != "rucksac":
        listed = subprocess.run(
            [peers_python(), "-m", "pip", "freeze"], capture_output=True, text=True, check=True
        ).stdout
        wanted = ("stable", "sbx", "jax==", *(f"{name}==" for name in VERSIONS))
        found = [line.replace("==", " ") for line in listed.splitlines() if line.lower().startswith(wanted)]
    else:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
        )
        found = [
            f"rucksac {commit.stdout.strip()}",
            *(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS),
        ]
    return ", ".join([*found, f"python {platform.python_version()}"])


class Record:
    """The rows of one task: compressed, in the order of their runs, replaced as a whole."""

    lock = threading.Lock()

    def __init__(self, task: str) -> None:
        self.file = RESULTS / f"{task}.csv.gz"

    def rows(self) -> list[dict]:
        """Return all rows."""
        if not self.file.exists():
            return []
        with gzip.open(self.file, "rt", newline="") as stream:
            return list(csv.DictReader(stream))

    def has(self, job: Job) -> bool:
        """Return whether the run is on record."""
        return any(same(row, job) for row in self.rows())

    def put(self, rows: list[dict]) -> None:
        """Add a run."""
        with self.lock:
            RESULTS.mkdir(parents=True, exist_ok=True)
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows([*self.rows(), *rows])
            new = self.file.with_suffix(".new")
            new.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))
            new.replace(self.file)


def same(row: dict, job: Job) -> bool:
    """Return whether a row is of this run."""
    return all(row[name] == str(getattr(job, name)) for name in IDENTITY)


def do(job: Job) -> None:
    """Train one run unless it is on record, and put it there."""
    record = Record(job.task)
    if record.has(job):
        return
    rows = job.train()
    record.put(rows)
    last = [
        float(row["return"]) for row in rows if int(row["env_steps"]) == max(int(each["env_steps"]) for each in rows)
    ]
    print(
        f"{job.task} {job.library} {job.recipe} {job.settings} seed {job.seed}: {sum(last) / len(last):.1f}", flush=True
    )
    subprocess.run(["rm", "-rf", job.folder], check=True)


def numbers(text: str) -> list[int]:
    """Return the seeds that "1-3,7" names."""
    parts = [part.split("-") for part in text.split(",")]
    return [seed for part in parts for seed in range(int(part[0]), int(part[-1]) + 1)]


def main() -> None:
    """Train what is asked for and is not on record yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--suite", choices=SUITES)
    which.add_argument("--tasks", nargs="+", choices=TASKS)
    parser.add_argument("--seeds", type=numbers, default=numbers("1-10"))
    parser.add_argument("--steps", type=int, help="instead of the task's own number")
    parser.add_argument("--peer", choices=("sb3", "sbx"), help="another library in place of rucksac")
    parser.add_argument("--recipe", default="rucksac")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of the library")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    tasks = options.tasks or SUITES[options.suite]
    if options.peer and (own := [task for task in tasks if TASKS[task].settings and not TASKS[task].peer_env]):
        parser.error(f"{', '.join(own)}: trained with settings of rucksac's, which {options.peer} does not know")
    library, recipe = options.peer or "rucksac", "sac" if options.peer else options.recipe
    jobs = [
        Job(task, library, recipe, " ".join(options.set), seed, options.steps or TASKS[task].steps)
        for seed in options.seeds
        for task in tasks
    ]
    with ThreadPoolExecutor(options.processes) as pool:
        for _ in pool.map(do, jobs):
            pass


if __name__ == "__main__":
    main()
