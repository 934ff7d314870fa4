"""From words to a command. Each command is a frozen dataclass: its fields are the flags, `run` does the work."""

import contextlib
import dataclasses
import difflib
import io
import itertools
import json
import os
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Protocol, cast

import tyro
from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

from rucksac.algorithm.recipes import DEFAULT, recipe
from rucksac.config import ALLOWED, Config, flag, with_settings
from rucksac.errors import UsageError
from rucksac.rules import Rare
from rucksac.settings_text import settings_from_file
from rucksac.training.cluster import LOCAL
from rucksac.training.folder import path_of

ENV_ARG = "--env."
LEFT_OUT = object()  # stands for the value of an argument that is not to be given
ELSEWHERE = {  # what other libraries call our flags
    "--learning-rate": "--lr",
    "--learningrate": "--lr",
    "--actor-lr": "--policy-lr",
    "--critic-lr": "--lr",
    "--polyak": "--tau",
    "--start-timesteps": "--warmup",
    "--q-lr": "--lr",
    "--total-timesteps": "--steps",
    "--timesteps": "--steps",
    "--n-timesteps": "--steps",
    "--start-steps": "--warmup",
    "--random-steps": "--warmup",
    "--num-envs": "--envs",
    "--n-envs": "--envs",
    "--num-workers": "--workers",
    "--memory-size": "--buffer-size",
    "--replay-size": "--buffer-size",
    "--discount": "--gamma",
    "--ent-coef": "--alpha",
    "--temperature": "--alpha",
    "--net-arch": "--hidden",
    "--hidden-dim": "--hidden",
    "--hidden-size": "--hidden",
    "--gradient-steps": "--utd",
    "--train-freq": "--update-every",
    "--update-freq": "--update-every",
    "--policy-frequency": "--policy-delay",
    "--target-network-frequency": "--target-every",
    "--target-update-interval": "--target-every",
    "--eval-freq": "--eval-every",
    "--n-eval-episodes": "--eval-episodes",
    "--save-freq": "--checkpoint-every",
    "--algo": "--recipe",
    "--output": "--run",
    "--run-folder": "--run",
    "--save-path": "--run",
    "--log-dir": "--run",
    "--verbose": "--quiet",
}


class Command(Protocol):
    """A parsed command. The first line of its docstring is what the list of commands says of it."""

    takes: ClassVar[str]
    """The words that come before the flags, as the help writes them."""
    no_settings: ClassVar[str] = ""
    """What to say, before the flag, when a setting is given to a command that takes none."""
    no_env_args: ClassVar[str] = "makes no environment of its own, so it takes no"
    """What to say when arguments for the environment are given to a command that has no place for them."""

    @classmethod
    def defaults(cls, words: list[str]) -> "Command | None":  # noqa: ARG003 (those that need it override this)
        """Return the command with the values of flags that are not given, None for those of its fields."""
        return None

    def run(self) -> int:
        """Do it and return the exit code."""


@dataclass(frozen=True)
class TakesEnvArgs(Command):
    """A command that makes an environment with --env.NAME VALUE in place of arguments that a run was trained with."""

    env_args: Annotated[dict[str, Any], tyro.conf.Suppress] = dataclasses.field(default_factory=dict, kw_only=True)


def parse(name: str, command: type[Command], words: list[str]) -> Command | None:
    """Return the command with these words as its values, None when they only asked for help, which is then printed.

    Raises `UsageError` in one sentence for words that do not fit.
    """
    helping = bool({"-h", "--help"} & set(words))
    everything = helping and words[-1] == "all"
    default: Any = command.defaults(words)
    if helping and hasattr(default, "settings"):
        from rucksac.commands.screens import screen

        print(screen(name, command, default, everything), end="")
        return None
    complaint = io.StringIO()
    env_args, words = _env_args(words)
    if "" in words[1:]:  # such as a variable of the shell that is not set
        raise UsageError(f"what follows {words[words.index('', 1) - 1]} is empty; say what is meant, or leave it out")
    settings = getattr(default, "settings", None)
    if settings:  # the parser would make flags of what is in there
        env_args = with_env_args(settings.env_args, env_args)
        default = dataclasses.replace(default, settings=dataclasses.replace(settings, env_args={}))
    elif env_args and not issubclass(command, TakesEnvArgs):
        raise UsageError(f"{name} {command.no_env_args} --env.{next(iter(env_args))}")
    try:
        with contextlib.redirect_stderr(complaint):
            parsed, unknown = tyro.cli(
                command,
                prog=f"rucksac {name}",
                args=words,
                default=default,
                return_unknown_args=True,
                registry=OWN_TYPES,
            )
    except SystemExit as exit_request:
        if not exit_request.code:
            return None
        said = _first_sentence(complaint.getvalue())
        if about := re.search("--[a-z][a-z-]*", said):
            said = _unfit(command, about[0], words)
        elif said.startswith("Missing"):
            said = f"{name} needs {command.takes.split()[0]} as its first word"
        raise UsageError(f"{said}; see rucksac {name} --help") from None
    if unknown:
        raise UsageError(f"{_unknown(command, unknown[0])}; see rucksac {name} --help")
    if settings:
        own, given = vars(settings), vars(dataclasses.replace(parsed.settings, env_args=env_args))
        changed = {name: value for name, value in given.items() if value != own[name]}
        parsed = dataclasses.replace(parsed, settings=with_settings(settings, changed))
    elif env_args:
        parsed = dataclasses.replace(parsed, env_args=env_args)
    return cast(Command, parsed)


def settings_of(words: list[str]) -> Config:
    """Return the settings of the recipe, or the run to start from, and of the file that these words name.

    Flags come on top of them.
    """
    origin, file = _value_of("--start-from", words), _value_of("--config", words)
    if origin is None:
        config = recipe(_value_of("--recipe", words) or DEFAULT).config
    else:
        from rucksac.training.starting import settings_from

        config, _ = settings_from(path_of(origin))
    return config if file is None else settings_from_file(path_of(file), config)


def with_env_args(own: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the environment's arguments with those given on the command line in their place.

    Raises `UsageError` where one is to be left out that there is not.
    """
    for name, value in given.items():
        if value is LEFT_OUT and name not in own:
            there = f"those to leave out are {', '.join(own)}" if own else "there is none to leave out"
            raise UsageError(f"--env.{name}= leaves out an argument that was not given; {there}")
    return {name: value for name, value in {**own, **given}.items() if value is not LEFT_OUT}


def _value_of(name: str, words: list[str]) -> str | None:
    """Return the value that these words give to a flag, None when they do not."""
    for index, word in enumerate(words):
        given, equals, value = word.partition("=")
        if given.replace("_", "-") == name and (equals or index + 1 < len(words)):
            return value if equals else words[index + 1]
    return None


def _env_args(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Return what --env.NAME VALUE or --env.NAME=VALUE give, and the other words.

    A NAME alone means true, and --env.NAME= that the argument is left out.
    """
    found: dict[str, Any] = {}
    others: list[str] = []
    left = iter([*words, "--"])
    word = next(left)
    for following in left:
        if word.startswith(ENV_ARG):
            name, equals, value = word.removeprefix(ENV_ARG).partition("=")
            if not name:
                raise UsageError(f"{word} names no argument of the environment; give --env.NAME VALUE")
            if not equals and not following.startswith("--"):
                value, following = following, next(left)
            found[name.replace("-", "_")] = _plain_value(value) if value else LEFT_OUT if equals else True
        else:
            others.append(word)
        word = following
    return found, others


def _plain_value(word: str) -> Any:
    """Return the number, truth value or JSON that a word stands for, else the word itself."""
    try:
        return json.loads({"True": "true", "False": "false", "None": "null"}.get(word, word))
    except ValueError:
        return word


def _first_sentence(complaint: str) -> str:
    """Return the parser's complaint up to its first rule, without the box around it."""
    lines: list[str] = []
    for line in complaint.splitlines():
        text = line.strip("│╭╮╰╯─ \t")
        if lines and (not text or "───" in line):
            break
        if text and "───" not in line and not line.startswith("╭"):
            lines.append(text)
    return " ".join(lines).rstrip(".")


def _unfit(command: type[Command], name: str, words: list[str]) -> str:
    """Say what was given for a flag that cannot be read, and what is allowed."""
    said = {**ALLOWED, "--ray": "one HOST:PORT at most"}.get(name)
    allowed = said or _in_words(dict(flags_of(command)).get(name))
    given = _words_after(name, words)
    if given and allowed:
        return f"{name} is {given!r}, but must be {allowed}"
    return f"{name} needs a value" + (f": {allowed}" if allowed else "")


IN_WORDS = {int: "a whole number", float: "a number", tuple[float, float]: "two numbers"}


def _in_words(kind: Any) -> str | None:
    """Say what a flag of this type takes, None where any word will do."""
    if kind in IN_WORDS:
        return IN_WORDS[kind]
    members = [each for each in typing.get_args(kind) if each is not type(None)]
    if typing.get_origin(kind) is Literal:
        return f"one of {', '.join(members)}"
    return _in_words(members[0]) if members else None


def _words_after(name: str, words: list[str]) -> str:
    """Return what stands between a flag and the next one."""
    left = itertools.dropwhile(lambda word: word.partition("=")[0].replace("_", "-") != name, words)
    _, equals, value = next(left, "").partition("=")
    return value if equals else " ".join(itertools.takewhile(lambda word: not word.startswith("--"), left))


def _unknown(command: type[Command], word: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} is one word too many"
    name, flags = word.partition("=")[0].replace("_", "-"), dict(flags_of(command))
    if name.replace("--no-", "--") in ALLOWED and command.no_settings:
        return f"{command.no_settings} {word}"
    near = [ELSEWHERE[name]] if ELSEWHERE.get(name) in flags else difflib.get_close_matches(name, flags, n=1)
    return f"there is no flag {word}" + (f"; did you mean {near[0]}?" if near else "")


def flags_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the flags of a dataclass, and of those inside it, with their types."""
    for name, annotated in typing.get_type_hints(kind, include_extras=True).items():
        inner, *notes = typing.get_args(annotated) if typing.get_origin(annotated) is Annotated else (annotated,)
        if dataclasses.is_dataclass(inner):
            yield from flags_of(cast(type, inner))
        elif typing.get_origin(inner) is not ClassVar and not {tyro.conf.Positional, tyro.conf.Suppress} & set(notes):
            yield flag(next((note.name for note in notes if getattr(note, "name", None)), name)), inner


OWN_TYPES = tyro.constructors.ConstructorRegistry()


@OWN_TYPES.primitive_rule
def _paths(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    """Read paths also when they begin with ~, as in --run=~/runs, which shells leave as it is."""
    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: path_of(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


def _address(word: str = "") -> str:
    return word or os.environ.get("RAY_ADDRESS") or LOCAL


Address = Annotated[
    str | None,
    PrimitiveConstructorSpec(
        nargs=(0, 1),
        metavar="[HOST:PORT]",
        instance_from_str=lambda words: _address(*words),
        is_instance=lambda value: value is None or isinstance(value, str),
        str_from_instance=lambda value: [str(value)],
    ),
    Rare(),
]
"""The address of a Ray cluster; the flag alone means what is set in the environment, else `LOCAL`."""


@OWN_TYPES.primitive_rule
def _whole_numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[int] | None:
    """Read whole numbers also when they are written like 1e6."""
    if info.type is not int:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: _whole_number(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    )


def _whole_number(word: str) -> int:
    with contextlib.suppress(ValueError):
        return int(word)
    number = float(word)
    if not number.is_integer():
        raise ValueError(word)
    return int(number)
