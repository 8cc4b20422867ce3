"""How Sphinx builds the documentation: `sphinx-build -W --keep-going -b html docs OUT`."""

from __future__ import annotations

import sys
from pathlib import Path

import safeload

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "safeload"
author = "the safeload authors"
release = version = "0.1.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "click_commands"]
exclude_patterns = ["_ext"]
html_theme = "furo"
html_title = "safeload"
html_show_copyright = False

# Links between pages and to their headings are checked; with -W a broken one fails the build.
myst_heading_anchors = 3

# Docstrings are Google style, and use single backticks for code.
default_role = "code"
napoleon_numpy_docstring = False
autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
autodoc_class_signature = "separated"

assert safeload.__doc__, "the pages are made from docstrings"  # noqa: S101
