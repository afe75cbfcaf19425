"""The same work in several libraries: fits, predictions, sweeps."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .case import LIBRARIES, MANYFIT, SKLEARN, SKLEARNEX, Contender, Library, NoSuchEstimatorError, Run
from .data import Array, Data


@dataclass(frozen=True)
class Estimator:
    """An estimator that the libraries have under the same name: ``<root>.<module>.<name>(**params)``."""

    module: str
    name: str
    params: dict[str, Any] = field(default_factory=dict)

    def of(self, library: Library, threads: int) -> _Factory:
        """The class of ``library`` with its parameters bound; ImportError where it has none."""
        module = importlib.import_module(library.root if library.flat else f"{library.root}.{self.module}")
        cls = getattr(module, self.name, None)
        if cls is None:
            raise NoSuchEstimatorError(f"{module.__name__} has no {self.name}")
        params = {**self.params, "n_jobs": threads} if library.takes_n_jobs else self.params
        return _Factory(cls, params)


class _Factory(NamedTuple):
    cls: Any
    params: dict[str, Any]

    def __call__(self) -> Any:
        return self.cls(**self.params)


class Applied(NamedTuple):
    """What a prediction returns to the quality check: the model it came from, the input, the output."""

    model: Any
    X: Array
    output: Array


def fit(
    estimator: Estimator, libraries: Sequence[Library] = LIBRARIES, once: bool = False
) -> tuple[Contender, ...]:
    """Construct and fit; the result is the fitted estimator. With ``once`` the peers are too slow to repeat."""

    def of(library: Library) -> Contender:
        def prepare(data: Data, threads: int) -> Run:
            make = estimator.of(library, threads)
            return lambda: make().fit(data.X, data.y)

        return Contender(library, prepare, once=once and library is not MANYFIT)

    return tuple(of(library) for library in libraries)


def apply(
    estimator: Estimator, method: str, rows: int | None = None, libraries: Sequence[Library] = LIBRARIES
) -> tuple[Contender, ...]:
    """Call ``method`` of a fitted estimator on the first ``rows`` rows; the fit is not timed."""

    def of(library: Library) -> Contender:
        def prepare(data: Data, threads: int) -> Run:
            training = data.head(5000)
            model = estimator.of(library, threads)().fit(training.X, training.y)
            call = getattr(model, method)
            X = data.X[:rows]
            return lambda: Applied(model, X, call(X))

        return Contender(library, prepare)

    return tuple(of(library) for library in libraries)


class SweepResult(NamedTuple):
    """Scores of the left-out folds, (n_params, n_splits), and the models where the library keeps them."""

    scores: Array
    #: ``models[i][k]`` of parameter set i and fold k.
    models: list[list[Any]] | None


def sweep(estimator: Estimator, params: Sequence[dict[str, Any]], folds: int) -> tuple[Contender, ...]:
    """``fit_many`` against ``GridSearchCV`` (no refit, one candidate at a time, threads inside the fits)."""

    def prepare_ours(data: Data, threads: int) -> Run:
        fit_many = importlib.import_module(MANYFIT.root).fit_many
        make = estimator.of(MANYFIT, threads)
        cv = _kfold(folds)

        def run() -> SweepResult:
            population = fit_many(make(), data.X, data.y, params=list(params), cv=cv, n_jobs=threads)
            models = list(population)
            rows = [models[i * folds : (i + 1) * folds] for i in range(len(params))]
            return SweepResult(population.test_scores, rows)

        return run

    def grid_search(library: Library) -> Contender:
        def prepare(data: Data, threads: int) -> Run:
            from sklearn.model_selection import GridSearchCV

            make = estimator.of(library, threads)
            grid = [{name: [value] for name, value in point.items()} for point in params]

            def run() -> SweepResult:
                search = GridSearchCV(make(), grid, cv=_kfold(folds), refit=False).fit(data.X, data.y)
                return SweepResult(_split_scores(search.cv_results_, folds), None)

            return run

        return Contender(library, prepare, once=True, only_full=library is SKLEARN)

    return Contender(MANYFIT, prepare_ours), grid_search(SKLEARN), grid_search(SKLEARNEX)


def choice(estimator: Estimator, alphas: Sequence[float], folds: int | None) -> tuple[Contender, ...]:
    """A ridge estimator that chooses among `alphas`, against scikit-learn's and ``GridSearchCV`` of the peers'.

    Without folds every row is left out in turn, which none but scikit-learn's own class does.
    """

    def of(library: Library) -> Contender:
        def prepare(data: Data, threads: int) -> Run:
            cv = None if folds is None else _kfold(folds)
            make = Estimator(estimator.module, estimator.name, {**estimator.params, "cv": cv}).of(
                library, threads
            )
            return lambda: make().fit(data.X, data.y)

        return Contender(
            library, prepare, once=library is not MANYFIT, only_full=library is SKLEARN and bool(folds)
        )

    def prepare_search(data: Data, threads: int) -> Run:
        from sklearn.model_selection import GridSearchCV

        assert folds is not None
        make = Estimator("linear_model", "Ridge").of(SKLEARNEX, threads)
        return lambda: GridSearchCV(make(), {"alpha": list(alphas)}, cv=_kfold(folds)).fit(data.X, data.y)

    if folds is None:
        return of(MANYFIT), of(SKLEARN)
    return of(MANYFIT), of(SKLEARN), Contender(SKLEARNEX, prepare_search, once=True)


def _kfold(folds: int) -> Any:
    from sklearn.model_selection import KFold

    return KFold(folds)


def _split_scores(cv_results: dict[str, Any], folds: int) -> Array:
    import numpy as np

    return np.stack([cv_results[f"split{k}_test_score"] for k in range(folds)], axis=1)
