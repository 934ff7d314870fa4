"""What --quiet and --json mean for libraries: simulators and others have their own ways to the screen."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def hushed(quiet: bool) -> Iterator[None]:
    """Keep warnings, and what libraries in C write to standard error, from the screen meanwhile, if `quiet`.

    What Python code writes to `sys.stderr` still gets there, so errors are seen.
    """
    if not quiet:
        yield
        return
    sys.stderr.flush()
    before, screen = sys.stderr, os.dup(2)
    with warnings.catch_warnings(), open(os.devnull, "wb") as nowhere, open(screen, "w", buffering=1) as sys.stderr:
        warnings.showwarning = lambda *_, **__: None
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(screen, 2)
            sys.stderr.flush()
            sys.stderr = before


@contextmanager
def aside(wanted: bool) -> Iterator[None]:
    """Let what an environment prints go to standard error, if `wanted`: standard output has the answer alone."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    screen = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(screen, 1)
        os.close(screen)
