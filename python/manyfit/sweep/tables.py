"""Tables from CSV and Parquet files, without pandas: columns of numbers, or of texts."""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["Columns", "TableError", "read_columns"]

Array = NDArray[Any]

_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
_TRUTH = {"true": 1.0, "false": 0.0}
_KINDS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".parquet", ".pq")


class TableError(ValueError):
    """A file that is not the table it should be."""


@dataclass
class Columns:
    """A table by its columns.

    Attributes
    ----------
    names : list of str
    values : list of ndarray
        float64 where every entry is a number, true, false or missing (NaN); texts otherwise, with None for
        what is missing.
    """

    names: list[str]
    values: list[Array]

    def __len__(self) -> int:
        return len(self.values[0]) if self.values else 0


def read_columns(path: str | os.PathLike[str], separator: str | None = None) -> Columns:
    """Read a table.

    Parameters
    ----------
    path : str or path-like
        ``.csv``, ``.tsv``, either with ``.gz``, ``.txt``, or ``.parquet`` (which needs pyarrow).
    separator : str, default=None
        Between the columns of a text file; None is a tab for ``.tsv``, and a comma for others.

    Raises
    ------
    TableError
        Where the file holds no rows, rows of other lengths than its heading, or names twice.
    OSError
        Where it cannot be read.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith((".parquet", ".pq")):
        return _read_parquet(path)
    if not name.endswith(_KINDS):
        raise TableError(f"must end in {', '.join(_KINDS)}, got {path.name!r}")
    return _read_text(path, separator or ("\t" if ".tsv" in name else ","))


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.name.lower().endswith(".gz"):
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield file
    else:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield file


def _read_text(path: Path, separator: str) -> Columns:
    try:
        with _opened(path) as file:
            names = next(csv.reader(file, delimiter=separator), [])
            names = [name.strip() for name in names]
            if not any(names):
                raise TableError("the file is empty; the first line must name the columns")
            _check_names(names)
            numbers = _all_numbers(file, separator, len(names))
        if numbers is not None:
            return Columns(names, list(numbers.T))
        with _opened(path) as file:
            return _by_columns(file, separator, names)
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError) as error:
        raise TableError(f"is not a table in UTF-8 text: {error}") from None


def _check_names(names: list[str]) -> None:
    unnamed = [i + 1 for i, name in enumerate(names) if not name]
    if unnamed:
        raise TableError(f"every column must have a name in the first line, got none for column {unnamed[0]}")
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise TableError(f"columns must have different names, got {twice[0]!r} twice")


def _all_numbers(file: TextIO, separator: str, width: int) -> Array | None:
    """The rest of the file at once, where all of it is numbers."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are no rows is said elsewhere
        try:
            numbers = np.loadtxt(file, delimiter=separator, ndmin=2, comments=None, quotechar='"')
        except ValueError:
            return None
    return numbers if numbers.shape[0] and numbers.shape[1] == width else None


def _by_columns(file: TextIO, separator: str, names: list[str]) -> Columns:
    reader = csv.reader(file, delimiter=separator)
    next(reader)
    cells: list[list[str]] = [[] for _ in names]
    for row in reader:
        if not row:
            continue
        if len(row) != len(names):
            raise TableError(
                f"line {reader.line_num} must have {len(names)} columns as the first line does, got {len(row)}"
            )
        for column, cell in zip(cells, row, strict=True):
            column.append(cell)
    if not cells[0]:
        raise TableError("must have at least one row below the names of the columns")
    return Columns(names, [_column(column) for column in cells])


def _column(cells: list[str]) -> Array:
    numbers = np.empty(len(cells))
    for i, cell in enumerate(cells):
        text = cell.strip().lower()
        if text in _MISSING:
            numbers[i] = np.nan
        elif text in _TRUTH:
            numbers[i] = _TRUTH[text]
        else:
            try:
                if "_" in text:  # to Python a number
                    raise ValueError
                numbers[i] = float(text)
            except ValueError:
                return np.array(
                    [None if cell.strip().lower() in _MISSING else cell.strip() for cell in cells], object
                )
    return numbers


def _read_parquet(path: Path) -> Columns:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise TableError("Parquet files need pyarrow: pip install pyarrow") from None
    try:
        with open(path, "rb") as file:
            table = pq.read_table(file)
    except pa.ArrowException as error:
        raise TableError(f"is not a Parquet file: {error}") from None
    if not table.num_rows or not table.num_columns:
        raise TableError("must have at least one row and one column")
    names = [str(name) for name in table.column_names]
    _check_names(names)
    return Columns(names, [_arrow_column(pa, column) for column in table.columns])


def _arrow_column(pa: Any, column: Any) -> Array:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    types = pa.types
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=np.float64)
    return np.array([None if value is None else str(value) for value in column.to_pylist()], object)
