"""YAML of sweep files: what is read as meant, and what is refused before anything is put together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from manyfit.sweep.file import read_sweep
from manyfit.sweep.nodes import MAX_BYTES, read_nodes
from manyfit.sweep.problems import Problems, SweepFileError


def read(text: str | bytes) -> tuple[Any, list[str], list[str]]:
    """Values, problems and notes."""
    problems = Problems("f")
    node = read_nodes(text, problems)
    return node and node.plain, SweepFileError("f", problems.found).lines(), problems.note_lines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-1e-3", -1e-3),
        ("1.5e3", 1500.0),
        (".5e-2", 0.005),
        ("1_0e1", 100.0),
        ("1.0e-3", 1e-3),
        ("12", 12),
        ("1_000", 1000),
        ("0x10", 16),
        ("0", 0),
        ("0.5", 0.5),
        (".inf", float("inf")),
        ("true", True),
        ("off", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("None", None),
        ("none", "none"),
        ("'None'", "None"),
        ("'1e-3'", "1e-3"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1e", "1e"),
        ("e3", "e3"),
    ],
)
def test_scalars_are_read_as_people_mean_them(text: str, value: object) -> None:
    plain, problems, _ = read(f"key: {text}")
    assert problems == []
    assert plain["key"] == value
    assert type(plain["key"]) is type(value)


def test_repairs_are_told() -> None:
    _, _, notes = read("a: 1\nb: [2, 1e-3, None]\n")
    assert notes == [
        "f:2: b[1]: 1e-3 is read as the number 0.001 (to YAML it is a text without a '.')",
        "f:2: b[2]: None is read as null (to YAML it is a text)",
    ]
    assert read("a: 1.0e-3\n")[2] == []


HOSTILE = {
    "a: !!python/object/apply:os.system ['touch hacked']": "f:1: tags are not read in sweep files, got "
    "!!python/object/apply:os.system: nothing here can run code",
    "x: 1\na: !!python/name:os.system": "f:2: tags are not read in sweep files, got !!python/name:os.system: "
    "nothing here can run code",
    "a: !ruby/object:X {}": "f:1: tags are not read in sweep files, got !ruby/object:X: nothing here can run code",
    "a: !!binary aGk=": "f:1: tags are not read in sweep files, got !!binary: nothing here can run code",
    "!!python/object/new:os.system x: 1": "f:1: tags are not read in sweep files, got !!python/object/new:os.system: "
    "nothing here can run code",
    "<<: {a: 1}": "f:1: merge keys ('<<') are not read in sweep files: write it out",
    "? [a]\n: 1": "f:1: keys must be texts, got a list",
    "a: 1\na: 2": "f:2: a: must be given once, got it again (first on line 1)",
    "a: {b: 1,\n  b: 2}": "f:2: a.b: must be given once, got it again (first on line 1)",
    "a: 1\n---\nb: 2": "f:2: must hold one document, got a second one ('---')",
    "": "f: the file is empty; a sweep file has data, estimator and parameters",
    "# nothing": "f: the file is empty; a sweep file has data, estimator and parameters",
    "- a": "f:1: a sweep file must be a mapping of keys, got a list",
    "a": "f:1: a sweep file must be a mapping of keys, got 'a'",
    "a: b: c": "f:1: is not YAML: mapping values are not allowed here",
    "a: [1, 2": "f:1: is not YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'",
    "a: 010": "f:1: a: numbers must not begin with 0 (YAML reads them as octal), got 010",
    "a: 1e999": "f:1: a: must be a finite number, got 1e999",
}


@pytest.mark.parametrize(("text", "message"), HOSTILE.items(), ids=range(len(HOSTILE)))
def test_what_is_refused(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _, problems, _ = read(text)
    assert problems == [message]
    assert os.listdir(tmp_path) == []


def test_aliases_are_refused_with_their_anchors() -> None:
    assert read("a: &x [1]\nb: *x\n")[1] == [
        "f:1: anchors are not read in sweep files, got &x: write the value out",
        "f:2: aliases are not read in sweep files, got *x: write it out",
    ]


def test_a_billion_laughs_are_not_counted() -> None:
    lines = ["a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    for name, before in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    value, problems, _ = read("\n".join(lines))
    assert value is None
    assert len(problems) >= 9


def test_deep_and_large_files() -> None:
    assert read("a: " + "[" * 5000)[1] == ["f:1: must be nested at most 40 deep"]
    assert read("a: " + "{b: " * 5000)[1] == ["f:1: must be nested at most 40 deep"]
    assert "must have at most" in read("a: " + "x" * MAX_BYTES)[1][0]
    assert read(b"a: 1\nb: \xff")[1] == ["f:2: must be UTF-8 text"]
    assert "is not YAML" in read("a: \0")[1][0]
    assert read(b"\xef\xbb\xbfa: 1")[0] == {"a": 1}


def test_nodes_know_their_lines() -> None:
    node = read_nodes("a: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n", Problems("f"))
    assert node is not None
    assert node["b"].line == 2
    assert [child.line for child in node["b"]] == [3, 4]
    inner = node["b"].value[1]
    assert (inner["d"].line, inner["d"].key) == (5, "b[1].d")


_plain = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), _plain, min_size=1))
def test_what_yaml_writes_is_read(value: dict[str, Any]) -> None:
    plain, problems, _ = read(yaml.safe_dump(value))
    assert problems == []
    # Keys such as "no" and "on" stay texts here.
    assert plain == value


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    read("a: " + text)
    read(text)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    read(content)


def test_a_hostile_file_as_a_sweep(write: Callable[..., Path]) -> None:
    path = write("data: !!python/object/apply:os.system ['true']\nestimator: &e Ridge\nparameters: *e\n")
    with pytest.raises(SweepFileError) as caught:
        read_sweep(path)
    assert [problem.line for problem in caught.value.problems] == [1, 2, 3]
