"""Sphinx settings. ``python -m sphinx -b html docs docs/_build/html`` builds; nothing is downloaded."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

import manyfit

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from members import own_methods, scikit_learn_methods

project = "manyfit"
author = "manyfit developers"
project_copyright = "manyfit developers"
release = version = manyfit.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "mathml",
    "picture",
]
exclude_patterns = ["_build", "measured.md", "examples"]
suppress_warnings = ["config.cache"]  # autosummary_context holds functions
language = "en"

myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3

autosummary_generate = True
autosummary_imported_members = False
autosummary_context = {"own_methods": own_methods, "scikit_learn_methods": scikit_learn_methods}
templates_path = ["_templates"]
autodoc_typehints = "none"  # the docstrings say it in words
autodoc_class_signature = "mixed"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False
add_module_names = False
python_maximum_signature_line_length = 88
html_math_renderer = "mathml"

html_theme = "furo"
html_title = f"manyfit {release}"
html_static_path = ["_static"]
html_css_files = ["colours.css", "manyfit.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0e6e68", "color-brand-content": "#0e6e68"},
    "dark_css_variables": {"color-brand-primary": "#5fcabf", "color-brand-content": "#5fcabf"},
}

# In the types of parameters and attributes, as in "(n_components_, n_features)": a name, not a link.
_FITTED = re.compile(r"(?<![`\w])(\w+)_(?=[,) ]|$)")


def keep_underscores(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Escape the underscore that fitted attributes end with, which reStructuredText takes for a link."""
    for i, line in enumerate(lines):
        if " : " in line or line.lstrip().startswith("ndarray of shape"):
            attribute, colon, kind = line.rpartition(" : ")
            lines[i] = attribute + colon + _FITTED.sub(r"\1\_", kind)


def setup(app: Sphinx) -> None:
    """Before numpydoc, which has the default priority of 500."""
    app.connect("autodoc-process-docstring", keep_underscores, priority=400)
