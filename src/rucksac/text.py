"""How numbers and foreign words are written for people."""


def count(number: int, noun: str) -> str:
    """Return a number and what is counted, such as "1 seed" and "1,200 steps"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def size(number: int) -> str:
    """Return a number of bytes in KiB, MiB or GiB, whichever suits it."""
    exponent = 1 if number < 1000 * 2**10 else 2 if number < 1000 * 2**20 else 3
    return f"{number / 2 ** (10 * exponent):,.1f} {('KiB', 'MiB', 'GiB')[exponent - 1]}"


def printable(text: str) -> str:
    """Return the text with everything escaped that would not show, such as codes that steer a terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
