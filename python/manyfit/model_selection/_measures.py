"""What a search aims at besides scores: measures of the exported model, objectives and constraints."""

from __future__ import annotations

import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from statistics import median
from time import perf_counter, perf_counter_ns
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names
from sklearn.metrics._scorer import _check_multimetric_scoring, _MultimetricScorer

if TYPE_CHECKING:
    from manyfit.model_selection._evaluator import Evaluator

__all__ = ["MEASURES", "Constraint", "Goals", "measure"]

MEASURES = ("latency_us", "model_bytes", "fit_seconds")
_WARM_UP = 20
_RUNS = 200


def measure(
    evaluator: Evaluator, candidates: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[dict[str, Any]]:
    """Measures of each candidate, fitted on all rows; "error" holds a traceback instead where one failed."""
    models = _fitted(evaluator, candidates, alone="fit_seconds" in names)
    return [_measured(evaluator, model, seconds, names) for model, seconds in models]


def _fitted(
    evaluator: Evaluator, candidates: Sequence[Mapping[str, Any]], alone: bool
) -> list[tuple[Any, float]]:
    """Models (or, for one that failed, its traceback) and the seconds each took."""
    from manyfit.base import Estimator
    from manyfit.population import fit_many

    if not alone and isinstance(evaluator.estimator, Estimator) and not evaluator.fit_params:
        try:
            fitted = fit_many(evaluator.estimator, evaluator.dataset, params=[dict(c) for c in candidates])
            return [(model, math.nan) for model in fitted]
        except Exception:
            pass  # one of them failed: which one is found below
    done: list[tuple[Any, float]] = []
    targets = () if evaluator.y is None else (evaluator.y,)
    for entry in candidates:
        begin = perf_counter()
        try:
            model = clone(evaluator.estimator)
            model.set_params(**{key: clone(value, safe=False) for key, value in entry.items()})
            begin = perf_counter()
            model.fit(evaluator.X, *targets, **evaluator.fit_params)
        except Exception:
            done.append((traceback.format_exc(), math.nan))
        else:
            done.append((model, perf_counter() - begin))
    return done


def _measured(evaluator: Evaluator, model: Any, seconds: float, names: Sequence[str]) -> dict[str, Any]:
    if isinstance(model, str):
        return {"error": model}
    found: dict[str, Any] = {}
    if "fit_seconds" in names:
        found["fit_seconds"] = seconds
    try:
        if "latency_us" in names or "model_bytes" in names:
            from manyfit.onnx import to_onnx

            graph = to_onnx(model).SerializeToString()
            if "model_bytes" in names:
                found["model_bytes"] = float(len(graph))
            if "latency_us" in names:
                found["latency_us"] = latency_us(graph, evaluator.X)
    except Exception:
        return {"error": traceback.format_exc()}
    return found


def latency_us(graph: bytes, X: Any) -> float:
    """Microseconds that ONNX Runtime takes for one row on one thread: the median of many runs."""
    import onnxruntime as ort
    from sklearn.utils import _safe_indexing

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    dtype = np.float64 if entry.type == "tensor(double)" else np.float32
    row = _safe_indexing(X, [0])
    feed = {entry.name: np.ascontiguousarray(getattr(row, "toarray", lambda: row)(), dtype=dtype)}
    for _ in range(_WARM_UP):
        session.run(None, feed)
    times = []
    for _ in range(_RUNS):
        begin = perf_counter_ns()
        session.run(None, feed)
        times.append(perf_counter_ns() - begin)
    return median(times) / 1000


# --- constraints ---

_FORM = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Constraint:
    """A bound on a metric or a measure."""

    text: str
    name: str
    below: bool
    bound: float

    def violation(self, value: float) -> float:
        """How far beyond the bound a value lies; at most 0 where it keeps to it."""
        return value - self.bound if self.below else self.bound - value


def read_constraints(owner: str, constraints: Any) -> list[Constraint]:
    """Constraints written as strings, or as a dict of name to "<= number"."""
    if constraints is None or callable(constraints):
        return []
    if isinstance(constraints, Mapping):
        texts: list[Any] = []
        for name, rest in constraints.items():
            if not isinstance(rest, str):
                raise ValueError(
                    f"{owner}: constraints: {name!r} must be bound by '<= number' or '>= number', got {rest!r}"
                )
            texts.append(f"{name} {rest}")
    elif isinstance(constraints, str):
        texts = [constraints]
    elif isinstance(constraints, Sequence):
        texts = list(constraints)
    else:
        raise TypeError(f"{owner}: constraints must be strings, a dict or a function, got {constraints!r}")
    found: dict[str, Constraint] = {}
    for text in texts:
        match = _FORM.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                f"{owner}: constraints: each must read 'name <= number' or 'name >= number', got {text!r}"
            )
        name, sign, bound = match.groups()
        plain = f"{name} {sign} {bound}"
        found[plain] = Constraint(plain, name, sign == "<=", float(bound))
    return list(found.values())


# --- objectives ---


@dataclass
class Goals:
    """What a search aims at.

    Attributes
    ----------
    names : list of str
        Objectives: metrics (keys of the scores, "score" for a single one) and measures.
    directions : list of "maximize" or "minimize"
    scorer : callable
        As scikit-learn's searches have it.
    constraints : list of Constraint
    function : callable or None
        Constraints as a function of the frozen trial.
    """

    names: list[str]
    directions: list[str]
    scorer: Any
    constraints: list[Constraint] = field(default_factory=list)
    function: Callable[[Any], Sequence[float]] | None = None

    @property
    def measures(self) -> list[str]:
        wanted = {*self.names, *(constraint.name for constraint in self.constraints)}
        return [name for name in MEASURES if name in wanted]

    def values(self, evaluations: Sequence[Mapping[str, Any]], measures: Mapping[str, Any]) -> list[float]:
        """Objective values of a trial."""
        return [self.value(name, evaluations, measures) for name in self.names]

    @staticmethod
    def value(name: str, evaluations: Sequence[Mapping[str, Any]], measures: Mapping[str, Any]) -> float:
        if name in MEASURES:
            return float(measures[name])
        return float(np.mean([score_of(each["test_scores"], name) for each in evaluations]))

    def violations(
        self, evaluations: Sequence[Mapping[str, Any]], measures: Mapping[str, Any]
    ) -> dict[str, float]:
        return {
            each.text: each.violation(self.value(each.name, evaluations, measures))
            for each in self.constraints
        }


def score_of(scores: Any, name: str) -> float:
    """A metric among the scores of one split."""
    if not isinstance(scores, Mapping):
        return float(scores)
    if name not in scores:
        near = get_close_matches(name, scores, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"scoring gives no metric {name!r} but {', '.join(map(repr, scores))}{hint}")
    return float(scores[name])


def read_goals(
    owner: str,
    estimator: Any,
    scoring: Any,
    refit: Any,
    objectives: Any,
    directions: Any,
    constraints: Any,
    raises: bool,
) -> Goals:
    """Goals as they are given to :class:`OptunaSearchCV`."""
    bounds = read_constraints(owner, constraints)
    if isinstance(objectives, str):
        objectives = [objectives]
    if objectives is not None and not list(objectives):
        raise ValueError(f"{owner}: objectives must name at least one metric or measure, got {objectives!r}")
    named = list(objectives or [])
    if len(set(named)) < len(named):
        raise ValueError(f"{owner}: objectives must be different, got {objectives!r}")
    wanted = [
        name for name in dict.fromkeys([*named, *(each.name for each in bounds)]) if name not in MEASURES
    ]
    scorer: Any
    if callable(scoring):
        scorer = scoring
        names = named or [refit if isinstance(refit, str) else "score"]
    elif scoring is None or isinstance(scoring, str):
        main = scoring or "score"
        extra = [name for name in wanted if name not in ("score", main)]
        if extra:
            metrics = list(dict.fromkeys([*([] if named and scoring is None else [main]), *wanted]))
            scorers = {
                name: _scorer(owner, estimator, scoring if name in (main, "score") else name)
                for name in metrics
            }
            scorer = _MultimetricScorer(scorers=scorers, raise_exc=raises)
            names = named or [main]
        else:
            scorer = check_scoring(estimator, scoring)
            names = ["score" if name == main else name for name in named] or ["score"]
            bounds = [
                Constraint(each.text, "score" if each.name == main else each.name, each.below, each.bound)
                for each in bounds
            ]
    else:
        scorers = dict(_check_multimetric_scoring(estimator, scoring))
        for name in wanted:
            if name not in scorers:
                scorers[name] = _scorer(owner, estimator, name, scorers)
        scorer = _MultimetricScorer(scorers=scorers, raise_exc=raises)
        if not named and not (isinstance(refit, str) and refit in scorers):
            raise ValueError(
                f"{owner}: with several metrics, refit must be one of {', '.join(map(repr, scorers))}, or "
                f"objectives must be given; got refit={refit!r}"
            )
        names = named or [refit]
    inferred = ["minimize" if name in MEASURES else "maximize" for name in names]
    return Goals(
        names,
        _directions(owner, directions, names, inferred),
        scorer,
        bounds,
        constraints if callable(constraints) else None,
    )


def _scorer(owner: str, estimator: Any, name: Any, known: Sequence[str] | Mapping[str, Any] = ()) -> Any:
    if isinstance(name, str) and name not in get_scorer_names():
        near = get_close_matches(name, [*known, *MEASURES, *get_scorer_names()], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{owner}: there is no metric or measure {name!r}{hint}")
    return check_scoring(estimator, name) if name is None else get_scorer(name)


def _directions(owner: str, directions: Any, names: Sequence[str], inferred: list[str]) -> list[str]:
    if directions is None:
        return inferred
    given = (
        [directions] if isinstance(directions, str) else [getattr(each, "name", each) for each in directions]
    )
    for each in given:
        if not isinstance(each, str) or each.lower() not in ("minimize", "maximize"):
            raise ValueError(f"{owner}: directions must be 'minimize' or 'maximize', got {each!r}")
    if len(given) != len(names):
        raise ValueError(
            f"{owner}: directions must be one for each objective ({', '.join(names)}), got {directions!r}"
        )
    return [each.lower() for each in given]
