"""What a policy loses in int8, and how long an action takes in each format.

    python benchmarks/export.py [--steps 20000] [--episodes 100] [--no-times]

Trains Pendulum-v1, exports the agent in every format and plays the same starts with each of them. Writes a row per
format to results/export.csv and the table to export.md: mean return, its difference from the agent's over the same
starts with its interval, size, and the median time of one action for one observation. Times are those of this
machine and of one thread; run it when nothing else runs, or leave them out.
"""

import argparse
import csv
import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import onnxruntime
import torch

import rucksac
from rucksac.compilation import compiler
from rucksac.exporting.numpy_policy import Policy
from rucksac.stats import mean_interval

RESULTS = Path(__file__).parent / "results"
ENV = "Pendulum-v1"
ACTIONS, AT_ONCE = 2_000, 20  # timed, in blocks
Act = Callable[[np.ndarray], np.ndarray]  # one observation (O,) to one action (A,)


def by_onnx(file: Path) -> Act:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)
    return lambda obs: session.run(["action"], {"obs": obs[None]})[0][0]


def by_torch(file: Path) -> Act:
    module = torch.export.load(file).module()

    def act(obs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(obs[None])).numpy()[0]

    return act


def by_c(file: Path) -> Act:
    source, library = file.with_suffix(".c"), file.with_suffix(".so")
    source.write_text(
        f'#include "{file}"\n'
        "void act(const float *obs, float *action);\n"
        "void act(const float *obs, float *action) { policy_act(obs, action); }\n"
    )
    words = [compiler(), "-x", "c", "-std=c99", "-O3", "-march=native", "-shared", "-fPIC", source, "-o", library]
    subprocess.run([*map(str, words), "-lm"], check=True)
    function, action = ctypes.CDLL(str(library)).act, np.zeros(1, np.float32)

    def act(obs: np.ndarray) -> np.ndarray:
        function(ctypes.c_void_p(obs.ctypes.data), ctypes.c_void_p(action.ctypes.data))
        return action.copy()

    return act


FORMATS: dict[str, tuple[str, Callable[[Path], Act]]] = {
    "onnxruntime": ("policy.onnx", by_onnx),
    "onnxruntime, int8": ("int8.onnx", by_onnx),
    "torch": ("policy.pt2", by_torch),
    "NumPy": ("policy.npz", lambda file: Policy(str(file))),
    "C by ctypes": ("policy.h", by_c),
}


def returns(act: Act, episodes: int) -> np.ndarray:
    env, found = gymnasium.make(ENV), []
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            obs, reward, terminated, truncated, _ = env.step(act(obs))
            total, over = total + float(reward), terminated or truncated
        found.append(total)
    return np.array(found)


def microseconds(act: Act) -> float:
    obs, took = np.array([0.5, 0.5, 0.5], np.float32), []
    for _ in range(ACTIONS // AT_ONCE):
        begin = time.perf_counter()
        for _ in range(AT_ONCE):
            act(obs)
        took.append((time.perf_counter() - begin) / AT_ONCE * 1e6)
    return float(np.median(took[len(took) // 10 :]))


def table(rows: list[dict]) -> str:
    lines = ["# What each exported format costs", ""]
    lines += ["| what acts | size | mean return | difference from the agent, 95 % over starts | one action |"]
    lines += ["|---|---|---|---|---|"]
    for row in rows:
        size = f"{row['bytes'] / 1024:,.0f} KiB" if row["bytes"] else ""
        apart = f"{row['difference']:+.2f} ({row['low']:+.2f} to {row['high']:+.2f})"
        lasts = f"{row['microseconds']:,.1f} µs" if row["microseconds"] else "not taken"
        lines.append(f"| {row['what']} | {size} | {row['return']:.2f} | {apart} | {lasts} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, export, play and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--no-times", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    agent = rucksac.train(ENV, steps=options.steps, threads=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        acts: dict[str, tuple[Act, int]] = {"agent.predict": (lambda obs: agent.predict(obs)[0], 0)}
        for what, (file, opened) in FORMATS.items():
            done = rucksac.export(agent, folder / file, int8=what.endswith("int8"))
            acts[what] = opened(folder / file), done.bytes
        rows, first = [], None
        for what, (act, size) in acts.items():
            each = returns(act, options.episodes)
            first = each if first is None else first
            low, high = mean_interval(each - first)
            rows.append(
                {
                    "what": what,
                    "bytes": size,
                    "return": round(float(each.mean()), 3),
                    "difference": round(float((each - first).mean()), 3),
                    "low": round(low, 3),
                    "high": round(high, 3),
                    "microseconds": 0.0 if options.no_times else round(microseconds(act), 2),
                }
            )
            print(rows[-1], flush=True)
    with (options.out / "export.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (options.out / "export.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
