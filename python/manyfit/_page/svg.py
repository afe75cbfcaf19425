"""Pictures whose points and lines the page can find again: SVG written by hand, for small interactive charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from manyfit._page.words import power_of_ten

__all__ = ["Chart", "Scale", "number"]


def number(value: float, digits: int = 4) -> str:
    """A number in few digits: ``0.0123``, ``1.5e-07``, ``12,300``."""
    size = abs(value)
    if value == 0 or not math.isfinite(value):
        text = f"{value:g}"
    elif size >= 1e7 or size < 1e-3:
        text = f"{value:.{digits - 1}g}"
    elif size >= 1000 and value == round(value):
        text = f"{value:,.0f}"
    elif size >= 1000:
        text = f"{value:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}"
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", "\N{MINUS SIGN}") if text.startswith("-") else text


@dataclass
class Scale:
    """Where values lie between two ends, and which are written down.

    Attributes
    ----------
    low, high : float
    log : bool
    categories : list of str or None
        Instead of numbers.
    """

    low: float = 0.0
    high: float = 1.0
    log: bool = False
    categories: list[str] | None = None

    @classmethod
    def around(cls, values: Sequence[float], *, log: bool = False, margin: float = 0.05) -> Scale:
        """Hold all values, with some room at the ends."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        if log:
            return cls(low * 0.9, high * 1.1, True) if low == high else cls(low, high, True)
        room = margin * (high - low) or abs(high) * 0.05 or 1.0
        return cls(low - room, high + room)

    def share(self, value: Any) -> float:
        """Where a value lies, in [0, 1]."""
        if self.categories is not None:
            count = len(self.categories)
            return (self.categories.index(str(value)) + 0.5) / count if str(value) in self.categories else 0.5
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(max(value, 1e-300)) - low) / (high - low)
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """Places in [0, 1] with their labels."""
        if self.categories is not None:
            return [(self.share(name), name) for name in self.categories]
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last > first:
                every = max(1, math.ceil((last - first + 1) / most))
                return [(self.share(10.0**e), _power(e)) for e in range(first, last + 1, every)]
        step = _nice((self.high - self.low) / max(most - 1, 1))
        begin = math.ceil(self.low / step - 1e-9)
        end = math.floor(self.high / step + 1e-9)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [
            (self.share(i * step), f"{i * step:,.{decimals}f}".replace("-", "\N{MINUS SIGN}"))
            for i in range(begin, end + 1)
            if not self.log or i * step > 0
        ]


def _power(exponent: int) -> str:
    return f"{10.0**exponent:g}" if -3 <= exponent <= 3 else power_of_ten(exponent)


def _nice(step: float) -> float:
    if not step > 0 or not math.isfinite(step):
        return 1.0
    base = 10.0 ** math.floor(math.log10(step))
    return next(each * base for each in (1, 2, 5, 10) if each * base >= step * 0.999)


@dataclass
class Chart:
    """A picture with axes, in units of a pixel at natural size.

    Attributes
    ----------
    width, height : float
    left, right, top, bottom : float
        Margins.
    """

    width: float = 640
    height: float = 300
    left: float = 64
    right: float = 16
    top: float = 14
    bottom: float = 46
    parts: list[str] = field(default_factory=list)

    def x(self, share: float) -> float:
        """Place of a share of the width."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """Place of a share of the height, from below."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def add(self, part: str) -> None:
        """Add an element."""
        self.parts.append(part)

    def text(self, x: float, y: float, text: str, anchor: str = "middle", style: str = "") -> None:
        """Add a text."""
        more = f' class="{style}"' if style else ""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """Add a line."""
        self.add(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>')

    def axes(self, across: Scale, up: Scale, across_name: str, up_name: str) -> None:
        """Draw both axes, with lines across at the ticks."""
        for share, label in up.ticks():
            self.line(self.x(0), self.y(share), self.x(1), self.y(share), "grid")
            self.text(self.x(0) - 8, self.y(share) + 4, label, "end", "tick")
        self.line(self.x(0), self.y(0), self.x(1), self.y(0), "axis")
        for share, label in across.ticks():
            self.text(self.x(share), self.y(0) + 18, label, "middle", "tick")
        self.text(self.x(1), self.height - 6, across_name, "end", "label")
        self.text(4, self.top - 2, up_name, "start", "label")

    def svg(self, alt: str) -> str:
        """Return the element."""
        inner = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'class="chart" aria-label="{escape(alt)}">\n{inner}\n</svg>'
        )
