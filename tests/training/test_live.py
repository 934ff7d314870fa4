"""How a run stands on terminals of any width."""

import io

import pytest
from rich.console import Console

from rucksac.training.health import Health
from rucksac.training.live import CURVE, Curve, Standing

HEALTHY = {"env_steps": 500, "q": 5.0, "alpha": 0.1, "entropy": -1.0}


def drawn(columns, encoding="utf-8"):
    screen = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=screen, width=columns)
    standing = Standing(100_000, console)
    for number in range(500):
        standing.returns.add(float(number))
    standing.recent, standing.evaluation = "1234.5, mean of the last 10 episodes", "1234.5 (95 % interval 1.0 to 2.0)"
    standing.numbers = {"alpha": "0.0123", "entropy": "-5.91", "Q": "1310.2", "speed": "312 steps/s"}
    standing.problems = {"Q"}
    standing.advance(12_345)
    console.print(standing)
    screen.flush()
    return screen.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_it_fits_every_width(columns):
    text = drawn(columns)
    assert max(map(len, text.splitlines())) <= columns
    assert len(text.splitlines()) <= 10
    assert "12,345" in text
    assert "1310.2 !" in text
    assert "-5.91 !" not in text
    assert "▁" in text


def test_a_terminal_without_unicode_gets_a_curve_too():
    assert drawn(100, "ascii").isascii()
    assert "__" in drawn(100, "ascii")


def test_a_long_curve_is_thinned_to_means():
    curve = Curve()
    for number in range(100_000):
        curve.add(float(number))
    assert 4 * CURVE <= len(curve.values) < 8 * CURVE
    steps = {right - left for left, right in zip(curve.values, curve.values[1:], strict=False)}
    assert len(steps) == 1
    assert curve.values[0] == pytest.approx((steps.pop() - 1) / 2)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, None),
        ({"q": 1_200.0}, "q"),
        ({"alpha": 150.0}, "alpha"),
        ({"entropy": -4.5}, "entropy"),
        ({"entropy": 1.0}, None),
        ({"q": float("nan"), "entropy": float("nan")}, None),
    ],
)
def test_numbers_that_rewards_cannot_explain_are_found(changed, problem):
    health = Health(0.9, -2.0, lambda: 1.0)
    health.problems(HEALTHY)
    found = health.problems({**HEALTHY, **changed})
    assert list(found) == ([problem] if problem else [])
