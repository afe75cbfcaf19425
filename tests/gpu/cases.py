"""The estimators that have kernels on a device, with data that suit them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier

from manyfit.decomposition import PCA, TruncatedSVD
from manyfit.linear_model import (
    ElasticNet,
    ElasticNetCV,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    MultiTaskElasticNet,
    MultiTaskElasticNetCV,
    MultiTaskLasso,
    MultiTaskLassoCV,
    Ridge,
    RidgeClassifier,
    RidgeClassifierCV,
    RidgeCV,
)
from manyfit.testing import all_estimators

__all__ = ["ESTIMATORS", "answers", "data", "learned", "on"]

ESTIMATORS: list[Any] = [
    LinearRegression(),
    Ridge(alpha=2.0),
    Ridge(alpha=2.0, fit_intercept=False),
    RidgeCV(alphas=(0.1, 1.0, 10.0)),
    RidgeCV(alphas=(0.1, 1.0, 10.0), cv=3),
    RidgeClassifier(),
    RidgeClassifierCV(cv=3),
    Lasso(alpha=0.05),
    ElasticNet(alpha=0.05, l1_ratio=0.7),
    LassoCV(alphas=8, cv=3),
    ElasticNetCV(l1_ratio=[0.5, 0.9], alphas=6, cv=3),
    MultiTaskLasso(alpha=0.05),
    MultiTaskElasticNet(alpha=0.05),
    MultiTaskLassoCV(alphas=5, cv=3),
    MultiTaskElasticNetCV(alphas=5, cv=3),
    LogisticRegression(C=0.7, tol=1e-8, max_iter=300),
    LogisticRegressionCV(
        Cs=[0.1, 1.0],
        cv=3,
        l1_ratios=(0,),
        scoring="accuracy",
        use_legacy_attributes=False,
        tol=1e-8,
        max_iter=300,
    ),
    PCA(3),
    TruncatedSVD(3),
]

missing = {cls for cls in all_estimators() if "cuda" in cls._devices} - {type(each) for each in ESTIMATORS}
assert not missing, f"no case for {missing}"


def on(estimator: Any, device: str) -> Any:
    """A clone for a device."""
    return clone(estimator).set_params(device=device)


def data(estimator: Any, dtype: Any = np.float64, n: int = 240, d: int = 7, seed: int = 0) -> tuple[Any, Any]:
    """X and what the estimator learns of it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(d, d))) + rng.normal(size=d)
    name = type(estimator).__name__
    Y = X @ rng.normal(size=(d, 3)) + rng.normal(size=(n, 3)) + 5
    if name.startswith("MultiTask"):
        y = Y
    elif is_classifier(estimator):
        y = (Y - Y.mean(axis=0)).argmax(axis=1)
    elif hasattr(estimator, "predict"):
        y = Y[:, 0]
    else:
        return X.astype(dtype), None
    return X.astype(dtype), y if y.dtype.kind == "i" else y.astype(dtype)


def learned(model: Any) -> dict[str, Any]:
    """The numbers that a model learned."""
    names = (
        "coef_",
        "intercept_",
        "alpha_",
        "components_",
        "explained_variance_",
        "mean_",
        "mse_path_",
        "C_",
    )
    return {name: np.asarray(getattr(model, name)) for name in names if hasattr(model, name)}


def answers(model: Any, X: Any) -> dict[str, Any]:
    """What a model answers, by method."""
    names = ("predict", "decision_function", "predict_proba", "transform")
    return {name: getattr(model, name)(X) for name in names if hasattr(model, name)}
