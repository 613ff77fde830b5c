"""The guides as a site, by Sphinx: `make docs`. A link that leads nowhere is an error.

Sources are Markdown as it is in the repository, from its root, so that links are the same in both.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

project = "vidgen"
copyright = "the authors of vidgen"
extensions = ["myst_parser"]
include_patterns = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "helm/vidgen/README.md",
    "k8s/*.md",
]
root_doc = "README"
html_theme = "furo"
html_title = "vidgen"
highlight_language = "none"
myst_heading_anchors = 4


def setup(app: Sphinx) -> None:
    app.connect("source-read", contents)
    app.connect("build-finished", front_page)


def contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """The sidebar: what the index of guides links to, in its order; the index stays Markdown."""
    if docname != root_doc:
        return
    index = (Path(app.srcdir) / "docs" / "README.md").read_text()
    source[0] += "\n```{toctree}\n:hidden:\n\ndocs/README\n```\n"
    for part in re.split(r"^(?=## )", index, flags=re.M):
        title = re.match(r"## (.*)|", part)
        links = dict.fromkeys(re.findall(r"\]\(([\w./-]+)\.md\)", part))
        pages = "\n".join(link[3:] if link[:3] == "../" else f"docs/{link}" for link in links)
        caption = title[1] if title and title[1] else "Start"
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{pages}\n```\n"


def front_page(app: Sphinx, error: Exception | None) -> None:
    """README is what a browser opens first."""
    if error is None:
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")
