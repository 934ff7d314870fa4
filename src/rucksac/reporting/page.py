"""Pages that show runs: the view as JSON beside the script that draws it, all in one piece of HTML.

A report makes no request; the page of the dashboard asks the server that it came from for what is new.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from rucksac.errors import UsageError
from rucksac.reporting.view import view


def write_report(runs: tuple[Path, ...], output: Path, play: int = 0) -> dict[str, Any]:
    """Write the report of the runs to `output` and return what it shows; raise `UsageError` when it cannot.

    With `play` so many episodes are played with each agent, see `view`.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"a report is an HTML file, but is to be written to {output}; name one such as report.html")
    shown = view(*runs, play=play)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page(shown), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written ({error.strerror}); name a file such as report.html") from error
    return shown


def page(shown: dict[str, Any], live: bool = False) -> str:
    """Return the page. Browsers run the two scripts of this package alone, and load nothing (CSP); see `policy`."""
    scripts = _scripts(live)
    parts = {
        "POLICY": policy(live),
        "STYLE": _asset("uPlot.css") + _asset("page.css"),
        "DATA": _embedded(shown),
        "LIBRARY": scripts[0],
        "SCRIPT": scripts[1],
    }
    head, *rest = _asset("page.html").split("{{")
    return head + "".join(parts[each.partition("}}")[0]] + each.partition("}}")[2] for each in rest)


def policy(live: bool = False) -> str:
    """Return the content security policy of the page, which a `live` one may leave for its own server alone."""
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in _scripts(live)
    )
    rules = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"
    rules += "; base-uri 'none'; form-action 'none'"
    return rules + ("; connect-src 'self'; media-src blob:" if live else "; media-src data:")


def _scripts(live: bool) -> tuple[str, str]:
    return _asset("uPlot.js"), _asset("page.js") + (_asset("live.js") if live else "")


def _embedded(shown: dict[str, Any]) -> str:
    """Return JSON in which no character can end or open an element."""
    text = json.dumps(shown, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return files("rucksac.reporting").joinpath(name).read_text(encoding="utf-8")
