"""Estimators and pipelines by their names: manyfit's own first, then scikit-learn's, then dotted paths."""

from __future__ import annotations

import importlib
import inspect
import re
from dataclasses import dataclass, field
from typing import Any

from manyfit.sweep.nodes import Node
from manyfit.sweep.problems import Problems, near

__all__ = ["Built", "Step", "check_setting", "find_class", "read_estimator", "read_pipeline"]

# Where names are looked for after manyfit's own; everything else of scikit-learn after these.
_THEIRS = (
    *("preprocessing", "linear_model", "decomposition", "svm", "ensemble", "tree", "neighbors"),
    *("neural_network", "feature_selection", "impute", "naive_bayes", "kernel_approximation"),
    *("discriminant_analysis", "gaussian_process", "kernel_ridge", "compose", "pipeline"),
)
_NO_FAMILIES = {"lessons", "model_selection", "onnx", "sweep", "testing", "tracking"}
_STEP_KEYS = ("class", "name", "params", "columns")
_PASS = "passthrough"
_COLUMNS = "columns"  # the step of the pipeline in which columns are told apart


@dataclass
class Step:
    """An estimator as the file names it.

    Attributes
    ----------
    cls : type
    params : dict
        Fixed parameters.
    name : str
        Of the step in the pipeline.
    columns : list of str
        The columns of the table it sees; empty for all.
    """

    cls: type
    params: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    columns: list[str] = field(default_factory=list)
    places: dict[str, Node] = field(default_factory=dict)  # of the parameters


@dataclass
class Built:
    """What is searched over.

    Attributes
    ----------
    steps : list of Step
    pipeline : bool
        Whether the file says pipeline.
    """

    steps: list[Step]
    pipeline: bool
    line: int
    key: str

    def make(self, names: list[str] | None = None) -> Any:
        """Build the estimator; `names` are those of the columns of the table."""
        if not self.pipeline:
            step = self.steps[0]
            return step.cls(**step.params)
        from sklearn.pipeline import Pipeline

        parts = [(step.name, step.cls(**step.params)) for step in self.steps if not step.columns]
        if self.encoded:
            parts.insert(0, (_COLUMNS, self._side_by_side(names or [])))
        return Pipeline(parts)

    def _side_by_side(self, names: list[str]) -> Any:
        from sklearn.compose import ColumnTransformer

        parts = [
            (
                step.name,
                step.cls(**step.params),
                [names.index(name) for name in step.columns if name in names],
            )
            for step in self.steps
            if step.columns
        ]
        # Into a dense table: what passes through may be anything.
        return ColumnTransformer(parts, remainder=_PASS, sparse_threshold=0.0)

    @property
    def encoded(self) -> set[str]:
        """Columns that some step sees by name."""
        return {name for step in self.steps for name in step.columns}


# --- finding classes ---


def find_class(name: str) -> type | str:
    """Return the class that a name stands for, or what is wrong with the name."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
        return f"must be the name of an estimator, got {name!r}"
    if "." in name:
        return _dotted(name)
    for package, modules in (("manyfit", _families()), ("sklearn", _THEIRS)):
        for module in modules:
            found = getattr(importlib.import_module(f"{package}.{module}"), name, None)
            if _is_estimator(found):
                assert isinstance(found, type)
                return found
    classes = _all_classes()
    if name in classes:
        return classes[name]
    hint = near(name, classes) or "; others need their dotted path, as in lightgbm.LGBMRegressor"
    return f"neither manyfit nor scikit-learn has an estimator {name!r}{hint}"


def _dotted(name: str) -> type | str:
    path, _, last = name.rpartition(".")
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or path
        return f"there is no module {missing!r} for {name!r}: pip install it, or see how it is spelt"
    except Exception as error:
        return f"importing {path!r} raised {type(error).__name__}: {error}"
    found = getattr(module, last, None)
    if found is None:
        return f"{path} has no {last!r}{near(last, dir(module))}"
    if not _is_estimator(found):
        return f"must be a class with fit, get_params and set_params, got {name!r}"
    assert isinstance(found, type)
    return found


def _is_estimator(found: Any) -> bool:
    methods = ("fit", "get_params", "set_params")
    return inspect.isclass(found) and all(callable(getattr(found, name, None)) for name in methods)


def _families() -> list[str]:
    import manyfit

    return [name for name in manyfit._MODULES if name not in _NO_FAMILIES]


def _all_classes() -> dict[str, type]:
    from sklearn.utils import all_estimators

    ours: dict[str, type] = {}
    for module in _families():
        package = importlib.import_module(f"manyfit.{module}")
        ours.update({name: getattr(package, name) for name in package.__all__ if name[0].isupper()})
    return dict(all_estimators()) | ours


# --- reading ---


def read_estimator(node: Node, params: Node | None, problems: Problems) -> Built | None:
    """Read the key ``estimator``, with the key ``params`` beside it."""
    step = _step(node, problems)
    if step is not None and params is not None:
        if step.params:
            problems.add(params.line, "params", "must be given once, got them with the estimator as well")
        _read_params(step, params, problems)
    if step is None or not _makes(step, problems, node):
        return None
    if step.columns:
        problems.add(node.line, node.key, "columns are for the steps of a pipeline")
        return None
    return Built([step], False, node.line, node.key)


def read_pipeline(node: Node, problems: Problems) -> Built | None:
    """Read the key ``pipeline``.

    Steps that name columns come first, and work side by side on the table; what no step names passes through.
    """
    if not isinstance(node.value, list) or not node.value:
        problems.add(node.line, node.key, f"must be a list of steps, got {node.kind}")
        return None
    steps: list[Step] = []
    good = True
    for i, child in enumerate(node):
        step = _step(child, problems)
        if step is None or not _makes(step, problems, child):
            good = False
            continue
        last = i == len(node.value) - 1
        if step.columns and not all(each.columns for each in steps):
            problems.add(child.line, child.key, "steps with columns must come first: they work side by side")
            good = False
        if not last and not hasattr(step.cls, "transform"):
            problems.add(
                child.line, child.key, f"only the last step predicts; {step.cls.__name__} has no transform"
            )
            good = False
        if last and step.columns:
            problems.add(child.line, child.key, "the last step sees what the others made, not columns")
            good = False
        base = step.name or step.cls.__name__.lower()
        taken = {each.name for each in steps}
        if step.name and step.name in taken:
            problems.add(child.line, child.key, f"steps must have different names, got {step.name!r} twice")
        step.name = next(
            name for k in range(1, 99) if (name := base if k == 1 else f"{base}-{k}") not in taken
        )
        steps.append(step)
    return Built(steps, True, node.line, node.key) if good else None


def _step(node: Node, problems: Problems) -> Step | None:
    """``Ridge``, ``{Ridge: {alpha: 1}}`` or ``{class: Ridge, params: {alpha: 1}, name: ..., columns: ...}``."""
    if isinstance(node.value, str):
        return _class(node, problems)
    if not isinstance(node.value, dict) or not node.value:
        problems.add(node.line, node.key, f"must be the name of an estimator, got {node.kind}")
        return None
    if "class" not in node and len(node.value) == 1:
        ((name, inner),) = node.value.items()
        step = _class(Node(name, inner.line, node.key), problems)
        if step is not None and inner.value is not None:
            _read_params(step, inner, problems)
        return step
    for name, child in node.value.items():
        if name not in _STEP_KEYS:
            problems.add(
                child.line,
                child.key,
                f"unknown key; a step has {', '.join(_STEP_KEYS)}{near(name, _STEP_KEYS)}",
            )
    named = node.get("class")
    if named is None or not isinstance(named.value, str):
        problems.add(node.line, f"{node.key}.class", "must be the name of an estimator, got none")
        return None
    step = _class(named, problems)
    if step is None:
        return None
    if (params := node.get("params")) is not None:
        _read_params(step, params, problems)
    if (given := node.get("name")) is not None:
        if isinstance(given.value, str) and re.fullmatch(r"(?!.*__)\w+(-\w+)*", given.value):
            step.name = given.value
        else:
            problems.add(given.line, given.key, f"must be a word without '__', got {given.kind}")
    if (columns := node.get("columns")) is not None:
        values = columns.plain
        if isinstance(values, list) and values and all(isinstance(each, str) for each in values):
            step.columns = values
        else:
            problems.add(columns.line, columns.key, f"must be a list of names of columns, got {columns.kind}")
    return step


def _class(node: Node, problems: Problems) -> Step | None:
    found = find_class(node.value)
    if isinstance(found, str):
        problems.add(node.line, node.key, found)
        return None
    return Step(found)


def _read_params(step: Step, node: Node, problems: Problems) -> None:
    if not isinstance(node.value, dict):
        problems.add(node.line, node.key, f"must be a mapping of parameters, got {node.kind}")
        return
    parameters = inspect.signature(step.cls).parameters
    open_ended = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name, child in node.value.items():
        if name not in parameters and not open_ended:
            hint = near(name, parameters) or f"; it has {', '.join(parameters)}"
            problems.add(child.line, child.key, f"{step.cls.__name__} has no parameter {name!r}{hint}")
        else:
            step.params[name] = setting(child, problems)
            step.places[name] = child


def setting(node: Node, problems: Problems) -> Any:
    """A value for a parameter: plain, or an estimator as ``{class: NAME, params: {...}}``."""
    if isinstance(node.value, dict) and "class" in node.value:
        step = _step(node, problems)
        return None if step is None else step.cls(**step.params)
    return node.plain


def _makes(step: Step, problems: Problems, node: Node) -> bool:
    """Whether the class takes its parameters, and their values."""
    try:
        made = step.cls(**step.params)
    except Exception as error:
        problems.add(node.line, node.key, f"{step.cls.__name__}: {error}")
        return False
    before = len(problems.found)
    for name, place in step.places.items():
        wrong = check_setting(made, name, step.params[name])
        if wrong:
            problems.add(place.line, place.key, wrong)
    return len(problems.found) == before


def check_setting(estimator: Any, name: str, value: Any) -> str:
    """Return what an estimator has against a value of one of its parameters; empty where nothing."""
    from sklearn.base import clone
    from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

    from manyfit._parameters import describe

    owner, _, last = name.rpartition("__")
    try:
        changed = clone(estimator).set_params(**{name: value})
        part = changed.get_params(deep=True)[owner] if owner else changed
        rules = getattr(type(part), "_parameter_constraints", {}).get(last, "no_validation")
        if rules == "no_validation":
            return ""
        try:
            validate_parameter_constraints({last: rules}, {last: value}, type(part).__name__)
        except InvalidParameterError:
            return describe(type(part).__name__, last, rules, value)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
