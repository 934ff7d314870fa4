"""The command that lets a shell complete commands, flags and their values."""

import argparse
import importlib.util
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from rucksac.algorithm.recipes import RECIPES
from rucksac.commands.parsing import Command
from rucksac.commands.screens import entries
from rucksac.config import DECLARED, Config, flag
from rucksac.errors import UsageError

SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True)
class Completion(Command):
    """Print a script that lets bash, zsh or fish complete commands, flags and their values.

    For bash: rucksac completion bash > ~/.local/share/bash-completion/completions/rucksac
    For zsh: rucksac completion zsh > a folder of $fpath/_rucksac
    For fish: rucksac completion fish > ~/.config/fish/completions/rucksac.fish
    """

    takes: ClassVar[str] = "SHELL"
    shell: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SHELL")]
    """Shell that will read it: bash, zsh or fish."""

    def run(self) -> int:
        if self.shell not in SHELLS:
            raise UsageError(f"there is no completion for {self.shell!r}; the shells are {', '.join(SHELLS)}")
        if not importlib.util.find_spec("shtab"):
            raise UsageError('completion needs the package shtab; pip install "rucksac[completion]"')
        import shtab

        from rucksac.commands import COMMANDS

        print(shtab.complete(_parser(COMMANDS), self.shell))
        return 0


def _parser(commands: dict[str, type[Command]]) -> argparse.ArgumentParser:
    """Return what the library makes a script of: every command with its words and flags."""
    parser = argparse.ArgumentParser("rucksac")
    parser.add_argument("--version", action="store_true", help="Print the version")
    within = parser.add_subparsers()
    for name, command in commands.items():
        sub = within.add_parser(name, help=_first_sentence(command.__doc__ or ""))
        _fill(sub, command)
    within.add_parser("help", help="Explain a command").add_argument("COMMAND", choices=list(commands))
    return parser


def _fill(parser: argparse.ArgumentParser, command: type) -> None:
    for name, annotated, doc, _ in entries(command):
        kind, *notes = typing.get_args(annotated) if typing.get_origin(annotated) is Annotated else (annotated,)
        named = next((note.name for note in notes if getattr(note, "name", None)), name)
        other = [word for note in notes for word in getattr(note, "aliases", None) or ()]
        about: dict[str, Any] = {"help": _first_sentence(doc)}
        if kind is bool:
            both = [flag(named), flag(f"no_{named}")] if name in DECLARED else [flag(named)]
            parser.add_argument(*both, action="store_true", **about)
            continue
        if values := _values(name, kind):
            about["choices"] = list(values)
        if typing.get_origin(kind) is tuple:
            about["nargs"] = "+"
        positional = tyro.conf.Positional in notes
        added = parser.add_argument(*([named] if positional else [*other, flag(named)]), **about)
        if Path in _inner(kind):
            import shtab

            added.complete = shtab.FILE  # type: ignore[attr-defined]
    if "settings" in typing.get_type_hints(command):
        _fill(parser, Config)


def _values(name: str, kind: Any) -> Iterable[str]:
    """Return the words that a flag or a word of a command takes, none where there are too many."""
    if typing.get_origin(kind) is Literal:
        return typing.get_args(kind)
    if name == "env":
        import gymnasium

        return sorted(each for each in gymnasium.envs.registry if "/" not in each)
    if name == "track":
        from rucksac.training.trackers import TRACKERS

        return TRACKERS
    return {"shell": SHELLS, "library": ("sb3",), "recipe": RECIPES}.get(name, ())


def _inner(kind: Any) -> Iterator[Any]:
    """Yield a type, and those inside it."""
    yield kind
    if typing.get_origin(kind) in (tuple, typing.Union, types.UnionType):
        for each in typing.get_args(kind):
            yield from _inner(each)


def _first_sentence(text: str) -> str:
    return " ".join(text.partition(".")[0].partition(";")[0].split()).replace("%", " percent")
