"""Handwritten digits in fewer numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.decomposition
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import manyfit as mf
from manyfit._page.drawing import HALF, WIDE, draw
from manyfit._page.palette import CATEGORIES, light
from manyfit.decomposition import PCA
from manyfit.linear_model import LinearRegression
from manyfit.tour.chapter import Chapter, Check, Figure, Measurement, Result
from manyfit.tour.stage import Stage
from manyfit.tour.timing import side_by_side, timed

__all__ = ["CHAPTER"]

_SHOWN = (1, 2, 4, 8, 16, 32, 64)
_EXAMPLES = (30, 22, 45, 32)  # rows of a 0, a 2, a 3 and a 5
_SAME = 1e-8

# Light ink on dark paper, readable in either theme.
_INK = LinearSegmentedColormap.from_list("digits", ["#1d2b33", "#2f6f73", "#f4efe2"])
_SIGNED = LinearSegmentedColormap.from_list("signed", ["#f6c48c", "#c8743a", "#1d2b33", "#2f8f86", "#a9eadf"])

_CODE = """\
from manyfit.decomposition import PCA

# The map:
places = PCA(n_components=2).fit_transform(digits)

# 1 to 64 components, one pass over the digits; rebuilt from 16:
params = [{"n_components": k} for k in range(1, 65)]
every = mf.fit_many(PCA(), digits, params=params)
every[15].inverse_transform(every[15].transform(digits))
"""


def _run(stage: Stage) -> Result:
    digits = load_digits()
    X = digits.data
    with stage.step("PCA of the digits, beside scikit-learn's"):
        ours, peer = PCA(n_components=10), sklearn.decomposition.PCA(n_components=10)
        ours_seconds, peer_seconds = side_by_side(
            lambda: ours.fit(X), lambda: peer.fit(X), seconds=0.2 if stage.quick else 0.8
        )
    params: list[dict[str, Any]] = [{"n_components": k} for k in range(1, 65)]
    with stage.step("PCA with 1 to 64 components in one pass"):
        seconds, every = timed(lambda: mf.fit_many(PCA(), X, params=params))
    with stage.step("The same 64 one by one"):
        alone, each = timed(lambda: [PCA(**entry).fit(X) for entry in params])

    errors = [_error(model, X) for model in every]
    stage.keep("pca", "PCA of the digits", ours, X)
    with stage.step("Scaling, PCA and least squares in a pipeline"):
        pipeline = make_pipeline(StandardScaler(), PCA(n_components=20), LinearRegression())
        pipeline.fit(X, digits.target == 0)
    stage.keep("pipeline", "Pipeline: scaler, PCA, least squares", pipeline, X, savable=False)

    full: Any = every[-1]
    share = np.cumsum(full.explained_variance_ratio_)
    enough = int(np.searchsorted(share, 0.9)) + 1
    with stage.step("Pictures of the digits"):
        figures = [
            _map_figure(every[1], X, digits.target),
            _reconstruction_figure(every, X[list(_EXAMPLES)]),
            _share_figure(share, enough),
            _components_figure(full),
        ]
    return Result(
        headline=f"Handwritten digits of 64 pixels: {enough} numbers each hold 90 % of their variance",
        text=[
            "1797 digits of 8 x 8 pixels, written by 13 people. Principal component analysis looks for the "
            "few directions in which they differ most. Two numbers for each digit already make a map on "
            "which most digits have a country of their own, though nobody told it which digit is which.",
            "All 64 numbers of components were fitted at once: one decomposition serves them all.",
        ],
        code=_CODE,
        measurements=[
            Measurement(
                "PCA(10) of the digits, 1797 x 64", ours_seconds, "scikit-learn's PCA(10)", peer_seconds
            ),
            Measurement(
                "PCA of the digits, 1 to 64 components at once", seconds, "manyfit's PCA, one by one", alone
            ),
        ],
        checks=[
            Check.at_most("PCA: scikit-learn's components, up to sign", _apart(ours, peer), _SAME),
            Check.at_most(
                "PCA: scikit-learn's explained variances (of the largest)",
                _relative(ours.explained_variance_, peer.explained_variance_),
                _SAME,
            ),
            Check.at_most(
                "Each of the 64 equals its separate fit, components up to sign",
                max(_apart(a, b) for a, b in zip(every, each, strict=True)),
                _SAME,
            ),
            Check.at_most("64 components give the digits back (of the pixel range)", errors[-1] / 16, _SAME),
            Check(
                "Each further component brings the digits nearer",
                bool(np.all(np.diff(errors) <= 1e-12)),
                f"root mean square error falls from {errors[0]:.2f} to {errors[-1]:.1e} of 16 grey levels",
            ),
        ],
        figures=figures,
    )


def _error(model: Any, X: NDArray[Any]) -> float:
    restored = model.inverse_transform(model.transform(X))
    return float(np.sqrt(np.mean((restored - X) ** 2)))


def _relative(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def _apart(a: Any, b: Any) -> float:
    """Largest difference between the subspaces' directions that the data determine, signs set aside."""
    determined = b.explained_variance_ > 1e-10 * b.explained_variance_[0]
    left, right = a.components_[determined], b.components_[determined]
    signs = np.sign(np.sum(left * right, axis=1, keepdims=True))
    return float(np.abs(left * signs - right).max())


def _map_figure(model: Any, X: NDArray[Any], target: NDArray[Any]) -> Figure:
    places = model.transform(X)

    def paint(ax: Axes) -> None:
        for digit, colour in enumerate(CATEGORIES):
            mine = places[target == digit]
            ax.plot(*mine.T, "o", markersize=3, markeredgewidth=0, alpha=0.6, color=light(colour))
        for digit, colour in enumerate(CATEGORIES):
            middle = np.median(places[target == digit], axis=0)
            box = {"boxstyle": "circle,pad=0.25", "facecolor": light("paper"), "edgecolor": light(colour)}
            ax.annotate(
                str(digit),
                middle,
                ha="center",
                va="center",
                color=light(colour),
                fontsize=13,
                weight="bold",
                bbox=box,
            )
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel("first component")
        ax.set_ylabel("second component")
        for spine in ax.spines.values():
            spine.set_visible(False)

    return draw(
        "digit-map",
        paint,
        size=WIDE,
        alt="A map of 1797 points in ten colours, one colour for each digit, with the digit written at the "
        "middle of its points. Some digits, such as 0, 4 and 6, lie apart at the rim; others overlap in "
        "the middle.",
        caption="Every digit by its first two components, coloured by what was written.",
    )


def _reconstruction_figure(every: Any, examples: NDArray[Any]) -> Figure:

    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(len(examples), len(_SHOWN) + 1)
        canvas.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.03, hspace=0.03)
        columns = [every[k - 1].inverse_transform(every[k - 1].transform(examples)) for k in _SHOWN]
        pictures = np.stack([*columns, examples], axis=1).reshape(*panels.shape, 8, 8)
        for ax, picture in zip(panels.flat, pictures.reshape(-1, 8, 8), strict=True):
            ax.imshow(picture, cmap=_INK, vmin=0, vmax=16, interpolation="bicubic")
            ax.set_axis_off()
        for ax, title in zip(panels[0], [*map(str, _SHOWN), "original"], strict=True):
            ax.set_title(title, fontsize=10, color=light("soft"), pad=5)

    return draw(
        "digit-reconstructions",
        paint,
        axes=False,
        size=(WIDE[0], 2.75),
        alt="Four digits, 0, 2, 3 and 5, rebuilt from 1, 2, 4, 8, 16, 32 and 64 components beside the "
        "original. With 1 they are a blur, with 16 each can be read, with 64 they equal the original.",
        caption="Four digits rebuilt from the first 1, 2, 4 … 64 components, and the original.",
    )


def _share_figure(share: NDArray[Any], enough: int) -> Figure:
    def paint(ax: Axes) -> None:
        k = np.arange(1, len(share) + 1)
        ax.grid(axis="y")
        ax.fill_between(k, share, color=light("ours"), alpha=0.12, linewidth=0)
        ax.plot(k, share, color=light("ours"))
        ax.plot(enough, share[enough - 1], "o", color=light("ours"), markersize=7)
        label = f"{enough} components hold 90 %"
        ax.annotate(label, (enough, share[enough - 1]), (8, -16), textcoords="offset points")
        ax.set_xlim(1, len(share))
        ax.set_ylim(0, 1.02)
        ax.set_xticks(_SHOWN[3:])
        ax.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "25 %", "50 %", "75 %", "100 %"])
        ax.set_xlabel("components")
        ax.spines["left"].set_visible(False)

    return draw(
        "explained-variance",
        paint,
        alt=f"A curve that rises steeply and flattens: {share[1]:.0%} of the variance with 2 components, 90 "
        f"% with {enough}, all of it with 64.",
        caption="Share of the variance that the first components hold.",
    )


def _components_figure(model: Any) -> Figure:
    def paint(canvas: Canvas) -> None:
        panels = canvas.subplots(3, 4)
        canvas.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.04, hspace=0.04)
        for k, ax in enumerate(panels.flat):
            limit = np.abs(model.components_[k]).max()
            ax.imshow(
                model.components_[k].reshape(8, 8),
                cmap=_SIGNED,
                interpolation="bicubic",
                vmin=-limit,
                vmax=limit,
            )
            ax.set_axis_off()

    return draw(
        "digit-components",
        paint,
        axes=False,
        size=HALF,
        alt="Twelve squares of 8 by 8 pixels: the first components as pictures, orange where ink counts "
        "against and green where it counts for; coarse shapes first, finer strokes later.",
        caption="The first twelve components as pictures: green where ink counts for them, orange against.",
    )


CHAPTER = Chapter(30, "Digits in fewer numbers", _run)
