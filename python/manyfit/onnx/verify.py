"""Compare a graph with the model it was made from, before anything is written.

Three statements are checked on every probe, each within a bound that `manyfit.onnx.bounds` derives
for that row:

1. ONNX Runtime and the reference evaluator give the converter's formula, NaN and infinity
   included, for batches of 0, 1, 7 and 1000 rows;
2. they give what the native model gives, on the rows that the native model accepts;
3. at least one calibration row decided something: a comparison without content is a failure.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from manyfit.exceptions import ExportMismatch
from manyfit.onnx.bounds import Arithmetic, Matrix, Tracked
from manyfit.onnx.compare import Worst, worst
from manyfit.onnx.emitter import FloatDType
from manyfit.onnx.probes import CALIBRATION, Probes
from manyfit.onnx.registry import Step, float_arrays
from manyfit.onnx.runtimes import (
    ONNX_RUNTIME,
    REFERENCE,
    FloatArray,
    Runner,
    onnxruntime_runner,
    reference_runner,
)

SMALL_BATCHES = (7, 7, 1, 1, 1, 1, 1)
# Rows are evaluated in chunks of about this many numbers, which bounds the memory of the bounds.
_CHUNK_ELEMENTS = 1 << 20
# The bounds are computed in float64 and may be too small by a few of its roundings.
_BOUND_ROUNDING = 1 + 2.0**-40


@dataclass(frozen=True)
class Verification:
    """What was found: `expected` and `tolerance` per probe, and how close the graph came.

    `max_error` is the largest distance between ONNX Runtime and the native model on calibration
    rows and `max_error_bound` the bound there; `worst_ratio` is the largest share of its bound
    that any probe used.
    """

    expected: Matrix
    tolerance: Matrix
    max_error: float
    max_error_bound: float
    worst_ratio: float
    undecided: int


def native_dtype(steps: Sequence[Step]) -> FloatDType:
    """Return the type to feed the native model: float32 where every fitted array is float32."""
    arrays = [array for step in steps for array in float_arrays(step.estimator)]
    single = bool(arrays) and all(array.dtype == np.float32 for array in arrays)
    return np.dtype(np.float32 if single else np.float64)


def verify_export(
    name: str, model: Any, steps: Sequence[Step], graph: onnx.ModelProto, probes: Probes
) -> Verification:
    """Raise ExportMismatch unless `graph` computes what `model` does on every probe."""
    rows, dtype = probes.rows, probes.rows.dtype
    value, error, shift, in_range = _evaluate(steps, rows, dtype, native=False)
    runners: dict[str, Runner] = {
        ONNX_RUNTIME: _load_onnxruntime(name, graph.SerializeToString()),
        REFERENCE: reference_runner(graph),
    }
    answers: dict[str, FloatArray] = {}
    for runtime, runner in runners.items():
        for batch in _batches(len(rows)):
            answer = _run(name, runtime, runner, rows[batch], dtype, value.shape[1:])
            found = worst(answer, value[batch], error[batch])
            _require(name, runtime, "the formula of the model", found, probes, batch)
            answers[runtime] = answer if len(batch) == len(rows) else answers[runtime]

    accepted, native_bound = _accepted_rows(model, steps, rows, in_range)
    native = _native(model, steps, rows[accepted])
    if native.shape != native_bound.shape:
        raise ExportMismatch(
            f"{name}: the native model answers {native.shape}, its converter says {native_bound.shape}"
        )
    native, at_the_edge = _overflow_like(native, value[accepted], dtype)
    tolerance = error + shift
    tolerance[accepted] += np.where(at_the_edge, np.inf, native_bound)
    tolerance *= _BOUND_ROUNDING
    expected = value.copy()
    expected[accepted] = native
    for runtime, answer in answers.items():
        found = worst(answer[accepted], native, tolerance[accepted])
        _require(name, runtime, "the native model", found, probes, accepted)

    return _summarise(name, answers[ONNX_RUNTIME], expected, tolerance, accepted, probes)


def _evaluate(
    steps: Sequence[Step], rows: FloatArray, dtype: FloatDType, *, native: bool
) -> tuple[Matrix, Matrix, Matrix, npt.NDArray[np.bool_]]:
    """Evaluate the steps' formulas with their bounds, in the graph's or the native arithmetic.

    Returns the value, its error and shift, and whether no row overflows on its way to the last step.
    """
    chunk = max(1, _CHUNK_ELEMENTS // max(rows.shape[1], 1))
    parts = []
    with np.errstate(all="ignore"):
        for start in range(0, len(rows), chunk):
            tracked = Tracked.exactly(rows[start : start + chunk], Arithmetic(dtype), native=native)
            in_range = np.ones(len(tracked.value), dtype=np.bool_)
            for step in steps:
                in_range &= (~np.isinf(tracked.value) & ~np.isinf(tracked.error)).all(axis=1)
                if native:
                    tracked = tracked.rounded_like(_native_arithmetic(step, dtype))
                tracked = step.converter.evaluate(step.estimator, tracked)
            parts.append((tracked.value, tracked.error, tracked.shift, in_range))
    value, error, shift, in_range = (np.concatenate(part) for part in zip(*parts, strict=True))
    return value, error, shift, in_range


def _native_arithmetic(step: Step, fed: FloatDType) -> Arithmetic:
    """Return the coarsest type that a step may compute in."""
    types = [array.dtype for array in float_arrays(step.estimator)]
    single = np.dtype(np.float32) in [*types, fed]
    return Arithmetic(np.dtype(np.float32 if single else np.float64))


def _accepted_rows(
    model: Any, steps: Sequence[Step], rows: FloatArray, graph_in_range: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], Matrix]:
    """Return the rows that the native model answers, and the bound of its own rounding on them.

    These are the finite rows, and those with NaN where the model declares to take them, except rows
    that overflow between two steps of a pipeline: in the native arithmetic, because the later step
    refuses them, or in the graph's, because the two then rightly differ.
    """
    from sklearn.utils import get_tags

    allowed = np.isfinite(rows)
    if get_tags(model).input_tags.allow_nan:
        allowed |= np.isnan(rows)
    candidates = np.flatnonzero(allowed.all(axis=1) & graph_in_range)
    _, error, shift, in_range = _evaluate(steps, rows[candidates], native_dtype(steps), native=True)
    return candidates[in_range], (error + shift)[in_range]


def _native(model: Any, steps: Sequence[Step], rows: FloatArray) -> Matrix:
    """Return the native model's answers."""
    method = getattr(model, steps[-1].converter.output.method)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # The probes bear no feature names and overflow on purpose.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        return np.asarray(method(rows.astype(native_dtype(steps))), dtype=np.float64)


def _overflow_like(native: Matrix, value: Matrix, dtype: FloatDType) -> tuple[Matrix, npt.NDArray[np.bool_]]:
    """Let native numbers overflow as they would in the export type; keep the digits of the others.

    Also tell which ones lie at the edge of that type's range, where rounding decides.
    """
    largest = float(np.finfo(dtype).max)
    smaller = np.minimum(np.abs(native), np.abs(value))
    larger = np.maximum(np.abs(native), np.abs(value))
    at_the_edge = (larger > 0.99 * largest) & ~(smaller > 1.01 * largest)
    return np.where(np.abs(native) > largest, np.copysign(np.inf, native), native), at_the_edge


def _batches(n_rows: int) -> list[npt.NDArray[np.int64]]:
    """Return the rows of every batch: all of them, none, and small batches of mixed probes."""
    batches, start = [np.arange(n_rows), np.arange(0)], 0
    for size in SMALL_BATCHES:
        batches.append(np.arange(start, start + size))
        start += size
    return batches


def _load_onnxruntime(name: str, serialized: bytes) -> Runner:
    try:
        return onnxruntime_runner(serialized)
    except Exception as error:
        raise ExportMismatch(f"{name}: {ONNX_RUNTIME} does not load the graph: {error}") from error


def _run(
    name: str, runtime: str, runner: Runner, rows: FloatArray, dtype: FloatDType, tail: tuple[int, ...]
) -> FloatArray:
    try:
        (answer,) = runner(rows)
    except Exception as error:
        raise ExportMismatch(f"{name}: {runtime} fails on {len(rows)} rows: {error}") from error
    if answer.shape != (len(rows), *tail) or answer.dtype != dtype:
        raise ExportMismatch(
            f"{name}: {runtime} answers {answer.dtype} {answer.shape} for {len(rows)} rows, "
            f"expected {dtype} {(len(rows), *tail)}"
        )
    return answer


def _require(
    name: str,
    runtime: str,
    other: str,
    found: Worst | None,
    probes: Probes,
    batch: npt.NDArray[np.int64],
) -> None:
    """Raise ExportMismatch where the worst element oversteps its bound, and describe its row."""
    if found is None or found.ratio <= 1:
        return
    row = int(batch[found.row])
    shown = ", ".join(f"{float(x):.9g}" for x in probes.rows[row][:8])
    if probes.rows.shape[1] > 8:
        shown += ", ..."
    raise ExportMismatch(
        f"{name}: {runtime} and {other} disagree, nothing was written. Worst is probe {row} "
        f"({probes.kinds[row]}, batch of {len(batch)}): expected {found.expected:.9g}, "
        f"got {found.actual:.9g}, difference {found.difference:.3g}, bound {found.bound:.3g}; "
        f"input row [{shown}]"
    )


def _summarise(
    name: str,
    answer: FloatArray,
    expected: Matrix,
    tolerance: Matrix,
    accepted: npt.NDArray[np.int64],
    probes: Probes,
) -> Verification:
    """Condense the comparison, and refuse one that decided nothing."""
    per_row = (len(expected), -1)
    decided = (np.isfinite(tolerance) & np.isfinite(expected)).reshape(per_row).all(axis=1)
    calibration = probes.of_kind(CALIBRATION) & decided
    if not calibration.any():
        raise ExportMismatch(
            f"{name}: no probe could be compared, every result leaves the range of the arithmetic"
        )
    with np.errstate(all="ignore"):
        distance = np.abs(answer.astype(np.float64) - expected).reshape(per_row)[calibration]
    at = int(np.argmax(distance))
    compared = worst(answer[accepted], expected[accepted], tolerance[accepted])
    return Verification(
        expected=expected,
        tolerance=tolerance,
        max_error=float(distance.flat[at]),
        max_error_bound=float(tolerance.reshape(per_row)[calibration].flat[at]),
        worst_ratio=compared.ratio if compared is not None else 0.0,
        undecided=int(np.count_nonzero(np.isinf(tolerance).reshape(per_row).any(axis=1))),
    )
