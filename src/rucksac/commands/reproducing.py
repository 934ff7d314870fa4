"""The command that prints what makes a run again."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from rucksac.commands.looking import Run
from rucksac.commands.parsing import Command
from rucksac.text import printable


@dataclass(frozen=True)
class ShowConfig(Command):
    """Print what makes a run again: its settings as a TOML file for --config, and the one command line.

    Equal settings, seed and threads give equal files on one machine with the same versions of the packages.
    """

    takes: ClassVar[str] = "RUN"
    run_folder: Run
    """Folder of the run, or the common folder of several seeds."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from rucksac.training.reproduction import reproduction

        found = reproduction(self.run_folder)
        print(json.dumps(found) if self.json else _text(found), end="\n" if self.json else "")
        return 0


def _text(found: dict[str, Any]) -> str:
    """Return a TOML file whose first lines say how it is used."""
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        found["command"],
        f"The same with this file: {found['command_with_file']}",
        f"Made with {versions}" if versions else "",
        "" if found["environment"] else "ENV stands for an environment that was made by a function, module:function.",
    ]
    return "".join(f"# {printable(line)}\n" for line in lines if line) + found["toml"]
