"""What makes a run again: its settings as a file, and the one command line."""

import shlex
from pathlib import Path
from typing import Any

from rucksac.algorithm.recipes import DEFAULT, RECIPES, recipe
from rucksac.config import Config, with_settings
from rucksac.errors import UsageError
from rucksac.settings_text import spelled_out, to_flags, to_toml
from rucksac.training.folder import RunFolder, threads_of
from rucksac.training.overview import members
from rucksac.training.seeds import is_group
from rucksac.training.starting import origin_of, settings_from

FILE = "settings.toml"


def reproduction(run: Path) -> dict[str, Any]:
    """Return settings, TOML and command lines of a run, or of several seeds; raise `UsageError` when there is none."""
    group = members(run) if is_group(run) else []
    saved = RunFolder.open(group[0] if group else run).read_config()
    config = with_settings(Config.from_json(saved["settings"]), {"threads": threads_of(saved)})
    words = ["rucksac", "train", saved["environment"] or "ENV"]
    if origin := origin_of(saved):
        base = _settings_of(origin.folder)
        words += ["--start-from", str(origin.folder), *(["--start-with-replay"] if origin.with_replay else [])]
    else:
        name = saved["recipe"] if saved["recipe"] in RECIPES else DEFAULT
        base = recipe(name).config
        words += ["--recipe", name] if name != DEFAULT else []
    if group:
        words += ["--seeds", ",".join(path.name.removeprefix("seed") for path in group)]
        config = with_settings(config, {"seed": base.seed})
    return {
        "environment": saved["environment"],
        "recipe": saved["recipe"],
        "command": shlex.join([*words, *to_flags(config, base)]),
        "command_with_file": shlex.join([*words, "--config", FILE]),
        "toml": to_toml(spelled_out(config, base)),
        "settings": config.to_json(),
        "versions": saved.get("versions", {}),
        "machine": saved.get("machine", {}),
    }


def _settings_of(origin: Path) -> Config:
    """Return the settings that a run has from the one that it starts from; the defaults where that is gone."""
    try:
        return settings_from(origin)[0]
    except UsageError:
        return Config()
