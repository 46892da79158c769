"""How Sphinx builds these pages: ``python -m sphinx -W -b html docs docs/_build/html``."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "perdure"
author = "perdure contributors"
copyright = author  # noqa: A001 - Sphinx's name for it
release = version = installed_version("perdure")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"perdure {release}"

myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_class_signature = "separated"
autodoc_default_options = {"exclude-members": "__new__"}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Attributes as fields of their class: some are properties too, which autodoc describes by themselves.
napoleon_use_ivar = True
