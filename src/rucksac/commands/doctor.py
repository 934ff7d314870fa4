"""The command that examines: this machine, and an environment."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from rucksac.algorithm.recipes import DEFAULT, recipe
from rucksac.commands.parsing import Command, settings_of
from rucksac.commands.quiet import aside
from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.settings_text import to_flags


@dataclass(frozen=True)
class Doctor(Command):
    """Say whether this machine and an environment are fit for training, and which settings would suit.

    The exit code is 0 when all is well, 1 with advice, 2 when it cannot work. Takes every setting of rucksac train.
    """

    takes: ClassVar[str] = "[ENV]"
    env: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")] = None
    """Environment id, module:Name-v0 or module:function; the machine alone if not given."""
    recipe: str = DEFAULT
    """Named published settings to start from; see: rucksac recipes."""
    config: Path | None = None
    """TOML file with settings; it overrides the recipe, flags override it."""
    episodes: int | None = None
    """Episodes of random play; if not given, it is bounded by steps."""
    play_steps: int | None = None
    """Steps of random play; if neither is given, 2000. It also ends after ten seconds."""
    json: bool = False
    """Print one JSON object."""
    settings: tyro.conf.OmitArgPrefixes[Config] = dataclasses.field(default_factory=Config)

    @classmethod
    def defaults(cls, words: list[str]) -> "Doctor":
        """Return the settings of the recipe, and of the settings file, that the words name."""
        return cls(settings=settings_of(words))

    def run(self) -> int:
        from rucksac.doctor.environment import examine_environment
        from rucksac.doctor.findings import EXIT_CODES, closing, to_json, to_lines, worst
        from rucksac.doctor.machine import examine_machine

        for name, given in (("--episodes", self.episodes), ("--play-steps", self.play_steps)):
            if given is not None and given < 1:
                raise UsageError(f"{name} is {given}, but must be at least 1")
        machine = list(examine_machine())
        if not self.json:
            print("\n".join(to_lines("This machine", machine)), end="\n\n", flush=True)
        environment = []
        if self.env is not None:
            with aside(True):  # what an environment prints is no part of the answer
                environment = list(examine_environment(self.env, self.settings, self.play_steps, self.episodes))
        verdict = worst([*machine, *environment])
        if self.json:
            answer = {"verdict": verdict, "machine": to_json(machine), "environment": to_json(environment)}
            print(json.dumps(answer, allow_nan=False))
        else:
            if self.env is not None:
                print("\n".join(to_lines(self.env, environment)), end="\n\n")
            print(closing(self.env, self._flags(), [*machine, *environment]))
        return EXIT_CODES[verdict]

    def _flags(self) -> list[str]:
        """Return the flags that would give rucksac train these settings."""
        words = ["--recipe", self.recipe] if self.recipe != DEFAULT else []
        return words + to_flags(self.settings, recipe(self.recipe).config)
