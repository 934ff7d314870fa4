"""Optimisers against those of PyTorch, alone and one after the other."""

import math

import pytest
import torch

from rucksac.algorithm import optimisers
from rucksac.algorithm.optimisers import annealed, constant

STEPS = 20


def tensors(seed, factor=1.0):
    generator = torch.Generator().manual_seed(seed)
    shapes = {"weight": (4, 3), "bias": (3,)}
    return {
        name: factor * torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in shapes.items()
    }


def descend(optimiser, gradients):
    parameters = tensors(0)
    state = optimiser.init(parameters)
    for count, gradient in enumerate(gradients, 1):
        scalars = {name: torch.tensor(number).double() for name, number in optimiser.scalars(count).items()}
        change, state = optimiser.update(gradient, state, parameters, scalars)
        parameters = {name: tensor + change[name] for name, tensor in parameters.items()}
    return parameters


def textbook(make, gradients, largest_norm=None):
    parameters = tensors(0)
    leaves = [tensor.requires_grad_(True) for tensor in parameters.values()]
    optimiser = make(leaves)
    for gradient in gradients:
        for name, tensor in parameters.items():
            tensor.grad = gradient[name].clone()
        if largest_norm:
            torch.nn.utils.clip_grad_norm_(leaves, largest_norm)
        optimiser.step()
    return {name: tensor.detach() for name, tensor in parameters.items()}


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e3])
def test_adam_is_that_of_pytorch(factor):
    gradients = [tensors(seed, factor) for seed in range(1, STEPS)]
    found = descend(optimisers.adam(constant(1e-2), 0.5, 0.99), gradients)
    expected = textbook(lambda leaves: torch.optim.Adam(leaves, 1e-2, (0.5, 0.99)), gradients)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-8)


def test_clipping_and_decay_chain_as_they_do_in_pytorch():
    gradients = [tensors(seed, 10.0 ** (seed % 3 - 1)) for seed in range(1, STEPS)]  # clipped and not
    rate, lr, norm = 0.1, 1e-2, 2.0
    optimiser = optimisers.chain(
        optimisers.clip(norm), optimisers.adam(constant(lr)), optimisers.decay(rate, constant(lr))
    )
    found = descend(optimiser, gradients)
    expected = textbook(lambda leaves: torch.optim.AdamW(leaves, lr, weight_decay=rate), gradients, norm)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5)  # AdamW decays before its own change
    alone = descend(optimisers.chain(optimisers.adam(constant(lr)), optimisers.decay(rate, constant(lr))), gradients)
    assert all((alone[name] - tensor).abs().max() > 1e-3 for name, tensor in found.items())


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_rates_fall_as_they_do_in_pytorch(shape, weight_decay):
    gradients = [tensors(seed) for seed in range(1, STEPS)]
    lr, end, steps = 1e-2, 0.2, 12  # shorter than the run: from there on the rate stays as it is
    rate = annealed(lr, shape, end, lambda count: (count - 1) / steps)
    parts = [optimisers.adam(rate), *([optimisers.decay(weight_decay, rate)] if weight_decay else [])]
    found = descend(optimisers.chain(*parts), gradients)

    def falling(leaves):
        optimiser = torch.optim.AdamW(leaves, lr, weight_decay=weight_decay)
        schedulers = torch.optim.lr_scheduler
        scheduler = (
            schedulers.LinearLR(optimiser, 1.0, end, steps)
            if shape == "linear"
            else schedulers.LambdaLR(optimiser, lambda done: rate(min(done, steps) + 1) / lr)
        )
        optimiser.register_step_post_hook(lambda *_: scheduler.step())
        return optimiser

    expected = textbook(falling, gradients)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5 if weight_decay else 1e-9)


def test_a_cosine_is_that_of_pytorch():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 10, eta_min=0.05)
    rate = annealed(0.5, "cosine", 0.1, lambda count: (count - 1) / 10)
    for count in range(1, 12):
        assert rate(count) == pytest.approx(scheduler.get_last_lr()[0])
        optimiser.step()
        scheduler.step()
    assert rate(100) == pytest.approx(0.05)


def test_scale_and_shift_of_each_norm_are_brought_to_a_mean_square_of_one_together():
    parameters = {"norms.0.weight": [3.0, 1.0], "norms.0.bias": [0.0, 4.0], "final.weight": [6.0, 8.0], "other": [9.0]}
    parameters = {name: torch.tensor(each, dtype=torch.float64) for name, each in parameters.items()}
    change = {name: torch.zeros_like(each) for name, each in parameters.items()} | {
        "norms.0.weight": torch.tensor([0, -1])
    }
    optimiser = optimisers.unit_scales(lambda name: name != "other")
    changed, _ = optimiser.update(change, {}, parameters, {})
    found = {name: (parameters[name] + each).tolist() for name, each in changed.items()}
    factor = 1 / math.sqrt((9 + 16) / 2)  # of (3, 0) and (0, 4)
    assert found["norms.0.weight"] == pytest.approx([3 * factor, 0.0])
    assert found["norms.0.bias"] == pytest.approx([0.0, 4 * factor])
    assert found["final.weight"] == pytest.approx([6 / math.sqrt(50), 8 / math.sqrt(50)])
    assert found["other"] == [9.0]
