"""Pictures are read back: what is written in them, how large they are, and that equal runs give equal files."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest

import rucksac
from rucksac.cli import main
from rucksac.tools.plot import COLOURS

SETTINGS = {"warmup": 30, "batch_size": 16, "hidden": (8,), "threads": 1, "compile": "never", "steps": 400}
SETTINGS |= {"eval_every": 200, "eval_episodes": 2, "log_every": 50}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, one with other settings and the same with another seed; a short line in the logs is all that is needed."""
    folder = tmp_path_factory.mktemp("plotted")
    rucksac.train("Pendulum-v1", recipe="plain", run=folder / "a", **SETTINGS)
    for name, change in (("b", {"lr": 3e-4}), ("c", {"lr": 3e-4, "seed": 2})):
        shutil.copytree(folder / "a", folder / name)
        saved = json.loads((folder / name / "config.json").read_text())
        saved["settings"].update(change)
        (folder / name / "config.json").write_text(json.dumps(saved))
    return folder


@pytest.fixture
def drawn(runs, tmp_path, capsys):
    """Return the two files that the command writes for these words."""

    def files(suffix, *names, size=()):
        output = tmp_path / f"{len(list(tmp_path.iterdir()))}/curve{suffix}"
        words = [*(str(runs / name) for name in names), "-o", str(output), *(["--size", *size] if size else [])]
        assert main(["plot", *words]) == 0
        capsys.readouterr()
        return output, output.with_name(f"curve-inside{suffix}")

    return files


def read(svg):
    """Return width and height in points, all text, and the colours of lines."""
    root = ElementTree.parse(svg).getroot()
    _, _, width, height = map(float, root.get("viewBox").split())
    text = ["".join(each.itertext()).strip() for each in root.iter(f"{SVG}text")]
    styles = [each.get("style") or "" for each in root.iter(f"{SVG}path")]
    return width, height, text, {found[1] for style in styles if (found := re.search(r"stroke: (#\w+)", style))}


def test_an_svg_says_what_is_drawn_in_colours_that_all_can_tell_apart(drawn):
    curve, inside = drawn(".svg", "a", "b", "c")
    width, height, text, colours = read(curve)
    assert (width, height) == (576.0, 360.0)
    assert {"Pendulum-v1", "environment steps", "return", "lr 0.001", "lr 0.0003, 2 seeds"} <= set(text)
    assert "evaluation, 95 % interval over episodes or seeds" in text
    assert colours & set(COLOURS) == set(COLOURS[:2])
    _, _, text, colours = read(inside)
    assert {"temperature alpha", "mean Q", "critic loss", "lr 0.001", "lr 0.0003, 2 seeds"} <= set(text)
    assert colours & set(COLOURS) == set(COLOURS[:2])


def test_a_curve_has_a_point_for_each_episode(drawn, runs):
    shutil.copytree(runs / "a", runs / "more")
    returns = (0.0, 9.0, -40.0, 80.0, -5.0, 60.0, -90.0)
    lines = [f"{50 * number},{number},0,{value},50" for number, value in enumerate(returns, 1)]
    (runs / "more/episodes.csv").write_text("\n".join(["env_steps,episode,seed,return,length", *lines, ""]))
    root = ElementTree.parse(drawn(".svg", "more")[0]).getroot()
    curves = [each.get("d") for each in root.iter(f"{SVG}path") if COLOURS[0] in (each.get("style") or "")]
    assert max(len(re.findall("[ML]", curve)) for curve in curves) == len(returns)


def test_nothing_lies_outside_of_a_small_picture(drawn):
    width, height, text, _ = read(drawn(".svg", "a", "b", size=("3.5", "2.5"))[0])
    assert (width, height) == (252.0, 180.0)
    assert {"lr 0.001", "lr 0.0003"} <= set(text)


def test_a_pdf_is_one_page_of_the_size_asked_for_with_letters_for_print(drawn):
    curve, inside = drawn(".pdf", "a", size=("3.5", "2.5"))
    for file, box in ((curve, b"[ 0 0 252 180 ]"), (inside, b"[ 0 0 792 468 ]")):
        content = file.read_bytes()
        assert content.startswith(b"%PDF-1.")
        assert content.rstrip().endswith(b"%%EOF")
        assert re.findall(rb"/MediaBox (\[.*?\])", content) == [box]
        assert b"/Type3" not in content
        assert b"/FontFile2" in content


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_equal_runs_give_equal_files(drawn, suffix):
    for first, second in zip(drawn(suffix, "a", "b"), drawn(suffix, "a", "b"), strict=True):
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("size", [("0.5", "3"), ("8", "51"), ("nan", "3")])
def test_sizes_that_make_no_sense_are_refused(runs, tmp_path, size, capsys):
    assert main(["plot", str(runs / "a"), "-o", str(tmp_path / "x.png"), "--size", *size]) == 2
    assert "must be width and height in inches, each from 1 to 50" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


def test_a_folder_is_no_picture(runs, tmp_path, capsys):
    assert main(["plot", str(runs / "a"), "-o", str(tmp_path)]) == 2
    assert f"{tmp_path} is a folder; name a picture in it, such as" in capsys.readouterr().err
