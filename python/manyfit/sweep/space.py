"""The key ``parameters``: what is searched, as distributions of Optuna's and lists of values."""

from __future__ import annotations

import math
from typing import Any

from manyfit.sweep.estimators import check_setting, setting
from manyfit.sweep.nodes import Node
from manyfit.sweep.problems import Problems, near, one_of

__all__ = ["DISTRIBUTIONS", "read_space"]

_KEYS = ("values", "value", "min", "max", "distribution", "q", "mu", "sigma")
_BOUNDED = (
    "int_uniform",
    "uniform",
    "q_uniform",
    "log_uniform_values",
    "q_log_uniform_values",
    "log_uniform",
)
DISTRIBUTIONS = ("constant", "categorical", *_BOUNDED, "normal", "log_normal")
_OTHERS = (
    "q_log_uniform",
    "inv_log_uniform",
    "inv_log_uniform_values",
    "q_normal",
    "q_log_normal",
    "beta",
    "q_beta",
)
_MOST_VALUES = 10_000


def read_space(node: Node, estimator: Any, problems: Problems) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read ``parameters``.

    Parameters
    ----------
    node : Node
    estimator : estimator or None
        Whose parameters they are; None checks no names.
    problems : Problems

    Returns
    -------
    space : dict
        Optuna's distributions, frozen distributions of SciPy's, or lists of values, by parameter.
    fixed : dict
        Parameters with one value.
    """
    reader = _Reader(estimator, problems)
    if not isinstance(node.value, dict):
        problems.add(node.line, node.key, f"must be a mapping of parameters, got {node.kind}")
    else:
        before = len(problems.found)
        reader.mapping(node, "")
        if not reader.space and len(problems.found) == before:
            problems.add(node.line, node.key, "must hold at least one parameter with more than one value")
    return reader.space, reader.fixed


class _Reader:
    def __init__(self, estimator: Any, problems: Problems) -> None:
        self.estimator = estimator
        self.known = estimator is not None
        self.names: dict[str, Any] = estimator.get_params(deep=True) if self.known else {}
        self.problems = problems
        self.space: dict[str, Any] = {}
        self.fixed: dict[str, Any] = {}

    def mapping(self, node: Node, prefix: str) -> None:
        """Read parameters, those of a step below its name."""
        for key, child in node.value.items():
            name = prefix + key
            inner = child.get("parameters")  # as W&B nests them
            if inner is not None and isinstance(inner.value, dict) and len(child.value) == 1:
                self.mapping(inner, f"{name}__")
            elif self._is_nested(name, child):
                self.mapping(child, f"{name}__")
            elif self.known and name not in self.names and not self._inside_of_a_choice(name):
                self._unknown(name, child)
            elif name in self.space or name in self.fixed:
                self.problems.add(child.line, child.key, f"the parameter {name!r} must be given once")
            else:
                self.parameter(name, child)

    def _is_nested(self, name: str, child: Node) -> bool:
        if not isinstance(child.value, dict):
            return False
        is_part = not self.known or any(other.startswith(f"{name}__") for other in self.names)
        return is_part and not child.value.keys() & set(_KEYS)

    def _inside_of_a_choice(self, name: str) -> bool:
        parts = name.split("__")
        return any("__".join(parts[:depth]) in self.space for depth in range(1, len(parts)))

    def _unknown(self, name: str, child: Node) -> None:
        owner = type(self.estimator).__name__
        last = name.rpartition("__")[2]
        below = {each.rpartition("__")[2]: each for each in self.names if "__" in each}
        hint = near(name, self.names)
        if not hint and last in below:
            hint = f"; did you mean {below[last]!r}?"
        if not hint:
            hint = f"; it has {', '.join(each for each in self.names if '__' not in each)}"
        self.problems.add(child.line, child.key, f"{owner} has no parameter {name!r}{hint}")

    # --- one parameter ---

    def parameter(self, name: str, node: Node) -> None:
        """Read one parameter."""
        if isinstance(node.value, list):
            self._values(name, node)
        elif not isinstance(node.value, dict):
            self._constant(name, node)
        else:
            before = len(self.problems.found)
            for key, child in node.value.items():
                if key == "probabilities":
                    self.problems.add(
                        child.line, child.key, "is not supported: all values are equally likely"
                    )
                elif key not in _KEYS:
                    text = f"unknown key; a parameter has {', '.join(_KEYS)}{near(key, _KEYS)}"
                    self.problems.add(child.line, child.key, text)
            if len(self.problems.found) == before:
                self._described(name, node)

    def _described(self, name: str, node: Node) -> None:
        kind = self._kind(node)
        if kind is None:
            return
        takes = {
            "constant": ("value",),
            "categorical": ("values",),
            "normal": ("mu", "sigma"),
            "log_normal": ("mu", "sigma"),
        }.get(kind, ("min", "max", "q") if kind.startswith("q_") or kind == "int_uniform" else ("min", "max"))
        for key in node.value:
            if key not in (*takes, "distribution"):
                place = node[key]
                text = f"does not go with {kind}, which takes {' and '.join(takes)}"
                self.problems.add(place.line, place.key, text)
                return
        missing = [key for key in takes if key not in node and key != "q"]
        if kind.startswith("q_") and "q" not in node:
            missing.append("q")
        if missing:
            self.problems.add(node.line, f"{node.key}.{missing[0]}", f"must be given for {kind}, got none")
        elif kind == "constant":
            self._constant(name, node["value"])
        elif kind == "categorical":
            self._values(name, node["values"])
        elif kind in ("normal", "log_normal"):
            self._normal(name, node, kind)
        else:
            self._range(name, node, kind)

    def _kind(self, node: Node) -> str | None:
        """The distribution, given or inferred as W&B does."""
        given = node.get("distribution")
        if given is not None:
            if given.value in DISTRIBUTIONS:
                return str(given.value)
            text = one_of(given.value, DISTRIBUTIONS)
            if given.value in _OTHERS:
                text = f"{given.value} of W&B is not supported; there are {', '.join(DISTRIBUTIONS)}"
            self.problems.add(given.line, given.key, text)
            return None
        if "values" in node:
            return "categorical"
        if "value" in node:
            return "constant"
        if "mu" in node or "sigma" in node:
            return "normal"
        if "min" not in node and "max" not in node:
            self.problems.add(
                node.line, node.key, "must have values, value, or min and max, got none of them"
            )
            return None
        if _is_int(node.get("min")) and _is_int(node.get("max")):
            q = node.get("q")
            return "int_uniform" if q is None or _is_int(q) else "q_uniform"
        return "q_uniform" if "q" in node else "uniform"

    def _constant(self, name: str, node: Node) -> None:
        value = setting(node, self.problems)
        if self._fits(name, node, value):
            self.fixed[name] = value

    def _values(self, name: str, node: Node) -> None:
        if not isinstance(node.value, list):
            self.problems.add(node.line, node.key, f"must be a list of values, got {node.kind}")
            return
        if not node.value:
            self.problems.add(node.line, node.key, "must have at least one value, got an empty list")
            return
        values = [setting(child, self.problems) for child in node]
        shown = [repr(value) for value in values]
        for i, child in enumerate(node):
            if shown[i] in shown[:i]:
                self.problems.add(child.line, child.key, f"values must be different, got {shown[i]} twice")
                return
        fit = [self._fits(name, child, value) for child, value in zip(node, values, strict=True)]
        if all(fit):
            if len(values) == 1:
                self.fixed[name] = values[0]
            else:
                self.space[name] = values

    def _number(self, node: Node) -> float | int | None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.problems.add(node.line, node.key, f"must be a number, got {node.kind}")
            return None
        if not math.isfinite(value):
            self.problems.add(node.line, node.key, f"must be a finite number, got {value}")
            return None
        return value

    def _normal(self, name: str, node: Node, kind: str) -> None:
        from scipy import stats

        mu, sigma = self._number(node["mu"]), self._number(node["sigma"])
        if mu is None or sigma is None:
            return
        if not sigma > 0:
            place = node["sigma"]
            self.problems.add(place.line, place.key, f"must be > 0, got {sigma:g}")
            return
        self.space[name] = (
            stats.norm(mu, sigma) if kind == "normal" else stats.lognorm(sigma, scale=math.exp(mu))
        )

    def _range(self, name: str, node: Node, kind: str) -> None:
        low, high = self._number(node["min"]), self._number(node["max"])
        q = self._number(node["q"]) if "q" in node else None
        if low is None or high is None or ("q" in node and q is None):
            return
        least, step = node["min"], node.get("q")
        if kind == "log_uniform":  # W&B's bounds are exponents of e
            if max(abs(low), abs(high)) > 300:
                self.problems.add(
                    least.line,
                    node.key,
                    "log_uniform takes exponents of e; log_uniform_values takes the bounds",
                )
                return
            self.problems.note(
                node.line,
                node.key,
                f"log_uniform takes exponents of e: from {math.exp(low):.3g} to {math.exp(high):.3g}",
            )
            low, high = math.exp(low), math.exp(high)
        if not low < high:
            if low == high:
                text = f"must be < max, got {low:g} for both; value: {low:g} fixes a parameter"
            else:
                text = f"must be < max ({high:g}), got {low:g}"
            self.problems.add(least.line, least.key, text)
            return
        log = "log" in kind
        if log and not low > 0:
            self.problems.add(least.line, least.key, f"must be > 0 on a log scale, got {low:g}")
            return
        if q is not None and step is not None and not q > 0:
            self.problems.add(step.line, step.key, f"must be > 0, got {q:g}")
            return
        if q is not None and step is not None and q > high - low:
            self.problems.add(step.line, step.key, f"must be <= max - min ({high - low:g}), got {q:g}")
            return
        whole = isinstance(low, int) and isinstance(high, int)
        if kind == "int_uniform" and not whole:
            place = node["min"] if not isinstance(low, int) else node["max"]
            self.problems.add(
                place.line, place.key, f"must be a whole number for int_uniform, got {place.value}"
            )
            return
        if kind == "int_uniform" and q is not None and not isinstance(q, int) and step is not None:
            self.problems.add(step.line, step.key, f"must be a whole number for int_uniform, got {q:g}")
            return
        distribution = self._distribution(name, node, kind, low, high, q)
        if distribution is None:
            return
        ends = [self._fits(name, node[key], end) for key, end in (("min", low), ("max", high))]
        if all(ends):
            self.space[name] = distribution

    def _distribution(
        self, name: str, node: Node, kind: str, low: float, high: float, q: float | None
    ) -> Any:
        from optuna.distributions import FloatDistribution, IntDistribution

        whole = isinstance(low, int) and isinstance(high, int)
        if kind == "int_uniform":
            step = int(q or 1)
            return IntDistribution(int(low), self._last(node, int(low), int(high), step), step=step)
        if kind == "q_uniform":
            assert q is not None
            if whole and isinstance(q, int):
                return IntDistribution(int(low), self._last(node, int(low), int(high), q), step=q)
            steps = math.floor((high - low) / q + 1e-9)
            return FloatDistribution(low, float(low + steps * q), step=float(q))
        if kind == "q_log_uniform_values":
            if q == 1 and whole:
                return IntDistribution(int(low), int(high), log=True)
            place = node["q"]
            self.problems.add(
                place.line,
                place.key,
                f"must be 1, with whole numbers for min and max, on a log scale, got {q:g}",
            )
            return None
        if kind == "log_uniform_values" and whole and not isinstance(self.names.get(name), float):
            return IntDistribution(int(low), int(high), log=True)  # as many trees, not as large a penalty
        return FloatDistribution(float(low), float(high), log="log" in kind)

    def _last(self, node: Node, low: int, high: int, step: int) -> int:
        last = low + (high - low) // step * step
        if last != high:
            self.problems.note(node["max"].line, node["max"].key, f"steps of {step} from {low} end at {last}")
        return last

    def _fits(self, name: str, node: Node, value: Any) -> bool:
        """Whether the estimator takes a value, as far as it tells before it is fitted."""
        if name not in self.names:
            return True
        owner = name.rpartition("__")[0]
        if owner in self.space:
            return True
        wrong = check_setting(self.estimator, name, value)
        if wrong:
            self.problems.add(node.line, node.key, wrong)
        return not wrong


def _is_int(node: Node | None) -> bool:
    return node is not None and isinstance(node.value, int) and not isinstance(node.value, bool)
