"""What a folder of many runs is for, on disk, so that the same command goes on and another one is refused."""

import json
from pathlib import Path
from typing import Any

from rucksac import files
from rucksac.config import Config
from rucksac.errors import UsageError
from rucksac.text import shortened


def claim(folder: Path, name: str, wanted: dict[str, Any], what: str) -> None:
    """Write `wanted`, JSON values of which one is `settings`, to a file in the folder, unless it has them already.

    Raises `UsageError` when the folder is used for anything else; `what` is the word for such a folder.
    """
    file = folder / name
    if file.exists():
        try:
            before = json.loads(file.read_text())
            before["settings"] = Config.from_json(before["settings"]).to_json()
        except (OSError, ValueError, LookupError, TypeError, UsageError) as error:
            raise UsageError(f"{file} cannot be read ({error}); give another --run") from error
        for key, value in wanted.items():
            if before.get(key) != value:
                changed = _changed(before.get(key), value)
                raise UsageError(
                    f"{folder} holds a {what} with other {key} ({changed}); give the same, or another --run"
                )
        return
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - {f"{name}.new"}):
        raise UsageError(f"{folder} is already in use; give another --run, or remove it first")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.write(file, (json.dumps(wanted, indent=2) + "\n").encode())
    except OSError as error:
        raise UsageError(f"{folder} cannot be written ({error.strerror}); give a --run where you may write") from error


def _changed(before: Any, now: Any) -> str:
    """Return what was and what is given now; of two tables, the first entry that differs."""
    if isinstance(before, dict) and isinstance(now, dict):
        name = next(key for key in {**before, **now} if before.get(key) != now.get(key))
        return f"{name}: {shortened(before.get(name))}, now {shortened(now.get(name))}"
    return f"{shortened(before)}, now {shortened(now)}"
