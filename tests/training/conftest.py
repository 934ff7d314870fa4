import pytest

from rucksac.training import loop


@pytest.fixture
def trained(monkeypatch):
    """Collect the `Training` of every run of the test."""
    seen, original = [], loop.run

    def watched(training, *arguments):
        seen.append(training)
        original(training, *arguments)

    monkeypatch.setattr(loop, "run", watched)
    return seen
