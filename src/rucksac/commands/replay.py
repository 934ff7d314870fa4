"""The command that hands on what a run has experienced."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from rucksac.commands.looking import Run
from rucksac.commands.parsing import Command
from rucksac.config import MINARI
from rucksac.errors import UsageError
from rucksac.text import count

if TYPE_CHECKING:
    from rucksac.training.minari_data import Exported


@dataclass(frozen=True)
class Replay(Command):
    """Write the replay memory of a run as a Minari data set, for other runs and libraries.

    `rucksac train ENV --demonstrations minari:NAME` learns from one. See docs/demonstrations.md.
    """

    takes: ClassVar[str] = "export RUN"
    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="export")]
    """What to do with it; export is all there is."""
    run_folder: Run
    """Folder of the run."""
    to: str | None = None
    """Name of the data set, such as minari:me/hopper-v0; MINARI_DATASETS_PATH says where such are kept."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        from rucksac.training.minari_data import export_replay

        if self.what != "export":
            raise UsageError(f"replay does not {self.what!r}; it takes export, and the folder of a run")
        if self.to is None:
            raise UsageError(f"replay export needs --to: {MINARI} and a name, such as {MINARI}me/hopper-v0")
        done = export_replay(self.run_folder, self.to)
        print(json.dumps(done._asdict()) if self.json else _told(done))
        return 0


def _told(done: "Exported") -> str:
    lines = [f"{MINARI}{done.name}: {count(done.episodes, 'episode')}, {count(done.steps, 'step')}; in {done.folder}"]
    if done.overwritten:
        lines.append(
            f"{count(done.overwritten, 'older row')} of the replay memory had been overwritten, so an episode may lack "
            "its beginning."
        )
    if done.open:
        lines.append(f"{count(done.open, 'episode')} had not ended: the last step counts as a truncation.")
    return "\n".join(lines)
