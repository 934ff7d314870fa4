import os
import subprocess
import sys
import zipfile

import pytest
import torch

from rucksac import compilation
from rucksac.algorithm.layers import Dropout, LayerNorm

PROGRAM = """
import torch
from rucksac.compilation import compile_ahead
def function(x, y):
    y.add_(x.tanh())
    return [(x @ y).sum(0)]
torch.manual_seed(0)
x, y = torch.randn(3, 3), torch.randn(3, 3)
before = y.clone()
compiled = compile_ahead(function, [x, y])
assert torch.equal(y, before)
(result,) = compiled([x, y])
torch.testing.assert_close(y, before + x.tanh())
torch.testing.assert_close(result, (x @ y).sum(0))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("RUCKSAC_CACHE", str(folder))
        yield folder


@pytest.mark.long
def test_two_processes_that_start_at_once_build_one_file_which_is_mended_and_removed(cache):
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM], env=os.environ) for _ in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    (file,) = cache.glob("*.pt2")
    built = file.stat().st_mtime_ns
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False).returncode == 0
    assert file.stat().st_mtime_ns == built
    assert {path.suffix for path in cache.iterdir()} == {".pt2", ".lock"}

    whole = file.stat().st_size  # and a damaged file is built again
    file.write_bytes(file.read_bytes()[:1000])
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False).returncode == 0
    assert file.stat().st_size == pytest.approx(whole, rel=0.01)
    assert compilation.clear_cache() > 10_000
    assert list(cache.iterdir()) == []


def test_the_digest_tells_apart_what_matters():
    def names(function, tensors):
        graph = torch.fx.experimental.proxy_tensor.make_fx(function)(*tensors)
        return compilation._digest(graph, tensors)

    x = torch.zeros(2, 3)
    base = names(torch.tanh, [x])
    assert base == names(torch.tanh, [torch.ones(2, 3)])
    others = [names(torch.sin, [x]), names(torch.tanh, [x.double()]), names(torch.tanh, [torch.zeros(3, 2).T])]
    with compilation.computing(torch.get_num_threads() + 1):
        others.append(names(torch.tanh, [x]))
    assert len({base, *others}) == 5


def test_a_network_that_decides_by_what_it_sees_runs_uncompiled():
    def decides(x):
        return x if x.sum() > 0 else -x

    with pytest.raises(compilation.CompilerMissing, match="cannot be traced"):
        compilation.compile_ahead(decides, [torch.ones(3)])


def test_a_buffer_that_is_changed_in_place_and_read_by_another_name_compiles(cache):
    def function(x):
        mask = torch.full((8, 8), -1e4)
        mask[torch.arange(8).unsqueeze(0), torch.arange(8).unsqueeze(1)] = 0
        return [torch.softmax(x + mask, -1)]

    x = torch.randn(8, 8)
    (result,) = compilation.compile_ahead(function, [x])([x])
    torch.testing.assert_close(result, function(x)[0])


def test_the_mask_of_dropout_is_computed_once_for_all_loops_that_read_it(monkeypatch, tmp_path):
    monkeypatch.setenv("RUCKSAC_CACHE", str(tmp_path))
    dropout, norm = Dropout(0.1, torch.Generator().manual_seed(0)).eval(), LayerNorm(64, None)
    x = torch.randn(32, 64)
    with torch.no_grad():
        (result,) = compilation.compile_ahead(lambda x: [norm(dropout(x))], [x])([x])
        torch.testing.assert_close(result, norm(dropout(x)))
    (file,) = tmp_path.glob("*.pt2")
    with zipfile.ZipFile(file) as archive:
        (code,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith(".kernel.cpp"))
    assert code.count(str(0x045D9F3B)) == 1  # a factor of the hash
