"""Shared parts of the tests."""

import os

os.environ.setdefault("AOT_INDUCTOR_COMPILE_WRAPPER_OPT_LEVEL", "O0")  # a third less compiling, the same kernels

import hypothesis
import pytest
import torch

from rucksac.training.loop import Loop


@pytest.fixture(scope="session", autouse=True)
def compiled_steps_stay_in_the_project(pytestconfig):
    """Keep native code in pytest's own cache, so that a second run of the tests finds it."""
    os.environ["RUCKSAC_CACHE"] = str(pytestconfig.cache.mkdir("compiled-steps"))


@pytest.fixture
def trained(monkeypatch):
    """Collect the `Training` of every run of the test."""
    seen, original = [], Loop.run

    def watched(loop):
        seen.append(loop.training)
        original(loop)

    monkeypatch.setattr(Loop, "run", watched)
    return seen


torch.set_num_threads(1)  # the tests themselves run side by side
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")
