"""What TensorBoard reads, and what the log files have."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.runs import rows


def reader(run):
    found = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return found.Reload()


def curves(run):
    """Return what TensorBoard shows: name to [(step, value)]."""
    found = reader(run)
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def logged(run):
    """Return the curves that belong to the log files."""
    found = {}
    for kind in ("metrics", "episodes", "evaluations"):
        groups = {}
        for row in rows(run, kind):
            groups.setdefault(int(row.pop("env_steps")), []).append(row)
        for step, group in groups.items():
            for column in group[0].keys() - {"seed", "episode"}:
                values = [float(row[column]) for row in group]
                found.setdefault(f"{kind}/{column}", []).append((step, sum(values) / len(values)))
                if kind == "evaluations" and column == "return":
                    found.setdefault("evaluations/return_min", []).append((step, min(values)))
                    found.setdefault("evaluations/return_max", []).append((step, max(values)))
    return found


def approximately(found):
    return {name: [(step, pytest.approx(value, rel=1e-6)) for step, value in points] for name, points in found.items()}
