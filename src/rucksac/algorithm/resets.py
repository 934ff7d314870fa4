"""When learning begins anew (arXiv 2205.07802), counted in gradient steps."""

from dataclasses import dataclass

from rucksac.config import Config


@dataclass(frozen=True)
class Resets:
    """After every `every` gradient steps, if given, and once after each number of them in `at`."""

    every: int | None
    at: tuple[int, ...]

    def due(self, done: int) -> int:
        """Return the number of the reset, from 1, that comes after `done` gradient steps; 0 if none does."""
        return self._number(done) if self.last(done) == done else 0

    def last(self, done: int) -> int:
        """Return the gradient steps before the last reset that comes after `done` or fewer; 0 if there was none."""
        return max(done // self.every * self.every if self.every else 0, *(each for each in self.at if each <= done), 0)

    def _number(self, done: int) -> int:
        return (done // self.every if self.every else 0) + sum(each <= done for each in self.at)


def resets_of(config: Config) -> Resets | None:
    """Return the resets of these settings, if there are any."""
    at = config.reset_at or ()
    return Resets(config.reset_every, at) if config.reset_every or at else None
