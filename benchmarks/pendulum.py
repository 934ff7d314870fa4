"""Learning Pendulum-v1: every seed, mean action, fixed starts, against the optimum on the same starts.

    python benchmarks/pendulum.py [--seeds 10] [--recipes sac notebook] [--workers 2]

Trains each recipe for 20,000 steps per seed and evaluates every 2,000 on the starts reset(seed=0..119). Writes
benchmarks/results/pendulum.csv (one row per recipe, seed and evaluation), .md (the table) and .png (the curves).
The optimum comes from value iteration on a grid of 361 angles, 241 velocities and 25 torques with 200 steps to go,
rolled out greedily in the real environment.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gymnasium
import numpy as np
from matplotlib.figure import Figure

from rucksac.stats import mean_interval

RESULTS = Path(__file__).parent / "results"
STARTS = {"0..99": slice(0, 100), "100..119": slice(100, 120)}
STEPS, EVERY, EPISODES, HORIZON = 20_000, 2_000, 120, 200
REPORTED = (6_000, 10_000, 20_000)


def train(recipe: str, seed: int, folder: Path) -> list[dict]:
    """Train one seed in a process of its own on one thread and return a row per evaluation."""
    run = folder / f"{recipe}-{seed}"
    flags = f"--recipe {recipe} --steps {STEPS} --seed {seed} --eval-every {EVERY} --eval-episodes {EPISODES}"
    command = [sys.executable, "-m", "rucksac", "train", "Pendulum-v1"]
    subprocess.run([*command, "--quiet", "--threads", "1", "--run", str(run), *flags.split()], check=True)
    returns: dict[int, list[float]] = {}
    for row in csv.DictReader((run / "evaluations.csv").open()):
        returns.setdefault(int(row["env_steps"]), []).append(float(row["return"]))
    print(
        f"{recipe} seed {seed}: {np.mean(returns[10_000][:100]):.1f} and {np.mean(returns[20_000][:100]):.1f}",
        flush=True,
    )
    return [
        {"recipe": recipe, "seed": seed, "env_steps": steps, "starts": name, "return": float(np.mean(values[part]))}
        for steps, values in returns.items()
        for name, part in STARTS.items()
    ]


def optimum() -> np.ndarray:
    """Return the best reachable return from each start, by value iteration (EPISODES,)."""
    env = gymnasium.make("Pendulum-v1").unwrapped
    angle = np.linspace(-np.pi, np.pi, 361)
    speed = np.linspace(-8.0, 8.0, 241)
    torque = np.linspace(-2.0, 2.0, 25)

    def outcome(theta, velocity, action):
        wrapped = (theta + np.pi) % (2 * np.pi) - np.pi
        reward = -(wrapped**2 + 0.1 * velocity**2 + 0.001 * action**2)
        push = 3 * env.g / (2 * env.l) * np.sin(theta) + 3.0 / (env.m * env.l**2) * action
        velocity = np.clip(velocity + push * env.dt, -8.0, 8.0)
        return reward, theta + velocity * env.dt, velocity

    def interpolate(value, theta, velocity):
        x = ((theta + np.pi) % (2 * np.pi)) / (2 * np.pi) * 360
        y = (velocity + 8.0) / 16.0 * 240
        i, j = np.minimum(x.astype(int), 359), np.minimum(y.astype(int), 239)
        p, q = x - i, y - j
        lower = value[i, j] * (1 - q) + value[i, j + 1] * q
        upper = value[i + 1, j] * (1 - q) + value[i + 1, j + 1] * q
        return lower * (1 - p) + upper * p

    grid = np.meshgrid(angle, speed, torque, indexing="ij")
    reward, theta, velocity = outcome(*grid)
    values = [np.zeros((361, 241))]
    for _ in range(HORIZON):
        values.append((reward + interpolate(values[-1], theta, velocity)).max(-1))
    returns = []
    for seed in range(EPISODES):
        env.reset(seed=seed)
        total = 0.0
        for left in range(HORIZON, 0, -1):
            reward, theta, velocity = outcome(*env.state, torque)
            action = torque[np.argmax(reward + interpolate(values[left - 1], theta, velocity))]
            total += env.step(np.array([action]))[1]
        returns.append(total)
    return np.array(returns)


def table(rows: list[dict], best: np.ndarray) -> str:
    """Return the figures as Markdown."""
    lines = [
        "| recipe | steps | starts | optimum | mean over seeds | 95 % interval | worst seed | every seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for recipe in dict.fromkeys(row["recipe"] for row in rows):
        for steps in REPORTED:
            for name, part in STARTS.items():
                each = np.array(
                    [r["return"] for r in rows if (r["recipe"], r["env_steps"], r["starts"]) == (recipe, steps, name)]
                )
                low, high = mean_interval(each)
                seeds = ", ".join(f"{value:.1f}" for value in each)
                lines.append(
                    f"| {recipe} | {steps:,} | {name} | {best[part].mean():.1f} | {each.mean():.1f} "
                    f"| {low:.1f} to {high:.1f} | {each.min():.1f} | {seeds} |"
                )
    return "\n".join(lines) + "\n"


def picture(rows: list[dict], best: np.ndarray) -> Figure:
    """Draw regret over steps, a line per recipe with the range of all seeds."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for recipe, colour in zip(dict.fromkeys(row["recipe"] for row in rows), ("#0072b2", "#d55e00"), strict=False):
        steps = sorted({row["env_steps"] for row in rows})
        each = np.array(
            [
                [
                    best[:100].mean() - r["return"]
                    for r in rows
                    if (r["recipe"], r["env_steps"], r["starts"]) == (recipe, s, "0..99")
                ]
                for s in steps
            ]
        )
        axes.plot(steps, each.mean(1), color=colour, label=f"{recipe}, mean of {each.shape[1]} seeds")
        axes.fill_between(
            steps, each.min(1), each.max(1), color=colour, alpha=0.2, label=f"{recipe}, worst to best seed"
        )
    axes.set_yscale("log")
    axes.set_xlabel("environment steps")
    axes.set_ylabel("regret: optimum minus return, starts 0..99")
    axes.grid(alpha=0.25, which="both")
    axes.legend(frameon=False)
    return figure


def main() -> None:
    """Train everything and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--recipes", nargs="+", default=["sac", "notebook"])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    best = optimum()
    print(f"optimum on starts 0..99: {best[:100].mean():.1f}, on 100..119: {best[100:].mean():.1f}", flush=True)
    jobs = [(recipe, seed) for recipe in options.recipes for seed in range(1, options.seeds + 1)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.workers) as pool:
        rows = [row for part in pool.map(lambda job: train(*job, Path(folder)), jobs) for row in part]
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "pendulum.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (RESULTS / "pendulum.md").write_text("# Pendulum-v1 beside the optimum\n\n" + table(rows, best))
    picture(rows, best).savefig(RESULTS / "pendulum.png", dpi=144)
    print(table(rows, best))


if __name__ == "__main__":
    main()
