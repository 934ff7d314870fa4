"""An exported policy as an ONNX graph, in float32 or with its inner layers in int8."""

import importlib
import json
import logging
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from rucksac import files
from rucksac.errors import UsageError
from rucksac.exporting.checking import Act
from rucksac.exporting.pipeline import ACTION, Pipeline
from rucksac.exporting.torch_program import traced

OPSET = 18  # onnxruntime reads it since 1.14
LARGEST = 2**31 - 2**20  # bytes in one file of the format
PRODUCTS = ("MatMul", "Gemm")


def write(policy: nn.Module, pipeline: Pipeline, about: dict[str, Any], file: Path) -> list[Path]:
    """Write `file`, with int8 products between hidden layers if `about` says so, and return it.

    Raises `UsageError` when a package is missing or the network is too large for the format.
    """
    onnx = _package("onnx")
    weights = sum(each.numel() for each in policy.parameters()) * 4
    if weights > LARGEST:
        raise UsageError(f"the policy has {weights:,} bytes of weights, too many for one .onnx file; export to .pt2")
    model = _model(policy, pipeline)
    if about["int8"]:
        model = _quantised(onnx, model)
    onnx.helper.set_model_props(model, {"rucksac": json.dumps(about)})
    onnx.checker.check_model(model)
    files.write(file, model.SerializeToString())
    return [file]


def opened(file: Path, pipeline: Pipeline) -> Act:
    """Return what is in a file, to be called with arrays."""
    session = _package("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [each["name"] for each in pipeline.inputs()]

    def act(*arrays: np.ndarray) -> np.ndarray:
        return session.run([ACTION], dict(zip(names, arrays, strict=True)))[0]

    return act


def _model(policy: nn.Module, pipeline: Pipeline) -> Any:
    _package("onnxscript")
    names = [each["name"] for each in pipeline.inputs()]
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of packages that nobody here needs
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                traced(policy, pipeline), input_names=names, output_names=[ACTION], opset_version=OPSET, verbose=False
            )
    finally:
        log.setLevel(level)
    model = program.model_proto
    model.graph.name = "policy"
    del model.graph.value_info[:], model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # where in PyTorch it came from
    for value in (*model.graph.input, *model.graph.output):
        del value.metadata_props[:]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _quantised(onnx: ModuleType, model: Any) -> Any:
    """Return the model with 8-bit weights, and inputs rounded to 8 bits as they come, in all layers but the outer two.

    What comes in has numbers of any scale side by side, and what goes out decides the action.
    """
    _package("onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic

    products = [node.name for node in model.graph.node if node.op_type in PRODUCTS]
    if len(products) < 3:
        raise UsageError("--int8 is for the layers between hidden ones, but the policy has none; leave it out")
    outer = products[0], products[-1]
    onnx.helper.set_model_props(model, {"onnx.quant.pre_process": "onnxruntime.quant"})  # PyTorch has simplified it
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantize_dynamic(
            model,
            file,
            op_types_to_quantize=list(PRODUCTS),
            per_channel=True,
            weight_type=QuantType.QUInt8,  # with QInt8 sums may overflow on processors without VNNI instructions
            nodes_to_exclude=[*outer, *(f"{name}_MatMul" for name in outer)],  # as which it writes a Gemm
        )
        return onnx.load(file)


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f'.onnx needs the package {name}; pip install "rucksac[export]"') from error
