"""Pictures of the ridge sweep, for the report and for the README.

``python -m manyfit.tour.sweep_pictures FILE`` runs the sweep and writes the README's picture.
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from manyfit._page.drawing import draw, log_axis, styled
from manyfit._page.palette import light
from manyfit._page.words import count, duration, times
from manyfit.tour.chapter import Figure
from manyfit.tour.ridge_sweep import ALPHAS, FOLDS, Sweep, compare

__all__ = ["save_readme_picture", "time_bars", "validation_curve"]


def validation_curve(sweep: Sweep) -> Figure:
    """R² on the left-out folds over the penalty."""
    mean = sweep.scores.mean(axis=1)
    return draw(
        "validation-curve",
        lambda ax: _paint_curve(ax, sweep),
        alt=f"A curve of mean R squared over the penalty: {mean[0]:.2f} at the weakest, a maximum of "
        f"{mean[sweep.best]:.2f} at alpha {ALPHAS[sweep.best]:.3g}, {mean[-1]:.2f} at the strongest. Five "
        "thin lines, one per fold, go with it.",
        caption="R² on the left-out patients: the mean of five folds, and each fold as a thin line. Too "
        "little penalty and the 100 columns are learnt by heart; too much and nothing is learnt.",
    )


def time_bars(sweep: Sweep) -> Figure:
    """Time of the sweep at once and one by one."""
    parts = [f"{name}: {duration(seconds)}" for name, seconds, _ in _bars(sweep)]
    return draw(
        "sweep-times",
        lambda ax: _paint_bars(ax, sweep),
        alt=f"Bars of time for {len(ALPHAS) * FOLDS} fits. {'; '.join(parts)}.",
        caption=f"The time of all {len(ALPHAS) * FOLDS} fits with their scores, measured on this machine "
        "just now.",
    )


def save_readme_picture(sweep: Sweep, path: Path) -> None:
    """Write both pictures side by side as a PNG on light paper."""
    with styled():
        canvas = Canvas(figsize=(9.6, 3.7), facecolor=light("paper"))
        canvas.set_layout_engine("constrained", w_pad=0.25, h_pad=0.15, wspace=0.06)
        left, right = canvas.subplots(1, 2)
        _paint_curve(left, sweep)
        shape = f"{count(len(sweep.table.X))} x {sweep.table.X.shape[1]}"
        left.set_title(
            f"Which ridge penalty, for a table of {shape}?", loc="left", color=light("ink"), pad=12
        )
        _paint_bars(right, sweep)
        right.set_title(f"The {len(ALPHAS)} x {FOLDS} fits it takes", loc="left", color=light("ink"), pad=12)
        canvas.savefig(path, dpi=125, metadata={"Software": None})


def _paint_curve(ax: Axes, sweep: Sweep) -> None:
    mean, best = sweep.scores.mean(axis=1), sweep.best
    log_axis(ax, ALPHAS[0], ALPHAS[-1])
    ax.grid(axis="y")
    ax.plot(ALPHAS, sweep.scores, color=light("ours"), linewidth=0.8, alpha=0.35)
    ax.plot(ALPHAS, mean, color=light("ours"), linewidth=2.4)
    ax.plot(ALPHAS[best], mean[best], "o", color=light("ours"), markersize=7)
    ax.set_ylim(bottom=min(0.0, float(sweep.scores.min())))
    ax.annotate(
        f"● best: alpha {count(ALPHAS[best])}, R² {mean[best]:.2f}",
        (0.03, 0.07),
        xycoords="axes fraction",
        color=light("ours"),
    )
    ax.set_xlabel("penalty alpha")
    ax.set_ylabel("R² on left-out folds")
    ax.spines["left"].set_visible(False)


def _bars(sweep: Sweep) -> list[tuple[str, float, str]]:
    """Name, seconds and remark of each bar."""
    bars = [("fit_many, at once", sweep.seconds, "")]
    for other in sweep.others:
        remark = "" if other.all_run else f"{len(other.fit_seconds)} run, the rest extrapolated"
        bars.append((f"one by one, {other.name}", other.seconds, remark))
    return bars


def _paint_bars(ax: Axes, sweep: Sweep) -> None:
    bars = _bars(sweep)
    longest = max(seconds for _, seconds, _ in bars)
    for row, (name, seconds, remark) in enumerate(bars):
        colour = light("ours" if row == 0 else "other")
        ax.barh(-row, seconds, height=0.34, color=colour, edgecolor=colour, linewidth=1)
        ax.annotate(name, (0, -row + 0.3), va="center", color=light("ink"))
        value = duration(seconds) if row == 0 else f"{duration(seconds)} ({times(seconds / sweep.seconds)})"
        inside = seconds > 0.5 * longest
        ax.annotate(
            value,
            (seconds, -row),
            (-6 if inside else 6, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            color=light("paper") if inside else light("ink"),
        )
        ax.annotate(remark, (0, -row - 0.3), va="center", color=light("soft"), fontsize=8.5)
    ax.set_xlim(0, longest)
    ax.set_ylim(-len(bars) + 0.5, 0.5)
    ax.set_axis_off()


def _main(path: Path) -> None:
    from manyfit.tour.screen import Screen
    from manyfit.tour.stage import Stage

    with Screen() as screen:
        # Time enough to run every fit.
        sweep = compare(Stage(path.parent, quick=False, display=screen), budget=600.0)
    save_readme_picture(sweep, path)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
