"""What the estimators of stochastic gradient descent share: orders of rows, jobs for the kernel, what is kept."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import _check_feature_names, _check_n_features

from manyfit._execution import backend, execution
from manyfit._labels import assert_classes
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._left_out import left_out_metric
from manyfit.splits import Splits

__all__ = ["SGDClassifierBase", "SGDEstimator", "SGDTask", "fit_tasks"]

MAX_INT = np.iinfo(np.int32).max
MAX_COUNT = np.iinfo(np.int64).max


@lru_cache(maxsize=1024)
def _class_seed(seed: int) -> int:
    """The seed of the order of rows that scikit-learn takes for one class of many."""
    random_state = np.random.RandomState(seed)
    random_state.randint(1, MAX_INT)
    return int(random_state.randint(MAX_INT))


class _Streams:
    """Orders of rows, each one made once for all jobs that take their rows in it."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, Any, int, bool]] = []
        self._places: dict[Any, int] = {}

    def place(self, split: int, rows: Any, held_out: Any, seed: int, shuffle: bool) -> int:
        key = (split, seed if shuffle else None, None if held_out is None else held_out.tobytes())
        if key not in self._places:
            self._places[key] = len(self.given)
            self.given.append((rows, held_out, seed, shuffle))
        return self._places[key]


class SGDTask:
    """One estimator's share of a call: a job for the kernel for each of its classes, and what they begin with."""

    def __init__(self, model: Any, split: int, rows: Any, n_rows: int, n_features: int, dtype: Any) -> None:
        self.model = model
        self.split = split
        self.rows = rows  # int64 array, or None for all
        self.n_rows = n_rows
        self.n_features = n_features
        self.dtype = dtype
        self.t = 1.0
        self.positives = [-1]  # codes
        self.class_weights = [(1.0, 1.0)]
        self.coef = np.zeros((1, n_features), dtype=dtype)
        self.intercept = np.zeros(1)
        self.average_coef = np.zeros((1, n_features), dtype=dtype)
        self.average_intercept = np.zeros(1)

    def set_classes(self, present: NDArray[np.int64], class_weight: NDArray[np.float64]) -> None:
        """One job for two classes, one for each of more."""
        if len(present) == 2:
            self.positives = [int(present[1])]
            self.class_weights = [(float(class_weight[1]), float(class_weight[0]))]
        else:
            self.positives = present.tolist()
            self.class_weights = [(float(weight), 1.0) for weight in class_weight]
        self.begin(np.zeros((len(self.positives), self.n_features)), np.zeros(len(self.positives)))

    def begin(self, coef: Any, intercept: Any) -> None:
        """Begin with these weights."""
        self.coef = np.array(coef, dtype=self.dtype).reshape(-1, self.n_features)
        self.intercept = np.array(intercept, dtype=np.float64).reshape(-1)
        self.average_coef = np.zeros_like(self.coef)
        self.average_intercept = np.zeros_like(self.intercept)

    def jobs(self, streams: _Streams, max_iter: int, y: Any, weights: Any) -> list[dict[str, Any]]:
        """What the kernel is told, in the order of the classes."""
        model = self.model
        seeds, held_out = self._seeds(y, weights)
        settings = {
            "loss": model.loss,
            "epsilon": float(model.epsilon),
            "penalty": str(model.penalty).lower(),
            "alpha": float(model.alpha),
            "l1_ratio": float(model._get_l1_ratio()),
            "learning_rate": model.learning_rate,
            "eta0": float(model.eta0),
            "power_t": float(model.power_t),
            "max_iter": int(max_iter),
            "tol": -np.inf if model.tol is None else float(model.tol),
            "n_iter_no_change": int(model.n_iter_no_change),
            "early_stopping": bool(model.early_stopping),
            "fit_intercept": bool(model.fit_intercept),
            "average": min(int(model.average), MAX_COUNT),
            "t": float(self.t),
        }
        return [
            {
                **settings,
                "stream": streams.place(self.split, self.rows, held_out, seeds[i], bool(model.shuffle)),
                "positive": positive,
                "positive_weight": self.class_weights[i][0],
                "negative_weight": self.class_weights[i][1],
                "coef": self.coef[i],
                "intercept": float(self.intercept[i]),
                "average_coef": self.average_coef[i] if model.average else None,
                "average_intercept": float(self.average_intercept[i]),
            }
            for i, positive in enumerate(self.positives)
        ]

    def _seeds(self, y: Any, weights: Any) -> tuple[list[int], NDArray[np.uint8] | None]:
        """Seeds of the orders of rows, and the rows held out: drawn as scikit-learn draws them."""
        model = self.model
        classifies = self.positives != [-1]
        one_job = len(self.positives) == 1
        random_state: Any = None
        if classifies and one_job:
            random_state = check_random_state(model.random_state)
            random_state.randint(1, MAX_INT)
        held_out = None
        if model.early_stopping:
            learning = np.ones(self.n_rows, dtype=bool)
            if weights is not None:
                learning = (weights if self.rows is None else weights[self.rows]) > 0
            labels = y if self.rows is None else y[self.rows]
            held_out = model._make_validation_split(labels, sample_mask=learning).astype(np.uint8)
        if random_state is None:
            random_state = check_random_state(model.random_state)
        if one_job:
            seed = int(random_state.randint(0, MAX_INT))
            if not classifies:
                random_state.randint(1, MAX_INT)
            return [seed], held_out
        drawn = random_state.randint(MAX_INT, size=len(self.positives))
        return [_class_seed(int(seed)) for seed in drawn], held_out

    def keep(self, fits: Sequence[tuple[Any, ...]]) -> None:
        """Store what the kernel found as scikit-learn shapes it."""
        model = self.model
        for _, _, _, _, epochs, overflowed in fits:
            if overflowed:
                raise ValueError(
                    f"{type(model).__name__}: Floating-point under-/overflow occurred at epoch #{epochs}. Scaling "
                    "input data with StandardScaler or MinMaxScaler might help."
                )
        coef, intercept = np.array([fit[0] for fit in fits]), np.array([fit[1] for fit in fits])
        shaped = coef[0] if self.positives == [-1] else coef
        with np.errstate(over="ignore"):
            short = intercept.astype(self.dtype)
        if not np.isfinite(short).all():
            raise ValueError(f"{type(model).__name__}: X must be of a scale that leaves the intercept finite")
        model.n_iter_ = max(int(fit[4]) for fit in fits)
        model.t_ = self.t + float(model.n_iter_) * self.n_rows
        model.coef_, model.intercept_ = shaped, short
        for name in ("_standard_coef", "_standard_intercept", "_average_coef", "_average_intercept"):
            model.__dict__.pop(name, None)
        if model.average:
            model._standard_coef, model._standard_intercept = shaped, intercept
            average = np.array([fit[2] for fit in fits])
            model._average_coef = average[0] if self.positives == [-1] else average
            model._average_intercept = np.array([fit[3] for fit in fits])
            if int(model.average) <= model.t_ - 1:
                model.coef_ = model._average_coef
                model.intercept_ = model._average_intercept.astype(self.dtype)


def fit_tasks(
    tasks: Sequence[SGDTask], dataset: Dataset, y: Any, codes: Any, max_iter: int | None = None
) -> None:
    """Run the tasks in one call of the kernel."""
    first = tasks[0].model
    X, weights = dataset.matrix(first), dataset.weights(first)
    dataset.assert_finite(first)
    X = X.astype(tasks[0].dtype, copy=False)
    if X.strides[1] != X.itemsize and X.shape[1] > 1:
        X = dataset.form("copy by rows", None, lambda: np.ascontiguousarray(X))
    streams = _Streams()
    jobs: list[dict[str, Any]] = []
    ends = []
    for task in tasks:
        limit = task.model.max_iter if max_iter is None else max_iter
        jobs.extend(task.jobs(streams, limit, y if codes is None else codes, weights))
        ends.append(len(jobs))
    fits = backend(first.device).sgd(
        X,
        None if y is None else y.astype(X.dtype, copy=False),
        codes,
        None if weights is None else weights.astype(X.dtype, copy=False),
        streams.given,
        jobs,
        execution(first.n_jobs),
    )
    longest = [0] * len(streams.given)
    for job, fit in zip(jobs, fits, strict=True):
        longest[job["stream"]] = max(longest[job["stream"]], fit[4])
    dataset.passes.extend(["stochastic gradient descent"] * sum(longest))
    begin = 0
    for task, end in zip(tasks, ends, strict=True):
        task.keep(fits[begin:end])
        begin = end


class SGDEstimator(Estimator):
    """What the estimators of stochastic gradient descent share."""

    loss: str
    tol: float | None
    max_iter: int
    power_t: float
    average: Any
    warm_start: bool
    verbose: int

    def _check(self) -> None:
        super()._check()
        self._check_together()

    def _check_together(self, for_partial_fit: bool = False) -> None:
        """Raise for parameters that contradict each other."""
        try:
            self._more_validate_params(for_partial_fit=for_partial_fit)
        except ValueError as error:
            raise ValueError(f"{type(self).__name__}: {error}") from None

    def _runs_here(self, dataset: Dataset) -> bool:
        return super()._runs_here(dataset) and not self.verbose  # scikit-learn reports as it goes

    def fit(
        self,
        X: Any,
        y: Any = None,
        coef_init: Any = None,
        intercept_init: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,)
            None when `X` is a Dataset.
        coef_init : array-like of the shape of `coef_`, default=None
            Where to start; None for zero, or for the last fit where ``warm_start=True``.
        intercept_init : array-like of the shape of `intercept_`, default=None
            Where to start; None for zero, or for the last fit where ``warm_start=True``.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule, for data that is not finite, empty or of unequal length, and
            where weights overflow.
        """
        if self.warm_start and getattr(self, "coef_", None) is not None:
            coef_init = self.coef_ if coef_init is None else coef_init
            intercept_init = self.intercept_ if intercept_init is None else intercept_init
        self._starts = (coef_init, intercept_init)
        try:
            return self._fit_one(X, y, sample_weight)
        finally:
            self.__dict__.pop("_starts", None)

    def _begin(self, task: SGDTask) -> None:
        """Begin where ``fit`` was told to."""
        coef_init, intercept_init = self.__dict__.get("_starts", (None, None))
        coef, intercept = task.coef, task.intercept
        if coef_init is not None:
            coef = np.asarray(coef_init, dtype=task.dtype)
            shapes = [task.coef.shape] + [(task.n_features,)] * (len(task.coef) == 1)
            if coef.shape not in shapes:
                raise ValueError(
                    f"{type(self).__name__}: coef_init must have shape {shapes[-1]}, got {coef.shape}: "
                    "Provided coef_init does not match dataset."
                )
        if intercept_init is not None:
            intercept = np.asarray(intercept_init, dtype=task.dtype)
            shapes = [task.intercept.shape] + [()] * (len(task.intercept) == 1)
            if intercept.shape not in shapes:
                raise ValueError(
                    f"{type(self).__name__}: intercept_init must have shape {shapes[0]}, got {intercept.shape}: "
                    "Provided intercept_init does not match dataset."
                )
        task.begin(coef, intercept)

    def _warn(self) -> None:
        """Warn as scikit-learn does after a fit."""
        if self.tol is not None and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"{type(self).__name__}: Maximum number of iteration reached before convergence. Consider "
                f"increasing max_iter to improve the fit. (max_iter={self.max_iter})",
                ConvergenceWarning,
                stacklevel=2,
            )
        if self.power_t < 0:
            warnings.warn(
                f"{type(self).__name__}: Negative values for `power_t` are deprecated in version 1.8 and will raise "
                "an error in 1.10. Use values in the range [0.0, inf) instead.",
                FutureWarning,
                stacklevel=2,
            )

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        coef_init, intercept_init = self.__dict__.get("_starts", (None, None))
        super().fit(X, y, coef_init=coef_init, intercept_init=intercept_init, **extra)
        self.__dict__.pop(
            "_loss_function_", None
        )  # a native object: scikit-learn makes it anew when it needs it

    def _sklearn_partial_fit(self, X: Any, y: Any, **extra: Any) -> Self:
        super().partial_fit(X, y, **extra)
        self.__dict__.pop("_loss_function_", None)
        self.fit_backend_ = "scikit-learn"
        return self

    def _next_rows(self, X: Any, y: Any, sample_weight: Any) -> tuple[Dataset, Any]:
        """The rows of a ``partial_fit`` call, checked against those before."""
        first_call = getattr(self, "coef_", None) is None
        if first_call:
            super()._check()
            self._check_together(for_partial_fit=True)
        dataset = Dataset(X, y, sample_weight)
        matrix = dataset.matrix(self)
        if first_call:
            return dataset, matrix.dtype
        if type(X) is not np.ndarray or "feature_names_in_" in self.__dict__:
            _check_feature_names(self, X, reset=False)
        if matrix.shape[1] != self.n_features_in_:
            _check_n_features(self, matrix, reset=False)  # raises, in scikit-learn's words
        return dataset, np.asarray(self.coef_).dtype

    def _learned(self, X: Any, n_features: int) -> None:
        """Note what a ``partial_fit`` call has learned from; one that was refused leaves nothing behind."""
        if not hasattr(self, "n_features_in_"):
            self._note_columns(X, n_features)
        self.fit_backend_ = "manyfit"

    def _resume(self, task: SGDTask) -> None:
        """Begin where the last call has ended."""
        if getattr(self, "coef_", None) is None:
            return
        task.t = float(getattr(self, "t_", 1.0))
        if self.average and getattr(self, "_standard_coef", None) is not None:
            task.begin(self._standard_coef, self._standard_intercept)
            task.average_coef = np.array(self._average_coef, task.dtype).reshape(-1, task.n_features)
            task.average_intercept = np.array(self._average_intercept, np.float64).reshape(-1)
        else:
            task.begin(self.coef_, self.intercept_)

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        coef, intercept = np.asarray(self.coef_), np.asarray(self.intercept_)
        if coef.dtype.kind != "f" or intercept.dtype.kind != "f":
            raise ValueError(f"coef_ and intercept_ must be floats, got {coef.dtype} and {intercept.dtype}")
        rows: tuple[int, ...] = ()
        if hasattr(self, "classes_"):
            rows = (1 if len(self.classes_) == 2 else len(self.classes_),)
        if coef.shape != (*rows, self.n_features_in_) or intercept.shape != (rows or (1,)):
            raise ValueError(
                f"coef_ must have shape {(*rows, self.n_features_in_)} and intercept_ {rows or (1,)}, "
                f"got {coef.shape} and {intercept.shape}"
            )
        for name, like in (
            ("_standard_coef", coef),
            ("_average_coef", coef),
            ("_standard_intercept", intercept),
            ("_average_intercept", intercept),
        ):
            if hasattr(self, name) and np.shape(getattr(self, name)) != like.shape:
                raise ValueError(f"{name} must have shape {like.shape}, got {np.shape(getattr(self, name))}")


class SGDClassifierBase(SGDEstimator):
    """What the classifiers share: one against the rest of the classes."""

    class_weight: Any

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> NDArray[np.float64] | None:
        """Accuracy or area under the ROC curve on the left-out rows, by one matrix product for each split."""
        return left_out_metric(jobs, dataset, splits, metric)

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        first = jobs[0].estimator
        classes, codes = dataset.labels(first)
        X = dataset.matrix(first)
        tasks = []
        for job in jobs:
            rows = None if splits.pairs is None else splits.pairs[job.split][0]
            own = codes if rows is None else codes[rows]
            present = np.flatnonzero(np.bincount(own, minlength=len(classes)))
            assert_classes(cls.__name__, classes[present])
            model = job.estimator
            task = SGDTask(model, job.split, rows, len(own), X.shape[1], X.dtype)
            weight = np.ones(len(present))
            if model.class_weight is not None:
                weight = compute_class_weight(model.class_weight, classes=classes[present], y=classes[own])
            task.set_classes(present, weight)
            model._begin(task)
            model.classes_ = classes[present]
            tasks.append(task)
        fit_tasks(tasks, dataset, None, codes)
        for job in jobs:
            job.estimator._warn()
        return []

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Learn from more rows: one epoch over them, which goes on where the last call ended.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Labels among `classes`; not all of them need be there.
        classes : array-like of shape (n_classes,), default=None
            All classes there will be. Needed in the first call.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For labels that are not among the classes, another number of columns than before, and data that is
            not finite.
        """
        first_call = not hasattr(self, "classes_")
        if first_call and self.class_weight == "balanced":
            raise ValueError(
                f"{type(self).__name__}: class_weight 'balanced' is not supported for partial_fit. In order to use "
                "'balanced' weights, use compute_class_weight('balanced', classes=classes, y=y). In place of y you "
                "can use a large enough sample of the full training set target to properly estimate the class "
                "frequency distributions. Pass the resulting weights as the class_weight parameter."
            )
        if self.verbose or issparse(X):
            if not first_call:
                self._assert_known(np.asarray(y), self.classes_)
            extra = {} if sample_weight is None else {"sample_weight": sample_weight}
            return self._sklearn_partial_fit(X, y, classes=classes, **extra)
        dataset, dtype = self._next_rows(X, y, sample_weight)
        known = self._all_classes(classes)
        own, places = dataset.labels(self)
        labels = own[places]
        self._assert_known(own, known)
        codes = np.searchsorted(known, labels).astype(np.int64)
        n_features = dataset.matrix(self).shape[1]
        task = SGDTask(self, 0, None, len(labels), n_features, dtype)
        weight = np.ones(len(known))
        if self.class_weight is not None:
            weight = compute_class_weight(self.class_weight, classes=known, y=labels)
        task.set_classes(np.arange(len(known)), weight)
        self._resume(task)
        fit_tasks([task], dataset, None, codes, max_iter=1)
        self.classes_: NDArray[Any] = known
        self._learned(X, n_features)
        return self

    def _all_classes(self, classes: Any) -> NDArray[Any]:
        """The classes of the first call, or those that it tells now."""
        owner = type(self).__name__
        known: NDArray[Any] | None = getattr(self, "classes_", None)
        if classes is None:
            if known is None:
                raise ValueError(f"{owner}: classes must be passed on the first call to partial_fit.")
            return known
        told: NDArray[Any] = unique_labels(classes)
        if known is not None and not np.array_equal(known, told):
            raise ValueError(
                f"{owner}: classes must stay those of the first call, {known.tolist()}, got {told.tolist()} "
                "(`classes` is not the same as on last call to partial_fit)"
            )
        assert_classes(owner, told)
        return told if known is None else known

    def _assert_known(self, labels: NDArray[Any], known: NDArray[Any]) -> None:
        """Raise for labels that are not among the classes."""
        unseen = np.setdiff1d(labels, known)
        if len(unseen):
            raise ValueError(
                f"{type(self).__name__}: y must hold labels among the classes of the first call, "
                f"{known.tolist()}, got {unseen.tolist()}"
            )
