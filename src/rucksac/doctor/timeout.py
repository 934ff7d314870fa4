"""Not waiting without end for code that may hang."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timeout_after(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` inside of what is under way once it has taken so long.

    It reaches Python code of the main thread on systems with timers that send signals, so not on Windows; elsewhere,
    and inside of compiled code that does not return, waiting goes on.
    """

    def over(*_: object) -> None:
        raise TimeoutError(f"no answer for {seconds:g} seconds")

    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
