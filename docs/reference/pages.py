"""The pages of commands and settings: what `rucksac help` and the declarations of `Config` say, never written twice."""

import contextlib
import io
import os
from collections.abc import Iterator

from sphinx.application import Sphinx

from rucksac.cli import main
from rucksac.commands import COMMANDS
from rucksac.commands.screens import default_text, entries
from rucksac.config import DECLARED, Config, flag

WIDTH = "100"  # columns of the help


def commands() -> Iterator[str]:
    """Yield a section for each command: its help."""
    os.environ["COLUMNS"] = WIDTH
    for name in COMMANDS:
        with contextlib.redirect_stdout(io.StringIO()) as shown:
            main(["help", name])
        yield f"## rucksac {name}\n\n```text\n{shown.getvalue().strip()}\n```\n"


def settings() -> Iterator[str]:
    """Yield a section for each group of settings: a table of flags, what they do and take, and the default."""
    words = {name: text for name, _, text, _ in entries(Config)}
    for group in dict.fromkeys(declared.group for declared in DECLARED.values()):
        yield f"## {group.title.capitalize()}\n\n| setting | what it does | takes | default |\n|---|---|---|---|"
        for name, declared in DECLARED.items():
            if declared.group == group:
                default = default_text(getattr(Config(), name))
                cells = (f"`{flag(name)}`", words[name], declared.rule.allowed, f"`{default}`" if default else "")
                yield "| " + " | ".join(cells) + " |"
        yield ""


GENERATED = {"docs/reference/commands": commands, "docs/reference/settings": settings}


def _append(_: Sphinx, name: str, source: list[str]) -> None:
    if name in GENERATED:
        source[0] += "\n" + "\n".join(GENERATED[name]())


def setup(app: Sphinx) -> dict[str, bool]:
    """Have the generated part appended to the pages that it belongs to."""
    app.connect("source-read", _append)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
