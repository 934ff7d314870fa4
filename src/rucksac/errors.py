"""The kinds of bad news a person can get from rucksac."""

import traceback
from pathlib import Path


class UsageError(Exception):
    """Something the user gave cannot work; the message says what, what is allowed and how to fix it.

    The command line prints the message as one sentence and exits with code 2.
    """


class EnvironmentFailed(UsageError):
    """The environment's own code raised; the cause is what it raised."""


# What the code of an environment may raise: sys.exit() in there is no wish of the person at the keyboard.
ANYTHING = (Exception, SystemExit)


class TrainingStopped(Exception):
    """A run had to end early for a reason that lies in the run itself, such as a loss that is not a number."""


class StoppedAtOnce(SystemExit):
    """SIGTERM or SIGHUP asked to end without finishing anything; `exit_code` is 128 + the signal's number."""

    def __init__(self, signal: int) -> None:
        self.exit_code = 128 + signal
        super().__init__(self.exit_code)


def environment_failed(where: str, error: BaseException) -> EnvironmentFailed:
    """Return the error for an environment that raised in `where`: what it raised, and at which line of whose code."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    reason = " ".join(str(error).split()) or "no message"
    ours = Path(last.filename).is_relative_to(Path(__file__).parent)  # it could not even be called
    line = "" if ours else f" ({last.filename}, line {last.lineno})"
    return EnvironmentFailed(
        f"the environment failed in {where}: {type(error).__name__}: {reason}{line}; correct the environment"
    )
