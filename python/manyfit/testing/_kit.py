"""The registry of checks and the ways to run them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sklearn.base import clone

__all__ = ["Check", "all_checks", "check", "check_estimator", "estimator_checks", "parametrize_with_kit"]

Condition = Callable[[Any], bool]

# In the order in which they run: what is cheap and basic first.
_MODULES = (
    "parameters",
    "inputs",
    "layouts",
    "weights",
    "labels",
    "classes",
    "online",
    "population",
    "determinism",
    "copies",
    "files",
    "frames",
    "progress",
    "processes",
)


@dataclass(frozen=True)
class Check:
    """One promise, and how it is put to the test.

    Attributes
    ----------
    name : str
    function : callable
        Takes an unfitted estimator, which it may fit; raises AssertionError where the promise is broken.
    conditions : tuple of callable
        What must hold for an estimator for the promise to apply to it.
    """

    name: str
    function: Callable[[Any], None]
    conditions: tuple[Condition, ...]

    @property
    def promise(self) -> str:
        """What is promised, in a line."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    def applies(self, estimator: Any) -> bool:
        """Whether `estimator` makes this promise at all."""
        return all(condition(estimator) for condition in self.conditions)


_REGISTERED: dict[str, Check] = {}


def check(*conditions: Condition) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a function as a check, for estimators that meet the conditions."""

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        name = function.__name__
        if name in _REGISTERED:
            raise ValueError(f"two checks are named {name}")
        _REGISTERED[name] = Check(name, function, conditions)
        return function

    return register


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check, in the order in which they run.

    Returns
    -------
    tuple of Check
    """
    for module in _MODULES:
        importlib.import_module(f"manyfit.testing._checks.{module}")
    return tuple(_REGISTERED.values())


def _chosen(names: Iterable[str] | None) -> tuple[Check, ...]:
    known = all_checks()
    if names is None:
        return known
    wanted = [names] if isinstance(names, str) else list(names)
    unknown = sorted(set(wanted) - {each.name for each in known})
    if unknown:
        raise ValueError(
            f"checks must be names of checks, got {', '.join(map(repr, unknown))}; "
            f"there are {', '.join(each.name for each in known)}"
        )
    return tuple(each for each in known if each.name in wanted)


def estimator_checks(
    estimator: Any, checks: Iterable[str] | None = None
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the checks that apply to an estimator.

    Parameters
    ----------
    estimator : Estimator
        An instance; it is cloned, never fitted itself.
    checks : iterable of str, default=None
        Names of the checks to yield; None yields every check.

    Yields
    ------
    name : str
    function : callable
        Runs the check; raises AssertionError where the estimator breaks the promise.

    Raises
    ------
    TypeError
        If `estimator` is a class.
    ValueError
        If `checks` holds a name that no check has.
    """
    if inspect.isclass(estimator):
        raise TypeError(f"estimator must be an instance, got the class {estimator.__name__}")
    for each in _chosen(checks):
        if each.applies(estimator):
            yield each.name, partial(_run, each, estimator)


def check_estimator(estimator: Any, checks: Iterable[str] | None = None) -> None:
    """Run every check that applies to an estimator, until one fails.

    Parameters
    ----------
    estimator : Estimator
        An instance, for example of your own subclass of :class:`manyfit.base.Estimator`.
    checks : iterable of str, default=None
        Names of the checks to run; None runs every check.

    Raises
    ------
    AssertionError
        If a promise is broken; a note names the check and the promise.

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.testing import check_estimator
    >>> check_estimator(Ridge(), checks=["check_clone_and_copy", "check_weights_equal_repetition"])
    """
    for _, function in estimator_checks(estimator, checks):
        function()


def _run(each: Check, estimator: Any) -> None:
    try:
        each.function(clone(estimator))
    except Exception as error:
        error.add_note(f"{each.name} of {estimator!r}: {each.promise}")
        raise


def parametrize_with_kit(
    estimators: Iterable[Any],
    expected_failures: Callable[[Any], Mapping[str, str]] | None = None,
    checks: Iterable[str] | None = None,
) -> Any:
    """Parametrize a pytest test with every estimator and every check that applies to it.

    Parameters
    ----------
    estimators : iterable of Estimator
    expected_failures : callable, default=None
        Given an estimator, the checks that are known to fail and why; those become strict ``xfail``.
    checks : iterable of str, default=None
        Names of the checks to run; None runs every check.

    Returns
    -------
    pytest.MarkDecorator

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.testing import parametrize_with_kit
    >>> @parametrize_with_kit([Ridge(), Ridge(positive=True)])
    ... def test_promises(check):
    ...     check()
    """
    import pytest

    names = None if checks is None else tuple(checks)
    cases = []
    for estimator in estimators:
        known = {} if expected_failures is None else dict(expected_failures(estimator))
        for name, function in estimator_checks(estimator, names):
            marks = [pytest.mark.xfail(reason=known.pop(name), strict=True)] if name in known else []
            cases.append(pytest.param(function, id=f"{estimator!r}-{name}", marks=marks))
        if known and names is None:
            raise ValueError(f"{estimator!r}: expected failures of checks that do not run: {sorted(known)}")
    return pytest.mark.parametrize("check", cases)
