"""One case from its declaration to its result."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import timing
from .case import AnyCase, Case, Contender, ImportCase, Library, NoSuchEstimatorError, Run, shrink
from .child import CLEAR_REFS, ChildFailed, measure_call, measure_import
from .data import Data, load
from .results import CaseResult, Entry


@dataclass(frozen=True)
class Settings:
    """How a run is done."""

    threads: int
    plan: timing.Plan
    quick: bool = False
    full: bool = False

    @property
    def fresh_processes(self) -> int:
        """Processes for a first call or an import."""
        return 1 if self.quick else 3


def run_case(case: AnyCase, family: str, settings: Settings) -> CaseResult:
    """Measure one case; a contender that cannot take part leaves an entry that says why."""
    with timing.Neighbours() as neighbours:
        if isinstance(case, ImportCase):
            result = _run_import(case, family, settings)
        else:
            # The id stays that of the full-size data: a quick run has the same names.
            result = _Runner(shrink(case) if settings.quick else case, case.id, family, settings).run()
    result.others_cpus = neighbours.cpus
    result.verdicts = [target.judge(result) for target in case.targets]
    if settings.quick:
        for verdict in result.verdicts:
            verdict.met = None
    return result


def _run_import(case: ImportCase, family: str, settings: Settings) -> CaseResult:
    result = CaseResult(case.id, family, case.title)
    result.entries = [Entry(library.name, library.version) for library in case.libraries]
    statements = [case.statement.format(root=library.root) for library in case.libraries]
    repeat = settings.plan.repeat or (settings.fresh_processes if settings.quick else 7)
    # The first round fills the file cache and writes the bytecode; it is not kept.
    for turn in range(repeat + 1):
        for entry, library, statement in zip(result.entries, case.libraries, statements, strict=True):
            if entry.status != "ok":
                continue
            try:
                seconds = measure_import(statement, case.after)
            except ChildFailed as error:
                missing = str(error) == f"ModuleNotFoundError: No module named '{library.root}'"
                entry.status = "not installed" if missing else f"failed: {error}"
                continue
            if turn > 0:
                entry.seconds.append(seconds)
    return result


class _Runner:
    """The steps of one case; the state between them is the runs that are ready to be timed."""

    def __init__(self, case: Case, case_id: str, family: str, settings: Settings) -> None:
        self.case, self.settings = case, settings
        self.result = CaseResult(case_id, family, f"{case.name}, {case.data.label}", case.quality.says)
        self.contenders = {c.library.name: c for c in case.contenders}
        self.entries = {c.library.name: Entry(c.library.name, c.library.version) for c in case.contenders}
        self.result.entries = list(self.entries.values())
        self.runs: dict[str, Run] = {}

    def run(self) -> CaseResult:
        """Quality first; times, first calls and memory only where ours, if present, is of equal quality."""
        data = load(self.case.data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._check_quality(data)
            if self.result.quality_ok is not False:
                self._time()
                self._measure_fresh()
        return self.result

    def _check_quality(self, data: Data) -> None:
        """Let every contender do the work once, and hold its answer against the reference."""
        expected = self.case.quality.reference(data)
        for name, contender in self.contenders.items():
            entry = self.entries[name]
            run = self._prepare(contender, data)
            if run is None:
                continue
            try:
                answer, seconds = _first_answer(run, entry)
                entry.error = self.case.quality.error(answer, expected, data)
            except Exception as error:  # a contender may fail in any way; the row says how
                entry.status = f"failed: {_one_line(error)}"
                continue
            self.runs[name] = run
            if contender.once:
                entry.seconds.append(seconds)
        errors = {name: entry.error for name, entry in self.entries.items() if entry.error is not None}
        limit = self.case.quality.limit(errors)
        self.result.limit = limit
        for entry in self.result.entries:
            if entry.error is not None:
                entry.within_tolerance = entry.error <= limit  # False for NaN
        if self.result.ours.status.startswith("failed"):
            self.result.quality_ok = False
        else:
            self.result.quality_ok = self.result.ours.within_tolerance

    def _prepare(self, contender: Contender, data: Data) -> Run | None:
        entry = self.entries[contender.library.name]
        if contender.only_full and not (self.settings.full or self.settings.quick):
            entry.status = "skipped: minutes, takes part with --full"
            return None
        try:
            return contender.prepare(data, self.settings.threads)
        except ImportError as error:
            entry.status = _missing(contender.library, error)
        except Exception as error:
            entry.status = f"failed: {_one_line(error)}"
        return None

    def _time(self) -> None:
        """Interleave the rounds; what is too slow to repeat keeps its one figure."""
        repeated = {name: run for name, run in self.runs.items() if not self.contenders[name].once}
        for name, (seconds, calls) in timing.interleave(repeated, self.settings.plan).items():
            self.entries[name].seconds, self.entries[name].calls = seconds, calls
        if not self.settings.full:
            return
        for name, run in self.runs.items():
            if self.contenders[name].once and not self.contenders[name].only_full:
                timing.settle()
                self.entries[name].seconds += [timing.time_calls(run, 1) for _ in range(2)]

    def _measure_fresh(self) -> None:
        """First calls and peak memory, each in a process of its own."""
        for name in self.runs:
            entry = self.entries[name]
            if self.case.first_call and not self.contenders[name].once:
                records = (self._child("first", name) for _ in range(self.settings.fresh_processes))
                entry.first_call = [record["seconds"] for record in records if record]
            if self.case.memory and CLEAR_REFS.exists():
                record = self._child("memory", name)
                entry.peak_bytes, entry.peak_share = record.get("bytes"), record.get("share")

    def _child(self, what: str, name: str) -> dict[str, Any]:
        """What a fresh process measured; nothing, and a note, where it failed."""
        settings = self.settings
        try:
            return measure_call(what, self.result.id, name, settings.threads, quick=settings.quick)
        except ChildFailed as error:
            self.entries[name].notes.append(f"{what} in a fresh process failed: {error}")
            return {}


def _first_answer(run: Run, entry: Entry) -> tuple[Any, float]:
    """The first call in this process: its result, its time, and what it said about itself."""
    with warnings.catch_warnings(record=True) as caught, _fallbacks(entry):
        warnings.simplefilter("always")
        start = time.perf_counter()
        answer = run()
        seconds = time.perf_counter() - start
    entry.notes += [f"warns: {name}" for name in dict.fromkeys(w.category.__name__ for w in caught)]
    backend = getattr(getattr(answer, "model", answer), "fit_backend_", entry.library)
    if backend != entry.library:
        entry.notes.append(f"ran {backend}'s solver")
    return answer, seconds


@contextmanager
def _fallbacks(entry: Entry) -> Iterator[None]:
    """Note when scikit-learn-intelex hands the work back to scikit-learn, which it only logs."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note = "fell back to scikit-learn"
            if "fallback to original" in record.getMessage() and note not in entry.notes:
                entry.notes.append(note)

    logger = logging.getLogger("sklearnex")
    listener, level, propagate = Listener(), logger.level, logger.propagate
    handlers, logger.handlers = logger.handlers, [listener]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def _missing(library: Library, error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == library.root:
        return "not installed"
    if isinstance(error, NoSuchEstimatorError):
        return "no such class"
    return f"cannot be imported: {_one_line(error)}"


def _one_line(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return text if len(text) <= 70 else text[:67] + "..."
