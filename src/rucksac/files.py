"""Files that are either whole or not there: written beside, made durable, renamed; checked when read. No pickle."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

LARGEST_JSON = 64 * 2**20
SAFE_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[a-z0-9]+)?")


class Beginning(NamedTuple):
    """So many first bytes of a file that grows, with their digest; None where none was taken."""

    size: int
    sha256: str | None


class GrowingFile:
    """A file that is only appended to, measured from time to time; each byte is read once."""

    def __init__(self, path: Path) -> None:
        self._path, self._size, self._digest = path, 0, hashlib.sha256()

    def beginning(self, size: int) -> Beginning:
        """Return what the first `size` bytes are, which are no fewer than last time."""
        with self._path.open("rb") as stream:
            stream.seek(self._size)
            self._digest.update(stream.read(size - self._size))
        self._size = size
        return Beginning(size, self._digest.hexdigest())


def write(file: Path, data: bytes) -> str:
    """Replace `file` by `data` in one step that survives a power cut; return its SHA-256."""
    temporary = file.with_name(file.name + ".new")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, file)
    return hashlib.sha256(data).hexdigest()


def read(folder: Path, name: str, sha256: str, largest: int) -> bytes:
    """Return the bytes of a file inside `folder`; raise `ValueError` unless they are the ones with this digest."""
    if not (isinstance(name, str) and SAFE_NAME.fullmatch(name)):
        raise ValueError("a file is named that lies outside the folder")
    file = folder / name
    if file.is_symlink() or not file.is_file():
        raise ValueError(f"{name} is missing")
    if file.stat().st_size > largest:
        raise ValueError(f"{name} is larger than it can be")
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{name} is not the file that was saved")
    return data


def write_manifest(file: Path, content: dict[str, Any]) -> None:
    """Write JSON together with a digest of itself."""
    write(file, (json.dumps({"content": content, "sha256": _digest(content)}, indent=1) + "\n").encode())


def read_manifest(file: Path, kind: str, version: int) -> dict[str, Any]:
    """Return what `write_manifest` wrote; raise `ValueError` when it is not of this kind and version."""
    if file.is_symlink() or not file.is_file():
        raise ValueError(f"{file.name} is missing")
    if file.stat().st_size > LARGEST_JSON:
        raise ValueError(f"{file.name} is too large to be one")
    try:
        whole = json.loads(file.read_bytes(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError(f"{file.name} is nested too deeply to be one") from None
    if not isinstance(whole, dict) or not isinstance(content := whole.get("content"), dict):
        raise ValueError(f"{file.name} is not a manifest")
    if whole.get("sha256") != _digest(content):
        raise ValueError(f"{file.name} is not the file that was saved")
    if content.get("format") != kind:
        raise ValueError(f"{file.name} has another format")
    if content.get("version") != version:
        raise ValueError(f"it has format version {content.get('version')}, this rucksac reads {version}")
    return content


def make_durable(folder: Path) -> None:
    """Let the names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _refuse(name: str) -> None:
    raise ValueError(f"a number is {name}")
