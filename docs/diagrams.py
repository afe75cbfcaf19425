"""Diagrams: how the folds share one pass, and which path an answer takes."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from manyfit._page.palette import light

FOLDS = 5
SUBSCRIPT = str.maketrans("12345", "₁₂₃₄₅")


def _blank(ax: Axes, width: float, height: float) -> None:
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.set_axis_off()


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = "soft") -> None:
    style = {"arrowstyle": "-|>", "color": light(colour), "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", end, start, arrowprops=style)


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str = "soft") -> None:
    shape = FancyBboxPatch(
        (x, y),
        width,
        height,
        boxstyle="round,pad=0,rounding_size=0.15",
        facecolor="none",
        edgecolor=light(colour),
        linewidth=1.2,
    )
    ax.add_patch(shape)
    ax.text(
        x + width / 2, y + height / 2, text, ha="center", va="center", color=light("ink"), linespacing=1.35
    )


def shared_pass(ax: Axes) -> None:
    """Rows -> one Gram an atom -> the Gram of each split."""
    _blank(ax, 15.2, 8)
    colours = [f"category{i}" for i in (0, 1, 2, 4, 9)]
    tops = [6.2 - 1.4 * i for i in range(FOLDS)]
    for i, (colour, y) in enumerate(zip(colours, tops, strict=True)):
        paint = light(colour)
        ax.add_patch(Rectangle((0.3, y), 2.2, 1.3, facecolor=paint, alpha=0.3, edgecolor="none"))
        ax.text(
            1.4, y + 0.65, f"rows of fold {i + 1}", ha="center", va="center", color=light("ink"), fontsize=8
        )
        _arrow(ax, (2.75, y + 0.65), (4.1, y + 0.65), colour)
        _gram(ax, 4.3, y + 0.12, 1.06, colour)
        name = f"M{str(i + 1).translate(SUBSCRIPT)}"
        ax.text(5.55, y + 0.65, name, va="center", color=light("ink"), fontsize=9)
    for k, y in enumerate(tops):
        ax.text(7.6, y + 0.65, f"split {k + 1}", va="center", color=light("ink"), fontsize=9)
        for i, colour in enumerate(colours):
            x = 9.2 + 0.85 * i
            if i == k:
                ax.add_patch(
                    Rectangle(
                        (x, y + 0.35),
                        0.6,
                        0.6,
                        facecolor="none",
                        edgecolor=light(colour),
                        linestyle=(0, (2, 2)),
                    )
                )
            else:
                _gram(ax, x, y + 0.35, 0.6, colour)
            if i < FOLDS - 1:
                ax.text(x + 0.72, y + 0.65, "+", ha="center", va="center", color=light("soft"), fontsize=8)
    for x, text, place in (
        (0.3, "X, read once", "left"),
        (3.9, "one Gram for each fold", "left"),
        (7.6, "each split adds up four; the dashed one scores", "left"),
    ):
        ax.text(x, 7.78, text, ha=place, va="center", color=light("soft"), fontsize=9)


def _gram(ax: Axes, x: float, y: float, size: float, colour: str) -> None:
    ax.add_patch(Rectangle((x, y), size, size, facecolor=light(colour), alpha=0.3, edgecolor=light(colour)))


def ladder(ax: Axes) -> None:
    """The guarded path of least squares and ridge."""
    _blank(ax, 15.2, 7)
    _box(ax, 0.3, 4.2, 3.0, 1.5, "fold Gram\none pass over X", "ours")
    _box(ax, 5.0, 4.2, 3.6, 1.5, "Cholesky, or one\neigendecomposition", "ours")
    _box(ax, 11.2, 4.2, 3.6, 1.5, "coefficients", "ours")
    _box(ax, 5.0, 0.9, 3.6, 1.5, "QR of the rows\none more pass", "other")
    _box(ax, 11.2, 0.9, 3.6, 1.5, "SVD of the\nsmall triangle", "other")
    _arrow(ax, (3.4, 4.95), (4.9, 4.95), "ours")
    _arrow(ax, (8.7, 4.95), (11.1, 4.95), "ours")
    _arrow(ax, (6.8, 4.1), (6.8, 2.5), "other")
    _arrow(ax, (8.7, 1.65), (11.1, 1.65), "other")
    _arrow(ax, (13.0, 2.5), (13.0, 4.1), "other")
    ax.text(9.9, 5.3, "well\nconditioned", ha="center", va="bottom", fontsize=8, color=light("ours"))
    ax.text(
        7.05, 3.3, "too ill-conditioned, or not of full rank", va="center", fontsize=8, color=light("other")
    )
