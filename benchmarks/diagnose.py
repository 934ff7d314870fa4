"""How often `rucksac diagnose` finds fault with runs that learn as they should.

    python benchmarks/diagnose.py

Trains each task with default settings and a few seeds, briefly, and diagnoses each run; every finding is a false alarm.
Writes benchmarks/results/diagnose.csv, a row per run; `findings` has their names.
"""

import csv
import tempfile
from pathlib import Path

import rucksac
from rucksac.diagnosing.diagnosis import diagnose

RESULT = Path(__file__).parent / "results/diagnose.csv"
TASKS = {"Pendulum-v1": (3_000, 3), "CartPole-v1": (3_000, 3), "HalfCheetah-v5": (3_000, 2), "Hopper-v5": (3_000, 2)}
COLUMNS = ("environment", "seed", "steps", "grad_steps", "estimated", "obtained", "findings")


def row(env: str, seed: int, steps: int, folder: Path) -> dict:
    """Return what is found of one run."""
    rucksac.train(env, run=folder, seed=seed, steps=steps, threads=1, compile="never", eval_episodes=1)
    found = diagnose(folder)
    assert found.estimates
    assert not found.evidence.missing
    estimated, obtained = (round(float(each.mean()), 2) for each in found.estimates[:2])
    names = "; ".join(finding.what for finding in found.findings)
    return dict(zip(COLUMNS, (env, seed, steps, found.evidence.grad_steps, estimated, obtained, names), strict=True))


def main() -> None:
    with RESULT.open("w", newline="") as stream, tempfile.TemporaryDirectory() as folder:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for env, (steps, seeds) in TASKS.items():
            for seed in range(1, seeds + 1):
                told = row(env, seed, steps, Path(folder) / f"{env}-{seed}")
                writer.writerow(told)
                stream.flush()
                print(told)


if __name__ == "__main__":
    main()
