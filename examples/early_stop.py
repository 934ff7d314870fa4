"""End a run as soon as the mean return of an evaluation reaches a target.

The run is saved: `rucksac resume runs/early-stop` would go on with it.
"""

from statistics import fmean

import rucksac


def stop_at(target):
    """Return a callback that ends the run at a mean return of `target`."""

    def callback(event):
        if event.kind == "evaluations" and fmean(row["return"] for row in event.rows) >= target:
            return rucksac.STOP
        return None

    return callback


def main(target=-200.0, run="runs/early-stop", **settings):
    """Train until the pendulum stands; by then the mean return is about -150."""
    return rucksac.train("Pendulum-v1", run=run, callbacks=[stop_at(target)], **settings)


if __name__ == "__main__":
    main(quiet=False)
