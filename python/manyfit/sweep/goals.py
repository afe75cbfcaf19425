"""What a sweep aims at: metrics, measures and constraints."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from manyfit.sweep.data import Data
from manyfit.sweep.nodes import Node
from manyfit.sweep.problems import Problems, near, one_of

__all__ = ["MEASURES", "Goal", "check_metric", "read_constraints", "read_goals"]

MEASURES = ("latency_us", "model_bytes", "fit_seconds")

# What people call scorers that scikit-learn turns round so that more is better.
_SHORT = {
    "mse": "neg_mean_squared_error",
    "rmse": "neg_root_mean_squared_error",
    "mae": "neg_mean_absolute_error",
    "mape": "neg_mean_absolute_percentage_error",
    "auc": "roc_auc",
    "brier_score": "neg_brier_score",
    "max_error": "neg_max_error",
}
_CONSTRAINT = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=)\s*(\S+)\s*")
_BOUND = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Goal:
    """A metric or a measure.

    Attributes
    ----------
    name : str
        scikit-learn's name of the scorer, or one of the measures; "score" for the estimator's own.
    goal : {"maximize", "minimize"}
    """

    name: str
    goal: str
    line: int = 0
    key: str = "metric"


def read_goals(node: Node | None, problems: Problems) -> list[Goal]:
    """Read the key ``metric``."""
    if node is None:
        return [Goal("score", "maximize")]
    if not isinstance(node.value, list):
        goal = _goal(node, problems)
        return [goal] if goal else []
    if not node.value:
        problems.add(node.line, node.key, "must name at least one metric, got an empty list")
    goals = [goal for child in node if (goal := _goal(child, problems))]
    for i, goal in enumerate(goals):
        if goal.name in [each.name for each in goals[:i]]:
            problems.add(goal.line, goal.key, f"metrics must be different, got {goal.name!r} twice")
    return goals


def _goal(node: Node, problems: Problems) -> Goal | None:
    named: Node | None = node
    wanted: Node | None = None
    if isinstance(node.value, dict):
        for key, child in node.value.items():
            if key not in ("name", "goal"):
                text = f"unknown key; metric has name, goal{near(key, ('name', 'goal'))}"
                problems.add(child.line, child.key, text)
        named, wanted = node.get("name"), node.get("goal")
    if named is None or not isinstance(named.value, str):
        got = "none" if named is None else named.kind
        problems.add(node.line, node.key, f"must be the name of a metric, got {got}")
        return None
    name = _scorer_name(named, problems)
    if name is None:
        return None
    right = "minimize" if name in MEASURES else "maximize"
    if wanted is not None:
        if wanted.value not in ("maximize", "minimize"):
            problems.add(wanted.line, wanted.key, one_of(wanted.value, ("maximize", "minimize")))
            return None
        turned = name.startswith("neg_") and not named.value.startswith("neg_")
        if wanted.value != ("minimize" if turned else right):
            why = "the lower the better" if turned or right == "minimize" else "the higher the better"
            text = (
                f"must be {'minimize' if turned else right} for {named.value} ({why}), got {wanted.value!r}"
            )
            problems.add(wanted.line, wanted.key, text)
            return None
    return Goal(name, right, node.line, named.key)


def _scorer_name(node: Node, problems: Problems) -> str | None:
    from sklearn.metrics import get_scorer_names

    scorers = get_scorer_names()
    name: str = node.value
    if name in MEASURES or name in scorers or name == "score":
        return name
    for other in (_SHORT.get(name), f"neg_{name}"):
        if other in scorers:
            problems.note(
                node.line, node.key, f"{name} is read as scikit-learn's {other}, which is maximised"
            )
            return other
    hint = near(name, [*scorers, *MEASURES, *_SHORT]) or "; sklearn.metrics.get_scorer_names() lists them"
    problems.add(node.line, node.key, f"there is no metric or measure {name!r}{hint}")
    return None


def read_constraints(node: Node | None, problems: Problems) -> list[str]:
    """Read the key ``constraints``: ``latency_us <= 200``, one or a list, or ``latency_us: {max: 200}``."""
    if node is None:
        return []
    if isinstance(node.value, dict):
        return _bounds(node, problems)
    found = []
    for child in node if isinstance(node.value, list) else [node]:
        match = _CONSTRAINT.fullmatch(child.value) if isinstance(child.value, str) else None
        if match is None or not _BOUND.fullmatch(match[3]):
            text = f"must read 'NAME <= NUMBER' or 'NAME >= NUMBER', got {child.kind}"
            problems.add(child.line, child.key, text)
            continue
        name = _scorer_name(Node(match[1], child.line, child.key), problems)
        if name is not None:
            found.append(f"{name} {match[2]} {match[3]}")
    return found


def _bounds(node: Node, problems: Problems) -> list[str]:
    found = []
    for key, child in node.value.items():
        name = _scorer_name(Node(key, child.line, child.key), problems)
        if name is None:
            continue
        if not isinstance(child.value, dict) or not child.value.keys() <= {"min", "max"} or not child.value:
            problems.add(child.line, child.key, f"must have max or min, as in {{max: 200}}, got {child.kind}")
            continue
        for end, sign in (("max", "<="), ("min", ">=")):
            if (bound := child.get(end)) is None:
                continue
            if isinstance(bound.value, bool) or not isinstance(bound.value, int | float):
                problems.add(bound.line, bound.key, f"must be a number, got {bound.kind}")
            else:
                found.append(f"{name} {sign} {bound.value!r}")
    return found


def check_metric(goal: Goal, estimator: Any, data: Data, problems: Problems) -> None:
    """See that a metric can be computed of such an estimator on such a target."""
    from sklearn.base import is_classifier, is_regressor
    from sklearn.metrics import get_scorer

    if goal.name in MEASURES or goal.name == "score":
        return
    scorer = get_scorer(goal.name)
    owner = getattr(estimator, "steps", [("", estimator)])[-1][1]
    name = type(owner).__name__
    family = getattr(getattr(scorer, "_score_func", None), "__module__", "").rpartition(".")[2]
    if is_regressor(estimator) and family in ("_classification", "_ranking"):
        text = f"{goal.name} is for classifiers, and {name} is a regressor; r2 or neg_mean_squared_error fit"
        problems.add(goal.line, goal.key, text)
        return
    if is_classifier(estimator) and family == "_regression":
        text = f"{goal.name} is for regressors, and {name} is a classifier; accuracy or neg_log_loss fit"
        problems.add(goal.line, goal.key, text)
        return
    responses = getattr(scorer, "_response_method", ())
    responses = [responses] if isinstance(responses, str) else list(responses)
    if responses and "default" not in responses and not any(hasattr(owner, each) for each in responses):
        text = f"{goal.name} needs {' or '.join(responses)}, which {name} does not have"
        problems.add(goal.line, goal.key, text)
        return
    problem = _dummy_problem(scorer, is_classifier(estimator), data)
    if problem:
        others = ""
        if goal.name in ("f1", "precision", "recall", "jaccard"):
            others = f"; {goal.name}_macro and {goal.name}_weighted take any classes"
        elif goal.name == "roc_auc":
            others = "; roc_auc_ovr and roc_auc_ovo take many classes"
        problems.add(goal.line, goal.key, f"{goal.name} cannot be computed on this target: {problem}{others}")


def _dummy_problem(scorer: Any, classifier: bool, data: Data) -> str:
    """What the metric says about this target, of a model that does not look at X."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    model = DummyClassifier(strategy="prior") if classifier else DummyRegressor()
    X = np.zeros((len(data.y), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.fit(X, data.y)
        except Exception:
            return ""  # the target is checked elsewhere
        try:
            scorer(model, X, data.y)
        except Exception as error:
            return " ".join(str(error).split())[:300]
    return ""
