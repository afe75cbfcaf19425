"""Linear models as scikit-learn's users know them."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.linear_model
from matplotlib.axes import Axes
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.preprocessing import StandardScaler

import manyfit as mf
from manyfit._page.drawing import draw, log_axis, spread
from manyfit._page.palette import CATEGORIES, light
from manyfit.linear_model import LinearRegression, Ridge
from manyfit.tour.chapter import Chapter, Check, Figure, Measurement, Result
from manyfit.tour.stage import Stage
from manyfit.tour.timing import side_by_side, timed

__all__ = ["CHAPTER"]

# Of the predictions, in standard deviations of the target.
_SAME = 1e-9

_CODE = """\
# The only line that changes:
from manyfit.linear_model import LinearRegression, Ridge

model = Ridge(alpha=2.0).fit(X, y)
model.coef_, model.intercept_, model.score(X, y)

# 200 penalties, one pass over X:
params = [{"alpha": alpha} for alpha in np.logspace(-1, 5, 200)]
path = mf.fit_many(Ridge(), X, y, params=params)
"""


def _run(stage: Stage) -> Result:
    diabetes, cancer = load_diabetes(scaled=False), load_breast_cancer()
    scaled = StandardScaler().fit_transform(diabetes.data)
    peers = sklearn.linear_model
    cases = [
        ("LinearRegression", "diabetes", LinearRegression(), peers.LinearRegression(), diabetes),
        ("Ridge", "diabetes", Ridge(alpha=2.0), peers.Ridge(alpha=2.0), diabetes),
        ("LinearRegression", "breast cancer", LinearRegression(), peers.LinearRegression(), cancer),
        ("Ridge", "breast cancer", Ridge(alpha=2.0), peers.Ridge(alpha=2.0), cancer),
    ]
    result = Result(headline="")
    for name, table, ours, peer, data in cases:
        with stage.step(f"{name} on {table}, beside scikit-learn's"):
            measurement, check = _compare(stage, name, table, ours, peer, data)
        result.measurements.append(measurement)
        result.checks.append(check)
    stage.keep("linear_regression", "LinearRegression, breast cancer", cases[2][2], cancer.data)

    with stage.step("Ridge path: 200 penalties in one pass"):
        alphas = np.logspace(-1, 5, 200)
        params: list[dict[str, Any]] = [{"alpha": alpha} for alpha in alphas]
        seconds, path = timed(lambda: mf.fit_many(Ridge(), scaled, diabetes.target, params=params))
        coefs = np.array([model.coef_ for model in path])
        alone, each = timed(lambda: [Ridge(**entry).fit(scaled, diabetes.target) for entry in params])
        result.measurements.append(
            Measurement(
                "Ridge path on diabetes, 200 penalties at once", seconds, "manyfit's Ridge, one by one", alone
            )
        )
        difference = np.abs(coefs - [model.coef_ for model in each]).max() / np.abs(coefs).max()
        result.checks.append(
            Check.at_most(
                "Every penalty of the path equals its separate fit (of the largest coefficient)",
                difference,
                _SAME,
            )
        )
        result.figures.append(_path_figure(alphas, coefs, diabetes.feature_names))
        result.figures.append(_prediction_figure(cases[1][2], diabetes))

    result.headline = "LinearRegression and Ridge predict what scikit-learn's do, to nine digits and more"
    result.text = [
        "Parameters, attributes and errors are scikit-learn's; the import is all that changes. Diabetes "
        "has 442 patients with ten measurements and asks how far the disease got in a year. Breast cancer "
        "has 569 tumours with thirty measurements of very different size and many near-copies of each "
        "other, which is hard on least squares; its target here is 1 for benign and 0 for malignant. Both "
        "are tables as small as coursework has them, where a fit is mostly overhead.",
        "The path shows what the penalty does: every coefficient of the diabetes model, from hardly any "
        "penalty to one that leaves next to nothing. Two measurements of cholesterol, s1 and s2, say "
        "nearly the same and cancel each other at first; a little penalty ends the quarrel.",
    ]
    result.code = _CODE
    return result


def _compare(
    stage: Stage, name: str, table: str, ours: Any, peer: Any, data: Any
) -> tuple[Measurement, Check]:
    X, y = data.data, np.asarray(data.target, dtype=np.float64)
    ours_seconds, peer_seconds = side_by_side(
        lambda: ours.fit(X, y), lambda: peer.fit(X, y), seconds=0.1 if stage.quick else 0.4
    )
    difference = float(np.abs(ours.predict(X) - peer.predict(X)).max() / y.std())
    what = f"{name} on {table}, {len(X)} x {X.shape[1]}"
    return (
        Measurement(what, ours_seconds, f"scikit-learn's {name}", peer_seconds),
        Check.at_most(
            f"{name} on {table}: scikit-learn's predictions (in standard deviations)", difference, _SAME
        ),
    )


def _path_figure(alphas: NDArray[Any], coefs: NDArray[Any], names: list[str]) -> Figure:
    def paint(ax: Axes) -> None:
        log_axis(ax, alphas[0], alphas[-1])
        ax.axhline(0.0, color=light("line"), linewidth=1)
        labels = spread(coefs[0], 0.055 * np.ptp(coefs))
        for colour, coef, name, label in zip(CATEGORIES, coefs.T, names, labels, strict=True):
            ax.plot(alphas, coef, color=light(colour))
            place: dict[str, Any] = {
                "xytext": (-8, 0),
                "textcoords": "offset points",
                "ha": "right",
                "va": "center",
            }
            ax.annotate(name, (alphas[0], label), **place, color=light(colour), annotation_clip=False)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        ax.set_xlabel("penalty alpha")

    largest = names[int(np.argmax(np.abs(coefs[0])))]
    return draw(
        "ridge-path",
        paint,
        alt=f"Ten lines, one for each coefficient, over the penalty from 0.1 to 100,000. {largest} is "
        "largest at first; all shrink to zero as the penalty grows.",
        caption="Ridge path on diabetes: each standardised measurement's coefficient over the penalty.",
    )


def _prediction_figure(model: Any, data: Any) -> Figure:
    predicted = model.predict(data.data)
    score = model.score(data.data, data.target)

    def paint(ax: Axes) -> None:
        low, high = data.target.min(), data.target.max()
        ax.plot([low, high], [low, high], color=light("line"), linewidth=1.2)
        ax.plot(
            data.target, predicted, "o", markersize=3.2, markeredgewidth=0, alpha=0.55, color=light("ours")
        )
        ax.set_xlabel("measured after a year")
        ax.set_ylabel("predicted")

    return draw(
        "diabetes-predictions",
        paint,
        alt="442 points, predicted over measured progress; they scatter about the diagonal with R squared "
        f"{score:.2f}.",
        caption=f"What Ridge(alpha=2.0) predicts for the 442 patients it was fitted on; R² {score:.2f}.",
    )


CHAPTER = Chapter(10, "The fits you know", _run)
