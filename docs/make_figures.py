"""Draw the pictures of the documentation into ``docs/figures``.

``python docs/make_figures.py`` draws all, from scikit-learn's bundled data. Only the times of the sweep
are read from ``docs/figures/sweep-times.json``; ``python docs/make_figures.py --measure`` makes them anew, in
some minutes, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import sweep_times
from diagrams import ladder, shared_pass
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import LinearRegression as TheirLinearRegression
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

import manyfit as mf
from manyfit._page.drawing import HALF, draw, log_axis, spread
from manyfit._page.palette import CATEGORIES, COLOURS, css_variables, light
from manyfit._page.words import duration, power_of_ten
from manyfit.decomposition import PCA
from manyfit.linear_model import LinearRegression, LogisticRegressionCV, Ridge, lasso_path

HERE = Path(__file__).parent
TIMES = HERE / "figures" / "sweep-times.json"

Floats = NDArray[np.floating[Any]]


def ridge_path(ax: Axes) -> None:
    """Coefficients of the diabetes data over alpha."""
    data = load_diabetes()
    X = StandardScaler().fit_transform(data.data)
    alphas = np.logspace(-1, 5, 121)
    models = mf.fit_many(Ridge(), X, data.target, params=[{"alpha": alpha} for alpha in alphas])
    coefs = np.array([model.coef_ for model in models])
    log_axis(ax, alphas[0], alphas[-1])
    ax.axhline(0, color=light("line"), linewidth=1)
    names = spread(coefs[0], gap=5.0)
    for j, name in enumerate(data.feature_names):
        colour = light(CATEGORIES[j])
        ax.plot(alphas, coefs[:, j], color=colour)
        ax.annotate(
            name,
            (alphas[0], names[j]),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            color=colour,
        )
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("alpha")
    ax.set_title("coefficient", loc="left", fontsize=10, color=light("soft"))


def lasso_path_lines(ax: Axes) -> None:
    """Coefficients of the diabetes data over alpha, which vanish one by one."""
    data = load_diabetes()
    X = StandardScaler().fit_transform(data.data)
    alphas, coefs, _ = lasso_path(X, data.target - data.target.mean(), alphas=150, eps=1e-3)
    log_axis(ax, alphas[-1], alphas[0])
    ax.axhline(0, color=light("line"), linewidth=1)
    names = spread(coefs[:, -1], gap=5.0)
    for j, name in enumerate(data.feature_names):
        colour = light(CATEGORIES[j])
        ax.plot(alphas, coefs[j], color=colour)
        ax.annotate(
            name,
            (alphas[-1], names[j]),
            xytext=(-6, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            color=colour,
        )
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("alpha")
    ax.set_title("coefficient", loc="left", fontsize=10, color=light("soft"))


def validation_curve(ax: Axes) -> None:
    """R² on left-out folds over alpha."""
    X, y = load_diabetes(return_X_y=True)
    X = StandardScaler().fit_transform(PolynomialFeatures(2, include_bias=False).fit_transform(X))
    alphas = np.logspace(-2, 5, 113)
    models = mf.fit_many(Ridge(), X, y, params=[{"alpha": alpha} for alpha in alphas], cv=5)
    assert models.test_scores is not None
    mean = models.test_scores.mean(axis=1)
    best = int(mean.argmax())
    log_axis(ax, alphas[0], alphas[-1])
    ax.plot(alphas, models.test_scores, color=light("ours"), alpha=0.3, linewidth=1)
    ax.plot(alphas, mean, color=light("ours"), linewidth=2.4)
    ax.axvline(alphas[best], color=light("other"), linewidth=1)
    ax.plot(alphas[best], mean[best], "o", color=light("other"))
    ax.annotate(
        f"best mean: {mean[best]:.3f}\nat alpha = {alphas[best]:.3g}",
        (alphas[best], 0.0),
        xytext=(-8, 0),
        textcoords="offset points",
        ha="right",
        color=light("other"),
    )
    ax.grid(axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("alpha")
    ax.set_title("R² on the left-out fold", loc="left", fontsize=10, color=light("soft"))


def logistic_scores(ax: Axes) -> None:
    """Log-loss on left-out folds over C."""
    X, y = load_breast_cancer(return_X_y=True)
    model = LogisticRegressionCV(
        Cs=np.logspace(-4, 4, 65), l1_ratios=(0,), scoring="neg_log_loss", use_legacy_attributes=False
    ).fit(StandardScaler().fit_transform(X), y)
    Cs, losses = model.Cs_, -model.scores_[:, 0].T
    mean = losses.mean(axis=1)
    best = int(mean.argmin())
    log_axis(ax, Cs[0], Cs[-1])
    ax.plot(Cs, losses, color=light("ours"), alpha=0.3, linewidth=1)
    ax.plot(Cs, mean, color=light("ours"), linewidth=2.4)
    ax.axvline(Cs[best], color=light("other"), linewidth=1)
    ax.plot(Cs[best], mean[best], "o", color=light("other"))
    ax.annotate(
        f"best mean: {mean[best]:.3f}\nat C = {Cs[best]:.3g}",
        (Cs[best], 0.3),
        xytext=(8, 0),
        textcoords="offset points",
        color=light("other"),
    )
    ax.set_ylim(0, 0.5)
    ax.grid(axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("C")
    ax.set_title("log-loss on the left-out fold", loc="left", fontsize=10, color=light("soft"))


def sweep_time(ax: Axes) -> None:
    """Time of a sweep over its number of penalties, measured before."""
    measured = json.loads(TIMES.read_text(encoding="utf-8"))
    counts = measured["penalties"]
    lines = (("fit_many", "ours"), ("separate manyfit fits", "category0"), ("GridSearchCV", "other"))
    for name, colour in lines:
        seconds = np.median(measured["seconds"][name], axis=1)
        ax.plot(counts[: len(seconds)], seconds, "o-", color=light(colour), markersize=4)
        ax.annotate(
            f"{name}\n{duration(seconds[-1])}",
            (counts[len(seconds) - 1], seconds[-1]),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=light(colour),
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(counts, [str(count) for count in counts])
    ax.set_xlim(counts[0] * 0.9, counts[-1] * 4.5)
    slowest = max(np.median(times) for times in measured["seconds"]["GridSearchCV"])
    ticks = [10.0**e for e in range(-3, 3) if 10.0**e > 0.003 and 10.0**e < 2 * slowest]
    ax.set_yticks(ticks, [duration(tick) for tick in ticks])
    ax.set_ylim(top=3 * slowest)
    ax.minorticks_off()
    ax.grid(axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"number of penalties, {measured['folds']} folds each")
    rounds = len(measured["seconds"]["fit_many"][0])
    circumstances = [measured["machine"], "one run" if rounds == 1 else f"median of {rounds} runs"]
    if measured["load_before"] > 0.5:
        circumstances.append("other programs were running")
    ax.set_title("; ".join(circumstances), loc="left", fontsize=7, color=light("soft"))


def accuracy(ax: Axes) -> None:
    """Error of least squares over the condition number of X."""
    conditions = np.logspace(0, 11, 45)
    errors = np.array([_errors(condition) for condition in conditions])
    log_axis(ax, conditions[0], conditions[-1])
    ax.set_yscale("log")
    ax.set_ylim(1e-17, 3)
    labels = (("Gram matrix alone", "category3"), ("scikit-learn", "other"), ("manyfit", "ours"))
    for (name, colour), values, place in zip(labels, errors.T, (26, 34, 14), strict=True):
        ax.plot(conditions, values, color=light(colour))
        above = name != "manyfit"
        ax.annotate(
            name,
            (conditions[place], values[place]),
            xytext=(-6 if above else 6, 10 if above else -14),
            textcoords="offset points",
            ha="right" if above else "left",
            color=light(colour),
        )
    ticks = range(-16, 1, 4)
    ax.set_yticks([10.0**tick for tick in ticks], [power_of_ten(tick) for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("condition number of X")
    ax.set_title("relative error of the coefficients", loc="left", fontsize=10, color=light("soft"))


def _errors(condition: float) -> list[float]:
    """Errors of three ways to solve one least-squares problem, against the answer in extended precision."""
    rng = np.random.default_rng(0)
    n, d = 2000, 12
    left, right = np.linalg.qr(rng.standard_normal((n, d)))[0], np.linalg.qr(rng.standard_normal((d, d)))[0]
    X = left * np.geomspace(1, 1 / condition, d) @ right.T
    y = X @ rng.standard_normal(d)
    exact = _extended_least_squares(X, y)
    settings: dict[str, Any] = {"fit_intercept": False, "tol": 1e-15}
    answers = [
        np.linalg.solve(X.T @ X, X.T @ y),
        TheirLinearRegression(**settings).fit(X, y).coef_,
        LinearRegression(**settings).fit(X, y).coef_,
    ]
    return [max(float(np.linalg.norm(a - exact) / np.linalg.norm(exact)), 1e-17) for a in answers]


def _extended_least_squares(X: Floats, y: Floats) -> Floats:
    """QR by Gram-Schmidt, twice, in the widest floating type of this machine."""
    Q = X.astype(np.longdouble)
    d = Q.shape[1]
    R = np.eye(d, dtype=np.longdouble)
    for _ in range(2):
        step = np.zeros((d, d), dtype=np.longdouble)
        for j in range(d):
            step[j, j] = np.sqrt((Q[:, j] ** 2).sum())
            Q[:, j] /= step[j, j]
            step[j, j + 1 :] = Q[:, j] @ Q[:, j + 1 :]
            Q[:, j + 1 :] -= np.outer(Q[:, j], step[j, j + 1 :])
        R = step @ R
    answer = Q.T @ y.astype(np.longdouble)
    for j in reversed(range(d)):
        answer[j] = (answer[j] - R[j, j + 1 :] @ answer[j + 1 :]) / R[j, j]
    return answer.astype(np.float64)


def digits_map(ax: Axes) -> None:
    """Handwritten digits on their first two components."""
    X, y = load_digits(return_X_y=True)
    places = PCA(n_components=2).fit_transform(X)
    shown = slice(900)
    for digit in range(10):
        chosen = places[shown][y[shown] == digit]
        colour = light(CATEGORIES[digit])
        ax.scatter(chosen[:, 0], chosen[:, 1], s=11, color=colour, alpha=0.6, linewidths=0)
    for digit in range(10):
        centre = np.median(places[y == digit], axis=0)
        ax.text(
            centre[0],
            centre[1],
            str(digit),
            fontsize=22,
            weight="bold",
            ha="center",
            va="center",
            color=light("ink"),
        )
    ax.set_xlabel("first component")
    ax.set_ylabel("second component")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal")


def digits_rebuilt(canvas: Canvas) -> None:
    """Digits rebuilt from few components."""
    X, _ = load_digits(return_X_y=True)
    counts = (1, 4, 10, 20, 40)
    pca = PCA().fit(X)
    rows = [0, 12, 27]
    axes = canvas.subplots(len(rows), len(counts) + 1, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        projected = pca.transform(X[[row]])[0]
        images = [pca.mean_ + projected[:k] @ pca.components_[:k] for k in counts] + [X[row]]
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            ax.set_xticks([])
            ax.set_yticks([])
            for spine in ax.spines.values():
                spine.set_visible(False)
    for ax, name in zip(axes[0], [*map(str, counts), "all 64"], strict=True):
        ax.set_title(name, fontsize=10, color=light("soft"))


def digits_variance(ax: Axes) -> None:
    """Share of the variance that the first components explain."""
    X, _ = load_digits(return_X_y=True)
    share = np.cumsum(PCA().fit(X).explained_variance_ratio_)
    ax.plot(np.arange(1, len(share) + 1), share, color=light("ours"))
    for wanted in (0.9, 0.99):
        count = PCA(n_components=wanted).fit(X).n_components_
        ax.plot([0, count, count], [wanted, wanted, 0], color=light("other"), linewidth=1)
        ax.annotate(
            f"{count} for {wanted}",
            (count, 0),
            xytext=(4, 8),
            textcoords="offset points",
            color=light("other"),
        )
    ax.set_xlim(0, 64)
    ax.set_ylim(0, 1.02)
    ax.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    ax.grid(axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("components")
    ax.set_title("share of the variance", loc="left", fontsize=10, color=light("soft"))


PICTURES: dict[str, tuple[str, Any, tuple[float, float]]] = {
    "ridge-path": (
        "Ten lines, one for each coefficient, over alpha: they shrink towards zero as alpha grows.",
        ridge_path,
        (5.4, 3.6),
    ),
    "lasso-path": (
        "Ten lines, one for each coefficient, over alpha: as alpha grows they reach zero one after the other.",
        lasso_path_lines,
        (5.4, 3.6),
    ),
    "validation-curve": (
        "Mean R squared over alpha, with five thin lines for the folds: a flat maximum in the middle.",
        validation_curve,
        (5.4, 3.4),
    ),
    "logistic-scores": (
        "Mean log-loss over C, with five thin lines for the folds: a minimum near C = 0.6, and a rise on its right.",
        logistic_scores,
        (5.4, 3.4),
    ),
    "sweep-time": (
        "Time over the number of penalties: nearly constant for fit_many, proportional for separate fits.",
        sweep_time,
        (5.8, 3.4),
    ),
    "accuracy": (
        "Relative error over the condition number of X. The Gram alone loses all digits at 1e8; manyfit and "
        "scikit-learn stay together below it.",
        accuracy,
        (5.4, 3.4),
    ),
    "digits-map": (
        "Handwritten digits as points in two dimensions: most of the ten digits form a cloud of their own.",
        digits_map,
        (5.6, 4.8),
    ),
    "digits-rebuilt": (
        "Three handwritten digits, rebuilt from 1, 4, 10, 20, 40 and all 64 components, sharper each time.",
        digits_rebuilt,
        (5.0, 2.7),
    ),
    "digits-variance": (
        "The share of the variance that the first components explain, rising steeply at first.",
        digits_variance,
        HALF,
    ),
    "shared-pass": (
        "Rows of X in five blocks; one pass gives a Gram for each; each split adds four of them up.",
        shared_pass,
        (6.6, 3.5),
    ),
    "ladder": (
        "From the Gram to Cholesky or an eigendecomposition; where the condition number is too large, to QR.",
        ladder,
        (6.6, 3.1),
    ),
}
ON_CANVAS = {digits_rebuilt}

_VARIABLE = re.compile(r"var\(--([\w-]+)\)")


def page_svg(svg: str) -> str:
    """The drawing at its natural size, readable by itself too: every colour variable with a fallback."""
    svg = _VARIABLE.sub(lambda match: f"var(--{match[1]}, {COLOURS[match[1]].light})", svg)
    width = float(re.search(r'viewBox="0 0 ([\d.]+) ', svg)[1])  # type: ignore[index]
    size = f"width: 100%; max-width: {width * 4 / 3:.0f}px"
    typeface = "font-family: var(--font-stack, system-ui, sans-serif)"
    return svg.replace('style="', f'style="{size}; {typeface}; ', 1) + "\n"


def colours_css() -> str:
    """The colours of the pictures for furo's three themes: light, dark, and the system's."""
    dark = css_variables("dark")
    return (
        "/* Written by docs/make_figures.py from manyfit._page.palette. */\n"
        f"body {{\n{css_variables('light')}\n}}\n"
        f'body[data-theme="dark"] {{\n{dark}\n}}\n'
        "@media (prefers-color-scheme: dark) {\n"
        f'body:not([data-theme="light"]) {{\n{dark}\n}}\n}}\n'
    )


def make(names: list[str], out: Path) -> None:
    """Draw the pictures `names` into the folder `out`."""
    for name in names:
        alt, paint, size = PICTURES[name]
        figure = draw(name, paint, alt=alt, caption="", size=size, axes=paint not in ON_CANVAS)
        (out / f"{name}.svg").write_text(page_svg(figure.svg), encoding="utf-8")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"which of {', '.join(PICTURES)}; default: all"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="default: the folder of this script")
    parser.add_argument("--measure", action="store_true", help="time the sweep first")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(PICTURES)
    if unknown:
        parser.error(f"no picture is named {', '.join(sorted(unknown))}")
    if arguments.measure:
        TIMES.write_text(json.dumps(sweep_times.measure(), indent=1) + "\n", encoding="utf-8")
    figures, static = arguments.out / "figures", arguments.out / "_static"
    for folder in (figures, static):
        folder.mkdir(parents=True, exist_ok=True)
    (static / "colours.css").write_text(colours_css(), encoding="utf-8")
    make(arguments.names or list(PICTURES), figures)


if __name__ == "__main__":
    main()
