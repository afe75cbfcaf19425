"""Parameters: declared once, checked in every fit, and told apart in the error."""

from __future__ import annotations

from typing import Any

from sklearn.base import clone
from sklearn.utils._param_validation import Interval, make_constraint

from manyfit.exceptions import DeviceError
from manyfit.testing._compare import assert_close
from manyfit.testing._conditions import has_n_jobs, is_estimator
from manyfit.testing._data import answers, fit, make_data
from manyfit.testing._errors import assert_raises
from manyfit.testing._kit import check


class Nonsense:
    """A value that no parameter takes."""

    def __repr__(self) -> str:
        return "<nonsense>"


@check(is_estimator)
def check_parameters_declared(estimator: Any) -> None:
    """Every parameter has a declared constraint, and none is declared that does not exist."""
    declared = set(type(estimator)._parameter_constraints)
    own = set(estimator.get_params(deep=False))
    assert own == declared, f"constraints for {sorted(declared)}, parameters {sorted(own)}"


@check(is_estimator)
def check_parameter_errors(estimator: Any) -> None:
    """A bad parameter is a ValueError that names the class, the parameter and the value."""
    data = make_data(estimator)
    owner = type(estimator).__name__
    for name, declared in type(estimator)._parameter_constraints.items():
        if declared == "no_validation":
            continue
        bad = clone(estimator, safe=False)
        setattr(bad, name, Nonsense())
        with assert_raises(ValueError, owner, f"{name} must be", "<nonsense>"):
            bad.fit(data.X, data.y)
        fitted = [each for each in vars(bad) if each.endswith("_")]
        assert not fitted, f"{name}: a refused fit set {fitted}"


@check(is_estimator)
def check_parameter_ranges(estimator: Any) -> None:
    """A number outside its range, NaN and infinity are ValueErrors that name class, parameter and value."""
    data = make_data(estimator)
    for name, declared in type(estimator)._parameter_constraints.items():
        if declared == "no_validation" or name not in estimator.get_params(deep=False):
            continue
        rules = [make_constraint(rule) for rule in declared]
        for value in (value for rule in rules if isinstance(rule, Interval) for value in _numbers(rule)):
            if any(rule.is_satisfied_by(value) for rule in rules):
                continue
            bad = clone(estimator).set_params(**{name: value})
            with assert_raises(ValueError, type(estimator).__name__, f"{name} must be", repr(value)):
                bad.fit(data.X, data.y)


def _numbers(rule: Any) -> list[Any]:
    """Numbers at the ends of an interval and beyond."""
    ends = [end for end in (rule.left, rule.right) if end is not None]
    beyond = [-1e300, 1e300, float("nan"), float("inf"), -float("inf")]
    return [*ends, *(end + step for end in ends for step in (-1, 1)), *beyond]


@check(is_estimator)
def check_device(estimator: Any) -> None:
    """A device without kernels or that is not there is a DeviceError; one that does not exist is a ValueError."""
    data = make_data(estimator)
    for wrong in ("abacus", "cuda:", "cuda:x", "cuda:-1"):
        with assert_raises(ValueError, "device must be", repr(wrong)):
            fit(estimator, data, device=wrong)
    if "cuda" not in type(estimator)._devices:
        with assert_raises(DeviceError, type(estimator).__name__, "device='cuda'", "device='cpu'"):
            fit(estimator, data, device="cuda")
        return
    with assert_raises(DeviceError, "device='cuda:99'"):
        fit(estimator, data, device="cuda:99")
    try:
        model = fit(estimator, data, device="cuda")
    except DeviceError as error:
        assert "cuda" in str(error), f"the error does not name the device: {error}"
        return
    expected = answers(fit(estimator, data), data.X)
    for name, value in answers(model, data.X).items():
        assert_close(value, expected[name], f"{name} of a model of device='cuda'", rtol=1e-9)


@check(is_estimator, has_n_jobs)
def check_n_jobs(estimator: Any) -> None:
    """n_jobs may be None or any integer other than 0."""
    data = make_data(estimator)
    for n_jobs in (None, 1, 2, -1, -2, -1000):
        fit(estimator, data, n_jobs=n_jobs)
    for wrong in (0, 1.5, "2", Nonsense()):
        with assert_raises(ValueError, "n_jobs must be", repr(wrong)):
            fit(clone(estimator), data, n_jobs=wrong)
