"""Comparing trainings attribute by attribute."""

import numpy as np
import torch


def everything(thing, path="training", seen=None):
    """Yield (path, value) for all that can be reached from `thing`, scratch memory included."""
    seen = {} if seen is None else seen
    if isinstance(thing, np.random.Generator):
        yield path, repr(thing.bit_generator.state)
    elif isinstance(thing, torch.Tensor):
        yield path, thing.numpy().tobytes()
    elif isinstance(thing, np.ndarray):
        yield path, thing.tobytes()
    elif isinstance(thing, int | float | str | bytes | type(None)):
        yield path, thing
    elif isinstance(thing, dict | list | tuple):
        inner = thing.items() if isinstance(thing, dict) else enumerate(thing)
        for key, each in inner:
            yield from everything(each, f"{path}.{key}", seen)
    elif type(thing).__module__.startswith("rucksac") and id(thing) not in seen:
        seen[id(thing)] = thing
        yield from everything(vars(thing), path, seen)


NO_PROMISE = (".progress.seconds", ".envs.")  # where the time went, and the processes that run environments


def differences(left, right):
    """Return the paths at which two trainings differ."""
    first, second = (
        {path: value for path, value in everything(each) if not any(word in path for word in NO_PROMISE)}
        for each in (left, right)
    )
    assert len(first) > 60
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
