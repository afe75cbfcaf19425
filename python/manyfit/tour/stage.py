"""What the tour hands to each chapter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import manyfit
from manyfit.tour.chapter import Kept

__all__ = ["Stage", "StepDisplay"]


class StepDisplay(Protocol):
    """Where progress is shown."""

    def begin(self, text: str) -> None:
        """Show that a step begins."""

    def move(self, fraction: float) -> None:
        """Show how far it is, in [0, 1]."""

    def end(self) -> None:
        """Show that no step is under way."""


class Stage:
    """The surroundings of a chapter: where to write, how much to do, whom to tell.

    Attributes
    ----------
    out : Path
        The directory of the report.
    quick : bool
        Whether the tour is to be short.
    kept : list of Kept
        Models for the chapter on export.
    """

    def __init__(self, out: Path, *, quick: bool, display: StepDisplay) -> None:
        self.out = out
        self.quick = quick
        self.kept: list[Kept] = []
        self._display = display

    @contextmanager
    def step(self, text: str) -> Iterator[StepDisplay]:
        """Show `text` while the block runs; fits inside it report their progress by themselves."""
        self._display.begin(text)
        try:
            with manyfit.progress(lambda _, fraction: self._display.move(fraction)):
                yield self._display
        finally:
            self._display.end()

    def keep(self, name: str, what: str, model: Any, rows: Any, *, savable: bool = True) -> None:
        """Keep a fitted model to be exported, verified, saved and loaded."""
        self.kept.append(Kept(name, what, model, rows, savable))
