"""Functions of a person's own that are called when something happens in a run."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rucksac.agent import Agent
from rucksac.errors import ANYTHING, UsageError
from rucksac.text import shortened
from rucksac.training.parts import Training
from rucksac.training.record import Recorder, Row
from rucksac.training.stopping import StopRequest


class _Stop:
    def __repr__(self) -> str:
        return "rucksac.STOP"


STOP = _Stop()
"""What a callback returns to end the run, which is then saved and can be resumed."""


@dataclass(frozen=True)
class Event:
    """Something that happened in a run, and how far the run is.

    `kind` is "start" (before the first step, also of a resumed run), "metrics", "episodes", "evaluations" or
    "checkpoints". `rows` are those that go to the CSV file of that name: of one stretch of training, of an episode that
    ended, of all episodes of an evaluation. A checkpoint has one with env_steps and its folder as path; a start, none.
    `run` is the run's folder, if it has one.
    """

    kind: str
    rows: list[dict[str, Any]]
    agent: Agent
    env_steps: int
    grad_steps: int
    episodes: int
    run: Path | None
    _record: Recorder = field(repr=False)

    def log(self, **figures: float) -> None:
        """Give figures of your own to the trackers of the run, where they are called custom/NAME."""
        for name, value in figures.items():
            self._record(f"custom/{name}", [{"env_steps": self.env_steps, "value": float(value)}])


Callback = Callable[[Event], object]
"""Takes an event; what it returns does not matter unless it is `STOP`."""


def listed(callbacks: Any) -> tuple[Callback, ...]:
    """Return a person's callbacks; raise `UsageError` for what is no list of functions."""
    if not isinstance(callbacks, list | tuple):
        raise UsageError(f"callbacks is {shortened(callbacks)}, but must be a list of functions")
    for each in callbacks:
        if not callable(each):
            raise UsageError(f"a callback is {shortened(each)}, but must be a function of an event")
    return tuple(callbacks)


def calling(
    callbacks: Sequence[Callback],
    training: Training,
    run: Path | None,
    stop: StopRequest,
    record: Recorder,
    say: Callable[[str], None],
) -> Recorder:
    """Return a recorder that calls these with an event; `record` gets what they log, `stop` is set if one wants it.

    One that raises does not end the run and is called again next time; `say` is told of the first time.
    """
    failed: set[int] = set()

    def call(kind: str, rows: Sequence[Row]) -> None:
        progress = training.progress
        for number, callback in enumerate(callbacks):
            own = [dict(row) for row in rows]
            counters = progress.env_steps, training.agent.grad_steps, progress.episodes
            try:
                if callback(Event(kind, own, training.agent, *counters, run, record)) is STOP:
                    stop.set()
            except ANYTHING:
                if number not in failed:
                    failed.add(number)
                    name = getattr(callback, "__name__", type(callback).__name__)
                    reason = traceback.format_exc().strip().splitlines()[-1]
                    say(
                        f"The callback {name} raised {reason}; the run goes on, and calls it again.\n"
                        f"{traceback.format_exc()}"
                    )

    return call
