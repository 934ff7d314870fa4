"""The compiled gradient step alone: by size and threads, and how it grows, beside the matmul floor of the same moment.

    python benchmarks/step.py [--series sizes width batch critics observations recipes] [--recipes NAME ...]

The floor is what the step's multiply-adds cost by PyTorch's own product or by oneDNN's, whichever is faster, of a batch
and a hidden layer of 256. Sizes are those of the recipe plain; recipes are measured as they come, with the observations
and actions of HalfCheetah-v5 and one thread. Writes benchmarks/results/step.csv, a row per round (series and recipes
that are not measured keep theirs), and step.png.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from rucksac.algorithm.architecture import multiply_adds
from rucksac.algorithm.recipes import RECIPES
from rucksac.algorithm.update import Batch
from rucksac.building import build, compile_steps
from rucksac.compilation import computing
from rucksac.config import Config
from rucksac.environments.spaces import Continuous, Numbers, Spaces
from rucksac.learner import Learner
from rucksac.resources import available_threads

FILE = Path(__file__).parent / "results/step.csv"
ACTION, WARM_UP, ROUNDS, SECONDS, WIDE = 6, 5, 5, 0.6, 256
COMMON = {"width": 256, "layers": 2, "batch": 256, "critics": 2, "observations": 17}
SERIES = {
    "width": (64, 128, 256, 512, 1024),
    "batch": (32, 64, 128, 256, 512, 1024),
    "critics": (1, 2, 5, 10),
    "observations": (3, 17, 100, 348),
}
SIZES = [{"width": width, "layers": layers, "batch": batch} for width, layers, batch in (
    (64, 2, 100), (64, 3, 256), (128, 2, 128), (256, 2, 256)
)]  # fmt: skip


def rates(*functions: Callable[[], object]) -> list[tuple[float, ...]]:
    """Return calls per second of each function in each round; they take turns, since machines drift."""

    def seconds(function: Callable[[], object], count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            function()
        return time.perf_counter() - begin

    counts = [max(WARM_UP, int(WARM_UP * SECONDS / seconds(each, WARM_UP))) for each in functions]
    return [
        tuple(count / seconds(each, count) for each, count in zip(functions, counts, strict=True))
        for _ in range(ROUNDS)
    ]


def plain(changes: dict[str, int]) -> Config:
    """Return the recipe plain with other sizes."""
    case = {**COMMON, **changes}
    return Config(hidden=(case["width"],) * case["layers"], batch_size=case["batch"], critics=case["critics"])


def measure(series: str, threads: int, recipe: str, config: Config, obs: int) -> list[dict]:
    """Return a row per round: steps per second, and the floor."""
    config = replace(config, warmup=0, utd=1)
    critic, rows = config.critic_hidden or config.hidden, config.batch_size
    case = {"recipe": recipe, "width": max(critic), "layers": len(critic), "batch": rows, "critics": config.critics}
    case |= {"observations": obs}
    actions = Continuous((ACTION,), np.dtype(np.float32), -np.ones(ACTION), np.ones(ACTION))
    with computing(threads):
        learner = Learner(build(config, Spaces(Numbers((obs,)), actions)))
        assert compile_steps(learner) is None
        generator = torch.Generator().manual_seed(0)
        before, after = torch.randn(2, rows, obs, generator=generator)
        action, reward = torch.rand(rows, ACTION, generator=generator), torch.randn(rows, generator=generator)
        batch = Batch(before, action, reward, torch.full((rows,), 0.99), after)
        left, right = torch.randn(2, WIDE, WIDE)
        measured = rates(
            lambda: learner.update(batch),
            lambda: left @ right,
            lambda: torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], ""),
        )
    products_per_step = multiply_adds(config, obs, ACTION) / WIDE**3
    steps, floors = [step for step, *_ in measured], [max(products) / products_per_step for _, *products in measured]
    share = statistics.median(step / floor for step, floor in zip(steps, floors, strict=True))
    print(
        f"{series:13} {threads} threads {case}: {statistics.median(steps):.1f} steps/s, {share:.2f} of the floor",
        flush=True,
    )
    return [
        {"series": series, "threads": threads, **case, "round": number, "per_second": round(step, 2),
         "floor": round(floor, 2)} for number, (step, floor) in enumerate(zip(steps, floors, strict=True))
    ]  # fmt: skip


def picture(rows: list[dict]) -> Figure:
    """Draw the time of a step over each thing that makes it longer, and the floor."""
    figure = Figure(figsize=(11, 3), layout="constrained")
    for axes, series in zip(figure.subplots(1, len(SERIES)), SERIES, strict=True):
        own = [row for row in rows if row["series"] == series]
        values = sorted({int(row[series]) for row in own})
        for key, style, label in (("per_second", "o-", "step"), ("floor", "k--", "matmul floor")):
            rate = [statistics.median(float(row[key]) for row in own if int(row[series]) == at) for at in values]
            axes.loglog(values, [1e3 / each for each in rate], style, label=label, markersize=4)
        axes.set_xlabel(series)
        axes.set_xticks(values, [str(value) for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.25)
    figure.axes[0].set_ylabel("milliseconds, all threads")
    figure.axes[0].legend(frameon=False)
    return figure


def main() -> None:
    """Measure every series and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = ["sizes", *SERIES, "recipes"]
    without_pictures = [name for name, each in RECIPES.items() if each.config.augment == "none"]
    parser.add_argument("--series", nargs="+", default=every, choices=every)
    parser.add_argument("--recipes", nargs="+", default=without_pictures, choices=without_pictures)
    options, threads = parser.parse_args(), available_threads()
    rows, obs = read(), COMMON["observations"]
    for series in options.series:
        if series == "sizes":
            cases = [(each, "plain", plain(size), obs) for size in SIZES for each in sorted({1, threads})]
        elif series == "recipes":
            cases = [(1, name, RECIPES[name].config, obs) for name in options.recipes]
        else:
            changes = [{series: value} for value in SERIES[series]]
            cases = [(threads, "plain", plain(each), each.get("observations", obs)) for each in changes]
        measured = {recipe for _, recipe, _, _ in cases}
        rows = [row for row in rows if (row["series"], row["recipe"]) not in {(series, each) for each in measured}]
        rows += [row for case in cases for row in measure(series, *case)]
        with FILE.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    picture(read()).savefig(FILE.with_suffix(".png"), dpi=144)


def read() -> list[dict]:
    if not FILE.exists():
        return []
    with FILE.open(newline="") as stream:
        return list(csv.DictReader(stream))


if __name__ == "__main__":
    main()
