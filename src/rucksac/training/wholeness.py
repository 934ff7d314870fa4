"""Whether the checkpoints of a run are whole, and whether it could go on."""

from pathlib import Path
from typing import Any

from rucksac import files
from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.training import replay_files
from rucksac.training.agent_file import check_agent, check_settings, spaces_in
from rucksac.training.checkpoint_layout import (
    ACTIONS,
    ARRAYS,
    BEST,
    CHECKPOINT,
    LARGEST_ARRAYS,
    UNREADABLE,
    checkpoints_in,
    content_of,
    in_short,
    segments_of,
)
from rucksac.training.demonstrations import demonstrations_of, require_unchanged
from rucksac.training.loading import is_agent
from rucksac.training.starting import Origin


def examine(run: Path) -> list[dict[str, Any]]:
    """Return the checkpoints of a run, oldest first: name, env_steps, best, and what is wrong, None for a whole one."""
    return [
        {
            "name": path.name,
            "env_steps": int(path.name.split("-")[-1]),
            "best": best,
            "problem": problem_of(run, path, best),
        }
        for best, pattern in ((False, CHECKPOINT), (True, BEST))
        for path in checkpoints_in(run, pattern)
    ]


def obstacle(run: Path, config: Config, origin: Origin | None) -> str | None:
    """Return why the run could not go on with these settings, None when it could.

    Without a checkpoint it begins again, for which it needs the agent of `origin`, the run that it started from.
    """
    found = checkpoints_in(run, CHECKPOINT)
    for folder in reversed(found):
        try:
            check_settings(config, folder)
            require_whole(run, folder, best=False)
            recorded = content_of(run, folder).get("demonstrations")
            require_unchanged(demonstrations_of(config, spaces_in(folder)), recorded)
            return None
        except UsageError as error:
            return str(error)
        except UNREADABLE:
            continue
    if found:
        return "no checkpoint is whole"
    if (run / "replay").exists():
        return "its checkpoints are lost"
    if origin and not _whole(origin.folder):
        return f"it has no checkpoint yet, and {origin.folder}, whose agent it begins with, has no whole one"
    return None


def _whole(origin: Path) -> bool:
    """Return whether the run or agent that another starts from is there and whole."""
    if is_agent(origin):
        return problem_of(origin, origin, best=True) is None
    return any(problem_of(origin, newest, best=False) is None for newest in checkpoints_in(origin, CHECKPOINT)[-1:])


def problem_of(run: Path, folder: Path, best: bool) -> str | None:
    """Return what is wrong with a checkpoint, None when it is whole; `best` ones hold the agent alone."""
    try:
        require_whole(run, folder, best)
    except (UsageError, *UNREADABLE) as error:
        return in_short(error)
    return None


def require_whole(run: Path, folder: Path, best: bool) -> None:
    """Compare all files of a checkpoint with their digests; raise `UsageError` or one of `UNREADABLE` when wrong."""
    check_agent(folder)
    if not best:
        content = content_of(run, folder)
        files.read(folder, ACTIONS, content["actions"], LARGEST_ARRAYS)
        if "arrays" in content:
            files.read(folder, ARRAYS, content["arrays"], LARGEST_ARRAYS)
        for each in segments_of(content):
            replay_files.content(run / "replay", each)
