"""A sweep file, read and checked as a whole."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from manyfit.sweep import data as tables
from manyfit.sweep import goals, settings
from manyfit.sweep.data import Data, Source
from manyfit.sweep.estimators import Built, read_estimator, read_pipeline
from manyfit.sweep.goals import MEASURES, Goal
from manyfit.sweep.nodes import Node, read_nodes
from manyfit.sweep.problems import Problems, near
from manyfit.sweep.settings import Call
from manyfit.sweep.space import read_space

__all__ = ["KEYS", "Sweep", "locate", "read_sweep"]

KEYS = (
    *("name", "description", "data", "estimator", "params", "pipeline", "parameters", "method", "metric"),
    *(
        "constraints",
        "early_terminate",
        "run_cap",
        "timeout",
        "cv",
        "seed",
        "workers",
        "n_jobs",
        "batch_size",
    ),
    *("storage", "log", "mlflow"),
)

_OF_WANDB = {
    "program": "the estimator is named by estimator or pipeline",
    "command": "the estimator is named by estimator or pipeline",
    "project": "use name",
    "entity": "nothing is sent anywhere",
    "controller": "there is no other controller",
    "run_name": "use name",
}


@dataclass
class Sweep:
    """What a sweep file says.

    Attributes
    ----------
    path : Path
    text : str
        The file as it was read.
    name : str
        Of the study.
    storage : str
        Path or URL of the storage.
    notes : list of str
        What was understood although it was written otherwise.
    """

    path: Path
    text: str
    name: str
    storage: str
    log: Path | None
    mlflow: dict[str, Any] | None
    description: str
    source: Source
    data: Data
    built: Built
    estimator: Any
    space: dict[str, Any]
    method: str
    goals: list[Goal]
    constraints: list[str]
    pruner: Call | None
    pruning: dict[str, Any]  # further arguments of the search
    cv: int | Call
    grid: dict[str, list[Any]]
    run_cap: int | None
    timeout: float | None
    seed: int
    workers: int
    file_workers: int  # what the file itself says
    n_jobs: int | None
    batch_size: int | None
    fixed: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def sampler(self) -> Call:
        """Who chooses what to try."""
        name, _, arguments = settings.METHODS[self.method]
        if self.grid:
            return Call("optuna.samplers", name, (self.grid,), arguments)
        return Call("optuna.samplers", name, (), arguments)

    @property
    def n_trials(self) -> int | None:
        """How many trials there will be; None until the time is over."""
        if not self.grid:
            return self.run_cap
        size = settings.product(self.grid)
        return size if self.run_cap is None else min(size, self.run_cap)

    def splitter(self) -> Any:
        """Return the argument `cv`."""
        return self.cv if isinstance(self.cv, int) else self.cv.make()

    def fit_params(self) -> dict[str, Any]:
        """Further arguments of ``fit``."""
        found: dict[str, Any] = {}
        if self.data.groups is not None:
            found["groups"] = self.data.groups
        if self.data.weights is not None:
            step = f"{self.estimator.steps[-1][0]}__" if self.built.pipeline else ""
            found[f"{step}sample_weight"] = self.data.weights
        return found


def locate(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Return storage and name of the study of a sweep file; nothing else of it is looked at."""
    problems = Problems(os.fspath(path))
    root = read_nodes(Path(path).read_bytes(), problems)
    problems.check()
    assert root is not None
    reader = _Reader(Path(path), root, problems, {})
    found = reader.storage(), reader.name()
    problems.check()
    return found


def read_sweep(
    path: str | os.PathLike[str],
    overrides: dict[str, Any] | None = None,
    text: str | bytes | None = None,
    *,
    with_data: bool = True,
) -> Sweep:
    """Read a sweep file and check all of it: keys, estimator, parameters, data.

    Parameters
    ----------
    path : str or path-like
    overrides : dict, default=None
        Keys that the command line gives: run_cap, timeout, workers, seed, storage.
    text : str or bytes, default=None
        What stood in the file; None reads it.
    with_data : bool, default=True
        Read the data, and check all that depends on them.

    Raises
    ------
    SweepFileError
        With everything that is wrong.
    OSError
        If the file cannot be read.
    """
    problems = Problems(os.fspath(path))
    content = Path(path).read_bytes() if text is None else text
    root = read_nodes(content, problems)
    problems.check()
    assert root is not None
    shown = content if isinstance(content, str) else content.decode("utf-8-sig")
    sweep = _Reader(Path(path), root, problems, overrides or {}).read(shown, with_data)
    problems.check()
    assert sweep is not None
    return sweep


class _Reader:
    def __init__(self, path: Path, root: Node, problems: Problems, overrides: dict[str, Any]) -> None:
        self.path = path
        self.root = root
        self.problems = problems
        self.own_workers = root.get("workers")
        for key, value in overrides.items():
            if value is not None:
                root.value[key] = Node(value, 0, f"--{key}")

    def read(self, text: str, with_data: bool) -> Sweep | None:
        root, problems = self.root, self.problems
        self._keys()
        built = self._estimator()
        estimator = None if built is None else self._guarded(built.make)
        source = self._source()
        space, fixed, grid = self._space(estimator)
        method = settings.method(root.get("method"), problems)
        found = goals.read_goals(root.get("metric"), problems)
        constraints = goals.read_constraints(root.get("constraints"), problems)
        pruner, pruning = self._pruner(found)
        cv = settings.splitter(root.get("cv"), problems)
        run_cap, timeout = self._limits(method)
        seed = settings.whole(root.get("seed"), problems, least=0)
        workers = settings.whole(root.get("workers"), problems, least=0, most=4096)
        own = workers if root.get("workers") is self.own_workers else None
        if self.own_workers is not None and own is None:
            own = settings.whole(self.own_workers, problems, least=0, most=4096)
        n_jobs = settings.whole(root.get("n_jobs"), problems, least=-1)
        batch_size = settings.whole(root.get("batch_size"), problems)
        storage, name = self.storage(), self.name()
        data = tables.load(source, problems) if source is not None and with_data else None
        if source is None or built is None or estimator is None or (with_data and data is None):
            return None
        if data is not None:
            estimator = self._on_data(built, data, source, estimator)
        estimator.set_params(**fixed)
        sweep = Sweep(
            self.path,
            text,
            name,
            storage,
            self._log(storage),
            self._mlflow(),
            self._text("description"),
            source,
            data or Data.nothing(),
            built,
            estimator,
            space,
            method,
            found,
            constraints,
            pruner,
            pruning,
            cv,
            grid,
            run_cap,
            timeout,
            seed or 0,
            workers or 0,
            own or 0,
            n_jobs,
            batch_size,
            fixed,
            problems.note_lines(),
        )
        if data is not None and not problems.found:
            self._together(sweep)
        return sweep

    def _keys(self) -> None:
        for key, child in self.root.value.items():
            if key not in KEYS:
                hint = near(key, KEYS)
                if key in _OF_WANDB:
                    hint = f"; {_OF_WANDB[key]}"
                self.problems.add(child.line, key, f"unknown key{hint or '; there are ' + ', '.join(KEYS)}")
        for key in ("data", "parameters"):
            if key not in self.root:
                self.problems.add(0, key, "must be given, got none")

    def _guarded(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except Exception as error:
            self.problems.add(0, "estimator", f"{type(error).__name__}: {error}")
            return None

    def _estimator(self) -> Built | None:
        single, pipeline = self.root.get("estimator"), self.root.get("pipeline")
        if (single is None) == (pipeline is None):
            line = pipeline.line if pipeline is not None else 0
            got = "both" if single is not None else "neither"
            self.problems.add(line, "estimator", f"either estimator or pipeline must be given, got {got}")
            return None
        params = self.root.get("params")
        if single is not None:
            return read_estimator(single, params, self.problems)
        if params is not None:
            self.problems.add(
                params.line, "params", "goes with estimator; a step has its own, as {PCA: {n_components: 5}}"
            )
        assert pipeline is not None
        return read_pipeline(pipeline, self.problems)

    def _source(self) -> Source | None:
        node = self.root.get("data")
        return None if node is None else tables.read_source(node, self.path.parent, self.problems)

    def _space(self, estimator: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[Any]]]:
        node = self.root.get("parameters")
        if node is None:
            return {}, {}, {}
        space, fixed = read_space(node, estimator, self.problems)
        grid: dict[str, list[Any]] = {}
        method = self.root.get("method")
        if space and method is not None and method.value == "grid":
            grid = settings.grid(space, node, self.problems)
        return space, fixed, grid

    def _pruner(self, found: list[Goal]) -> tuple[Call | None, dict[str, Any]]:
        node = self.root.get("early_terminate")
        pruner, extra = settings.early_terminate(node, self.problems)
        if pruner is not None and node is not None and len(found) > 1:
            self.problems.add(node.line, node.key, f"goes with one metric, got {len(found)}")
        if pruner is not None and node is not None and found and found[0].name in MEASURES:
            self.problems.add(node.line, node.key, f"goes with a metric, got the measure {found[0].name}")
        return pruner, extra

    def _limits(self, method: str) -> tuple[int | None, float | None]:
        run_cap = settings.whole(self.root.get("run_cap"), self.problems)
        timeout = settings.timeout(self.root.get("timeout"), self.problems)
        given = self.root.get("run_cap") or self.root.get("timeout")
        if given is None and method != "grid":
            self.problems.add(
                0, "run_cap", f"run_cap or timeout must be given, got neither: {method} has no end of its own"
            )
        return run_cap, timeout

    # --- where things are kept ---

    def name(self) -> str:
        """Name of the study."""
        node = self.root.get("name")
        if node is None:
            return self.path.stem
        if not isinstance(node.value, str) or not node.value.strip() or len(node.value) > 200:
            self.problems.add(node.line, node.key, f"must be a text of 1 to 200 letters, got {node.kind}")
            return self.path.stem
        return node.value

    def _text(self, key: str) -> str:
        node = self.root.get(key)
        if node is None or node.value is None:
            return ""
        if not isinstance(node.value, str):
            self.problems.add(node.line, node.key, f"must be a text, got {node.kind}")
            return ""
        return node.value

    def storage(self) -> str:
        """Where the study is kept."""
        node = self.root.get("storage")
        if node is None:
            return str(self.path.with_suffix(".db"))
        base = Path() if node.key.startswith("--") else self.path.parent
        if not isinstance(node.value, str) or not node.value:
            self.problems.add(node.line, node.key, f"must be a path or a URL, got {node.kind}")
            return str(self.path.with_suffix(".db"))
        scheme, colon, _ = node.value.partition("://")
        if colon and scheme.partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
            text = f"must be a path, sqlite:///PATH or postgresql://..., got {node.value!r}"
            self.problems.add(node.line, node.key, text)
        return settings.storage(node.value, base)

    def _log(self, storage: str) -> Path | None:
        node = self.root.get("log")
        default = self.path.with_suffix(".jsonl") if "://" in storage else Path(storage).with_suffix(".jsonl")
        if node is None or node.value is True:
            return default
        if node.value in (False, None):
            return None
        if not isinstance(node.value, str):
            self.problems.add(node.line, node.key, f"must be a path, true or false, got {node.kind}")
            return default
        return self.path.parent / node.value

    def _mlflow(self) -> dict[str, Any] | None:
        node = self.root.get("mlflow")
        if node is None or node.value in (False, None):
            return None
        if node.value is True:
            return {} if "MLFLOW_TRACKING_URI" in os.environ else {"tracking_uri": self._uri("mlflow.db")}
        if isinstance(node.value, str):
            return {"tracking_uri": self._uri(node.value)}
        keys = ("tracking_uri", "experiment")
        if not isinstance(node.value, dict):
            self.problems.add(
                node.line, node.key, f"must be true, a URI, or {', '.join(keys)}, got {node.kind}"
            )
            return None
        for key, child in node.value.items():
            if key not in keys:
                self.problems.add(
                    child.line, child.key, f"unknown key; mlflow has {', '.join(keys)}{near(key, keys)}"
                )
            elif not isinstance(child.value, str):
                self.problems.add(child.line, child.key, f"must be a text, got {child.kind}")
        plain: dict[str, Any] = node.plain
        if isinstance(plain.get("tracking_uri"), str):
            plain["tracking_uri"] = self._uri(plain["tracking_uri"])
        return plain

    def _uri(self, text: str) -> str:
        """A tracking URI: paths are those of SQLite files, beside the sweep file."""
        if ":" in text:
            return text
        return f"sqlite:///{(self.path.parent / text).absolute()}"

    # --- estimator and data together ---

    def _on_data(self, built: Built, data: Data, source: Source, estimator: Any) -> Any:
        unknown = [name for name in built.encoded if name not in data.names]
        for name in sorted(unknown):
            text = f"the table has no column {name!r}{near(name, data.names)}"
            self.problems.add(built.line, f"{built.key}.columns", text)
        numeric = [name for name in data.texts if name not in built.encoded]
        if numeric:
            shown = ", ".join(map(repr, numeric[:5])) + (
                f" and {len(numeric) - 5} more" if len(numeric) > 5 else ""
            )
            many = "columns hold" if len(numeric) > 1 else "column holds"
            self.problems.add(
                source.line("path"),
                "data",
                f"{many} texts: {shown}; leave {'them' if len(numeric) > 1 else 'it'} out (drop), or encode "
                f"{'them' if len(numeric) > 1 else 'it'} in a pipeline that begins with "
                f"{{class: OneHotEncoder, columns: [{', '.join(numeric[:5])}], params: {{handle_unknown: ignore}}}}",
            )
        if built.pipeline and built.encoded:
            estimator = built.make(data.names)
        return estimator

    def _together(self, sweep: Sweep) -> None:
        from sklearn.base import is_classifier, is_regressor

        line = sweep.source.line("target")
        y = sweep.data.y
        name = type(sweep.estimator.steps[-1][1] if sweep.built.pipeline else sweep.estimator).__name__
        if is_regressor(sweep.estimator) and y.dtype.kind not in "iuf":
            some = ", ".join(map(repr, np.unique(y)[:3].tolist()))
            self.problems.add(
                line, "data.target", f"must be numbers for {name}, a regressor, got texts ({some}, ...)"
            )
        elif is_classifier(sweep.estimator) and y.ndim == 1:
            classes = len(np.unique(y))
            if y.dtype.kind == "f":
                self.problems.add(
                    line,
                    "data.target",
                    f"must be classes for {name}, a classifier, got numbers with fractions",
                )
            elif classes < 2:
                self.problems.add(
                    line, "data.target", f"must have at least two classes for {name}, got {classes}"
                )
        if self.problems.found:
            return
        self._weights(sweep, name)
        self._folds(sweep)
        for goal in sweep.goals:
            goals.check_metric(goal, sweep.estimator, sweep.data, self.problems)
        self._missing(sweep, name)

    def _weights(self, sweep: Sweep, name: str) -> None:
        from sklearn.utils.validation import has_fit_parameter

        last = sweep.estimator.steps[-1][1] if sweep.built.pipeline else sweep.estimator
        if sweep.data.weights is not None and not has_fit_parameter(last, "sample_weight"):
            line = sweep.source.line("weights")
            self.problems.add(line, "data.weights", f"{name} takes no sample_weight")

    def _folds(self, sweep: Sweep) -> None:
        from sklearn.base import is_classifier
        from sklearn.model_selection import check_cv

        node = self.root.get("cv")
        line = node.line if node else 0
        data = sweep.data
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cv = check_cv(sweep.splitter(), data.y, classifier=is_classifier(sweep.estimator))
                splits = list(cv.split(data.X, data.y, data.groups))
        except (ValueError, TypeError) as error:
            text = str(error)
            if "groups" in text and data.groups is None:
                text += " (data.groups names the column with the groups)"
            self.problems.add(line, "cv", text)
            return
        metrics = [goal.name for goal in sweep.goals]
        wrong = settings.check_folds(splits, data.y, metrics) if is_classifier(sweep.estimator) else ""
        if wrong:
            self.problems.add(line, "cv", wrong)

    def _missing(self, sweep: Sweep, name: str) -> None:
        from sklearn.utils import get_tags

        X = sweep.data.X
        if X.dtype == object or not np.isnan(X).any():
            return
        first = sweep.estimator.steps[0][1] if sweep.built.pipeline else sweep.estimator
        if sweep.built.pipeline and type(sweep.estimator.steps[-1][1]) is not type(first):
            # A transformer that lets NaN pass is no help to what comes after it.
            parts = [part for _, part in sweep.estimator.steps]
            if any("imputer" in type(part).__name__.lower() for part in parts) or sweep.built.encoded:
                return
            first = next((part for part in parts if not get_tags(part).input_tags.allow_nan), None)
            if first is None:
                return
        elif get_tags(first).input_tags.allow_nan:
            return
        column = sweep.data.names[int(np.argmax(np.isnan(X).any(axis=0)))]
        text = (
            f"{column!r} has missing values ({int(np.isnan(X).sum())} in the table), and {type(first).__name__} takes "
            "none: drop the column, or begin a pipeline with SimpleImputer"
        )
        self.problems.add(sweep.source.line("path"), "data", text)
