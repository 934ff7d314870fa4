"""Every recipe on the same two tasks: return over environment steps, and how long the steps take.

    python benchmarks/sources.py [--what returns speed] [--tasks pendulum halfcheetah] [--recipes sac td3 ...]

Pendulum-v1: 5 seeds of 20,000 steps, evaluated every 2,000 on the starts reset(seed=0..99); no recipe with more than
1,000 random steps, as the warm-ups of some are longer than the run. HalfCheetah-v5: 2 seeds of 60,000 steps, evaluated
every 5,000 on reset(seed=0..9); each recipe as it is. Returns do not depend on what else the machine does, so they come
from runs of one thread, `--processes` at a time. Speed is measured apart, one run at a time on all threads, in turn
A B C A B C: 1,000 steps with learning under way. Writes benchmarks/results/sources-TASK.csv, one row per recipe, seed
and evaluation, sources-TASK-speed.csv, one row per recipe and round, and sources-TASK.png, whose wall time is the
number of steps by their median speed.
"""

import argparse
import csv
import dataclasses
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rucksac.algorithm.recipes import RECIPES

RESULTS = Path(__file__).parent / "results"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


@dataclasses.dataclass(frozen=True)
class Task:
    """What every recipe is trained on."""

    env: str
    steps: int
    seeds: int
    evaluations: int
    episodes: int
    warmup: int | None = None


TASKS = {
    "pendulum": Task("Pendulum-v1", 20_000, 5, 10, 100, warmup=1_000),
    "halfcheetah": Task("HalfCheetah-v5", 60_000, 2, 12, 10),
}


def train(task: Task, recipe: str, seed: int, folder: Path) -> list[dict]:
    """Train one seed and return a row per evaluation."""
    run = folder / f"{recipe}-{seed}"
    every = max(1, task.steps // task.evaluations)
    flags = f"--recipe {recipe} --steps {task.steps} --seed {seed} --log-every {every} --threads 1 --quiet"
    flags += f" --eval-every {every} --eval-episodes {task.episodes} --checkpoint-every {task.steps}"
    if task.warmup is not None:
        flags += f" --warmup {min(task.warmup, RECIPES[recipe].config.warmup)}"
    command = [sys.executable, "-m", "rucksac", "train", task.env, "--run", str(run), *flags.split()]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    returns: dict[int, list[float]] = {}
    with (run / "evaluations.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            returns.setdefault(int(row["env_steps"]), []).append(float(row["return"]))
    print(f"{task.env} {recipe} seed {seed}: {np.mean(returns[max(returns)]):.1f}", flush=True)
    return [
        {"recipe": recipe, "seed": seed, "env_steps": steps, "return": float(np.mean(each))}
        for steps, each in returns.items()
    ]


def speed(task: Task, recipe: str, folder: Path) -> float:
    """Return the environment steps per second with learning under way; every recipe begins to learn at step 1,000."""
    run = folder / "run"
    flags = "--steps 3000 --warmup 1000 --learning-starts 1000 --log-every 1000 --eval-every 3000 --eval-episodes 1"
    command = [sys.executable, "-m", "rucksac", "train", task.env, "--recipe", recipe, "--run", str(run), "--quiet"]
    subprocess.run([*command, *flags.split()], check=True)
    with (run / "metrics.csv").open(newline="") as stream:
        wall = {int(row["env_steps"]): float(row["wall_seconds"]) for row in csv.DictReader(stream)}
    return 1_000 / (wall[3_000] - wall[2_000])


def measure(task: Task, recipes: list[str], rounds: int) -> list[dict]:
    """Return a row per recipe and round."""
    rows = []
    for number in range(-1, rounds):  # the first round compiles and does not count
        for recipe in recipes:
            with tempfile.TemporaryDirectory() as folder:
                rate = speed(task, recipe, Path(folder))
            print(f"{task.env} {recipe} round {number}: {rate:.0f} steps/s", flush=True)
            rows += [{"recipe": recipe, "round": number, "per_second": round(rate, 1)}] * (number >= 0)
    return rows


def picture(task: Task, rows: list[dict], speeds: list[dict]) -> Figure:
    """Draw the mean return over steps and over wall time, a line per recipe with the range of its seeds."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    over_steps, over_time = figure.subplots(1, 2, sharey=True)
    for recipe, colour in zip(dict.fromkeys(row["recipe"] for row in rows), COLOURS, strict=False):
        own = [row for row in rows if row["recipe"] == recipe]
        steps = np.array(sorted({int(row["env_steps"]) for row in own}))
        y = [[float(row["return"]) for row in own if int(row["env_steps"]) == step] for step in steps]
        rate = [float(row["per_second"]) for row in speeds if row["recipe"] == recipe]
        for axes, x in ((over_steps, steps), (over_time, steps / np.median(rate) if rate else None)):
            if x is not None:
                axes.plot(x, [np.mean(each) for each in y], color=colour, label=recipe)
                axes.fill_between(x, [min(each) for each in y], [max(each) for each in y], color=colour, alpha=0.15)
    for axes, label in ((over_steps, "environment steps"), (over_time, "wall seconds of training")):
        axes.set_xlabel(label)
        axes.grid(alpha=0.25)
    over_steps.set_ylabel(f"{task.env}: return, worst to best seed shaded")
    over_steps.legend(frameon=False)
    return figure


def write(file: Path, rows: list[dict]) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(file: Path) -> list[dict]:
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def main() -> None:
    """Train and measure what is asked for, write the rows and draw all that are on record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", nargs="+", default=["returns", "speed"], choices=("returns", "speed"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--seeds", type=int, help="instead of the task's own number")
    parser.add_argument("--steps", type=int, help="instead of the task's own number")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time, for the returns")
    parser.add_argument("--rounds", type=int, default=3, help="for the speed")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.tasks:
        given = {key: value for key in ("seeds", "steps") if (value := getattr(options, key)) is not None}
        task = dataclasses.replace(TASKS[name], **given)
        returns, speeds = options.output / f"sources-{name}.csv", options.output / f"sources-{name}-speed.csv"
        if "returns" in options.what:
            jobs = [(recipe, seed) for seed in range(1, task.seeds + 1) for recipe in options.recipes]
            with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.processes) as pool:
                parts = pool.map(lambda job, task=task, at=Path(folder): train(task, *job, at), jobs)
                rows = [row for part in parts for row in part]
            write(returns, sorted(rows, key=lambda row: options.recipes.index(row["recipe"])))
        if "speed" in options.what:
            write(speeds, measure(task, options.recipes, options.rounds))
        picture(task, read(returns), read(speeds)).savefig(options.output / f"sources-{name}.png", dpi=144)


if __name__ == "__main__":
    main()
