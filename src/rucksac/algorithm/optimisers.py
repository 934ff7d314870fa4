"""Optimisers as parts: pure functions over named tensors that `chain` puts one after the other (after optax)."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from rucksac.algorithm import equations
from rucksac.algorithm.networks import Weights
from rucksac.algorithm.resets import Resets

Moments = dict[str, Weights]
"""The state of an optimiser: tensors like the parameters, by what they are."""
Rate = Callable[[int], float]
"""A learning rate, by the number of the update, from 1."""
Age = Callable[[int], int]
"""How many updates the moments have taken in with this one, by the number of the update, from 1."""


class Optimiser(NamedTuple):
    """What turns the gradient of parameters into their change.

    `init(parameters)` returns the first state. `update(gradient, state, parameters, scalars)` returns the change to add
    to the parameters and the next state. `scalars(count)` returns the numbers, by name, that update number `count`
    (from 1) takes; they are computed outside the gradient step, where schedules and bias corrections cost nothing.
    """

    init: Callable[[Weights], Moments]
    update: Callable[[Weights, Moments, Weights, Weights], tuple[Weights, Moments]]
    scalars: Callable[[int], dict[str, float]]


def constant(lr: float) -> Rate:
    """Return a learning rate that stays as it is."""
    return lambda _: lr


def annealed(lr: float, shape: str, end: float, progress: Callable[[int], float]) -> Rate:
    """Return a learning rate that falls to the share `end` of `lr`, linear or as a cosine (arXiv 1608.03983, Eq. 5).

    `progress(count)` is how far update number `count` is on the way; from 1 on nothing changes.
    """

    def rate(count: int) -> float:
        done = min(1.0, progress(count))
        left = 1.0 - done if shape == "linear" else 0.5 + 0.5 * math.cos(math.pi * done)
        return lr * (end + (1.0 - end) * left)

    return rate


def since_reset(resets: Resets | None, delay: int = 1) -> Age:
    """Return the age of moments that begin anew with each reset, where each `delay`-th gradient step is an update."""
    if resets is None:
        return lambda count: count
    return lambda count: count - resets.last(count * delay - 1) // delay


UNBROKEN = since_reset(None)


def adam(
    rate: Rate, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8, age: Age = UNBROKEN
) -> Optimiser:
    """Return Adam (arXiv 1412.6980); its bias corrections go by `age`, which differs where moments begin anew."""

    def init(parameters: Weights) -> Moments:
        return {
            moment: {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
            for moment in ("mean", "square")
        }

    def update(gradient: Weights, state: Moments, _: Weights, scalars: Weights) -> tuple[Weights, Moments]:
        change, mean, square = {}, {}, {}
        for name, slope in gradient.items():
            moments = equations.moments(slope, state["mean"][name], state["square"][name], beta_1, beta_2)
            change[name] = equations.adam(*moments, scalars["step_size"], scalars["epsilon"])
            mean[name], square[name] = moments
        return change, {"mean": mean, "square": square}

    def scalars(count: int) -> dict[str, float]:
        return equations.adam_scalars(age(count), rate(count), beta_1, beta_2, epsilon)

    return Optimiser(init, update, scalars)


def clip(largest_norm: float) -> Optimiser:
    """Return what shortens a gradient whose norm over all parameters is larger than `largest_norm`."""

    def update(gradient: Weights, _: Moments, __: Weights, ___: Weights) -> tuple[Weights, Moments]:
        norm = torch.stack([each.square().sum() for each in gradient.values()]).sum().sqrt()
        factor = (largest_norm / (norm + 1e-6)).clamp(max=1.0)
        return {name: factor * each for name, each in gradient.items()}, {}

    return Optimiser(lambda _: {}, update, lambda _: {})


def decay(strength: float, rate: Rate) -> Optimiser:
    """Return what shrinks parameters by `strength` times the learning rate (decoupled, arXiv 1711.05101)."""

    def update(change: Weights, _: Moments, parameters: Weights, scalars: Weights) -> tuple[Weights, Moments]:
        return {name: each - scalars["decay"] * parameters[name] for name, each in change.items()}, {}

    return Optimiser(lambda _: {}, update, lambda count: {"decay": strength * rate(count)})


def unit_columns(names: Callable[[str], bool]) -> Optimiser:
    """Return what brings the weights of each output back to length 1 in the matrices of these names (XQC).

    A matrix is (..., in, out); the weights are as far as the change so far would take them.
    """

    def update(change: Weights, _: Moments, parameters: Weights, __: Weights) -> tuple[Weights, Moments]:
        projected = {
            name: equations.unit_columns(parameters[name] + each) - parameters[name]
            for name, each in change.items()
            if names(name)
        }
        return change | projected, {}

    return Optimiser(lambda _: {}, update, lambda _: {})


def unit_scales(names: Callable[[str], bool]) -> Optimiser:
    """Return what brings scale and shift of each norm back to a mean square of 1 together (FlashSAC, arXiv 2604.04539).

    They are the parameters of these names; those of one norm differ in what follows the last dot.
    """

    def update(change: Weights, _: Moments, parameters: Weights, __: Weights) -> tuple[Weights, Moments]:
        norms: dict[str, list[str]] = {}
        for name in filter(names, change):
            norms.setdefault(name.rpartition(".")[0], []).append(name)
        projected: Weights = {}
        for together in norms.values():
            scaled = equations.unit_scales(*(parameters[name] + change[name] for name in together))
            projected |= {name: each - parameters[name] for name, each in zip(together, scaled, strict=True)}
        return change | projected, {}

    return Optimiser(lambda _: {}, update, lambda _: {})


def chain(*optimisers: Optimiser) -> Optimiser:
    """Return the optimisers one after the other: what one returns as change is the next one's gradient."""

    def init(parameters: Weights) -> Moments:
        return {name: moment for each in optimisers for name, moment in each.init(parameters).items()}

    def update(gradient: Weights, state: Moments, parameters: Weights, scalars: Weights) -> tuple[Weights, Moments]:
        for each in optimisers:
            gradient, changed = each.update(gradient, state, parameters, scalars)
            state = state | changed
        return gradient, state

    def scalars(count: int) -> dict[str, float]:
        return {name: number for each in optimisers for name, number in each.scalars(count).items()}

    return Optimiser(init, update, scalars)
