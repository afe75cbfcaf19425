"""The frame of a page, and its parts as HTML."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections.abc import Sequence
from html import escape

from manyfit._page.palette import css_variables
from manyfit._page.parts import Figure, Table

__all__ = ["document", "figures", "prose", "table"]


def document(title: str, body: str, script: str = "") -> str:
    """Return a page of HTML without any external resource.

    Parameters
    ----------
    title, body : str
        The title as text, the body as HTML.
    script : str, default=""
        JavaScript that runs when the page has been read; no other runs.
    """
    # The browser itself is told to load nothing, and to run nothing else.
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
        body += f"\n<script>{script}</script>"
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{escape(title)}</title>
<style>
{_stylesheet()}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def _stylesheet() -> str:
    css = importlib.resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    return f"""\
:root {{
{css_variables("light")}
}}
@media (prefers-color-scheme: dark) {{ :root {{
{css_variables("dark")}
}} }}
{css}"""


def figures(pictures: Sequence[Figure]) -> str:
    """Lay out pictures, two beside each other unless they are wide."""
    return "\n".join(['<div class="figures">', *map(_figure, pictures), "</div>"])


def _figure(figure: Figure) -> str:
    style = "figure wide" if figure.wide else "figure"
    caption = f"<figcaption>{prose(figure.caption)}</figcaption>"
    return f'<figure class="{style}">\n{figure.svg}\n{caption}\n</figure>'


def table(content: Table) -> str:
    """Lay out a small table."""
    head = "".join(f'<th scope="col">{prose(name)}</th>' for name in content.columns)
    rows = "\n".join(
        f'<tr><th scope="row">{prose(row[0])}</th>'
        + "".join(f'<td class="number">{prose(cell)}</td>' for cell in row[1:])
        + "</tr>"
        for row in content.rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(content.caption)}">\n'
        f"<table>\n<caption>{prose(content.caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def prose(text: str) -> str:
    """Text for people, with the apostrophes and multiplication signs they expect."""
    return escape(text.replace("'", "\u2019").replace(" x ", " \u00d7 "))
