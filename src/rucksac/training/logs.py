"""Reading the logs of a run that may still be under way in another process. Importing this module needs no numpy."""

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rucksac.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

LONGEST_ROW = 400  # bytes
Columns: TypeAlias = "dict[str, np.ndarray]"


def last_rows(file: Path, count: int) -> list[dict[str, str]]:
    """Return the last whole rows of a log that another process is writing; raise `UsageError` when it is damaged."""
    try:
        with file.open("rb") as stream:
            columns, start = stream.readline().decode().strip().split(","), stream.tell()
            begin = max(start, stream.seek(0, os.SEEK_END) - LONGEST_ROW * (count + 1))
            stream.seek(begin)
            lines = stream.read().decode().split("\n")[int(begin > start) : -1]
        rows = [dict(zip(columns, values, strict=False)) for values in csv.reader(lines[-count:])]
    except OSError:
        return []
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{file} is damaged ({error}); put the whole file back") from error
    return [row for row in rows if len(row) == len(columns)]


def last_evaluation(file: Path) -> list[dict[str, str]]:
    """Return the rows of the last evaluation, at most 100."""
    rows = last_rows(file, 100)
    return [row for row in rows if row["env_steps"] == rows[-1]["env_steps"]]


def whole_columns(file: Path) -> Columns:
    """Return the columns (rows,) of a log, without a last row that is being written; no file is no columns.

    Raises `UsageError` when the file is damaged or may not be read.
    """
    import numpy as np

    if not file.is_file():
        return {}
    try:
        text = file.read_text()
        head, _, rows = text[: text.rfind("\n") + 1].partition("\n")
        if not rows:
            return {}
        table = np.loadtxt(rows.splitlines(), delimiter=",", comments=None, ndmin=2)
        return dict(zip(head.split(","), table.T, strict=True))
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); let this user read it") from error
    except ValueError as error:
        reason = str(error).partition(";")[0]
        raise UsageError(f"{file} is damaged ({reason}); put the whole file back") from error
