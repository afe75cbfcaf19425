"""Compare a graph with the model it was made from, before anything is written.

Three statements are checked on every probe, each within a bound that `manyfit.onnx.bounds` derives
for that row:

1. ONNX Runtime and the reference evaluator give the converter's formula, NaN and infinity
   included, for batches of 0, 1, 7 and 1000 rows;
2. they give what the native model gives, on the rows that the native model accepts;
3. at least one calibration row decided something, for every output: a comparison without content is
   a failure.

Numbers are compared within their bounds. Labels are compared by the index of their class and must
be equal, except on rows where the best scores lie within their bounds of each other; those are
counted as undecided.
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
from manyfit.onnx.registry import Output, Step, float_arrays
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
_NOTHING_TO_COMPARE = {
    "range": "every result leaves the range of the arithmetic",
    "label": "the scores of the classes lie closer than the arithmetic tells apart",
}
# The bounds are computed in float64 and may be too small by a few of its roundings.
_BOUND_ROUNDING = 1 + 2.0**-40


@dataclass(frozen=True)
class Verification:
    """What was found: `expected` and `tolerance` per output and probe, and how close the graph came.

    `max_error` is the largest distance between ONNX Runtime and the native model on calibration
    rows and `max_error_bound` the bound there; `worst_ratio` is the largest share of its bound
    that any probe used. Of a classifier, `undecided_labels` counts the rows whose best scores lie
    within their bounds, and `other_labels` those of them on which the graph gives another label.
    """

    expected: tuple[Matrix, ...]
    tolerance: tuple[Matrix, ...]
    max_error: float
    max_error_bound: float
    worst_ratio: float
    undecided: int
    undecided_labels: int
    other_labels: int

    def decided(self) -> npt.NDArray[np.bool_]:
        """Return the mask of the rows that every output decides."""
        decided = [np.isfinite(_by_row(each)).all(axis=1) for each in self.tolerance]
        return np.asarray(np.all(decided, axis=0))


def native_dtype(steps: Sequence[Step]) -> FloatDType:
    """Return the type to feed the native model: float32 where every fitted array is float32."""
    arrays = [array for step in steps for array in float_arrays(step.estimator)]
    single = bool(arrays) and all(array.dtype == np.float32 for array in arrays)
    return np.dtype(np.float32 if single else np.float64)


def verify_export(
    name: str, model: Any, steps: Sequence[Step], graph: onnx.ModelProto, probes: Probes
) -> Verification:
    """Raise ExportMismatch unless `graph` computes what `model` does on every probe."""
    rows, dtype, outputs = probes.rows, probes.rows.dtype, steps[-1].outputs
    formula, in_range = _evaluate(steps, rows, dtype, native=False)
    runners: dict[str, Runner] = {
        ONNX_RUNTIME: _load_onnxruntime(name, graph.SerializeToString()),
        REFERENCE: reference_runner(graph),
    }
    answers: dict[str, list[Matrix]] = {}
    for runtime, runner in runners.items():
        for batch in _batches(len(rows)):
            told = _run(name, runtime, runner, rows[batch], outputs, formula)
            for output, answer, each in zip(outputs, told, formula, strict=True):
                found = worst(answer, each.value[batch], each.error[batch])
                _require(name, runtime, "the formula of the model", output, found, probes, batch)
            answers[runtime] = told if len(batch) == len(rows) else answers[runtime]

    accepted, native_formula = _accepted_rows(model, steps, rows, in_range)
    expected, tolerance = [], []
    for i, (output, each) in enumerate(zip(outputs, formula, strict=True)):
        native_bound = native_formula[i].error + native_formula[i].shift
        native = _native(name, model, steps, output, rows[accepted], native_bound.shape)
        native, at_the_edge = _overflow_like(native, each.value[accepted], dtype)
        bound = each.error + each.shift
        bound[accepted] += np.where(at_the_edge, np.inf, native_bound)
        tolerance.append(bound * _BOUND_ROUNDING)
        expected.append(each.value.copy())
        expected[i][accepted] = native
        for runtime, told in answers.items():
            found = worst(told[i][accepted], native, tolerance[i][accepted])
            _require(name, runtime, "the native model", output, found, probes, accepted)

    return _summarise(name, outputs, answers[ONNX_RUNTIME], expected, tolerance, accepted, probes)


def _by_row(array: Matrix) -> Matrix:
    """Return an output with two axes, whatever it has."""
    return array.reshape(len(array), -1)


def _evaluate(
    steps: Sequence[Step], rows: FloatArray, dtype: FloatDType, *, native: bool
) -> tuple[tuple[Tracked, ...], npt.NDArray[np.bool_]]:
    """Evaluate the steps' formulas with their bounds, in the graph's or the native arithmetic.

    Returns the last step's outputs, and whether no row overflows on its way to the last step.
    """
    chunk = max(1, _CHUNK_ELEMENTS // max(rows.shape[1], 1))
    parts: list[tuple[Tracked, ...]] = []
    ranges = []
    with np.errstate(all="ignore"):
        for start in range(0, max(len(rows), 1), chunk):
            first = Tracked.exactly(rows[start : start + chunk], Arithmetic(dtype), native=native)
            tracked: tuple[Tracked, ...] = (first,)
            in_range = np.ones(len(tracked[0].value), dtype=np.bool_)
            for step in steps:
                x = tracked[0]
                in_range &= (~np.isinf(x.value) & ~np.isinf(x.error)).all(axis=1)
                if native:
                    x = x.rounded_like(_native_arithmetic(step, dtype))
                tracked = step.evaluate(x)
            parts.append(tracked)
            ranges.append(in_range)
    outputs = tuple(Tracked.stacked(chunks) for chunks in zip(*parts, strict=True))
    return outputs, np.concatenate(ranges)


def _native_arithmetic(step: Step, fed: FloatDType) -> Arithmetic:
    """Return the coarsest type that a step may compute in."""
    types = [array.dtype for array in float_arrays(step.estimator)]
    single = np.dtype(np.float32) in [*types, fed]
    return Arithmetic(np.dtype(np.float32 if single else np.float64))


def _accepted_rows(
    model: Any, steps: Sequence[Step], rows: FloatArray, graph_in_range: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], tuple[Tracked, ...]]:
    """Return the rows that the native model answers, and its outputs with the bounds of its own rounding.

    These are the finite rows, and those with NaN where the model declares to take them, except rows
    that overflow between two steps of a pipeline: in the native arithmetic, because the later step
    refuses them, or in the graph's, because the two then rightly differ.
    """
    from sklearn.utils import get_tags

    allowed = np.isfinite(rows)
    if get_tags(model).input_tags.allow_nan:
        allowed |= np.isnan(rows)
    candidates = np.flatnonzero(allowed.all(axis=1) & graph_in_range)
    outputs, in_range = _evaluate(steps, rows[candidates], native_dtype(steps), native=True)
    return candidates[in_range], tuple(each.rows(in_range) for each in outputs)


def _native(
    name: str, model: Any, steps: Sequence[Step], output: Output, rows: FloatArray, shape: tuple[int, ...]
) -> Matrix:
    """Return the native model's answers as they are compared."""
    method = getattr(model, output.method)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # The probes bear no feature names and overflow on purpose.
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        answer = output.predicted(method(rows.astype(native_dtype(steps))))
    if answer.shape != shape:
        raise ExportMismatch(
            f"{name}: the native model's {output.method} answers {answer.shape}, its converter says {shape}"
        )
    return answer


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
    name: str,
    runtime: str,
    runner: Runner,
    rows: FloatArray,
    outputs: Sequence[Output],
    formula: Sequence[Tracked],
) -> list[Matrix]:
    """Return a runtime's answers as they are compared; types and shapes are the promised ones."""
    try:
        answers = runner(rows)
    except Exception as error:
        raise ExportMismatch(f"{name}: {runtime} fails on {len(rows)} rows: {error}") from error
    if len(answers) != len(outputs):
        raise ExportMismatch(f"{name}: {runtime} gives {len(answers)} outputs, expected {len(outputs)}")
    for output, answer, each in zip(outputs, answers, formula, strict=True):
        dtype, shape = output.dtype(rows.dtype), (len(rows), *each.value.shape[1:])
        if answer.shape != shape or answer.dtype != dtype:
            raise ExportMismatch(
                f"{name}: {runtime} answers {answer.dtype} {answer.shape} for {len(rows)} rows, "
                f"expected {dtype} {shape} as {output.name}"
            )
    return [output.told(answer) for output, answer in zip(outputs, answers, strict=True)]


def _require(
    name: str,
    runtime: str,
    other: str,
    output: Output,
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
    distance = f", difference {found.difference:.3g}, bound {found.bound:.3g}"
    raise ExportMismatch(
        f"{name}: {runtime} and {other} disagree on {output.name}, nothing was written. Worst is probe "
        f"{row} ({probes.kinds[row]}, batch of {len(batch)}): expected {output.show(found.expected)}, "
        f"got {output.show(found.actual)}{distance if output.classes is None else ''}; "
        f"input row [{shown}]"
    )


def _summarise(
    name: str,
    outputs: Sequence[Output],
    answers: Sequence[Matrix],
    expected: Sequence[Matrix],
    tolerance: Sequence[Matrix],
    accepted: npt.NDArray[np.int64],
    probes: Probes,
) -> Verification:
    """Condense the comparison, and refuse one that decided nothing."""
    calibration = probes.of_kind(CALIBRATION)
    errors, ratios, undecided_labels, other_labels = [(0.0, 0.0)], [0.0], 0, 0
    for output, answer, value, bound in zip(outputs, answers, expected, tolerance, strict=True):
        decided = (np.isfinite(_by_row(bound)) & np.isfinite(_by_row(value))).all(axis=1)
        ordinary = calibration & decided
        if not ordinary.any():
            raise ExportMismatch(
                f"{name}: no probe could be compared by its {output.name}, "
                + _NOTHING_TO_COMPARE["range" if output.classes is None else "label"]
            )
        if output.classes is not None:
            undecided_labels += int(np.count_nonzero(~decided))
            other_labels += int(np.count_nonzero((answer != value)[accepted]))
            continue
        with np.errstate(all="ignore"):
            distance = np.abs(_by_row(answer) - _by_row(value))[ordinary]
        at = int(np.argmax(distance))
        errors.append((float(distance.flat[at]), float(_by_row(bound)[ordinary].flat[at])))
        compared = worst(answer[accepted], value[accepted], bound[accepted])
        ratios.append(compared.ratio if compared is not None else 0.0)
    max_error, max_error_bound = max(errors)
    undecided = np.any([np.isinf(_by_row(bound)).any(axis=1) for bound in tolerance], axis=0)
    return Verification(
        expected=tuple(expected),
        tolerance=tuple(tolerance),
        max_error=max_error,
        max_error_bound=max_error_bound,
        worst_ratio=max(ratios),
        undecided=int(np.count_nonzero(undecided)),
        undecided_labels=undecided_labels,
        other_labels=other_labels,
    )
