"""Every recipe on the same two tasks: return over environment steps, and wall time.

    python benchmarks/sources.py [--tasks pendulum halfcheetah] [--recipes sac td3 ...] [--seeds 2] [--steps 1000]

Pendulum-v1: 5 seeds of 20,000 steps, evaluated every 2,000 on the starts reset(seed=0..99); no recipe with more than
1,000 random steps, as the warm-ups of some are longer than the run. HalfCheetah-v5: 2 seeds of 60,000 steps, evaluated
every 5,000 on reset(seed=0..9); each recipe as it is. One process on one thread per run, `--processes` at a time, so
that the wall times of a task compare with each other. Writes benchmarks/results/sources-TASK.csv, one row per recipe,
seed and evaluation, and sources-TASK.png. The wall seconds are those of training until then: start, compilation and
the evaluations before, all taken to be equally long, are left out.
"""

import argparse
import csv
import dataclasses
import json
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
    phases = json.loads((run / "summary.json").read_text())["wall_seconds"]
    one_evaluation, aside = phases["evaluate"] / task.evaluations, phases["start"] + phases["compile"]
    seconds = {}
    with (run / "metrics.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            steps = int(row["env_steps"])
            seconds[steps] = float(row["wall_seconds"]) - aside - (steps // every - 1) * one_evaluation
    returns: dict[int, list[float]] = {}
    with (run / "evaluations.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            returns.setdefault(int(row["env_steps"]), []).append(float(row["return"]))
    print(f"{task.env} {recipe} seed {seed}: {np.mean(returns[max(returns)]):.1f}", flush=True)
    return [
        {
            "recipe": recipe, "seed": seed, "env_steps": steps, "return": float(np.mean(each)),
            "wall_seconds": round(seconds[steps], 2) if steps in seconds else "",
        }
        for steps, each in returns.items()
    ]  # fmt: skip


def picture(task: Task, rows: list[dict]) -> Figure:
    """Draw the mean return over steps and over wall time, a line per recipe with the range of its seeds."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    for axes, clock in zip(figure.subplots(1, 2, sharey=True), ("env_steps", "wall_seconds"), strict=True):
        for recipe, colour in zip(dict.fromkeys(row["recipe"] for row in rows), COLOURS, strict=False):
            own = [row for row in rows if row["recipe"] == recipe and row[clock] != ""]
            steps = sorted({row["env_steps"] for row in own})
            at = [[row for row in own if row["env_steps"] == step] for step in steps]
            x = [np.mean([row[clock] for row in each]) for each in at]
            y = [[row["return"] for row in each] for each in at]
            axes.plot(x, [np.mean(each) for each in y], color=colour, label=recipe)
            axes.fill_between(x, [min(each) for each in y], [max(each) for each in y], color=colour, alpha=0.15)
        axes.set_xlabel({"env_steps": "environment steps", "wall_seconds": "wall seconds, one thread"}[clock])
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel(f"{task.env}: return, worst to best seed shaded")
    figure.axes[0].legend(frameon=False)
    return figure


def main() -> None:
    """Train everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=RECIPES)
    parser.add_argument("--seeds", type=int, help="instead of the task's own number")
    parser.add_argument("--steps", type=int, help="instead of the task's own number")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.tasks:
        given = {key: value for key in ("seeds", "steps") if (value := getattr(options, key)) is not None}
        task = dataclasses.replace(TASKS[name], **given)
        jobs = [(recipe, seed) for seed in range(1, task.seeds + 1) for recipe in options.recipes]
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.processes) as pool:
            parts = pool.map(lambda job, task=task, at=Path(folder): train(task, *job, at), jobs)
            rows = sorted((row for part in parts for row in part), key=lambda row: options.recipes.index(row["recipe"]))
        with (options.output / f"sources-{name}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        picture(task, rows).savefig(options.output / f"sources-{name}.png", dpi=144)


if __name__ == "__main__":
    main()
