"""What a checkpoint costs with 1,000,000 HalfCheetah transitions in memory: time that training waits, and memory.

    python benchmarks/saving.py

Saves every 5,000 new transitions, twenty times; writes benchmarks/results/saving.csv, a row per save.
"""

import csv
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from rucksac.building import build
from rucksac.config import Config
from rucksac.environments.making import make
from rucksac.environments.opening import env_group_of
from rucksac.training.checkpoint import Checkpoints
from rucksac.training.parts import prepare
from rucksac.training.progress import Progress

ROWS, NEW, SAVES = 1_000_000, 5_000, 20


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and write."""
    envs = env_group_of(Config(), make("HalfCheetah-v5", Config()))
    spaces = envs.spaces
    training = prepare(build(Config(buffer_size=ROWS, seed=1), spaces), envs, Progress())
    training.collector.begin_episodes()
    generator = np.random.default_rng(0)
    obs = generator.standard_normal((2, spaces.obs_size)).astype(np.float32)
    action = np.zeros(spaces.action_size, np.float32)
    rows = []
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        checkpoints = Checkpoints(Path(folder), keep=2)
        for number in range(-1, SAVES):
            for step in range(ROWS if number < 0 else NEW):
                ended = step % 1000 == 999
                training.replay.add(0, False, ended, obs=obs[0], action=action, reward=1.0, next_obs=obs[1])
            training.progress.env_steps += ROWS if number < 0 else NEW
            before, begin = peak_mib(), time.perf_counter()
            checkpoints.save(training, {})
            milliseconds = (time.perf_counter() - begin) * 1e3
            what = "the first, all rows" if number < 0 else f"{NEW} new rows"
            extra = round(peak_mib() - before, 1)
            rows.append({"save": number, "what": what, "milliseconds": round(milliseconds, 1), "extra_mib": extra})
            print(rows[-1], flush=True)
    with (Path(__file__).parent / "results/saving.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
