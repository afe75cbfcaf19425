"""No dead examples: the documentation's pages and the docstrings run, and print what they say.

On a page, a block of ``python`` is run; as in a notebook, a last expression shows its value. The blocks of a
page share their names. A block of ``output`` right after one must be what it printed (``...`` is anything).
Code that cannot run by itself is written as a ``{code-block} python``.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import importlib.util
import io
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import manyfit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PACKAGE = Path(manyfit.__file__).parent

# Names that pages take for granted.
DIABETES = "from sklearn.datasets import load_diabetes\nX, y = load_diabetes(return_X_y=True)\n"
GIVEN = {"onnx.md": DIABETES, "persistence.md": DIABETES}

_BLOCK = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Example(NamedTuple):
    """A block of code with the line it begins on, and what it prints, if the page says so."""

    code: str
    line: int
    output: str | None


def examples(text: str) -> Iterator[Example]:
    """The blocks of a page that are to run."""
    blocks = list(_BLOCK.finditer(text))
    for block, after in pairwise([*blocks, None]):
        if block is None or block["kind"] != "python":
            continue
        output = None
        if after is not None and after["kind"] == "output" and text[block.end() : after.start()].isspace():
            output = after["body"]
        yield Example(block["body"], text.count("\n", 0, block.start("body")), output)


def run(example: Example, names: dict[str, Any], page: str) -> str:
    """Run the code; return what a notebook would show."""
    tree = ast.parse("\n" * example.line + example.code, page)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(tree, page, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), page, "eval"), names)
            if value is not None:
                print(repr(value))
    return shown.getvalue()


def pages() -> list[Path]:
    """Pages with examples."""
    found = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    return [page for page in found if page.is_file() and any(examples(page.read_text(encoding="utf-8")))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(GIVEN.get(page.name, ""), names)
    for example in examples(page.read_text(encoding="utf-8")):
        got = run(example, names, page.name)
        wanted = example.output
        if wanted is not None and not doctest.OutputChecker().check_output(wanted, got, _OPTIONS):
            pytest.fail(f"{page.name}, line {example.line + 1}: the page says\n{wanted}but it prints\n{got}")


def test_the_pages_are_found() -> None:
    assert {"README.md", "start.md", "linear-model.md", "decomposition.md"} <= {page.name for page in pages()}


def test_a_page_that_lies_is_noticed() -> None:
    (example,) = examples("text\n\n```python\nx = 2\nx + 1\n```\n```output\n4\n```\n")
    assert run(example, {}, "page") == "3\n"
    assert example.output == "4\n"
    assert example.line == 3


def modules_with_examples() -> list[str]:
    """Modules of the package in whose source a prompt occurs."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


@pytest.mark.parametrize("name", modules_with_examples())
def test_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = io.StringIO()
    runner = doctest.DocTestRunner(optionflags=_OPTIONS, verbose=False)
    for test in doctest.DocTestFinder().find(importlib.import_module(name), name):
        runner.run(test, out=report.write)
    assert runner.summarize(verbose=False).failed == 0, report.getvalue()
    assert runner.tries > 0


def test_pictures_are_drawn(run_python: Any, tmp_path: Path) -> None:
    """The script that draws the pictures of the pages still works."""
    done = run_python(f"""
        import runpy, sys
        sys.path.insert(0, {str(DOCS)!r})
        sys.argv = ["make_figures.py", "--out", {str(tmp_path)!r}, "ridge-path", "sweep-time", "shared-pass"]
        runpy.run_path({str(DOCS / "make_figures.py")!r}, run_name="__main__")
    """)
    assert done.returncode == 0, done.stderr
    drawn = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert drawn == ["ridge-path.svg", "shared-pass.svg", "sweep-time.svg"]
    committed = (DOCS / "_static" / "colours.css").read_text(encoding="utf-8")
    assert (tmp_path / "_static" / "colours.css").read_text(encoding="utf-8") == committed


def test_pictures_of_the_pages_exist() -> None:
    named = {
        name
        for page in DOCS.glob("*.md")
        for name in re.findall(r"^```\{picture\} (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named == {path.name for path in (DOCS / "figures").glob("*.svg")}
