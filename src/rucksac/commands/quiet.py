"""What --quiet means for libraries: simulators and others have their own ways to the screen."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


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
