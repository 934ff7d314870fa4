import pytest
import torch
from torch.nn import functional

from rucksac.algorithm import layers
from rucksac.algorithm.layers import BatchRenorm, Dropout, LayerNorm


def rows(*shape, seed=0):
    return 3.0 * torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 1.0


@pytest.mark.parametrize("copies", [None, 2])
def test_layer_norm_is_that_of_pytorch_with_its_own_scale_for_each_copy(copies):
    norm, x = LayerNorm(5, copies), rows(*([] if copies is None else [copies]), 7, 5)
    plain = functional.layer_norm(x, (5,), eps=layers.LAYER_NORM_EPSILON)
    torch.testing.assert_close(norm(x), plain)
    with torch.no_grad():
        norm.weight.view(-1, 5)[-1] = 2.0
        norm.bias.view(-1, 5)[-1] = 0.5
    torch.testing.assert_close(norm(x)[-1], (2.0 * plain + 0.5)[-1])
    if copies:
        torch.testing.assert_close(norm(x)[0], plain[0])


def test_batch_renorm_begins_as_batch_norm_and_keeps_running_statistics():
    norm, mean, variance = BatchRenorm(4, None), torch.zeros(4), torch.ones(4)
    for seed in range(3):
        x = rows(50, 4, seed=seed)
        torch.testing.assert_close(norm(x), functional.batch_norm(x, None, None, training=True, eps=1e-3))
        mean = 0.99 * mean + 0.01 * x.mean(0)
        variance = 0.99 * variance + 0.01 * x.var(0, unbiased=False)
    torch.testing.assert_close(norm.mean[0], mean)
    torch.testing.assert_close(norm.variance[0], variance)
    assert norm.count == 3
    norm.eval()
    x = rows(50, 4, seed=9)
    torch.testing.assert_close(norm(x), functional.batch_norm(x, mean, variance, eps=1e-3))
    assert norm.count == 3


def test_batch_renorm_corrects_towards_the_running_statistics_within_bounds():
    norm, x = BatchRenorm(3, None), rows(50, 3)
    norm.count.fill_(layers.RENORM_WARMUP)
    with torch.no_grad():
        norm.mean[:] = torch.tensor([0.9, 0.0, -100.0])
        norm.variance[:] = torch.tensor([10.0, 0.01, 1.0])
    mean, deviation = x.mean(0), (x.var(0, unbiased=False) + 1e-3).sqrt()
    running = (norm.variance[0] + 1e-3).sqrt()
    scale = (deviation / running).clamp(1 / 3, 3)
    shift = ((mean - norm.mean[0]) / running).clamp(-5, 5)
    assert scale[1] == 3.0
    assert shift[2] == 5.0  # both bounds are reached, and in the first column neither
    torch.testing.assert_close(norm(x.clone()), (x - mean) / deviation * scale + shift)


def test_dropout_leaves_out_its_share_and_keeps_the_mean():
    dropout = Dropout(0.3, torch.Generator().manual_seed(0))
    x = torch.ones(2, 200, 50)
    found = torch.stack([dropout(x) for _ in range(20)])
    left_out = (found == 0.0).float()
    assert left_out.mean().item() == pytest.approx(0.3, abs=0.002)
    torch.testing.assert_close(found.max(), torch.tensor(1 / 0.7))
    assert left_out.mean(0).std().item() == pytest.approx(
        (0.3 * 0.7 / 20) ** 0.5, rel=0.02
    )  # as independent masks have
    for axis in (1, 2, 3):  # nor do masks favour a copy, a row or a number
        other = tuple(each for each in range(4) if each != axis)
        share = left_out.mean(other)
        expected = (0.3 * 0.7 * share.numel() / left_out.numel()) ** 0.5
        assert (share - 0.3).abs().max() < 5 * expected


def test_masks_follow_from_the_count_of_passes_alone():
    x = torch.ones(64, 32)
    first, second = (Dropout(0.5, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    begun = first.count.clone()
    masks = [first(x), first(x), first.eval()(x), second(x)]
    assert first.count == begun + 4  # it is not changed where nothing is learned
    for index, mask in enumerate(masks):
        for other in masks[:index]:
            assert 0.4 < (mask == other).float().mean() < 0.6
    first.train().count.copy_(begun)
    assert torch.equal(first(x), masks[0])
