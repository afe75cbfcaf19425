"""Searches over a grid in several libraries, and a check of their scores."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .case import MANYFIT, SKLEARN, Contender, Library, Run
from .data import Array, Data
from .quality import Quality

Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Model:
    """An estimator behind steps: (module, name, parameters) in the libraries, scikit-learn's where they lack it."""

    steps: tuple[tuple[str, str, dict[str, Any]], ...]

    def of(self, library: Library) -> Any:
        """The estimator, in a pipeline where there are several steps."""
        from sklearn.pipeline import make_pipeline

        made = [_class(library, module, name)(**params) for module, name, params in self.steps]
        return make_pipeline(*made) if len(made) > 1 else made[0]


def _class(library: Library, module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(f"{library.root}.{module}"), name)
    except (ImportError, AttributeError):
        return getattr(importlib.import_module(f"sklearn.{module}"), name)


def grid_search(
    model: Model,
    grid: Grid,
    libraries: Sequence[Library],
    folds: int = 5,
    only_full: Sequence[Library] = (),
    once: bool = True,
    **options: Any,
) -> tuple[Contender, ...]:
    """Our GridSearchCV of our estimator against scikit-learn's of each library's, refit and all."""

    def of(library: Library) -> Contender:
        def prepare(data: Data, threads: int) -> Run:
            root = MANYFIT.root if library is MANYFIT else SKLEARN.root
            search = importlib.import_module(f"{root}.model_selection").GridSearchCV
            cv = importlib.import_module("sklearn.model_selection").KFold(folds)
            estimator = model.of(library)
            return lambda: search(estimator, dict(grid), cv=cv, **options).fit(data.X, data.y)

        return Contender(
            library, prepare, once=once and library is not MANYFIT, only_full=library in only_full
        )

    return tuple(of(library) for library in libraries)


@dataclass(frozen=True, kw_only=True)
class GridScores(Quality):
    """Scores of some candidates on every fold, against scikit-learn's own fits one by one."""

    model: Model
    grid: Grid
    folds: int = 5
    scoring: str | None = None
    #: How many candidates are compared, spread over the grid.
    candidates: int = 3

    what: ClassVar[str] = "left-out scores of candidates across the grid as of scikit-learn's fits one by one"

    def _chosen(self) -> tuple[list[int], list[dict[str, Any]]]:
        from sklearn.model_selection import ParameterGrid

        every = list(ParameterGrid(dict(self.grid)))
        chosen = np.unique(np.linspace(0, len(every) - 1, self.candidates).round().astype(int)).tolist()
        return chosen, [every[i] for i in chosen]

    def reference(self, data: Data) -> Array:
        """Scores by candidate, then fold."""
        from sklearn.model_selection import KFold, cross_val_score

        rows = []
        for params in self._chosen()[1]:
            model = self.model.of(SKLEARN).set_params(**params)
            rows.append(cross_val_score(model, data.X, data.y, cv=KFold(self.folds), scoring=self.scoring))
        return np.array(rows)

    def error(self, result: Any, expected: Array, data: Data) -> float:
        """The largest difference of a score."""
        columns = [result.cv_results_[f"split{k}_test_score"] for k in range(self.folds)]
        found = np.stack(columns, axis=1)[self._chosen()[0]]
        return float(np.abs(found - expected).max())


def model(*steps: tuple[str, str, dict[str, Any]]) -> Model:
    """Steps, the estimator last."""
    return Model(steps)
