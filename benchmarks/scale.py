"""Steps per second over the number of collectors, in processes of this machine and on Ray, against the ideal.

    python benchmarks/scale.py [--seconds 20] [--utd 1] [--output benchmarks/results/scale.csv]

The environment has 17 observations and 6 actions as HalfCheetah-v5, and sleeps for 1, 10 or 100 ms a step. Networks are
2x256, batches 256, the lag is at most 32 gradient steps. Every case is a process of its own: once it learns, steps are
counted for so many seconds. `ideal_per_second` is the number of collectors divided by the sleep.
`grad_steps_per_second` is what the learner did; where it is the same for more collectors, the learner is the limit.
`row_bytes` is what a transition takes in a collector's ring, `answer_bytes` what Ray is given for it, `weights_bytes`
what one version of the weights takes. `lag_N` are quantiles of the lag of all transitions counted, in gradient steps;
`lags` has how many had which. Ray is started on this machine. Writes a row per case.
"""

import argparse
import csv
import json
import pickle
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import gymnasium
import numpy as np
from gymnasium.spaces import Box

import rucksac
from rucksac.config import Config
from rucksac.experience.ring import row_type
from rucksac.training.collector_process import columns_of_ring
from rucksac.training.plan import Plan
from rucksac.training.progress import Progress
from rucksac.training.train import train_run

RESULTS = Path(__file__).parent / "results"
MILLISECONDS, NUMBERS, ENGINES = (1.0, 10.0, 100.0), (1, 2, 4, 8), ("local", "ray")
QUANTILES = (5, 50, 95)


class Case(NamedTuple):
    """One way of collecting; an environment sleeps for so many milliseconds in each step."""

    engine: str
    collectors: int
    sleep_ms: float


class Sleeper(gymnasium.Env):
    """An environment that takes its time."""

    observation_space, action_space = Box(-np.inf, np.inf, (17,)), Box(-1.0, 1.0, (6,))

    def __init__(self, sleep_ms: float) -> None:
        self.seconds = sleep_ms / 1000

    def reset(self, *, seed=None, options=None):  # noqa: ARG002 (what environments take)
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        time.sleep(self.seconds)
        return self.np_random.normal(size=17), -float(np.square(action).sum()), False, False, {}


def answer_bytes(agent) -> int:
    """Return what an answer of one row takes, as Ray's workers pickle it."""
    from rucksac.training.ray_collectors import Answer

    return len(
        pickle.dumps(Answer(1, 1, [np.zeros((), row_type(columns_of_ring(agent.spaces))).tobytes()]), protocol=5)
    )


def measured(case: Case, seconds: float, utd: float, batch_size: int) -> dict:
    """Return what is counted in so many seconds of a run that learns."""
    lags, marks, found, add = Counter(), [], {}, Progress.add

    def add_and_count(progress, figures):
        if "lag" in figures and len(marks) == 1:
            lags[int(figures["lag"])] += 1
        add(progress, figures)

    def clock(event):
        if event.kind != "metrics" or not event.grad_steps:
            return None
        now = time.perf_counter()
        if not marks:
            marks.append((now, event.env_steps, event.grad_steps))
        elif now - marks[0][0] >= seconds:
            taken, env_steps, grad_steps = np.subtract((now, event.env_steps, event.grad_steps), marks[0])
            row = row_type(columns_of_ring(event.agent.spaces)).itemsize
            found.update(
                steps_per_second=round(env_steps / taken, 1),
                ideal_per_second=round(1000 * case.collectors / case.sleep_ms, 1),
                grad_steps_per_second=round(grad_steps / taken, 1),
                row_bytes=row,
                answer_bytes=answer_bytes(event.agent) if case.engine == "ray" else row,
                weights_bytes=sum(tensor.numel() * tensor.element_size() for tensor in event.agent.acting_tensors()),
            )
            return rucksac.STOP
        return None

    Progress.add = add_and_count
    config = Config(
        steps=10**9,
        warmup=batch_size,
        batch_size=batch_size,
        buffer_size=200_000,
        threads=1,
        utd=utd,
        log_every=max(1, int(100 / case.sleep_ms)),
        eval_every=10**9,
        checkpoint_every=10**9,
        eval_episodes=1,
        time_limit=1000,
        collectors=case.collectors,
        env_args={"sleep_ms": case.sleep_ms},
    )
    train_run(
        Plan(Sleeper, config, "rucksac", callbacks=(clock,), ray="local" if case.engine == "ray" else None), None, None
    )
    every = np.repeat(list(lags), list(lags.values()))
    quantiles = {f"lag_{each}": round(float(np.percentile(every, each)), 1) for each in QUANTILES}
    return {
        **case._asdict(),
        "utd": utd,
        **found,
        **quantiles,
        "lag_max": int(every.max()),
        "lags": json.dumps(dict(sorted(lags.items()))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="counted in each case")
    parser.add_argument("--utd", type=float, default=1.0, help="gradient steps per environment step")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--collectors", type=int, nargs="+", default=NUMBERS)
    parser.add_argument("--sleep-ms", type=float, nargs="+", default=MILLISECONDS)
    parser.add_argument("--output", type=Path, default=RESULTS / "scale.csv")
    parser.add_argument("--case", type=lambda text: Case(*json.loads(text)), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(options.case, options.seconds, options.utd, options.batch_size)))
        return
    rows = []
    for sleep_ms in options.sleep_ms:
        for collectors in options.collectors:
            for engine in ENGINES:
                given = [f"--seconds={options.seconds}", f"--utd={options.utd}", f"--batch-size={options.batch_size}"]
                case = json.dumps(Case(engine, collectors, sleep_ms))
                command = [sys.executable, __file__, *given, "--case", case]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{case} failed:\n{done.stderr[-2000:]}")
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                print(rows[-1], flush=True)
    with options.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
