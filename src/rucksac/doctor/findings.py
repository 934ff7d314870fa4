"""What an examination found, as data, and the same as lines of text or as JSON."""

import math
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Verdict = Literal["fine", "advice", "cannot"]
EXIT_CODES: dict[Verdict, int] = {"fine": 0, "advice": 1, "cannot": 2}
MARKS: dict[Verdict, str] = {"fine": " ", "advice": "!", "cannot": "x"}
WIDTH = 120
INDENT = 23


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: in words, as numbers, what it means for training and what to do about it."""

    what: str
    says: str
    values: dict[str, Any] = field(default_factory=dict)
    verdict: Verdict = "fine"
    remedy: str = ""
    flags: tuple[str, ...] = ()  # of `rucksac train`, where settings are the remedy

    def advising(self, more: str, remedy: str, *flags: str) -> "Finding":
        """Return the same finding with more words, and advice."""
        return replace(self, says=self.says + more, verdict="advice", remedy=remedy, flags=flags)


def worst(findings: Iterable[Finding]) -> Verdict:
    """Return the gravest verdict."""
    return max((finding.verdict for finding in findings), key=EXIT_CODES.__getitem__, default="fine")


def to_lines(title: str, findings: Iterable[Finding]) -> list[str]:
    """Return the findings as text; lines marked ! carry advice, those marked x say why it cannot work."""
    lines = [title]
    for finding in findings:
        start = f" {MARKS[finding.verdict]} {finding.what}".ljust(INDENT)
        lines += _wrapped(start, finding.says)
        if finding.remedy:
            lines += _wrapped(" " * INDENT + "-> ", finding.remedy)
    return lines


def closing(environment: str | None, given: Sequence[str], findings: Iterable[Finding]) -> str:
    """Return what it all comes to, and the command to go on with: the flags given, then those advised."""
    found = list(findings)
    verdict = worst(found)
    if verdict == "cannot":
        return "It cannot work like this; the lines marked x say why."
    what = "All is well." if verdict == "fine" else "It works; the lines marked ! say what could be better."
    if environment is None:
        return what
    flags = [word for finding in found for word in finding.flags]
    return f"{what}\nNext:  rucksac train {shlex.join([environment, *given, *flags])}"


def to_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return the findings as plain JSON values; numbers that are not finite become None."""
    return [{name: _plain(value) for name, value in vars(finding).items()} for finding in findings]


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
