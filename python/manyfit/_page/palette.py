"""The colours of a page, once for light and once for dark.

Pictures are drawn in the light colours; in the page every colour is a CSS variable, so that pictures and text
follow the reader's theme together.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CATEGORIES", "COLOURS", "Colour", "css_variables", "light"]


class Colour(NamedTuple):
    """A colour on light and on dark paper, as ``#rrggbb``."""

    light: str
    dark: str


COLOURS = {
    "paper": Colour("#fcfbf8", "#16191d"),
    "card": Colour("#f4f2ec", "#1e2227"),
    "ink": Colour("#22262b", "#e7e4de"),
    "soft": Colour("#5d656e", "#a3abb5"),
    "line": Colour("#dedbd2", "#343a41"),
    "ours": Colour("#0e6e68", "#5fcabf"),
    "other": Colour("#a9541b", "#e3a26c"),
    "good": Colour("#2b7040", "#7cc98f"),
    "bad": Colour("#ad2b35", "#f58d93"),
    "category0": Colour("#3a6db4", "#80ace8"),
    "category1": Colour("#b4530e", "#f09a5c"),
    "category2": Colour("#2f8442", "#70c681"),
    "category3": Colour("#b2333e", "#f1838b"),
    "category4": Colour("#7954af", "#b89ce8"),
    "category5": Colour("#7f5940", "#caa287"),
    "category6": Colour("#b7448b", "#ee91cc"),
    "category7": Colour("#5e6a72", "#a8b3bc"),
    "category8": Colour("#7d6e00", "#d2c24b"),
    "category9": Colour("#087788", "#4dcadd"),
}

CATEGORIES = [name for name in COLOURS if name.startswith("category")]


def light(name: str) -> str:
    """Return the colour to draw `name` with."""
    return COLOURS[name].light


def css_variables(theme: str) -> str:
    """Declarations of every colour as a CSS variable, for "light" or "dark"."""
    return "\n".join(f"  --{name}: {getattr(colour, theme)};" for name, colour in COLOURS.items())
