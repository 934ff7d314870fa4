"""Groups of runs set against each other; the answer is what --json prints."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rucksac.compare import inference
from rucksac.compare.alignment import Aligned, By, Question, Score, Scores, Task, align, pairs, returns_at, strata
from rucksac.compare.reading import Group
from rucksac.errors import UsageError
from rucksac.stats import interquartile_mean

PARTS = (0.25, 0.5, 0.75, 1.0)  # of the steps, at which the curve is shown


def compare(groups: Sequence[Group], question: Question) -> dict[str, Any]:
    """Return everything there is to say of the first group against each other one.

    With several others each verdict is made at 5 % divided by their number, so that all together are wrong in 5 % at
    most. Raises `UsageError` for groups that do not compare and for a question that they cannot answer.
    """
    aligned = align(groups, question)
    measures: list[By] = ["last", "area"] if all(task.start < task.end for task in aligned.tasks) else ["last"]
    if question.by not in measures:
        raise UsageError("--by area needs two evaluations of each run at least; leave it out to compare the last ones")
    values = [np.concatenate(strata(each, aligned.tasks, "last")) for each in aligned.scores]
    levels = np.unique(np.concatenate(values))
    return {
        **question.__dict__,
        "tasks": [task._asdict() for task in aligned.tasks],
        "groups": [
            {
                "name": name,
                **_group(scores, aligned.tasks, measures, question.threshold is not None),
                "profile": {"above": levels.tolist(), "share": inference.share_above(each, levels).tolist()},
            }
            for name, scores, each in zip(aligned.names, aligned.scores, values, strict=True)
        ],
        "comparisons": [_against(aligned, other, measures, question) for other in range(1, len(groups))],
        "notes": aligned.notes,
    }


def _group(scores: Scores, tasks: list[Task], measures: list[By], threshold: bool) -> dict[str, Any]:
    """Return what is said of one group."""
    found: dict[str, Any] = {"count": sum(map(len, scores.values()))}
    for by in measures:
        each = strata(scores, tasks, by)
        found[by] = {
            **inference.iqm(each)._asdict(),
            "mean": float(np.concatenate(each).mean()),
            "by_task": {task.name: inference.iqm(strata(scores, [task.in_returns()], by))._asdict() for task in tasks},
        }
    if threshold:
        found["threshold"] = _threshold([score for each in scores.values() for score in each])
    found["parts"] = [_at(scores, tasks, part) for part in PARTS]
    found["curve"] = {task.name: _curve(scores[task.name], task) for task in tasks}
    found["runs"] = [{"task": task, **_run(score)} for task, each in scores.items() for score in each]
    return found


def _threshold(scores: list[Score]) -> dict[str, Any]:
    """Return how many runs reach the threshold and the median steps and minutes to it; who does not is beyond all."""
    timed = all(score.threshold_minutes is not None for score in scores if score.threshold_steps is not None)
    return {
        "reached": sum(score.threshold_steps is not None for score in scores),
        "median_steps": _median([score.threshold_steps for score in scores]),
        "median_minutes": _median([score.threshold_minutes for score in scores]) if timed else None,
    }


def _median(values: list[float | None]) -> float | None:
    median = float(np.median([np.inf if value is None else value for value in values]))
    return median if np.isfinite(median) else None


def _at(scores: Scores, tasks: list[Task], part: float) -> float | None:
    """Return the interquartile mean after this part of the steps, None before the first evaluation."""
    if any(part * task.end < task.start for task in tasks):
        return None
    each = [task.scaled(returns_at(scores[task.name], [part * task.end])[:, 0]) for task in tasks]
    return float(interquartile_mean(np.concatenate(each)))


def _curve(scores: list[Score], task: Task) -> dict[str, list[float]]:
    there = {float(step) for score in scores for step in score.run.steps if task.start <= step <= task.end}
    steps = sorted(there | {task.start, task.end})
    return {"steps": steps, "iqm": interquartile_mean(returns_at(scores, steps).T).tolist()}


def _run(score: Score) -> dict[str, Any]:
    run = score.run
    return {
        **{name: getattr(run, name) for name in ("source", "seed", "state", "planned")},
        **{name: value for name, value in score._asdict().items() if name != "run"},
        "steps": run.steps.tolist(),
        "returns": run.returns.tolist(),
    }


def _against(aligned: Aligned, other: int, measures: list[By], question: Question) -> dict[str, Any]:
    """Return the first group against another one, and what decides."""
    error = 0.05 / (len(aligned.names) - 1)
    all_runs = aligned.scores[0], aligned.scores[other]
    in_pairs = pairs(*all_runs)
    names = aligned.names[0], aligned.names[other]
    if question.paired:
        aligned.notes.extend(_without_partner(names, all_runs, in_pairs))
    found: dict[str, Any] = {"first": names[0], "against": names[1], "level": 1.0 - error}
    for by in measures:
        first, second = (strata(scores, aligned.tasks, by) for scores in all_runs)
        found[by] = {
            **_told(inference.difference(first, second, error)),
            "probability_of_improvement": inference.probability_of_improvement(first, second)._asdict(),
            "by_task": {task.name: _on(task.in_returns(), all_runs, by, error) for task in aligned.tasks},
            "pairs": None,
        }
        if in_pairs[0]:
            tasks = [task for task in aligned.tasks if task.name in in_pairs[0]]
            first, second = (strata(scores, tasks, by) for scores in in_pairs)
            found[by]["pairs"] = {
                "count": sum(map(len, first)),
                "correlation": inference.correlation(first, second),
                **_told(inference.paired_difference(first, second, error)),
            }
    return {**found, **_decision(aligned, other, in_pairs if question.paired else all_runs, question, error)}


def _on(task: Task, runs: tuple[Scores, Scores], by: By, error: float) -> dict[str, Any]:
    return _told(inference.difference(strata(runs[0], [task], by), strata(runs[1], [task], by), error))


def _told(difference: inference.Difference) -> dict[str, Any]:
    return {"difference": difference.value, "interval": difference.interval, "p": difference.p}


def _without_partner(names: tuple[str, str], runs: tuple[Scores, Scores], paired: tuple[Scores, Scores]) -> list[str]:
    """Tell which runs --paired leaves out; raise `UsageError` when it leaves none."""
    if not paired[0]:
        raise UsageError(f"--paired needs seeds that {names[0]} and {names[1]} share, once each; leave it out")
    return [
        f"{score.run.source} has no partner with its seed and is left out of the verdict"
        for side in (0, 1)
        for task, each in runs[side].items()
        for score in each
        if score not in paired[side].get(task, [])
    ]


def _decision(
    aligned: Aligned, other: int, runs: tuple[Scores, Scores], question: Question, error: float
) -> dict[str, Any]:
    """Return the winner, if the interval allows one, else about how many more seeds per task and group would tell."""
    tasks = [task for task in aligned.tasks if task.name in runs[0]]
    first, second = (strata(scores, tasks, question.by) for scores in runs)
    found = (inference.paired_difference if question.paired else inference.difference)(first, second, error)
    middles = [float(interquartile_mean(np.concatenate(each))) for each in (first, second)]
    agree = found.sign * (middles[0] - middles[1]) >= 0.0
    needed = inference.seeds_to_tell(first, second, question.paired, error)
    have = min(map(len, [*first, *second]))
    return {
        "winner": aligned.names[0 if found.sign > 0 else other] if found.sign and agree else None,
        "disagreement": not agree,
        "decided_by": _told(found),
        "fewest_seeds": inference.fewest_seeds(len(tasks), question.paired, error),
        "seeds": have,
        "more_seeds": None if needed is None or (found.sign and agree) else max(needed - have, 1),
    }
