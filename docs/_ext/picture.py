"""``{picture} name.svg``: a drawing from ``figures/`` as part of the page, with the content as its caption.

Inside the page, not beside it, an SVG takes the page's typeface and follows its light or dark theme.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata


class Picture(SphinxDirective):
    """The directive."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir, "figures", self.arguments[0])
        self.env.note_dependency(path)
        figure = nodes.figure(classes=["picture"])
        figure += nodes.raw("", path.read_text(encoding="utf-8"), format="html")
        if self.content:
            caption = nodes.caption()
            text = nodes.Element()
            self.state.nested_parse(self.content, self.content_offset, text)
            for paragraph in text.findall(nodes.paragraph):
                caption += paragraph.children
            figure += caption
        return [figure]


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("picture", Picture)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
