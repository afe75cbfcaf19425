"""Build the lessons' notebooks from their sources; see ``python notebooks/build.py --help``."""

from __future__ import annotations

import argparse
import copy
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import formats
import nbformat
from formats import LessonError
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

HERE = Path(__file__).resolve().parent
OK, FAILED, UNUSABLE = 0, 1, 2

DESCRIPTION = """\
Build the lessons. From each source (a .py file of percent cells) come

  DIR/executed/LESSON.ipynb                   run, with answers and pictures: for reading
  DIR/student/LESSON.ipynb                    without solutions and outputs: for learning
  DIR/nbgrader/source/LESSON/LESSON.ipynb     an nbgrader course (nbgrader_config.py beside it)
  DIR/otter/LESSON/LESSON.ipynb               a master notebook for `otter assign`

The lesson is run in a fresh kernel, without the network, within the minutes and
the memory that its header card promises.
"""

EXAMPLES = """\
examples:
  python notebooks/build.py                      all lessons, into notebooks/_build
  python notebooks/build.py 02 --out /tmp/two    the lesson whose name begins with 02
  python notebooks/build.py --check              write nothing; also run the student version,
                                                 which must fail its tests and nothing else

exit status:
  0   built, and all that was checked holds
  1   a lesson breaks a rule, fails, or is slower or larger than its card says
  2   no such lesson, or DIR cannot be written
"""

NBGRADER_CONFIG = """\
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "manyfit"
"""

# Run in the kernel after the last cell: the most memory it had, in MB.
_MEMORY = "import resource as _r; print(_r.getrusage(_r.RUSAGE_SELF).ru_maxrss / 1024)"

_COLOUR = re.compile(r"\x1b\[[\d;]*m")  # of tracebacks
_WIDGET = "application/vnd.jupyter.widget-view+json"


def sources() -> list[Path]:
    """The lessons, in order."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def find(names: list[str]) -> list[Path]:
    """The lessons that were asked for: by file, by name, or by how the name begins."""
    if not names:
        return sources()
    found = []
    for name in names:
        path = Path(name)
        matching = (
            [path] if path.suffix == ".py" else [each for each in sources() if each.stem.startswith(name)]
        )
        if not matching or not all(each.is_file() for each in matching):
            raise FileNotFoundError(
                f"no lesson '{name}'; there are {', '.join(each.stem for each in sources())}"
            )
        found += matching
    return found


def read(path: Path) -> nbformat.NotebookNode:
    """The lesson, once it keeps to the rules."""
    notebook = formats.read(path)
    broken = list(formats.problems(notebook))
    if broken:
        raise LessonError("\n".join(f"{path.name}: {problem}" for problem in broken))
    return notebook


def execute(
    notebook: nbformat.NotebookNode, name: str, *, minutes: float, keep_going: bool = False
) -> tuple[nbformat.NotebookNode, float]:
    """Run every cell in a fresh kernel without the network; return the notebook and the kernel's peak memory.

    Raises
    ------
    LessonError
        If a cell fails (unless `keep_going`) or the minutes are over.
    """
    notebook = copy.deepcopy(notebook)
    notebook.cells.append(nbformat.v4.new_code_cell(_MEMORY))
    end = time.monotonic() + 60 * minutes
    path = os.pathsep.join(filter(None, [str(HERE / "offline"), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as place:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            allow_errors=keep_going,
            timeout_func=lambda cell: max(1, int(end - time.monotonic())),
            resources={"metadata": {"path": place}},
        )
        try:
            client.execute(
                env=os.environ
                | {"PYTHONPATH": path, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
            )
        except CellTimeoutError as error:
            raise LessonError(f"{name}: must run within {minutes:g} minutes, as its card says") from error
        except (CellExecutionError, DeadKernelError) as error:
            raise LessonError(f"{name}: {_COLOUR.sub('', str(error))}") from error
    last = notebook.cells.pop()
    return notebook, float(last.outputs[0].text)


def for_reading(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Leave out live widgets: without the kernel that made them they are blank, and would hide what is not."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, different in every run
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data.pop(_WIDGET, None)
    return notebook


def failures(notebook: nbformat.NotebookNode) -> list[int]:
    """The places of the cells that raised something."""
    return [
        number
        for number, cell in enumerate(notebook.cells)
        if any(output.output_type == "error" for output in cell.get("outputs", []))
    ]


def check_student(lesson: nbformat.NotebookNode, name: str, minutes: float) -> None:
    """Whether the student version runs, fails every test, and fails nowhere else."""
    tests = [number for number, cell in enumerate(lesson.cells) if "test" in cell.metadata]
    run, _ = execute(formats.student(lesson), name, minutes=minutes, keep_going=True)
    failed = failures(run)
    if failed != tests:
        raise LessonError(
            f"{name}: without solutions the tests, cells {tests}, must fail and nothing else, got {failed}"
        )


def build(path: Path, out: Path | None, say: Callable[[str], Any]) -> None:
    """Run one lesson and write its notebooks below `out`; None checks more, and writes nothing."""
    name, lesson = path.stem, read(path)
    facts = formats.card(lesson)
    minutes, memory = (formats.first_number(facts[row]) for row in ("minutes", "memory"))
    start = time.monotonic()
    executed, used = execute(formats.bare(lesson), name, minutes=minutes)
    seconds = time.monotonic() - start
    if used > memory:
        raise LessonError(f"{name}: must take at most {memory:g} MB, as its card says, took {used:.0f}")
    say(f"{name}: ran in {seconds:.0f} s of {60 * minutes:g}, {used:.0f} MB of {memory:g}")
    if out is None:
        check_student(lesson, name, minutes)
        say(f"{name}: the student version fails its tests, and nothing else")
        return
    for place, notebook in {
        f"executed/{name}.ipynb": for_reading(executed),
        f"student/{name}.ipynb": formats.student(lesson),
        f"nbgrader/source/{name}/{name}.ipynb": formats.nbgrader(lesson),
        f"otter/{name}/{name}.ipynb": formats.otter(lesson, name),
    }.items():
        target = out / place
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, target)
        say(f"  {target}")
    (out / "nbgrader" / "nbgrader_config.py").write_text(NBGRADER_CONFIG, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="notebooks/build.py",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "lessons", metavar="LESSON", nargs="*", help="a source, or how its name begins (default: all)"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=HERE / "_build", help="where to write")
    parser.add_argument("--check", action="store_true", help="write nothing; check the student version too")
    arguments = parser.parse_args(argv)
    status = OK
    try:
        for path in find(arguments.lessons):
            try:
                build(path, None if arguments.check else arguments.out, print)
            except LessonError as error:
                print(error, file=sys.stderr)
                status = FAILED
    except OSError as error:
        print(f"notebooks/build.py: {error}", file=sys.stderr)
        return UNUSABLE
    return status


if __name__ == "__main__":
    sys.exit(main())
