"""Runs killed with SIGKILL at random moments and resumed, compared with runs left alone.

    python benchmarks/kills.py [--kills 30] [--cases pendulum ...] [--output results/kills.csv]

Per case one run is left alone and one is killed so many times, each time at a random moment after it has begun to
train. Parameters, moments, replay memory and logs (the wall clock aside) must then be equal to the last bit. The exit
code is 1 when anything differs.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rucksac.experience.replay import Replay
from rucksac.training.loading import load_agent, load_replay
from rucksac.training.parts import columns_of

OFTEN = "--threads 1 --batch-size 32 --warmup 100 --checkpoint-every 40 --log-every 50 --eval-episodes 1"
CASES = {
    "pendulum": "Pendulum-v1 --hidden 32 32",
    "pendulum, 3 environments, bf16": "Pendulum-v1 --hidden 32 32 --envs 3 --precision bf16",
    "halfcheetah": "HalfCheetah-v5 --hidden 32",
    "halfcheetah, 2 environments, overwritten memory": "HalfCheetah-v5 --hidden 32 --envs 2 --buffer-size 300",
    "halfcheetah, two layers of 256 on two threads": "HalfCheetah-v5 --threads 2 --batch-size 256 --warmup 256",
    "pendulum, 2 environments, priorities and returns of 3 steps": (
        "Pendulum-v1 --hidden 32 32 --envs 2 --priorities 0.6 --n-step 3 --buffer-size 500"
    ),
    "cartpole, 4 environments in 2 workers, normalised": (
        "CartPole-v1 --hidden 32 --envs 4 --workers 2 --normalise-observations --normalise-rewards"
    ),
}
COMMAND = [sys.executable, "-m", "rucksac"]


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoints/*"))


def kill_until_done(folder: Path, flags: list[str], kills: int, seed: int) -> tuple[int, int]:
    """Train in processes that are killed; return how often that was, and how often in the midst of saving."""
    generator, killed, saving = random.Random(seed), 0, 0
    command = [*COMMAND, "train", *flags, "--run", str(folder), "--quiet"]
    while True:
        before = checkpoints(folder)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and killed < kills:
                if checkpoints(folder) != before:  # it trains
                    time.sleep(generator.choice([0.0, generator.uniform(0.0, 0.3)]))
                    process.kill()
                    break
                time.sleep(0.0005)
            message = process.communicate()[1]
        if process.returncode == 0:
            return killed, saving
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(message)
        killed += 1
        saving += any(name.endswith(".new") for name in checkpoints(folder))
        command = [*COMMAND, "resume", str(folder), "--quiet"]


def logs(run: Path) -> list[list[dict]]:
    """Return all rows of all logs but for the wall clock."""
    found = []
    for name in ("metrics", "episodes", "evaluations"):
        with (run / f"{name}.csv").open(newline="") as stream:
            found.append([{**row, "wall_seconds": ""} for row in csv.DictReader(stream)])
    return found


def replay_of(run: Path) -> bytes:
    """Return the rows of replay memory that hold something."""
    agent = load_agent(run)
    config, spaces = agent.config, agent.spaces
    replay = Replay(config.buffer_size, config.envs, columns_of(spaces, config.frame_stack))
    load_replay(run, replay)
    valid = replay.kind > 0
    return b"".join(array[valid].tobytes() for array in replay.data.values())


def compare(left: Path, right: Path) -> dict[str, bool]:
    first, second = (load_agent(run).tensors() for run in (left, right))
    return {
        "parameters": all(tensor.equal(second[name]) for name, tensor in first.items()),
        "replay": replay_of(left) == replay_of(right),
        "logs": logs(left) == logs(right),
    }


def main() -> int:
    """Kill and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results/kills.csv")
    options = parser.parse_args()
    steps, rows = options.steps or max(1_600, 200 * options.kills), []
    for number, case in enumerate(options.cases):
        flags = f"{OFTEN} {CASES[case]} --steps {steps} --eval-every {steps // 2}".split()
        with tempfile.TemporaryDirectory() as folder:
            alone, killed = Path(folder) / "alone", Path(folder) / "killed"
            subprocess.run([*COMMAND, "train", *flags, "--run", alone, "--quiet"], check=True, env=os.environ)
            times, saving = kill_until_done(killed, flags, options.kills, seed=number)
            rows.append(
                {"case": case, "steps": steps, "kills": times, "while_saving": saving, **compare(alone, killed)}
            )
        print(rows[-1], flush=True)
    with options.output.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0 if all(row[part] for row in rows for part in ("parameters", "replay", "logs")) else 1


if __name__ == "__main__":
    sys.exit(main())
