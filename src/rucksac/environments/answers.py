"""Rare answers of environments: numbers and truth values of other libraries, and what is refused."""

import decimal
import fractions
import math
from typing import Any

import numpy as np

from rucksac.errors import UsageError
from rucksac.text import shortened

LONG_NUMBERS = (int, decimal.Decimal, fractions.Fraction)  # may have more digits than an array has a type for


def number(reward: Any) -> float:
    """Return a reward as a float, infinite where it is too large for one; raise `UsageError` when it is no number."""
    array = _scalar(reward)
    if array is not None and array.dtype.kind in "fiub":
        return float(array)
    if isinstance(reward, LONG_NUMBERS):
        try:
            return float(reward)
        except OverflowError:
            return math.inf
        except ValueError:  # a signalling NaN
            return math.nan
    raise UsageError(
        f"the environment gave the reward {shortened(reward)} of type {type(reward).__name__}, but must give a plain "
        "number; correct the environment"
    )


def truth(name: str, value: Any) -> bool:
    """Return whether a value is true; raise `UsageError` when it is neither true nor false."""
    array = _scalar(value)
    if array is None or array.dtype.kind not in "biu":
        raise UsageError(
            f"the environment gave {name} = {shortened(value)} of type {type(value).__name__}, but must give True or "
            "False; correct the environment"
        )
    return bool(array)


def misshapen(obs: np.ndarray, shape: tuple[int, ...]) -> UsageError:
    """Return the error for an observation that is not numbers of this shape."""
    return UsageError(
        f"an observation has shape {obs.shape} and type {obs.dtype}, but must be numbers of shape {shape}; correct "
        "what produced it"
    )


def too_large(reward: Any, largest: float) -> UsageError:
    """Return the error for a reward that is not finite, or as good as that."""
    return UsageError(
        f"the environment gave the reward {shortened(reward)}, not a finite number below {largest:g}; correct the "
        "environment"
    )


def incomplete(method: str, answer: Any, wanted: tuple[str, ...]) -> UsageError:
    """Return the error for an answer of `reset` or `step` that is not a tuple of the parts wanted."""
    what = f"{len(answer)} values" if isinstance(answer, tuple) else type(answer).__name__
    return UsageError(
        f"the environment's {method} returned {what}, but must return ({', '.join(wanted)}) as Gymnasium has it; "
        "correct the environment, or wrap an old one with shimmy"
    )


def _scalar(value: Any) -> np.ndarray | None:
    """Return the array () of one value; None for what has a shape, is masked or makes no array."""
    if np.ma.is_masked(value):
        return None
    try:
        single = value.item() if getattr(value, "shape", None) == () else value  # also of tensors with a gradient
        array = np.asarray(single)
    except Exception:  # whatever a stranger's object raises when asked for an array
        return None
    return array if array.shape == () else None
