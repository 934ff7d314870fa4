"""How a run stands, as a few lines that a terminal shows again and again."""

from collections.abc import Iterable

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, Group, RenderResult
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rucksac.text import sparkline

NARROW = 80  # columns below which numbers stand in pairs rather than in one line
CURVE = 40  # columns of a curve at most


class Curve:
    """Values over a whole run, thinned: neighbours become their mean when there are too many."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self._together, self._open = 1, list[float]()  # how many make a value, and those that make none yet

    def add(self, value: float) -> None:
        """Take in the next value."""
        self._open.append(value)
        if len(self._open) == self._together:
            self.values.append(sum(self._open) / self._together)
            self._open = []
        if len(self.values) == 8 * CURVE:
            self.values = [(left + right) / 2 for left, right in zip(self.values[::2], self.values[1::2], strict=True)]
            self._together *= 2


class Standing:
    """What is known of a run; whoever changes it has it drawn by `rich`, in as many columns as there are."""

    def __init__(self, steps: int, console: RichConsole) -> None:
        self.note = ""  # shown as long as there are no numbers
        self.returns = Curve()  # of training episodes
        self.recent = ""
        self.evaluations = Curve()  # means
        self.evaluation = ""
        self.numbers: dict[str, str] = {}
        self.problems: Iterable[str] = ()  # names of numbers
        self.over = False
        self._blocks = (console.encoding or "").lower().startswith("utf")
        self._progress = Progress(
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} steps"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("passed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self._task = self._progress.add_task("train", total=steps)

    def advance(self, env_steps: int) -> None:
        """Take in how far the run is."""
        self._progress.update(self._task, completed=env_steps)

    def __rich_console__(self, console: RichConsole, options: ConsoleOptions) -> RenderResult:
        yield Group(self._how_far(), self._curves(options.max_width) if self.numbers else Text(self.note))

    def _how_far(self) -> Progress | Text:
        if not self.over:
            return self._progress
        task = self._progress.tasks[0]
        return Text(f"{task.completed:,.0f} of {task.total:,.0f} steps")

    def _curves(self, columns: int) -> Group:
        width = max(8, min(CURVE, columns - 50))
        curves = Table.grid(padding=(0, 2))
        for name, curve, latest in (
            ("return", self.returns, self.recent),
            ("evaluation", self.evaluations, self.evaluation),
        ):
            curves.add_row(name, sparkline(curve.values, width, self._blocks), latest or "none yet")
        numbers = Table.grid(padding=(0, 2))
        cells = [self._cell(name, value) for name, value in self.numbers.items()]
        at_once = len(cells) if columns >= NARROW else 2
        for first in range(0, len(cells), at_once):
            numbers.add_row(*cells[first : first + at_once])
        return Group(curves, numbers)

    def _cell(self, name: str, value: str) -> Text:
        cell = Text(f"{name} {value}")
        if name in self.problems:
            cell.append(" !", style="bold red")
        return cell
