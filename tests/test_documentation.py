"""What the documentation shows is what the code does."""

import os
import re
import subprocess
import sys

import pytest

from tests.documents import PAGES, ROOT, fenced


def test_every_code_line_in_the_derivation_stands_in_the_code():
    sources = "\n".join(path.read_text() for path in (ROOT / "src/rucksac/algorithm").glob("*.py"))
    quotations = fenced(ROOT / "docs/theory.md", "python")
    assert len(quotations) >= 10
    for quotation in quotations:
        assert quotation in sources, quotation


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_the_readme_opens_with_two_commands_that_exist():
    first = fenced(ROOT / "README.md", "")[0]
    assert re.findall(r"^make (\w+)", first, re.MULTILINE) == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in "demo test lint type layers format bench docs clean".split():
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readme_commands_are_commands():
    from rucksac.cli import COMMANDS

    shown = re.findall(r"^rucksac (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert set(shown) == set(COMMANDS)


def test_the_example_of_a_comparison_prints_what_it_shows(tmp_path):
    page = (ROOT / "docs/comparing.md").read_text().partition("## An example")[2]
    first, shown, second, last, *_ = re.findall(r"^```(?:sh)?\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    *prepare, first = first.splitlines()
    for command in prepare:
        subprocess.run(command.replace("benchmarks/", f"{ROOT}/benchmarks/"), shell=True, cwd=tmp_path, check=True)

    def printed(command):
        words = [sys.executable, "-m", *command.split()]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert printed(first) == shown
    assert printed(second).splitlines()[-1] == last.strip()


def test_the_readme_example_runs(tmp_path):
    (example,) = fenced(ROOT / "README.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Summary(mean=" in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_are_named_exist(page):
    for name in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text()):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize(
    "page", ["concepts.md", "metrics.md", "migrating.md", "sweeps.md", "troubleshooting.md", "tuning.md"]
)
def test_flags_that_a_page_names_exist(page):
    from rucksac.cli import COMMANDS
    from rucksac.commands.parsing import flags_of

    known = {name for command in COMMANDS.values() for name, _ in flags_of(command)}
    text = (ROOT / "docs" / page).read_text()
    if page == "migrating.md":
        text = re.sub(r"^\| (`.*?`) \|", "|", text, flags=re.MULTILINE)  # the other library's
    named = set(re.findall(r"(?<=[ `])--[a-z][a-z-]+", text))
    assert len(named) >= 5
    assert named <= known, named - known


def test_the_page_on_tuning_shows_the_space_that_is_used():
    from rucksac.tuning.space import DEFAULT

    lines = [line for line in DEFAULT.read_text().splitlines() if not line.startswith("#")]
    assert "\n".join(lines) in fenced(ROOT / "docs/tuning.md", "toml")[-1]


def test_the_environment_of_the_quickstart_is_sound(tmp_path):
    page = ROOT / "docs/quickstart.md"
    source, program = fenced(page, "python")
    (tmp_path / "arm.py").write_text(source)
    command = [sys.executable, "-m", "rucksac", "doctor", "arm:make"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "All is well." in done.stdout) == (0, True), done.stdout + done.stderr
    compile(program, str(page), "exec")


def test_the_citation_has_the_version():
    import rucksac

    assert f"\nversion: {rucksac.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.long
def test_the_site_is_made_without_a_warning_and_asks_nothing_of_the_network(tmp_path):
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "docs/index.html", "docs/quickstart.html", "docs/reference/api.html"} <= set(pages)
    for name, text in pages.items():
        assert not re.search(r"<(?:script|link|img)[^>]*(?:src|href)=.https?:", text), name
    assert "usage: rucksac resume" in pages["docs/reference/commands.html"]
    from rucksac.config import DECLARED, flag

    settings = pages["docs/reference/settings.html"]
    assert all(f">{flag(name)}<" in settings for name in DECLARED)
    api = pages["docs/reference/api.html"]
    import rucksac

    assert all(f'id="rucksac.{name}"' in api for name in rucksac.__all__)
    assert "<math" in pages["docs/theory.html"]
    assert "ℋ" in pages["docs/theory.html"]
