"""An exported policy as one PyTorch program: a .pt2 file, and what the .onnx file is made from."""

import copy
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rucksac import files
from rucksac.algorithm.layers import LAYER_NORM_EPSILON
from rucksac.algorithm.networks import ACTIVATIONS, MLP
from rucksac.errors import UsageError
from rucksac.exporting.checking import Act
from rucksac.exporting.network import Layer, Network, network_of
from rucksac.exporting.pipeline import Part, Pipeline
from rucksac.normalisation import FARTHEST

METADATA = "rucksac.json"


class StandardMLP(nn.Module):
    """rucksac's own network in PyTorch's standard layers."""

    centre: Tensor
    gain: Tensor
    offset: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_linear(layer) for layer in network.layers)
        self.activation, self.first = ACTIVATIONS[network.activation], network.first is not None
        for name, array in network.first._asdict().items() if network.first else ():
            self.register_buffer(name, torch.from_numpy(array))

    def forward(self, x: Tensor) -> Tensor:
        """Return the last layer's output (B, out) for (B, in)."""
        if self.first:
            x = (x - self.centre) * self.gain + self.offset
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


class Program(nn.Module):
    """A `Pipeline` around its network: the parts of B observations, and noise (B, A) if it samples, to B actions."""

    mean: Tensor
    rest: Tensor
    spread: Tensor
    middle: Tensor
    half_range: Tensor
    low: Tensor
    high: Tensor
    options: Tensor

    def __init__(self, policy: nn.Module, pipeline: Pipeline) -> None:
        super().__init__()
        self.pipeline = pipeline
        if isinstance(policy, MLP):
            self.network: nn.Module = StandardMLP(network_of(policy, pipeline.outputs))
        else:
            self.network = copy.deepcopy(policy).cpu()
        named: dict[str, Any] = {"options": pipeline.options}
        for number, part in enumerate(pipeline.parts):
            named |= {f"index{number}": part.index, f"value{number}": part.value}
        for stage in (pipeline.normalisation, pipeline.scaling):
            named |= stage._asdict() if stage else {}
        for name, array in named.items():
            if isinstance(array, np.ndarray):
                self.register_buffer(name, torch.from_numpy(np.array(array)))

    def forward(self, *arrays: Tensor) -> Tensor:
        """Return the actions (B, *shape) in the environment's units."""
        parts = self.pipeline.parts
        numbers, pixels = (
            [
                self._columns(number, part, arrays[number])
                for number, part in enumerate(parts)
                if part.picture == picture
            ]
            for picture in (False, True)
        )
        if self.pipeline.normalisation:
            x = torch.cat(numbers, -1) if len(numbers) > 1 else numbers[0]
            numbers = [((x - self.mean - self.rest) / self.spread).clamp(-FARTHEST, FARTHEST)]
        columns = numbers + pixels
        output = self.network(torch.cat(columns, -1) if len(columns) > 1 else columns[0])
        if output.shape[-1] > self.pipeline.outputs:
            output = output[:, : self.pipeline.outputs]
        noise = arrays[len(parts)] if self.pipeline.sample else None
        if self.pipeline.head == "choice":
            choice = (output if noise is None else output + noise).argmax(-1)
            return self.options[choice]
        return self._scaled(self._unit(output, noise))

    def _columns(self, number: int, part: Part, array: Tensor) -> Tensor:
        flat = array if len(part.shape) == 1 else array.reshape(-1, part.size)
        if part.value is not None:
            flat = flat.index_select(1, getattr(self, f"index{number}")) == getattr(self, f"value{number}")
        return flat if flat.dtype == torch.float32 else flat.to(torch.float32)

    def _unit(self, output: Tensor, noise: Tensor | None) -> Tensor:
        if noise is None:
            return output.tanh()
        assert self.pipeline.distribution
        return self.pipeline.distribution.sample(output, noise)

    def _scaled(self, unit: Tensor) -> Tensor:
        scaled = self.middle + unit * self.half_range
        if self.pipeline.scaling and self.pipeline.scaling.whole:
            scaled = scaled.round()
        scaled = torch.minimum(torch.maximum(scaled, self.low), self.high)
        dtype = getattr(torch, self.pipeline.action_dtype)
        scaled = scaled if dtype == torch.float32 else scaled.to(dtype)
        shape = self.pipeline.action_shape
        return scaled if len(shape) == 1 else scaled.reshape(-1, *shape)


def traced(policy: nn.Module, pipeline: Pipeline) -> torch.export.ExportedProgram:
    """Return the policy as a graph for any batch; raise `UsageError` when the person's own network is none."""
    batch = torch.export.Dim("batch")
    inputs = pipeline.inputs()
    examples = tuple(torch.zeros(3, *each["shape"], dtype=getattr(torch, each["dtype"])) for each in inputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(
                Program(policy, pipeline).eval(), examples, dynamic_shapes=(tuple({0: batch} for _ in inputs),)
            )
    except Exception as error:  # a person's network may do anything
        if isinstance(policy, MLP):
            raise
        raise UsageError(
            f"the policy's own network is no graph that torch.export understands ({str(error).splitlines()[0]}); "
            "write it without choices that depend on values or on the size of the batch"
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of this machine
    return program


def write(policy: nn.Module, pipeline: Pipeline, about: dict[str, Any], file: Path) -> list[Path]:
    """Write `file` for torch.export.load and return what was written."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(traced(policy, pipeline), buffer, extra_files={METADATA: json.dumps(about)})
    files.write(file, buffer.getvalue())
    return [file]


def opened(file: Path, pipeline: Pipeline) -> Act:  # noqa: ARG001
    """Return what is in a file, to be called with arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.export.load(file).module()

    def act(*arrays: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(*map(torch.from_numpy, arrays)).numpy()

    return act


def _linear(layer: Layer) -> nn.Module:
    linear = _filled(nn.Linear(*layer.weight.shape), layer.weight.T, layer.bias)
    if layer.norm is None:
        return linear
    return nn.Sequential(linear, _filled(nn.LayerNorm(len(layer.bias), LAYER_NORM_EPSILON), *layer.norm))


def _filled(module: nn.Module, weight: np.ndarray, bias: np.ndarray) -> nn.Module:
    for name, array in (("weight", weight), ("bias", bias)):
        setattr(module, name, nn.Parameter(torch.from_numpy(np.array(array, order="C")), requires_grad=False))
    return module
