"""How often `rucksac diagnose` finds fault with runs that learn as they should.

    python benchmarks/diagnose.py
    python benchmarks/diagnose.py RUN [RUN ...]

Trains each task with two recipes and a few seeds, briefly, or takes healthy runs that are there, and diagnoses each;
every finding is a false alarm. Adds to benchmarks/results/diagnose.csv what is not on record, a row per run: `settings`
are the flags that are not the default ones, `findings` the names of what was found; Q at the starts and what was
obtained are means.
"""

import csv
import itertools
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import rucksac
from rucksac.diagnosing.diagnosis import diagnose
from rucksac.training.reproduction import reproduction

RESULT = Path(__file__).parent / "results/diagnose.csv"
TASKS = {"Pendulum-v1": (3_000, 3), "CartPole-v1": (3_000, 3), "HalfCheetah-v5": (3_000, 2), "Hopper-v5": (3_000, 2)}
RECIPES = ("plain", "rucksac")
COLUMNS = ("environment", "recipe", "seed", "settings", "env_steps", "grad_steps", "estimated", "obtained", "findings")


def row(run: Path) -> dict:
    """Return what is found of one run."""
    found = diagnose(run)
    assert found.estimates
    assert not found.evidence.missing
    estimated, obtained = (round(float(each.mean()), 2) for each in found.estimates[:2])
    env, *settings = shlex.split(reproduction(run)["command"])[2:]
    steps = found.evidence.env_steps, found.evidence.grad_steps
    names = "; ".join(finding.what for finding in found.findings)
    recipe = found.evidence.saved["recipe"]
    values = env, recipe, found.evidence.config.seed, " ".join(settings), *steps, estimated, obtained, names
    return dict(zip(COLUMNS, values, strict=True))


def trained(folder: Path, known: list[dict]) -> Iterator[Path]:
    """Train and yield one run after the other, but for those that are known."""
    there = {(row["environment"], row["recipe"], row["seed"]) for row in known}
    for recipe, (env, (steps, seeds)) in itertools.product(RECIPES, TASKS.items()):
        for seed in range(1, seeds + 1):
            if (env, recipe, str(seed)) in there:
                continue
            run = folder / f"{env}-{recipe}-{seed}"
            rucksac.train(env, recipe=recipe, run=run, seed=seed, steps=steps, threads=1, eval_episodes=1)
            yield run


def main(runs: list[str]) -> None:
    with RESULT.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with tempfile.TemporaryDirectory() as folder:
        for run in map(Path, runs) if runs else trained(Path(folder), list(rows)):
            rows.append(row(run))
            print(rows[-1], flush=True)
            with RESULT.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
