"""Whether `rucksac tune` finds better settings than the default ones, on seeds that its search has not seen.

    python benchmarks/tune.py [--env Pendulum-v1] [--steps 2000] [--trials 16] [--fresh-seeds 101-110] [--run FOLDER]

Searches, trains the best settings and the default ones with the same fresh seeds and compares their last evaluations by
pairs. Writes results/tune.csv, a row per run and evaluation, and the settings found to results/tune.toml. The search
and the trainings go on after any stop when the same command is given again.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

from rucksac.training.overview import evaluations

RESULTS = Path(__file__).parent / "results"
RUNS = Path(__file__).parent / ".runs"
COLUMNS = ("environment", "settings", "seed", "env_steps", "return")


def rucksac(*words: object) -> None:
    """Run one command of rucksac."""
    subprocess.run([sys.executable, "-m", "rucksac", *map(str, words)], check=True)


def rows_of(run: Path, environment: str, settings: str) -> list[dict]:
    """Return a row for every evaluation of a run whose folder ends in its seed."""
    seed, curve = int(run.name.removeprefix("seed")), zip(*evaluations(run), strict=True)
    return [dict(zip(COLUMNS, (environment, settings, seed, *each), strict=True)) for each in curve]


def main() -> None:
    """Search, train, write and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="Pendulum-v1")
    parser.add_argument("--steps", type=int, default=2_000)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--fresh-seeds", default="101-110")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--run", type=Path, default=RUNS / "tune")
    options = parser.parse_args()
    search, defaults = options.run / "search", options.run / "defaults"
    common = [options.env, "--steps", options.steps, "--eval-every", options.steps // 4]
    asked = ["--trials", options.trials, "--fresh-seeds", options.fresh_seeds, "--jobs", options.jobs]
    rucksac("tune", *common, *asked, "--run", search)
    if defaults.exists():
        rucksac("resume", defaults)
    else:
        rucksac("train", *common, "--seeds", options.fresh_seeds, "--threads", 1, "--run", defaults)
    found = {"best": _seeds(search / "best"), "defaults": _seeds(defaults)}
    with (RESULTS / "tune.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for settings, runs in found.items():
            writer.writerows(row for run in runs for row in rows_of(run, options.env, settings))
    shutil.copy(search / "best.toml", RESULTS / "tune.toml")
    rucksac("compare", *found["best"], "--against", *found["defaults"], "--paired")


def _seeds(folder: Path) -> list[Path]:
    """Return the runs in a folder, by their seeds."""
    runs = {path.parent for path in folder.rglob("evaluations.csv")}
    return sorted(runs, key=lambda run: int(run.name.removeprefix("seed")))


if __name__ == "__main__":
    main()
