"""Tables: CSV and Parquet without pandas, and what is told of bad ones."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manyfit.sweep import read_table
from manyfit.sweep.tables import TableError, read_columns

Write = Callable[..., Path]


def test_numbers(write: Write) -> None:
    table = read_columns(write("a,b\n1,2.5\n-3,1e-3\n", "t.csv"))
    assert table.names == ["a", "b"]
    np.testing.assert_array_equal(np.column_stack(table.values), [[1, 2.5], [-3, 1e-3]])


def test_missing_true_and_texts(write: Write) -> None:
    table = read_columns(write('a,b,"c d"\n1,true,x\n,FALSE,"y, z"\nNA,true,\n', "t.csv"))
    np.testing.assert_array_equal(table.values[0], [1, np.nan, np.nan])
    np.testing.assert_array_equal(table.values[1], [1, 0, 1])
    assert table.values[2].tolist() == ["x", "y, z", None]
    assert table.names[2] == "c d"


def test_a_number_with_underscores_is_a_text(write: Write) -> None:
    assert read_columns(write("a,b\n1_0,1\n2_0,2\n", "t.csv")).values[0].tolist() == ["1_0", "2_0"]


def test_separators_and_compression(write: Write, tmp_path: Path) -> None:
    assert len(read_columns(write("a\tb\n1\t2\n", "t.tsv"))) == 1
    assert len(read_columns(write("a;b\n1;2\n", "t.csv"), ";")) == 1
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("a,b\n1,2\n3,4\n")
    assert len(read_columns(tmp_path / "t.csv.gz")) == 2


def test_parquet_equals_csv(write: Write, tmp_path: Path) -> None:
    columns = {
        "whole": [1, 2, 3],
        "gap": [1.5, None, 2.0],
        "flag": [True, False, True],
        "kind": pa.array(["a", "b", None]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    ours = read_columns(tmp_path / "t.parquet")
    same = read_columns(write("whole,gap,flag,kind\n1,1.5,true,a\n2,,false,b\n3,2,true,\n", "t.csv"))
    assert ours.names == same.names
    for one, other in zip(ours.values, same.values, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty; the first line must name the columns"),
        ("a,b\n", "must have at least one row below the names of the columns"),
        ("a,b\n1,2\n3\n", "line 3 must have 2 columns as the first line does, got 1"),
        ("a,a\n1,2\n", "columns must have different names, got 'a' twice"),
        ("a,\n1,2\n", "every column must have a name in the first line, got none for column 2"),
    ],
)
def test_bad_tables(write: Write, text: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        read_columns(write(text, "t.csv"))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    for name, content in (("t.csv", b"\xff\xfe\x00"), ("t.csv.gz", b"nothing"), ("t.parquet", b"nothing")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TableError, match="is not a"):
            read_columns(tmp_path / name)
    with pytest.raises(TableError, match="must end in .csv"):
        read_columns(tmp_path / "t.xlsx")


def test_read_table_takes_a_table_apart(write: Write) -> None:
    path = write("id,age,shoe,sex,w,g\n1,3,25,f,1,a\n2,9,35,m,0,b\n", "t.csv")
    data = read_table(path, target="sex", drop=["id"], weights="w", groups="g")
    assert data.names == ["age", "shoe"]
    assert data.y.tolist() == ["f", "m"]
    assert data.weights is not None
    assert data.groups is not None
    assert data.weights.tolist() == [1, 0]
    assert data.groups.tolist() == ["a", "b"]
    assert data.X.dtype == np.float64
    whole = read_table(path, target="age", drop=["sex", "g"])
    assert whole.y.dtype == np.int64
    several = read_table(path, target=["age", "shoe"], drop=["sex", "g"])
    assert several.y.shape == (2, 2)


def test_read_table_says_what_is_wrong(write: Write) -> None:
    path = write("age,shoe\n3,25\n", "t.csv")
    with pytest.raises(ValueError, match="the table has no column 'ages'; did you mean 'age'"):
        read_table(path, target="ages")
    with pytest.raises(ValueError, match="there is no file"):
        read_table(path.with_name("none.csv"), target="age")
