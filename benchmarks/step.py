"""The compiled gradient step alone: steps per second by network size and threads, beside the matmul floor.

    python benchmarks/step.py [--cases 64x64/100 ...]

A case is WIDTHxWIDTH.../BATCH, with 17 observations and 6 actions. Writes benchmarks/results/step.csv, a row per round.
"""

import argparse
import csv
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from contestant import multiply_adds

from rucksac.algorithm.update import Batch
from rucksac.building import build, compile_agent
from rucksac.compilation import computing
from rucksac.config import Config
from rucksac.environments.spaces import Continuous, Numbers, Spaces
from rucksac.resources import available_threads

OBS, ACTION, ROUNDS, SECONDS = 17, 6, 7, 1.0
CASES = ("64x64/100", "64x64x64/256", "128x128/128", "256x256/256")


def rates(function, count: int) -> list[float]:
    """Return calls per second in each round."""
    found = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(count):
            function()
        found.append(count / (time.perf_counter() - begin))
    return found


def measure(case: str, threads: int) -> list[dict]:
    """Return a row per round: steps per second, and the floor at the matmul speed of the same moment."""
    widths, rows = case.split("/")
    hidden, rows = tuple(map(int, widths.split("x"))), int(rows)
    actions = Continuous((ACTION,), np.dtype(np.float32), -np.ones(ACTION), np.ones(ACTION))
    spaces = Spaces(Numbers((OBS,)), actions)
    with computing(threads):
        agent = build(Config(hidden=hidden, batch_size=rows), spaces)
        assert compile_agent(agent) is None
        generator = torch.Generator().manual_seed(0)
        obs, next_obs = torch.randn(2, rows, OBS, generator=generator)
        action, reward = torch.rand(rows, ACTION, generator=generator), torch.randn(rows, generator=generator)
        batch = Batch(obs, action, reward, torch.full((rows,), 0.99), next_obs)
        left, right = torch.randn(rows, hidden[0]), torch.randn(hidden[0], hidden[0])
        begin = time.perf_counter()
        for _ in range(20):
            agent.update(batch)
        count = max(20, int(20 * SECONDS / (time.perf_counter() - begin)))
        steps = rates(lambda: agent.update(batch), count)
        matmuls = rates(lambda: left @ right, count * 10)
    per_step = multiply_adds(OBS, ACTION, hidden, rows) / (rows * hidden[0] ** 2)
    floor = statistics.median(matmuls) / per_step
    print(f"{case:16} {threads} threads: {statistics.median(steps):8.0f} steps/s, floor {floor:8.0f}")
    return [
        {
            "case": case,
            "threads": threads,
            "round": number,
            "per_second": round(rate, 1),
            "floor": round(floor / per_step, 1),
        }
        for number, (rate, floor) in enumerate(zip(steps, matmuls, strict=True))
    ]


def main() -> None:
    """Measure every case on one thread and on all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=list(CASES))
    cases = parser.parse_args().cases
    rows = [row for case in cases for threads in sorted({1, available_threads()}) for row in measure(case, threads)]
    with (Path(__file__).parent / "results/step.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
