"""Logistic regression that chooses its penalty by cross-validation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from inspect import signature
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config, linear_model
from sklearn.metrics import get_scorer, make_scorer
from sklearn.utils import _safe_indexing, compute_class_weight
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled

from manyfit._native import core
from manyfit.base import Estimator, Job
from manyfit.dataset import Dataset
from manyfit.linear_model._inner_splits import InnerSplits
from manyfit.linear_model._logistic import (
    PENALTY_DEPRECATED,
    LogisticBatch,
    assert_classes,
    check_solver,
    fit_apart,
    has_all_classes,
    too_large,
    warn_unconverged,
)
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


# Scores that sums over the left-out rows tell: weights, those of rows told right, log-loss.
_FROM_SUMS: dict[str | None, Callable[[Floats], Floats]] = {
    None: lambda sums: sums[1] / sums[0],
    "accuracy": lambda sums: sums[1] / sums[0],
    "neg_log_loss": lambda sums: -sums[2] / sums[0],
}


class _Grid(NamedTuple):
    """What the parameters, deprecated ones too, stand for."""

    Cs: Floats
    shares: list[float]  # of the l1 penalty
    given: list[float] | None  # l1_ratios as they were given
    elastic: bool
    legacy: bool
    scoring: Any


class _Task(NamedTuple):
    """One fit of the search."""

    owner: int  # whose, counted among the jobs
    split: int
    C: float
    share: float
    start: Floats | None


class LogisticRegressionCV(Estimator, linear_model.LogisticRegressionCV):  # type: ignore[misc]
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
    device : {"cpu", "cuda"}, default="cpu"
        Where to compute.

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

    def _settle(self, warn: bool = False) -> _Grid:
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
        return _Grid(
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
        n_features = dataset.matrix(jobs[0].estimator).shape[1]
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
            _Search(whole, dataset, splits).run()
        return left

    def _take(self, grid: _Grid, classes: NDArray[Any], paths: Floats, scores: Floats, n_iter: Any) -> None:
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

    def _take_choice(self, grid: _Grid, C: float, ratio: float | None, coef: Floats) -> None:
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


class _Search:
    """The fits of all jobs' grids and folds, as one population."""

    def __init__(self, jobs: Sequence[Job], dataset: Dataset, splits: Splits) -> None:
        self.jobs = jobs
        self.dataset = dataset
        self.models = [job.estimator for job in jobs]
        self.grids = [model._settle() for model in self.models]
        plan = InnerSplits(dataset, splits)
        self.places = [plan.add(job) for job in jobs]
        self.splits = Splits(splits.n_rows, plan.pairs)
        self.splits.groups = dataset.known_folds(self.splits.groups)
        self.classes, self.codes = dataset.labels(self.models[0])
        self.unconverged: dict[int, list[int]] = {}  # steps, by job
        self._known: dict[int, tuple[int, ...]] = {}

    def run(self) -> None:
        found = self._fit_folds()
        final: list[_Task] = []
        choices = []
        for i, (model, grid) in enumerate(zip(self.models, self.grids, strict=True)):
            first, last = self.places[i]
            shape = last - first, len(grid.shares), len(grid.Cs)
            paths = np.stack([coef for coef, _ in found[i]]).reshape(*shape, *found[i][0][0].shape)
            n_iter = np.array([steps for _, steps in found[i]], dtype=np.int32).reshape(shape)
            scores = self._scores(i, paths)
            model._take(grid, self.classes, paths, scores, n_iter)
            if not model.refit:
                model._take_choice(grid, *_mean_of_best(grid, scores, paths))
                continue
            mean = np.swapaxes(scores, 1, 2).sum(axis=0)
            c, r = np.unravel_index(np.argmax(mean), mean.shape)
            choices.append((i, grid.Cs[c], None if grid.given is None else grid.given[r]))
            start = paths[:, r, c].mean(axis=0)
            final.append(_Task(i, last, float(grid.Cs[c]), grid.shares[r], start))
        for (i, C, ratio), (coef, _) in zip(choices, self._fit(final), strict=True):
            self.models[i]._take_choice(self.grids[i], C, ratio, coef)
        for i, steps in sorted(self.unconverged.items()):
            warn_unconverged(self.models[i].solver, self.models[i].max_iter, max(steps), len(steps))

    def _fit_folds(self) -> list[list[tuple[Floats, int]]]:
        """Coefficients and steps of each job's fits, by fold, then share, then C."""
        found: list[list[tuple[Floats, int]]] = [[] for _ in self.jobs]
        tasks = [
            _Task(i, split, float(C), share, None)
            for i, grid in enumerate(self.grids)
            for split in range(*self.places[i])
            for share in grid.shares
            for C in grid.Cs
        ]
        for task, result in zip(tasks, self._fit(tasks), strict=True):
            found[task.owner].append(result)
        return found

    def _fit(self, tasks: Sequence[_Task]) -> list[tuple[Floats, int]]:
        """Coefficients (outputs, features + 1) and steps; a class that the rows lack has next to no chance."""
        results: list[tuple[Floats, int] | None] = [None] * len(tasks)
        parts: dict[tuple[bool, tuple[int, ...]], list[int]] = {}
        for t, task in enumerate(tasks):
            fit_intercept = bool(self.models[task.owner].fit_intercept)
            parts.setdefault((fit_intercept, self._present(task.split)), []).append(t)
        for folds in self.splits.groups:
            place = {split: i for i, split in enumerate(folds.splits)}
            for (fit_intercept, present), every in parts.items():
                members = [t for t in every if tasks[t].split in place]
                if not members:
                    continue
                if len(present) == 1:
                    coef = np.zeros((len(members), 1, self._parameters))
                    n_iter, converged = [1] * len(members), [True] * len(members)
                else:
                    batch = self._batch(folds, fit_intercept, present)
                    settings = [self._setting(batch, tasks[t], place, present) for t in members]
                    coef, n_iter, converged = batch.run(settings)
                for b, t in enumerate(members):
                    tol = min(float(self.models[tasks[t].owner].tol), 1e-4)
                    results[t] = self._with_all_classes(coef[b], present, tol), int(n_iter[b])
                    if not converged[b]:
                        self.unconverged.setdefault(tasks[t].owner, []).append(int(n_iter[b]))
        return [result for result in results if result is not None]

    @property
    def _parameters(self) -> int:
        return int(self.dataset.matrix(self.models[0]).shape[1]) + 1

    def _present(self, split: int) -> tuple[int, ...]:
        """Classes that the rows of a split have."""
        if split in self._known:
            return self._known[split]
        rows = self.splits.train_rows(split)
        weights = self.dataset.weights(self.models[0])
        counts = np.bincount(
            self.codes[rows], None if weights is None else weights[rows], minlength=len(self.classes)
        )
        self._known[split] = tuple(np.flatnonzero(counts).tolist())
        return self._known[split]

    def _batch(self, folds: core.Folds, fit_intercept: bool, present: tuple[int, ...]) -> LogisticBatch:
        batch = LogisticBatch(self.models[0], self.dataset, folds, fit_intercept)
        if len(present) < len(self.classes):
            # Rows of other classes are not trained on: what they are called does not matter.
            names = np.zeros(len(self.classes), dtype=np.int64)
            names[list(present)] = np.arange(len(present))
            batch.classes, batch.codes = self.classes[list(present)], names[self.codes]
        return batch

    def _with_all_classes(self, coef: Floats, present: tuple[int, ...], tol: float) -> Floats:
        """Coefficients of all classes from those of the classes present.

        A class without rows has its minimum where its chance is 0, at no finite coefficients. Here its score is the
        mean of the others' less log(1 / tol), so that it is nowhere the largest.
        """
        if len(present) == len(self.classes):
            return coef
        if len(self.classes) == 2:  # one of them is all there is
            single = np.zeros((1, coef.shape[1]))
            single[0, -1] = -math.log(tol) if present == (1,) else math.log(tol)
            return single
        if len(present) == 2:
            coef = np.concatenate([-coef / 2, coef / 2])
        whole = np.tile(coef.mean(axis=0), (len(self.classes), 1))
        whole[:, -1] += math.log(tol)
        whole[list(present)] = coef
        return whole

    def _setting(
        self, batch: LogisticBatch, task: _Task, place: dict[int, int], present: tuple[int, ...]
    ) -> dict[str, Any]:
        model = self.models[task.owner]
        C, share = task.C, 0.0 if math.isinf(task.C) else task.share
        if len(present) == 2 < len(self.classes):
            # Of two columns of coefficients, u / 2 and -u / 2, the penalty is (1 - r) / 4 |u|^2 + r |u|.
            scale = share + (1 - share) / 2
            C, share = C / scale, share / scale
        return {
            "splits": place[task.split],
            "class_weight": self._class_weight(batch, task.owner, present),
            "C": C,
            "l1_ratio": share,
            "tol": float(model.tol),
            "max_iter": int(model.max_iter),
            "start": task.start if len(present) == len(self.classes) else None,
        }

    def _class_weight(self, batch: LogisticBatch, owner: int, present: tuple[int, ...]) -> int:
        """Place of the class weights, which are balanced over all rows that are fitted, not over a fold's."""
        setting = self.models[owner].class_weight
        if isinstance(setting, dict) and not set(setting) <= set(self.classes.tolist()):
            raise ValueError(
                f"{type(self.models[owner]).__name__}: The given class_weight dict must have the class labels as "
                f"keys; classes={self.classes} but key={setting.keys()}"
            )

        def make() -> Floats:
            rows = self.splits.train_rows(self.places[owner][1])
            weights = None if batch.weights is None else batch.weights[rows]
            y = self.classes[self.codes[rows]]
            table = compute_class_weight(setting, classes=self.classes, y=y, sample_weight=weights)
            return np.asarray(table, dtype=np.float64)[list(present)]

        return batch.known(None if setting is None else owner, make)

    # --- scores ---

    def _scores(self, i: int, paths: Floats) -> Floats:
        """Of the left-out rows of every fit, (folds, l1 ratios, Cs)."""
        model, grid = self.models[i], self.grids[i]
        score = _FROM_SUMS.get(grid.scoring) if isinstance(grid.scoring, str | None) else None
        if score is not None:
            return score(self._sums(i, paths))
        scores = np.empty(paths.shape[:3])
        X = self.dataset.matrix(model) if self.dataset.sparse else self.dataset.X
        y, weights = self.dataset.y, self.dataset.weights(model)
        scorer = _scorer(grid.scoring, self.classes)
        for k in range(len(scores)):
            rows = self.splits.test_rows(self.places[i][0] + k)
            left_out = _safe_indexing(X, rows), _safe_indexing(y, rows)
            extra = {} if weights is None else {"sample_weight": weights[rows]}
            for r, c in np.ndindex(scores.shape[1:]):
                fitted = _light(model, self.classes, grid.Cs[c], paths[k, r, c])
                scores[k, r, c] = scorer(fitted, *left_out, **extra)
        return scores

    def _sums(self, i: int, paths: Floats) -> Floats:
        """Weights of the left-out rows, of those told right, and their loss, (3, folds, l1 ratios, Cs)."""
        first, last = self.places[i]
        sums = np.empty((3, *paths.shape[:3]))
        for folds in self.splits.groups:
            place = {split - first: k for k, split in enumerate(folds.splits) if first <= split < last}
            if place:
                batch = LogisticBatch(self.models[i], self.dataset, folds, True)
                members = list(place)
                each = [k for k in place.values() for _ in range(paths[0, ..., 0, 0].size)]
                found = batch.scores(each, paths[members].reshape(len(each), *paths.shape[3:]))
                sums[:, members] = found.T.reshape(3, len(members), *paths.shape[1:3])
        return sums


def _light(model: Any, classes: NDArray[Any], C: float, coef: Floats) -> Any:
    """What a scorer takes for a fitted model."""
    light = linear_model.LogisticRegression(solver=model.solver, C=C)
    light.classes_ = classes
    light.coef_, light.intercept_ = coef[:, :-1], coef[:, -1]
    return light


def _scorer(scoring: Any, classes: NDArray[Any]) -> Any:
    """The scorer; one that takes labels is told all classes, as rows left out may lack some."""
    scorer = get_scorer("accuracy" if scoring is None else scoring)
    function = getattr(scorer, "_score_func", None)
    if function is None:
        return scorer
    names = signature(function).parameters
    if "labels" not in names:
        return scorer
    more = {"pos_label": classes[-1]} if len(classes) == 2 and "pos_label" in names else {}
    return make_scorer(
        function,
        greater_is_better=scorer._sign == 1,
        response_method=scorer._response_method,
        **{"labels": classes, **more, **scorer._kwargs},
    )


def _mean_of_best(grid: _Grid, scores: Floats, paths: Floats) -> tuple[float, float | None, Floats]:
    """C, share and coefficients: the mean of those that each fold finds best."""
    by_C = np.swapaxes(scores, 1, 2).reshape(len(scores), -1)
    c, r = np.unravel_index(np.argmax(by_C, axis=1), (len(grid.Cs), len(grid.shares)))
    coef = np.mean([paths[k, r[k], c[k]] for k in range(len(scores))], axis=0)
    ratio = float(np.mean(np.asarray(grid.shares)[r])) if grid.elastic else 0.0
    return float(np.mean(grid.Cs[c])), ratio, coef
