"""The command, from its very first moment: `python -m rucksac` and the script `rucksac` begin here."""

import sys


def main() -> int:
    """Run the command line and return its exit code; Ctrl-C while it is loaded ends it as Ctrl-C later on does."""
    try:
        from rucksac.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("rucksac: stopped at once", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
