"""The command line: finds the command, hands over the words, turns errors into one sentence and an exit code."""

import difflib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence

from rucksac.commands import COMMANDS
from rucksac.commands.parsing import parse
from rucksac.errors import EnvironmentFailed, StoppedAtOnce, TrainingStopped, UsageError
from rucksac.output import unfailing_output
from rucksac.text import printable

LOOKS_FOR_WORK = 3_000  # times before a thread sleeps; benchmarks/contention.py has what others cost

USAGE = """\
usage: rucksac COMMAND ...

Soft Actor-Critic: train, judge and watch agents; for example: rucksac train Pendulum-v1

{commands}

rucksac help COMMAND explains a command; rucksac --version prints the version.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 the run failed, 2 the command cannot work as given."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(LOOKS_FOR_WORK))  # read when PyTorch is loaded
    with unfailing_output() as out:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        out.flush()
        if out.error is None or isinstance(out.error, BrokenPipeError):  # a reader may have seen enough
            return code
        print(f"rucksac: the answer could not be written to standard output ({out.error.strerror})", file=sys.stderr)
        return code or 1


def _run(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except EnvironmentFailed as error:
        if error.__cause__:
            traceback.print_exception(error.__cause__)
        print(f"rucksac: {printable(str(error))}", file=sys.stderr)
        return 2
    except UsageError as error:
        print(f"rucksac: {printable(str(error))}", file=sys.stderr)
        return 2
    except TrainingStopped as error:
        print(f"rucksac: the run was stopped: {printable(str(error))}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, StoppedAtOnce) as stop:
        print("rucksac: stopped at once", file=sys.stderr)
        return stop.exit_code if isinstance(stop, StoppedAtOnce) else 130


def _dispatch(words: list[str]) -> int:
    if words[:1] == ["help"]:
        words = [*(word for word in words[1:2] if word != "help"), "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(commands="\n".join(_overview())), end="")
        return 0 if words else 2
    name, *rest = words
    if name == "--version":
        from rucksac import __version__

        print(f"rucksac {__version__}")
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"there is no command {name!r}; {hint}the commands are {', '.join(COMMANDS)}")

    try:
        os.getcwd()
    except OSError:
        raise UsageError("the current folder is gone; change to one that exists") from None
    command = parse(name, COMMANDS[name], rest)
    if command is None:
        return 0
    if "" not in sys.path:
        sys.path.insert(0, "")  # module:Name-v0 finds a module in the current folder, as `python -m` would
    return command.run()


def _overview() -> Iterator[str]:
    for name, command in COMMANDS.items():
        yield f"  {f'{name} {command.takes}':20} {(command.__doc__ or '').partition('.')[0]}"
