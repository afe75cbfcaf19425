"""Many fits at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.splits import Splits

__all__ = ["Population", "fit_many"]


class Population(Sequence[Any]):
    """Fitted estimators, one for each set of parameters and split.

    Parameter-major: ``population[i * n_splits + k]``, or ``population[i, k]``, was fitted with ``params[i]``
    on the rows that split ``k`` trains on.

    Attributes
    ----------
    estimators : list of estimators
    params : list of dict
        The parameters that were set on the estimator.
    splits : list of (train, test) index arrays, or None
    n_splits : int
        1 without cross-validation.
    test_scores : ndarray of shape (n_params, n_splits), or None
        The estimator's own ``score`` on the rows that each split leaves out, weighted by `sample_weight`
        where given. None without cross-validation and for estimators that have no score.
    plan : str
        What was shared.
    """

    def __init__(
        self,
        estimators: list[Any],
        params: list[dict[str, Any]],
        splits: Splits,
        test_scores: NDArray[np.float64] | None,
        plan: str,
    ) -> None:
        self.estimators = estimators
        self.params = params
        self.splits = splits.pairs
        self.n_splits = len(splits)
        self.test_scores = test_scores
        self.plan = plan

    def __len__(self) -> int:
        return len(self.estimators)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    @overload
    def __getitem__(self, index: tuple[int, int]) -> Any: ...

    def __getitem__(self, index: int | slice | tuple[int, int]) -> Any:
        if isinstance(index, tuple):
            i, k = index
            if not (-len(self.params) <= i < len(self.params) and -self.n_splits <= k < self.n_splits):
                shape = f"{len(self.params)} parameters x {self.n_splits} splits"
                raise IndexError(f"index {index} is outside {shape}")
            return self.estimators[i % len(self.params) * self.n_splits + k % self.n_splits]
        return self.estimators[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.estimators)

    def __repr__(self) -> str:
        return f"<Population: {self.plan}>"


def fit_many(
    estimator: Any,
    X: Any,
    y: Any = None,
    params: Sequence[Mapping[str, Any]] = ({},),
    cv: Any = None,
    *,
    sample_weight: Any = None,
    groups: Any = None,
    n_jobs: int | None = None,
) -> Population:
    """Fit an estimator once for each set of parameters and split, sharing the work.

    Parameters
    ----------
    estimator : estimator
        One of manyfit's shares passes over `X` and decompositions among all fits; any other scikit-learn
        estimator is cloned and fitted once for each. It is left unfitted.
    X : array-like of shape (n_samples, n_features), or Dataset
    y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
        None when `X` is a Dataset.
    params : sequence of dict, default=({},)
        Parameters to set, as in ``estimator.set_params(**params[i])``.
    cv : int, splitter or iterable of (train, test), default=None
        As in scikit-learn; None fits on all rows and scores nothing.
    sample_weight : array-like of shape (n_samples,), default=None
    groups : array-like of shape (n_samples,), default=None
        For splitters that need groups.
    n_jobs : int, default=None
        Threads (or, for other estimators, joblib workers); None leaves it to the estimator's own ``n_jobs``.

    Returns
    -------
    Population

    Raises
    ------
    ValueError
        For a parameter the estimator does not have or that breaks its rule, and for data it cannot take.

    Examples
    --------
    >>> import manyfit as mf
    >>> from manyfit.linear_model import Ridge
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> models = mf.fit_many(Ridge(), X, y, params=[{"alpha": a} for a in (0.01, 0.1, 1.0)], cv=5)
    >>> models.plan
    '15 fits, 1 pass over X (fold Gram)'
    >>> models.test_scores.mean(axis=1).round(3)
    array([0.481, 0.48 , 0.41 ])
    """
    if isinstance(X, Dataset):
        if y is not None or sample_weight is not None or groups is not None:
            raise ValueError("fit_many: y, sample_weight and groups must be None when X is a Dataset")
        dataset = X
    else:
        dataset = Dataset(X, y, sample_weight, groups)
    sets = _checked_params(params)
    n_rows = _num_samples(dataset.X)
    if cv is None:
        splits = Splits(n_rows)
    else:
        splits = Splits.from_cv(cv, n_rows, dataset.X, dataset.y, dataset.groups, estimator)
    if isinstance(estimator, Estimator):
        return _fit_shared(estimator, dataset, sets, splits, n_jobs)
    return _fit_each(estimator, dataset, sets, splits, n_jobs)


def _checked_params(params: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(params, Mapping):
        raise TypeError("fit_many: params must be a sequence of dicts, got a single dict; put it in a list")
    sets = []
    for i, entry in enumerate(params):
        if not isinstance(entry, Mapping):
            raise TypeError(f"fit_many: params[{i}] must be a dict, got {type(entry).__name__}")
        sets.append(dict(entry))
    if not sets:
        raise ValueError("fit_many: params must hold at least one dict, got none")
    return sets


def _fit_shared(
    estimator: Estimator, dataset: Dataset, sets: list[dict[str, Any]], splits: Splits, n_jobs: int | None
) -> Population:
    cls = type(estimator)
    base = clone(estimator)
    if n_jobs is not None:
        base.set_params(n_jobs=n_jobs)
    fixed = base.get_params(deep=False)
    estimators: list[Any] = []
    for entry in sets:
        if not entry.keys() <= fixed.keys():
            base.set_params(**entry)  # raises scikit-learn's error, which lists the names there are
        estimators.extend(cls(**{**fixed, **entry}) for _ in range(len(splits)))
    jobs = [Job(each, i % len(splits)) for i, each in enumerate(estimators)]
    before = len(dataset.passes)
    cls._train(jobs, dataset, splits)
    scores = _scores(cls, jobs, dataset, splits)
    plan = _plan(len(jobs), dataset.passes[before:], sum(e.fit_backend_ != "manyfit" for e in estimators))
    return Population(estimators, sets, splits, scores, plan)


def _plan(n_fits: int, passes: list[str], n_elsewhere: int) -> str:
    fits = f"{n_fits} fit{'s' if n_fits != 1 else ''}"
    if n_elsewhere == n_fits:
        return f"{fits}, one by one (scikit-learn)"
    kinds = ", ".join(dict.fromkeys(passes)) or "prepared before"
    text = f"{fits}, {len(passes)} pass{'es' if len(passes) != 1 else ''} over X ({kinds})"
    return text + (f"; {n_elsewhere} one by one (scikit-learn)" if n_elsewhere else "")


def _scores(
    cls: type[Estimator], jobs: Sequence[Job], dataset: Dataset, splits: Splits
) -> NDArray[np.float64] | None:
    if splits.pairs is None or not hasattr(cls, "score"):
        return None
    shared = cls._score_population(jobs, dataset, splits)
    if shared is None:
        shared = np.array([_score(job.estimator, dataset, splits, job.split) for job in jobs])
    return shared.reshape(-1, len(splits))


def _score(estimator: Any, dataset: Dataset, splits: Splits, split: int) -> float:
    return _score_rows(estimator, dataset.X, dataset.y, dataset.sample_weight, splits.test_rows(split))


def _score_rows(estimator: Any, X: Any, y: Any, sample_weight: Any, rows: NDArray[np.int64]) -> float:
    """The estimator's own score on some rows."""
    X, y, extra = _rows_of(X, y, sample_weight, rows)
    return float(estimator.score(X, y, **extra))


def _rows_of(
    X: Any, y: Any, sample_weight: Any, rows: NDArray[np.int64] | None
) -> tuple[Any, Any, dict[str, Any]]:
    """Some rows of the data (None: all), the weights as an argument if there are any."""
    extra = {} if sample_weight is None else {"sample_weight": sample_weight}
    if rows is None:
        return X, y, extra
    if sample_weight is not None:
        extra["sample_weight"] = np.broadcast_to(np.asarray(sample_weight), (_num_samples(X),))[rows]
    return _safe_indexing(X, rows), None if y is None else _safe_indexing(y, rows), extra


def _fit_alone(
    estimator: Any,
    entry: dict[str, Any],
    X: Any,
    y: Any,
    sample_weight: Any,
    pair: tuple[NDArray[np.int64], NDArray[np.int64]] | None,
) -> tuple[Any, float]:
    """A clone with the parameters of `entry`, fitted on the first rows of `pair` and scored on the second."""
    model = clone(estimator).set_params(**{key: clone(value, safe=False) for key, value in entry.items()})
    train_X, train_y, extra = _rows_of(X, y, sample_weight, None if pair is None else pair[0])
    model.fit(train_X, train_y, **extra)
    if pair is None or not hasattr(model, "score"):
        return model, np.nan
    return model, _score_rows(model, X, y, sample_weight, pair[1])


def _fit_each(
    estimator: Any, dataset: Dataset, sets: list[dict[str, Any]], splits: Splits, n_jobs: int | None
) -> Population:
    """Any other estimator: cloned and fitted once for each."""
    data = dataset.X, dataset.y, dataset.sample_weight
    pairs: Sequence[tuple[Any, Any] | None] = splits.pairs or [None]
    done = Parallel(n_jobs=n_jobs)(
        delayed(_fit_alone)(estimator, entry, *data, pair) for entry in sets for pair in pairs
    )
    models = [model for model, _ in done]
    scores = np.array([score for _, score in done]).reshape(-1, len(splits))
    has_scores = splits.pairs is not None and hasattr(models[0], "score")
    plan = _plan(len(models), [], len(models))
    return Population(models, sets, splits, scores if has_scores else None, plan)
