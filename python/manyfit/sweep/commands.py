"""What each command of ``manyfit sweep`` does."""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from manyfit._page.words import duration
from manyfit.exceptions import ExportMismatch, StorageError
from manyfit.sweep import run as running
from manyfit.sweep.cli import FAILED, INTERRUPTED, OK, UNUSABLE
from manyfit.sweep.file import Sweep, read_sweep
from manyfit.sweep.view import View, is_sweep_file, open_view

__all__ = ["best", "check", "export", "report", "resume", "run", "status"]

_EVERY = 1.0  # seconds between two looks

_ASCII = str.maketrans({"\N{MULTIPLICATION SIGN}": "x", "µ": "u"})


def _console(file: Any = None) -> Console:
    return Console(highlight=False, emoji=False, markup=False, file=file)


def _say(console: Console, text: str, style: str = "") -> None:
    plain = not (console.encoding or "").lower().startswith("utf")
    console.print(text.translate(_ASCII) if plain else text, style=style or None, soft_wrap=True)


# --- run, resume ---


def _overrides(arguments: argparse.Namespace) -> dict[str, Any]:
    names = {
        "run_cap": "trials",
        "timeout": "timeout",
        "workers": "workers",
        "storage": "storage",
        "seed": "seed",
    }
    return {key: getattr(arguments, name, None) for key, name in names.items()}


def run(arguments: argparse.Namespace) -> int:
    """``manyfit sweep run FILE``."""
    sweep = read_sweep(arguments.file, _overrides(arguments))
    return _carry_out(sweep, arguments, arguments.storage or arguments.file)


def resume(arguments: argparse.Namespace) -> int:
    """``manyfit sweep resume FILE|STORAGE``."""
    place = arguments.place
    view = open_view(place, arguments.name)
    overrides = _overrides(arguments)
    if is_sweep_file(place):
        sweep = read_sweep(place, overrides)
    else:
        if not view.text:
            raise StorageError(
                f"{view.where}: the study {view.study.study_name!r} was not made by manyfit sweep: its sweep file "
                "is needed"
            )
        overrides["storage"] = place
        sweep = read_sweep(view.path or "sweep.yaml", overrides, view.text)
    if arguments.name is not None:
        sweep.name = arguments.name
    return _carry_out(sweep, arguments, place)


def _carry_out(sweep: Sweep, arguments: argparse.Namespace, place: str) -> int:
    console = _console()
    for note in sweep.notes:
        print(note, file=sys.stderr)
    _say(console, f"{sweep.name}: {describe(sweep)}", "bold")
    known = _known(sweep)
    if known and sweep.n_trials is not None and known >= sweep.n_trials:
        _say(console, f"{sweep.storage} holds all {known} trials of it; --trials N makes it longer")
        return OK
    if known:
        _say(console, f"{sweep.storage} holds {known} trial{'s' if known > 1 else ''} of it: going on")
    sys.stdout.flush()
    command = f"manyfit sweep {arguments.sweep_command}"
    try:
        outcome = running.run(sweep, dask=arguments.dask, console=console)
    except KeyboardInterrupt:  # before the first trial, or the second one
        saved = _known(sweep)
        print(f"{command}: interrupted; {_saved(sweep, saved, place)}", file=sys.stderr)
        return INTERRUPTED
    for text, times in outcome.warnings.items():
        print(f"{text} ({times} times)" if times > 1 else text, file=sys.stderr)
    view = open_view(sweep.storage, sweep.name)
    tally = view.tally()
    new = tally.total - known
    _say(console, f"{new} trials in {duration(outcome.seconds)}; {tally.total} in all: {tally.counts()}")
    if tally.best is not None:
        _say(console, "\n".join(best_lines(view, tally.best, view.names())))
    if view.plan:
        _say(console, f"shared: {view.plan}")
    if outcome.interrupted:
        print(f"{command}: interrupted; {_saved(sweep, tally.total, place)}", file=sys.stderr)
        return INTERRUPTED
    if tally.complete == 0:
        reason = outcome.problem.strip() or "no trial was completed"
        print(f"{command}: {reason}", file=sys.stderr)
        return FAILED
    model = shlex.quote(f"{sweep.path.stem}.onnx")
    _say(console, f"next: manyfit sweep best {shlex.quote(place)} --onnx {model}", "dim")
    return OK


def _saved(sweep: Sweep, trials: int, place: str) -> str:
    again = f"manyfit sweep resume {shlex.quote(place)}" if trials else f"manyfit sweep run {sweep.path}"
    are = "trial is" if trials == 1 else "trials are"
    return f"{trials} {are} saved in {sweep.storage}; go on with: {again}"


def _known(sweep: Sweep) -> int:
    """How many trials of the sweep are stored."""
    try:
        return open_view(sweep.storage, sweep.name).tally().total
    except StorageError:
        return 0  # there is none, or what is wrong is told when it is written


def describe(sweep: Sweep) -> str:
    """One line on what is searched how."""
    data = sweep.data
    shape = f" ({data.X.shape[0]:,} x {data.X.shape[1]})" if data.names else ""
    names = " > ".join(step.cls.__name__ for step in sweep.built.steps)
    limits = []
    if sweep.n_trials is not None:
        limits.append(f"{sweep.n_trials} trials")
    if sweep.timeout is not None:
        limits.append(f"at most {duration(sweep.timeout)}")
    where = f", {sweep.workers} workers" if sweep.workers else ""
    metrics = ", ".join(goal.name for goal in sweep.goals)
    return f"{names} on {sweep.source}{shape}, {sweep.method} for {metrics}, {', '.join(limits)}{where}"


def best_lines(view: View, trial: Any, names: list[str]) -> list[str]:
    """A trial in words."""
    values = ", ".join(f"{name} {value:.6g}" for name, value in zip(names, trial.values, strict=True))
    lines = [f"best: trial {trial.number}, {values}"]
    lines += [f"  {name}: {value}" for name, value in parameters(view, trial).items()]
    return lines


def parameters(view: View, trial: Any) -> dict[str, Any]:
    """The estimator's parameters that a trial stands for."""
    from manyfit.model_selection._space import Space

    try:
        sweep = view.sweep()
        found = Space(sweep.space, sweep.estimator).settings(trial)
    except (ValueError, OSError):
        found = None
    return trial.params if found is None else found


# --- status ---


def status(arguments: argparse.Namespace) -> int:
    """``manyfit sweep status FILE|STORAGE``."""
    from manyfit.sweep.status import Status

    console = _console()

    def look() -> Status:
        return Status.of(open_view(arguments.place, arguments.name))

    if not arguments.watch:
        for line in look().lines():
            _say(console, line)
        return OK
    with contextlib.suppress(KeyboardInterrupt):  # the usual way to stop watching
        _watch(look, console)
    return OK


def _watch(look: Callable[[], Any], console: Console) -> None:
    """Show how far a sweep is until nothing more is to come."""
    now = look()
    if sys.stdout.isatty() and console.is_interactive:
        from rich.live import Live

        with Live(now.table(), console=console, refresh_per_second=4) as screen:
            while not now.done:
                time.sleep(_EVERY)
                now = look()
                screen.update(now.table())
        return
    said = ""
    while True:
        line = now.line()
        if line != said:
            print(line, flush=True)
            said = line
        if now.done:
            return
        time.sleep(_EVERY)
        now = look()


# --- best ---


def best(arguments: argparse.Namespace) -> int:
    """``manyfit sweep best FILE|STORAGE``."""
    view = open_view(arguments.place, arguments.name)
    tally = view.tally()
    trial = tally.best
    if arguments.trial is not None:
        trial = next((each for each in view.trials if each.number == arguments.trial), None)
        if trial is None or trial.state.name != "COMPLETE":
            there = "there is none" if trial is None else f"it is {trial.state.name}"
            print(
                f"manyfit sweep best: --trial must be one that is complete, got {arguments.trial}: {there}",
                file=sys.stderr,
            )
            return UNUSABLE
    if trial is None:
        why = f"{tally.counts()} of {tally.total}" if tally.total else "none has ended yet"
        print(f"manyfit sweep best: there is no best trial: {why}", file=sys.stderr)
        return FAILED
    console = _console()
    for line in best_lines(view, trial, view.names()):
        _say(console, line)
    if len(tally.front) > 1 and arguments.trial is None:
        numbers = ", ".join(str(each.number) for each in tally.front)
        _say(console, f"on the Pareto front: trials {numbers} (--trial N chooses another)")
    if arguments.onnx is None and arguments.save is None:
        return OK
    try:
        return _write_model(view, trial, arguments, console)
    except (TypeError, ExportMismatch) as error:
        print(f"manyfit sweep best: {error}", file=sys.stderr)
        return FAILED if isinstance(error, ExportMismatch) else UNUSABLE


def _write_model(view: View, trial: Any, arguments: argparse.Namespace, console: Console) -> int:
    from sklearn.base import clone

    sweep = view.sweep(with_data=True)
    model = clone(sweep.estimator).set_params(**parameters(view, trial))
    weights = {key: value for key, value in sweep.fit_params().items() if key != "groups"}
    begin = time.perf_counter()
    model.fit(sweep.data.X, sweep.data.y, **weights)
    rows = len(sweep.data.X)
    _say(console, f"fitted on all {rows:,} rows in {duration(time.perf_counter() - begin)}")
    if arguments.onnx is not None:
        from manyfit.onnx import to_onnx

        graph = to_onnx(model, arguments.onnx)
        _say(console, f"{arguments.onnx}: {graph.ByteSize():,} bytes of ONNX, verified against the model")
    if arguments.save is not None:
        import manyfit

        manyfit.save(model, arguments.save)
        _say(console, f"{arguments.save}: saved; manyfit.load reads it")
    return OK


# --- report, export, check ---


def report(arguments: argparse.Namespace) -> int:
    """``manyfit sweep report FILE|STORAGE``."""
    from manyfit._atomic import atomic_write
    from manyfit.sweep.report import page

    view = open_view(arguments.place, arguments.name)
    out = arguments.out
    if out is None:
        stem = Path(arguments.place) if "://" not in arguments.place else Path(view.study.study_name)
        out = os.fspath(stem.with_suffix(".html"))
    content = page(view)
    with atomic_write(out) as file:
        file.write(content.encode())
    _say(_console(), f"{out}: {len(view.trials)} trials")
    return OK


def export(arguments: argparse.Namespace) -> int:
    """``manyfit sweep export FILE --python``."""
    from manyfit._atomic import atomic_write
    from manyfit.sweep.export import script

    text = script(read_sweep(arguments.file))
    if arguments.out is None:
        print(text, end="")
        return OK
    with atomic_write(arguments.out) as file:
        file.write(text.encode())
    return OK


def check(arguments: argparse.Namespace) -> int:
    """``manyfit sweep check FILE``."""
    from manyfit.sweep.status import plan_lines

    sweep = read_sweep(arguments.file)
    console = _console()
    for note in sweep.notes:
        _say(console, note, "yellow")
    for line in plan_lines(sweep):
        _say(console, line)
    return OK
