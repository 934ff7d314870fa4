"""What a person is told while a run goes: on the console, and warnings also in its folder."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from rucksac.errors import TrainingStopped
from rucksac.training.console import Console


class Report:
    """Says things about the run in `path`, called `shown_path`; without a folder or a console it does not say them."""

    def __init__(
        self, path: Path | None, shown_path: Path | None, console: Console | None, unsaved_stops: bool
    ) -> None:
        self._path, self._shown_path, self._console, self._unsaved_stops = path, shown_path, console, unsaved_stops

    def say(self, text: str) -> None:
        """Say it on the console alone."""
        if self._console:
            self._console.note(text)

    def warn(self, text: str) -> None:
        """Say what a person must know of this run, in a line, and keep all of it in the folder."""
        self.say(text.partition("\n")[0])
        if self._path and self._path.is_dir():
            with suppress(OSError), (self._path / "warnings.txt").open("a") as file:
                file.write(f"{datetime.now().isoformat(' ', 'seconds')} {text}\n")

    @contextmanager
    def saving(self, what: str) -> Iterator[None]:
        """Do as `not_written` has it when the system refuses to write meanwhile."""
        try:
            yield
        except OSError as error:
            self.not_written(what, error)

    def not_written(self, what: str, error: OSError) -> None:
        """Stop the run, or say so and let it go on, as the settings have it."""
        text = (
            f"{what} could not be written to {self._shown_path} ({error.strerror}); checkpoints there stay as they are"
        )
        if self._unsaved_stops:
            raise TrainingStopped(f"{text}. Make room and resume, or use --if-saving-fails continue") from error
        self.warn(f"{text if '.' in what else text[0].upper() + text[1:]}; the run goes on.")
