"""What a page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Figure", "Table"]


@dataclass(frozen=True)
class Figure:
    """A picture that follows the reader's light or dark theme.

    Attributes
    ----------
    svg : str
        An ``<svg>`` element, ready to stand in a page.
    alt : str
        What the picture shows, for those who do not see it.
    caption : str
    wide : bool
        Whether it takes the whole width of the page rather than half.
    """

    svg: str
    alt: str
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Table:
    """A small table; the first column is its row headings."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
