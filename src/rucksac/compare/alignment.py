"""Runs of several groups brought to the same tasks and steps; whatever is left out or cut short is put in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from rucksac.compare.reading import Group, Run
from rucksac.errors import UsageError

By = Literal["last", "area"]


@dataclass(frozen=True)
class Question:
    """What is asked: which measure decides, up to which step, whether runs pair by seed, which return is good."""

    by: By = "last"
    steps: int | None = None
    paired: bool = False
    threshold: float | None = None


class Task(NamedTuple):
    """Steps between which the runs of one task compare, and the returns that are 0 and 1 on their scale."""

    name: str
    start: float
    end: float
    low: float = 0.0
    high: float = 1.0

    def scaled(self, returns: np.ndarray) -> np.ndarray:
        """Return where returns are on the scale."""
        return (returns - self.low) / (self.high - self.low)

    def in_returns(self) -> "Task":
        """Return the task with returns as they are."""
        return self._replace(low=0.0, high=1.0)


class Score(NamedTuple):
    """What one run did between the common steps; `area` is its mean return over them, None where they are one.

    `threshold_steps` and `threshold_minutes` are None where the threshold is not reached or time is not known.
    """

    run: Run
    last: float
    area: float | None
    threshold_steps: float | None
    threshold_minutes: float | None


Scores = dict[str, list[Score]]
"""The runs of one group by task."""


@dataclass(frozen=True)
class Aligned:
    """Groups that compare: their names, the tasks they share, their scores, and what a reader must know."""

    names: list[str]
    tasks: list[Task]
    scores: list[Scores]
    notes: list[str]


def align(groups: Sequence[Group], question: Question) -> Aligned:
    """Bring groups to the same tasks and steps.

    Several tasks get a scale on which 0 is the median run's lowest evaluation and 1 its highest. Raises `UsageError`
    for groups that share no task, share a run, or have no steps in common.
    """
    _refuse_shared_runs(groups)
    notes = [note for group in groups for note in group.left_out]
    names = [group.name for group in groups]
    names = [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, 1)]
    by_task = _shared_tasks(groups, names, notes)
    tasks = [_common(task, runs, question.steps, notes) for task, runs in by_task.items()]
    if len(tasks) == 1:
        tasks = [tasks[0].in_returns()]
    elif question.threshold is not None:
        raise UsageError(f"--threshold is one return, but there are {len(tasks)} tasks; compare one task at a time")
    scores = [
        {task.name: [_score(run, task, question.threshold) for run in by_task[task.name][place]] for task in tasks}
        for place in range(len(groups))
    ]
    for name, each in zip(names, scores, strict=True):
        runs = [score.run for task in each.values() for score in task]
        notes += _odd(name, runs, timed=question.threshold is not None)
    return Aligned(names, tasks, scores, notes)


def _refuse_shared_runs(groups: Sequence[Group]) -> None:
    seen: dict[Path, int] = {}
    for place, group in enumerate(groups):
        for run in group.runs:
            if seen.setdefault(Path(run.source).resolve(), place) != place:
                raise UsageError(f"{run.source} is in two groups, but a run can stand for one only")


def _shared_tasks(groups: Sequence[Group], names: list[str], notes: list[str]) -> dict[str, list[list[Run]]]:
    """Return the runs of each group by task, for the tasks that all groups have."""
    runs = [run for group in groups for run in group.runs]
    named = sorted({run.task for run in runs if run.task is not None})
    if len(named) > 1 and (nameless := next((run.source for run in runs if run.task is None), None)):
        raise UsageError(f"{nameless} does not say which of {', '.join(named)} it is of; add a column task")
    only = named[0] if named else "the task"
    by_task: dict[str, list[list[Run]]] = {name: [[] for _ in groups] for name in named or [only]}
    for place, group in enumerate(groups):
        for run in group.runs:
            by_task[run.task or only][place].append(run)
    lacking = {
        task: [name for name, there in zip(names, each, strict=True) if not there] for task, each in by_task.items()
    }
    if all(lacking.values()):
        have = [", ".join(task for task in by_task if name not in lacking[task]) for name in names]
        told = "; ".join(f"{name} has {tasks}" for name, tasks in zip(names, have, strict=True))
        raise UsageError(f"returns compare on the same task alone, but these groups share none: {told}")
    notes += [f"{task} is left out: {' and '.join(without)} lacks it" for task, without in lacking.items() if without]
    return {task: each for task, each in by_task.items() if not lacking[task]}


def _common(task: str, by_group: list[list[Run]], steps: int | None, notes: list[str]) -> Task:
    """Return between which steps the runs of a task compare; those that do not reach `steps` leave `by_group`."""
    if steps is not None:
        for group in by_group:
            short = [run for run in group if run.steps[-1] < steps]
            notes += [f"{run.source} is left out: it ends at step {run.steps[-1]:,.0f}" for run in short]
            group[:] = [run for run in group if run.steps[-1] >= steps]
        if not all(by_group):
            raise UsageError(f"--steps is {steps:,}, but no run of one group gets there on {task}; give fewer")
    runs = [run for group in by_group for run in group]
    shortest, longest, latest = (
        min(runs, key=lambda run: float(run.steps[-1])),
        max(float(run.steps[-1]) for run in runs),
        max(runs, key=lambda run: float(run.steps[0])),
    )
    start, end = float(latest.steps[0]), float(shortest.steps[-1]) if steps is None else float(steps)
    if steps is not None and start > end:
        raise UsageError(
            f"--steps is {steps:,}, but {latest.source} has no evaluation before step {start:,.0f}; give that or more"
        )
    if start > end:
        raise UsageError(f"{latest.source} has no evaluation before step {start:,.0f}, but others end at {end:,.0f}")
    if steps is None and longest > end:
        notes.append(
            f"compared up to step {end:,.0f} on {task}, as far as {shortest.source} goes; others go up to "
            f"{longest:,.0f}: --steps N compares at step N without the runs that do not get there"
        )
    if any(end not in run.steps for run in runs):
        notes.append(f"not every run was evaluated at step {end:,.0f} on {task}; what lies between is interpolated")
    curves = [run.returns[run.steps <= end] for run in runs]
    low, high = (float(np.median([extreme(curve) for curve in curves])) for extreme in (np.min, np.max))
    return Task(task, start, end, low, high if high > low else low + 1.0)


def _score(run: Run, task: Task, threshold: float | None) -> Score:
    between = (run.steps > task.start) & (run.steps < task.end)
    steps = np.array([task.start, *run.steps[between], task.end])
    values = np.interp(steps, run.steps, run.returns)
    area = float(np.trapezoid(values, steps) / (task.end - task.start)) if task.end > task.start else None
    reached = minutes = None
    if threshold is not None and len(there := np.flatnonzero((run.returns >= threshold) & (run.steps <= task.end))):
        reached = float(run.steps[there[0]])
        minutes = None if run.seconds is None else float(run.seconds[there[0]]) / 60.0
    return Score(run, float(values[-1]), area, reached, minutes)


def _odd(name: str, runs: list[Run], timed: bool) -> Iterator[str]:
    """Tell of runs that are not over, and of settings or machines that differ within one group."""
    for run in runs:
        if run.planned is not None and run.state != "finished":
            what = "still running" if run.state == "running" else "stopped before its end"
            yield f"{run.source} is {what}: evaluated up to step {run.steps[-1]:,.0f} of {run.planned:,}"
    settings: dict[str, set[str]] = {}
    for run in runs:
        for setting, value in run.settings:
            settings.setdefault(setting, set()).add(value)
    for setting, values in settings.items():
        if len(values) > 1:
            yield f"the runs of {name} differ in {setting}: {', '.join(sorted(values))}"
    if timed and len({run.machine for run in runs} - {None}) > 1:
        yield f"the runs of {name} come from several machines, whose minutes do not compare"


def strata(scores: Scores, tasks: Sequence[Task], by: By) -> list[np.ndarray]:
    """Return for each task a number per run, on the scale of the task."""
    return [task.scaled(np.array([getattr(score, by) for score in scores[task.name]], float)) for task in tasks]


def returns_at(scores: list[Score], steps: Sequence[float]) -> np.ndarray:
    """Return the returns (N, S) of N runs at S steps, interpolated between evaluations."""
    return np.array([np.interp(steps, score.run.steps, score.run.returns) for score in scores])


def pairs(first: Scores, second: Scores) -> tuple[Scores, Scores]:
    """Return the runs of both groups that pair by seed, in one order, for the tasks that have any."""
    found: tuple[Scores, Scores] = ({}, {})
    for task in first:
        one, other = ({score.run.seed: score for score in scores[task]} for scores in (first, second))
        unique = len(one) == len(first[task]) and len(other) == len(second[task])
        if unique and (seeds := sorted(one.keys() & other.keys())):
            found[0][task], found[1][task] = [one[seed] for seed in seeds], [other[seed] for seed in seeds]
    return found
