"""Acting at a fixed rate: when the next step is due, and how late steps begin."""

import time

EDGES = (0.01, 0.03, 0.1, 0.3, 1.0)  # of the control period
BINS = (*(f"late_to_{100 * edge:g}_percent" for edge in EDGES), "late_by_more")
LATE = BINS[3:]  # those of steps that count as late
SECONDS_TO_BE_WOKEN = 0.002  # before a step is due; what waits for messages may return up to a millisecond late


class Clock:
    """Ticks once in `period` seconds. A tick that has been missed is left out, not made up for."""

    def __init__(self, period: float) -> None:
        self.period = period
        self.restart()

    def restart(self) -> None:
        """Have the next tick now."""
        self._due = time.monotonic()

    def left(self) -> float:
        """Return the seconds in which one may wait for something else, 0 when the next tick is near."""
        return max(0.0, self._due - time.monotonic() - SECONDS_TO_BE_WOKEN)

    def tick(self) -> float:
        """Wait for the next tick; return by how much of a period this returns late."""
        time.sleep(max(0.0, self._due - time.monotonic()))
        late = (time.monotonic() - self._due) / self.period
        self._due += self.period * (1 + int(late))
        return late


def in_bins(late: float) -> dict[str, float]:
    """Return, for each bin of the histogram, whether a step that began so late, in periods, belongs there."""
    own = sum(late > edge for edge in EDGES)
    return {name: float(place == own) for place, name in enumerate(BINS)}
