"""What of a run is state: every part of a `Training` names its own in `STATE`, and this file turns it into JSON."""

import math
from typing import Any

import numpy as np

from rucksac.training.parts import Training


def take(training: Training) -> dict[str, Any]:
    """Return all state beside the agent's tensors and the rows of the replay memory."""
    return {name: _encode_part(part) for name, part in training.parts().items()}


def restore(training: Training, values: dict[str, Any]) -> None:
    """Put back what `take` returned; raise `ValueError` or `TypeError` when it does not fit this training."""
    parts = training.parts()
    _same_names("the training", parts, values)
    for name, part in parts.items():
        restore_part(name, part, values[name])


def restore_part(name: str, part: Any, values: Any) -> None:
    """Put back the state of one part; raise `ValueError` or `TypeError` when it does not fit."""
    if isinstance(part, np.random.Generator):
        _decode(part, values)
        return
    _same_names(name, part.STATE, values)
    for attribute in part.STATE:
        setattr(part, attribute, _decode(getattr(part, attribute), values[attribute]))


def arrays(training: Training) -> dict[str, np.ndarray]:
    """Return the state that is too large for JSON: what parts name in `ARRAYS`, by part and name."""
    return {
        f"{name}.{attribute}": getattr(part, attribute)
        for name, part in training.parts().items()
        for attribute in getattr(part, "ARRAYS", ())
    }


def put_arrays(training: Training, values: dict[str, np.ndarray]) -> None:
    """Put back what `arrays` returned, after all else; raise `ValueError` when it does not fit this training."""
    expected, parts = arrays(training), training.parts()
    _same_names("arrays", expected, values)
    for name, array in values.items():
        if array.shape != expected[name].shape or array.dtype != expected[name].dtype or not np.isfinite(array).all():
            raise ValueError(f"{name} has another shape or type, or is not finite")
        part, attribute = name.split(".")
        setattr(parts[part], attribute, array)


def _encode_part(part: Any) -> Any:
    if isinstance(part, np.random.Generator):
        return _encode(part)
    return {attribute: _encode(getattr(part, attribute)) for attribute in part.STATE}


def _encode(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value.tolist() if isinstance(value, np.ndarray) else value


def _decode(current: Any, value: Any) -> Any:
    """Return `value` as the kind of thing that `current` is."""
    if isinstance(current, np.random.Generator):
        current.bit_generator.state = value
        return current
    if isinstance(current, np.ndarray):
        with np.errstate(over="ignore"):  # what overflows is not finite
            array = np.asarray(value, current.dtype)
        if array.shape != current.shape or not np.isfinite(array).all():
            raise ValueError(f"an array of state has shape {array.shape} or is not finite")
        return array
    if isinstance(current, list):
        if not isinstance(value, list) or len(value) != len(current):
            raise ValueError("a list of state has another length")
        return [_decode(old, new) for old, new in zip(current, value, strict=True)]
    if isinstance(current, dict):
        current.update({str(key): _decode(0.0, each) for key, each in value.items()})
        return current
    if type(value) is not type(current):
        raise ValueError(f"a value of state is {value!r}, but must be {type(current).__name__}")
    if value < 0 if isinstance(value, int) else not math.isfinite(value):
        raise ValueError(f"a value of state is {value!r}")
    return value


def _same_names(what: str, expected: Any, given: Any) -> None:
    if not isinstance(given, dict) or set(given) != set(expected):
        raise ValueError(f"the state of {what} has other parts than expected")
