"""The threads of compiled code: the same numbers as from GCC's own library, whoever does the work."""

import gc
import os
import subprocess
import sys
import threading
import zipfile
from contextlib import nullcontext

import pytest
import torch

from rucksac import compilation, teams
from tests.documents import ROOT

ROWS, COLUMNS = 96, 70


def loops(x, w):
    """Loops after loops, sums over all numbers, over rows and over columns, and products between them."""
    y = torch.tanh(x @ w) * 2.0
    total = y.square().sum()
    z = (y - y.mean(0)) / (y.std(1, keepdim=True) + 1.0)
    return z @ w.t() + total, z.exp().sum(0), (y.amax(1) - z.mean()).clamp(-1.0, 1.0), total


def numbers():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(ROWS, COLUMNS, generator=generator), torch.randn(COLUMNS, COLUMNS, generator=generator)]


def loops_alone(x, w):
    """The same without products, which may go to a library that waits for threads that a fork does not take along."""
    y = torch.tanh(x) * 2.0
    z = (y - y.mean(0)) / (y.std(1, keepdim=True) + 1.0)
    return z.exp().sum(0), (y.amax(1) - z.mean()).clamp(-1.0, 1.0), y.square().sum() + w.sum()


@pytest.fixture
def tensors():
    return numbers()


def compiled(tensors, threads, folder, monkeypatch, function=loops):
    monkeypatch.setenv("RUCKSAC_CACHE", str(folder))
    with compilation.computing(threads):
        return compilation.compile_ahead(function, tensors)


def called(function, tensors, threads):
    with compilation.computing(threads):
        return [result.clone() for result in function(list(tensors))]


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def generated(folder):
    (file,) = folder.glob("*.pt2")
    with zipfile.ZipFile(file) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".cpp")).decode()


def test_a_team_computes_what_the_library_computes(tensors, tmp_path, monkeypatch):
    threads = 3
    team = compiled(tensors, threads, tmp_path / "team", monkeypatch)
    assert "rucksac_team" in generated(tmp_path / "team")
    with monkeypatch.context() as patch:
        patch.setattr(teams, "own_team", nullcontext)
        patch.setattr(teams, "bring_along", lambda _: None)
        library = compiled(tensors, threads, tmp_path / "library", patch)
    assert "rucksac_team" not in generated(tmp_path / "library")
    expected = called(library, tensors, threads)
    for _ in range(200):
        assert equal(called(team, tensors, threads), expected)


@pytest.fixture(scope="module")
def common(tmp_path_factory):
    """A cache that tests share which need no code of their own."""
    return tmp_path_factory.mktemp("common")


def test_several_threads_of_a_program_may_call_compiled_code_at_once(tensors, common, monkeypatch):
    team = compiled(tensors, 2, common, monkeypatch)
    expected, wrong = called(team, tensors, 2), []

    def work():
        wrong.extend(number for number in range(200) if not equal(team(list(tensors)), expected))

    with compilation.computing(2):
        workers = [threading.Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert wrong == []


FORKS = """
import multiprocessing, os, sys
import torch
from rucksac import compilation
from tests.test_teams import called, equal, loops_alone, numbers
with compilation.computing(2):
    team = compilation.compile_ahead(loops_alone, numbers())
expected = called(team, numbers(), 2)
child = multiprocessing.get_context("fork").Process(
    target=lambda: os._exit(0 if equal(called(team, numbers(), 2), expected) else 1), daemon=True
)
child.start()
child.join(60)
sys.exit(child.exitcode != 0)
"""


@pytest.mark.long
def test_a_process_that_was_forked_computes_without_the_other_threads(tmp_path):
    """The fork is one of a program of its own: threads that a test runner has would be another subject."""
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        cwd=ROOT,
        env={**os.environ, "RUCKSAC_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_compiled_code_that_is_no_longer_needed_leaves_the_team_at_work(tensors, common, monkeypatch):
    first = compiled(tensors, 2, common, monkeypatch)
    called(first, tensors, 2)
    other = compiled(tensors, 2, common, monkeypatch, lambda x, w: [(x + x.mean(0)).exp()])
    expected = called(other, tensors, 2)
    del first
    gc.collect()
    for _ in range(50):
        assert equal(called(other, tensors, 2), expected)
