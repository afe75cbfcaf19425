"""What fitted linear models answer on rows that lie on a device."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from manyfit._device_arrays import DeviceInput, held, like, on_device, on_host, refuse_on_cpu
from manyfit._execution import backend, execution

__all__ = ["ClassifierAnswers", "affine_on_device", "also_on_device", "answered", "scored"]

_Method = TypeVar("_Method", bound=Callable[..., Any])


def also_on_device(method: _Method) -> _Method:
    """Let a method of a model answer rows on a device as well.

    Those go to ``self._answer_on_device(X, name of the method, ...)``, any others to the method.
    """
    name = method.__name__

    @wraps(method)
    def answer(self: Any, X: Any, *more: Any, **named: Any) -> Any:
        if type(X) is not np.ndarray and on_device(X):
            return self._answer_on_device(X, name, *more, **named)
        return method(self, X, *more, **named)

    return answer  # type: ignore[return-value]  # wraps() keeps the signature


def affine_on_device(model: Any, X: Any, coef: NDArray[Any], intercept: NDArray[Any]) -> tuple[Any, Any]:
    """``X @ coef.T + intercept``, (rows, outputs), on the device where `X` lies, and its kernels.

    Raises what the same rows on the host would.
    """
    rows, kernels = _checked(model, X)
    answer, finite = kernels.predict(rows.array, coef, intercept, execution(getattr(model, "n_jobs", None)))
    if not finite:
        _refuse(model, rows)
    return answer, kernels


def _checked(model: Any, X: Any) -> tuple[DeviceInput, Any]:
    name = type(model).__name__
    rows: DeviceInput = held(X, "X")
    if model.device == "cpu":
        refuse_on_cpu(model, "X", X)
    model._check_device()
    kernels = backend(model.device)
    from manyfit.dataset import Dataset

    data = Dataset(rows)
    data.assert_placed(model)
    expected = getattr(model, "n_features_in_", None)
    if expected is not None and rows.shape[1] != expected:
        raise ValueError(
            f"X has {rows.shape[1]} features, but {name} is expecting {expected} features as input."
        )
    return rows, kernels


def _refuse(model: Any, rows: DeviceInput) -> NoReturn:
    from manyfit.dataset import Dataset

    Dataset(rows).assert_finite(model)
    raise ValueError(f"{type(model).__name__}: X must be of a scale that leaves answers finite")


def scored(model: Any, X: Any) -> tuple[Any, Any]:
    """A linear model's scores (rows, outputs), on the device, and its kernels."""
    from sklearn.utils.validation import check_is_fitted

    check_is_fitted(model)
    coef = np.atleast_2d(model.coef_)
    intercept = np.broadcast_to(np.asarray(model.intercept_, dtype=coef.dtype), len(coef))
    return affine_on_device(model, X, coef, intercept)


def answered(model: Any, X: Any, method: str, *more: Any, **named: Any) -> Any:
    """What a linear model's method says of rows on a device: computed there, and from its scores on the host.

    Arrays that it answers with are of the library that `X` is of.
    """
    from manyfit.linear_model._left_out import known_model

    scores, kernels = scored(model, X)
    given = X.given if isinstance(X, DeviceInput) else X
    raw = method in ("predict", "decision_function") and not (
        method == "predict" and hasattr(model, "decision_function")
    )
    if raw:
        single = model.coef_.ndim == 1 or (method == "decision_function" and scores.shape[1] == 1)
        return like(given, scores.column() if single else scores, kernels)
    host = scores.numpy()
    answer = getattr(known_model(model, host), method)(
        np.empty((len(host), 0)),
        *(on_host(each, "y") for each in more),
        **{each: on_host(value, each) for each, value in named.items()},
    )
    return like(given, answer, kernels) if isinstance(answer, np.ndarray) else answer


class ClassifierAnswers:
    """Answers of a linear classifier: of rows on a device, arrays of the same kind; of others, scikit-learn's."""

    _answer_on_device = answered

    @also_on_device
    def decision_function(self, X: Any) -> Any:
        """Scores of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            An array of the kind of `X`, on its device, where `X` lies on one.
        """
        return super().decision_function(X)  # type: ignore[misc]  # of the class that follows

    @also_on_device
    def predict(self, X: Any) -> Any:
        """Predict classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
            Of `X` on a device and classes that are numbers, an array of the kind of `X`.
        """
        return super().predict(X)  # type: ignore[misc]  # of the class that follows

    @also_on_device
    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            An array of the kind of `X`, on its device, where `X` lies on one.
        """
        return super().predict_proba(X)  # type: ignore[misc]  # of the class that follows

    @also_on_device
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            An array of the kind of `X`, on its device, where `X` lies on one.
        """
        return super().predict_log_proba(X)  # type: ignore[misc]  # of the class that follows
