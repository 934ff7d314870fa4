"""The promise to readers: few and small functions lie between `env.step` and the optimiser and back."""

import inspect
import sys
from pathlib import Path

import pytest

import rucksac
from rucksac.algorithm import equations
from rucksac.environments.collector import Collector
from rucksac.training.loop import Loop
from rucksac.training.plan import Plan
from rucksac.training.train import train_run
from tests.runs import config

HOME = Path(rucksac.__file__).parent
NORMALISED = {"normalise_observations": True, "normalise_rewards": True}


@pytest.mark.parametrize(
    ("settings", "most_files", "most_lines"),
    [({}, 14, 591), (NORMALISED, 15, 622), ({"log_every": 1}, 19, 700)],
    ids=["default", "normalised", "logged"],
)
def test_from_env_step_to_the_optimiser_and_back(settings, most_files, most_lines):
    visited, last_round = set(), set()

    def watch(frame, event, _):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(HOME)):
            return
        if code is Collector.step.__code__:
            if equations.adam.__code__ in visited:  # a whole round: from one env.step, over the optimiser, to the next
                last_round.clear()
                last_round.update(visited)
            visited.clear()
        visited.add(code)

    plan = Plan("Pendulum-v1", config(**{"steps": 40, "log_every": 1_000, "eval_every": 1_000, **settings}), "sac")
    sys.setprofile(watch)
    try:
        train_run(plan, None, None)
    finally:
        sys.setprofile(None)
    last_round.add(Loop.run.__code__)  # entered before the first step and never left
    lines = set()
    for code in last_round:
        source, first = inspect.getsourcelines(code)
        lines |= {(code.co_filename, first + number) for number, line in enumerate(source) if line.strip()}
    files = sorted({str(Path(name).relative_to(HOME)) for name, _ in lines})
    assert {"training/loop.py", "environments/collector.py", "experience/replay.py", "algorithm/update.py"} <= set(
        files
    )
    assert len(files) <= most_files, files
    assert len(lines) <= most_lines, (len(lines), files)
