"""Training several runs side by side: a process for each, as many at once as there are processors.

Starting the whole and going on with it are the same thing. Compiled steps are shared: the first process builds them,
the others wait for the file.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from rich.live import Live
from rich.table import Table

from rucksac.stats import summarise
from rucksac.text import count
from rucksac.training.console import console
from rucksac.training.folder import RunFolder
from rucksac.training.group_display import line, seeds_table
from rucksac.training.jobs import Place, ThisMachine
from rucksac.training.seed_process import SeedProcess
from rucksac.training.stopping import StopRequest, stop_on_signals

SECONDS_BETWEEN_LOOKS, SECONDS_BETWEEN_LINES = 0.5, 10.0


class Group:
    """Runs in a common folder, `at_once` of them side by side, or as many as there are processors for.

    They are started in the order of `runs`, on this machine or in another `place`; `show` makes the table of how they
    stand.
    """

    def __init__(
        self,
        folder: Path,
        runs: Sequence[Path],
        quiet: bool,
        at_once: int | None = None,
        show: Callable[[Sequence[SeedProcess]], Table] = seeds_table,
        place: Place | None = None,
    ) -> None:
        self.folder, self.quiet, self._at_once, self._show = folder, quiet, at_once, show
        self._place = place or ThisMachine()
        self._out = console()
        self.members = [SeedProcess.of(path) for path in runs]

    def run(self) -> tuple[dict[str, Any], int]:
        """Train all that are not done; return a summary and the exit code."""
        at_once = self._at_once or self._place.room(max(each.threads for each in self.members))
        last_line = time.monotonic()
        self._say(f"{count(len(self.members), 'run')} in {self.folder}, {at_once} at once")
        with stop_on_signals() as stop, self._live() as live:
            stop.graceful = True
            try:
                while not self._settled(stop):
                    self._attend(stop, at_once)
                    if live:
                        live.update(self._show(self.members))
                    elif time.monotonic() - last_line > SECONDS_BETWEEN_LINES:
                        last_line = time.monotonic()
                        self._say(line(self.members))
                    stop.wait(SECONDS_BETWEEN_LOOKS) if not stop.is_set() else time.sleep(SECONDS_BETWEEN_LOOKS)
            finally:
                for each in self.members:
                    if each.process:
                        each.process.kill()
                        each.process.wait()
        return self._summary(), self._exit_code(stop)

    def _attend(self, stop: StopRequest, at_once: int) -> None:
        for each in self.members:
            each.look()
        running = sum(each.process is not None for each in self.members)
        for each in self.members:
            if each.state == "waiting" and running < at_once and not stop.is_set() and self._is_free(each):
                each.start(self._place)
                running += 1
            elif stop.is_set() and each.process and each.state == "training":
                each.process.terminate()
                each.state = "stopping"

    def _is_free(self, member: SeedProcess) -> bool:
        """Return whether no other process trains there, such as one that still saves after its parent was killed."""
        occupant = RunFolder(member.folder).occupant()
        if occupant and occupant != member.waits_for:
            self._say(f"{member.folder} is in use by process {occupant}; waiting for it to end")
        member.waits_for = occupant
        return occupant is None

    def _settled(self, stop: StopRequest) -> bool:
        if any(each.process for each in self.members):
            return False
        return stop.is_set() or all(each.state != "waiting" for each in self.members)

    def _exit_code(self, stop: StopRequest) -> int:
        return stop.exit_code or int(any(each.state != "done" for each in self.members))

    def _summary(self) -> dict[str, Any]:
        names = [str(each.folder.relative_to(self.folder)) for each in self.members]
        finals = {}
        for name, each in zip(names, self.members, strict=True):
            if each.state == "done":
                evaluation = RunFolder.open(each.folder).read_summary().get("final_evaluation")
                finals[name] = evaluation["mean"] if evaluation else None
        means = np.array([mean for mean in finals.values() if mean is not None])
        return {
            "run": str(self.folder),
            "seeds": {name: each.state for name, each in zip(names, self.members, strict=True)},
            "final_returns": finals,
            "over_seeds": summarise(means)._asdict() if means.size else None,
        }

    def _live(self) -> AbstractContextManager[Live | None]:
        if self.quiet or not self._out.is_terminal:
            return nullcontext()
        return Live(self._show(self.members), console=self._out, refresh_per_second=4)

    def _say(self, text: str) -> None:
        if not self.quiet:
            self._out.print(text, markup=False)
