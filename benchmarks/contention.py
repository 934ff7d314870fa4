"""A run on two threads while another program wants a processor: compiled code's own team against GCC's library.

    python benchmarks/contention.py [--rounds 5]

Trains HalfCheetah-v5 for 1,500 steps on two threads, alone and beside one busy process, and takes the speed from step
1,000 to the end. With GCC's library, GOMP_SPINCOUNT is how many times a thread looks for work before it sleeps; 300,000
is its own default. Beside one busy process on two processors a run has a fair share of 3/4 of what it has alone: one
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
WAYS = (("team", 3_000), ("library", 3_000), ("library", 1_000), ("library", 300_000))
WITH_THE_LIBRARY = """
import sys
from contextlib import nullcontext
from rucksac import teams
teams.own_team, teams.bring_along = nullcontext, lambda _: None
from rucksac.cli import main
sys.exit(main(sys.argv[1:]))
"""
FLAGS = "--threads 2 --steps 1500 --warmup 500 --log-every 500 --eval-every 10000 --eval-episodes 1 --quiet"


def speed(who: str, spins: int, busy: bool, cache: str) -> float:
    """Return environment steps per second; each way has code of its own in the folder `cache`."""
    python = [sys.executable, *(["-m", "rucksac"] if who == "team" else ["-c", WITH_THE_LIBRARY])]
    settings = {"GOMP_SPINCOUNT": str(spins), "RUCKSAC_CACHE": f"{cache}/{who}"}
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [*python, "train", "HalfCheetah-v5", "--run", str(run), *FLAGS.split()]
            subprocess.run(command, check=True, env={**os.environ, **settings})
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
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for way in WAYS[:2]:
            speed(*way, False, cache)  # compiles, and does not count
        for number in range(options.rounds):
            for busy in (False, True):
                for who, spins in WAYS[: len(WAYS) - (number > 0 and busy)]:  # the last takes minutes beside others
                    rate = round(speed(who, spins, busy, cache), 1)
                    rows.append({"round": number, "busy": int(busy), "who": who, "spins": spins, "per_second": rate})
                    print(rows[-1], flush=True)
    with (RESULTS / "contention.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for who, spins in WAYS:
        alone, beside = (
            np.median(
                [row["per_second"] for row in rows if (row["who"], row["spins"], row["busy"]) == (who, spins, busy)]
            )
            for busy in (0, 1)
        )
        print(
            f"{who}, {spins:,} looks: {alone:.0f} steps/s alone, {beside:.0f} beside a busy process, "
            f"{beside / alone / 0.75:.2f} of its share"
        )


if __name__ == "__main__":
    main()
