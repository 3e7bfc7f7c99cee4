"""How `make docs` makes a site of these pages: Sphinx reads them by MyST, and Furo lays them out.

The nav is in index.md. Nothing of the site is loaded from the network.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "shop-video-crawler"
html_title = project
html_theme = "furo"
extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # it would fetch pages, which a browser refuses of files

_STATE = re.compile(r"^\s*(\w+): (.+)$", re.MULTILINE)
_ARROW = re.compile(r"^\s*(\S+) --> (\S+?)(?:: (.+))?$", re.MULTILINE)


class StateTable(Directive):
    """A state diagram as a table: the script that would draw it is ten times the size of the site."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The table that the diagram's arrows make."""
        text = "\n".join(self.content)
        names = {"[*]": "-", **dict(_STATE.findall(text))}
        lines = ["| from | to | on |", "| --- | --- | --- |"]
        lines += [f"| {names[old]} | {names[new]} | {why} |" for old, new, why in _ARROW.findall(text)]
        table = nodes.container()
        self.state.nested_parse(StringList(lines), self.content_offset, table)
        return [table]


def setup(app: Sphinx) -> None:
    """Register what is above."""
    app.add_directive("mermaid", StateTable)
