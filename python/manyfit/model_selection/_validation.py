"""Cross-validation with scikit-learn's functions, whose fits share work.

What cannot be shared runs scikit-learn's own function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import _validation as theirs
from sklearn.model_selection import check_cv
from sklearn.model_selection._validation import (
    _aggregate_score_dicts,
    _check_is_permutation,
    _enforce_prediction_order,
    _insert_error_scores,
    _normalize_score_results,
    _translate_train_sizes,
    _warn_or_raise_about_fit_failures,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, indexable
from sklearn.utils._param_validation import validate_params
from sklearn.utils.metadata_routing import _routing_enabled
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _num_samples

from manyfit._device_arrays import held
from manyfit.base import Job
from manyfit.dataset import Dataset
from manyfit.model_selection._evaluator import Evaluation, Evaluator
from manyfit.model_selection._population import is_ours
from manyfit.splits import Splits

__all__ = ["cross_val_predict", "cross_val_score", "cross_validate", "learning_curve", "validation_curve"]

Function = TypeVar("Function", bound=Callable[..., Any])


def _shares(estimator: Any) -> bool:
    """Whether fits of an estimator may share work, and nothing watches or routes them one by one."""
    last = estimator.steps[-1][1] if type(estimator) is Pipeline and estimator.steps else estimator
    return is_ours(last) and not _routing_enabled() and not hasattr(estimator, "_skl_callbacks")


def _instead_of(theirs: Callable[..., Any]) -> Callable[[Function], Function]:
    """A function that checks its arguments by scikit-learn's rules, and is scikit-learn's where nothing is shared."""
    check = validate_params(theirs._skl_parameter_constraints, prefer_skip_nested_validation=False)  # type: ignore[attr-defined]  # set by its decorator

    def decorate(ours: Function) -> Function:
        checked = check(ours)

        @wraps(ours)
        def call(estimator: Any, *args: Any, **options: Any) -> Any:
            args = tuple(held(each, name) for each, name in zip(args, ("X", "y"), strict=False)) + args[2:]
            for name in options.keys() & {"X", "y", "groups"}:
                options[name] = held(options[name], name)
            return (checked if _shares(estimator) else theirs)(estimator, *args, **options)

        return cast("Function", call)

    return decorate


@_instead_of(theirs.cross_validate)
def cross_validate(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: Mapping[str, Any] | None = None,
    pre_dispatch: Any = "2*n_jobs",
    return_train_score: bool = False,
    return_estimator: bool = False,
    return_indices: bool = False,
    error_score: Any = np.nan,
) -> dict[str, Any]:
    """Evaluate metrics by cross-validation and record fit and score times.

    Splits of an estimator of manyfit are fitted as one population.

    Parameters
    ----------
    estimator : estimator
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
    groups : array-like of shape (n_samples,), default=None
        For splitters that need groups.
    scoring : str, callable, list, tuple or dict, default=None
        As in scikit-learn; None takes the estimator's own score.
    cv : int, splitter or iterable of (train, test), default=None
    n_jobs : int, default=None
        Threads of a population, processes for other estimators.
    verbose : int, default=0
    params : dict, default=None
        Further arguments of ``fit``; arrays of one value for each sample are cut with the splits.
    pre_dispatch : int or str, default="2*n_jobs"
    return_train_score, return_estimator, return_indices : bool, default=False
        What the answer holds besides.
    error_score : "raise" or float, default=nan
        The score of a fit that failed.

    Returns
    -------
    dict of ndarray of shape (n_splits,)
        "fit_time", "score_time", "test_score" (or "test_<metric>") and what was asked for besides.

    Raises
    ------
    ValueError
        When all fits fail, and for arguments that break scikit-learn's rules.

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import cross_validate
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> cross_validate(Ridge(), X, y, cv=3)["test_score"].round(3)
    array([0.37 , 0.418, 0.44 ])
    """
    X, y = indexable(X, y)
    scorer = check_scoring(estimator, scoring=scoring, raise_exc=error_score == "raise")
    splits = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups))
    evaluations = _evaluate(
        estimator,
        X,
        y,
        splits,
        scorer,
        error_score,
        params=params,
        n_jobs=n_jobs,
        pre_dispatch=pre_dispatch,
        verbose=verbose,
        return_train_score=return_train_score,
        return_estimator=return_estimator,
    )
    _warn_or_raise_about_fit_failures(evaluations, error_score)
    if callable(scoring):
        _insert_error_scores(evaluations, error_score)
    found = _aggregate_score_dicts(evaluations)
    answer = {name: found[name] for name in ("fit_time", "score_time", "estimator") if name in found}
    if return_indices:
        train, test = zip(*splits, strict=True)
        answer["indices"] = {"train": train, "test": test}
    test_scores = _normalize_score_results(found["test_scores"])
    train_scores = _normalize_score_results(found["train_scores"]) if return_train_score else {}
    for name, scores in test_scores.items():
        answer[f"test_{name}"] = scores
        if name in train_scores:
            answer[f"train_{name}"] = train_scores[name]
    return answer


def _evaluate(
    estimator: Any,
    X: Any,
    y: Any,
    splits: Sequence[tuple[Any, Any]],
    scorer: Any,
    error_score: Any,
    params: Mapping[str, Any] | None,
    candidates: Sequence[Mapping[str, Any]] = ({},),
    **options: Any,
) -> list[Evaluation]:
    """Evaluations of every candidate on every split, by split."""
    if not splits:
        raise ValueError("cv must give at least one split, got none")
    evaluator = Evaluator(
        clone(estimator), X, y, splits, scorer, fit_params=params, error_score=error_score, **options
    )
    rows = evaluator.evaluate(candidates)
    return [row[k] for k in range(len(splits)) for row in rows]


@_instead_of(theirs.cross_val_score)
def cross_val_score(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: Mapping[str, Any] | None = None,
    pre_dispatch: Any = "2*n_jobs",
    error_score: Any = np.nan,
) -> NDArray[np.float64]:
    """Evaluate one score by cross-validation.

    Parameters
    ----------
    estimator, X, y, groups, scoring, cv, n_jobs, verbose, params, pre_dispatch, error_score
        As of :func:`cross_validate`, but `scoring` names a single metric.

    Returns
    -------
    ndarray of shape (n_splits,)

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import cross_val_score
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> cross_val_score(Ridge(), X, y, cv=3).round(3)
    array([0.37 , 0.418, 0.44 ])
    """
    scorer = check_scoring(estimator, scoring=scoring)
    found: NDArray[np.float64] = cross_validate(
        estimator,
        X,
        y,
        groups=groups,
        scoring={"score": scorer},
        cv=cv,
        n_jobs=n_jobs,
        verbose=verbose,
        params=params,
        pre_dispatch=pre_dispatch,
        error_score=error_score,
    )["test_score"]
    return found


@_instead_of(theirs.cross_val_predict)
def cross_val_predict(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    cv: Any = None,
    n_jobs: int | None = None,
    verbose: int = 0,
    params: Mapping[str, Any] | None = None,
    pre_dispatch: Any = "2*n_jobs",
    method: str = "predict",
) -> Any:
    """Predict every sample by a model that was fitted without it.

    Parameters
    ----------
    estimator, X, y, groups, cv, n_jobs, verbose, params, pre_dispatch
        As of :func:`cross_validate`; `cv` must leave every sample out exactly once.
    method : {"predict", "predict_proba", "predict_log_proba", "decision_function"}, default="predict"

    Returns
    -------
    ndarray of shape (n_samples,), (n_samples, n_classes) or (n_samples, n_outputs)

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import cross_val_predict
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> cross_val_predict(Ridge(), X, y, cv=3)[:3].round(1)
    array([178.5,  95.1, 165.6])
    """
    if (
        not is_ours(estimator)
        or set(params or {}) - {"sample_weight"}
        or (np.ndim(y) != 1 and method != "predict")
    ):
        return theirs.cross_val_predict(
            estimator,
            X,
            y,
            groups=groups,
            cv=cv,
            n_jobs=n_jobs,
            verbose=verbose,
            params=params,
            pre_dispatch=pre_dispatch,
            method=method,
        )
    X, y = indexable(X, y)
    splits = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups))
    left_out = np.concatenate([test for _, test in splits])
    if not _check_is_permutation(left_out, _num_samples(X)):
        raise ValueError("cross_val_predict only works for partitions")
    encode = y is not None and method != "predict"
    if encode:
        y = np.unique(np.asarray(y), return_inverse=True)[1]
    model = clone(estimator)
    if n_jobs is not None and model.n_jobs is None:
        model.set_params(n_jobs=n_jobs)
    jobs = [Job(clone(model), split) for split in range(len(splits))]
    weights = (params or {}).get("sample_weight")
    type(model)._train(jobs, Dataset(X, y, weights), Splits(_num_samples(X), splits))
    answers = []
    for job, (train, test) in zip(jobs, splits, strict=True):
        rows, _ = _safe_split(job.estimator, X, y, test, train)
        answer = getattr(job.estimator, method)(rows)
        if encode:
            answer = _enforce_prediction_order(job.estimator.classes_, answer, len(np.unique(y)), method)
        answers.append(answer)
    place = np.empty(len(left_out), dtype=int)
    place[left_out] = np.arange(len(left_out))
    return np.concatenate(answers)[place]


@_instead_of(theirs.validation_curve)
def validation_curve(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    param_name: str,
    param_range: Iterable[Any],
    groups: Any = None,
    cv: Any = None,
    scoring: Any = None,
    n_jobs: int | None = None,
    pre_dispatch: Any = "all",
    verbose: int = 0,
    error_score: Any = np.nan,
    params: Mapping[str, Any] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Train and test scores for varying values of one parameter.

    Parameters
    ----------
    estimator, X, y, groups, scoring, cv, n_jobs, verbose, params, pre_dispatch, error_score
        As of :func:`cross_validate`, but `scoring` names a single metric.
    param_name : str
    param_range : array-like of shape (n_values,)

    Returns
    -------
    train_scores, test_scores : ndarray of shape (n_values, n_splits)

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import validation_curve
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> train, test = validation_curve(Ridge(), X, y, param_name="alpha", param_range=[0.1, 1.0], cv=3)
    >>> test.mean(axis=1).round(3)
    array([0.489, 0.409])
    """
    X, y, groups = indexable(X, y, groups)
    splits = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups))
    scorer = check_scoring(estimator, scoring=scoring)
    candidates = [{param_name: value} for value in param_range]
    found = _aggregate_score_dicts(
        _evaluate(
            estimator,
            X,
            y,
            splits,
            scorer,
            error_score,
            candidates=candidates,
            return_train_score=True,
            params=params,
            n_jobs=n_jobs,
            pre_dispatch=pre_dispatch,
            verbose=verbose,
        )
    )
    shape = len(splits), len(candidates)
    return found["train_scores"].reshape(shape).T, found["test_scores"].reshape(shape).T


@_instead_of(theirs.learning_curve)
def learning_curve(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    train_sizes: Any = np.linspace(0.1, 1.0, 5),  # noqa: B008  # scikit-learn's default; never written to
    cv: Any = None,
    scoring: Any = None,
    exploit_incremental_learning: bool = False,
    n_jobs: int | None = None,
    pre_dispatch: Any = "all",
    verbose: int = 0,
    shuffle: bool = False,
    random_state: Any = None,
    error_score: Any = np.nan,
    return_times: bool = False,
    params: Mapping[str, Any] | None = None,
) -> tuple[NDArray[Any], ...]:
    """Train and test scores for growing numbers of training rows.

    Parameters
    ----------
    estimator, X, y, groups, scoring, cv, n_jobs, verbose, params, pre_dispatch, error_score
        As of :func:`cross_validate`, but `scoring` names a single metric.
    train_sizes : array-like of shape (n_ticks,), default=np.linspace(0.1, 1.0, 5)
        Numbers of rows, or shares of the largest training set.
    exploit_incremental_learning : bool, default=False
        Whether to go from one size to the next by ``partial_fit``.
    shuffle : bool, default=False
        Whether to shuffle the training rows before some are taken.
    random_state : int, RandomState instance or None, default=None
        For `shuffle`.
    return_times : bool, default=False

    Returns
    -------
    train_sizes_abs : ndarray of shape (n_ticks,)
    train_scores, test_scores : ndarray of shape (n_ticks, n_splits)
    fit_times, score_times : ndarray of shape (n_ticks, n_splits)
        With ``return_times=True``.

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import learning_curve
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> sizes, train, test = learning_curve(Ridge(), X, y, cv=3, train_sizes=[50, 100, 294])
    >>> sizes
    array([ 50, 100, 294])
    >>> test.mean(axis=1).round(3)
    array([0.166, 0.211, 0.409])
    """
    if exploit_incremental_learning:
        steps: tuple[NDArray[Any], ...] = theirs.learning_curve(
            estimator,
            X,
            y,
            groups=groups,
            train_sizes=train_sizes,
            cv=cv,
            scoring=scoring,
            exploit_incremental_learning=True,
            n_jobs=n_jobs,
            pre_dispatch=pre_dispatch,
            verbose=verbose,
            shuffle=shuffle,
            random_state=random_state,
            error_score=error_score,
            return_times=return_times,
            params=params,
        )
        return steps
    X, y, groups = indexable(X, y, groups)
    pairs = list(check_cv(cv, y, classifier=is_classifier(estimator)).split(X, y, groups))
    sizes = _translate_train_sizes(train_sizes, len(pairs[0][0]))
    if verbose > 0:
        print(f"[learning_curve] Training set sizes: {sizes}")
    if shuffle:
        random = check_random_state(random_state)
        pairs = [(random.permutation(train), test) for train, test in pairs]
    splits = [(train[:size], test) for train, test in pairs for size in sizes]
    scorer = check_scoring(estimator, scoring=scoring)
    evaluations = _evaluate(
        estimator,
        X,
        y,
        splits,
        scorer,
        error_score,
        params=params,
        n_jobs=n_jobs,
        pre_dispatch=pre_dispatch,
        verbose=verbose,
        return_train_score=True,
    )
    _warn_or_raise_about_fit_failures(evaluations, error_score)
    found = _aggregate_score_dicts(evaluations)
    names = ["train_scores", "test_scores", *(["fit_time", "score_time"] if return_times else [])]
    return sizes, *(found[name].reshape(-1, len(sizes)).T for name in names)
