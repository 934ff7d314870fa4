"""Standard output and standard error that cannot end a run: a reader may go, a disk may fill, a terminal may close."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Closed(io.TextIOBase):
    """A stream that was closed before the program began."""

    def write(self, _: str) -> int:
        """Refuse the text as the system would."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class Unfailing(io.TextIOBase):
    """A text stream that drops what the system does not take; `error` is the first refusal."""

    def __init__(self, stream: TextIO | Closed) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def write(self, text: str) -> int:
        """Write the text, or drop it."""
        if self.error is None:
            try:
                self._stream.write(text)
            except OSError as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Hand over what is buffered, or drop it."""
        if self.error is None and not self._stream.closed:
            try:
                self._stream.flush()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Lead what is still buffered to nowhere: it would fail once more when the interpreter ends."""
        self.error = error
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError):  # no file of the system's
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def unfailing_output() -> Iterator[Unfailing]:
    """Make both standard streams unfailing meanwhile and give standard output.

    What its encoding does not have is escaped.
    """
    for number in range(3):  # where one is closed, a file of the run would take its number, and a stray print its place
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    out, err = (Unfailing(stream or Closed()) for stream in before)
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
