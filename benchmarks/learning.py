"""Does it learn? Several seeds of tasks of every kind, with the default recipe and nothing changed but what is named.

    python benchmarks/learning.py --tasks cartpole lunarlander

Writes one row per evaluation to results/learning.csv (rows of other tasks stay), a table and a picture per task.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results"


class Task(NamedTuple):
    """What is trained, for how many seeds, and the return at which it counts as learned."""

    env: str
    steps: int
    seeds: int
    learned: float
    why: str  # this return
    flags: str = ""


THRESHOLD, SMALL = "Gymnasium's reward threshold", "--hidden 128 128 --batch-size 128 --lr 1e-3"
TASKS = {
    "cartpole": Task("CartPole-v1", 30_000, 5, 475, THRESHOLD, "--lr 1e-3 --eval-every 2000"),
    "lunarlander-discrete": Task("LunarLander-v3", 150_000, 3, 200, THRESHOLD, SMALL),
    "lunarlander": Task(
        "LunarLander-v3", 150_000, 3, 200, THRESHOLD, f"--env.continuous true --envs 2 --workers 1 {SMALL}"
    ),
    "reacher": Task("Reacher-v5", 30_000, 3, -6, "a random policy has -44, Gymnasium asks -3.75"),
    "halfcheetah": Task("HalfCheetah-v5", 50_000, 2, 3_000, "a random policy has -260, Gymnasium asks 4800"),
}


def train(task: Task, folder: Path) -> list[dict[str, float | int]]:
    words = f"{task.env} --seeds 1-{task.seeds} --steps {task.steps} --threads 1 {task.flags} --quiet".split()
    subprocess.run([sys.executable, "-m", "rucksac", "train", *words, "--run", folder], check=True)
    rows = []
    for run in sorted(folder.glob("seed*")):
        with (run / "evaluations.csv").open(newline="") as stream:
            returns: dict[int, list[float]] = {}
            for row in csv.DictReader(stream):
                returns.setdefault(int(row["env_steps"]), []).append(float(row["return"]))
        seed = int(run.name.removeprefix("seed"))
        for steps, values in returns.items():
            rows.append({"seed": seed, "env_steps": steps, "return": round(sum(values) / len(values), 2)})
    return rows


def table(rows: list[dict[str, str]]) -> str:
    lines = ["| task | seeds | steps | learned means | reached after (each seed) | return at the end (each seed) |"]
    lines += ["|---|---|---|---|---|---|"]
    for name, task in TASKS.items():
        own = [row for row in rows if row["task"] == name]
        seeds = sorted({int(row["seed"]) for row in own})
        if not seeds:
            continue
        curves = [[(int(r["env_steps"]), float(r["return"])) for r in own if int(r["seed"]) == seed] for seed in seeds]
        reached = [next((f"{steps:,}" for steps, value in curve if value >= task.learned), "-") for curve in curves]
        final = [f"{max(curve)[1]:.0f}" for curve in curves]
        what = f"{task.env} {task.flags}".strip()
        lines.append(
            f"| {what} | {len(seeds)} | {task.steps:,} | {task.learned:g}: {task.why} | {', '.join(reached)} | "
            f"{', '.join(final)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    options = parser.parse_args()
    file = RESULTS / "learning.csv"
    for name in options.tasks:
        with tempfile.TemporaryDirectory() as folder:
            new = [{"task": name, **row} for row in train(TASKS[name], Path(folder) / "runs")]
            picture = RESULTS / f"learning-{name}.png"
            command = [sys.executable, "-m", "rucksac", "plot", str(Path(folder) / "runs"), "-o", str(picture)]
            subprocess.run(command, check=True)
        kept = []
        if file.exists():
            with file.open(newline="") as stream:
                kept = [row for row in csv.DictReader(stream) if row["task"] != name]
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["task", "seed", "env_steps", "return"], lineterminator="\n")
            writer.writeheader()
            writer.writerows([*kept, *new])
        with file.open(newline="") as stream:
            (RESULTS / "learning.md").write_text(table(list(csv.DictReader(stream))))


if __name__ == "__main__":
    main()
