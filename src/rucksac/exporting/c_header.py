"""An exported policy as one C99 header: static arrays and one function, for whatever has a C compiler."""

import ctypes
import itertools
import json
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rucksac import files
from rucksac.algorithm.deterministic import Deterministic
from rucksac.algorithm.layers import LAYER_NORM_EPSILON
from rucksac.algorithm.networks import MLP
from rucksac.algorithm.policies import LOG_STD_MAX, LOG_STD_MIDDLE, LOG_STD_MIN, LOG_STD_REACH, SquashedGaussian
from rucksac.compilation import compiler
from rucksac.errors import UsageError
from rucksac.exporting.checking import Act
from rucksac.exporting.network import Network, network_of
from rucksac.exporting.pipeline import Part, Pipeline
from rucksac.normalisation import FARTHEST
from rucksac.text import printable

EXACT = 2**24  # up to here float32 holds every whole number
ACTIVATIONS = {
    "relu": "x < 0.0f ? 0.0f : x",
    "tanh": "tanhf(x)",
    "elu": "x > 0.0f ? x : expm1f(x)",
    "silu": "x / (1.0f + expf(-x))",
    "gelu": "0.5f * x * (1.0f + erff(x * 0.70710678f))",
}


def write(policy: MLP, pipeline: Pipeline, about: dict[str, Any], file: Path) -> list[Path]:
    """Write the header `file` and return it; its functions and arrays begin with its name.

    Raises `UsageError` when that is none for C, or when an option of a discrete observation is no exact float.
    """
    name = file.stem
    if not (name.isascii() and name.isidentifier()):
        raise UsageError(f"{name!r} cannot begin the name of a function in C; choose another file name than {file}")
    network = network_of(policy, pipeline.outputs)
    for part in pipeline.parts:
        if part.value is not None and np.abs(part.value).max() > EXACT:
            raise UsageError(
                f"{part.name} has options beyond {EXACT:,}, which the floats of {file.name} cannot tell apart; export "
                "it to policy.onnx, .pt2 or .npz"
            )
    text = "\n".join(_header(pipeline, network, about, name)) + "\n"
    files.write(file, text.encode())
    return [file]


def arguments(pipeline: Pipeline) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return inputs and output as the function has them: the parts of the observation one after the other."""
    obs = {"name": "obs", "shape": [sum(part.size for part in pipeline.parts)], "dtype": "float"}
    noise = [{**each, "dtype": "float"} for each in pipeline.inputs()[len(pipeline.parts) :]]
    return [obs, *noise], {"name": "action", "shape": [_action_numbers(pipeline)], "dtype": _action_type(pipeline)}


def opened(file: Path, pipeline: Pipeline) -> Act:
    """Return what is in a header, compiled, to be called with arrays; raise `UsageError` where that does not work."""
    command = compiler()
    if not command:
        raise UsageError("no C compiler was found")
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "policy.c", Path(folder) / "policy.so"
        given = ", ".join(f"const float *{each['name']}" for each in arguments(pipeline)[0])
        names = ", ".join([*(each["name"] for each in arguments(pipeline)[0]), "action"])
        source.write_text(
            f'#include "{file.absolute()}"\n'
            f"void act({given}, {_action_type(pipeline)} *action);\n"
            f"void act({given}, {_action_type(pipeline)} *action) {{ {file.stem}_act({names}); }}\n"
        )
        words = [command, "-x", "c", "-std=c99", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-lm"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UsageError(f"{command} could not compile it ({done.stderr.strip().splitlines()[0]})")
        function = ctypes.CDLL(str(library)).act

    def act(*arrays: np.ndarray) -> np.ndarray:
        rows = len(arrays[0])
        parts, noise = arrays[: len(pipeline.parts)], arrays[len(pipeline.parts) :]
        obs = np.concatenate([each.reshape(rows, -1) for each in parts], -1, dtype=np.float32, casting="unsafe")
        dtype = np.float32 if _action_type(pipeline) == "float" else np.int64
        actions = np.zeros((rows, _action_numbers(pipeline)), dtype)
        for row in range(rows):
            function(*(ctypes.c_void_p(each[row].ctypes.data) for each in (obs, *noise, actions)))
        return actions.astype(pipeline.action_dtype).reshape(rows, *pipeline.action_shape)

    return act


def _header(pipeline: Pipeline, network: Network, about: dict[str, Any], name: str) -> Iterator[str]:
    inputs, output = arguments(pipeline)
    yield "/* A policy that rucksac exported. Reading the source:"
    yield " *"
    at = 0
    for part in pipeline.parts:
        yield f" *   {_safe(_where(part, at))}"
        at += part.size
    if pipeline.sample:
        kind = f"{pipeline.noise_kind} numbers; zeros give the likeliest action"
        yield f" *   noise[0..{pipeline.action_size - 1}]: {kind}"
    yield f" *   action[0..{output['shape'][0] - 1}]: in the environment's units, shape {pipeline.action_shape}"
    yield " *"
    yield f" * {_safe(json.dumps(about))}"
    yield " */"
    yield f"#ifndef {name.upper()}_H"
    yield f"#define {name.upper()}_H"
    yield ""
    yield "#include <math.h>"
    yield ""
    for each in (*inputs, output):
        yield f"#define {name.upper()}_{each['name'].upper()}_SIZE {each['shape'][0]}"
    yield ""
    for number, layer in enumerate(network.layers):
        yield _array(f"{name}_weight{number}", layer.weight)
        yield _array(f"{name}_bias{number}", layer.bias)
        if layer.norm:
            yield _array(f"{name}_norm_weight{number}", layer.norm[0])
            yield _array(f"{name}_norm_bias{number}", layer.norm[1])
    for number, part in enumerate(pipeline.parts):
        if part.index is not None and part.value is not None:
            yield _array(f"{name}_index{number}", part.index)
            yield _array(f"{name}_value{number}", part.value.astype(np.float32))
    for stage in (pipeline.normalisation, network.first, pipeline.scaling):
        for key, array in stage._asdict().items() if stage else ():
            if isinstance(array, np.ndarray):
                yield _array(f"{name}_{key}", array)
    if pipeline.options is not None:
        yield _array(f"{name}_options", pipeline.options.reshape(len(pipeline.options), -1))
    given = ", ".join(f"const float *{each['name']}" for each in inputs)
    yield ""
    if pipeline.normalisation or pipeline.scaling:
        yield f"static inline float {name}_clip(float x, float low, float high)"
        yield "{"
        yield "    return x < low ? low : x > high ? high : x; /* what is not a number stays so */"
        yield "}"
        yield ""
    if any(layer.norm for layer in network.layers):
        yield from _norm(name)
        yield ""
    yield f"static inline void {name}_act({given}, {output['dtype']} *action)"
    yield "{"
    for line in _body(pipeline, network, name):
        yield f"    {line}".rstrip()
    yield "}"
    yield ""
    yield "#endif"


def _body(pipeline: Pipeline, network: Network, name: str) -> Iterator[str]:
    widths = [len(network.layers[0].weight), *(len(layer.bias) for layer in network.layers)]
    yield f"float a[{max(widths[0::2])}], b[{max(widths[1::2])}];"
    yield "int i, j;"
    yield ""
    column = at = 0
    for number, part in enumerate(pipeline.parts):
        taken = f"obs[{at} + i]"
        if part.value is not None:
            taken = f"obs[{at} + {name}_index{number}[i]] == {name}_value{number}[i] ? 1.0f : 0.0f"
        yield f"for (i = 0; i < {part.columns}; i++) a[{column} + i] = {taken};"
        column, at = column + part.columns, at + part.size
    if pipeline.normalisation:
        yield f"for (i = 0; i < {column}; i++) {{"
        yield f"    const float x = (a[i] - {name}_mean[i] - {name}_rest[i]) / {name}_spread[i];"
        yield f"    a[i] = {name}_clip(x, {_number(-FARTHEST)}, {_number(FARTHEST)});"
        yield "}"
    if network.first:
        standard = f"(a[i] - {name}_centre[i]) * {name}_gain[i] + {name}_offset[i]"
        yield f"for (i = 0; i < {column}; i++) a[i] = {standard};"
    here, there = "a", "b"
    for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        yield f"for (j = 0; j < {outputs}; j++) {there}[j] = {name}_bias{number}[j];"
        yield f"for (i = 0; i < {inputs}; i++)"
        yield f"    for (j = 0; j < {outputs}; j++) {there}[j] += {here}[i] * {name}_weight{number}[i][j];"
        if network.layers[number].norm:
            yield f"{name}_norm({there}, {outputs}, {name}_norm_weight{number}, {name}_norm_bias{number});"
        if number < len(network.layers) - 1:
            yield f"for (j = 0; j < {outputs}; j++) {{"
            yield f"    const float x = {there}[j];"
            yield f"    {there}[j] = {ACTIVATIONS[network.activation]};"
            yield "}"
        here, there = there, here
    yield from _choice(pipeline, name, here) if pipeline.options is not None else _scaled(pipeline, name, here)


def _norm(name: str) -> Iterator[str]:
    yield f"static inline void {name}_norm(float *x, int size, const float *weight, const float *bias)"
    yield "{"
    yield "    float mean = 0.0f, variance = 0.0f, deviation;"
    yield "    int i;"
    yield ""
    yield "    for (i = 0; i < size; i++) mean += x[i] / (float)size;"
    yield "    for (i = 0; i < size; i++) variance += (x[i] - mean) * (x[i] - mean) / (float)size;"
    yield f"    deviation = sqrtf(variance + {_number(LAYER_NORM_EPSILON)});"
    yield "    for (i = 0; i < size; i++) x[i] = (x[i] - mean) / deviation * weight[i] + bias[i];"
    yield "}"


def _choice(pipeline: Pipeline, name: str, x: str) -> Iterator[str]:
    size = pipeline.action_size
    if pipeline.sample:
        yield f"for (i = 0; i < {size}; i++) {x}[i] += noise[i];"
    yield f"for (i = 1, j = 0; i < {size}; i++)"
    yield f"    if ({x}[i] > {x}[j]) j = i;"
    yield f"for (i = 0; i < {_action_numbers(pipeline)}; i++) action[i] = {name}_options[j][i];"


def _scaled(pipeline: Pipeline, name: str, x: str) -> Iterator[str]:
    assert pipeline.scaling
    size, unit = pipeline.action_size, f"tanhf({x}[i])"
    yield f"for (i = 0; i < {size}; i++) {{"
    distribution = pipeline.distribution
    if isinstance(distribution, SquashedGaussian):
        log_std = f"{x}[{size} + i]"
        if distribution.by_tanh:
            middle, reach = _number(LOG_STD_MIDDLE), _number(LOG_STD_REACH)
            yield f"    const float log_std = {middle} + {reach} * tanhf({log_std});"
        else:
            yield f"    const float log_std = {name}_clip({log_std}, {_number(LOG_STD_MIN)}, {_number(LOG_STD_MAX)});"
        unit = f"tanhf({x}[i] + expf(log_std) * noise[i])"
    if isinstance(distribution, Deterministic):
        std, clip = _number(distribution.noise), _number(distribution.clip)
        yield f"    const float more = {name}_clip({std} * noise[i], -{clip}, {clip});"
        unit = f"{name}_clip({unit} + more, -1.0f, 1.0f)"
    scaled = f"{name}_middle[i] + {unit} * {name}_half_range[i]"
    yield f"    const float scaled = {f'rintf({scaled})' if pipeline.scaling.whole else scaled};"
    kept = f"{name}_clip(scaled, {name}_low[i], {name}_high[i])"
    yield f"    action[i] = {kept if _action_type(pipeline) == 'float' else f'(long long){kept}'};"
    yield "}"


def _action_numbers(pipeline: Pipeline) -> int:
    return int(np.prod(pipeline.action_shape, dtype=int))


def _action_type(pipeline: Pipeline) -> str:
    return "float" if pipeline.scaling and not pipeline.scaling.whole else "long long"


def _where(part: Part, at: int) -> str:
    what = f"{part.name}, shape {part.shape}"
    if part.value is not None:
        what += f", whole numbers from {part.value.min()} to {part.value.max()}"
    return f"obs[{at}{f'..{at + part.size - 1}' if part.size > 1 else ''}]: {what}"


def _array(name: str, array: np.ndarray) -> str:
    kind = "float" if array.dtype.kind == "f" else "long long"
    shape = "".join(f"[{size}]" for size in array.shape)
    return f"static const {kind} {name}{shape} = {_braces(array)};"


def _braces(array: np.ndarray) -> str:
    if array.ndim == 1:
        return "{" + _joined(map(_number, array), 110) + "}"
    return "{" + ",\n".join(map(_braces, array)) + "}"


def _number(value: Any) -> str:
    """Return the shortest decimal that is read back as the same number."""
    return f"{np.float32(value)!s}f" if isinstance(value, float | np.floating) else str(int(value))


def _joined(words: Iterable[str], width: int) -> str:
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += f"{word}, "
    return "\n".join(lines).rstrip(", ")


def _safe(text: str) -> str:
    """Return the text as it may stand in a comment."""
    return printable(text).replace("*/", "* /").replace("/*", "/ *")
