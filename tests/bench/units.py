"""Figures as people read them."""

from __future__ import annotations


def unit_of(value: float) -> tuple[str, float]:
    """The unit in which ``value`` seconds are shown, and its size."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return unit, size
    return "us", 1e-6


def seconds(value: float | None) -> str:
    """Three digits and a unit."""
    if value is None:
        return "-"
    unit, size = unit_of(value)
    return f"{digits(value / size)} {unit}"


def digits(value: float) -> str:
    """Three significant digits without an exponent."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
