"""What a search varies: settings, each with a range or a choice of values, from a TOML file."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from rucksac.config import DECLARED, ENVIRONMENT, RUN, Config
from rucksac.errors import UsageError
from rucksac.rules import is_number, is_whole
from rucksac.settings_text import check_name, check_value, read_toml
from rucksac.text import shortened

DEFAULT = Path(__file__).parent / "space.toml"
FORM = "choose = [...], or from and to, with log = true if wanted"


class Choice(NamedTuple):
    """A setting that takes one of several values, as JSON."""

    values: tuple[str, ...]

    def suggest(self, name: str, trial: optuna.Trial) -> Any:
        return json.loads(trial.suggest_categorical(name, self.values))

    def stored(self, value: Any) -> Any:
        """Return what the study keeps for a value, None when it is none of these."""
        return text if (text := json.dumps(value)) in self.values else None


class Range(NamedTuple):
    """A setting between two numbers; whole ones give whole ones."""

    low: float
    high: float
    log: bool

    def suggest(self, name: str, trial: optuna.Trial) -> Any:
        if is_whole(self.low) and is_whole(self.high):
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def stored(self, value: Any) -> Any:
        """Return what the study keeps for a value, None when it is outside."""
        return value if is_number(value) and self.low <= value <= self.high else None


Space = dict[str, Choice | Range]


def read_space(file: Path) -> Space:
    """Return the search space in a file; raise `UsageError`, naming file and key, for what makes no sense."""
    values = read_toml(file)
    if not values:
        raise UsageError(f"{file} names no setting to vary; give lines such as lr = {{ from = 1e-4, to = 1e-2 }}")
    return {name: _varied(file, name, value) for name, value in values.items()}


def starting_point(space: Space, config: Config) -> dict[str, Any]:
    """Return the settings that the search starts from, as the study keeps them, as far as they are in the space."""
    found = {name: each.stored(config.to_json()[name]) for name, each in space.items()}
    return {name: value for name, value in found.items() if value is not None}


def _varied(file: Path, name: str, value: Any) -> Choice | Range:
    check_name(file, name)
    if DECLARED[name].group in (RUN, ENVIRONMENT):
        raise UsageError(f"{file} varies {name}, which changes the task and not how it is learned; leave it out")
    if isinstance(value, dict) and set(value) == {"choose"} and isinstance(value["choose"], list) and value["choose"]:
        for each in value["choose"]:
            check_value(file, name, each)
        return Choice(tuple(map(json.dumps, value["choose"])))
    if not isinstance(value, dict) or not {"from", "to"} <= set(value) <= {"from", "to", "log"}:
        raise UsageError(f"{file} has {name} = {shortened(value)}, but it must be a table: {FORM}")
    for end in (value["from"], value["to"]):
        check_value(file, name, end)
    low, high, log = value["from"], value["to"], value.get("log", False)
    if not (is_number(low) and is_number(high) and low < high and isinstance(log, bool) and (low > 0 or not log)):
        raise UsageError(
            f"{file} has {name} from {shortened(low)} to {shortened(high)}, but from must be below to, and above 0 "
            "with log = true"
        )
    return Range(low, high, log)
