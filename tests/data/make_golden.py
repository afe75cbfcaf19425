"""Write the golden files: one saved model of each estimator, and what it answered when it was saved.

    python tests/data/make_golden.py

Run it before a release, with the version that is released installed, and commit what it adds. A golden file
is never changed and never removed: each later version must load it and answer the same.
``golden/format_<format version>/<manyfit version>/<family>.<Estimator>-<variant>-<dtype>.safetensors`` is a
model, the ``.npz`` beside it holds the rows ``X`` and the outputs by the name of the method.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags

import manyfit as mf
from manyfit.persistence import FORMAT_VERSION
from manyfit.testing import all_estimators

GOLDEN = Path(__file__).resolve().parent / "golden"
METHODS = ("predict", "predict_proba", "decision_function", "transform", "inverse_transform", "score_samples")
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "Ridge": {"two": {"alpha": np.array([0.5, 2.0]), "random_state": np.random.RandomState(3)}},
    "PCA": {"two": {"n_components": 2, "whiten": True, "random_state": np.random.RandomState(3)}},
}
"""Parameters that bring other kinds of values into a file; an array of alphas gets as many targets."""


def golden_name(cls: type) -> str:
    """Name of an estimator in the names of its files, such as ``linear_model.Ridge``."""
    return f"{cls.__module__.split('.')[1]}.{cls.__name__}"


def outputs(est: Any, X: np.ndarray) -> dict[str, np.ndarray]:
    """Answers of a fitted estimator to the rows `X`, by the name of the method."""
    answers: dict[str, np.ndarray] = {}
    for method in METHODS:
        if hasattr(est, method):
            rows = answers["transform"] if method == "inverse_transform" else X
            answers[method] = np.asarray(getattr(est, method)(rows))
    return answers


def write_golden(folder: Path) -> list[Path]:
    """Write the golden files that `folder` lacks for this version; return their paths."""
    folder = folder / f"format_{FORMAT_VERSION}" / mf.__version__
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for cls in all_estimators():
        for variant, params in {"default": {}, **VARIANTS.get(cls.__name__, {})}.items():
            for dtype in ("float32", "float64"):
                path = folder / f"{golden_name(cls)}-{variant}-{dtype}.safetensors"
                if not path.exists():
                    write_one(cls(**params), dtype, path)
                    written.append(path)
    return written


def write_one(est: Any, dtype: str, path: Path) -> None:
    """Fit `est` on data of `dtype`, then write the model and its answers."""
    rng = np.random.default_rng(20)
    X = rng.normal(size=(40, 4)).astype(dtype)
    y = (X @ np.array([1.0, -2.0, 0.5, 0.0]) + 3.0).astype(dtype)
    if is_classifier(est):
        y = np.where(y > 3.0, "above", "below")
    elif np.ndim(getattr(est, "alpha", 0)) or not get_tags(est).target_tags.single_output:
        y = np.column_stack([y, -y])
    elif get_tags(est).target_tags.positive_only:
        y = np.exp(y / 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", FutureWarning)  # of defaults
        est.fit(X, y)
    # The answers first: a golden file without them would be taken for finished.
    np.savez(path.with_suffix(".npz"), X=X[:7], **outputs(est, X[:7]))
    mf.save(est, path)


if __name__ == "__main__":
    for name in write_golden(GOLDEN):
        print(name.relative_to(GOLDEN))
