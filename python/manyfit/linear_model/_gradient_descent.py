"""Batch gradient descent, step by step: for watching how learning goes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from sklearn.base import RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model._base import LinearClassifierMixin, LinearModel
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import column_or_1d

from manyfit._execution import backend, execution
from manyfit._labels import assert_classes
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._least_squares import LinearEstimator
from manyfit.linear_model._left_out import left_out_metric
from manyfit.splits import Splits

__all__ = ["GradientDescentClassifier", "GradientDescentRegressor"]


class _GradientDescent(Estimator):
    _devices: ClassVar[tuple[str, ...]] = ("cpu",)
    """What both share: parameters, the population and the trace."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "fit_intercept": ["boolean"],
        "trace": ["boolean"],
        "coef_init": ["array-like", None],
        "intercept_init": [Real, "array-like", None],
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        learning_rate: float = 0.1,
        *,
        max_iter: int = 1000,
        tol: float = 1e-6,
        momentum: float = 0.0,
        fit_intercept: bool = True,
        trace: bool = True,
        coef_init: Any = None,
        intercept_init: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.momentum = momentum
        self.fit_intercept = fit_intercept
        self.trace = trace
        self.coef_init = coef_init
        self.intercept_init = intercept_init
        self.device = device
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the model, one step after another.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,)
            None when `X` is a Dataset.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule and for data that is not finite, empty or of unequal length.
        """
        return self._fit_one(X, y, sample_weight)

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        raise TypeError(
            f"{type(self).__name__}: X must be dense, got a sparse matrix; use X.toarray(), or SGDRegressor "
            "or SGDClassifier, which take sparse X"
        )

    def _start(self, outputs: int, features: int, name: str, one_row: bool) -> NDArray[np.float64]:
        """`coef_init` and `intercept_init`, or zeros, as one row of (outputs * (features + 1)) numbers."""
        start = np.zeros(outputs * (features + 1))
        for parameter, place, shape in (
            ("coef_init", slice(0, outputs * features), (features,) if one_row else (outputs, features)),
            ("intercept_init", slice(outputs * features, None), (outputs,)),
        ):
            value = getattr(self, parameter)
            if value is None:
                continue
            if parameter == "intercept_init" and not self.fit_intercept:
                raise ValueError(
                    f"{name}: intercept_init must be None when fit_intercept=False, got {value!r}"
                )
            array = np.asarray(value, dtype=np.float64)
            if array.size != start[place].size or (array.ndim > 1 and array.shape[0] != outputs):
                raise ValueError(f"{name}: {parameter} must have shape {shape}, got {array.shape}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name}: {parameter} must be finite, got {value!r}")
            start[place] = array.ravel()
        return start

    @classmethod
    def _descend(
        cls,
        jobs: Sequence[Job],
        dataset: Dataset,
        splits: Splits,
        y: NDArray[Any] | None,
        codes: NDArray[np.int64] | None,
        classes: int,
    ) -> None:
        first = jobs[0].estimator
        X, weights = dataset.matrix(first), dataset.weights(first)
        dataset.assert_finite(first)
        outputs = classes if classes > 2 else 1
        for folds in splits.groups:
            place = {split: i for i, split in enumerate(folds.splits)}
            members = [job.estimator for job in jobs if job.split in place]
            if not members:
                continue
            # A pass over X for each step; what they share is counted once.
            fits = backend(first.device).gradient_descent(
                X,
                y,
                codes,
                classes,
                weights,
                folds,
                [place[job.split] for job in jobs if job.split in place],
                [float(each.learning_rate) for each in members],
                [float(each.momentum) for each in members],
                [float(each.tol) for each in members],
                [int(each.max_iter) for each in members],
                [bool(each.fit_intercept) for each in members],
                [bool(each.trace) for each in members],
                np.array([each._start(outputs, X.shape[1], cls.__name__, codes is None) for each in members]),
                execution(first.n_jobs),
            )
            for model, fit in zip(members, fits, strict=True):
                model._keep(fit, X.dtype)
            dataset.passes.extend(["gradient descent"] * (max(fit[2] for fit in fits) + 1))

    def _keep(self, fit: Any, dtype: Any) -> None:
        coef, intercept, steps, end, loss, norm, coefs, intercepts = fit
        with np.errstate(over="ignore"):
            self.coef_: Any = coef.astype(dtype)
            self.intercept_: Any = intercept.astype(dtype)
        self.n_iter_ = max(int(steps), 1)
        self.converged_ = end == "converged"
        self.diverged_ = end == "diverged"
        self.__dict__.pop("trace_", None)
        if self.trace:
            self.trace_: dict[str, NDArray[np.float64]] = {
                "loss": loss,
                "gradient_norm": norm,
                "coef": coefs,
                "intercept": intercepts,
            }
        self._shape_answer()
        if not (np.isfinite(self.coef_).all() and np.isfinite(self.intercept_).all()):
            raise ValueError(
                f"{type(self).__name__}: X and y must be of a scale that leaves coefficients finite in {dtype}"
            )
        name = type(self).__name__
        if self.diverged_:
            warnings.warn(
                f"{name}: diverged after {steps} steps: every step overshoots, and the loss grows without "
                f"bound. Lower learning_rate (now {self.learning_rate:g}), or scale the columns of X. The "
                "model holds the last weights whose loss was finite.",
                ConvergenceWarning,
                stacklevel=2,
            )
        elif not self.converged_ and self.tol > 0:
            warnings.warn(
                f"{name}: the gradient's norm is {norm[-1]:.3g} after max_iter={self.max_iter} steps, and has "
                f"not come down to tol={self.tol:g} of where it began. Increase max_iter, raise learning_rate "
                f"(now {self.learning_rate:g}), scale the columns of X, or set tol=0 for exactly max_iter steps.",
                ConvergenceWarning,
                stacklevel=2,
            )

    def _shape_answer(self) -> None:
        """Bring what was kept into the shapes that scikit-learn has."""


class GradientDescentRegressor(RegressorMixin, _GradientDescent, LinearEstimator, LinearModel):  # type: ignore[misc]
    """Least squares by plain batch gradient descent, with a trace of every step.

    Minimises the mean squared error ``sum_i w_i (x_i . c + c0 - y_i)^2 / sum_i w_i`` by
    ``c <- c - learning_rate * gradient``, from zero or from `coef_init`. It is there for teaching: the trace
    shows the way down, and what too large a step does. (:class:`LinearRegression` has the answer at once.)
    The steps of a population, such as a sweep over learning rates, share their passes over `X`.

    Parameters
    ----------
    learning_rate : float, default=0.1
        Size of a step, in gradients. Too large a one diverges.
    max_iter : int, default=1000
        Steps at most.
    tol : float, default=1e-6
        Stops when the gradient's norm is at most ``tol * max(1, norm at the start)``; 0 takes `max_iter` steps.
    momentum : float, default=0.0
        Share of the step before that is taken again, in [0, 1).
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    trace : bool, default=True
        Whether to keep the weights of every step.
    coef_init : array-like of shape (n_features,), default=None
        Where to start; None for zero.
    intercept_init : float or array-like of shape (1,), default=None
        Where to start; None for zero.
    device : "cpu", default="cpu"
        Where to compute; there is no CUDA kernel yet.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
    intercept_ : float
    n_iter_ : int
        Steps taken.
    converged_ : bool
        Whether the gradient came down to `tol`.
    diverged_ : bool
        Whether the loss grew without bound; then the model holds the last weights whose loss was finite.
    trace_ : dict of ndarray
        At the start and after each step: ``"loss"`` and ``"gradient_norm"`` of shape (steps + 1,), ``"coef"``
        of shape (steps + 1, n_features), ``"intercept"`` of shape (steps + 1,). Not set when ``trace=False``.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit".

    Examples
    --------
    >>> from manyfit.linear_model import GradientDescentRegressor
    >>> model = GradientDescentRegressor().fit([[-1.0], [0.0], [1.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(4), round(float(model.intercept_), 4)
    (array([2.]), 3.0)
    >>> model.trace_["loss"][:3].round(3)
    array([11.667,  7.763,  5.191])
    """

    _parameter_constraints = _GradientDescent._parameter_constraints

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        first = jobs[0].estimator
        y = dataset.targets(first)
        if y.ndim == 2:
            y = np.ascontiguousarray(column_or_1d(y, warn=True))
        cls._descend(jobs, dataset, splits, y, None, 0)
        return []

    def _shape_answer(self) -> None:
        self.coef_ = self.coef_[0]
        self.intercept_ = self.intercept_[0]
        if self.trace:
            self.trace_["coef"] = self.trace_["coef"][:, 0]
            self.trace_["intercept"] = self.trace_["intercept"][:, 0]

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> None:
        """Left-out rows are predicted: there is no Gram."""


class GradientDescentClassifier(LinearClassifierMixin, _GradientDescent):  # type: ignore[misc]
    """Logistic regression by plain batch gradient descent, with a trace of every step.

    Minimises the mean log loss, of two classes or (softmax) of more, without a penalty, by
    ``c <- c - learning_rate * gradient``, from zero or from `coef_init`. It is there for teaching: the trace
    shows the way down. The steps of a population, such as a sweep over learning rates, share their passes
    over `X`.

    Parameters
    ----------
    learning_rate : float, default=0.1
        Size of a step, in gradients.
    max_iter : int, default=1000
        Steps at most.
    tol : float, default=1e-6
        Stops when the gradient's norm is at most ``tol * max(1, norm at the start)``; 0 takes `max_iter` steps.
    momentum : float, default=0.0
        Share of the step before that is taken again, in [0, 1).
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    trace : bool, default=True
        Whether to keep the weights of every step.
    coef_init : array-like of the shape of `coef_`, default=None
        Where to start; None for zero.
    intercept_init : array-like of the shape of `intercept_`, default=None
        Where to start; None for zero.
    device : "cpu", default="cpu"
        Where to compute; there is no CUDA kernel yet.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    n_iter_ : int
        Steps taken.
    converged_ : bool
        Whether the gradient came down to `tol`. (Where a plane separates the classes it never does: the
        weights grow for ever.)
    diverged_ : bool
        Whether the loss grew without bound; then the model holds the last weights whose loss was finite.
    trace_ : dict of ndarray
        At the start and after each step: ``"loss"`` and ``"gradient_norm"`` of shape (steps + 1,), ``"coef"``
        and ``"intercept"`` of shape (steps + 1, ...), as `coef_` and `intercept_`. Not set when ``trace=False``.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit".

    Examples
    --------
    >>> from manyfit.linear_model import GradientDescentClassifier
    >>> X, y = [[-2.0], [-1.0], [0.5], [-0.5], [1.0], [2.0]], ["no", "no", "no", "yes", "yes", "yes"]
    >>> model = GradientDescentClassifier(learning_rate=1.0).fit(X, y)
    >>> model.predict([[-1.0], [1.0]])
    array(['no', 'yes'], dtype='<U3')
    >>> model.trace_["loss"][[0, 1, -1]].round(3)
    array([0.693, 0.557, 0.461])
    """

    _parameter_constraints = _GradientDescent._parameter_constraints

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        classes, codes = dataset.labels(jobs[0].estimator)
        together = []
        for job in jobs:
            rows = splits.train_rows(job.split)
            if splits.pairs is not None and len(np.unique(codes[rows])) < len(classes):
                cls._fit_rows(job.estimator, dataset, rows)  # a class is missing: another problem
            else:
                together.append(job)
        if together:
            assert_classes(cls.__name__, classes)
            cls._descend(together, dataset, splits, None, codes, len(classes))
            for job in together:
                job.estimator.classes_ = classes.copy()
        return []

    @classmethod
    def _fit_rows(cls, model: Any, dataset: Dataset, rows: NDArray[np.int64] | slice) -> None:
        _, codes = dataset.labels(model)
        weights = dataset.weights(model)
        part = Dataset(
            dataset.matrix(model)[rows],
            dataset.labels(model)[0][codes[rows]],
            None if weights is None else weights[rows],
        )
        cls._train_population([Job(model, 0)], part, Splits(len(part.X)))

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> NDArray[np.float64] | None:
        """Accuracy or area under the ROC curve on the left-out rows, by one matrix product for each split."""
        return left_out_metric(jobs, dataset, splits, metric)

    def decision_function(self, X: Any) -> NDArray[Any]:
        """Logits of the rows: of the second class where there are two.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        scores: NDArray[Any] = super().decision_function(X)
        return scores

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            positive = expit(scores)
            return np.column_stack([expit(-scores), positive])
        probabilities: NDArray[Any] = softmax(scores, axis=1)
        return probabilities

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.column_stack([np.zeros_like(scores), scores])
        shifted = scores - scores.max(axis=1, keepdims=True)
        logs: NDArray[Any] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return logs

    def _shape_answer(self) -> None:
        pass

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        rows = 1 if len(self.classes_) == 2 else len(self.classes_)
        if np.shape(self.coef_) != (rows, self.n_features_in_) or np.shape(self.intercept_) != (rows,):
            raise ValueError(
                f"coef_ and intercept_ must have {rows} rows of {self.n_features_in_} columns, "
                f"got shapes {np.shape(self.coef_)} and {np.shape(self.intercept_)}"
            )
