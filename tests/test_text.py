from rucksac.text import count, printable, size, sparkline


def test_things_are_counted_with_their_plural():
    assert [count(number, "step") for number in (0, 1, 2, 1200)] == ["0 steps", "1 step", "2 steps", "1,200 steps"]


def test_sizes_have_the_unit_that_suits_them():
    sizes = {0: "0.0 KiB", 1536: "1.5 KiB", 1023 * 2**10: "1.0 MiB", 5 * 2**20: "5.0 MiB", 3 * 2**40: "3,072.0 GiB"}
    assert {number: size(number) for number in sizes} == sizes


def test_what_would_not_show_is_escaped():
    assert printable("Pendulum-v1 ä") == "Pendulum-v1 ä"
    assert printable("\x1b[31m\n\x9b\u202e") == r"\x1b[31m\n\x9b\u202e"


def test_values_become_a_curve_of_characters():
    assert sparkline([0.0, 1.0, 2.0, 7.0], 10) == "▁▂▃█"
    assert sparkline([0.0, 2.0, 6.0, 8.0], 2) == "▁█"
    assert sparkline([3.0, 3.0], 9, blocks=False) == "__"
    assert sparkline([1.0, float("nan"), 2.0], 3) == "▁ █"
    assert sparkline([], 5) == sparkline([float("inf")], 5).strip() == ""
