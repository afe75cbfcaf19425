"""Replay a file's golden rows on the ONNX Runtime at hand."""

from __future__ import annotations

import os
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from manyfit.exceptions import ModelFormatError
from manyfit.onnx import metadata as meta
from manyfit.onnx.compare import Worst
from manyfit.onnx.files import read_model
from manyfit.onnx.metadata import LABEL_DTYPE, Metadata
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
        outputs = ", ".join(
            f"{output['name']} [{', '.join(str(n) for n in output['shape'])}]" for output in data.outputs
        )
        graph = f"profile {data.profile}, {data.dtype}, {data.n_features} features"
        found = [
            ("estimator", f"{self.estimator}, exported by manyfit {data.version}"),
            ("graph", f"{graph} -> {outputs}"),
            ("exported on", _versions(data.verification["runtimes"])),
            ("runs on", _versions(self.runtimes)),
        ]
        if data.classes is not None:
            said = "values" if data.classes.by_value else "indices"
            found.insert(2, ("classes", f"{_shortened(data.classes.names)}; labels are their {said}"))
            undecided, rows = data.verification["undecided_labels"], data.verification.get("probe_rows")
            found.append(("undecided", f"labels of {undecided} of {rows} probes when exported"))
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
    expected = [(INPUT_NAME, data.dtype, ["N", data.n_features])]
    expected += [(output["name"], output["dtype"], output["shape"]) for output in data.outputs]
    types = DTYPES | {LABEL_DTYPE: int(onnx.TensorProto.INT64)}
    values = [*model.graph.input, *model.graph.output]
    for value, (name, dtype, shape) in zip(values, expected, strict=True):
        tensor = value.type.tensor_type
        found = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        if value.name != name or found != shape or tensor.elem_type != types[dtype]:
            raise ValueError(f"the graph's {value.name!r} is not what the metadata says")


def _replay(path: str, serialized: bytes, data: Metadata) -> VerifyReport:
    golden = data.golden
    try:
        run = onnxruntime_runner(serialized)
        together = run(golden.rows)
        singly = [run(golden.rows[i : i + 1]) for i in range(len(golden.rows))]
        answers = [together, [np.concatenate(parts) for parts in zip(*singly, strict=True)]]
    except Exception as error:
        return _report(path, data, (f"ONNX Runtime cannot run the graph: {_plain(error)}",), [])
    found, failures = [], []
    ordinary = [kind == CALIBRATION for kind in golden.kinds]
    for told, batch in zip(answers, ("together", "one by one"), strict=True):
        for place, nearest in enumerate(data.compare(told)):
            if nearest is None:
                failures.append(_wrong_output(data, told, place, batch))
                continue
            is_label = data.outputs[place]["dtype"] == LABEL_DTYPE
            errors = np.abs(told[place][ordinary].astype(np.float64) - golden.expected[place][ordinary])
            found.append((nearest, 0.0 if is_label else float(errors.max(initial=0.0))))
            if nearest.ratio > 1:
                failures.append(_mismatch(data, place, nearest, batch))
    return _report(path, data, tuple(failures), found)


def _wrong_output(data: Metadata, told: list[npt.NDArray[Any]], place: int, batch: str) -> str:
    """Describe an output of another type or shape."""
    found = [f"{each.dtype} {each.shape}" for each in told[place : place + 1]]
    output, shape = data.outputs[place], data.golden.expected[place].shape
    return f"golden rows {batch}: {output['name']} is {found}, not {output['dtype']} {shape}"


def _mismatch(data: Metadata, place: int, found: Worst, batch: str) -> str:
    kind, output = data.golden.kinds[found.row], data.outputs[place]
    row = f"golden row {found.row} ({kind}, {batch})"
    if data.classes is not None and output["dtype"] == LABEL_DTYPE:
        expected, actual = (data.classes.show(place) for place in (found.expected, found.actual))
        return f"{row}: expected {_plain(expected)}, got {_plain(actual)}"
    return (
        f"{row}: expected {found.expected:.9g}, got {found.actual:.9g}, "
        f"difference {found.difference:.3g}, bound {found.bound:.3g}"
    )


def _shortened(names: tuple[Any, ...]) -> str:
    """Return the classes in a line, the first few of many."""
    shown = ", ".join(_plain(repr(name))[:40] for name in names[:8])
    return f"{len(names)}: {shown}{', ...' if len(names) > 8 else ''}"


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


def _plain(error: object) -> str:
    """Return the text of an error or a class on one line, without what a hostile file could do to a terminal."""
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
