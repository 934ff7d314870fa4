"""Formulas as MathML, which browsers draw themselves: no script, no font to fetch."""

import re
import unicodedata
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

STYLES = {"double-struck": "DOUBLE-STRUCK", "script": "SCRIPT"}


def _letter(found: re.Match) -> str:
    """Return a letter as the character of its style: browsers no longer know the attribute."""
    style = STYLES[found[1]]
    for kind in (f"MATHEMATICAL {style}", style):
        try:
            return f"<mi>{unicodedata.lookup(f'{kind} CAPITAL {found[2]}')}</mi>"
        except KeyError:  # letters that had a place before the others have a shorter name
            continue
    raise ValueError(f"there is no {found[1]} {found[2]}")


def _drawn(display: str) -> Any:
    def visit(translator: Any, node: nodes.Element) -> None:
        formula = convert(node.astext(), display=display)
        translator.body.append(re.sub(r'<mi mathvariant="(double-struck|script)">([A-Z])</mi>', _letter, formula))
        raise nodes.SkipNode

    return visit


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer under the name that `html_math_renderer` selects."""
    app.add_html_math_renderer("mathml", (_drawn("inline"), None), (_drawn("block"), None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
