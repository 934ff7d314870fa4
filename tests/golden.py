"""The first 50 gradient steps of every recipe, as numbers: what must not change unnoticed.

    python -m tests.golden

writes golden.csv anew; do so on purpose only, and say in the changelog that learning curves change.
"""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import torch

from rucksac.algorithm.recipes import RECIPES
from rucksac.algorithm.update import Batch
from rucksac.building import build
from rucksac.learner import Learner
from tests.algorithm.steps import SPACES

FILE = Path(__file__).with_suffix(".csv")
STEPS, ROWS = 50, 16
METRICS = ("critic_loss", "policy_loss", "temperature_loss", "alpha", "entropy", "q", "target_q")


def trace(name):
    """Return the metrics of every step, (50, 7), those of the policy 0 where it was left alone.

    All is as the recipe says but for small networks and batches.
    """
    config = RECIPES[name].config
    hidden = (16, 8) if config.blocks == "none" else (8, 8)
    small = dataclasses.replace(config, hidden=hidden, critic_hidden=None, batch_size=ROWS, compile="never", seed=1)
    learner = Learner(build(small, SPACES))
    generator = np.random.default_rng(7)
    found = []
    for _ in range(STEPS):
        obs, next_obs = generator.standard_normal((2, ROWS, 3), np.float32)
        action = generator.uniform(-1, 1, (ROWS, 2)).astype(np.float32)
        reward = generator.standard_normal(ROWS, np.float32)
        discount = np.float32(0.99) * (generator.random(ROWS) > 0.2)
        batch = Batch(*(torch.from_numpy(each).float() for each in (obs, action, reward, discount, next_obs)))
        metrics = learner.update(batch).metrics
        found.append([metrics.get(name, 0.0) for name in METRICS])
    return np.array(found)


def read():
    """Return the stored traces by recipe."""
    found = {}
    with FILE.open(newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["recipe"], []).append([float(row[metric]) for metric in METRICS])
    return {name: np.array(rows) for name, rows in found.items()}


def write():
    """Write the traces of all recipes."""
    with FILE.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["recipe", "grad_steps", *METRICS])
        for name in RECIPES:
            for step, row in enumerate(trace(name), 1):
                writer.writerow([name, step, *(f"{value:.6g}" for value in row)])


if __name__ == "__main__":
    write()
