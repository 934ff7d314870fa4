"""What it costs per gradient step to choose and read a batch, in microseconds, by how that is done.

    python benchmarks/replay.py

HalfCheetah sizes, a full memory of 1,000,000 rows; goals are two of the numbers. With priorities, taking in the errors
is part of it. Writes benchmarks/results/replay.csv with every round.
"""

import csv
import statistics
from pathlib import Path

import numpy as np
from parts import rounds

from rucksac.environments.spaces import Continuous, Numbers, Spaces
from rucksac.experience.hindsight import Hindsight
from rucksac.experience.kinds import Fold, Pick, Transform
from rucksac.experience.looking_ahead import look_ahead
from rucksac.experience.priorities import PrioritisedPick
from rucksac.experience.replay import Replay
from rucksac.experience.sampling import Sampler, UniformPick, one_step
from rucksac.training.parts import columns_of

OBS, ACTION, ROWS, BATCH, GAMMA, EPISODE = 17, 6, 1_000_000, 256, 0.99, 1_000


class Near:
    """Goals of two numbers; the reward is -1 until one is near."""

    achieved, desired = slice(0, 2), slice(2, 4)

    def reward(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        return -(np.linalg.norm(achieved - desired, axis=-1) > 0.1).astype(np.float32)

    def terminated(self, achieved: np.ndarray, desired: np.ndarray) -> None:  # noqa: ARG002
        return None


def full_memory() -> Replay:
    """Return a memory of episodes of 1,000 steps."""
    actions = Continuous((ACTION,), np.dtype(np.float32), -np.ones(ACTION), np.ones(ACTION))
    replay, obs = (
        Replay(ROWS, 1, columns_of(Spaces(Numbers((OBS,)), actions), frame_stack=1)),
        np.zeros(OBS, np.float32),
    )
    for step in range(ROWS - 1 - ROWS // EPISODE):
        ended = step % EPISODE == EPISODE - 1
        replay.add(0, False, ended, obs=obs, action=np.zeros(ACTION, np.float32), reward=1.0, next_obs=obs)
    replay.data["obs"][:] = np.random.default_rng(0).standard_normal((ROWS, OBS), np.float32)
    return replay


def cases(replay: Replay) -> dict[str, tuple[Pick, Fold, list[Transform]]]:
    """Return what is measured by its name."""
    random, fold = np.random.default_rng(1), one_step(GAMMA)
    uniform, prioritised = UniformPick(replay, random), PrioritisedPick(replay, random, 0.6, 0.4)
    weighed = {**fold, "weight": prioritised.weight}
    relabel = Hindsight(replay, random, Near(), 0.8, "future", GAMMA)
    return {
        "uniform": (uniform, fold, []),
        "priorities": (prioritised, weighed, []),
        "3 steps": (uniform, fold, [look_ahead(3)]),
        "10 steps": (uniform, fold, [look_ahead(10)]),
        "hindsight": (uniform, fold, [relabel]),
        "priorities, hindsight and 3 steps": (prioritised, weighed, [relabel, look_ahead(3)]),
    }


def main() -> None:
    """Measure and write."""
    replay = full_memory()
    errors = np.random.default_rng(2).exponential(1.0, BATCH).astype(np.float32)
    with (Path(__file__).parent / "results/replay.csv").open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "round", "microseconds"])
        for name, (pick, fold, transforms) in cases(replay).items():
            sampler = Sampler(replay, pick, fold, BATCH, transforms)

            def once(sampler: Sampler = sampler) -> None:
                sampler.sample()
                sampler.pick.learned(errors)

            values = rounds(once)
            writer.writerows([name, number, f"{value:.2f}"] for number, value in enumerate(values))
            print(f"{name:36} {statistics.median(values):7.1f} us ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
