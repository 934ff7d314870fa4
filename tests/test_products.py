import zipfile

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from rucksac import compilation, products

needs_wide_registers = pytest.mark.skipif(not products.worthwhile(), reason="this processor has no AVX-512")


def all_kinds(x, w, stack, y, wide):
    """Products in order, turned, of stacks, of one matrix with a stack, of slices, down the columns, far apart."""
    return [
        x @ w, x.t() @ y, y @ y.t(), stack @ stack.transpose(1, 2), x.expand(2, *x.shape) @ stack,
        x[:, 6:60] @ w[3:57, 2:], x.t() @ y[:, :1], x[:1].expand(100, 70) @ w,
        w.flatten()[:7371].view(81, 91)[:, :70] @ w, x @ w.flatten()[:7371].view(81, 91)[:, :70].t(),
        x @ wide[:, 6:],
    ]  # fmt: skip


def in_one(function):
    return lambda *tensors: (torch.cat([result.reshape(-1).float() for result in function(*tensors)]),)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    shapes = (100, 70), (70, 130), (2, 70, 64), (100, 90), (70, 8000)
    return [torch.randn(*shape, generator=generator) for shape in shapes]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("RUCKSAC_CACHE", str(tmp_path))
    return tmp_path


def native_code(cache):
    (file,) = cache.glob("*.pt2")
    with zipfile.ZipFile(file) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".wrapper.cpp")).decode()


@needs_wide_registers
@pytest.mark.parametrize(
    ("dtype", "own", "near", "threads"),
    [(torch.float32, 11, 1e-4, 2), pytest.param(torch.bfloat16, 10, 0.5, 1, marks=pytest.mark.long)],
)
def test_every_kind_of_product_is_right(cache, tensors, dtype, own, near, threads):
    if dtype == torch.bfloat16 and not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this processor has no bfloat16 instructions")
    tensors = [tensor.to(dtype) for tensor in tensors]
    with compilation.computing(threads):
        (result,) = compilation.compile_ahead(in_one(all_kinds), tensors)(list(tensors))
    (exact,) = in_one(all_kinds)(*(tensor.double() for tensor in tensors))
    torch.testing.assert_close(result, exact.float(), rtol=torch.finfo(dtype).eps, atol=near)
    assert native_code(cache).count("    rucksac_product(") == own


def test_other_types_and_vectors_are_left_alone():
    def others(x, y):
        return x @ y, x.double() @ y.double(), x @ y[:, :1], x[:1] @ y, x[:, :1] @ y[:1]

    graph = make_fx(others)(torch.zeros(128, 128), torch.zeros(128, 127))
    changed = products.with_own_kernel(graph)
    assert changed.code.count("rucksac.product") == 1
    assert changed.code.count("aten.mm") == graph.code.count("aten.mm") - 1


@pytest.mark.long
@pytest.mark.parametrize("stage", ["the compiler refuses it", "the library lacks it"])
def test_where_the_kernel_cannot_be_used_the_library_multiplies(cache, tensors, monkeypatch, tmp_path, stage):
    monkeypatch.setattr(products, "worthwhile", lambda: True)
    kernel = tmp_path / "product.cpp"
    text = "#error not here\n" if "compiler" in stage else products.KERNEL.read_text().replace("brgemm", "gone")
    kernel.write_text(text)
    monkeypatch.setattr(products, "KERNEL", kernel)
    with pytest.warns(UserWarning, match="products are left to PyTorch's own library"):
        compiled = compilation.compile_ahead(in_one(all_kinds), tensors)
    torch.testing.assert_close(tuple(compiled(list(tensors))), in_one(all_kinds)(*tensors), rtol=1e-4, atol=1e-3)
