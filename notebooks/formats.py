"""From the one source of a lesson: what it must keep to, and the notebooks that are made from it.

A source is a Python file of percent cells. Three kinds of cells make an exercise, by the metadata behind ``# %%``:

- ``[markdown] exercise="name"``: what is asked;
- ``exercise="name"``: the answer, with the part to be written between ``# BEGIN SOLUTION`` and ``# END SOLUTION``;
- ``test="name" points=2``: ``def test_name(env)`` and its call. What stands between ``### BEGIN HIDDEN TESTS`` and
  ``### END HIDDEN TESTS`` is for graders alone.
"""

from __future__ import annotations

import ast
import builtins
import copy
import re
import symtable
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
from nbformat.v4 import new_raw_cell

MAX_CODE_CELLS = 40
MAX_LINES = 6  # of a cell that is neither an exercise nor a test; blank lines and comments are free
CARD = ("minutes", "memory", "GPU", "seed", "data")

ANSWER = "# YOUR CODE HERE\nraise NotImplementedError()"  # as nbgrader writes it

_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_SOLUTION = re.compile(r"^([ \t]*)# BEGIN SOLUTION\n.*?^[ \t]*# END SOLUTION$", re.MULTILINE | re.DOTALL)
_HIDDEN = re.compile(
    r"^[ \t]*### BEGIN HIDDEN TESTS\n.*?^[ \t]*### END HIDDEN TESTS\n?", re.MULTILINE | re.DOTALL
)
_CARD_ROW = re.compile(r"^\| *([\w ]+?) *\| *(.+?) *\|$", re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class LessonError(ValueError):
    """A source that breaks a rule; the message says where and which."""


def read(path: Path) -> nbformat.NotebookNode:
    """The lesson as a notebook, with cell ids that depend on the source alone."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict({"kernelspec": _KERNEL, "language_info": {"name": "python"}})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        cell.source = re.sub(
            r"\n{3,}", "\n\n", cell.source
        )  # what a file has between functions is much in a cell
    return notebook


def card(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """The header card: the rows of the table in the first cell."""
    return dict(_CARD_ROW.findall(notebook.cells[0].source)) if notebook.cells else {}


def first_number(text: str) -> float:
    """What a row of the card promises; 0 if it promises nothing."""
    found = re.search(r"\d+(\.\d+)?", text)
    return float(found.group()) if found else 0.0


def problems(notebook: nbformat.NotebookNode) -> Iterator[str]:
    """Everything in a source that breaks a rule of the lessons."""
    facts = card(notebook)
    for row in CARD:
        if row not in facts:
            yield f"the table of the first cell must have a row '{row}'"
    for row in ("minutes", "memory"):
        if row in facts and not first_number(facts[row]):
            yield f"the first cell's '{row}' must be a number, got '{facts[row]}'"
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(code) > MAX_CODE_CELLS:
        yield f"there must be at most {MAX_CODE_CELLS} code cells, got {len(code)}"
    for number, cell in enumerate(notebook.cells):
        for problem in _cell_problems(cell):
            yield f"cell {number} ({cell.source.strip().splitlines()[0][:50] if cell.source else ''}): {problem}"
    yield from _exercise_problems(notebook)


def _cell_problems(cell: nbformat.NotebookNode) -> Iterator[str]:
    if cell.cell_type != "code":
        if cell.cell_type == "raw":
            yield "must be markdown or code, got raw"
        return
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        yield f"is not Python: {error}"
        return
    lines = [line for line in cell.source.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if len(lines) > MAX_LINES and not cell.metadata.keys() & {"exercise", "test"}:
        yield f"must have at most {MAX_LINES} lines, got {len(lines)}"
    marked = "BEGIN SOLUTION" in cell.source
    if marked != ("exercise" in cell.metadata):
        yield "must be an exercise cell with one solution, or neither"
    if "HIDDEN TESTS" in cell.source and "test" not in cell.metadata:
        yield "hidden tests must be in a test cell"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            private = [name for name in names if any(part.startswith("_") for part in name.split("."))]
        else:
            private = (
                [node.attr] if isinstance(node, ast.Attribute) and re.match(r"_(?!_)", node.attr) else []
            )
        if private:
            yield f"must use the public interface only, got {private[0]}"
    if "test" in cell.metadata:
        yield from _test_problems(cell, tree)


def _test_problems(cell: nbformat.NotebookNode, tree: ast.Module) -> Iterator[str]:
    name = f"test_{cell.metadata['test']}"
    if [ast.unparse(node) for node in tree.body[1:]] != [f"{name}(globals())"] or not isinstance(
        tree.body[0], ast.FunctionDef
    ):
        yield f"a test cell must hold one function and {name}(globals())"
        return
    function = tree.body[0]
    if function.name != name or [each.arg for each in function.args.args] != ["env"]:
        yield f"the test must be {name}(env), got {function.name}"
    if not isinstance(cell.metadata.get("points"), int) or cell.metadata["points"] < 1:
        yield f"points must be an integer >= 1, got {cell.metadata.get('points')!r}"
    if not _asserts(without_hidden_tests(cell.source)):
        yield "a test must assert something that is not hidden"
    for table in symtable.symtable(cell.source, "cell", "exec").get_children():
        used = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        for unknown in sorted(used - set(dir(builtins))):
            yield f"a test must take {unknown} from env: graders run it elsewhere"


def _asserts(source: str) -> bool:
    try:
        return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source)))
    except SyntaxError:  # a function without a body
        return False


def _exercise_problems(notebook: nbformat.NotebookNode) -> Iterator[str]:
    kinds: dict[str, list[str]] = {}
    for cell in notebook.cells:
        name = cell.metadata.get("exercise") or cell.metadata.get("test")
        if name:
            kind = "test" if "test" in cell.metadata else {"markdown": "text"}.get(cell.cell_type, "answer")
            kinds.setdefault(name, []).append(kind)
    for name, found in kinds.items():
        if not _NAME.fullmatch(name):
            yield f"an exercise's name must be made of a-z, 0-9 and _, got '{name}'"
        if found != ["text", "answer", "test"]:
            yield f"exercise '{name}' must be one text, one answer and one test, in this order, got {found}"


def without_solution(source: str) -> str:
    """A cell as students get it."""
    return _SOLUTION.sub(lambda match: "\n".join(match[1] + line for line in ANSWER.splitlines()), source)


def without_hidden_tests(source: str) -> str:
    """A test as students may see it."""
    return _HIDDEN.sub("", source)


def bare(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy without outputs and without the metadata that only the builder reads."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for key in ("exercise", "test", "points", "lines_to_next_cell"):
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def student(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without solutions and hidden tests; a test that passes says so."""
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        cell.source = without_hidden_tests(without_solution(cell.source))
        if "test" in cell.metadata:
            cell.source += f'\nprint("{cell.metadata["test"]}: passed")'
    return bare(result)


def nbgrader(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The source of an nbgrader assignment (metadata schema 3), solutions and hidden tests in it."""
    result = bare(notebook)
    for cell, original in zip(result.cells, notebook.cells, strict=True):
        if cell.cell_type != "code" or not original.metadata.keys() & {"exercise", "test"}:
            continue
        graded = "test" in original.metadata
        cell.metadata["nbgrader"] = {
            "schema_version": 3,
            "grade_id": f"test_{original.metadata['test']}" if graded else original.metadata["exercise"],
            "cell_type": "code",
            "grade": graded,
            "solution": not graded,
            "locked": graded,
            "task": False,
        }
        if graded:
            cell.metadata["nbgrader"]["points"] = original.metadata["points"]
    return result


def otter(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The master notebook of an Otter assignment: blocks between raw cells, exception-based tests."""
    points = {
        cell.metadata["test"]: cell.metadata["points"] for cell in notebook.cells if "test" in cell.metadata
    }
    result = bare(notebook)
    cells = [_raw(_OTTER_CONFIG.format(name=name))]
    for cell, original in zip(result.cells, notebook.cells, strict=True):
        exercise, test = original.metadata.get("exercise"), original.metadata.get("test")
        if exercise and cell.cell_type == "markdown":
            cells += [_raw(f"# BEGIN QUESTION\nname: {exercise}\npoints: {points[exercise]}"), cell]
        elif exercise:
            cells += [_raw("# BEGIN SOLUTION"), cell, _raw("# END SOLUTION")]
        elif test:
            cells += [_raw("# BEGIN TESTS"), *_otter_tests(cell, points[test]), _raw("# END TESTS")]
            cells.append(_raw("# END QUESTION"))
        else:
            cells.append(cell)
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    result.cells = cells
    return result


def _otter_tests(cell: nbformat.NotebookNode, points: int) -> list[nbformat.NotebookNode]:
    """Otter hides whole tests: what all may see is one, everything is another, and that one has the points."""
    public = copy.deepcopy(cell)
    public.source = without_hidden_tests(cell.source)
    if public.source == cell.source:
        return [cell]
    public.source = f'""" # BEGIN TEST CONFIG\npoints: 0\n""" # END TEST CONFIG\n{public.source}'
    cell.source = (
        f'""" # BEGIN TEST CONFIG\nhidden: true\npoints: {points}\n""" # END TEST CONFIG\n{cell.source}'
    )
    return [public, cell]


def _raw(source: str) -> nbformat.NotebookNode:
    return new_raw_cell(source)


_OTTER_CONFIG = """\
# ASSIGNMENT CONFIG
name: {name}
init_cell: true
check_all_cell: true
export_cell:
  pdf: false
generate:
  pdf: false
tests:
  ok_format: false"""
