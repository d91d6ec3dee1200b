"""The handbook: `python -m sphinx -W -c scripts/handbook . build/handbook` makes it, from the top of the repository.

`tables` makes the tables of parameters from the code.
"""

import sys
from pathlib import Path

from docutils.utils.math.latex2mathml import tex2mathml

import pareprop

sys.path.insert(0, str(Path(__file__).parent))

project = "pareprop"
author = copyright = "the pareprop developers"
release = pareprop.__version__

root_doc = "scripts/handbook/index"
include_patterns = [
    "README.md",
    ".github/CONTRIBUTING.md",
    "jobs/README.md",
    "scripts/README.md",
    "scripts/handbook/**.md",
    "tests/cases/README.md",
]
exclude_patterns = [".git", ".ci", ".venv", ".*_cache", "build", "dist", "runs"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "tables"]

myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections have them
numpydoc_show_class_members = False
default_role = "code"

html_theme = "furo"
html_title = f"pareprop {release}"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["handbook.css"]
html_extra_path = ["start"]  # index.html leads to the first page
html_copy_source = False


def visit_math(self, node):
    """Write an equation as MathML, which browsers draw without a script or a network."""
    self.body.append(tex2mathml(node.astext(), as_block=node.tagname == "math_block"))
    from docutils import nodes

    raise nodes.SkipNode


def setup(app):
    """Register how equations are written."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
