"""Logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import get_config, linear_model
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight

from manyfit._device_answers import ClassifierAnswers, also_on_device
from manyfit._device_arrays import on_host
from manyfit._execution import backend, execution
from manyfit._labels import assert_classes
from manyfit._native import core
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._left_out import left_out_metric
from manyfit.splits import Splits

__all__ = ["LogisticRegression"]

PENALTY_DEPRECATED = (
    "'penalty' was deprecated in version 1.8 and will be removed in 1.10. To avoid this warning, leave "
    "'penalty' set to its default value and use {instead}: l1_ratio 0 for 'l2', 1 for 'l1', between "
    "0 and 1 for 'elasticnet', and C=np.inf for None."
)


# As scikit-learn's solvers of these names say it.
_OUT_OF_STEPS = {
    "sag": "The max_iter was reached which means the coef_ did not converge, after {n_iter} iterations.",
    "saga": "The max_iter was reached which means the coef_ did not converge, after {n_iter} iterations.",
    "newton-cholesky": "Newton solver did not converge after {n_iter} iterations.",
}


def check_solver(owner: str, solver: str, penalty: str | None, dual: bool) -> None:
    """Raise for a penalty that scikit-learn's solver of that name does not have."""
    if solver not in ("liblinear", "saga") and penalty not in ("l2", None):
        raise ValueError(
            f"{owner}: Solver {solver} supports only 'l2' or None penalties, got {penalty} penalty."
        )
    if solver != "liblinear" and dual:
        raise ValueError(f"{owner}: Solver {solver} supports only dual=False, got dual={dual}")
    if penalty == "elasticnet" and solver != "saga":
        raise ValueError(f"{owner}: Only 'saga' solver supports elasticnet penalty, got solver={solver}.")
    if solver == "liblinear" and penalty is None:
        raise ValueError(
            f"{owner}: C=np.inf as well as penalty=None is not supported for the liblinear solver"
        )


class LogisticRegression(ClassifierAnswers, Estimator, linear_model.LogisticRegression):  # type: ignore[misc]  # scikit-learn is untyped
    """Logistic regression, binary or multinomial, with l2, l1, elastic-net or no penalty.

    Minimises ``C * sum(loss) + (1 - l1_ratio) / 2 * ||w||^2 + l1_ratio * ||w||_1``. Fits of a population
    share every pass over `X`, Hessians and starts.

    Parameters
    ----------
    penalty : {"l1", "l2", "elasticnet", None}, default="deprecated"
        Deprecated, as in scikit-learn; use `l1_ratio` and `C`.
    C : float, default=1.0
        Inverse strength of the penalty, > 0; ``np.inf`` for none.
    l1_ratio : float, default=0.0
        Share of the l1 penalty, in [0, 1]. Other values than 0 need a `solver` that has them in
        scikit-learn ("saga"; 1 also "liblinear").
    dual : bool, default=False
        For scikit-learn's "liblinear".
    tol : float, default=1e-4
        Bound of the largest entry of the gradient of the mean loss with its penalty.
    fit_intercept : bool, default=True
        Whether to fit intercepts, which are not penalised.
    intercept_scaling : float, default=1
        For scikit-learn's "liblinear".
    class_weight : dict, "balanced" or None, default=None
        Weights of classes.
    random_state : int, RandomState instance or None, default=None
        For scikit-learn's "sag", "saga" and "liblinear", where those run.
    solver : {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}, default="lbfgs"
        "liblinear", which penalises the intercept, runs in scikit-learn; every other name gives the minimum
        by our own method.
    max_iter : int, default=100
        Most steps; their number without convergence gives a ``ConvergenceWarning``.
    verbose : int, default=0
        For scikit-learn's solvers, where those run.
    warm_start : bool, default=False
        Whether to start from the solution of the previous call.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    n_iter_ : ndarray of shape (1,)
        Steps taken.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (large sparse `X`, solver "liblinear", callbacks of a fit
        of more than 512 parameters).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from manyfit.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression().fit(X, y)
    >>> model.predict(X[:2])
    array([0, 0])
    >>> round(model.score(X, y), 3)
    0.973
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.LogisticRegression._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        penalty: Any = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            penalty,
            C=C,
            l1_ratio=l1_ratio,
            dual=dual,
            tol=tol,
            fit_intercept=fit_intercept,
            intercept_scaling=intercept_scaling,
            class_weight=class_weight,
            random_state=random_state,
            solver=solver,
            max_iter=max_iter,
            verbose=verbose,
            warm_start=warm_start,
            n_jobs=n_jobs,
        )
        self.device = device

    _devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,)
            Labels of two or more classes; None when `X` is a Dataset.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule, for data that is not finite, empty or of unequal
            length, and for labels of one class.
        """
        return self._fit_one(X, y, sample_weight)

    @also_on_device
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of rows whose class is predicted.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        return float(super().score(X, on_host(y, "y"), on_host(sample_weight, "sample_weight")))

    def _runs_here(self, dataset: Dataset) -> bool:
        here = (
            dataset.small
            and self.solver != "liblinear"
            and (not hasattr(self, "_skl_callbacks") or self._steps_are_ours(dataset))
            and not get_config()["array_api_dispatch"]
        )
        if here:
            self._settle(warn=True)
        return here

    def _steps_are_ours(self, dataset: Dataset) -> bool:
        """Whether callbacks can be shown our steps: Newton's, each of which follows from the point it starts at."""
        classes, _ = dataset.labels(self)
        outputs = 1 if len(classes) == 2 else len(classes)
        return bool(outputs * (dataset.shape(self)[1] + 1) <= core.logistic_newton_size)

    def _settle(self, warn: bool = False) -> tuple[float, float]:
        """C and the share of l1 that the parameters, deprecated ones too, stand for."""
        penalty: str | None
        if self.penalty == "deprecated":
            if self.l1_ratio is None and warn:
                warnings.warn(
                    "'l1_ratio=None' was deprecated in version 1.8 and will trigger an error in 1.10. "
                    "Use 0<=l1_ratio<=1 instead.",
                    FutureWarning,
                    stacklevel=6,
                )
            share = self.l1_ratio or 0.0
            penalty = {0.0: "l2", 1.0: "l1"}.get(share, "elasticnet")
            if np.isinf(float(self.C)):
                penalty = None
        else:
            penalty = self.penalty
            if warn:
                warnings.warn(
                    PENALTY_DEPRECATED.format(instead="'l1_ratio' or 'C' instead"),
                    FutureWarning,
                    stacklevel=6,
                )
        check_solver(type(self).__name__, self.solver, penalty, self.dual)
        if warn:
            self._warn_of_contradictions(penalty)
        if penalty == "elasticnet" and self.l1_ratio is None:
            raise ValueError(f"{type(self).__name__}: l1_ratio must be specified when penalty is elasticnet.")
        strength = np.inf if penalty is None else float(self.C)
        ratio = {"l1": 1.0, "elasticnet": float(self.l1_ratio or 0.0)}.get(penalty or "", 0.0)
        return strength, 0.0 if strength == np.inf else ratio

    def _warn_of_contradictions(self, penalty: str | None) -> None:
        if penalty != "elasticnet" and self.l1_ratio is not None and 0 < self.l1_ratio < 1:
            warnings.warn(
                f"l1_ratio parameter is only used when penalty is 'elasticnet'. Got (penalty={penalty})",
                stacklevel=7,
            )
        if (self.penalty == "l2" and self.l1_ratio != 0) or (self.penalty == "l1" and self.l1_ratio != 1):
            warnings.warn(
                f"Inconsistent values: penalty={self.penalty} with l1_ratio={self.l1_ratio}. penalty is "
                "deprecated. Please use l1_ratio only.",
                stacklevel=7,
            )
        if self.penalty is None and self.C != 1.0:
            warnings.warn("Setting penalty=None will ignore the C and l1_ratio parameters", stacklevel=7)

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        left: list[Job] = []
        classes, codes = dataset.labels(jobs[0].estimator)
        assert_classes(cls.__name__, classes)
        if len(jobs) == 1 and splits.pairs is None and hasattr(jobs[0].estimator, "_skl_callbacks"):
            from manyfit.linear_model._watched import fit_watched

            fit_watched(jobs[0].estimator, dataset)
            return left
        for folds in splits.groups:
            place = {split: i for i, split in enumerate(folds.splits)}
            members = [job for job in jobs if job.split in place]
            for fit_intercept in (True, False):
                chosen = [job for job in members if bool(job.estimator.fit_intercept) is fit_intercept]
                whole = [job for job in chosen if has_all_classes(classes, codes, splits, job.split)]
                for job in chosen:
                    if job not in whole:
                        fit_apart(job, dataset, splits)
                if whole:
                    batch = LogisticBatch(whole[0].estimator, dataset, folds, fit_intercept)
                    left.extend(_fit_batch(batch, whole, place, splits))
        return left

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> NDArray[np.float64] | None:
        """Accuracy, mean log-loss or area under the ROC curve on the left-out rows, of all models in one pass."""
        if metric == "roc_auc":
            return left_out_metric(jobs, dataset, splits, metric)
        if metric not in ("score", "accuracy", "neg_log_loss"):
            return None
        if any(job.estimator.fit_backend_ != "manyfit" for job in jobs):
            return None
        classes, codes = dataset.labels(jobs[0].estimator)
        if any(len(job.estimator.classes_) != len(classes) for job in jobs):
            return None
        of_loss = metric == "neg_log_loss"
        if of_loss:
            if dataset.dtype(jobs[0].estimator) != np.float64:
                return None  # log_loss clips probabilities at the precision of their type
            tested = [codes[splits.test_rows(split)] for split in {job.split for job in jobs}]
            if any(len(np.unique(labels)) != len(classes) for labels in tested):
                return None  # log_loss says what is wrong with that
        scores = np.empty(len(jobs))
        for folds in splits.groups:
            place = {split: i for i, split in enumerate(folds.splits)}
            members = [b for b, job in enumerate(jobs) if job.split in place]
            if members:
                batch = LogisticBatch(jobs[0].estimator, dataset, folds, True)
                models = [jobs[b].estimator for b in members]
                coef = np.stack([np.column_stack([m.coef_, m.intercept_]) for m in models])
                sums = batch.scores([place[jobs[b].split] for b in members], coef)
                with np.errstate(invalid="ignore"):  # of no rows at all
                    scores[members] = (-sums[:, 2] if of_loss else sums[:, 1]) / sums[:, 0]
        return scores

    def _start(self, outputs: int, n_features: int) -> NDArray[np.float64] | None:
        """Where to start: the previous solution with its intercepts, or None for zero."""
        if not self.warm_start or getattr(self, "coef_", None) is None:
            return None
        stored: Any = self.coef_
        coef = np.asarray(stored.todense() if issparse(stored) else stored)  # type: ignore[attr-defined]
        if coef.shape != (outputs, n_features):
            raise ValueError(
                f"{type(self).__name__}: Initialization coef is of shape {coef.shape}, expected shape "
                f"{(outputs, n_features)}"
            )
        intercept = np.broadcast_to(np.asarray(self.intercept_ if self.fit_intercept else 0.0), outputs)
        return np.column_stack([coef, intercept]).astype(np.float64)

    def _store(self, dtype: Any, classes: NDArray[Any], coef: NDArray[Any], n_iter: int) -> None:
        self.classes_ = classes.copy()
        with np.errstate(over="ignore"):
            self.coef_: Any = coef[:, :-1].astype(dtype)
            self.intercept_: Any = coef[:, -1].astype(dtype)
        self.n_iter_ = np.array([n_iter], dtype=np.int32)

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        # There n_jobs means nothing, and warns.
        n_jobs: int | None = vars(self)["n_jobs"]
        self.n_jobs = None
        try:
            # The next class in the method resolution order: names in scikit-learn may be replaced.
            super().fit(X, y, **extra)
        finally:
            self.n_jobs = n_jobs

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        coef, intercept, classes = map(np.asarray, (self.coef_, self.intercept_, self.classes_))
        outputs = 1 if len(classes) == 2 else len(classes)
        if classes.ndim != 1 or len(classes) < 2:
            raise ValueError(f"classes_ must name two classes or more, got shape {classes.shape}")
        if coef.dtype.kind != "f" or intercept.dtype.kind != "f":
            raise ValueError(f"coef_ and intercept_ must be floats, got {coef.dtype} and {intercept.dtype}")
        if coef.shape != (outputs, self.n_features_in_) or intercept.shape != (outputs,):
            raise ValueError(
                f"coef_ must have shape {(outputs, self.n_features_in_)} and intercept_ {(outputs,)}, "
                f"got {coef.shape} and {intercept.shape}"
            )


def has_all_classes(classes: NDArray[Any], codes: NDArray[np.int64], splits: Splits, split: int) -> bool:
    if splits.pairs is None:
        return True
    return bool((np.bincount(codes[splits.train_rows(split)], minlength=len(classes)) > 0).all())


def fit_apart(job: Job, dataset: Dataset, splits: Splits) -> None:
    """Fit on the rows of a split that lacks a class: a model of fewer classes."""
    rows = splits.train_rows(job.split)
    weights = dataset.weights(job.estimator)
    y = np.asarray(on_host(dataset.y)).ravel()[rows]
    groups = None if dataset.groups is None else np.asarray(dataset.groups)[rows]
    part = Dataset(dataset.matrix(job.estimator)[rows], y, None if weights is None else weights[rows], groups)
    type(job.estimator)._train_population([Job(job.estimator, 0)], part, Splits(len(y)))


class LogisticBatch:
    """The arguments of a native call that its jobs share."""

    def __init__(self, first: Any, dataset: Dataset, folds: core.Folds, fit_intercept: bool) -> None:
        self.owner = first
        self.dataset = dataset
        self.folds = folds
        self.fit_intercept = fit_intercept
        self.kernels = backend(first.device)
        self.execution = execution(first.n_jobs)
        self.classes, self.codes = dataset.labels(first)
        self.weights = dataset.weights(first)
        self._tables: list[NDArray[np.float64]] = []
        self._known: dict[Any, int] = {}

    @property
    def X(self) -> NDArray[Any]:
        """The rows on the host."""
        return self.dataset.matrix(self.owner)

    def _rows(self) -> tuple[Any, Any, Any]:
        """The rows, their codes and weights, where the kernels read them, again and again."""
        if self.kernels is core:
            return self.X, self.codes, self.weights
        X = self.dataset.resident(self.kernels, self.owner)
        weights = None if self.weights is None else self.dataset.kept(self.weights, self.kernels)
        return X, self.dataset.kept(self.codes, self.kernels), weights

    @property
    def outputs(self) -> int:
        return 1 if len(self.classes) == 2 else len(self.classes)

    def class_weight(self, setting: Any, splits: Splits, split: int) -> int:
        """Which row of the class weights stands for a setting on the rows that a split trains on."""

        def make() -> NDArray[np.float64]:
            rows = splits.train_rows(split)
            weights = None if self.weights is None else self.weights[rows]
            y = self.classes[self.codes[rows]]
            table = compute_class_weight(setting, classes=self.classes, y=y, sample_weight=weights)
            return np.asarray(table, dtype=np.float64)

        key = None if setting is None else (id(setting), split if setting == "balanced" else None)
        return self.known(key, make)

    def known(self, key: Any, make: Callable[[], NDArray[np.float64]]) -> int:
        """Which row of the class weights is known by a key; made at its first use. None stands for ones."""
        if key not in self._known:
            self._known[key] = len(self._tables)
            self._tables.append(np.ones(len(self.classes)) if key is None else make())
        return self._known[key]

    def scores(self, splits: Sequence[int], coef: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of models (jobs, outputs, features + 1), on the rows left out: (jobs, 3) sums of weights, right and loss."""
        sums: NDArray[np.float64] = self.kernels.logistic_scores(
            *self._rows(),
            self.folds,
            len(self.classes),
            splits,
            np.ascontiguousarray(coef, dtype=np.float64),
            self.execution,
        )
        return sums

    def run(self, jobs: Sequence[dict[str, Any]]) -> tuple[NDArray[np.float64], list[int], list[bool]]:
        """Coefficients with intercepts (jobs, outputs, features + 1), steps, and whether they converged."""
        lists = {name: [job[name] for job in jobs] for name in jobs[0]}
        coef, n_iter, converged, finite = self.kernels.logistic(
            *self._rows(),
            self.folds,
            len(self.classes),
            self.fit_intercept,
            np.array(self._tables),
            execution=self.execution,
            **lists,
        )
        self.dataset.passes.append("logistic regression")
        if not all(finite):
            self.dataset.assert_finite(self.owner)
        if not all(finite) or not np.isfinite(coef).all():
            size = np.abs(self.X.astype(np.float64))
            raise ValueError(
                f"{type(self.owner).__name__}: X and C must be of a scale that leaves coefficients finite; "
                f"sizes in X reach from {size[size > 0].min(initial=np.inf):.3g} to {size.max():.3g}"
            )
        return coef, n_iter, converged


def too_large(ratio: float, outputs: int, n_features: int) -> bool:
    """Whether an l1 penalty on so many coefficients is left to scikit-learn."""
    return ratio > 0 and outputs * (n_features + 1) > core.logistic_proximal_size


def warn_unconverged(solver: str, max_iter: int, n_iter: int, fits: int = 1) -> None:
    """Warn that steps ran out, of one fit or of several."""
    if n_iter < max_iter:
        text = f"{solver} failed to converge: steps gain nothing more, but the gradient is above tol."
    else:
        text = _OUT_OF_STEPS.get(solver, "{solver} failed to converge after {n_iter} iterations.")
    advice = (
        " Increase the number of iterations: max_iter. Or scale the columns of X to similar sizes, "
        "or penalise more (a smaller C)."
    )
    if fits > 1:
        advice = f" So ended {fits} fits." + advice
    warnings.warn(text.format(solver=solver, n_iter=n_iter) + advice, ConvergenceWarning, stacklevel=7)


def _fit_batch(
    batch: LogisticBatch, jobs: Sequence[Job], place: dict[int, int], splits: Splits
) -> Iterator[Job]:
    _, n_features = batch.dataset.shape(batch.owner)
    settings = []
    members = []
    for job in jobs:
        model = job.estimator
        C, ratio = model._settle()
        if too_large(ratio, batch.outputs, n_features):
            yield job
            continue
        members.append(job)
        settings.append(
            {
                "splits": place[job.split],
                "class_weight": batch.class_weight(model.class_weight, splits, job.split),
                "C": C,
                "l1_ratio": ratio,
                "tol": float(model.tol),
                "max_iter": int(model.max_iter),
                "start": model._start(batch.outputs, n_features),
            }
        )
    if not members:
        return
    coef, n_iter, converged = batch.run(settings)
    for b, job in enumerate(members):
        job.estimator._store(batch.dataset.dtype(batch.owner), batch.classes, coef[b], n_iter[b])
        if not converged[b]:
            warn_unconverged(job.estimator.solver, job.estimator.max_iter, n_iter[b])
