"""An exported policy as NumPy arrays in a .npz file, with the module `numpy_policy` beside it, which runs it."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from rucksac import files
from rucksac.algorithm.deterministic import Deterministic
from rucksac.algorithm.networks import MLP
from rucksac.algorithm.policies import LOG_STD_MIDDLE, LOG_STD_REACH, SquashedGaussian
from rucksac.errors import UsageError
from rucksac.exporting import numpy_policy
from rucksac.exporting.checking import Act
from rucksac.exporting.network import network_of
from rucksac.exporting.pipeline import Pipeline

RUNNER = Path(numpy_policy.__file__)


def write(policy: MLP, pipeline: Pipeline, about: dict[str, Any], file: Path) -> list[Path]:
    """Write `file` and its runner, and return them; raise `UsageError` rather than replace another module."""
    network = network_of(policy, pipeline.outputs)
    about = {**about, "layers": len(network.layers), "activation": network.activation, "head": pipeline.head}
    arrays: dict[str, Any] = {"rucksac": json.dumps(about), "options": pipeline.options}
    for number, layer in enumerate(network.layers):
        arrays |= {f"weight{number}": layer.weight, f"bias{number}": layer.bias}
        if layer.norm:
            arrays |= dict(zip((f"norm_weight{number}", f"norm_bias{number}"), layer.norm, strict=True))
    for number, part in enumerate(pipeline.parts):
        arrays |= {f"index{number}": part.index, f"value{number}": part.value}
    for stage in (pipeline.normalisation, network.first, pipeline.scaling):
        arrays |= stage._asdict() if stage else {}
    match pipeline.distribution:
        case Deterministic(noise, clip):
            arrays |= {"std": np.float32(noise), "clip": np.float32(clip)}
        case SquashedGaussian(by_tanh=True):
            arrays |= {"log_std_middle": np.float32(LOG_STD_MIDDLE), "log_std_reach": np.float32(LOG_STD_REACH)}
    runner, code = file.with_name(RUNNER.name), RUNNER.read_bytes()
    if runner.exists() and runner.read_bytes().splitlines()[:1] != code.splitlines()[:1]:
        raise UsageError(f"{runner} is there already and not from rucksac; export to another folder")
    buffer = io.BytesIO()
    np.savez(buffer, **{name: array for name, array in arrays.items() if array is not None})
    files.write(file, buffer.getvalue())
    files.write(runner, code)
    return [file, runner]


def opened(file: Path, pipeline: Pipeline) -> Act:
    """Return what is in a file, to be called with arrays."""
    policy = numpy_policy.Policy(str(file))

    def act(*arrays: np.ndarray) -> np.ndarray:
        parts = arrays[: len(pipeline.parts)]
        obs: Any = parts[0]
        if pipeline.parts[0].path:
            obs = {}
            for part, array in zip(pipeline.parts, parts, strict=True):
                _put(obs, part.path, array)
        return policy(obs, *arrays[len(parts) :])

    return act


def _put(obs: dict[Any, Any], path: tuple[str | int, ...], array: np.ndarray) -> None:
    *above, last = path
    for key in above:
        obs = obs.setdefault(key, {})
    obs[last] = array
