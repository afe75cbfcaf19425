"""Replay a file's golden rows on the ONNX Runtime at hand."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from manyfit.exceptions import ModelFormatError
from manyfit.onnx import metadata as meta
from manyfit.onnx.compare import Worst, worst
from manyfit.onnx.files import read_model
from manyfit.onnx.metadata import Metadata
from manyfit.onnx.probes import CALIBRATION
from manyfit.onnx.profiles import DTYPES, INPUT_NAME, PROFILES, check_model
from manyfit.onnx.runtimes import onnxruntime_runner, versions

_WIDTH = 79
_LABEL = 12


@dataclass(frozen=True)
class VerifyReport:
    """The outcome of `verify_file`.

    Attributes
    ----------
    path : str
        The file.
    estimator : str
        Public name of the exported model's class.
    failures : tuple of str
        What is wrong, in words; empty where `ok`.
    golden_rows : int
        Number of golden rows replayed; 0 where the file was altered, its graph is not run then.
    max_error : float
        Largest distance from the recorded answers on ordinary (calibration) rows.
    worst_ratio : float
        The largest share of its tolerance that any value used; above 1 is a mismatch.
    """

    path: str
    estimator: str
    failures: tuple[str, ...]
    golden_rows: int
    max_error: float
    worst_ratio: float
    runtimes: dict[str, str] = field(repr=False)
    metadata: Metadata = field(repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures

    def lines(self) -> list[str]:
        """Return the report as lines of at most 79 columns."""
        data = self.metadata
        shape = ", ".join(str(n) for n in data.output["shape"])
        graph = f"profile {data.profile}, {data.dtype}, {data.n_features} features"
        found = [
            ("estimator", f"{self.estimator}, exported by manyfit {data.version}"),
            ("graph", f"{graph} -> {data.output['name']} [{shape}]"),
            ("exported on", _versions(data.verification["runtimes"])),
            ("runs on", _versions(self.runtimes)),
        ]
        if self.golden_rows:
            found.append(("replayed", f"{self.golden_rows} golden rows, together and one by one"))
            share = f"{self.worst_ratio:.2f} of its bound in the worst row"
            found.append(("error", f"{self.max_error:.3g} on ordinary rows, {share}"))
        found += [("problem", failure) for failure in self.failures]
        lines = _wrap("", f"{'OK' if self.ok else 'FAILED'}: {self.path}")
        return lines + [line for label, text in found for line in _wrap(label, text)]


def verify_file(path: str | os.PathLike[str]) -> VerifyReport:
    """Replay the golden rows of a file that manyfit exported, on the ONNX Runtime installed here.

    Parameters
    ----------
    path : str or path-like
        The ONNX file.

    Returns
    -------
    VerifyReport
        `ok` is False where the file was altered after export (its graph is then not run) or a
        golden row comes out wrong.

    Raises
    ------
    manyfit.exceptions.ModelFormatError
        Where the file is truncated, not ONNX, too large, refers to other files, or was not
        exported by manyfit.
    OSError
        Where the file cannot be read.
    """
    serialized, model = read_model(path)
    name = Path(path).name
    intact = meta.is_intact(serialized, model)
    try:
        data = meta.read(model)
        if intact:
            _check_graph(model, data)
    except (ModelFormatError, ValueError) as error:
        altered = "" if intact or not meta.is_ours(model) else "altered after export: "
        raise ModelFormatError(f"{name}: {altered}{_plain(error)}") from error
    if intact:
        return _replay(os.fspath(path), serialized, data)
    problem = "altered after export: the checksum does not match, so the graph was not run"
    return _report(os.fspath(path), data, (problem,), [])


def _check_graph(model: onnx.ModelProto, data: Metadata) -> None:
    """Raise ValueError unless the graph is one this package could have written for this metadata."""
    check_model(model, PROFILES[data.profile])
    shapes = [(INPUT_NAME, ["N", data.n_features]), (data.output["name"], data.output["shape"])]
    values = [*model.graph.input, *model.graph.output]
    for value, (name, shape) in zip(values, shapes, strict=True):
        tensor = value.type.tensor_type
        found = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        if value.name != name or found != shape or tensor.elem_type != DTYPES[data.dtype]:
            raise ValueError(f"the graph's {value.name!r} is not what the metadata says")


def _replay(path: str, serialized: bytes, data: Metadata) -> VerifyReport:
    golden = data.golden
    try:
        run = onnxruntime_runner(serialized)
        together = run(golden.rows)[0]
        singly = [run(golden.rows[i : i + 1])[0] for i in range(len(golden.rows))]
        answers = [together, np.concatenate(singly)]
    except Exception as error:
        return _report(path, data, (f"ONNX Runtime cannot run the graph: {_plain(error)}",), [])
    found, failures = [], []
    for answer, batch in zip(answers, ("together", "one by one"), strict=True):
        same_shape = answer.shape == golden.expected.shape
        nearest = worst(answer, golden.expected, golden.tolerance) if same_shape else None
        if nearest is None:
            failures.append(f"golden rows {batch}: shape {answer.shape}, not {golden.expected.shape}")
            continue
        ordinary = [kind == CALIBRATION for kind in golden.kinds]
        errors = np.abs(answer[ordinary].astype(np.float64) - golden.expected[ordinary])
        found.append((nearest, float(errors.max(initial=0.0))))
        if nearest.ratio > 1:
            failures.append(_mismatch(nearest, golden.kinds[nearest.row], batch))
    return _report(path, data, tuple(failures), found)


def _mismatch(found: Worst, kind: str, batch: str) -> str:
    return (
        f"golden row {found.row} ({kind}, {batch}): expected {found.expected:.9g}, "
        f"got {found.actual:.9g}, difference {found.difference:.3g}, bound {found.bound:.3g}"
    )


def _report(
    path: str, data: Metadata, failures: tuple[str, ...], found: list[tuple[Worst, float]]
) -> VerifyReport:
    return VerifyReport(
        path=path,
        estimator=data.estimator,
        failures=failures,
        golden_rows=len(data.golden.kinds) if found else 0,
        max_error=max((error for _, error in found), default=0.0),
        worst_ratio=max((nearest.ratio for nearest, _ in found), default=0.0),
        runtimes=versions(),
        metadata=data,
    )


def _plain(error: Exception) -> str:
    """Return an error's text on one line, without what a hostile file could do to a terminal."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:500]


def _versions(runtimes: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in runtimes.items())


def _wrap(label: str, text: str) -> list[str]:
    """Lay a text out beside its label, in as many lines as it takes."""
    if not label:
        return textwrap.wrap(text, _WIDTH, subsequent_indent="  ")
    indent = " " * (_LABEL + 3)
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {label:<{_LABEL}} ", subsequent_indent=indent)
