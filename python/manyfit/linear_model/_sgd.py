"""Linear models by stochastic gradient descent: one row after another, also as the rows come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn import linear_model
from sklearn.utils.validation import column_or_1d

from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._stochastic import SGDClassifierBase, SGDEstimator, SGDTask, fit_tasks
from manyfit.splits import Splits

__all__ = ["SGDClassifier", "SGDRegressor"]


class SGDRegressor(SGDEstimator, linear_model.SGDRegressor):  # type: ignore[misc]
    """Regression by stochastic gradient descent, or from rows as they come in.

    Minimises ``mean_i loss(y_i, x_i . c + c0) + alpha R(c)`` by a step after every row. Updates, schedules and
    the order of rows are scikit-learn's: the same seed gives its coefficients, up to rounding. The members of
    a population that take their rows in the same order take each row together. Scale the columns of `X` first.

    Parameters
    ----------
    loss : {"squared_error", "huber", "epsilon_insensitive", "squared_epsilon_insensitive"}, default="squared_error"
        The loss.
    penalty : {"l2", "l1", "elasticnet"} or None, default="l2"
        The penalty R: ``|c|^2 / 2``, ``|c|_1`` or a mixture.
    alpha : float, default=0.0001
        Strength of the penalty; also sets the rate of ``learning_rate="optimal"``.
    l1_ratio : float, default=0.15
        Share of the l1 penalty in "elasticnet".
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    max_iter : int, default=1000
        Epochs at most, of ``fit``.
    tol : float or None, default=1e-3
        ``fit`` stops after `n_iter_no_change` epochs that do not better the objective (or the score, with
        `early_stopping`) by `tol`; None takes `max_iter` epochs.
    shuffle : bool, default=True
        Whether to shuffle the rows before every epoch.
    verbose : int, default=0
        Above 0 scikit-learn's own solver runs, and reports.
    epsilon : float, default=0.1
        Of the losses "huber" and "epsilon_insensitive": up to where an error counts as small.
    random_state : int, RandomState instance or None, default=None
        Of the shuffle and the rows held out. The order of rows is scikit-learn's for the same seed.
    learning_rate : {"constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"}, default="invscaling"
        Size of the steps: `eta0`; ``1 / (alpha (t0 + t))``; ``eta0 / t ** power_t``; `eta0`, divided by 5 where there
        is no improvement; passive-aggressive, of aggressiveness `eta0`.
    eta0 : float, default=0.01
        Step at the start.
    power_t : float, default=0.25
        Exponent of "invscaling".
    early_stopping : bool, default=False
        Whether to hold out rows, and to stop when the score on them does not get better.
    validation_fraction : float, default=0.1
        Share of the rows held out.
    n_iter_no_change : int, default=5
        Epochs without improvement before it stops.
    warm_start : bool, default=False
        Whether ``fit`` begins where the last one ended.
    average : bool or int, default=False
        Whether the weights are averages over all updates, or from so many updates on.
    device : "cpu", default="cpu"
        Where to compute; there is no CUDA kernel yet.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
    intercept_ : ndarray of shape (1,)
    n_iter_ : int
        Epochs of the last ``fit``.
    t_ : float
        Updates so far, plus 1.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`, `verbose`).

    Examples
    --------
    >>> import numpy as np
    >>> from manyfit.linear_model import SGDRegressor
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> SGDRegressor(alpha=0.0, random_state=0).fit(X, 3 * X[:, 0] + 1).coef_.round(1)
    array([2.8])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.SGDRegressor._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        random_state: Any = None,
        learning_rate: str = "invscaling",
        eta0: float = 0.01,
        power_t: float = 0.25,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        average: bool | int = False,
        device: str = "cpu",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(
            loss=loss,
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            shuffle=shuffle,
            verbose=verbose,
            epsilon=epsilon,
            random_state=random_state,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            warm_start=warm_start,
            average=average,
        )
        self.device = device
        self.n_jobs = n_jobs

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        first = jobs[0].estimator
        X, y = dataset.matrix(first), _one_column(dataset.targets(first))
        tasks = []
        for job in jobs:
            rows = None if splits.pairs is None else splits.pairs[job.split][0]
            task = SGDTask(
                job.estimator, job.split, rows, len(X) if rows is None else len(rows), X.shape[1], X.dtype
            )
            job.estimator._begin(task)
            tasks.append(task)
        fit_tasks(tasks, dataset, y, None)
        for job in jobs:
            job.estimator._warn()
        return []

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from more rows: one epoch over them, which goes on where the last call ended.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For another number of columns than before, and data that is not finite.
        """
        if self.verbose or issparse(X):
            extra = {} if sample_weight is None else {"sample_weight": sample_weight}
            return self._sklearn_partial_fit(X, y, **extra)
        dataset, dtype = self._next_rows(X, y, sample_weight)
        targets = _one_column(dataset.targets(self))
        n_features = dataset.matrix(self).shape[1]
        task = SGDTask(self, 0, None, len(targets), n_features, dtype)
        task.begin(task.coef, task.intercept)
        self._resume(task)
        fit_tasks([task], dataset, targets, None, max_iter=1)
        self._learned(X, n_features)
        return self


def _one_column(y: NDArray[Any]) -> NDArray[Any]:
    return y if y.ndim == 1 else np.ascontiguousarray(column_or_1d(y, warn=True))


class SGDClassifier(SGDClassifierBase, linear_model.SGDClassifier):  # type: ignore[misc]
    """Linear classifiers by stochastic gradient descent, or from rows as they come in.

    Minimises ``mean_i loss(y_i, x_i . c + c0) + alpha R(c)`` for one class against the other (the rest, one
    after another, where there are more than two) by a step after every row. Updates, schedules and the order of
    rows are scikit-learn's: the same seed gives its coefficients, up to rounding. The members of a population
    that take their rows in the same order take each row together. Scale the columns of `X` first.

    Parameters
    ----------
    loss : {"hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron", "squared_error", "huber", \
            "epsilon_insensitive", "squared_epsilon_insensitive"}, default="hinge"
        The loss: "hinge" is a linear support vector machine, "log_loss" logistic regression.
    penalty : {"l2", "l1", "elasticnet"} or None, default="l2"
        The penalty R: ``|c|^2 / 2``, ``|c|_1`` or a mixture.
    alpha : float, default=0.0001
        Strength of the penalty; also sets the rate of ``learning_rate="optimal"``.
    l1_ratio : float, default=0.15
        Share of the l1 penalty in "elasticnet".
    fit_intercept : bool, default=True
        Whether to fit an intercept.
    max_iter : int, default=1000
        Epochs at most, of ``fit``.
    tol : float or None, default=1e-3
        ``fit`` stops after `n_iter_no_change` epochs that do not better the objective (or the score, with
        `early_stopping`) by `tol`; None takes `max_iter` epochs.
    shuffle : bool, default=True
        Whether to shuffle the rows before every epoch.
    verbose : int, default=0
        Above 0 scikit-learn's own solver runs, and reports.
    epsilon : float, default=0.1
        Of the losses "huber" and "epsilon_insensitive": up to where an error counts as small.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    random_state : int, RandomState instance or None, default=None
        Of the shuffle and the rows held out. The order of rows is scikit-learn's for the same seed.
    learning_rate : {"constant", "optimal", "invscaling", "adaptive", "pa1", "pa2"}, default="optimal"
        Size of the steps: `eta0`; ``1 / (alpha (t0 + t))``; ``eta0 / t ** power_t``; `eta0`, divided by 5 where there
        is no improvement; passive-aggressive, of aggressiveness `eta0`.
    eta0 : float, default=0.01
        Step at the start.
    power_t : float, default=0.5
        Exponent of "invscaling".
    early_stopping : bool, default=False
        Whether to hold out rows, and to stop when the score on them does not get better.
    validation_fraction : float, default=0.1
        Share of the rows held out.
    n_iter_no_change : int, default=5
        Epochs without improvement before it stops.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes.
    warm_start : bool, default=False
        Whether ``fit`` begins where the last one ended.
    average : bool or int, default=False
        Whether the weights are averages over all updates, or from so many updates on.
    device : "cpu", default="cpu"
        Where to compute; there is no CUDA kernel yet.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    n_iter_ : int
        Epochs of the last ``fit``, the most of all classes.
    t_ : float
        Updates so far, plus 1.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (sparse `X`, `verbose`).

    Examples
    --------
    >>> from manyfit.linear_model import SGDClassifier
    >>> model = SGDClassifier(random_state=0)
    >>> for X, y in (([[-1.0], [2.0]], ["no", "yes"]), ([[-2.0], [1.0]], ["no", "yes"])):
    ...     model = model.partial_fit(X, y, classes=["no", "yes"])
    >>> model.predict([[-3.0], [3.0]])
    array(['no', 'yes'], dtype='<U3')
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.SGDClassifier._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        loss: str = "hinge",
        *,
        penalty: str | None = "l2",
        alpha: float = 0.0001,
        l1_ratio: float | None = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        epsilon: float = 0.1,
        n_jobs: int | None = None,
        random_state: Any = None,
        learning_rate: str = "optimal",
        eta0: float = 0.01,
        power_t: float = 0.5,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        average: bool | int = False,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            loss=loss,
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            shuffle=shuffle,
            verbose=verbose,
            epsilon=epsilon,
            n_jobs=n_jobs,
            random_state=random_state,
            learning_rate=learning_rate,
            eta0=eta0,
            power_t=power_t,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            class_weight=class_weight,
            warm_start=warm_start,
            average=average,
        )
        self.device = device
