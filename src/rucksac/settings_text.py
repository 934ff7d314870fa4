"""Settings as text: TOML files, read and written, and the flags of a command."""

import difflib
import json
import tomllib
from pathlib import Path
from typing import Any

from rucksac.config import DECLARED, DEFAULTS, Config, flag, with_settings
from rucksac.errors import UsageError
from rucksac.rules import plain
from rucksac.text import shortened

NONE = "None"  # the word for a setting that is left out, where a recipe has a value for it


def read_toml(file: Path) -> dict[str, Any]:
    """Return what a TOML file says, its keys as settings are called; raise `UsageError` when it cannot be read."""
    try:
        if file.exists() and not file.is_file():
            raise ValueError("it is no file")
        values = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"the settings file {file} cannot be read ({reason}); give a TOML file") from error
    return {key.replace("-", "_"): value for key, value in values.items()}


def check_name(where: Path | str, name: str) -> None:
    """Raise `UsageError` when a file, or a flag, speaks of a setting that does not exist."""
    if name not in DECLARED:
        near = difflib.get_close_matches(name, DECLARED, n=1)
        hint = f"did you mean {near[0]}?" if near else "rucksac train --help all has every one"
        raise UsageError(f"{where} has {name!r}, but there is no such setting; {hint}")


def check_value(file: Path, name: str, value: Any) -> None:
    """Raise `UsageError` when a file gives a setting a value that it cannot take."""
    if not (DECLARED[name].rule.holds(plain(value)) or DECLARED[name].rule.holds(plain([value]))):
        raise UsageError(f"{file} has {name} = {shortened(value)}, but it must be {DECLARED[name].rule.allowed}")


def settings_from_file(file: Path, config: Config) -> Config:
    """Return `config` with the settings in `file`; raise `UsageError`, naming file and key, when they do not fit."""
    values = {name: None if value == NONE else value for name, value in read_toml(file).items()}
    for name, value in values.items():
        check_name(file, name)
        check_value(file, name, value)
    try:
        return with_settings(config, values)
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def spelled_out(config: Config, base: Config) -> dict[str, Any]:
    """Return the settings that a file must name so that `base`, or the defaults, and the file together are `config`."""
    usual, own = Config().to_json(), base.to_json()
    return {name: value for name, value in config.to_json().items() if not value == usual[name] == own[name]}


def to_flags(config: Config, base: Config) -> list[str]:
    """Return the words that make `config` of the settings in `base` on the command line."""
    words, usual = [], base.to_json()
    for name, value in config.to_json().items():
        if name == "env_args":
            words += [f"--env.{key}={json.dumps(each)}" for key, each in value.items()]
        elif value != usual[name] and not _falls_back(config, name):
            if isinstance(value, bool):
                words.append(flag(name) if value else flag(f"no_{name}"))
            else:
                words += [flag(name), *map(str, value if isinstance(value, list) else [value])]
    return words


def _falls_back(config: Config, name: str) -> bool:
    """Return whether a setting goes to its default by itself because others leave it without use."""
    return getattr(config, name) == DEFAULTS[name] and any(each.when(config) for each in DECLARED[name].idle)


def to_toml(values: dict[str, Any]) -> str:
    """Return settings as the lines of a TOML file, in which None is a word, as on the command line."""
    return "".join(f"{name} = {_written(NONE if value is None else value)}\n" for name, value in values.items())


def _written(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {_written(each)}" for key, each in value.items() if each is not None)
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
