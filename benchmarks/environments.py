"""Environment steps per second for 1 to 16 environments in 0 to 2 workers, beside Stable-Baselines3's vector ones.

    python benchmarks/environments.py [--rounds 2] [--env HalfCheetah-v5]

Every case is a process of its own, the cases one after the other in every round. Without learning, actions are random;
with learning there is one gradient step per transition on either side, 2x256 networks and batches of 256. Writes
results/environments.csv (a row per run) and results/environments.md (medians).
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import gymnasium
import numpy as np

from rucksac.text import count

HERE = Path(__file__).parent
RESULTS = HERE / "results"
NUMBERS = (1, 2, 4, 8, 16)
ALONE, WARMUP, START, STOP = 20_000, 512, 1_024, 2_560  # environment steps: without learning; with it, clocked between


class Case(NamedTuple):
    """One way of running environments. `workers` is -1 for one process per environment."""

    library: str
    workers: int
    envs: int
    learning: bool


CASES = [
    Case(library, workers, envs, learning)
    for learning in (False, True)
    for envs in NUMBERS
    for library, choices in (("rucksac", (0, 1, 2)), ("stable_baselines3", (0, -1)))
    for workers in choices
    if workers <= envs
]


def rucksac(env: str, case: Case) -> float:
    from contextlib import ExitStack

    from rucksac.config import Config
    from rucksac.environments.collector import Collector
    from rucksac.environments.opening import open_envs
    from rucksac.training.plan import Plan
    from rucksac.training.train import train_run

    many = {"envs": case.envs, "workers": case.workers}
    if case.learning:
        with tempfile.TemporaryDirectory() as folder:
            config = Config(
                steps=STOP,
                warmup=WARMUP,
                log_every=512,
                eval_every=10**6,
                eval_episodes=1,
                checkpoint_every=10**6,
                **many,
            )
            train_run(Plan(env, config, "sac"), Path(folder) / "run", None)
            with (Path(folder) / "run/metrics.csv").open(newline="") as stream:
                seconds = {int(row["env_steps"]): float(row["wall_seconds"]) for row in csv.DictReader(stream)}
        return (STOP - START) / (seconds[STOP] - seconds[START])
    with ExitStack() as cleanup:
        envs, _ = open_envs(env, Config(**many), cleanup, print)
        collector = Collector(envs, 1)
        collector.begin_episodes()
        actions = random_actions(case.envs, envs.spaces.action_size)

        def step() -> None:
            collector.step(actions)
            collector.begin_episodes()

        return rate(step, case.envs)


def stable_baselines3(env: str, case: Case) -> float:
    from stable_baselines3 import SAC
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    envs = (DummyVecEnv if case.workers == 0 else SubprocVecEnv)([lambda: gymnasium.make(env)] * case.envs)
    if not case.learning:
        envs.reset()
        actions = random_actions(case.envs, envs.action_space.shape[0])
        return rate(lambda: envs.step(actions), case.envs)
    times = {}

    class Timer(BaseCallback):
        def _on_step(self) -> bool:
            times[self.num_timesteps] = time.perf_counter()
            return True

    model = SAC("MlpPolicy", envs, learning_starts=WARMUP, train_freq=1, gradient_steps=-1, seed=1)
    model.learn(STOP, callback=Timer())
    return (STOP - START) / (times[STOP] - times[START])


def random_actions(envs: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (envs, size)).astype(np.float32)


def rate(step, envs: int) -> float:
    for _ in range(ALONE // 10 // envs):
        step()
    begin = time.perf_counter()
    for _ in range(ALONE // envs):
        step()
    return ALONE // envs * envs / (time.perf_counter() - begin)


def measure(env: str, case: Case) -> float:
    from throughput import peers_python

    python = sys.executable if case.library == "rucksac" else peers_python()
    command = [python, __file__, "--env", env, "--case", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def table(rows: list[dict]) -> str:
    found: dict[tuple, list[float]] = {}
    for row in rows:
        found.setdefault((row["learning"], row["library"], row["workers"], row["envs"]), []).append(row["per_second"])
    lines = []
    for learning in (False, True):
        title = "with learning, one gradient step per environment step" if learning else "random actions, no learning"
        lines += ["", f"Environment steps per second, {title}:", ""]
        lines += ["| | " + " | ".join(f"{envs} env{'s' * (envs > 1)}" for envs in NUMBERS) + " |"]
        lines += ["|---" * (len(NUMBERS) + 1) + "|"]
        for library, workers in dict.fromkeys((case.library, case.workers) for case in CASES):
            cells = [
                f"{median(found[key]):,.0f}" if (key := (learning, library, workers, envs)) in found else ""
                for envs in NUMBERS
            ]
            where = {0: "one process", -1: "a process each", 1: "1 worker"}.get(workers, f"{workers} workers")
            lines.append(f"| {library}, {where} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--case", type=lambda text: Case(*json.loads(text)), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(globals()[options.case.library](options.env, options.case))
        return
    for envs in NUMBERS:  # uncounted: compiles
        measure(options.env, Case("rucksac", 0, envs, True))
    rows = []
    for number in range(options.rounds):
        for case in CASES:
            rows.append({"round": number, **case._asdict(), "per_second": round(measure(options.env, case), 1)})
            print(rows[-1], flush=True)
    with (RESULTS / "environments.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    heading = f"{options.env}, medians of {count(options.rounds, 'round')}."
    (RESULTS / "environments.md").write_text(
        f"# Steps per second by environments and workers\n\n{heading}\n{table(rows)}"
    )


if __name__ == "__main__":
    main()
