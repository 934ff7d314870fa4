"""A run on two threads while another program wants a processor, with different bounds on how long threads wait.

    python benchmarks/contention.py [--rounds 3]

Trains HalfCheetah-v5 for 1,500 steps on two threads, alone and beside one busy process, and takes the speed from step
1,000 to the end. GOMP_SPINCOUNT is how many times a thread of GCC's OpenMP looks for work before it sleeps; 300,000 is
its own default. Beside one busy process on two processors a run has a fair share of 3/4 of what it has alone: one
processor whole and half of the other. Every run is a row in results/contention.csv. Nothing else may run meanwhile.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
SPINS = (300_000, 10_000, 3_000, 1_000)
FLAGS = "--threads 2 --steps 1500 --warmup 500 --log-every 500 --eval-every 10000 --eval-episodes 1 --quiet"


def speed(spins: int, busy: bool) -> float:
    """Return environment steps per second."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [sys.executable, "-m", "rucksac", "train", "HalfCheetah-v5", "--run", str(run), *FLAGS.split()]
            subprocess.run(command, check=True, env={**os.environ, "GOMP_SPINCOUNT": str(spins)})
            with (run / "metrics.csv").open(newline="") as stream:
                wall = {int(row["env_steps"]): float(row["wall_seconds"]) for row in csv.DictReader(stream)}
    finally:
        if other:
            other.kill()
            other.wait()
    return 500 / (wall[1_500] - wall[1_000])


def main() -> None:
    """Measure in turn, write the rows and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rows = []
    speed(SPINS[-1], busy=False)  # compiles, and does not count
    for number in range(options.rounds):
        for busy in (False, True):
            for spins in SPINS[number > 0 and busy :]:  # its own default takes minutes beside a busy process
                rate = round(speed(spins, busy), 1)
                rows.append({"round": number, "busy": int(busy), "spins": spins, "per_second": rate})
                print(rows[-1], flush=True)
    with (RESULTS / "contention.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for spins in SPINS:
        alone, beside = (
            np.median([row["per_second"] for row in rows if (row["spins"], row["busy"]) == (spins, busy)])
            for busy in (0, 1)
        )
        print(f"{spins:7,} looks: {alone:.0f} steps/s alone, {beside:.0f} beside a busy process ({beside / alone:.2f})")


if __name__ == "__main__":
    main()
