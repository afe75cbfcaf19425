"""Pictures: matplotlib's SVG, made part of the page.

Text stays text and takes the page's typeface; colours become the page's variables, so that a picture is
readable in light and dark; nothing in it refers to anything outside.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy.typing import NDArray

from manyfit._page.palette import COLOURS, light
from manyfit._page.parts import Figure
from manyfit._page.words import power_of_ten

__all__ = ["HALF", "WIDE", "draw", "log_axis", "spread", "styled"]

# Inches. The half width is natural size on a phone and beside a second one on a desk.
HALF = (4.1, 3.1)
WIDE = (5.0, 3.6)

# Of pictures inside pictures.
_DPI = 120

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_VARIABLES = {colour.light: f"var(--{name})" for name, colour in COLOURS.items()}
_COLOUR = re.compile("|".join(_VARIABLES), re.IGNORECASE)
_REFERENCE = re.compile(r"(?:href=\"|url\()#([^\")]+)")
_LONG_FRACTION = re.compile(r"(\.\d\d)\d+")
_FONT_SIZE = re.compile(r"\d+(\.\d+)?px")

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "manyfit",
    "font.size": 10,
    "text.color": light("ink"),
    "text.usetex": False,
    "axes.labelcolor": light("soft"),
    "axes.edgecolor": light("line"),
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": light("line"),
    "grid.linewidth": 0.7,
    "xtick.color": light("line"),
    "ytick.color": light("line"),
    "xtick.labelcolor": light("soft"),
    "ytick.labelcolor": light("soft"),
    "axes.titlesize": 11,
    "xtick.major.pad": 6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the page's style, whatever the user's own matplotlib settings are."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def draw(
    name: str,
    paint: Callable[[Axes], None] | Callable[[Canvas], None],
    *,
    alt: str,
    caption: str,
    size: tuple[float, float] = HALF,
    axes: bool = True,
) -> Figure:
    """Make a picture for a page.

    Parameters
    ----------
    name : str
        Unique in the page; ids inside the picture begin with it.
    paint : callable
        Draws on the axes it is given, or on the whole canvas where `axes` is False.
    alt, caption : str
    size : (float, float)
        Inches; pictures wider than half the page stand alone.
    """
    with styled():
        canvas = Canvas(figsize=size, layout="constrained")
        target: Any = canvas.add_subplot() if axes else canvas
        paint(target)
        file = io.StringIO()
        canvas.savefig(file, format="svg", transparent=True, dpi=_DPI)
    return Figure(_inline(file.getvalue(), name, alt), alt, caption, wide=size[0] > HALF[0])


def log_axis(ax: Axes, low: float, high: float) -> None:
    """Make x logarithmic with powers of ten written out."""
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    exponents = np.arange(np.ceil(np.log10(low) - 1e-9), np.floor(np.log10(high) + 1e-9) + 1, dtype=int)
    ax.set_xticks(10.0 ** exponents[:: 1 if len(exponents) <= 6 else 2])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(round(np.log10(value)))))
    ax.xaxis.set_minor_locator(NullLocator())


def spread(positions: NDArray[np.floating[Any]], gap: float) -> NDArray[np.float64]:
    """Move labels apart until neighbours are `gap` from each other, keeping their order and their middle."""
    order = np.argsort(positions)
    placed = np.asarray(positions, dtype=np.float64)[order]
    for _ in range(200):
        overlap = gap - np.diff(placed)
        if (overlap <= 1e-9).all():
            break
        push = np.maximum(overlap, 0.0) / 2
        placed[:-1] -= push
        placed[1:] += push
    result = np.empty_like(placed)
    result[order] = placed
    return result


def _inline(text: str, name: str, alt: str) -> str:
    """Turn matplotlib's SVG file into an element of the page."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(text)
    # Ids that nothing refers to are left out: matplotlib gives equal images equal ones.
    names = {used: f"{name}-{number}" for number, used in enumerate(dict.fromkeys(_REFERENCE.findall(text)))}
    for element in root.iter():
        for child in list(element):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                element.remove(child)
        element.text = (element.text or "").strip()
        element.tail = "\n"
        if element.attrib.get("id") not in names:
            element.attrib.pop("id", None)
    for element in root.iter():
        _adapt(element.attrib, names)
        _share_style(element)
    for attribute in ("width", "height", "version"):
        root.attrib.pop(attribute, None)
    root.set("role", "img")
    root.set("aria-label", alt)
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    return ElementTree.tostring(root, encoding="unicode")


def _adapt(attributes: dict[str, str], names: dict[str, str]) -> None:
    """Colours to variables, ids to names of their own, typefaces to the page's, places to a hundredth."""
    for key, value in attributes.items():
        if key == "id":
            attributes[key] = names[value]
        elif key == f"{{{_XLINK}}}href" and value.startswith("#"):
            attributes[key] = f"#{names[value[1:]]}"
        elif key == "style":
            attributes[key] = "; ".join(_declarations(value))
        elif value.startswith("url(#"):
            attributes[key] = f"url(#{names[value[5:-1]]})"
        elif key in ("x", "y", "d"):
            attributes[key] = _LONG_FRACTION.sub(r"\1", value)


def _declarations(style: str) -> Iterator[str]:
    for declaration in filter(None, map(str.strip, style.split(";"))):
        name, _, value = declaration.partition(":")
        if name == "font":
            size = _FONT_SIZE.search(value)
            yield f"font-size: {size[0]}" if size else "font-size: 10px"
        elif name != "font-family":
            yield _COLOUR.sub(lambda match: _VARIABLES[match[0].lower()], declaration)


def _share_style(group: ElementTree.Element) -> None:
    """Say once what all the markers of a group have in common."""
    styles = {child.attrib.get("style") for child in group}
    if (
        len(group) > 1
        and len(styles) == 1
        and None not in styles
        and {child.tag for child in group} == {f"{{{_SVG}}}use"}
    ):
        style = "; ".join(_declarations(styles.pop() or ""))
        group.set("style", style)
        for child in group:
            del child.attrib["style"]
