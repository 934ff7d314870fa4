"""The notebook tells what it says it does, from a clean kernel, with fewer episodes."""

import re

import nbformat
import pytest
from nbclient import NotebookClient

from tests.documents import ROOT


def text(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.long
def test_the_notebook_trains_draws_and_shows_the_agent(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    notebook = nbformat.read(ROOT / "examples/sac.ipynb", 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].source.startswith("EPISODES = 200\n")
    code[0].source = code[0].source.replace("EPISODES = 200\n", "EPISODES = 10\n", 1)
    (train,) = (cell for cell in code if "rucksac.train(" in cell.source)
    quick = '    seed=1,\n    compile="never",\n    threads=1,\n'  # for so few steps
    assert "    seed=1,\n" in train.source
    train.source = train.source.replace("    seed=1,\n", quick, 1)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [text(cell) for cell in code]
    assert any("def td_target(" in each for each in shown)
    (printed,) = (each for each in shown if "episode  10" in each)
    assert re.findall(r"^episode +(\d+)", printed, re.MULTILINE) == ["10"]
    (extremes,) = (each for each in shown if each.startswith("smallest return"))
    smallest, largest = map(float, re.findall(r"(?:smallest return|largest) (-?[\d.]+)", extremes))
    assert -2000.0 < smallest < largest <= 0.0
    kinds = [set(output["data"]) for cell in code for output in cell.outputs if "data" in output]
    assert any("image/png" in each for each in kinds)
    films = [
        output["data"]["text/html"] for cell in code for output in cell.outputs if "text/html" in output.get("data", {})
    ]
    assert any("data:video/mp4" in film for film in films)
