"""Pictures of runs: the learning curve, and what happened inside the learner."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rucksac.errors import UsageError
from rucksac.stats import mean_interval
from rucksac.training.folder import RunFolder, path_of
from rucksac.training.overview import WITHOUT_INFLUENCE, members
from rucksac.training.record import EPISODE, metrics_columns

WINDOW = 10  # episodes in the running mean of training returns
GRID = 200  # points at which the curves of several runs are compared
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # told apart by colour-blind readers
INSIDE = {
    "alpha": "temperature alpha",
    "entropy": "entropy (nats; dotted: its target)",
    "q": "mean Q",
    "critic_loss": "critic loss",
    "policy_loss": "policy loss",
    "temperature_loss": "temperature loss",
}
Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class RunData:
    """What one run folder holds."""

    title: str
    setting: str  # equal for runs that differ only in their seed
    differences: dict[str, object]
    target_entropy: float | None
    episodes: Columns
    evaluations: Columns
    metrics: Columns


class Picture(Figure):
    """A figure that notebooks show by itself."""

    def _repr_png_(self) -> bytes:
        image = io.BytesIO()
        self.savefig(image, format="png", dpi=96)
        return image.getvalue()


def plot(*runs: str | Path, inside: bool = False) -> Picture:
    """Return the learning curve of runs, or of folders of seeds, as a Matplotlib figure; a notebook shows it.

    `inside` draws temperature, entropy, Q and losses instead. Raises `UsageError` for folders that are no runs.
    """
    groups = _groups(runs)
    return (_draw_inside if inside else _draw_returns)(groups, _labels(groups))


def write_pictures(runs: Sequence[Path], output: Path) -> list[Path]:
    """Draw the runs and return the two pictures written: `output` and the same name ending in -inside.

    Raises `UsageError` for folders that are no runs and for pictures that cannot be written.
    """
    if not output.suffix:
        output = output.with_suffix(".png")
    groups = _groups(runs)
    labels = _labels(groups)
    inside = output.with_name(f"{output.stem}-inside{output.suffix}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _draw_returns(groups, labels).savefig(output, dpi=144)
        _draw_inside(groups, labels).savefig(inside, dpi=144)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{output} cannot be written ({error}); name a picture such as curve.png") from error
    return [output, inside]


def _groups(runs: Sequence[str | Path]) -> list[list[RunData]]:
    """Read the runs, those of one setting together; a folder of seeds stands for all its runs."""
    if not runs:
        raise UsageError("plot needs at least one run; give the folder that `rucksac train` wrote")
    folders = [path_of(run) for run in runs]
    each_once = {run.resolve(): run for folder in folders for run in members(folder) or [folder]}
    groups: dict[str, list[RunData]] = {}
    for path in each_once.values():
        data = _read(path)
        groups.setdefault(data.setting, []).append(data)
    return list(groups.values())


def _read(path: Path) -> RunData:
    config = RunFolder.open(path).read_config()
    settings = {name: value for name, value in config["settings"].items() if name not in WITHOUT_INFLUENCE}
    differences = {"environment": config["environment"] or "own environment", "recipe": config["recipe"], **settings}
    columns = {name: _columns(path / f"{name}.csv") for name in ("episodes", "evaluations", "metrics")}
    target = config["derived"].get("target_entropy")
    return RunData(
        str(differences["environment"]), json.dumps(differences, sort_keys=True), differences, target, **columns
    )


def _columns(file: Path) -> Columns:
    expected = metrics_columns(tuple(INSIDE)) if file.stem == "metrics" else EPISODE
    try:
        with file.open(newline="") as stream:
            header, *rows = csv.reader(stream)
        values = np.array([[float(cell) for cell in row] for row in rows]).reshape(len(rows), len(header))
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{file} cannot be read ({error}); was it written by rucksac?") from error
    if not set(expected) <= set(header):
        raise UsageError(f"{file} has the columns {', '.join(header)}, but must have {', '.join(expected)}")
    return {name: values[:, index] for index, name in enumerate(header)}


def _labels(groups: list[list[RunData]]) -> list[str]:
    """Name each group by what tells it from the others."""
    names = list(dict.fromkeys(name for group in groups for name in group[0].differences))
    telling = [name for name in names if len({json.dumps(group[0].differences.get(name)) for group in groups}) > 1]
    labels = []
    for group in groups:
        what = [f"{name} {group[0].differences.get(name)}" for name in telling]
        labels.append(", ".join([*what, f"{len(group)} seeds"] if len(group) > 1 else what))
    return labels


def _draw_returns(groups: list[list[RunData]], labels: list[str]) -> Picture:
    figure = Picture(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for index, (group, label) in enumerate(zip(groups, labels, strict=True)):
        colour = COLOURS[index % len(COLOURS)]
        if len(group) == 1:
            episodes = group[0].episodes
            axes.plot(episodes["env_steps"], episodes["return"], ".", color=colour, alpha=0.25, markersize=4)
        curves = [(run.episodes["env_steps"], _running_mean(run.episodes["return"])) for run in group]
        prefix = f"{label}: " if label else ""
        over = "seeds" if len(group) > 1 else "episodes"
        _line_with_interval(axes, curves, colour, f"{prefix}training episodes, mean of {WINDOW}")
        _evaluations(axes, group, colour, f"{prefix}evaluation, 95 % interval over {over}")
    axes.set_title(" and ".join(dict.fromkeys(group[0].title for group in groups)))
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return")
    axes.grid(alpha=0.25)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize="small")
    return figure


def _draw_inside(groups: list[list[RunData]], labels: list[str]) -> Picture:
    figure = Picture(figsize=(11, 6), layout="constrained")
    for axes, (column, title) in zip(figure.subplots(2, 3).flat, INSIDE.items(), strict=True):
        for index, (group, label) in enumerate(zip(groups, labels, strict=True)):
            curves = [(run.metrics["env_steps"], run.metrics[column]) for run in group]
            _line_with_interval(axes, curves, COLOURS[index % len(COLOURS)], label)
            if column == "entropy" and group[0].target_entropy is not None:
                axes.axhline(group[0].target_entropy, color=COLOURS[index % len(COLOURS)], linestyle=":")
        axes.set_title(title, fontsize="medium")
        axes.grid(alpha=0.25)
        if column in ("alpha", "critic_loss") and axes.lines:
            axes.set_yscale("log", nonpositive="mask")
    figure.supxlabel("environment steps")
    if len(groups) > 1 and figure.axes[0].lines:
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", frameon=False, fontsize="small", ncols=2)
    return figure


def _line_with_interval(axes: Axes, curves: list[tuple[np.ndarray, np.ndarray]], colour: str, label: str) -> None:
    """Draw one run as it is; draw several as their mean with a 95 % interval over runs."""
    curves = [(steps, values) for steps, values in curves if len(steps)]
    if not curves:
        return
    if len(curves) == 1:
        axes.plot(*curves[0], color=colour, label=label)
        return
    grid = np.linspace(min(steps[0] for steps, _ in curves), max(steps[-1] for steps, _ in curves), GRID)
    values = np.array([np.interp(grid, steps, values, np.nan, np.nan) for steps, values in curves])
    there = [column[~np.isnan(column)] for column in values.T]  # each run counts as far as it reaches
    some = np.array([len(column) > 0 for column in there])
    intervals = np.array([_interval(column) for column in there if len(column)])
    axes.plot(grid[some], [column.mean() for column in there if len(column)], color=colour, label=label)
    axes.fill_between(grid[some], intervals[:, 0], intervals[:, 1], color=colour, alpha=0.2, linewidth=0)


def _evaluations(axes: Axes, group: list[RunData], colour: str, label: str) -> None:
    """Mark every evaluation: over episodes for one run, over the runs' means for several."""
    steps = sorted(set().union(*(run.evaluations["env_steps"] for run in group)))
    if not steps:
        return
    points = []
    for step in steps:
        each = [run.evaluations["return"][run.evaluations["env_steps"] == step] for run in group]
        points.append(each[0] if len(group) == 1 else np.array([returns.mean() for returns in each if len(returns)]))
    means = np.array([values.mean() for values in points])
    intervals = np.array([_interval(values) for values in points])
    errors = np.abs(intervals.T - means)
    axes.errorbar(
        steps, means, errors, fmt="o", color=colour, markersize=5, capsize=3, markeredgecolor="white", label=label
    )


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Return the interval of the mean; a single value is drawn without one."""
    return mean_interval(values) or (float(values[0]), float(values[0]))


def _running_mean(values: np.ndarray) -> np.ndarray:
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - WINDOW, 0)
    return (sums[ends] - sums[starts]) / np.maximum(ends - starts, 1)
