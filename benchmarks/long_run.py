"""One million steps of Pendulum-v1: memory and open files over the run.

    python benchmarks/long_run.py [--steps 1000000]

Small networks and few updates, so that the steps themselves and 200 checkpoints are what is tried. Writes
benchmarks/results/long_run.csv and a picture of it.
"""

import argparse
import csv
import os
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

from rucksac import Event
from rucksac.config import Config
from rucksac.training.plan import Plan
from rucksac.training.train import train_run

RESULTS = Path(__file__).parent / "results"


class Meter:
    """Notes memory and open files at every row of metrics."""

    def __init__(self) -> None:
        self.rows: list[dict] = []

    def __call__(self, event: Event) -> None:
        if event.kind == "metrics":
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            noted = {"resident_mib": round(resident, 1), "open_files": len(os.listdir("/proc/self/fd"))}
            self.rows.append({"env_steps": event.env_steps, **noted})


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    steps = parser.parse_args().steps
    config = Config(
        steps=steps, hidden=(32, 32), batch_size=32, utd=0.1, buffer_size=100_000, log_every=steps // 200,
        eval_every=steps // 10, eval_episodes=1, checkpoint_every=steps // 200, threads=1,
    )  # fmt: skip
    meter = Meter()
    with tempfile.TemporaryDirectory() as folder:
        train_run(Plan("Pendulum-v1", config, "sac", callbacks=(meter,)), Path(folder) / "run", None)
    with (RESULTS / "long_run.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, meter.rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(meter.rows)
    figure = Figure(figsize=(6, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([row["env_steps"] for row in meter.rows], [row["resident_mib"] for row in meter.rows])
    axes.set(xlabel="environment steps", ylabel="resident memory, MiB", ylim=(0, None))
    figure.savefig(RESULTS / "long_run.png", dpi=144)
    print(meter.rows[len(meter.rows) // 4], meter.rows[-1])


if __name__ == "__main__":
    main()
