"""The words a benchmark case is written in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from .data import Data, DataSpec
from .quality import Quality
from .targets import Target

#: What is timed: everything it needs was bound by a contender's ``prepare``.
Run = Callable[[], Any]


@dataclass(frozen=True)
class Library:
    """A package that takes part: its name for people, its import name, and how its threads are set."""

    name: str
    root: str
    #: Its estimators take ``n_jobs`` as their number of threads (the others follow the environment).
    takes_n_jobs: bool = False
    #: Its estimators lie in one module, whatever their family.
    flat: bool = False

    @property
    def version(self) -> str | None:
        """Installed version, or None when the package is imported from a source tree or missing."""
        try:
            return metadata.version(self.name)
        except metadata.PackageNotFoundError:
            return None


MANYFIT = Library("manyfit", "manyfit", takes_n_jobs=True)
SKLEARN = Library("scikit-learn", "sklearn")
SKLEARNEX = Library("scikit-learn-intelex", "sklearnex", takes_n_jobs=True)
LIBRARIES = (MANYFIT, SKLEARN, SKLEARNEX)
#: Lasso and its kin alone, by working sets and extrapolation.
CELER = Library("celer", "celer", flat=True)


class NoSuchEstimatorError(ImportError):
    """A library that does not have the estimator of a case."""


@dataclass(frozen=True)
class Contender:
    """One library's way to do the work of a case."""

    library: Library
    #: ``prepare(data, threads)`` imports the library, does what is not timed, and returns what is.
    prepare: Callable[[Data, int], Run]
    #: Too slow to repeat: one call, which also serves the quality check (three with ``--full``).
    once: bool = False
    #: Slower still: takes part with ``--full`` or ``--quick`` only.
    only_full: bool = False


@dataclass(frozen=True)
class Case:
    """Work that ours and the peers do on the same data, to the same quality."""

    name: str
    data: DataSpec
    #: Ours first.
    contenders: tuple[Contender, ...]
    quality: Quality
    targets: tuple[Target, ...] = ()
    #: Measure the first call in fresh processes.
    first_call: bool = False
    #: Measure the peak memory of a call in a fresh process.
    memory: bool = False

    @property
    def id(self) -> str:
        """Name on the command line; that of the full-size data also in a quick run."""
        return f"{self.name}/{self.data.slug}"


@dataclass(frozen=True)
class ImportCase:
    """Time of ``statement`` in a fresh interpreter that has run ``after`` already."""

    name: str
    #: ``{root}`` stands for the import name of the library.
    statement: str
    after: str
    libraries: tuple[Library, ...] = (MANYFIT, SKLEARNEX)
    targets: tuple[Target, ...] = ()

    @property
    def id(self) -> str:
        """Name on the command line."""
        return self.name

    @property
    def title(self) -> str:
        """What is timed, for people."""
        return f"{self.statement.format(root='LIBRARY')}, after {self.after}"


AnyCase = Case | ImportCase


def shrink(case: Case) -> Case:
    """The same case on data small enough for a smoke test."""
    return dataclasses.replace(case, data=case.data.quick())
