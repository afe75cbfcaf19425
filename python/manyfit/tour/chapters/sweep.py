"""A whole sweep for the price of a few fits."""

from __future__ import annotations

import numpy as np

from manyfit._page.words import count, duration, size, times
from manyfit.linear_model import Ridge
from manyfit.tour import sweep_pictures
from manyfit.tour.chapter import Chapter, Check, Measurement, Result, Table
from manyfit.tour.ridge_sweep import ALPHAS, FOLDS, OneByOne, Sweep, compare
from manyfit.tour.stage import Stage

__all__ = ["CHAPTER"]

# Largest difference of a coefficient, as a share of the model's largest one; and of a fold's R².
_SAME = 1e-8

_CODE = """\
params = [{"alpha": alpha} for alpha in np.logspace(1, 7, 50)]
folds = {"cv": GroupKFold(5), "groups": patient}
models = mf.fit_many(Ridge(), X, y, params=params, **folds)

# R² on the left-out folds, 50 x 5:
models.test_scores
best = models.test_scores.mean(axis=1).argmax()

# The model with the best penalty, fitted without the fourth fold:
models[best, 3]
"""


def _run(stage: Stage) -> Result:
    sweep = compare(stage)
    n_fits = len(ALPHAS) * FOLDS
    shape = f"{count(len(sweep.table.X))} x {sweep.table.X.shape[1]}"
    alpha = float(ALPHAS[sweep.best])
    with stage.step("The best penalty on all rows"):
        best = Ridge(alpha=alpha).fit(sweep.table.X, sweep.table.y)
    stage.keep("ridge", "Ridge, the best of the sweep", best, sweep.table.X[:2000])

    ours = sweep.others[0]
    return Result(
        headline=f"{n_fits} ridge fits on {shape}: {duration(sweep.seconds)} at once, "
        f"{duration(ours.seconds)} one by one ({times(ours.seconds / sweep.seconds)} as long)",
        text=_text(sweep, shape),
        code=_CODE,
        measurements=[
            Measurement(
                f"Ridge sweep, {len(ALPHAS)} x {FOLDS} fits on {shape}",
                sweep.seconds,
                other.how,
                other.seconds,
            )
            for other in sweep.others
        ],
        checks=[check for other in sweep.others for check in _checks(other)],
        figures=[sweep_pictures.validation_curve(sweep), sweep_pictures.time_bars(sweep)],
        tables=[_fold_table(sweep)],
    )


def _text(sweep: Sweep, shape: str) -> list[str]:
    return [
        f"Choosing the penalty of a ridge model by cross-validation takes {len(ALPHAS)} x {FOLDS} fits. A "
        "loop reads the table once for each of them. fit_many reads it once in all: "
        f"“{sweep.population.plan}”. It adds up the products of the columns fold by fold; what a fold "
        "leaves in is the total less that fold; and one eigendecomposition per fold serves every penalty. "
        "The left-out folds are scored from the same products.",
        f"The table, {shape} ({size(sweep.table.X.nbytes)}), is made from diabetes, which is too small to "
        "feel anything: its 442 patients over and over, with a little noise on every measurement but sex, "
        "spread out into squares and products. It holds no more knowledge than 442 patients have, so all "
        "copies of a patient lie in the same fold; otherwise every score would be flattered.",
        "The time at once is the median of three runs, before, between and after the others. One by one, a "
        "fold's rows are copied out once, not for every fit, and the copying is not counted. manyfit uses "
        "every thread; "
        + "; ".join(f"{other.name} one by one had {_threads(other)}" for other in sweep.others)
        + ", whichever number was faster here. A time of which only some fits were run says so and is "
        "extrapolated from their mean.",
    ]


def _threads(other: OneByOne) -> str:
    return f"{other.threads} BLAS thread{'s' if other.threads != 1 else ''}"


def _checks(other: OneByOne) -> list[Check]:
    n_fits = f"{len(other.fit_seconds)} separate fits of {other.name}"
    return [
        Check.at_most(
            f"Coefficients equal those of {n_fits} (of the largest one)", other.coef_difference, _SAME
        ),
        Check.at_most(f"R² on the left-out folds equals that of {n_fits}", other.score_difference, _SAME),
    ]


def _fold_table(sweep: Sweep) -> Table:
    scores = sweep.scores
    rows = []
    for label, i in (("weakest", 0), ("best", sweep.best), ("strongest", len(ALPHAS) - 1)):
        values = [f"{value:.3f}" for value in scores[i]]
        rows.append([f"{label}, {count(ALPHAS[i])}", *values, f"{np.mean(scores[i]):.3f}"])
    columns = ["penalty alpha", *(f"fold {k + 1}" for k in range(FOLDS)), "mean"]
    return Table("R² on the left-out patients", columns, rows)


CHAPTER = Chapter(20, "A sweep for the price of a few fits", _run)
