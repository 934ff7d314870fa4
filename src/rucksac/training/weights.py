"""Weights in shared memory: one process writes whole versions of them, others read the newest and never a torn one.

There are two copies, each with its version before and behind it. A writer fills the older copy: it marks it first,
writes, and marks its end. A reader takes a copy whose end has the version it looks for, and takes it again unless its
beginning still has that version afterwards. Nobody waits for anybody.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

ALIGNED = 64  # bytes


class SharedWeights:
    """Room for two copies of `tensors`, which `publish` takes and `receive` changes."""

    def __init__(self, memory: memoryview, tensors: Sequence[Tensor]) -> None:
        self.version = 0  # the one that was published or received last; 0 is none
        self._newest = np.frombuffer(memory[:ALIGNED], np.int64)
        size = (len(memory) - ALIGNED) // 2
        self._copies = [_Copy(memory[begin : begin + size], tensors) for begin in (ALIGNED, ALIGNED + size)]

    def publish(self, tensors: Sequence[Tensor], grad_steps: int) -> None:
        """Make the values of `tensors`, from after so many gradient steps, the newest."""
        self.version += 1
        copy = self._copies[self.version % 2]
        copy.marks[0] = self.version
        for array, tensor in zip(copy.arrays, tensors, strict=True):
            array[...] = tensor.cpu().numpy()
        copy.marks[1] = grad_steps
        copy.marks[2] = self.version
        self._newest[0] = self.version

    def receive(self, tensors: Sequence[Tensor]) -> int:
        """Put the newest version into `tensors`, unless it is there; return its number of gradient steps."""
        while True:
            version = int(self._newest[0])
            copy = self._copies[version % 2]
            if copy.marks[2] != version:
                continue
            grad_steps = int(copy.marks[1])
            if version != self.version:
                for array, tensor in zip(copy.arrays, tensors, strict=True):
                    tensor.numpy()[...] = array
            if copy.marks[0] == version:
                self.version = version
                return grad_steps


class _Copy:
    """`marks` are the version before, the gradient steps and the version behind the numbers in `arrays`."""

    def __init__(self, memory: memoryview, tensors: Sequence[Tensor]) -> None:
        self.marks, begin = np.frombuffer(memory[:ALIGNED], np.int64), ALIGNED
        self.arrays = []
        for tensor in tensors:
            array = tensor.cpu().numpy()
            self.arrays.append(np.frombuffer(memory[begin:], array.dtype, array.size).reshape(array.shape))
            begin += _padded(array.nbytes)


def bytes_for_weights(tensors: Sequence[Tensor]) -> int:
    """Return the memory that shared weights take."""
    return ALIGNED + 2 * (ALIGNED + sum(_padded(tensor.numel() * tensor.element_size()) for tensor in tensors))


def _padded(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
