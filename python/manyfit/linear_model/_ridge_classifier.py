"""Classifiers that regress on labels of -1 and 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import linear_model
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_consistent_length

from manyfit._device_answers import also_on_device
from manyfit._device_arrays import on_host
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._least_squares import LinearEstimator, grouped
from manyfit.linear_model._left_out import left_out_metric
from manyfit.linear_model._ridge import RidgeEstimator
from manyfit.linear_model._ridge_cv import Floats, RidgeSelection, SumScore
from manyfit.splits import Splits

__all__ = ["RidgeClassifier", "RidgeClassifierCV"]


class LabelRegression(LinearEstimator):
    """What the ridge classifiers share: labels as numbers, and the way back."""

    class_weight: Any

    # --- from labels to numbers ---

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        own = {id(job.estimator): job for job in jobs}
        left: list[Job] = []
        for part, numbers, where in _as_numbers(jobs, dataset, splits):
            left.extend(own[id(job.estimator)] for job in cls._train_numbers(part, numbers, where))
        return left

    @classmethod
    def _train_numbers(cls, jobs: Sequence[Job], numbers: Dataset, splits: Splits) -> Sequence[Job]:
        """Fit jobs on targets of -1 and 1; return those that are left to scikit-learn."""
        return super()._train_population(jobs, numbers, splits)

    @classmethod
    def _score_population(
        cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits, metric: str = "score"
    ) -> NDArray[np.float64] | None:
        """Accuracy or area under the ROC curve on the left-out rows, by one matrix product for each split."""
        return left_out_metric(jobs, dataset, splits, metric)

    # --- scikit-learn's own attribute, made of ours; while its solver runs, its own ---

    @property
    def _label_binarizer(self) -> LabelBinarizer:
        if "_their_binarizer" in self.__dict__:
            return self.__dict__["_their_binarizer"]
        if "classes_" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} is not fitted")
        binarizer = LabelBinarizer(pos_label=1, neg_label=-1)
        binarizer.classes_ = self.classes_
        binarizer.y_type_ = "multilabel-indicator" if self._multilabel else "multiclass"
        binarizer.sparse_input_ = False
        return binarizer

    @_label_binarizer.setter
    def _label_binarizer(self, binarizer: LabelBinarizer) -> None:
        self.__dict__["_their_binarizer"] = binarizer

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        try:
            super()._sklearn_fit(X, y, **extra)
            self._multilabel = self._label_binarizer.y_type_.startswith("multilabel")
        finally:
            self.__dict__.pop("_their_binarizer", None)

    # --- answers ---

    @also_on_device
    def decision_function(self, X: Any) -> Any:
        """Scores of the classes; the largest is predicted.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes, that of the second, predicted where it is > 0. An array of the kind of `X`,
            on its device, where `X` lies on one.
        """
        scores = self._combined(X)
        if scores is None:
            scores = super().decision_function(X)
        return scores

    @also_on_device
    def predict(self, X: Any) -> Any:
        """Predict classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            For multilabel `y`, ones where a label is predicted.
        """
        scores = self.decision_function(X)
        return _labels_of(scores, self.classes_, self._multilabel)

    def _check_loaded(self) -> None:
        super()._check_loaded()
        rows = 1 if np.ndim(self.coef_) == 1 else len(self.coef_)
        n_classes = len(np.asarray(self.classes_))
        if np.ndim(self.classes_) != 1 or not isinstance(self._multilabel, bool):
            raise ValueError("classes_ must be 1-dimensional")
        if not (n_classes == rows or (rows == 1 and n_classes == 2 and not self._multilabel)):
            raise ValueError(f"classes_ must belong to {rows} rows of coef_, got {n_classes} classes")


def _labels_of(scores: NDArray[Any], classes: NDArray[Any], multilabel: bool) -> NDArray[Any]:
    """What decision scores predict."""
    if multilabel:
        chosen: NDArray[Any] = (scores.reshape(len(scores), -1) > 0).astype(int)
        return chosen
    places = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
    found: NDArray[Any] = classes[places]
    return found


class _Labels:
    """The labels of a dataset: classes, and the place of each row's or which of them each row has."""

    def __init__(self, dataset: Dataset, estimator: Any) -> None:
        y: Any = on_host(dataset.y, "y")
        self.multilabel = False
        sparse: bool = issparse(y)
        shape = y.shape if sparse else np.asarray(y).shape
        if y is not None and len(shape) == 2 and shape[1] > 1:
            kind = type_of_target(y, input_name="y")
            if kind != "multilabel-indicator":
                raise ValueError(
                    f"{type(estimator).__name__}: y must be labels of shape (n_samples,) or an indicator of "
                    f"several labels, got {kind} (Multioutput target data is not supported with label "
                    "binarization)"
                )
            table = np.asarray(y.toarray() if sparse else y)
            check_consistent_length(dataset.X, table)
            self.multilabel = True
            self.classes, self.codes = np.arange(table.shape[1]), table
        else:
            self.classes, self.codes = dataset.labels(estimator)
        self.given = self.codes if self.multilabel else self.classes[self.codes]

    def present(self, rows: Any) -> NDArray[np.int64]:
        """Places of the classes that some rows have."""
        if self.multilabel:
            return np.arange(len(self.classes))
        found = np.zeros(len(self.classes), dtype=bool)
        found[self.codes[rows]] = True
        return np.flatnonzero(found)

    def numbers(self, present: NDArray[np.int64], dtype: Any) -> NDArray[Any]:
        """1 where a row has a class and -1 elsewhere, a column for each class present; one for two classes."""
        if self.multilabel:
            return np.array([-1, 1], dtype=dtype).take((self.codes > 0).astype(np.intp))
        columns = present[1:] if len(present) == 2 else present
        if len(present) == 1:
            columns = np.array([-1])  # that none has
        every = np.arange(len(self.classes))[:, None]
        # A table first: NumPy's larger comparisons do not survive a lack of memory.
        return np.where(every == columns, 1, -1).astype(dtype).take(self.codes, axis=0)

    def weights(self, class_weight: Any, rows: Any, base: NDArray[Any] | None, dtype: Any) -> NDArray[Any]:
        """Weights of the rows times those of their classes among them; of other rows, as they are."""
        weights = np.ones(len(self.codes), dtype=dtype) if base is None else base.copy()
        weights[rows] *= compute_sample_weight(class_weight, self.given[rows]).astype(dtype)
        return weights


def _as_numbers(
    jobs: Sequence[Job], dataset: Dataset, splits: Splits
) -> Iterator[tuple[list[Job], Dataset, Splits]]:
    """Jobs that regress on the same numbers with the same weights, the dataset of these, and their splits.

    Splits share it whose rows have all classes, unless weights are balanced, which is for each split apart.
    """
    owner = jobs[0].estimator
    labels = _Labels(dataset, owner)
    dtype, base = dataset.dtype(owner), dataset.weights(owner)
    present = {split: labels.present(splits.train_rows(split)) for split in {job.split for job in jobs}}
    parts: dict[tuple[str, int | None], list[Job]] = {}
    for job in jobs:
        weight = job.estimator.class_weight
        whole = len(present[job.split]) == len(labels.classes) and (not weight or isinstance(weight, dict))
        alone = None if whole or splits.pairs is None else job.split
        parts.setdefault((repr(weight) if weight else "", alone), []).append(job)
    for (name, alone), members in parts.items():
        weight, split = members[0].estimator.class_weight, members[0].split
        classes = present[split]
        rows: Any = (
            splits.train_rows(split) if alone is not None or not isinstance(weight, dict) else slice(None)
        )

        def make(weight: Any = weight, classes: Any = classes, rows: Any = rows) -> tuple[Any, Any]:
            weights = dataset.sample_weight if base is None else base
            if weight:
                weights = labels.weights(weight, rows, base, dtype)
            return labels.numbers(classes, dtype), weights

        for job in members:
            job.estimator.classes_ = labels.classes[classes]
            job.estimator._multilabel = labels.multilabel
        if alone is None:
            yield members, dataset.variant(("numbers", name), make), splits
        else:
            assert splits.pairs is not None
            single = Splits(splits.n_rows, [splits.pairs[alone]])
            numbers = Dataset(dataset.X, *make())
            numbers._share(dataset)
            yield [Job(job.estimator, 0) for job in members], numbers, single


class RidgeClassifier(LabelRegression, RidgeEstimator, linear_model.RidgeClassifier):  # type: ignore[misc]
    """Classifier that fits ridge regression to labels of -1 and 1.

    Two classes are one regression, several are one for each class, and the largest prediction wins. Penalties
    and splits of a population share the pass over `X`.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty, >= 0.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    copy_X : bool, default=True
        Accepted for compatibility: `X` is never changed.
    max_iter : int, default=None
        For scikit-learn's own iterative solvers, on sparse `X`.
    tol : float, default=1e-4
        For scikit-learn's own iterative solvers, on sparse `X`.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes; "balanced" gives each class the same total.
    solver : {"auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs"}, default="auto"
        Every name gives the exact solution on dense `X`. On sparse `X`, scikit-learn's solver of that name
        runs.
    positive : bool, default=False
        Whether to require coefficients >= 0.
    random_state : int, RandomState instance or None, default=None
        For scikit-learn's "sag" and "saga", on sparse `X`.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_features,) or (n_classes, n_features)
        One row for two classes.
    intercept_ : float or ndarray of shape (1,) or (n_classes,)
    n_iter_ : None or ndarray of shape (n_classes,)
        None where an exact solver ran.
    solver_ : str
        Name of the solver asked for, "auto" resolved.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`).

    Examples
    --------
    >>> from manyfit.linear_model import RidgeClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=False)
    >>> model = RidgeClassifier().fit(X, y)
    >>> model.predict(X[[0, 60, 120]])
    array([0, 1, 2])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.RidgeClassifier._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int | None = None,
        tol: float = 1e-4,
        class_weight: Any = None,
        solver: str = "auto",
        positive: bool = False,
        random_state: Any = None,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            fit_intercept=fit_intercept,
            copy_X=copy_X,
            max_iter=max_iter,
            tol=tol,
            class_weight=class_weight,
            solver=solver,
            positive=positive,
            random_state=random_state,
        )
        self.device = device
        self.n_jobs = n_jobs


class _LeftOut:
    """What a scorer takes for a fitted classifier: its `X` are decision scores of rows that were left out."""

    _estimator_type = "classifier"

    def __init__(self, classes: NDArray[Any], multilabel: bool) -> None:
        self.classes_ = classes
        self.multilabel = multilabel

    def __sklearn_tags__(self) -> Any:
        return linear_model.RidgeClassifier().__sklearn_tags__()

    def decision_function(self, scores: NDArray[Any]) -> NDArray[Any]:
        return scores[:, 0] if scores.shape[1] == 1 and not self.multilabel else scores

    def predict(self, scores: NDArray[Any]) -> NDArray[Any]:
        return _labels_of(self.decision_function(scores), self.classes_, self.multilabel)


class RidgeClassifierCV(LabelRegression, RidgeSelection, linear_model.RidgeClassifierCV):  # type: ignore[misc]
    """Ridge classifier that chooses its penalty by cross-validation.

    As :class:`RidgeCV`, on labels of -1 and 1: with ``cv=None`` every row is left out once, without a fit for
    any of them; with folds, all fits share one pass over `X`.

    Parameters
    ----------
    alphas : array-like of shape (n_alphas,) or float, default=(0.1, 1.0, 10.0)
        Penalties to choose from, > 0; with `cv` also 0.
    fit_intercept : bool, default=True
        Whether to fit an intercept, which is not penalised.
    scoring : str, callable or None, default=None
        What the choice goes by: a scorer's name or ``scorer(estimator, X, y)``. None is the mean squared error
        of rows left out, and the accuracy on folds. With ``cv=None`` a scorer is handed the decision scores
        of the rows left out, all at once.
    cv : int, splitter, iterable of (train, test) or None, default=None
        None leaves out one row at a time.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, in the fits and in the scores; "balanced" gives each class the same total.
    store_cv_results : bool, default=False
        Whether to keep `cv_results_`; for ``cv=None`` only.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    alpha_ : float
        The penalty chosen.
    best_score_ : float
        Its score. Without `scoring` and `cv`, the mean squared error of rows left out, negative.
    cv_results_ : ndarray of shape (n_samples, n_targets, n_alphas)
        Only with ``store_cv_results=True``: weighted squared errors of each row left out; with
        `scoring`, its decision scores.
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (n_features,) or (n_classes, n_features)
        One row for two classes.
    intercept_ : float or ndarray of shape (1,) or (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`, metadata routing).

    Examples
    --------
    >>> from manyfit.linear_model import RidgeClassifierCV
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = RidgeClassifierCV(alphas=[0.01, 0.1, 1.0, 10.0]).fit(X, y)
    >>> model.alpha_, round(model.score(X, y), 2)
    (1.0, 0.85)
    """

    _member: ClassVar[type[LinearEstimator]] = RidgeClassifier
    _sum_scores: ClassVar[dict[str | None, SumScore]] = {}  # accuracy is no sum of squares

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.RidgeClassifierCV._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        alphas: Any = (0.1, 1.0, 10.0),
        *,
        fit_intercept: bool = True,
        scoring: Any = None,
        cv: Any = None,
        class_weight: Any = None,
        store_cv_results: bool = False,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            alphas=alphas,
            fit_intercept=fit_intercept,
            scoring=scoring,
            cv=cv,
            class_weight=class_weight,
            store_cv_results=store_cv_results,
        )
        self.device = device
        self.n_jobs = n_jobs

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        left: list[Job] = []
        by_rows = [job for job in jobs if job.estimator.cv is None]
        if by_rows:
            left.extend(super()._train_population(by_rows, dataset, splits))
        by_folds = [job for job in jobs if job.estimator.cv is not None]
        for part, weighted, where in _with_class_weights(by_folds, dataset, splits):
            cls._choose_by_folds(part, weighted, where)
        return left

    @classmethod
    def _train_numbers(cls, jobs: Sequence[Job], numbers: Dataset, splits: Splits) -> Sequence[Job]:
        left: list[Job] = []
        for group in grouped(jobs, numbers, splits):
            solved = cls._choose_by_rows(group, splits)
            left.extend(job for job, ok in zip(group.jobs, solved, strict=True) if not ok)
        return left

    def _row_scorer(self, truth: Floats, weights: Floats | None) -> Callable[..., float]:
        scorer = self._get_scorer()
        extra = {} if weights is None else {"sample_weight": weights}
        identity = _LeftOut(self.classes_, self._multilabel)
        wanted = identity.predict(truth)

        def score(predictions: Floats, target: int | None = None) -> float:
            value: float = scorer(identity, predictions, wanted, **extra)
            return value

        return score

    def _take(self, member: Any) -> None:
        super()._take(member)
        self.classes_, self._multilabel = member.classes_, member._multilabel


def _with_class_weights(
    jobs: Sequence[Job], dataset: Dataset, splits: Splits
) -> Iterator[tuple[list[Job], Dataset, Splits]]:
    """Jobs with the same class weights, and the data so weighted; balanced ones for each split apart."""
    if not jobs:
        return
    parts: dict[tuple[str, int | None], list[Job]] = {}
    for job in jobs:
        weight = job.estimator.class_weight
        alone = job.split if weight and not isinstance(weight, dict) and splits.pairs is not None else None
        parts.setdefault((repr(weight) if weight else "", alone), []).append(job)
    owner = jobs[0].estimator
    labels = _Labels(dataset, owner)
    dtype, base = dataset.dtype(owner), dataset.weights(owner)
    for (name, alone), members in parts.items():
        weight = members[0].estimator.class_weight
        rows: Any = slice(None) if alone is None else splits.train_rows(alone)

        def make(weight: Any = weight, rows: Any = rows) -> tuple[Any, Any]:
            return dataset.y, labels.weights(weight, rows, base, dtype)

        if not weight:
            yield members, dataset, splits
        elif alone is None:
            yield members, dataset.variant(("weights", name), make), splits
        else:
            weighted = Dataset(dataset.X, *make(), dataset.groups)
            weighted._share(dataset)
            yield members, weighted, splits
