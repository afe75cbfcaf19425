"""Which promises an estimator makes: conditions under which a check applies."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from manyfit.base import Estimator

__all__ = [
    "can_export",
    "can_fork",
    "classifies",
    "classifies_many",
    "has_class_weight",
    "has_dataframes",
    "has_decisions",
    "has_n_jobs",
    "has_probabilities",
    "has_score",
    "is_deterministic",
    "is_estimator",
    "is_transformer",
    "keeps_float32",
    "learns_online",
    "takes_weights",
    "uses_features",
]


def is_estimator(estimator: Any) -> bool:
    """Whether it stands on our base class."""
    return isinstance(estimator, Estimator)


def takes_weights(estimator: Any) -> bool:
    """Whether ``fit`` takes sample weights."""
    return bool(has_fit_parameter(estimator, "sample_weight"))


def has_score(estimator: Any) -> bool:
    """Whether it scores itself on data."""
    return hasattr(estimator, "score")


def has_n_jobs(estimator: Any) -> bool:
    """Whether its number of threads can be set."""
    return "n_jobs" in estimator.get_params(deep=False)


def is_deterministic(estimator: Any) -> bool:
    """Whether two fits of the same data give the same model."""
    return not get_tags(estimator).non_deterministic


def is_transformer(estimator: Any) -> bool:
    """Whether it transforms rows."""
    return hasattr(estimator, "transform")


def keeps_float32(estimator: Any) -> bool:
    """Whether float32 in gives float32 out."""
    tags = get_tags(estimator)
    if tags.transformer_tags is not None:
        return bool("float32" in tags.transformer_tags.preserves_dtype)
    return bool(tags.estimator_type == "regressor")


def uses_features(estimator: Any) -> bool:
    """Whether rows have features that can be looked at one by one."""
    tags = get_tags(estimator)
    return tags.input_tags.two_d_array and not tags.input_tags.pairwise


def classifies(estimator: Any) -> bool:
    """Whether it tells classes."""
    return bool(get_tags(estimator).estimator_type == "classifier")


def classifies_many(estimator: Any) -> bool:
    """Whether it tells more than two classes."""
    tags = get_tags(estimator).classifier_tags
    return tags is not None and bool(tags.multi_class)


def has_class_weight(estimator: Any) -> bool:
    """Whether its classes can be weighted."""
    return "class_weight" in estimator.get_params(deep=False)


def has_decisions(estimator: Any) -> bool:
    """Whether it scores classes."""
    return hasattr(estimator, "decision_function")


def has_probabilities(estimator: Any) -> bool:
    """Whether it gives the probabilities of classes."""
    return hasattr(estimator, "predict_proba")


def learns_online(estimator: Any) -> bool:
    """Whether it learns from rows as they come in."""
    return hasattr(estimator, "partial_fit")


def can_export(estimator: Any) -> bool:
    """Whether there is an ONNX converter for its class."""
    from manyfit.onnx.registry import steps_of

    try:
        steps_of(clone(estimator))
    except NotFittedError:  # it is found, and not fitted
        return True
    except TypeError:
        return False
    return True


def can_fork(estimator: Any) -> bool:
    """Whether this system forks processes."""
    return hasattr(os, "fork")


def has_dataframes(estimator: Any) -> bool:
    """Whether there is a data frame library to test with."""
    return find_spec("pandas") is not None or find_spec("polars") is not None
