"""Pictures of runs: the learning curve, and what happened inside the learner."""

import io
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rucksac.errors import UsageError
from rucksac.stats import mean_interval
from rucksac.training.folder import RunFolder, path_of
from rucksac.training.logs import Columns, whole_columns
from rucksac.training.overview import WITHOUT_INFLUENCE, members
from rucksac.training.record import EPISODE, metrics_columns

WINDOW = 10  # episodes in the running mean of training returns
GRID = 200  # points at which the curves of several runs are compared
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito's, for all eyes
DASHES = ("-", "--", ":", "-.")  # beyond six settings colours come again
SIZE, INSIDE_SIZE, SIZES = (8.0, 5.0), (11.0, 6.5), (1.0, 50.0)  # inches; the last: least and greatest
NARROW = 6.0  # inches below which letters are smaller
LETTERS = 13  # of a label to an inch
LOGARITHMIC = ("alpha", "critic_loss")
STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-5, 6),
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "legend.fontsize": "small",
    "pdf.fonttype": 42,  # letters as outlines that journals accept
    "svg.fonttype": "none",  # letters as text
    "svg.hashsalt": "rucksac",  # equal pictures are equal files
}
UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
INSIDE = {
    "alpha": "temperature alpha",
    "entropy": "entropy (nats; dotted: its target)",
    "q": "mean Q",
    "critic_loss": "critic loss",
    "policy_loss": "policy loss",
    "temperature_loss": "temperature loss",
}


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
    with rc_context(STYLE):
        return _draw_inside(groups, _labels(groups)) if inside else _draw_returns(groups, _labels(groups), SIZE)


def write_pictures(runs: Sequence[Path], output: Path, size: tuple[float, float] = SIZE) -> list[Path]:
    """Draw the runs and return the two pictures written: `output` and the same name ending in -inside.

    The name's ending says what they are, such as .png, .svg or .pdf; the first is `size` inches wide and high. Raises
    `UsageError` for folders that are no runs and for pictures that cannot be written.
    """
    if not all(SIZES[0] <= each <= SIZES[1] for each in size):
        raise UsageError(
            f"--size is {size[0]:g} {size[1]:g}, but must be width and height in inches, each from {SIZES[0]:g} to "
            f"{SIZES[1]:g}; for one column of a page 3.5 2.5 is usual"
        )
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a picture in it, such as {output / 'curve.png'}")
    if not output.suffix:
        output = output.with_suffix(".png")
    groups = _groups(runs)
    labels = _labels(groups)
    inside = output.with_name(f"{output.stem}-inside{output.suffix}")
    kept: dict[str, Any] = {"dpi": 144, "metadata": UNDATED.get(output.suffix.lower())}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with rc_context({**STYLE, "font.size": 10.0 if size[0] >= NARROW else 8.0}):
            _draw_returns(groups, labels, size).savefig(output, **kept)
        with rc_context(STYLE):
            _draw_inside(groups, labels).savefig(inside, **kept)
    except (OSError, ValueError) as error:
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
    if not file.is_file() or not file.stat().st_size:
        raise UsageError(f"{file} is missing or empty; put the whole file back")
    columns = whole_columns(file) or {name: np.zeros(0) for name in expected}
    if not set(expected) <= set(columns):
        raise UsageError(f"{file} has the columns {', '.join(columns)}, but must have {', '.join(expected)}")
    return columns


def _labels(groups: list[list[RunData]]) -> list[str]:
    """Name each group by what tells it from the others."""
    names = list(dict.fromkeys(name for group in groups for name in group[0].differences))
    telling = [name for name in names if len({json.dumps(group[0].differences.get(name)) for group in groups}) > 1]
    labels = []
    for group in groups:
        what = [f"{name} {group[0].differences.get(name)}" for name in telling]
        labels.append(", ".join([*what, f"{len(group)} seeds"] if len(group) > 1 else what))
    return labels


def _draw_returns(groups: list[list[RunData]], labels: list[str], size: tuple[float, float]) -> Picture:
    figure = Picture(figsize=size, layout="constrained")
    axes = figure.subplots()
    for group, look in zip(groups, _looks(groups), strict=True):
        if len(group) == 1:
            episodes = group[0].episodes
            axes.plot(episodes["env_steps"], episodes["return"], ".", color=look["color"], alpha=0.25, markersize=4)
        curves = [(run.episodes["env_steps"], _running_mean(run.episodes["return"])) for run in group]
        _line_with_interval(axes, curves, look)
        _evaluations(axes, group, look["color"])
    axes.set_title("\n".join(textwrap.wrap(_title(groups), int(LETTERS * size[0]))))
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    kinds = {"seeds" if len(group) > 1 else "episodes" for group in groups}
    first = _looks(groups)[0] if len(groups) == 1 else {"color": "0.35", "linestyle": "-"}
    entries = [(Line2D([], [], **first), f"training episodes, mean of {WINDOW}")]
    if any(len(run.evaluations["return"]) for group in groups for run in group):
        dot = Line2D([], [], color=first["color"], linestyle="", marker="o", markeredgecolor="white")
        entries.append((dot, f"evaluation, 95 % interval over {' or '.join(sorted(kinds))}"))
    if any(labels):
        told = [*zip(_looks(groups), labels, strict=True)]
        entries = [*((Line2D([], [], **look), label) for look, label in told), *entries]
    _legend(figure, entries)
    return figure


def _draw_inside(groups: list[list[RunData]], labels: list[str]) -> Picture:
    figure = Picture(figsize=INSIDE_SIZE, layout="constrained")
    for axes, (column, title) in zip(figure.subplots(2, 3).flat, INSIDE.items(), strict=True):
        for group, look in zip(groups, _looks(groups), strict=True):
            curves = [(run.metrics["env_steps"], run.metrics[column]) for run in group]
            _line_with_interval(axes, curves, look, logarithmic=column in LOGARITHMIC)
            if column == "entropy" and group[0].target_entropy is not None:
                axes.axhline(group[0].target_entropy, color=look["color"], linestyle=":", linewidth=1.0)
        axes.set_title(title, fontsize="medium")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.locator_params("x", nbins=5)
        if column in LOGARITHMIC and axes.lines:
            axes.set_yscale("log", nonpositive="mask")
    figure.suptitle(_title(groups))
    for axes in figure.axes[3:]:
        axes.set_xlabel("environment steps")
    if len(groups) > 1:
        _legend(figure, [(Line2D([], [], **look), label) for look, label in zip(_looks(groups), labels, strict=True)])
    return figure


def _title(groups: list[list[RunData]]) -> str:
    return " and ".join(dict.fromkeys(group[0].title for group in groups))


def _looks(groups: list[list[RunData]]) -> list[dict[str, Any]]:
    """Return colour and dashes of each group's line."""
    return [
        {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index // len(COLOURS) % len(DASHES)]}
        for index in range(len(groups))
    ]


def _legend(figure: Figure, entries: list[tuple[Line2D, str]]) -> None:
    """Write the legend below the axes, where it hides nothing; long labels take several lines."""
    letters, columns = int(LETTERS * figure.get_figwidth()), 1
    if all(len(label) < letters // 2 - 6 for _, label in entries):
        columns = 2
    wrapped = [textwrap.fill(label, letters // columns) for _, label in entries]
    figure.legend([line for line, _ in entries], wrapped, loc="outside lower center", ncols=columns)


def _line_with_interval(
    axes: Axes, curves: list[tuple[np.ndarray, np.ndarray]], look: dict[str, Any], logarithmic: bool = False
) -> None:
    """Draw one run as it is; draw several as their mean with a 95 % interval over runs, of logarithms if wanted."""
    curves = [(steps, values) for steps, values in curves if len(steps)]
    if not curves:
        return
    if len(curves) == 1:
        axes.plot(*curves[0], **look)
        return
    grid = np.linspace(min(steps[0] for steps, _ in curves), max(steps[-1] for steps, _ in curves), GRID)
    values = np.array([np.interp(grid, steps, values, np.nan, np.nan) for steps, values in curves])
    if logarithmic:
        values = np.log(np.where(values > 0.0, values, np.nan))
    there = [column[~np.isnan(column)] for column in values.T]  # each run counts as far as it reaches
    some = np.array([len(column) > 0 for column in there])
    means = np.array([column.mean() for column in there if len(column)])
    intervals = np.array([_interval(column) for column in there if len(column)]).reshape(-1, 2)
    if logarithmic:
        means, intervals = np.exp(means), np.exp(intervals)
    axes.plot(grid[some], means, **look)
    axes.fill_between(grid[some], intervals[:, 0], intervals[:, 1], color=look["color"], alpha=0.2, linewidth=0)


def _evaluations(axes: Axes, group: list[RunData], colour: str) -> None:
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
    axes.errorbar(steps, means, errors, fmt="o", color=colour, markersize=5, capsize=3, markeredgecolor="white")


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Return the interval of the mean; a single value is drawn without one."""
    return mean_interval(values) or (float(values[0]), float(values[0]))


def _running_mean(values: np.ndarray) -> np.ndarray:
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - WINDOW, 0)
    return (sums[ends] - sums[starts]) / np.maximum(ends - starts, 1)
