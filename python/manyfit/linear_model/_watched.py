"""Logistic regression under scikit-learn's callbacks, which are shown every step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.callback._callback_support import callback_management_context

from manyfit.dataset import Dataset
from manyfit.linear_model._logistic import LogisticBatch, warn_unconverged
from manyfit.splits import Splits

__all__ = ["fit_watched"]


def fit_watched(model: Any, dataset: Dataset) -> None:
    """Fit one step at a time.

    Each is the step that a fit of so many steps takes, as both form every Hessian anew.
    """
    with callback_management_context(model):
        _fit(model, dataset)


def _fit(model: Any, dataset: Dataset) -> None:
    batch = LogisticBatch(
        model, dataset, Splits(len(dataset.matrix(model))).groups[0], bool(model.fit_intercept)
    )
    C, ratio = model._settle()
    setting = {
        "splits": 0,
        "class_weight": batch.class_weight(model.class_weight, Splits(len(batch.X)), 0),
        "C": C,
        "l1_ratio": ratio,
        "tol": float(model.tol),
        "max_iter": 1,
    }
    start = model._start(batch.outputs, batch.X.shape[1])
    zero = np.zeros((batch.outputs, batch.X.shape[1] + 1))
    watch = _Watch(model, dataset, batch)
    coef, steps, converged = zero if start is None else start, 0, False
    watch.begin_step(coef)
    while steps < model.max_iter:
        found, n_iter, ended = batch.run([{**setting, "start": start}])
        converged = ended[0]
        if n_iter[0] == 0:
            break
        coef = start = found[0]
        steps += 1
        converged = watch.end_step(coef) or converged
        watch.begin_step(coef)
        if watch.stopped:
            break
    if steps == 0:
        watch.end_step(coef)
        watch.begin_step(coef)
    watch.end_nothing()
    model._store(batch.X.dtype, batch.classes, coef, steps)
    watch.end()
    if not converged:
        warn_unconverged(model.solver, model.max_iter, steps)


class _Watch:
    """The hooks: of the fit, of each step, and of a last one that was not taken, as scikit-learn has it."""

    def __init__(self, model: Any, dataset: Dataset, batch: LogisticBatch) -> None:
        self.model = model
        self.batch = batch
        self.stopped = False
        model.classes_ = batch.classes.copy()
        weights = dataset.sample_weight
        metadata = None if weights is None else {"sample_weight": weights}
        self.data = {"estimator": model, "X": dataset.X, "y": dataset.y, "metadata": metadata}
        self.whole = model._init_callback_context(max_subtasks=max(model.max_iter, 1) + 1)
        self.whole.call_on_fit_task_begin(**self.data)

    def _attributes(self, coef: NDArray[np.float64]) -> dict[str, Any]:
        dtype = self.batch.X.dtype
        return {"coef_": coef[:, :-1].astype(dtype), "intercept_": coef[:, -1].astype(dtype)}

    def begin_step(self, coef: NDArray[np.float64]) -> None:
        self.step = self.whole.subcontext(task_name="newton-iter")
        self.step.call_on_fit_task_begin(**self.data, reconstruction_attributes=self._attributes(coef))

    def end_step(self, coef: NDArray[np.float64]) -> bool:
        """Whether a callback wants no more."""
        attributes = self._attributes(coef)
        self.stopped = bool(self.step.call_on_fit_task_end(**self.data, reconstruction_attributes=attributes))
        return self.stopped

    def end_nothing(self) -> None:
        self.step.call_on_fit_task_end(estimator=self.model)

    def end(self) -> None:
        self.whole.call_on_fit_task_end(**self.data, reconstruction_attributes={})
