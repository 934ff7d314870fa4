"""What the parts around the gradient step cost, HalfCheetah sizes, in microseconds.

    python benchmarks/parts.py

Medians over rounds; writes benchmarks/results/parts.csv with every round.
"""

import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rucksac.building import build, compile_steps
from rucksac.compilation import computing
from rucksac.config import Config
from rucksac.environments.spaces import Continuous, Numbers, Spaces
from rucksac.experience.columns import bytes_for
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Sampler, UniformPick, one_step
from rucksac.learner import Learner
from rucksac.resources import available_threads
from rucksac.training.parts import columns_of

OBS, ACTION, ROWS, ROUNDS, CALLS = 17, 6, 1_000_000, 15, 500


def rounds(function: Callable[[], object]) -> list[float]:
    """Return the microseconds per call of every round, after one that does not count."""
    seconds = []
    for _ in range(ROUNDS + 1):
        begin = time.perf_counter()
        for _ in range(CALLS):
            function()
        seconds.append((time.perf_counter() - begin) / CALLS * 1e6)
    return seconds[1:]


def main() -> None:
    """Measure and write."""
    generator = np.random.default_rng(0)
    actions = Continuous((ACTION,), np.dtype(np.float32), -np.ones(ACTION), np.ones(ACTION))
    spaces = Spaces(Numbers((OBS,)), actions)
    replay = Replay(ROWS, 1, columns_of(spaces, frame_stack=1))
    obs, action = generator.standard_normal((2, OBS)).astype(np.float32), np.zeros(ACTION, np.float32)
    clock = iter(range(10**9))

    def add() -> None:
        ended = next(clock) % 1000 == 999
        replay.add(0, False, ended, obs=obs[0], action=action, reward=1.0, next_obs=obs[1])

    adding = rounds(add)
    while len(replay) < ROWS - ROWS // 1000 - 2:
        add()
    sampler = Sampler(replay, UniformPick(replay, generator), one_step(0.99), 256)
    one = generator.standard_normal((1, OBS)).astype(np.float32)
    with computing(available_threads()):
        eager, compiled = (build(Config(compile=mode), spaces) for mode in ("never", "auto"))
        assert compile_steps(Learner(compiled)) is None
        measured = {
            "add one transition": adding,
            "draw 256 of 1,000,000": rounds(sampler.sample),
            "act on one observation, compiled": rounds(lambda: compiled.act(one)),
            "act on one observation, uncompiled": rounds(lambda: eager.act(one)),
            "map one action to the environment": rounds(lambda: spaces.actions.to_env(action)),
            "flatten one observation": rounds(lambda: spaces.flatten(obs[0])),
        }
    with (Path(__file__).parent / "results/parts.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["part", "round", "microseconds"])
        for part, values in measured.items():
            writer.writerows([part, number, f"{value:.2f}"] for number, value in enumerate(values))
            print(f"{part:36} {statistics.median(values):7.1f} us ({min(values):.1f} to {max(values):.1f})")
    print(f"replay memory {bytes_for(1, replay.columns)} bytes per row")


if __name__ == "__main__":
    main()
