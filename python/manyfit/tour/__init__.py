"""``manyfit tour``: every family at work on real data, and a report page of what was measured and verified.

Each family has its part in a module of :mod:`manyfit.tour.chapters`, which says how to add one.
"""

from __future__ import annotations

from manyfit.tour.runner import run

__all__ = ["run"]
