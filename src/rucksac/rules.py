"""What is said of a setting beside its type and default: its group, the values it takes, when it has no effect."""

import math
import numbers
import typing
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, Literal, NamedTuple


class Group(NamedTuple):
    """Settings that belong together."""

    title: str


class Rule(NamedTuple):
    """Which values a setting takes, in words and as a test."""

    allowed: str
    holds: Callable[[Any], bool]


class Idle(NamedTuple):
    """When a setting that was given would do nothing: the condition, why that is so, and what to give instead."""

    when: Callable[[Any], bool]
    why: str
    instead: str


class Common(NamedTuple):
    """Marks a setting that many need, and that the short help shows."""


class Rare(NamedTuple):
    """Marks a flag of a command that few need, and that only the long help shows."""


class Declaration(NamedTuple):
    """All that is said of one setting."""

    group: Group
    rule: Rule
    idle: tuple[Idle, ...]
    common: bool


def declaration(annotated: Any) -> Declaration:
    """Return what the notes of an annotated type say; a truth value and a choice of words need no rule."""
    kind, *notes = typing.get_args(annotated)
    (group,) = (each for each in notes if isinstance(each, Group))
    rules = [each for each in notes if isinstance(each, Rule)]
    if kind is bool:
        rules.append(Rule("true or false", lambda value: isinstance(value, bool)))
    if typing.get_origin(kind) is Literal:
        words = typing.get_args(kind)
        rules.append(Rule("one of " + ", ".join(words), lambda value: value in words))
    (rule,) = rules
    common = any(isinstance(each, Common) for each in notes)
    return Declaration(group, rule, tuple(each for each in notes if isinstance(each, Idle)), common)


def whole(least: int, most: int = 10**15) -> Rule:
    """Return the rule of whole numbers in a range, its ends included."""
    return Rule(f"a whole number from {least} to {most:g}", lambda value: is_whole(value) and least <= value <= most)


def between(least: float, most: float) -> Rule:
    """Return the rule of numbers in a range, its ends included."""
    return Rule(f"a number from {least:g} to {most:g}", lambda value: is_number(value) and least <= value <= most)


def either(word: str | None, rule: Rule) -> Rule:
    """Return a rule that also takes one word, or nothing."""
    return Rule(f"{word or 'left out'} or {rule.allowed}", lambda value: value == word or rule.holds(value))


BELOW_ONE = Rule("a number from 0 to below 1", lambda value: is_number(value) and 0 <= value < 1)
PART = Rule("a number above 0 and below 1", lambda value: is_number(value) and 0 < value < 1)
WEIGHT = Rule("a number above 0 and at most 1", lambda value: is_number(value) and 0 < value <= 1)
TABLE = Rule("a table of names and plain values", lambda value: isinstance(value, dict) and _is_json(value))
WIDTHS = Rule(
    "one or more whole numbers from 1 to 16384, such as 256 256",
    lambda value: isinstance(value, tuple) and bool(value) and all(is_whole(w) and 1 <= w <= 16_384 for w in value),
)
CLOCKS = Rule(
    "one or more rising whole numbers from 1, such as 25000 100000",
    lambda value: (
        isinstance(value, tuple)
        and bool(value)
        and all(is_whole(each) and 1 <= each <= 10**15 for each in value)
        and list(value) == sorted(set(value))
    ),
)
ENV_NAME = Rule(
    "the id of an environment, or module:function", lambda value: isinstance(value, str) and bool(value.strip())
)
BOUNDS = Rule(
    "one or more numbers, such as -1 1",
    lambda value: isinstance(value, tuple) and bool(value) and all(is_number(each) for each in value),
)


DATA = Rule("minari:NAME or the folder of a run", lambda value: isinstance(value, str) and value != "")


def is_whole(value: Any) -> bool:
    """Return whether this is a whole number and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Return whether this is a finite number and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def plain(value: Any) -> Any:
    """Return numbers and lists of any library as Python's own, and paths as text."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return tuple(plain(each) for each in value)
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else value


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(each) for key, each in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    return value is None or isinstance(value, str | bool) or is_number(value)
