"""From shell prompt to the first gradient step: with nothing compiled yet, and again with the compiled step on disk.

    python benchmarks/startup.py [--rounds 3]

The clock stops when metrics.csv has the row of the first gradient step, after 256 random steps. Beside it, what
importing torch alone takes. Writes results/startup.csv.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
FLAGS = ["HalfCheetah-v5", "--steps", "100000", "--warmup", "256", "--log-every", "1", "--quiet"]


def seconds_to_first_step(folder: Path, run: str) -> float:
    """Train until the first gradient step is on record, then end the run."""
    caches = {"RUCKSAC_CACHE": str(folder / "cache"), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    metrics, begin = folder / run / "metrics.csv", time.perf_counter()
    command = [sys.executable, "-m", "rucksac", "train", *FLAGS, "--run", str(folder / run)]
    with subprocess.Popen(command, env={**os.environ, **caches}, start_new_session=True) as process:
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") > 1):
            if process.poll() is not None:
                raise RuntimeError(f"the run ended with exit code {process.returncode}")
            time.sleep(0.005)
        taken = time.perf_counter() - begin
        process.kill()
    return taken


def seconds_to_import_torch() -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rows = []
    for number in range(parser.parse_args().rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            taken = {"torch": seconds_to_import_torch()}
            taken |= {run: seconds_to_first_step(folder, run) for run in ("first", "second")}
        rows.append({"round": number, **{what: round(seconds, 2) for what, seconds in taken.items()}})
        print(rows[-1], flush=True)
    with (RESULTS / "startup.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
