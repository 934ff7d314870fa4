"""The help of commands that take the settings of a run: what many need, or all of it, in groups."""

import ast
import inspect
import itertools
import shutil
import textwrap
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from rucksac.config import DECLARED, Config, flag
from rucksac.rules import Common, Group, Rare

LEFT, NARROWEST, WIDEST = 30, 60, 120  # columns: of the flags, and of a whole line
KINDS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


def screen(name: str, command: Any, default: Any, everything: bool) -> str:
    """Return the help of a command, with defaults as in `default`: flags that many need, or every flag."""
    width = max(NARROWEST, min(WIDEST, shutil.get_terminal_size((80, 24)).columns))
    about, _, more = inspect.cleandoc(command.__doc__).partition("\n\n")
    lines = [f"usage: rucksac {name} {command.takes} [--FLAG VALUE ...]", "", *_wrapped(about, width)]
    if everything:
        lines += ["", *_wrapped(more, width)] if more else []
    else:
        lines += _wrapped(f"Common flags; rucksac {name} --help all has every one.", width)
    own = [entry for entry in entries(command) if entry[0] != "settings" and (everything or entry[3])]
    lines += ["", f"{command.takes.strip('[]')}, and where settings come from and results go:" if own else ""]
    for field, kind, doc, _ in own:
        lines += _entry(field, kind, doc, getattr(default, field, None), width, everything)
    settings = {field: (kind, doc) for field, kind, doc, _ in entries(Config)}
    for group in dict.fromkeys(declared.group for declared in DECLARED.values()):
        lines += _settings_of(group, settings, default.settings, everything, width)
    return "\n".join(lines) + "\n"


def _settings_of(
    group: Group, settings: dict[str, tuple[Any, str]], default: Config, everything: bool, width: int
) -> list[str]:
    chosen = [name for name, each in DECLARED.items() if each.group == group and (everything or each.common)]
    lines = [
        line for name in chosen for line in _entry(name, *settings[name], getattr(default, name), width, everything)
    ]
    return ["", f"{group.title}:".capitalize(), *lines] if lines else []


def entries(kind: type) -> Iterator[tuple[str, Any, str, bool]]:
    """Yield name, type, words and whether many need it for each flag of a dataclass, in their order."""
    docs = {}
    (tree,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body
    body = typing.cast(ast.ClassDef, tree).body
    for declared, after in itertools.pairwise(body):
        if (
            isinstance(declared, ast.AnnAssign)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            docs[ast.unparse(declared.target)] = inspect.cleandoc(str(after.value.value)).replace("\n", " ")
    for name, annotated in typing.get_type_hints(kind, include_extras=True).items():
        inner, *notes = typing.get_args(annotated) if typing.get_origin(annotated) is Annotated else (annotated,)
        if name in docs and typing.get_origin(inner) is not ClassVar and tyro.conf.Suppress not in notes:
            common = any(isinstance(each, Common) for each in notes)
            rare = any(isinstance(each, Rare) for each in notes)
            yield name, annotated, docs[name], common if kind is Config else not rare


def _entry(name: str, annotated: Any, doc: str, default: Any, width: int, everything: bool) -> list[str]:
    """Return the lines of one flag; on the short screen it has one."""
    inner, *notes = typing.get_args(annotated) if typing.get_origin(annotated) is Annotated else (annotated,)
    called = next((note.name for note in notes if getattr(note, "name", None)), name)
    metavar = next((note.metavar for note in notes if getattr(note, "metavar", None)), None)
    if tyro.conf.Positional in notes:
        left = str(metavar)
    elif inner is bool:
        left = flag("[no-]" + called) if default is True or name in DECLARED else flag(called)
    elif name == "env_args":
        left = "--env.NAME VALUE"
    else:
        left = f"{flag(called)} {metavar or _metavar(inner)}"
    shown = default_text(default)
    shown = f" [{shown}]" if shown else ""
    if not everything:
        room = width - max(LEFT, len(left) + 3) - len(shown)
        return [f"  {left:{LEFT - 3}} {textwrap.shorten(doc.partition(';')[0], room, placeholder=' ...')}{shown}"]
    words = textwrap.wrap(doc + shown, width - LEFT)
    if len(left) + 3 > LEFT:
        return [f"  {left}", *(" " * LEFT + each for each in words)]
    return [f"  {left:{LEFT - 2}}{words[0]}", *(" " * LEFT + each for each in words[1:])]


def _metavar(kind: Any) -> str:
    if kind in KINDS:
        return KINDS[kind]
    if typing.get_origin(kind) is Literal:
        return "|".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"{_metavar(typing.get_args(kind)[0])} ..."
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return "|".join(_metavar(each) for each in typing.get_args(kind) if each is not type(None))
    return "VALUE"


def default_text(value: Any) -> str:
    """Return the default of a flag as help shows it, nothing where it has none."""
    if value is None or value is tyro.MISSING or isinstance(value, bool | dict) or value == ():
        return "yes" if value is True else ""
    if isinstance(value, tuple):
        return " ".join(map(default_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(" ".join(text.split()), width)
