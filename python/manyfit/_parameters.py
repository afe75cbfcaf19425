"""Parameter checks: declared once per estimator, in scikit-learn's own terms, and reported in one line."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    Options,
    StrOptions,
    _InstancesOf,
    make_constraint,
)

from manyfit._execution import device_index

__all__ = ["DeviceName", "check_parameters", "describe"]

_TYPES = {"Integral": "an integer", "int": "an integer", "Real": "a number", "str": "a string"}


class DeviceName(StrOptions):  # type: ignore[misc]  # scikit-learn is untyped
    """The name of a device."""

    def __init__(self) -> None:
        super().__init__({"cpu", "cuda"})  # and "cuda:N"

    def is_satisfied_by(self, value: object) -> bool:
        return value == "cpu" or device_index(value) is not None

    def __str__(self) -> str:
        return "'cpu', 'cuda' or 'cuda:N'"


def _interval_text(interval: Any) -> str:
    low, high = interval.left, interval.right
    if low is not None and high is None:
        return f"{'>=' if interval.closed in ('left', 'both') else '>'} {low:g}"
    if low is None and high is not None:
        return f"{'<=' if interval.closed in ('right', 'both') else '<'} {high:g}"
    if low is None and high is None:
        return "a number"
    opening = "[" if interval.closed in ("left", "both") else "("
    closing = "]" if interval.closed in ("right", "both") else ")"
    return f"in {opening}{low:g}, {high:g}{closing}"


def _rule(constraint: Any) -> str:
    if isinstance(constraint, Interval):
        kind = "an integer " if constraint.type.__name__ == "Integral" else ""
        return kind + _interval_text(constraint)
    if isinstance(constraint, Options) and not isinstance(constraint, DeviceName):
        return "one of " + ", ".join(sorted(repr(option) for option in constraint.options))
    if isinstance(constraint, _InstancesOf):
        return _TYPES.get(constraint.type.__name__, f"of type {constraint.type.__name__}")
    if isinstance(constraint, HasMethods):
        return "an object with " + ", ".join(constraint.methods)
    return str(constraint)


def _message(owner: str, name: str, constraints: tuple[Any, ...], value: object) -> str:
    # A number is judged by the rules for numbers: "alpha must be >= 0" helps more than a list of types.
    numeric = [c for c in constraints if isinstance(c, Interval) and isinstance(value, c.type)]
    if isinstance(value, bool):
        numeric = []
    rules = " or ".join(dict.fromkeys(_rule(constraint) for constraint in numeric or constraints))
    if numeric and not math.isfinite(value):  # type: ignore[arg-type]  # a number, as an interval takes it
        rules += " and finite"
    return f"{owner}: {name} must be {rules}, got {value!r}"


def describe(owner: str, name: str, rules: Any, value: object) -> str:
    """Say which rules of a parameter, in scikit-learn's terms, a value breaks."""
    return _message(owner, name, tuple(make_constraint(rule) for rule in rules), value)


@cache
def _constraints(cls: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    declared: dict[str, Any] = cls._parameter_constraints
    return tuple(
        (name, tuple(make_constraint(rule) for rule in rules))
        for name, rules in declared.items()
        if rules != "no_validation"
    )


# Settings met before, of kinds that have few values: a sweep asks about the same ones again and again.
_accepted: set[tuple[type, str, Any]] = set()


def check_parameters(estimator: Any) -> None:
    """Raise ``InvalidParameterError`` (a ValueError) for the first parameter that breaks its rule."""
    cls: Any = type(estimator)
    for name, constraints in _constraints(cls):
        value = getattr(estimator, name)
        setting = (cls, name, value) if value is None or type(value) in (bool, str) else None
        if setting in _accepted:
            continue
        if not any(constraint.is_satisfied_by(value) for constraint in constraints):
            raise InvalidParameterError(_message(cls.__name__, name, constraints, value))
        if setting is not None:
            _accepted.add(setting)
