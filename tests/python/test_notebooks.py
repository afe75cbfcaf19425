"""The lessons: their sources keep to the rules, and all that is built from them works.

Lessons run in fresh kernels through ``notebooks/build.py``. What the builder itself must do is tried on a tiny lesson.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))

TINY = """\
# %% [markdown]
# # 0 · Tiny
#
# | | |
# |:--|:--|
# | minutes | 1 |
# | memory | 400 MB |
# | GPU | not needed |
# | seed | 0 |
# | data | none |

# %%
two = 2

# %% [markdown] exercise="double"
# Write `double(n)`.

# %% exercise="double"
def double(n):
    # BEGIN SOLUTION
    return two * n
    # END SOLUTION


# %% test="double" points=5
def test_double(env):
    assert env["double"](3) == 6
    ### BEGIN HIDDEN TESTS
    assert env["double"](0) == 0
    ### END HIDDEN TESTS


test_double(globals())
"""


MARKS = """\
from nbgrader.api import Gradebook

marks = Gradebook("sqlite:///gradebook.db").assignment_submissions("00_tiny")
print(sorted((each.student.id, each.score, each.max_score) for each in marks))
"""


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"notebooks_{name}", NOTEBOOKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


formats = load("formats")


def build(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, NOTEBOOKS / "build.py", *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every lesson, built as the documentation says. The builder ends a lesson that exceeds its minutes."""
    out = tmp_path_factory.mktemp("lessons")
    done = build("--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """``tiny(old, new)``: the source of the tiny lesson with one thing changed."""

    def write(old: str = "", new: str = "") -> Path:
        assert old in TINY
        path = tmp_path / "00_tiny.py"
        path.write_text(TINY.replace(old, new, 1), encoding="utf-8")
        return path

    return write


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def read(path: Path) -> Any:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


lessons = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def test_the_lessons_are_found() -> None:
    assert {"02_a_line_a_loss_a_valley", "09_search_under_a_budget"} <= {path.stem for path in LESSONS}


@lessons
def test_source_keeps_to_the_rules(lesson: Path) -> None:
    notebook = formats.read(lesson)
    assert list(formats.problems(notebook)) == []
    assert len(code(notebook)) <= 40
    assert sum("test" in cell.metadata for cell in notebook.cells) >= 3
    assert all(not cell.outputs for cell in code(notebook))


def test_sources_are_the_only_notebooks() -> None:
    assert list(NOTEBOOKS.glob("*.ipynb")) == []


@lessons
def test_executed(lesson: Path, built: Path) -> None:
    cells = code(read(built / "executed" / f"{lesson.stem}.ipynb"))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    pictures = [output.data for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 5
    assert any("text/html" in data for data in pictures)
    # A page without a kernel would show a dead widget rather than the player.
    assert not any("application/vnd.jupyter.widget-view+json" in data for data in pictures)


@lessons
def test_executed_has_no_address_of_this_machine(lesson: Path, built: Path) -> None:
    text = (built / "executed" / f"{lesson.stem}.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"ipykernel_\d+|/tmp/|site-packages", text)


@lessons
def test_student_version_holds_no_answer(lesson: Path, built: Path) -> None:
    source, notebook = formats.read(lesson), read(built / "student" / f"{lesson.stem}.ipynb")
    text = "\n".join(cell.source for cell in notebook.cells)
    answers = 0
    for cell in source.cells:
        for region in re.findall(r"BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)# END", cell.source, re.DOTALL):
            for line in filter(None, map(str.strip, region.splitlines())):
                if not line.startswith("#"):
                    answers += 1
                    assert line not in text
    assert answers >= 6
    assert not re.search(r"(BEGIN|END) (SOLUTION|HIDDEN)", text)
    assert all(not cell.outputs and cell.execution_count is None for cell in code(notebook))
    assert not any(cell.metadata for cell in notebook.cells)


@lessons
@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")  # a lesson may show one
@pytest.mark.parametrize("version", ["student", "nbgrader/source/{}"])
def test_tests_tell_answers_from_their_absence(lesson: Path, version: str, built: Path) -> None:
    """Cell by cell, in this process; pictures are not drawn. The builder's --check does it in a kernel."""
    solved = version != "student"
    notebook = read(built / version.format(lesson.stem) / f"{lesson.stem}.ipynb")
    environment: dict[str, Any] = {}
    tests = 0
    with matplotlib.rc_context({"backend": "agg"}):
        for cell in code(notebook):
            if not cell.source.startswith("def test_"):
                exec(cell.source, environment)
                continue
            tests += 1
            if solved:
                exec(cell.source, environment)
            else:
                with pytest.raises(NotImplementedError):
                    exec(cell.source, environment)
        plt.close("all")
    assert tests >= 3


@lessons
def test_assignments(lesson: Path, built: Path) -> None:
    points = {
        cell.metadata["test"]: cell.metadata["points"]
        for cell in formats.read(lesson).cells
        if "test" in cell.metadata
    }
    marks = [
        cell.metadata["nbgrader"]
        for cell in read(built / "nbgrader" / "source" / lesson.stem / f"{lesson.stem}.ipynb").cells
        if "nbgrader" in cell.metadata
    ]
    assert {mark["grade_id"]: mark["points"] for mark in marks if mark["grade"]} == {
        f"test_{name}": value for name, value in points.items()
    }
    assert {mark["grade_id"] for mark in marks if mark["solution"]} == set(points)
    assert {mark["schema_version"] for mark in marks} == {3}
    otter = read(built / "otter" / lesson.stem / f"{lesson.stem}.ipynb")
    raw = [cell.source for cell in otter.cells if cell.cell_type == "raw"]
    assert raw[0].startswith(f"# ASSIGNMENT CONFIG\nname: {lesson.stem}\n")
    questions = [text for text in raw if text.startswith("# BEGIN QUESTION")]
    assert questions == [f"# BEGIN QUESTION\nname: {name}\npoints: {value}" for name, value in points.items()]


def test_check_accepts_a_good_lesson_and_writes_nothing(tiny: Callable[..., Path]) -> None:
    path = tiny()
    done = build("--check", path)
    assert done.returncode == 0, done.stderr
    assert "the student version fails its tests, and nothing else" in done.stdout
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("two = 2", "two = 3", "AssertionError"),
        (
            "two = 2",
            "import socket\nsocket.create_connection(('192.0.2.1', 80))\ntwo = 2",
            "lessons run without the network, but 192.0.2.1 was asked for",
        ),
        (
            "two = 2",
            "import urllib.request\nurllib.request.urlopen('https://example.org')",
            "lessons run without the network, but example.org was asked for",
        ),
        ("| memory | 400 MB |", "| memory | 1 MB |", "must take at most 1 MB, as its card says, took"),
    ],
)
def test_lessons_that_fail(tiny: Callable[..., Path], old: str, new: str, message: str) -> None:
    done = build("--out", tiny().parent / "out", tiny(old, new))
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback (most recent call last):\n  File" not in done.stderr  # of the builder itself


def test_a_lesson_that_takes_longer_than_its_card_says_is_ended(tiny: Callable[..., Path]) -> None:
    path = tiny()
    endless = TINY.replace("two = 2", "while True: pass").replace("| minutes | 1 |", "| minutes | 0.1 |")
    path.write_text(endless, encoding="utf-8")
    done = build("--check", path)
    assert done.returncode == 1
    assert "must run within 0.1 minutes, as its card says" in done.stderr


def test_a_test_that_passes_without_an_answer_is_found(tiny: Callable[..., Path]) -> None:
    path = tiny('assert env["double"](3) == 6', 'assert env["two"] == 2')
    done = build("--check", path)
    assert done.returncode == 1
    assert "without solutions the tests, cells [4], must fail and nothing else, got []" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# | seed | 0 |\n", "", "the table of the first cell must have a row 'seed'"),
        ("| minutes | 1 |", "| minutes | few |", "the first cell's 'minutes' must be a number, got 'few'"),
        ("two = 2", "a = b = 1\n" * 7 + "two = 2", "must have at most 6 lines, got 8"),
        ("two = 2", "two = 2\n" + "# %%\n1\n\n" * 40, "there must be at most 40 code cells, got 43"),
        ("two = 2", "two = (2", "is not Python"),
        (
            "two = 2",
            "from manyfit._native import core",
            "must use the public interface only, got manyfit._native",
        ),
        ("two = 2", "two = int._private", "must use the public interface only, got _private"),
        ("    # BEGIN SOLUTION\n", "", "must be an exercise cell with one solution, or neither"),
        ('# %% exercise="double"', "# %%", "must be an exercise cell with one solution, or neither"),
        (' test="double" points=5', "", "hidden tests must be in a test cell"),
        (" points=5", "", "points must be an integer >= 1, got None"),
        ("test_double(env)", "test_double(e)", "the test must be test_double(env), got test_double"),
        ("\ntest_double(globals())", "", "a test cell must hold one function and test_double(globals())"),
        ('    assert env["double"](3) == 6\n', "", "a test must assert something that is not hidden"),
        ('env["double"](0)', "double(0)", "a test must take double from env: graders run it elsewhere"),
        (
            ' exercise="double"\n# Write `double(n)`.',
            "\n# Write it.",
            "exercise 'double' must be one text, one answer and one test, in this order, got ['answer', 'test']",
        ),
    ],
)
def test_rules(tiny: Callable[..., Path], old: str, new: str, message: str) -> None:
    found = list(formats.problems(formats.read(tiny(old, new))))
    assert any(message in problem for problem in found), found


def test_the_tiny_lesson_keeps_to_the_rules(tiny: Callable[..., Path]) -> None:
    assert list(formats.problems(formats.read(tiny()))) == []


def test_a_broken_rule_is_reported(tiny: Callable[..., Path]) -> None:
    done = build("--check", tiny(" points=5", ""))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "00_tiny.py: cell 4 (def test_double(env):): points must be an integer >= 1"
    )


def test_unknown_lesson() -> None:
    done = build("--check", "99")
    assert done.returncode == 2
    assert done.stderr.startswith("notebooks/build.py: no lesson '99'; there are 02_a_line_a_loss_a_valley")


def run(command: str, place: Path) -> str:
    """Run a grader's command; its scripts lie beside the interpreter."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command.split(), cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_nbgrader_gives_full_marks_and_none(tiny: Callable[..., Path]) -> None:
    pytest.importorskip("nbgrader", reason="nbgrader comes with the extra 'grading'")
    path = tiny()
    assert build("--out", path.parent / "out", path).returncode == 0
    course = path.parent / "out" / "nbgrader"
    run("nbgrader generate_assignment 00_tiny", course)
    release = (course / "release" / "00_tiny" / "00_tiny.ipynb").read_text(encoding="utf-8")
    assert "return two" not in release
    assert "(0)" not in release
    for who, origin in (("ada", "source"), ("bob", "release")):
        target = course / "submitted" / who / "00_tiny"
        target.mkdir(parents=True)
        (target / "00_tiny.ipynb").write_bytes((course / origin / "00_tiny" / "00_tiny.ipynb").read_bytes())
    run("nbgrader autograde 00_tiny", course)
    script = course / "marks.py"
    script.write_text(MARKS, encoding="utf-8")
    marks = run(f"{sys.executable} {script}", course)
    assert marks.strip() == "[('ada', 5.0, 5.0), ('bob', 0.0, 5.0)]"


def test_otter_gives_full_marks_and_none(tiny: Callable[..., Path]) -> None:
    pytest.importorskip("otter", reason="otter-grader comes with the extra 'grading'")
    path = tiny()
    assert build("--out", path.parent / "out", path).returncode == 0
    place = path.parent / "out" / "otter" / "00_tiny"
    run("otter assign 00_tiny.ipynb dist", place)
    (grader,) = (place / "dist" / "autograder").glob("*.zip")
    student = (place / "dist" / "student" / "00_tiny.ipynb").read_text(encoding="utf-8")
    assert "return two" not in student
    for version, score in (("autograder", "5.000 / 5.000"), ("student", "0.000 / 5.000")):
        assert score in run(f"otter run -a {grader} dist/{version}/00_tiny.ipynb", place)
