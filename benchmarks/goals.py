"""How often a goal is reached after so many steps, with hindsight, beside Stable-Baselines3's.

    pip install "rucksac[robotics]" stable-baselines3    # in an environment of its own
    python benchmarks/goals.py [--env FetchReach-v4] [--steps 10000] [--seeds 1-5] [--set NAME=VALUE ...]
    python benchmarks/goals.py --peer sb3 ...
    python benchmarks/goals.py --env panda_gym:PandaReach-v3     # in another one, with rucksac and panda-gym

Each run has one thread and four hindsight goals per transition. At equal intervals the mean action is taken in 50
episodes from the starts reset(seed=0) and so on; a success is what the environment says of the last step. Writes
results/goals.csv, a row per run and evaluation; a run that is on record is not repeated. Returns do not depend on what
else the machine does, so several may go side by side.
"""

import argparse
import csv
import importlib.metadata
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import gymnasium
import torch

from rucksac.training.seeds import parse_seeds

RESULT = Path(__file__).parent / "results/goals.csv"
EVALUATIONS, EPISODES, GOALS = 10, 50, 4
COLUMNS = ("library", "environment", "settings", "seed", "steps", "env_steps", "successes", "episodes", "versions")
VERSIONS = ("torch", "gymnasium")
ROBOTICS, PANDA = ("gymnasium-robotics", "mujoco"), ("panda-gym", "pybullet")


class Job(NamedTuple):
    """One run."""

    library: str
    environment: str
    settings: str
    seed: int
    steps: int


def successes(environment: str, predict) -> int:
    """Return in how many episodes the goal is reached at the end by `predict(obs, deterministic=True)`."""
    env, reached = gymnasium.make(environment), 0
    for start in range(EPISODES):
        obs, _ = env.reset(seed=start)
        over = False
        while not over:
            obs, _, terminated, truncated, info = env.step(predict(obs, deterministic=True)[0])
            over = terminated or truncated
        reached += int(info["is_success"])
    return reached


def settings_of(job: Job) -> dict[str, object]:
    """Return the settings that are given for a library, by name."""
    found = {}
    for name, value in (each.split("=", 1) for each in job.settings.split()):
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def by_rucksac(job: Job) -> Iterator[tuple[int, int]]:
    """Give successes after so many steps."""
    import rucksac

    found = []

    def on_evaluation(event) -> None:
        if event.kind == "evaluations":
            found.append((event.env_steps, successes(job.environment, event.agent.predict)))

    given = {"hindsight": GOALS, "threads": 1, "eval_every": job.steps // EVALUATIONS, "eval_episodes": 1}
    given |= settings_of(job)
    rucksac.train(job.environment, steps=job.steps, seed=job.seed, callbacks=[on_evaluation], **given)
    yield from found


def by_sb3(job: Job) -> Iterator[tuple[int, int]]:
    """Give successes after so many steps."""
    from stable_baselines3 import SAC, HerReplayBuffer

    goals = {"n_sampled_goal": GOALS, "goal_selection_strategy": "future"}
    env = gymnasium.make(job.environment)
    buffer = {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": goals}
    model = SAC("MultiInputPolicy", env, seed=job.seed, **buffer, **settings_of(job))
    every = job.steps // EVALUATIONS
    for count in range(1, EVALUATIONS + 1):
        model.learn(every, reset_num_timesteps=False)
        yield count * every, successes(job.environment, model.predict)


def rows_of(job: Job) -> list[dict]:
    """Return a row for each evaluation."""
    torch.set_num_threads(1)
    panda = job.environment.startswith("panda_gym:")
    if not panda:
        import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)
    train = by_rucksac if job.library == "rucksac" else by_sb3
    names = [*VERSIONS, *(PANDA if panda else ROBOTICS), *(["stable-baselines3"] if job.library == "sb3" else [])]
    versions = " ".join(f"{name}={importlib.metadata.version(name)}" for name in names)
    return [dict(zip(COLUMNS, (*job, *each, EPISODES, versions), strict=True)) for each in train(job)]


def main() -> None:
    """Train what is not on record, and add it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="FetchReach-v4")
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seeds", type=parse_seeds, default=parse_seeds("1-5"))
    parser.add_argument("--peer", choices=["sb3"])
    parser.add_argument("--set", nargs="*", default=[], dest="settings")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    library, settings = options.peer or "rucksac", " ".join(sorted(options.settings))
    rows = []
    if RESULT.exists():
        with RESULT.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
    there = {Job(**{name: kind(row[name]) for name, kind in Job.__annotations__.items()}) for row in rows}
    jobs = [Job(library, options.env, settings, seed, options.steps) for seed in options.seeds]
    with ProcessPoolExecutor(options.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        for found in pool.map(rows_of, [job for job in jobs if job not in there]):
            rows += found
            print(found[-1], flush=True)
            with RESULT.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main()
