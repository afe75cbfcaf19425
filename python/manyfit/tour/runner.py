"""The tour from start to end."""

from __future__ import annotations

import errno
import logging
import os
import shlex
import time
import traceback
from pathlib import Path

import manyfit
from manyfit.tour.chapter import Chapter, Check, Result
from manyfit.tour.screen import Screen
from manyfit.tour.stage import Stage

__all__ = ["REPORT", "run"]

REPORT = "report.html"


def run(out: str | os.PathLike[str] = "manyfit-tour", *, quick: bool = False) -> bool:
    """Take the tour: run every chapter, show it in the terminal, and write the report.

    Parameters
    ----------
    out : str or path-like, default="manyfit-tour"
        Directory for the report and the exported models; made when it is not there. Other files in it are
        left alone.
    quick : bool, default=False
        Smaller tables.

    Returns
    -------
    bool
        Whether everything that was verified held.

    Raises
    ------
    OSError
        If `out` cannot be written.
    """
    directory = Path(out)
    _prepare(directory)
    start = time.perf_counter()
    screen = Screen()
    screen.title(manyfit.__version__, quick=quick)
    with screen:
        screen.begin("Getting ready")
        # What costs seconds to import is imported while something is on the screen.
        from manyfit._atomic import atomic_write
        from manyfit.tour import report
        from manyfit.tour.chapters import all_chapters
        from manyfit.tour.machine import observe

        logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its font cache
        chapters, machine = all_chapters(), observe()
        screen.end()
        screen.note(machine.note)
        stage = Stage(directory, quick=quick, display=screen)
        results = []
        for number, chapter in enumerate(chapters, start=1):
            screen.chapter(number, len(chapters), chapter.title)
            result = _run_chapter(chapter, stage)
            screen.result(result)
            results.append((chapter.title, result))
    path = directory / REPORT
    page = report.page(results, machine, _next_steps(stage), quick=quick)
    with atomic_write(path) as file:
        file.write(page.encode())
    screen.measured([row for _, result in results for row in result.measurements])
    checks = [check for _, result in results for check in result.checks]
    places = [("Report", os.fspath(path)), ("Next", _next_steps(stage)[0][1])]
    screen.end_of_tour(checks, places, time.perf_counter() - start)
    return all(check.ok for check in checks)


def _prepare(directory: Path) -> None:
    """Make the directory and see that a report can be written, before any work is done."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(directory)) from None
    report = directory / REPORT
    if report.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(report))
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(directory))


def _run_chapter(chapter: Chapter, stage: Stage) -> Result:
    """Run a chapter; one that breaks becomes a failed check, and the tour goes on."""
    start = time.perf_counter()
    try:
        result = chapter.run(stage)
    except (OSError, MemoryError):
        raise  # nothing is wrong with the chapter
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        check = Check(f"“{chapter.title}” runs to its end", False, problem)
        result = Result(f"Ended early by {problem}", checks=[check], code=traceback.format_exc())
    result.seconds = time.perf_counter() - start
    return result


def _next_steps(stage: Stage) -> list[tuple[str, str]]:
    """What to do next, and the command for it."""
    steps = []
    if stage.kept:
        path = os.fspath(stage.out / stage.kept[0].name)
        lines = ["import manyfit as mf", f"model = mf.load({path + '.safetensors'!r})", "help(mf.fit_many)"]
        steps = [
            (
                "Verify an exported model again, here or on another machine:",
                f"manyfit verify {shlex.quote(path + '.onnx')}",
            ),
            ("Load a saved model, and read about sweeps, in Python:", "\n".join(lines)),
        ]
    return [
        *steps,
        ("See which code runs on this machine, on how many threads, and why:", "manyfit info"),
        (
            "In a script of your own, change one import:",
            "# from sklearn.linear_model import Ridge\nfrom manyfit.linear_model import Ridge",
        ),
    ]
