"""Does `--precision bf16` cost return? The same seeds in both precisions.

    python benchmarks/precision.py [--envs HalfCheetah-v5 Pendulum-v1 Reacher-v5]

A seed's return is the mean over all evaluations of the second half of its run, so that one lucky episode decides
nothing. Writes a row per environment, precision, seed and evaluation to results/precision.csv (other environments keep
theirs), and to precision.md the mean difference with a bootstrap interval over the pairs.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from rucksac.stats import mean_interval

RESULTS = Path(__file__).parent / "results"
PRECISIONS = ("fp32", "bf16")
STEPS = {"HalfCheetah-v5": 50_000, "Pendulum-v1": 20_000, "Reacher-v5": 20_000}
SEEDS = range(1, 6)


def train(env: str, precision: str) -> list[dict]:
    """Train all seeds, one thread each, and return a row per evaluation."""
    with tempfile.TemporaryDirectory() as folder:
        group = Path(folder) / "group"
        steps, seeds = STEPS[env], f"{SEEDS[0]}-{SEEDS[-1]}"
        words = f"{env} --seeds {seeds} --steps {steps} --eval-every {steps // 10} --precision {precision}".split()
        words += ["--threads", "1", "--quiet", "--run", str(group)]
        subprocess.run([sys.executable, "-m", "rucksac", "train", *words], check=True)
        returns: dict[tuple[int, int], list[float]] = {}
        for seed in SEEDS:
            with (group / f"seed{seed}" / "evaluations.csv").open(newline="") as stream:
                for row in csv.DictReader(stream):
                    returns.setdefault((seed, int(row["env_steps"])), []).append(float(row["return"]))
    return [
        {"env": env, "precision": precision, "seed": seed, "env_steps": at, "return": round(float(np.mean(each)), 1)}
        for (seed, at), each in returns.items()
    ]


def second_halves(rows: list[dict], env: str, precision: str) -> np.ndarray:
    """Return every seed's mean return over the evaluations of its second half."""
    chosen = [row for row in rows if (row["env"], row["precision"]) == (env, precision)]
    late = [row for row in chosen if int(row["env_steps"]) > STEPS[env] / 2]
    return np.array([np.mean([float(row["return"]) for row in late if int(row["seed"]) == seed]) for seed in SEEDS])


def table(rows: list[dict]) -> str:
    lines = ["| environment | steps | fp32, each seed | bf16, each seed | difference of the means, 95 % of pairs |"]
    lines += ["|---|---|---|---|---|"]
    for env in (env for env in STEPS if any(row["env"] == env for row in rows)):
        full, half = (second_halves(rows, env, precision) for precision in PRECISIONS)
        difference = 100 * (half - full) / abs(full.mean())
        low, high = mean_interval(difference)
        cells = [", ".join(f"{value:,.1f}" for value in seeds) for seeds in (full, half)]
        cells = [env, f"{STEPS[env]:,}", *cells, f"{difference.mean():+.1f} % ({low:+.1f} to {high:+.1f})"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, write the rows and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs", nargs="+", choices=STEPS, default=list(STEPS))
    file, rows = RESULTS / "precision.csv", []
    if file.exists():
        with file.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    for env in parser.parse_args().envs:
        new = [row for precision in PRECISIONS for row in train(env, precision)]
        rows = [row for row in rows if row["env"] != env] + new
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        (RESULTS / "precision.md").write_text("# Returns by precision\n\n" + table(rows))
        print(table(rows))


if __name__ == "__main__":
    main()
