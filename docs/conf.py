"""How Sphinx makes the site: `make docs`.

The source folder is the project's own, so that pages can lead to figures and tables in benchmarks/results.
"""

import sys
from pathlib import Path

import rucksac

sys.path.insert(0, str(Path(__file__).parent))

project, author = "rucksac", "the authors of rucksac"
release = version = rucksac.__version__
html_title = f"rucksac {release}"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "reference.pages", "reference.mathml"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "benchmarks/results/*.md", "CHANGELOG.md", "CONTRIBUTING.md"]
templates_path = ["reference"]
html_static_path = ["reference/site.css"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "redirect.html"}
html_theme = "furo"
html_math_renderer = "mathml"
html_copy_source = html_show_sourcelink = html_show_copyright = False
default_role = "code"  # docstrings mark code with single backquotes

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
maximum_signature_line_length = 80
toc_object_entries = False
