"""rucksac's own policy network as plain arrays: H numbers in each hidden layer, float32 throughout."""

from typing import Any, NamedTuple

import numpy as np

from rucksac.algorithm.layers import RENORM_EPSILON, BatchRenorm, LayerNorm
from rucksac.algorithm.networks import ACTIVATIONS, MLP


class Layer(NamedTuple):
    """x W + b with W (in, out) and b (out,); then, where there is one, a layer norm with its weight and bias (out,)."""

    weight: np.ndarray
    bias: np.ndarray
    norm: tuple[np.ndarray, np.ndarray] | None


class Affine(NamedTuple):
    """(x - centre) * gain + offset, each (O,)."""

    centre: np.ndarray
    gain: np.ndarray
    offset: np.ndarray


class Network(NamedTuple):
    """What comes first, if anything does, and layers with one activation between them."""

    first: Affine | None
    layers: list[Layer]
    activation: str


def network_of(policy: MLP, outputs: int) -> Network:
    """Return a policy's network, of its last layer the first `outputs` columns.

    Batch norms before an activation become part of their layer, those after it of the layer that follows; that of the
    input stays apart, since its mean may be large beside its spread.
    """
    layers = []
    for number, dense in enumerate(policy.layers):
        weight = _numbers(dense.weight)
        bias = np.zeros(weight.shape[1]) if dense.bias is None else _numbers(dense.bias)
        if number and (affine := _affine(policy.after[number - 1])):
            bias = bias + (affine.offset - affine.centre * affine.gain) @ weight
            weight = affine.gain[:, None] * weight
        norm = None
        if number < len(policy.layers) - 1:
            if affine := _affine(policy.before[number]):
                weight, bias = weight * affine.gain, (bias - affine.centre) * affine.gain + affine.offset
            if found := _found(LayerNorm, policy.before[number]):
                norm = _float32(_numbers(found.weight)), _float32(_numbers(found.bias))
        else:
            weight, bias = weight[:, :outputs], bias[:outputs]
        layers.append(Layer(_float32(weight), _float32(bias), norm))
    first = _affine(policy.first)
    activation = next(name for name, function in ACTIVATIONS.items() if function is policy.activation)
    return Network(first and Affine(*map(_float32, first)), layers, activation)


def _affine(between: Any) -> Affine | None:
    """Return what the batch norm among these modules does when nothing is learned, in float64."""
    norm = _found(BatchRenorm, between)
    if norm is None:
        return None
    centre, variance, weight, offset = (
        _numbers(each).reshape(-1) for each in (norm.mean, norm.variance, norm.weight, norm.bias)
    )
    return Affine(centre, weight / np.sqrt(variance + RENORM_EPSILON), offset)


def _found(kind: type, modules: Any) -> Any:
    return next((each for each in modules if isinstance(each, kind)), None)


def _numbers(tensor: Any) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _float32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
