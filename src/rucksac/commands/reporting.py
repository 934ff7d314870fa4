"""The commands that show runs in a browser: as a report to share, and live."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from rucksac.commands.looking import Runs
from rucksac.commands.parsing import Command
from rucksac.commands.quiet import aside
from rucksac.errors import UsageError

MOST_EPISODES = 1_000


@dataclass(frozen=True)
class Report(Command):
    """Write one HTML file with the curves, settings and films of runs, to read in any browser and to share.

    A folder of seeds is shown as its mean with a 95 % interval. The file loads nothing from elsewhere.
    """

    takes: ClassVar[str] = "RUN [RUN ...]"
    runs: Runs
    """Folders of the runs, or common folders of several seeds."""
    output: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("report.html")
    """File to write, in a folder that may be missing; one that exists is replaced."""
    play: int = 0
    """Episodes to play with each agent, to show what its critics expect beside what comes of it."""
    json: bool = False
    """Print one JSON object with everything that the report shows."""

    def run(self) -> int:
        from rucksac.reporting.page import write_report

        if not 0 <= self.play <= MOST_EPISODES:
            raise UsageError(f"--play is {self.play}, but must be from 0 to {MOST_EPISODES:,} episodes")
        with aside(True):  # what an environment prints is no part of the answer
            shown = write_report(self.runs, self.output, self.play)
        print(json.dumps({"report": str(self.output), **shown}, allow_nan=False) if self.json else self.output)
        return 0


@dataclass(frozen=True)
class Dashboard(Command):
    """Show a folder of runs in the browser while they train: a list that stays up to date, and growing curves.

    Prints the address, which only this machine reaches, and serves it until Ctrl-C. It writes nothing.
    """

    takes: ClassVar[str] = "[FOLDER]"
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")] = Path("runs")
    """Folder that holds the runs, up to two levels deep."""
    port: int = 8420
    """Port to serve on; 0 takes any that is free."""
    allow_control: bool = False
    """Let who opens the printed address, which then has a secret in it, stop and resume runs."""

    def run(self) -> int:
        from rucksac.reporting.server import serve

        serve(self.folder, self.port, self.allow_control, lambda address: print(address, flush=True))
        return 0
