"""`to_onnx`: build the graph, compare it with the model, and only then let it out."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

import manyfit
from manyfit._atomic import atomic_write
from manyfit.exceptions import ExportMismatch
from manyfit.onnx import metadata as meta
from manyfit.onnx.bounds import Matrix
from manyfit.onnx.emitter import FloatDType, GraphEmitter, Value
from manyfit.onnx.files import MAX_FILE_BYTES
from manyfit.onnx.probes import PROBE_SEED, Probes, make_probes
from manyfit.onnx.profiles import get_dtype, get_profile
from manyfit.onnx.registry import Output, Step, emit_steps, public_name, steps_of
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
        A fitted estimator of manyfit, its scikit-learn counterpart, a scaler, a pipeline of them, or a search
        whose best estimator is one of these.
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
        `predict`), ``transformed`` (transformers), or, of classifiers, ``label`` [N] with
        ``probabilities`` [N, n_classes] or, where there is no `predict_proba`, ``scores``; see the
        documentation for its metadata.

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
    values = emit_steps(steps, emitter, emitter.input)
    named = {output.name: value for output, value in zip(steps[-1].outputs, values, strict=True)}
    graph = emitter.build(name.rpartition(".")[2], named)

    grid = min(export_dtype, native_dtype(steps), key=lambda each: each.itemsize)
    probes = make_probes(steps[0].converter.inputs(steps[0].estimator), export_dtype, grid, user_rows)
    verification = verify_export(name, model, steps, graph, probes)
    meta.stamp(graph, _metadata(name, steps, profile, export_dtype, values, probes, verification))
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
    values: tuple[Value, ...],
    probes: Probes,
    verification: Verification,
) -> meta.Metadata:
    first, outputs = steps[0].estimator, steps[-1].outputs
    names = getattr(first, "feature_names_in_", None)
    classes = next((output.classes for output in outputs if output.classes is not None), None)
    found: dict[str, Any] = {
        "probe_seed": PROBE_SEED,
        "probe_rows": len(probes.rows),
        "undecided_rows": verification.undecided,
        "max_error": verification.max_error,
        "max_error_bound": verification.max_error_bound,
        "worst_ratio": verification.worst_ratio,
        "runtimes": versions(),
    }
    if classes is not None:
        found["undecided_labels"] = verification.undecided_labels
        found["other_labels"] = verification.other_labels
    return meta.Metadata(
        version=str(getattr(manyfit, "__version__", "unknown")),
        estimator=name,
        steps=[[step.place, step.name] for step in steps],
        profile=profile,
        dtype=dtype.name,
        n_features=int(first.n_features_in_),
        feature_names=None if names is None else [str(each) for each in names],
        outputs=[
            {"name": output.name, "dtype": str(output.dtype(dtype)), "shape": ["N", *value.shape]}
            for output, value in zip(outputs, values, strict=True)
        ],
        classes=classes,
        verification=found,
        golden=_golden(probes, outputs, verification),
    )


def _golden(probes: Probes, outputs: tuple[Output, ...], verification: Verification) -> meta.Golden:
    """Choose golden rows: every kind of probe in turn, as many as fit, decided ones only."""
    width = probes.rows.shape[1] + 2 * max(1, sum(each[:1].size for each in verification.expected))
    count = int(np.clip(_GOLDEN_NUMBERS // width, _MIN_GOLDEN_ROWS, _MAX_GOLDEN_ROWS))
    decided = np.flatnonzero(verification.decided()).tolist()
    # Round robin: the first row of every kind, then the second of every kind, and so on; within a kind
    # the labels take turns.
    turns: Counter[tuple[str, float]] = Counter()
    of_kind: dict[str, list[tuple[int, int]]] = {}
    for row in decided:
        kind, label = probes.kinds[row], _label(outputs, verification, row)
        of_kind.setdefault(kind, []).append((row if label is None else turns[kind, label], row))
        turns[kind, label or 0.0] += 1
    ranked = sorted(
        (rank, kind, row) for kind, rows in of_kind.items() for rank, (_, row) in enumerate(sorted(rows))
    )
    chosen = [row for _, _, row in ranked[:count]]
    return meta.Golden(
        rows=probes.rows[chosen],
        kinds=tuple(probes.kinds[row] for row in chosen),
        expected=tuple(each[chosen] for each in verification.expected),
        tolerance=tuple(each[chosen] for each in verification.tolerance),
    )


def _label(outputs: tuple[Output, ...], verification: Verification, row: int) -> float | None:
    """Return a probe's label, None where the model gives none."""
    for output, expected in zip(outputs, verification.expected, strict=True):
        if output.classes is not None:
            return float(expected[row])
    return None


def _checked_bytes(name: str, graph: onnx.ModelProto) -> bytes:
    """Serialise, and replay what was just serialised: these very bytes are what goes out."""
    if graph.ByteSize() > MAX_FILE_BYTES:
        raise ValueError(
            f"to_onnx: the model takes {graph.ByteSize()} bytes, at most {MAX_FILE_BYTES} are written"
        )
    serialized: bytes = graph.SerializeToString()
    parsed = onnx.ModelProto.FromString(serialized)
    data = meta.read(parsed)
    answers = onnxruntime_runner(serialized)(data.golden.rows)
    found = [nearest for nearest in data.compare(answers) if nearest is None or nearest.ratio > 1]
    if not meta.is_intact(serialized, parsed) or found:
        raise ExportMismatch(f"{name}: the serialised model is not the one that was verified: {found}")
    return serialized
