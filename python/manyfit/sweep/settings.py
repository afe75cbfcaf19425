"""How a sweep goes on: sampler, pruner, splits, limits, and where it is kept."""

from __future__ import annotations

import importlib.util
import inspect
import math
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from manyfit.sweep.nodes import Node
from manyfit.sweep.problems import Problems, near, one_of

__all__ = ["METHODS", "Call", "early_terminate", "grid", "method", "seconds", "splitter", "storage", "whole"]

_LARGEST_GRID = 100_000
_OF_BOTH_CLASSES = ("roc_auc", "average_precision", "neg_log_loss")  # metrics of rows of two classes at least

# method: class of optuna.samplers, module it needs besides, arguments
METHODS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "grid": ("GridSampler", "", {}),
    "random": ("RandomSampler", "", {}),
    "bayes": ("TPESampler", "", {}),
    "tpe": ("TPESampler", "", {}),
    "gp": ("GPSampler", "torch", {}),
    "cmaes": ("CmaEsSampler", "cmaes", {}),
    "qmc": ("QMCSampler", "", {}),
    "nsga2": ("NSGAIISampler", "", {}),
    "nsga3": ("NSGAIIISampler", "", {}),
}

# type: class of optuna.pruners, and its argument for each key of ours
_PRUNERS: dict[str, tuple[str, dict[str, str]]] = {
    "hyperband": (
        "HyperbandPruner",
        {"min_iter": "min_resource", "max_iter": "max_resource", "eta": "reduction_factor"},
    ),
    "successive_halving": (
        "SuccessiveHalvingPruner",
        {"min_iter": "min_resource", "eta": "reduction_factor"},
    ),
    "median": ("MedianPruner", {"min_iter": "n_warmup_steps", "min_trials": "n_startup_trials"}),
    "percentile": (
        "PercentilePruner",
        {"percentile": "percentile", "min_iter": "n_warmup_steps", "min_trials": "n_startup_trials"},
    ),
    "wilcoxon": ("WilcoxonPruner", {"p_threshold": "p_threshold", "min_iter": "n_startup_steps"}),
    "threshold": ("ThresholdPruner", {"lower": "lower", "upper": "upper", "min_iter": "n_warmup_steps"}),
}
_PRUNER_COMMON = ("type", "resource", "min_resource")


@dataclass(frozen=True)
class Call:
    """A class and what it is called with, so that it can be both made and written down."""

    module: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def make(self) -> Any:
        """Call the class."""
        found = getattr(importlib.import_module(self.module), self.name)
        with warnings.catch_warnings():
            # That a sampler may change in a later Optuna is for those who write the file's schema.
            warnings.filterwarnings("ignore", message=".* is experimental", category=Warning)
            return found(*self.args, **self.kwargs)


# --- sampler ---


def method(node: Node | None, problems: Problems) -> str:
    """Read the key ``method``."""
    if node is None:
        return "bayes"
    name = node.value.lower() if isinstance(node.value, str) else node.value
    if name not in METHODS:
        problems.add(node.line, node.key, one_of(node.plain, METHODS))
        return "bayes"
    needs = METHODS[name][1]
    if needs and importlib.util.find_spec(needs) is None:
        problems.add(node.line, node.key, f"{name} needs {needs}: pip install {needs}")
    return str(name)


def grid(space: dict[str, Any], node: Node, problems: Problems) -> dict[str, list[Any]]:
    """All values of each parameter, for ``method: grid``."""
    from manyfit.model_selection._space import Space

    found: dict[str, list[Any]] = {}
    for name, each in space.items():
        place = _place(node, name)
        distribution = next(iter(Space({name: each}).distributions.values()))
        low, high, step = (getattr(distribution, key, None) for key in ("low", "high", "step"))
        if hasattr(distribution, "choices"):
            found[name] = list(distribution.choices)
        elif (
            isinstance(low, int)
            and isinstance(high, int)
            and step
            and not getattr(distribution, "log", False)
        ):
            found[name] = list(range(low, high + 1, step))
        elif step and low is not None and high is not None:
            found[name] = [low + i * step for i in range(round((high - low) / step) + 1)]
        else:
            problems.add(
                place.line, place.key, "has no end of values, and method grid tries all: give values, or q"
            )
    size = math.prod(len(values) for values in found.values())
    if size > _LARGEST_GRID:
        problems.add(node.line, node.key, f"a grid must have at most {_LARGEST_GRID:,} points, got {size:,}")
    return found


def _place(node: Node, name: str) -> Node:
    """Where a parameter stands, however it is nested."""
    for depth in range(len(name.split("__")), 0, -1):
        parts = name.split("__")
        child = node.get("__".join(parts[:depth]))
        if child is None:
            continue
        rest = "__".join(parts[depth:])
        return _place(child.get("parameters") or child, rest) if rest else child
    return node


# --- pruner ---


def early_terminate(node: Node | None, problems: Problems) -> tuple[Call | None, dict[str, Any]]:
    """Read the key ``early_terminate``: the pruner, and further arguments of the search."""
    if node is None or node.value in (None, False):
        return None, {}
    given = node if isinstance(node.value, str) else node.get("type")
    if given is None:
        problems.add(node.line, f"{node.key}.type", f"must be one of {', '.join(_PRUNERS)}, got none")
        return None, {}
    if given.value not in _PRUNERS:
        problems.add(given.line, given.key, one_of(given.plain, _PRUNERS))
        return None, {}
    name, keys = _PRUNERS[given.value]
    arguments: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, child in node.value.items() if isinstance(node.value, dict) else ():
        if key == "type":
            continue
        if key == "resource":
            if not isinstance(child.value, str):
                problems.add(child.line, child.key, f"must be 'splits' or a parameter, got {child.kind}")
            extra["resource"] = child.value
        elif key == "min_resource":
            extra["min_resource"] = whole(child, problems)
        elif key in keys:
            value = _positive(child, problems, key not in ("percentile", "p_threshold", "lower", "upper"))
            arguments[keys[key]] = value
            if key == "eta" and value is not None and value < 2:
                problems.add(child.line, child.key, f"must be >= 2, got {value}")
        else:
            known = (*_PRUNER_COMMON, *keys)
            problems.add(
                child.line, child.key, f"unknown key; {given.value} has {', '.join(known)}{near(key, known)}"
            )
    if given.value == "percentile" and "percentile" not in arguments:
        problems.add(node.line, f"{node.key}.percentile", "must be a number between 0 and 100, got none")
        return None, extra
    if given.value == "threshold" and not arguments.keys() & {"lower", "upper"}:
        problems.add(
            node.line, f"{node.key}.lower", "lower or upper must be given for threshold, got neither"
        )
        return None, extra
    call = Call("optuna.pruners", name, (), arguments)
    if None not in arguments.values():
        try:
            call.make()
        except ValueError as error:
            problems.add(node.line, node.key, str(error))
    return call, extra


def _positive(node: Node, problems: Problems, integer: bool) -> Any:
    if integer:
        return whole(node, problems)
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        problems.add(node.line, node.key, f"must be a number, got {node.kind}")
        return None
    return node.value


# --- splits ---


def splitter(node: Node | None, problems: Problems) -> int | Call:
    """Read the key ``cv``."""
    if node is None:
        return 5
    if isinstance(node.value, dict):
        return _splitter(node, problems)
    if isinstance(node.value, str):
        return _splitter(
            Node({"splitter": Node(node.value, node.line, node.key)}, node.line, node.key), problems
        )
    folds = whole(node, problems, least=2)
    return folds or 5


def _splitter(node: Node, problems: Problems) -> int | Call:
    from sklearn import model_selection

    there = {
        name: getattr(model_selection, name, None) for name in model_selection.__all__ if "CV" not in name
    }
    names = [
        name
        for name, found in there.items()
        if inspect.isclass(found) and hasattr(found, "split") and name[:4] != "Base"
    ]
    given = node.get("splitter")
    if given is None or given.value not in names:
        place = given or node
        problems.add(
            place.line,
            f"{node.key}.splitter" if given is None else place.key,
            one_of(given and given.plain, names),
        )
        return 5
    cls = getattr(model_selection, given.value)
    known = list(inspect.signature(cls).parameters)
    arguments = {}
    for key, child in node.value.items():
        if key == "splitter":
            continue
        if key not in known:
            text = (
                f"{given.value} has no parameter {key!r}{near(key, known) or '; it has ' + ', '.join(known)}"
            )
            problems.add(child.line, child.key, text)
        else:
            arguments[key] = child.plain
    call = Call("sklearn.model_selection", given.value, (), arguments)
    try:
        call.make()
    except (ValueError, TypeError) as error:
        problems.add(node.line, node.key, f"{given.value}: {error}")
    return call


# --- limits ---


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*[smhd]\s*)+")
_CLOCK = re.compile(r"\d+(?::[0-5]\d){1,2}")


def seconds(value: Any) -> float | None:
    """Seconds in ``90``, ``"90s"``, ``"10m"``, ``"1h30m"``; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if value > 0 and math.isfinite(value) else None
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if _DURATION.fullmatch(text):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", text)
        return sum(float(number) * _UNITS[unit] for number, unit in parts) or None
    try:
        return seconds(float(text))
    except ValueError:
        return None


def timeout(node: Node | None, problems: Problems) -> float | None:
    """Read the key ``timeout``."""
    if node is None or node.value is None:
        return None
    found = seconds(node.value)
    if found is None:
        hint = "; write hours and minutes as 1h30m" if _CLOCK.fullmatch(str(node.value)) else ""
        problems.add(
            node.line,
            node.key,
            f"must be seconds > 0, or a time such as 90s, 10m or 2h, got {node.kind}{hint}",
        )
    return found


def whole(node: Node | None, problems: Problems, least: int = 1, most: int = 2**31 - 1) -> int | None:
    """Read a whole number."""
    if node is None or node.value is None:
        return None
    if isinstance(node.value, bool) or not isinstance(node.value, int):
        problems.add(node.line, node.key, f"must be a whole number, got {node.kind}")
        return None
    if not least <= node.value <= most:
        rule = f">= {least}" if node.value < least else f"<= {most}"
        problems.add(node.line, node.key, f"must be {rule}, got {node.value}")
        return None
    return node.value


def storage(text: str, base: Path) -> str:
    """A URL as it is, a path beside the sweep file."""
    if "://" not in text:
        return str(base / text)
    if text.startswith("sqlite:///") and not text.startswith("sqlite:////"):
        return str(base / text.removeprefix("sqlite:///"))
    return text


def check_folds(splits: list[tuple[Any, Any]], y: Any, metrics: list[str]) -> str:
    """What is wrong with splits for a classifier and its metrics; empty where nothing."""
    if y.ndim != 1:
        return ""
    both = [name for name in metrics if name.startswith(_OF_BOTH_CLASSES)]
    for k, (train, test) in enumerate(splits):
        if both and len(np.unique(y[test])) < 2:
            only = y[test[0]].item()
            return f"split {k} would be scored on one class only ({only!r}), where {both[0]} has no value"
        classes = np.unique(y[train])
        if len(classes) < 2:
            only = classes[0].item()
            return (
                f"split {k} would train on one class only ({only!r}): use StratifiedKFold, or shuffle: true"
            )
    return ""


def product(values: dict[str, list[Any]]) -> int:
    """How many points a grid has."""
    return math.prod(len(each) for each in values.values())
