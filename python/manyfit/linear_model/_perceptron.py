"""The perceptron."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn import linear_model

from manyfit.base import Estimator
from manyfit.linear_model._stochastic import SGDClassifierBase

__all__ = ["Perceptron"]


class Perceptron(SGDClassifierBase, linear_model.Perceptron):  # type: ignore[misc]
    """The perceptron: a step for every row that is classified wrong.

    ``SGDClassifier(loss="perceptron", learning_rate="constant", eta0=1, penalty=None)`` under its own name, after
    Rosenblatt 1958.

    Parameters
    ----------
    penalty : {"l2", "l1", "elasticnet"} or None, default=None
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
    eta0 : float, default=1.0
        Size of a step.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    random_state : int, RandomState instance or None, default=0
        Of the shuffle and the rows held out. The order of rows is scikit-learn's for the same seed.
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
    >>> from manyfit.linear_model import Perceptron
    >>> model = Perceptron().fit([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 1])
    >>> model.predict([[0.0, 0.0], [1.0, 1.0]])
    array([0, 1])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.Perceptron._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        *,
        penalty: str | None = None,
        alpha: float = 0.0001,
        l1_ratio: float = 0.15,
        fit_intercept: bool = True,
        max_iter: int = 1000,
        tol: float | None = 1e-3,
        shuffle: bool = True,
        verbose: int = 0,
        eta0: float = 1.0,
        n_jobs: int | None = None,
        random_state: Any = 0,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        class_weight: Any = None,
        warm_start: bool = False,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            penalty=penalty,
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            max_iter=max_iter,
            tol=tol,
            shuffle=shuffle,
            verbose=verbose,
            eta0=eta0,
            n_jobs=n_jobs,
            random_state=random_state,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            class_weight=class_weight,
            warm_start=warm_start,
        )
        self.device = device
