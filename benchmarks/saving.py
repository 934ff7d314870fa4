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
from rucksac.environments.opening import lanes_of
from rucksac.environments.rollout import Rollout
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import UniformSampler
from rucksac.training.checkpoint import Checkpoints
from rucksac.training.parts import Progress, Training

ROWS, NEW, SAVES = 1_000_000, 5_000, 20


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and write."""
    lanes = lanes_of(Config(), make("HalfCheetah-v5", Config()))
    spaces = lanes.spaces
    agent = build(Config(), spaces)
    replay = Replay(ROWS, 1, spaces.obs_size, spaces.action_size)
    rollout = Rollout(lanes, seed=1)
    rollout.start()
    generator = np.random.default_rng(0)
    obs = generator.standard_normal((2, spaces.obs_size)).astype(np.float32)
    action = np.zeros(spaces.action_size, np.float32)
    sampler = UniformSampler(replay, 256, 0.99, generator)
    training = Training(agent, rollout, replay, sampler, generator, Progress())
    rows = []
    with tempfile.TemporaryDirectory(dir=Path(__file__).parent) as folder:
        checkpoints = Checkpoints(Path(folder), keep=2)
        for number in range(-1, SAVES):
            for step in range(ROWS if number < 0 else NEW):
                replay.add(0, obs[0], action, 1.0, obs[1], False, step % 1000 == 999)
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
