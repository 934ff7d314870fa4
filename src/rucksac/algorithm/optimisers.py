"""Optimisers as parts: pure functions over named tensors that `chain` puts one after the other (after optax)."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from rucksac.algorithm import equations
from rucksac.algorithm.networks import Weights

Moments = dict[str, Weights]
"""The state of an optimiser: tensors like the parameters, by what they are."""


class Optimiser(NamedTuple):
    """What turns the gradient of parameters into their change.

    `init(parameters)` returns the first state. `update(gradient, state, parameters, scalars)` returns the change to add
    to the parameters and the next state. `scalars(count)` returns the numbers, by name, that update number `count`
    (from 1) takes; they are computed outside the gradient step, where schedules and bias corrections cost nothing.
    """

    init: Callable[[Weights], Moments]
    update: Callable[[Weights, Moments, Weights, Weights], tuple[Weights, Moments]]
    scalars: Callable[[int], dict[str, float]]


def adam(lr: float, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8) -> Optimiser:
    """Return Adam (arXiv 1412.6980)."""

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

    return Optimiser(init, update, lambda count: equations.adam_scalars(count, lr, beta_1, beta_2, epsilon))


def clip(largest_norm: float) -> Optimiser:
    """Return what shortens a gradient whose norm over all parameters is larger than `largest_norm`."""

    def update(gradient: Weights, _: Moments, __: Weights, ___: Weights) -> tuple[Weights, Moments]:
        norm = torch.stack([each.square().sum() for each in gradient.values()]).sum().sqrt()
        factor = (largest_norm / (norm + 1e-6)).clamp(max=1.0)
        return {name: factor * each for name, each in gradient.items()}, {}

    return Optimiser(lambda _: {}, update, lambda _: {})


def decay(rate: float) -> Optimiser:
    """Return what shrinks parameters by the fraction `rate` in every update (decoupled, arXiv 1711.05101)."""

    def update(change: Weights, _: Moments, parameters: Weights, __: Weights) -> tuple[Weights, Moments]:
        return {name: each - rate * parameters[name] for name, each in change.items()}, {}

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
