"""The data of a sweep: a table with a target, or a data set that scikit-learn brings along."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyfit.sweep.nodes import Node
from manyfit.sweep.problems import Problems, near, one_of
from manyfit.sweep.tables import Columns, TableError, read_columns

__all__ = ["BUNDLED", "Data", "Source", "read_source", "read_table"]

BUNDLED = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")
_DOWNLOADED = {
    "california_housing",
    "california",
    "20newsgroups",
    "covtype",
    "kddcup99",
    "olivetti_faces",
    "rcv1",
}
_KEYS = ("dataset", "path", "target", "drop", "weights", "groups", "separator")
_SHOWN = 5  # names in a message


@dataclass
class Source:
    """Where the data come from.

    Attributes
    ----------
    dataset : str or None
        Name of a bundled data set.
    path : Path or None
    target : list of str
    drop : list of str
    weights, groups : str or None
        Names of columns.
    separator : str or None
    lines : dict
        Lines of the keys.
    """

    dataset: str | None = None
    path: Path | None = None
    target: list[str] = field(default_factory=list)
    drop: list[str] = field(default_factory=list)
    weights: str | None = None
    groups: str | None = None
    separator: str | None = None
    lines: dict[str, int] = field(default_factory=dict)

    def line(self, key: str) -> int:
        """Line of a key, or of the whole."""
        return self.lines.get(key, self.lines.get("", 0))

    def __str__(self) -> str:
        return self.dataset or (self.path.name if self.path else "no data")


@dataclass
class Data:
    """What a sweep is trained on.

    Attributes
    ----------
    X : ndarray of shape (n_samples, n_features)
        float64, or objects where columns hold texts.
    y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        Whole numbers, numbers, or texts.
    weights, groups : ndarray of shape (n_samples,) or None
    names : list of str
        Of the columns of `X`.
    texts : list of str
        The columns that are not numbers.
    """

    X: NDArray[Any]
    y: NDArray[Any]
    weights: NDArray[Any] | None
    groups: NDArray[Any] | None
    names: list[str]
    texts: list[str]

    @classmethod
    def nothing(cls) -> Data:
        """Data that have not been read."""
        return cls(np.empty((0, 0)), np.empty(0), None, None, [], [])


def read_table(
    path: str | os.PathLike[str],
    *,
    target: str | Sequence[str],
    drop: Sequence[str] = (),
    weights: str | None = None,
    groups: str | None = None,
    separator: str | None = None,
) -> Data:
    r"""Read a table as a sweep does.

    Parameters
    ----------
    path : str or path-like
        A ``.csv``, ``.tsv`` or ``.parquet`` file; ``.csv.gz`` and ``.tsv.gz`` too.
    target : str or sequence of str
        The column to predict, or several.
    drop : sequence of str, default=()
        Columns to leave out.
    weights, groups : str, default=None
        Columns with sample weights, and with the groups of the splitter; left out of `X`.
    separator : str, default=None
        Between the columns of a text file; None is a tab for ``.tsv``, and a comma for others.

    Returns
    -------
    Data
        With attributes `X`, `y`, `weights`, `groups`, `names` and `texts`.

    Raises
    ------
    ValueError
        Names everything that is wrong with the table.

    Examples
    --------
    >>> from pathlib import Path
    >>> from manyfit.sweep import read_table
    >>> _ = Path("heights.csv").write_text("age,shoe,height\n3,25,96\n9,35,\n")
    >>> read_table("heights.csv", target="age").X
    array([[25., 96.],
           [35., nan]])
    """
    targets = [target] if isinstance(target, str) else list(target)
    source = Source(None, Path(path), targets, list(drop), weights, groups, separator)
    problems = Problems(os.fspath(path))
    data = load(source, problems)
    problems.check()
    assert data is not None
    return data


def read_source(node: Node, base: Path, problems: Problems) -> Source | None:
    """Read the key ``data``."""
    if isinstance(node.value, str):
        node = _short(node)
    if not isinstance(node.value, dict):
        problems.add(
            node.line,
            node.key,
            f"must be a mapping with path and target, or the name of a data set, got {node.kind}",
        )
        return None
    for name, child in node.value.items():
        if name not in _KEYS:
            problems.add(
                child.line, child.key, f"unknown key; data has {', '.join(_KEYS)}{near(name, _KEYS)}"
            )
    texts = {
        name: _text(node, name, problems) for name in ("dataset", "path", "weights", "groups", "separator")
    }
    lists = {name: _texts(node, name, problems) for name in ("target", "drop")}
    lines = {name: child.line for name, child in node.value.items()} | {"": node.line}
    source = Source(
        dataset=texts["dataset"],
        path=base / texts["path"] if texts["path"] else None,
        target=lists["target"],
        drop=lists["drop"],
        weights=texts["weights"],
        groups=texts["groups"],
        separator=texts["separator"],
        lines=lines,
    )
    if (source.dataset is None) == (source.path is None):
        problems.add(node.line, node.key, "must have either path or dataset")
        return None
    if source.dataset is not None:
        extra = [name for name in node.value if name in _KEYS[2:]]
        if extra:
            problems.add(lines[extra[0]], f"data.{extra[0]}", "is for files; data sets have their own target")
        return _checked_name(source, problems)
    if not source.target:
        problems.add(node.line, "data.target", "must name the column to predict, got none")
        return None
    return source


def _short(node: Node) -> Node:
    """``data: diabetes`` and ``data: table.csv``."""
    is_path = "." in node.value or "/" in node.value
    child = Node(node.value, node.line, f"{node.key}.{'path' if is_path else 'dataset'}")
    return Node({"path" if is_path else "dataset": child}, node.line, node.key)


def _checked_name(source: Source, problems: Problems) -> Source | None:
    name = source.dataset
    assert name is not None
    if name in BUNDLED:
        return source
    line = source.line("dataset")
    if name.removeprefix("fetch_") in _DOWNLOADED:
        problems.add(
            line,
            "data.dataset",
            f"{name!r} would be downloaded; sweeps read files and {', '.join(BUNDLED)}: save it as a file first",
        )
    else:
        problems.add(line, "data.dataset", one_of(name, BUNDLED))
    return None


def _text(node: Node, name: str, problems: Problems) -> str | None:
    child = node.get(name)
    if child is None:
        return None
    if not isinstance(child.value, str) or not child.value:
        problems.add(child.line, child.key, f"must be a text, got {child.kind}")
        return None
    return child.value


def _texts(node: Node, name: str, problems: Problems) -> list[str]:
    child = node.get(name)
    if child is None:
        return []
    items = list(child) if isinstance(child.value, list) else [child]
    wrong = [item for item in items if isinstance(item.value, list | dict) or item.value in (None, "")]
    for item in wrong:
        problems.add(item.line, item.key, f"must be the name of a column, or a list of them, got {item.kind}")
    return [str(item.value) for item in items if item not in wrong]


def load(source: Source, problems: Problems) -> Data | None:
    """Read the data; None, and problems, where they cannot be used."""
    if source.dataset is not None:
        return _bundled(source.dataset)
    assert source.path is not None
    try:
        table = read_columns(source.path, source.separator)
    except TableError as error:
        problems.add(source.line("path"), "data.path", f"{source.path.name}: {error}")
    except FileNotFoundError:
        problems.add(source.line("path"), "data.path", _not_there(source.path))
    except OSError as error:
        problems.add(source.line("path"), "data.path", f"{source.path}: {error.strerror or error}")
    else:
        return _taken_apart(source, table, problems)
    return None


def _not_there(path: Path) -> str:
    text = f"there is no file {path}"
    if not path.parent.is_dir():
        return f"{text} (nor a folder {path.parent})"
    return text + near(path.name, [each.name for each in path.parent.iterdir()])


def _bundled(name: str) -> Data:
    import sklearn.datasets

    bunch = getattr(sklearn.datasets, f"load_{name}")()
    X = np.ascontiguousarray(bunch.data, dtype=np.float64)
    return Data(X, bunch.target, None, None, [str(each) for each in bunch.feature_names], [])


def _taken_apart(source: Source, table: Columns, problems: Problems) -> Data | None:
    columns = dict(zip(table.names, table.values, strict=True))
    before = len(problems.found)
    used: dict[str, str] = {}
    for key, names in (
        ("target", source.target),
        ("drop", source.drop),
        ("weights", [source.weights] if source.weights else []),
        ("groups", [source.groups] if source.groups else []),
    ):
        for name in names:
            if name not in columns:
                there = _listed(table.names)
                problems.add(
                    source.line(key),
                    f"data.{key}",
                    f"the table has no column {name!r}{near(name, table.names) or f'; it has {there}'}",
                )
            elif name in used and "drop" not in (key, used[name]):
                problems.add(source.line(key), f"data.{key}", f"{name!r} is the {used[name]} already")
            used.setdefault(name, key)
    names = [name for name in table.names if name not in used]
    if not names:
        problems.add(
            source.line("target"),
            "data",
            f"no column is left to learn from; the table has {_listed(table.names)}",
        )
    if len(problems.found) > before:
        return None
    y = _target(source, columns, problems)
    weights = None if source.weights is None else _weights(source, columns[source.weights], problems)
    groups = None if source.groups is None else _groups(source, columns[source.groups], problems)
    if len(problems.found) > before:
        return None
    texts = [name for name in names if columns[name].dtype == object]
    X = np.empty((len(table), len(names)), dtype=object if texts else np.float64)
    for i, name in enumerate(names):
        X[:, i] = columns[name]
    return Data(X, y, weights, groups, names, texts)


def _target(source: Source, columns: dict[str, NDArray[Any]], problems: Problems) -> NDArray[Any]:
    taken = []
    for name in source.target:
        values = columns[name]
        missing = _missing(values)
        if missing.any():
            row = int(np.argmax(missing)) + 1
            problems.add(
                source.line("target"),
                "data.target",
                f"{name!r} must have a value in every row, got {int(missing.sum())} without "
                f"(the first is row {row})",
            )
        elif values.dtype != object and (values == np.floor(values)).all() and abs(values).max() < 2**53:
            values = values.astype(np.int64)
        taken.append(values.astype(str) if values.dtype == object else values)
    return taken[0] if len(taken) == 1 else np.column_stack(taken)


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype == object:
        return np.array([value is None for value in values], dtype=np.bool_)
    return np.asarray(~np.isfinite(values))


def _weights(source: Source, values: NDArray[Any], problems: Problems) -> NDArray[Any]:
    line, key = source.line("weights"), "data.weights"
    if values.dtype == object:
        problems.add(line, key, f"{source.weights!r} must hold numbers, got texts")
    elif not np.isfinite(values).all() or (values < 0).any():
        row = int(np.argmax(~np.isfinite(values) | (values < 0)))
        problems.add(
            line, key, f"{source.weights!r} must hold numbers >= 0, got {values[row]:g} in row {row + 1}"
        )
    elif not values.any():
        problems.add(line, key, f"{source.weights!r} must not be 0 in every row")
    return values


def _groups(source: Source, values: NDArray[Any], problems: Problems) -> NDArray[Any]:
    if _missing(values).any():
        row = int(np.argmax(_missing(values))) + 1
        problems.add(
            source.line("groups"),
            "data.groups",
            f"{source.groups!r} must have a group in every row, got none in row {row}",
        )
    return values.astype(str) if values.dtype == object else values


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
