"""How Sphinx builds these pages: ``make docs``."""

import sys
from pathlib import Path

import fastnn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import headline  # noqa: E402  it is in this folder

project = "fastnn"
author = "The fastnn developers"
copyright = "The fastnn developers"
version = release = fastnn.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # formulas are drawn without network
]
exclude_patterns = ["_build", "**/_build", "**/*.ipynb"]  # a reader's notebooks

myst_enable_extensions = ["dollarmath", "substitution"]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # a chapter of the study is run anew when it has changed
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types, and shapes with them
napoleon_numpy_docstring = True
napoleon_google_docstring = False
python_maximum_signature_line_length = 76

html_theme = "furo"
html_title = f"fastnn {version}"
html_static_path = ["_static"]
html_css_files = ["fastnn.css"]

_steps = headline.training_steps(HERE / "benchmarks.md")
myst_substitutions = {
    "machine": headline.machine(HERE / "benchmarks.md"),
    "training_steps": headline.table(_steps),
}
_drawn = HERE / "_build" / "figures"
_drawn.mkdir(parents=True, exist_ok=True)
for _name, _ink in {"light": "#333333", "dark": "#cccccc"}.items():
    headline.draw(_steps, _drawn / f"{_name}.svg", _ink)


def complain_of_absent_names(app, env):
    """Warn of public names that are on no page; of those that are on two, Sphinx warns itself."""
    from sphinx.util import logging

    described = {name.rpartition(".")[2] for name, *_ in env.get_domain("py").get_objects()}
    for name in sorted(set(fastnn.__all__) - described - {"__version__"}):
        logging.getLogger(__name__).warning("fastnn.%s is on no page of docs/api", name)


def setup(app):
    """Connect what is checked once all pages are read."""
    app.connect("env-check-consistency", complain_of_absent_names)
