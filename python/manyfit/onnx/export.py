"""`to_onnx`: build the graph, compare it with the model, and only then let it out."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import manyfit
from manyfit._atomic import atomic_write
from manyfit.exceptions import ExportMismatch
from manyfit.onnx import metadata as meta
from manyfit.onnx.bounds import Matrix
from manyfit.onnx.compare import worst
from manyfit.onnx.emitter import FloatDType, GraphEmitter, Value
from manyfit.onnx.files import MAX_FILE_BYTES
from manyfit.onnx.probes import PROBE_SEED, Probes, make_probes
from manyfit.onnx.profiles import get_dtype, get_profile
from manyfit.onnx.registry import Step, public_name, steps_of
from manyfit.onnx.runtimes import onnxruntime_runner, versions
from manyfit.onnx.verify import Verification, native_dtype, verify_export

# Golden rows take about this many numbers, and at least `_MIN_GOLDEN_ROWS` rows however wide.
_GOLDEN_NUMBERS = 8192
_MAX_GOLDEN_ROWS = 40
_MIN_GOLDEN_ROWS = 4


def to_onnx(
    model: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    profile: str = "portable",
    dtype: str = "float32",
    X: npt.ArrayLike | None = None,
) -> onnx.ModelProto:
    """Export a fitted model as verified ONNX.

    The graph is compared with the model on 1000 probes, by ONNX Runtime and by ONNX's reference
    evaluator, before anything is returned or written.

    Parameters
    ----------
    model : estimator or sklearn.pipeline.Pipeline
        A fitted estimator of manyfit, its scikit-learn counterpart, a scaler, or a pipeline of them.
    path : str or path-like, optional
        Where to write the file. It appears whole or not at all.
    profile : {"portable", "ml"}, default="portable"
        "portable" uses standard operators only (ai.onnx 18); "ml" may also use ai.onnx.ml 3.
    dtype : {"float32", "float64"}, default="float32"
        The type of the graph's input, constants and output.
    X : array-like of shape (n_samples, n_features), optional
        Rows to compare on besides the built-in probes, for instance some of the training data.
        Without it, rows are drawn from what the fitted model knows about its data.

    Returns
    -------
    onnx.ModelProto
        The model: input ``X`` [N, n_features]; output ``predictions`` (regressors, shaped like
        `predict`) or ``transformed`` (transformers); see the documentation for its metadata.

    Raises
    ------
    manyfit.exceptions.ExportMismatch
        Where the graph does not compute what the model does. Nothing is written.
    sklearn.exceptions.NotFittedError
        Where the model, or a step of it, is not fitted.
    TypeError
        Where a step has no converter; the message names it.
    ValueError
        Where a parameter is invalid, or a fitted number is outside the range of `dtype`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from manyfit.onnx import to_onnx
    >>> X = np.arange(20.0).reshape(10, 2) ** 2
    >>> graph = to_onnx(Ridge().fit(X, X @ [1.0, 2.0]))
    >>> [node.op_type for node in graph.graph.node]
    ['Gemm', 'Squeeze']
    """
    export_dtype = get_dtype(dtype)
    chosen = get_profile(profile)
    steps = steps_of(model)
    name = public_name(type(model))
    n_features = int(steps[0].estimator.n_features_in_)
    user_rows = _user_rows(X, steps[0].estimator, n_features)

    emitter = GraphEmitter(export_dtype, chosen, n_features)
    value = emitter.input
    for step in steps:
        value = step.converter.emit(step.estimator, emitter, value)
    output = steps[-1].converter.output.name
    graph = emitter.build(name.rpartition(".")[2], {output: value})

    grid = min(export_dtype, native_dtype(steps), key=lambda each: each.itemsize)
    probes = make_probes(steps[0].converter.inputs(steps[0].estimator), export_dtype, grid, user_rows)
    verification = verify_export(name, model, steps, graph, probes)
    meta.stamp(graph, _metadata(name, steps, profile, export_dtype, value, probes, verification))
    serialized = _checked_bytes(name, graph)
    if path is not None:
        with atomic_write(path) as file:
            file.write(serialized)
    return graph


def _user_rows(X: npt.ArrayLike | None, first: Any, n_features: int) -> Matrix | None:
    """Validate the caller's rows: the model's columns in the model's order."""
    if X is None:
        return None
    fitted = getattr(first, "feature_names_in_", None)
    columns = getattr(X, "columns", None)
    if fitted is not None and columns is not None and list(columns) != list(fitted):
        raise ValueError(f"to_onnx: X must have the columns {list(fitted)}, got {list(columns)}")
    try:
        rows = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"to_onnx: X must be a dense numeric matrix, got {type(X).__name__}") from error
    if rows.ndim != 2 or rows.shape[1] != n_features:
        raise ValueError(f"to_onnx: X must have shape (n_samples, {n_features}), got {rows.shape}")
    return rows


def _metadata(
    name: str,
    steps: list[Step],
    profile: str,
    dtype: FloatDType,
    value: Value,
    probes: Probes,
    verification: Verification,
) -> meta.Metadata:
    first = steps[0].estimator
    names = getattr(first, "feature_names_in_", None)
    return meta.Metadata(
        version=str(getattr(manyfit, "__version__", "unknown")),
        estimator=name,
        steps=[[step.place, step.name] for step in steps],
        profile=profile,
        dtype=dtype.name,
        n_features=int(first.n_features_in_),
        feature_names=None if names is None else [str(each) for each in names],
        output={
            "name": steps[-1].converter.output.name,
            "dtype": dtype.name,
            "shape": ["N", *value.shape],
        },
        verification={
            "probe_seed": PROBE_SEED,
            "probe_rows": len(probes.rows),
            "undecided_rows": verification.undecided,
            "max_error": verification.max_error,
            "max_error_bound": verification.max_error_bound,
            "worst_ratio": verification.worst_ratio,
            "runtimes": versions(),
        },
        golden=_golden(probes, verification),
    )


def _golden(probes: Probes, verification: Verification) -> meta.Golden:
    """Choose golden rows: every kind of probe in turn, as many as fit, decided ones only."""
    width = probes.rows.shape[1] + 2 * max(1, verification.expected[:1].size)
    count = int(np.clip(_GOLDEN_NUMBERS // width, _MIN_GOLDEN_ROWS, _MAX_GOLDEN_ROWS))
    decided = np.isfinite(verification.tolerance).reshape(len(probes.rows), -1).all(axis=1)
    of_kind: dict[str, list[int]] = {}
    for row in np.flatnonzero(decided):
        of_kind.setdefault(probes.kinds[row], []).append(int(row))
    # Round robin: the first row of every kind, then the second of every kind, and so on.
    ranked = sorted((rank, kind, row) for kind, rows in of_kind.items() for rank, row in enumerate(rows))
    chosen = [row for _, _, row in ranked[:count]]
    return meta.Golden(
        rows=probes.rows[chosen],
        kinds=tuple(probes.kinds[row] for row in chosen),
        expected=verification.expected[chosen],
        tolerance=verification.tolerance[chosen],
    )


def _checked_bytes(name: str, graph: onnx.ModelProto) -> bytes:
    """Serialise, and replay what was just serialised: these very bytes are what goes out."""
    if graph.ByteSize() > MAX_FILE_BYTES:
        raise ValueError(
            f"to_onnx: the model takes {graph.ByteSize()} bytes, at most {MAX_FILE_BYTES} are written"
        )
    serialized: bytes = graph.SerializeToString()
    parsed = onnx.ModelProto.FromString(serialized)
    data = meta.read(parsed)
    (answer,) = onnxruntime_runner(serialized)(data.golden.rows)
    found = worst(answer, data.golden.expected, data.golden.tolerance)
    if not meta.is_intact(serialized, parsed) or found is None or found.ratio > 1:
        raise ExportMismatch(f"{name}: the serialised model is not the one that was verified: {found}")
    return serialized
