import zipfile

import pytest
import torch

from rucksac import compilation, products


def forward_and_backward(x, single, stacked):
    hidden = torch.relu(x @ single)
    return (torch.relu(hidden @ stacked).transpose(-1, -2) @ hidden).sum(0)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(*shape, generator=generator) for shape in ((128, 130), (130, 256), (2, 256, 128))]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("RUCKSAC_CACHE", str(tmp_path))
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    return tmp_path


def native_code(cache):
    (file,) = cache.glob("*.pt2")
    with zipfile.ZipFile(file) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".wrapper.cpp"))


def test_onednn_multiplies_large_matrices_alone_stacked_and_transposed(cache, tensors):
    result = compilation.compile_ahead(forward_and_backward, tensors)(list(tensors))
    torch.testing.assert_close(result, forward_and_backward(*tensors), rtol=1e-4, atol=0.5)
    code = native_code(cache)
    assert code.count(b"aoti_torch_cpu__linear_pointwise(") == 5
    assert not any(own in code for own in (b"aoti_torch_cpu_mm_out(", b"aoti_torch_cpu_bmm_out("))


def test_small_and_half_precision_products_are_left_alone(tensors):
    def smaller(x, y):
        return x @ y, x.bfloat16().repeat(2, 2) @ y.bfloat16().repeat(2, 2)

    graph = torch.fx.experimental.proxy_tensor.make_fx(smaller)(torch.zeros(128, 128), torch.zeros(128, 127))
    assert products.by_onednn(graph).code == graph.code


def test_what_onednn_cannot_take_stays_where_it_was(cache, tensors, monkeypatch):
    def moved():
        raise ImportError("no LinearUnary any more")

    monkeypatch.setattr(products, "_product", moved)
    with pytest.warns(UserWarning, match="large products stay with MKL.*no LinearUnary any more"):
        compiled = compilation.compile_ahead(forward_and_backward, tensors)
    torch.testing.assert_close(compiled(list(tensors)), forward_and_backward(*tensors), rtol=1e-4, atol=0.5)
