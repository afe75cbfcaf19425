"""The benchmark cases, one module per family; a new family is listed in ``FAMILIES``."""

from __future__ import annotations

import importlib

from ..case import AnyCase

FAMILIES = ("linear_model", "logistic", "decomposition", "search", "optuna")


def of_family(family: str) -> tuple[AnyCase, ...]:
    """The cases of one family, in the order in which they run."""
    cases: tuple[AnyCase, ...] = importlib.import_module(f".{family}", __package__).CASES
    return cases


def find(case_id: str) -> AnyCase:
    """The case with this id."""
    return next(case for family in FAMILIES for case in of_family(family) if case.id == case_id)
