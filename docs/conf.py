"""Sphinx: `make docs` turns the Markdown files of this folder into pages in docs/_build."""

project = "twistedp2p"
author = "the twistedp2p authors"
extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "alabaster"
html_theme_options = {"description": "One folder on several machines, without a cloud", "page_width": "60em"}
