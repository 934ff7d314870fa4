"""Optimisers against those of PyTorch, alone and one after the other."""

import pytest
import torch

from rucksac.algorithm import optimisers

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
    found = descend(optimisers.adam(1e-2, 0.5, 0.99), gradients)
    expected = textbook(lambda leaves: torch.optim.Adam(leaves, 1e-2, (0.5, 0.99)), gradients)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-8)


def test_clipping_and_decay_chain_as_they_do_in_pytorch():
    gradients = [tensors(seed, 10.0 ** (seed % 3 - 1)) for seed in range(1, STEPS)]  # clipped and not
    rate, lr, norm = 0.1, 1e-2, 2.0
    optimiser = optimisers.chain(optimisers.clip(norm), optimisers.adam(lr), optimisers.decay(lr * rate))
    found = descend(optimiser, gradients)
    expected = textbook(lambda leaves: torch.optim.AdamW(leaves, lr, weight_decay=rate), gradients, norm)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=1e-5)  # AdamW decays before its own change
    alone = descend(optimisers.chain(optimisers.adam(lr), optimisers.decay(lr * rate)), gradients)
    assert all((alone[name] - tensor).abs().max() > 1e-3 for name, tensor in found.items())


def test_rates_may_follow_the_count_of_updates():
    def halving(count):
        return {**optimisers.adam(0.1).scalars(count), "step_size": 0.1 / 2**count}

    gradients = [{name: torch.ones_like(each) for name, each in tensors(0).items()}] * 3
    optimiser = optimisers.adam(0.1)._replace(scalars=halving)
    moved = tensors(0)["bias"] - descend(optimiser, gradients)["bias"]
    steps = [0.1 / 2**count for count in (1, 2, 3)]
    mean_over_root = [(1 - 0.9**count) / (1 - 0.999**count) ** 0.5 for count in (1, 2, 3)]
    expected = sum(step * each for step, each in zip(steps, mean_over_root, strict=True))
    torch.testing.assert_close(moved, torch.full_like(moved, expected), rtol=1e-4, atol=0)
