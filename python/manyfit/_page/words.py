"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["count", "duration", "power_of_ten", "size", "times"]

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def count(number: float) -> str:
    """A number without decimals: ``150,000``."""
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Two digits and a unit: ``420 µs``, ``3.8 ms``, ``1.7 s``, ``2 min 5 s``."""
    for limit, factor, unit in ((0.9995e-3, 1e6, "µs"), (0.9995, 1e3, "ms"), (99.5, 1.0, "s")):
        if seconds < limit:
            value = seconds * factor
            return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def times(ratio: float) -> str:
    """How many times as long: ``3.1 times``, ``84 times``."""
    digits = 2 if ratio < 0.095 else 1 if ratio < 9.95 else 0
    return f"{ratio:.{digits}f} times"


def size(n_bytes: int) -> str:
    """Bytes with a unit: ``812 bytes``, ``4.2 kB``, ``120 MB``."""
    if n_bytes < 1000:
        return f"{n_bytes} bytes"
    value, unit = (n_bytes / 1e3, "kB") if n_bytes < 999.5e3 else (n_bytes / 1e6, "MB")
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def power_of_ten(exponent: int) -> str:
    """``10⁴`` without markup."""
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"
