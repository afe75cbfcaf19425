"""The benchmark cases, one module per family; a new family is listed in ``FAMILIES``."""

from __future__ import annotations

import importlib

from ..case import AnyCase

FAMILIES = ("linear_model", "logistic", "decomposition", "search", "optuna")
#: On other devices than the CPU, run by ``--device``.
DEVICE_FAMILIES = {"cuda": ("cuda",)}


def of_family(family: str) -> tuple[AnyCase, ...]:
    """The cases of one family, in the order in which they run."""
    cases: tuple[AnyCase, ...] = importlib.import_module(f".{family}", __package__).CASES
    return cases


def find(case_id: str) -> AnyCase:
    """The case with this id."""
    families = [*FAMILIES, *(family for known in DEVICE_FAMILIES.values() for family in known)]
    return next(case for family in families for case in of_family(family) if case.id == case_id)
