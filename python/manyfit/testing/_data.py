"""Data that suits an estimator, told by its tags, and what a fitted model answers on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.base import clone
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval, Options, make_constraint
from sklearn.utils.validation import has_fit_parameter

__all__ = ["Data", "answers", "brief", "fit", "make_data", "seeded", "variations"]

# Steps of a fit whose result does not matter: more would be the same code over again.
_FEW_STEPS = 30


@dataclass(frozen=True)
class Data:
    """What an estimator is fitted on; `y` is None for those that take none."""

    X: Any
    y: Any
    sample_weight: NDArray[Any] | None = None

    def rows(self, chosen: Any) -> Data:
        """Some of the rows."""
        take: Callable[[Any], Any] = lambda array: None if array is None else array[chosen]  # noqa: E731
        return Data(take(self.X), take(self.y), take(self.sample_weight))

    def with_X(self, X: Any) -> Data:
        """The same with another form of `X`."""
        return replace(self, X=X)

    def with_y(self, y: Any) -> Data:
        """The same with another form of `y`."""
        return replace(self, y=y)

    @property
    def weight_argument(self) -> dict[str, Any]:
        """The weights as an argument of ``fit``, if there are any."""
        return {} if self.sample_weight is None else {"sample_weight": self.sample_weight}


def make_data(
    estimator: Any,
    n_samples: int = 60,
    n_features: int = 5,
    *,
    dtype: DTypeLike = np.float64,
    weighted: bool = False,
    n_classes: int | None = None,
    seed: int = 0,
) -> Data:
    """Well-conditioned data for an estimator.

    Features have means and scales of their own; targets depend on them with some noise. Regressors get
    numbers, classifiers labels (of three classes where they take so many, or of `n_classes`), clusterers rows
    around three centres, all others what their tags ask for.
    """
    rng = np.random.default_rng(seed)
    tags = get_tags(estimator)
    X = rng.standard_normal((n_samples, n_features))
    labels = rng.integers(0, 3, n_samples)
    if tags.estimator_type == "clusterer":
        X += 8 * rng.standard_normal((3, n_features))[labels]
    X = X * rng.uniform(0.5, 2.0, n_features) + rng.uniform(-3.0, 3.0, n_features)
    if tags.input_tags.positive_only:
        X = np.abs(X)
    X = X.astype(dtype)
    signal = X.astype(np.float64) @ rng.uniform(-1.0, 2.0, n_features)
    target = signal + 0.5 * rng.standard_normal(n_samples) + 10.0
    weights = rng.uniform(0.2, 2.0, n_samples).astype(dtype) if weighted else None
    y: NDArray[Any] | None = None
    if tags.estimator_type == "classifier":
        binary = tags.classifier_tags is not None and not tags.classifier_tags.multi_class
        borders = [0.5] if binary else [0.35, 0.7]
        if n_classes is not None:
            borders = [i / n_classes for i in range(1, n_classes)]
        y = np.digitize(target, np.quantile(target, borders))
    elif tags.estimator_type == "regressor" or tags.target_tags.required:
        y = target
        if tags.target_tags.positive_only:
            y = np.exp(y / np.abs(y).max())
        if not tags.target_tags.single_output:
            y = np.column_stack([y, X.astype(np.float64) @ rng.uniform(-1.0, 2.0, n_features)])
        y = y.astype(dtype)
    return Data(X, y, weights)


def seeded(estimator: Any, seed: int = 0) -> Any:
    """A clone that draws the same random numbers in every fit."""
    copy = clone(estimator)
    names = [name for name in copy.get_params() if name.rpartition("__")[2] == "random_state"]
    return copy.set_params(**dict.fromkeys(names, seed))


def brief(estimator: Any) -> Any:
    """A clone that takes few steps, for checks that ask how it fits and not what comes out."""
    copy = clone(estimator)
    steps = copy.get_params(deep=False).get("max_iter")
    if isinstance(steps, int) and not isinstance(steps, bool) and steps > _FEW_STEPS:
        copy.set_params(max_iter=_FEW_STEPS)
    return copy


def fit(estimator: Any, data: Data, **parameters: Any) -> Any:
    """A seeded clone with `parameters`, fitted on `data`."""
    model = seeded(estimator).set_params(**parameters)
    if data.y is None and not has_fit_parameter(model, "y"):
        return model.fit(data.X, **data.weight_argument)
    return model.fit(data.X, data.y, **data.weight_argument)


_METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")


def answers(model: Any, X: Any) -> dict[str, NDArray[Any]]:
    """What a fitted model answers about rows, by method.

    Densities are left out where the rows are no more than the features: nothing tells a covariance there.
    """
    names = [name for name in _METHODS if hasattr(model, name)]
    if X.shape[0] <= X.shape[1] and "score_samples" in names:
        names.remove("score_samples")
    return {name: np.asarray(getattr(model, name)(X)) for name in names}


# Parameters that do not change what is learned, or change it at random; scorers are scikit-learn's, and most of
# them suit other data.
_NOT_VARIED = frozenset(
    {"n_jobs", "device", "random_state", "verbose", "copy", "copy_X", "warm_start", "scoring"}
)


def variations(estimator: Any) -> list[dict[str, Any]]:
    """Settings that differ from the estimator's own in one parameter each, from its declared constraints."""
    own = estimator.get_params(deep=False)
    found: list[dict[str, Any]] = []
    for name, declared in type(estimator)._parameter_constraints.items():
        if name in _NOT_VARIED or name not in own or declared == "no_validation":
            continue
        constraints = [make_constraint(rule) for rule in declared]
        for rule in constraints:
            for value in _other_values(rule, own[name]):
                if not any(each.is_satisfied_by(value) for each in constraints):
                    continue
                if not any(entry.get(name, _MISSING) == value for entry in found):
                    found.append({name: value})
    return found


_MISSING = object()


def _other_values(rule: Any, value: Any) -> list[Any]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(rule, Interval):
        if rule.type.__name__ == "Integral":
            return [value + 1] if isinstance(value, int) and number else [max(2, int(rule.left or 0))]
        if number and value != 0:
            return [value / 10, value * 10]
        if rule.left is not None and rule.right is not None:
            return [(rule.left + rule.right) / 2]
        return [float(rule.left or 0.0) + 1.0]
    if isinstance(rule, Options):
        return sorted((option for option in rule.options if option != value), key=repr)
    if rule.is_satisfied_by(True) and isinstance(value, bool):
        return [not value]
    return []
