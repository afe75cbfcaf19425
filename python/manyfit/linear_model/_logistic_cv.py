"""Logistic regression that chooses its penalty by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config, linear_model
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled

from manyfit._device_answers import ClassifierAnswers
from manyfit._device_arrays import on_host
from manyfit._labels import assert_classes
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._logistic import (
    PENALTY_DEPRECATED,
    check_solver,
    fit_apart,
    has_all_classes,
    too_large,
)
from manyfit.linear_model._logistic_search import Grid, Search
from manyfit.splits import Splits

__all__ = ["LogisticRegressionCV"]

Floats = NDArray[np.float64]

_RATIOS_WARN = (
    "The default value for l1_ratios will change from None to (0.0,) in scikit-learn 1.10, which forbids None; "
    "l1_ratios=(0,) says the same without this warning."
)
_RATIOS_NONE = (
    "'l1_ratios=None' was deprecated in version 1.8 and will trigger an error in 1.10; use an array-like of "
    "numbers in [0, 1] instead, (0,) for 'l2'."
)
_SCORING_WARN = (
    "The default value of the parameter 'scoring' will change from None, i.e. accuracy, to 'neg_log_loss' in "
    "scikit-learn 1.11; scoring='neg_log_loss' or scoring='accuracy' says which without this warning."
)
_LEGACY_WARN = (
    "The default value of use_legacy_attributes will change from True to False in scikit-learn 1.10, where the "
    "fitted attributes of {name} are simpler; False has them so now, True keeps them without this warning."
)


class LogisticRegressionCV(ClassifierAnswers, Estimator, linear_model.LogisticRegressionCV):  # type: ignore[misc]  # scikit-learn is untyped
    """Logistic regression that chooses `C` and `l1_ratio` by cross-validation.

    All fits, of every `C`, `l1_ratio` and fold, are a population: they share the passes over `X`, Hessians and
    starts. Accuracy and log-loss of the left-out rows come from one more pass.

    Parameters
    ----------
    Cs : int or array-like of float, default=10
        Inverse strengths of the penalty to try, > 0 (``np.inf`` for none), or how many, from 1e-4 to 1e4.
    l1_ratios : array-like of float or None, default=None
        Shares of the l1 penalty to try, in [0, 1]. Others than 0 need a `solver` that has them in scikit-learn.
        The default warns, as in scikit-learn; ``(0,)`` means the same.
    fit_intercept : bool, default=True
        Whether to fit intercepts, which are not penalised.
    cv : int, splitter, iterable of (train, test) or None, default=None
        None for 5 stratified folds.
    dual : bool, default=False
        For scikit-learn's "liblinear".
    penalty : {"l1", "l2", "elasticnet"}, default="deprecated"
        Deprecated, as in scikit-learn; use `l1_ratios`.
    scoring : str, callable or None, default=None
        What the choice goes by: a scorer's name or ``scorer(estimator, X, y)``; None is the accuracy. The
        default warns, as in scikit-learn.
    solver : {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}, default="lbfgs"
        "liblinear", which penalises the intercept, runs in scikit-learn; every other name gives the minimum
        by our own method.
    tol : float, default=1e-4
        Bound of the largest entry of the gradient of the mean loss with its penalty.
    max_iter : int, default=100
        Most steps of each fit.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the fits; balanced over all rows that are fitted.
    n_jobs : int, default=None
        Threads; None or -1 for every CPU this process may use. The result has the same bits for any.
    verbose : int, default=0
        For scikit-learn's solvers, where those run.
    refit : bool, default=True
        Whether to fit all rows with the best mean score's parameters. Otherwise the folds' coefficients at their
        own best scores are averaged, and so are the parameters.
    intercept_scaling : float, default=1
        For scikit-learn's "liblinear".
    random_state : int, RandomState instance or None, default=None
        For scikit-learn's "sag", "saga" and "liblinear", where those run.
    use_legacy_attributes : bool, default=True
        Whether `C_`, `l1_ratio_`, `coefs_paths_`, `scores_` and `n_iter_` have the form they had before
        scikit-learn 1.9. The default warns, as in scikit-learn.
    device : {"cpu", "cuda", "cuda:N"}, default="cpu"
        Where to compute; "cuda:N" is GPU number N of this process.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
    intercept_ : ndarray of shape (1,) or (n_classes,)
    C_ : float, or ndarray of shape (1,) or (n_classes,)
        The inverse strength chosen; repeated for each class with legacy attributes.
    l1_ratio_ : float, or ndarray of shape (1,) or (n_classes,)
        The share chosen, in the same form.
    Cs_ : ndarray of shape (n_cs,)
    l1_ratios_ : ndarray of shape (n_l1_ratios,)
        ``[None]`` where none were given.
    scores_ : ndarray of shape (n_folds, n_l1_ratios, n_cs), or dict
        Scores of the left-out rows. Legacy: the same array (n_folds, n_cs[, n_l1_ratios]) for each class.
    coefs_paths_ : ndarray of shape (n_folds, n_l1_ratios, n_cs, n_classes, n_dof), or dict
        Coefficients of every fit, the intercept last; one row for two classes. Legacy: an array
        (n_folds, n_cs[, n_l1_ratios], n_dof) for each class.
    n_iter_ : ndarray of shape (n_folds, n_l1_ratios, n_cs) or (1, n_folds, n_cs[, n_l1_ratios])
        Steps taken.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Set when `X` has string column names.
    fit_backend_ : str
        "manyfit", or "scikit-learn" where its own solver ran (large sparse `X`, solver "liblinear", metadata routing).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from manyfit.linear_model import LogisticRegressionCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegressionCV(l1_ratios=(0,), scoring="neg_log_loss", use_legacy_attributes=False)
    >>> model = model.fit(X, y)
    >>> model.scores_.shape, round(model.C_, 3)
    ((5, 1, 10), 166.81)
    >>> model.predict(X[:2])
    array([0, 0])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **linear_model.LogisticRegressionCV._parameter_constraints,
        **Estimator._parameter_constraints,
    }

    def __init__(
        self,
        *,
        Cs: Any = 10,
        l1_ratios: Any = "warn",
        fit_intercept: bool = True,
        cv: Any = None,
        dual: bool = False,
        penalty: Any = "deprecated",
        scoring: Any = "warn",
        solver: str = "lbfgs",
        tol: float = 1e-4,
        max_iter: int = 100,
        class_weight: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        refit: bool = True,
        intercept_scaling: float = 1.0,
        random_state: Any = None,
        use_legacy_attributes: Any = "warn",
        device: str = "cpu",
    ) -> None:
        super().__init__(
            Cs=Cs,
            l1_ratios=l1_ratios,
            fit_intercept=fit_intercept,
            cv=cv,
            dual=dual,
            penalty=penalty,
            scoring=scoring,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            class_weight=class_weight,
            n_jobs=n_jobs,
            verbose=verbose,
            refit=refit,
            intercept_scaling=intercept_scaling,
            random_state=random_state,
            use_legacy_attributes=use_legacy_attributes,
        )
        self.device = device

    _devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **params: Any) -> Self:
        """Choose the penalty by cross-validation, and fit with it on all rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,)
            Labels of two or more classes; None when `X` is a Dataset.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights >= 0, of the rows in the fits and in the scores.
        **params : dict
            For the scorer and the splitter, with scikit-learn's metadata routing enabled.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter that breaks its rule, for data that is not finite, empty or of unequal length, and
            for labels of one class.

        Warns
        -----
        ConvergenceWarning
            If steps run out; the message says what to do.
        """
        if params or (_routing_enabled() and not isinstance(X, Dataset)):
            _raise_for_params(params, self, "fit")
            self._check()
            self._sklearn_fit(X, y, sample_weight=sample_weight, **params)
            self.fit_backend_ = "scikit-learn"
            return self
        return self._fit_one(X, y, sample_weight)

    def score(self, X: Any, y: Any, sample_weight: Any = None, **score_params: Any) -> float:
        """Score by `scoring`; what lies on a device is copied to the host.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
        **score_params : dict
            For the scorer, with scikit-learn's metadata routing enabled.

        Returns
        -------
        float
        """
        weights = on_host(sample_weight, "sample_weight")
        return float(super().score(on_host(X), on_host(y, "y"), sample_weight=weights, **score_params))

    def _sklearn_fit(self, X: Any, y: Any, **extra: Any) -> None:
        # The class that follows in the method resolution order: a name in scikit-learn may be replaced.
        super().fit(X, y, **extra)

    def _runs_here(self, dataset: Dataset) -> bool:
        here = (
            dataset.small
            and self.solver != "liblinear"
            and not _routing_enabled()
            and not get_config()["array_api_dispatch"]
        )
        if here:
            self._settle(warn=True)
        return here

    # --- parameters ---

    def _settle(self, warn: bool = False) -> Grid:
        """The grid that the parameters, deprecated ones too, stand for."""
        given = None if isinstance(self.l1_ratios, str) else self.l1_ratios
        if warn:
            self._warn_of_changes()
        if self.penalty != "deprecated":
            penalty = self.penalty
        elif given is None or np.all(np.asarray(given) == 0):
            penalty = "l2"
        else:
            penalty = "l1" if np.all(np.asarray(given) == 1) else "elasticnet"
        check_solver(type(self).__name__, self.solver, penalty, self.dual)
        elastic = penalty == "elasticnet"
        ratios = None if given is None and not elastic else self._ratios(given)
        if warn and self.penalty != "deprecated" and not elastic and ratios is not None:
            warnings.warn(
                f"l1_ratios parameter is only used when penalty is 'elasticnet'. Got (penalty={penalty})",
                stacklevel=6,
            )
        single = 1.0 if penalty == "l1" else 0.0
        shares = list(ratios or []) if elastic else [single] * len(ratios or [single])
        return Grid(
            Cs=self._strengths(),
            shares=shares,
            given=ratios,
            elastic=elastic,
            legacy=self.use_legacy_attributes is not False,
            scoring=None if isinstance(self.scoring, str) and self.scoring == "warn" else self.scoring,
        )

    def _warn_of_changes(self) -> None:
        texts = []
        if isinstance(self.l1_ratios, str):
            texts.append(_RATIOS_WARN)
        if self.penalty != "deprecated":
            texts.append(PENALTY_DEPRECATED.format(instead="'l1_ratios' and 'Cs' instead"))
        elif self.l1_ratios is None:
            texts.append(_RATIOS_NONE)
        if isinstance(self.scoring, str) and self.scoring == "warn":
            texts.append(_SCORING_WARN)
        if isinstance(self.use_legacy_attributes, str):
            texts.append(_LEGACY_WARN.format(name=type(self).__name__))
        for text in texts:
            warnings.warn(text, FutureWarning, stacklevel=7)

    def _ratios(self, given: Any) -> list[float]:
        ratios: list[Any] = [] if given is None else list(given)
        good = bool(ratios) and all(isinstance(r, int | float | np.number) and 0 <= r <= 1 for r in ratios)
        if not good:
            raise ValueError(
                f"{type(self).__name__}: l1_ratios must be an array-like of numbers between 0 and 1; got "
                f"(l1_ratios={given!r})"
            )
        return [float(r) for r in ratios]

    def _strengths(self) -> Floats:
        if isinstance(self.Cs, Integral):
            return np.logspace(-4, 4, int(self.Cs))
        try:
            Cs = np.asarray(self.Cs, dtype=np.float64).copy()
        except (TypeError, ValueError):
            Cs = np.empty((0, 0))
        if Cs.ndim != 1 or not len(Cs) or not (Cs > 0).all():
            raise ValueError(
                f"{type(self).__name__}: Cs must be an integer >= 1 or numbers > 0, got {self.Cs!r}"
            )
        return Cs

    # --- fitting ---

    @classmethod
    def _train_population(cls, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> Sequence[Job]:
        classes, codes = dataset.labels(jobs[0].estimator)
        assert_classes(cls.__name__, classes)
        outputs = 1 if len(classes) == 2 else len(classes)
        _, n_features = dataset.shape(jobs[0].estimator)
        left: list[Job] = []
        whole: list[Job] = []
        for job in jobs:
            if any(too_large(share, outputs, n_features) for share in job.estimator._settle().shares):
                left.append(job)
            elif has_all_classes(classes, codes, splits, job.split):
                whole.append(job)
            else:
                fit_apart(job, dataset, splits)
        if whole:
            Search(whole, dataset, splits).run()
        return left

    def _take(self, grid: Grid, classes: NDArray[Any], paths: Floats, scores: Floats, n_iter: Any) -> None:
        """Keep the search's results: (folds, l1 ratios, Cs, ...), coefficients with the intercept last."""
        self.classes_ = classes.copy()
        self.Cs_ = grid.Cs
        self.l1_ratios_ = np.asarray([None] if grid.given is None else grid.given)
        if not self.fit_intercept:
            paths = paths[..., :-1]
        if not grid.legacy:
            self.coefs_paths_: Any = paths
            self.scores_: Any = scores
            self.n_iter_: Any = n_iter
            return
        place: Any = 0 if grid.given is None else slice(None)
        by_class = np.moveaxis(paths, (3, 2), (0, 2))  # classes, folds, Cs, ratios, parameters
        by_C = np.swapaxes(scores, 1, 2)[:, :, place]
        names = classes[1:] if len(classes) == 2 else classes
        self.coefs_paths_ = {
            name: np.ascontiguousarray(each[:, :, place]) for name, each in zip(names, by_class, strict=True)
        }
        self.scores_ = {name: by_C.copy() for name in names}
        self.n_iter_ = np.swapaxes(n_iter, 1, 2)[None][:, :, :, place]

    def _take_choice(self, grid: Grid, C: float, ratio: float | None, coef: Floats) -> None:
        """Keep what was chosen, and its coefficients (outputs, features + 1)."""
        if grid.legacy:
            self.C_: Any = np.full(len(coef), C)
            self.l1_ratio_: Any = np.array([ratio] * len(coef))
        else:
            self.C_ = float(C)
            self.l1_ratio_ = float(ratio if ratio is not None else grid.shares[0])
        self.coef_ = coef[:, :-1].copy()
        self.intercept_ = coef[:, -1].copy()

    def _check_loaded(self) -> None:
        """Raise ValueError where fitted attributes do not belong together."""
        coef, intercept, classes = map(np.asarray, (self.coef_, self.intercept_, self.classes_))
        outputs = 1 if len(classes) == 2 else len(classes)
        if classes.ndim != 1 or len(classes) < 2:
            raise ValueError(f"classes_ must name two classes or more, got shape {classes.shape}")
        if coef.shape != (outputs, self.n_features_in_) or intercept.shape != (outputs,):
            raise ValueError(
                f"coef_ must have shape {(outputs, self.n_features_in_)} and intercept_ {(outputs,)}, "
                f"got {coef.shape} and {intercept.shape}"
            )
