"""The promise to readers: small files, and not many, lie between `env.step` and the optimiser and back."""

import sys
from pathlib import Path

import rucksac
from rucksac.algorithm import equations
from rucksac.environments.collector import Collector
from rucksac.training.plan import Plan
from rucksac.training.train import train_run
from tests.training.test_loop import config

HOME = Path(rucksac.__file__).parent
MOST_FILES, MOST_LINES = 14, 1_300


def test_from_env_step_to_the_optimiser_and_back():
    visited: set[str] = set()
    last_stretch: set[str] = set()
    seen_optimiser = False

    def watch(frame, event, _):
        nonlocal seen_optimiser
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(HOME)):
            return
        if code is Collector.step.__code__:
            if seen_optimiser:  # a whole round: from one env.step, over the optimiser, to the next
                last_stretch.update(visited)
            visited.clear()
            seen_optimiser = False
        visited.add(code.co_filename)
        seen_optimiser |= code is equations.adam.__code__

    sys.setprofile(watch)
    try:
        train_run(Plan("Pendulum-v1", config(steps=40, log_every=1_000, eval_every=1_000), "sac"), None, None)
    finally:
        sys.setprofile(None)
    last_stretch.add(str(HOME / "training/loop.py"))  # entered before the first step and never left
    names = sorted(str(Path(name).relative_to(HOME)) for name in last_stretch)
    lines = sum(bool(line.strip()) for name in last_stretch for line in Path(name).read_text().splitlines())
    assert {"training/loop.py", "environments/collector.py", "experience/replay.py", "algorithm/update.py"} <= set(
        names
    )
    assert len(names) <= MOST_FILES, "\n".join(names)
    assert lines <= MOST_LINES, (lines, names)
