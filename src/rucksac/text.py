"""How numbers and foreign words are written for people."""

import itertools
import math
from collections.abc import Sequence

BLOCKS, SIGNS = "▁▂▃▄▅▆▇█", "_.:-=+*#"  # the second for terminals without Unicode


def count(number: int, noun: str) -> str:
    """Return a number and what is counted, such as "1 seed" and "1,200 steps"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(number: int) -> str:
    """Return a number of bytes in KiB, MiB or GiB, whichever suits it."""
    exponent = 1 if number < 1000 * 2**10 else 2 if number < 1000 * 2**20 else 3
    return f"{number / 2 ** (10 * exponent):,.1f} {('KiB', 'MiB', 'GiB')[exponent - 1]}"


def interval(bounds: Sequence[float] | None, digits: int = 1) -> str:
    """Return what to say of a mean's interval, such as "95 % interval -3.0 to 2.5"."""
    if bounds is None:
        return "no interval for a single value"
    return f"95 % interval {bounds[0]:.{digits}f} to {bounds[1]:.{digits}f}"


def shortened(value: object) -> str:
    """Return what a value looks like on one line of at most 100 characters."""
    try:
        text = " ".join(repr(value).split())
    except Exception as error:  # such as that of a number with more digits than Python writes
        text = f"({type(error).__name__} when shown)"
    return text if len(text) <= 100 else f"{text[:97]}..."


def printable(text: str) -> str:
    """Return the text with everything escaped that would not show, such as codes that steer a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of equally many cells as lines, the first column to the left and all others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(n) for cell, n in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def sparkline(values: Sequence[float], width: int, blocks: bool = True) -> str:
    """Return the values as a curve of at most `width` characters, each the mean of as many values.

    The lowest and the highest of these means are the lowest and the highest characters; what is not finite is a space.
    """
    width = min(width, len(values))
    edges = [round(len(values) * place / width) for place in range(width + 1)] if width else []
    means = [sum(values[first:last]) / (last - first) for first, last in itertools.pairwise(edges)]
    finite = [mean for mean in means if math.isfinite(mean)]
    low, high, levels = min(finite, default=0.0), max(finite, default=0.0), BLOCKS if blocks else SIGNS
    scale = (len(levels) - 1) / (high - low) if high > low else 0.0
    return "".join(levels[round((mean - low) * scale)] if math.isfinite(mean) else " " for mean in means)
