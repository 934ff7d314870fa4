"""Ctrl-C, SIGTERM and SIGHUP: the first asks the run to end well, the second ends it at once.

A process that another one started to work for it also ends well when that one is gone, however it went: the other holds
the far end of its standard input, which the system then closes.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rucksac.errors import StoppedAtOnce

FOLLOWING = "RUCKSAC_ENDS_WITH_ITS_INPUT"  # set in the environment of a process that works for another


class StopRequest(threading.Event):
    """Set by the first signal once `graceful`; `exit_code` is 128 + the signal's number, as shells expect."""

    signal: int | None = None
    graceful = False  # whether there is anything yet that is worth ending well

    @property
    def exit_code(self) -> int:
        """Return the exit code of a process ended by the signal, 0 when there was none."""
        return 0 if self.signal is None else 128 + self.signal


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Turn the signals that ask a program to end into a `StopRequest` meanwhile, in the main thread.

    SIGHUP, which a terminal sends when it closes, stays ignored where `nohup` has it so. A signal before `graceful` is
    set, and every second one, raises `KeyboardInterrupt` or `StoppedAtOnce`, which end a script as usual.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if request.is_set() or not request.graceful:
            raise KeyboardInterrupt if number == signal.SIGINT else StoppedAtOnce(number)
        request.signal = number
        request.set()

    if os.environ.get(FOLLOWING):
        threading.Thread(target=_end_with_input, args=(request,), daemon=True).start()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_with_input(request: StopRequest) -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    if not request.is_set():
        os.kill(os.getpid(), signal.SIGTERM)
