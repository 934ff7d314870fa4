"""Where tensor work happens: the processor, or a graphics card with CUDA.

The same step runs on both. `recorded` is for graphics cards alone, was written without one and has never run.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rucksac.compilation import Compiled
from rucksac.errors import UsageError

PROCESSOR = torch.device("cpu")


def chosen(name: str) -> torch.device:
    """Return the device that `--device` names; auto takes a card where there is one. Raises `UsageError`."""
    there = name != "cpu" and torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UsageError("--device is cuda, but PyTorch finds no card with CUDA here; use auto or cpu")
    return torch.device("cuda" if there else "cpu")


def carried(function: Compiled, device: torch.device) -> Compiled:
    """Return the function with its arguments taken to `device` and its results brought back."""

    def there_and_back(tensors: list[Tensor]) -> Sequence[Tensor]:
        return [result.cpu() for result in function([tensor.to(device, non_blocking=True) for tensor in tensors])]

    return there_and_back


def recorded(function: Compiled, arguments: list[Tensor], device: torch.device) -> Compiled:
    """Record one call as a CUDA graph and return what plays it again: one launch in place of hundreds.

    `arguments` that lie on `device` already are what learning changes in place; trying the function out leaves them as
    they were. All others are copied there before each call.
    """
    there = [tensor.to(device) for tensor in arguments]
    before = [tensor.clone() for tensor in there]
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries make their workspaces in the first calls, which must not be recorded
            function(list(there))
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function(list(there))
    for tensor, value in zip(there, before, strict=True):
        tensor.copy_(value)

    def play(tensors: list[Tensor]) -> Sequence[Tensor]:
        for own, given in zip(there, tensors, strict=True):
            if own is not given:
                own.copy_(given, non_blocking=True)
        graph.replay()
        return [result.cpu() for result in results]

    return play
