"""The command that says why a run is not learning."""

import json
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rucksac.commands.looking import Run
from rucksac.commands.parsing import Command
from rucksac.commands.quiet import aside
from rucksac.text import printable

if TYPE_CHECKING:
    from rucksac.diagnosing.diagnosis import Diagnosis


@dataclass(frozen=True)
class Diagnose(Command):
    """Say why a run is not learning: symptoms in its logs, memory and agent, with figures and the flag to try.

    It plays some episodes with the agent. The exit code is 0 whatever it finds.
    """

    takes: ClassVar[str] = "RUN"
    run_folder: Run
    """Folder of the run."""
    env: str | None = None
    """Environment id, for a run that was trained from Python with a function."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from rucksac.diagnosing.diagnosis import diagnose

        with aside(True):  # what an environment prints is no part of the answer
            found = diagnose(self.run_folder, self.env)
        print(json.dumps(found.to_json(), allow_nan=False) if self.json else _text(found))
        return 0


def _text(found: "Diagnosis") -> str:
    from rucksac.doctor.findings import to_lines
    from rucksac.training.reproduction import reproduction

    lines = []
    if found.findings:
        lines += [*to_lines(str(found.evidence.run), found.findings), f"In all: {found.summary()}."]
    else:
        lines.append(f"Nothing stands out: {found.summary()}.")
    lines += [f"Not looked at: {what} ({why})" for what, why in found.evidence.missing.items()]
    if flags := next((each.flags for each in found.findings if each.flags), ()):
        words = _without(shlex.split(reproduction(found.evidence.run)["command"]), flags)
        lines.append(f"Try first:  {shlex.join([*words, *flags])}")
    return "\n".join(printable(line) for line in lines)


def _without(words: list[str], flags: tuple[str, ...]) -> list[str]:
    """Return a command without the flags that are given anew, and without their values."""
    kept, leaving = [], False
    for word in words:
        if word.startswith("--"):
            leaving = word in flags
        if not leaving:
            kept.append(word)
    return kept
