"""What a chapter of the tour hands over: measurements, checks, pictures and words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from manyfit._page import Figure, Table

if TYPE_CHECKING:
    from manyfit.tour.stage import Stage

__all__ = ["Chapter", "Check", "Figure", "Kept", "Measurement", "Result", "Table"]


@dataclass(frozen=True)
class Measurement:
    """One row of the measured table.

    Attributes
    ----------
    what : str
    seconds : float
    beside : str
        What it is compared with, and how that was measured; empty for no comparison.
    beside_seconds : float or None
    """

    what: str
    seconds: float
    beside: str = ""
    beside_seconds: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as long the other one took."""
        return None if self.beside_seconds is None else self.beside_seconds / self.seconds


@dataclass(frozen=True)
class Check:
    """Something that must hold, whether it did, and the numbers that decided."""

    what: str
    ok: bool
    detail: str

    @classmethod
    def at_most(cls, what: str, value: float, limit: float) -> Check:
        """Check that a difference stays within `limit`; NaN does not."""
        return cls(what, bool(value <= limit), f"largest difference {value:.1e}, allowed {limit:.1e}")


@dataclass
class Result:
    """What a chapter found.

    Attributes
    ----------
    headline : str
        The one sentence that the terminal shows.
    text : list of str
        Paragraphs of the report.
    code : str
        The lines that did it, for the reader to copy.
    """

    headline: str
    text: list[str] = field(default_factory=list)
    code: str = ""
    measurements: list[Measurement] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)


@dataclass(frozen=True)
class Chapter:
    """A part of the tour.

    Attributes
    ----------
    order : int
        Chapters run in this order; the one that exports what the others kept has 90.
    title : str
    run : callable
        ``run(stage)`` does the work and returns a :class:`Result`.
    """

    order: int
    title: str
    run: Callable[[Stage], Result]


@dataclass(frozen=True)
class Kept:
    """A fitted model that a chapter keeps for export: its file name, what it is, and rows to try it on.

    `savable` is False for what ``mf.save`` does not take, such as scikit-learn's pipelines.
    """

    name: str
    what: str
    model: Any
    rows: Any
    savable: bool = True
