"""Several seeds of one setting on disk: a folder for each in a common one."""

import re
from pathlib import Path

from rucksac.config import Config, with_settings
from rucksac.environments.making import closed_at_last, make
from rucksac.environments.reading import check_same, spaces_of
from rucksac.errors import UsageError
from rucksac.resources import runs_at_once
from rucksac.training.demonstrations import demonstrations_of
from rucksac.training.folder import RunFolder
from rucksac.training.needs import require_memory_at_once
from rucksac.training.overview import members
from rucksac.training.starting import Origin


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that `1-10` or `1,3,5-7` stand for; raise `UsageError` for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < first + 10_000:
            raise UsageError(f"--seeds is {text!r}, but must be numbers and ranges such as 1-10 or 1,3,5-7")
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


def is_group(folder: Path) -> bool:
    """Return whether this is the common folder of several seeds."""
    return not (folder / "config.json").exists() and bool(members(folder))


def prepare_group(
    env: str,
    config: Config,
    recipe: str,
    folder: Path,
    seeds: list[int],
    origin: Origin | None = None,
    at_once: int | None = None,
) -> None:
    """Make a folder for each seed; raise `UsageError` when environments, memory or demonstrations do not allow the run.

    So many runs go `at_once`, as many as there are processors for if not given.
    """
    config = config.settled()
    with closed_at_last(make(env, config)) as probe:
        spaces = spaces_of(probe, config.action_low, config.action_high)
    if config.eval_env:
        with closed_at_last(make(config.eval_env, config)) as probe:
            check_same(spaces_of(probe, config.action_low, config.action_high), spaces)
    demonstrations_of(config, spaces)
    threads = config.threads or 1
    require_memory_at_once(config, spaces, at_once or runs_at_once(threads))
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is already in use; give another --run, or remove it first")
    derived = {"threads": threads, **(origin.to_json() if origin else {})}
    for seed in seeds:
        member = RunFolder.create(folder / f"seed{seed}")
        member.write_config(env, recipe, with_settings(config, {"seed": seed}), derived)


def extend_group(folder: Path, steps: int) -> None:
    """Let every seed train for so many steps in all."""
    for path in members(folder):
        member = RunFolder.open(path)
        saved = member.read_config()
        config = with_settings(Config.from_json(saved["settings"]), {"steps": steps})
        member.write_config(saved["environment"], saved["recipe"], config, saved["derived"])
