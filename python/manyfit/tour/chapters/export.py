"""Models that leave: verified ONNX, files that are loaded again."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import manyfit as mf
from manyfit._page.words import duration, size
from manyfit.onnx import to_onnx, verify_file
from manyfit.tour.chapter import Chapter, Check, Measurement, Result, Table
from manyfit.tour.stage import Stage
from manyfit.tour.timing import timed

__all__ = ["CHAPTER"]

_CODE = """\
# Compared with the model first, written only when it agrees:
model.to_onnx("ridge.onnx")

# Numbers and JSON, no code:
mf.save(model, "ridge.safetensors")
mf.load("ridge.safetensors").predict(X)

# Elsewhere, without manyfit:
session = onnxruntime.InferenceSession("ridge.onnx")
session.run(None, {"X": X.astype("float32")})
"""


def _run(stage: Stage) -> Result:
    if not stage.kept:
        raise RuntimeError("no chapter before this one kept a model")
    result = Result(headline="", code=_CODE)
    rows, worst = _export_all(stage, result)
    with stage.step("An altered file must be noticed"):
        result.checks.append(_altered_is_noticed(stage.out / f"{stage.kept[0].name}.onnx"))
    n_saved = _save_all(stage, result)
    result.headline = (
        f"{len(rows)} models exported as ONNX, errors at most {worst:.0%} of their bounds; "
        f"{n_saved} saved and loaded bit for bit"
    )
    result.text = [
        "An exported model is compared with the one it was made from on a thousand rows built to break it, "
        "by ONNX Runtime and by ONNX's own reference evaluator, before anything is written. Each row has a "
        "bound, derived from float32 arithmetic, that the answer must keep. Some of those rows travel in "
        "the file, so that whoever receives it can replay them.",
        "Saved files hold numbers and JSON and no code: a file from a stranger can be loaded without fear.",
    ]
    columns = ["model", "file", "size", "largest error", "its bound", "time"]
    result.tables.append(Table("Exported as ONNX in float32, and replayed from the file", columns, rows))
    return result


def _export_all(stage: Stage, result: Result) -> tuple[list[list[str]], float]:
    """Export every model; return the rows of the table and the worst share of a bound."""
    rows, worst, total = [], 0.0, 0.0
    for kept in stage.kept:
        path = stage.out / f"{kept.name}.onnx"
        with stage.step(f"ONNX: {kept.what}"):
            seconds, _ = timed(partial(to_onnx, kept.model, path, X=np.asarray(kept.rows)[:200]))
            report = verify_file(path)
        total += seconds
        found = report.metadata.verification
        worst = max(worst, float(found["worst_ratio"]), report.worst_ratio)
        error, bound = f"{found['max_error']:.1e}", f"{found['max_error_bound']:.1e}"
        rows.append([kept.what, path.name, size(path.stat().st_size), error, bound, duration(seconds)])
        detail = (
            f"{found['probe_rows']} rows compared, {report.golden_rows} replayed from the file; "
            f"largest error {error}, bound there {bound}"
        )
        problem = "; ".join(report.failures)
        result.checks.append(Check(f"ONNX answers as the model: {kept.what}", report.ok, problem or detail))
    result.measurements.append(Measurement(f"ONNX export with verification, {len(rows)} models", total))
    return rows, worst


def _save_all(stage: Stage, result: Result) -> int:
    """Save and load every model that can be; return how many."""
    total, saved = 0.0, [kept for kept in stage.kept if kept.savable]
    for kept in saved:
        path = stage.out / f"{kept.name}.safetensors"
        with stage.step(f"Save and load: {kept.what}"):
            saving, _ = timed(partial(mf.save, kept.model, path))
            loading, loaded = timed(partial(mf.load, path))
        total += saving + loading
        same = np.array_equal(_answers(loaded, kept.rows), _answers(kept.model, kept.rows), equal_nan=True)
        detail = f"{path.name}, {size(path.stat().st_size)}, {len(kept.rows)} rows compared bit for bit"
        result.checks.append(Check(f"Saved and loaded, the same answers: {kept.what}", same, detail))
    result.measurements.append(Measurement(f"Save and load, {len(saved)} models", total))
    return len(saved)


def _altered_is_noticed(path: Path) -> Check:
    """Flip one bit in the middle of a copy and verify that."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    copy = path.with_name("altered.onnx")
    try:
        copy.write_bytes(content)
        try:
            report = verify_file(copy)
            noticed, detail = not report.ok, "; ".join(report.failures) or "taken for intact"
        except mf.ModelFormatError as error:
            noticed, detail = True, str(error)
    finally:
        copy.unlink(missing_ok=True)
    return Check(f"A copy of {path.name} with one bit flipped is refused", noticed, detail)


def _answers(model: Any, rows: Any) -> NDArray[Any]:
    method = model.predict if hasattr(model, "predict") else model.transform
    return np.asarray(method(rows))


CHAPTER = Chapter(90, "Models that leave", _run)
