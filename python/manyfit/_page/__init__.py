"""Pages of HTML that hold everything they show: their pictures, tables, colours and words.

What the tour's report and the report of a sweep have in common.
"""

from __future__ import annotations

from manyfit._page.parts import Figure, Table

__all__ = ["Figure", "Table"]
