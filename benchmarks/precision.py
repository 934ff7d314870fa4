"""Does `--precision bf16` cost return? The same seeds of HalfCheetah-v5 in both precisions.

    python benchmarks/precision.py [--seeds 5] [--steps 50000]

A seed's return is the mean over all evaluations of the second half of its run, so that one lucky episode decides
nothing. Writes one row per precision, seed and evaluation to results/precision.csv and prints the mean difference in
per cent of the fp32 mean, with a bootstrap interval over the pairs.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from rucksac.stats import bootstrap_interval

FILE = Path(__file__).parent / "results/precision.csv"
PRECISIONS = ("fp32", "bf16")


def train(precision: str, seeds: int, steps: int) -> list[dict]:
    """Train all seeds, one thread each, and return a row per evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        group = Path(folder) / "group"
        words = f"HalfCheetah-v5 --seeds 1-{seeds} --steps {steps} --precision {precision} --threads 1 --quiet".split()
        subprocess.run([sys.executable, "-m", "rucksac", "train", *words, "--run", group], check=True)
        returns: dict[tuple[int, int], list[float]] = {}
        for seed in range(1, seeds + 1):
            with (group / f"seed{seed}" / "evaluations.csv").open(newline="") as stream:
                for row in csv.DictReader(stream):
                    returns.setdefault((seed, int(row["env_steps"])), []).append(float(row["return"]))
    return [
        {"precision": precision, "seed": seed, "env_steps": at, "return": round(float(np.mean(each)), 1)}
        for (seed, at), each in returns.items()
    ]


def main() -> None:
    """Train, write the rows and print the difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50_000)
    options = parser.parse_args()
    rows = [row for precision in PRECISIONS for row in train(precision, options.seeds, options.steps)]
    with FILE.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    full, half = (
        np.array([
            np.mean([
                row["return"] for row in rows
                if (row["precision"], row["seed"]) == (precision, seed) and row["env_steps"] > options.steps / 2
            ]) for seed in range(1, options.seeds + 1)
        ]) for precision in PRECISIONS
    )  # fmt: skip
    difference = 100 * (half - full) / full.mean()
    low, high = bootstrap_interval(difference)
    print(f"fp32 {full.round()}, bf16 {half.round()}: {difference.mean():+.1f} % ({low:+.1f} to {high:+.1f} %)")


if __name__ == "__main__":
    main()
