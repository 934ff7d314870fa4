"""The command line: finds the command, hands over the words, turns errors into one sentence and an exit code."""

import difflib
import sys
import traceback
from collections.abc import Sequence

from rucksac.errors import EnvironmentFailed, StoppedAtOnce, TrainingStopped, UsageError

USAGE = """\
usage: rucksac COMMAND ...

Soft Actor-Critic: train, judge and watch agents with continuous actions.

  train ENV            train an agent, for example: rucksac train Pendulum-v1
  resume RUN           go on with an interrupted run, exactly; --steps N gives it more
  info RUN             say what is in a run folder, how far it is and whether it is whole
  evaluate RUN         run a trained agent and print its returns with an interval
  plot RUN [RUN ...]   draw the learning curve of one run or of several
  watch RUN            show a trained agent in a window, or write a video
  recipes [NAME]       list what --recipe accepts, or explain one
  cache                show where compiled steps are kept, or remove them

rucksac COMMAND --help explains a command; rucksac --version prints the version.
"""
COMMANDS = ("train", "resume", "info", "evaluate", "plot", "watch", "recipes", "cache")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 the run failed, 2 the command cannot work as given."""
    try:
        return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    except EnvironmentFailed as error:
        traceback.print_exception(error.__cause__)
        print(f"rucksac: {error}", file=sys.stderr)
        return 2
    except UsageError as error:
        print(f"rucksac: {error}", file=sys.stderr)
        return 2
    except TrainingStopped as error:
        print(f"rucksac: the run was stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("rucksac: stopped at once", file=sys.stderr)
        return stop.exit_code if isinstance(stop, StoppedAtOnce) else 130


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
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

    from rucksac.commands import run_command

    if "" not in sys.path:
        sys.path.insert(0, "")  # module:Name-v0 finds a module in the current folder, as `python -m` would

    return run_command(name, rest)
