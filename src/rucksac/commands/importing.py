"""The command that takes over a model of another library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from rucksac.commands.parsing import TakesEnvArgs
from rucksac.errors import UsageError


@dataclass(frozen=True)
class Import(TakesEnvArgs):
    """Make an agent of a model that another library saved; sb3 is SAC of Stable-Baselines3.

    Nothing in the file is unpickled. See docs/migrating.md for what is taken over.
    """

    takes: ClassVar[str] = "sb3 FILE"
    library: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="sb3")]
    """Library that saved the model."""
    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """File that it wrote, such as model.zip."""
    env: str | None = None
    """Environment that the model was trained in, whose spaces the agent gets."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=("-o",))] = None
    """Folder to write the agent to; other commands take it in place of a run."""

    def run(self) -> int:
        from rucksac.importing.sb3 import from_sb3

        if self.library != "sb3":
            raise UsageError(f"import reads no files of {self.library!r}; it takes sb3, the zip files of its SAC")
        if self.env is None or self.output is None:
            raise UsageError("import needs --env, the environment of the model, and --output, a folder for the agent")
        if self.output.exists():
            raise UsageError(f"{self.output} is there already; give another --output, or remove it first")
        agent = from_sb3(self.file, self.env, self.env_args)
        agent.save(self.output)
        print(f"{self.output}: {agent}")
        return 0
