"""``manyfit tour``: the real one once, in a child process, and its parts."""

from __future__ import annotations

import os
import pkgutil
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import manyfit
from manyfit._page.drawing import draw, spread
from manyfit._page.palette import CATEGORIES, COLOURS
from manyfit._page.words import count, duration, power_of_ten, size, times
from manyfit.cli import main
from manyfit.tour import chapters
from manyfit.tour.chapter import Check, Measurement
from manyfit.tour.ridge_sweep import ALPHAS, FOLDS, OneByOne, make_table

ESCAPE = "\x1b"

# A tour of tiny chapters; `runs` of each is what it is made of.
TINY = """
import sys
import manyfit.tour.chapters
from manyfit.cli import main
from manyfit.tour.chapter import Chapter, Check, Measurement, Result

def good(stage):
    with stage.step("A [step] of the good one") as step:
        step.move(0.5)
    return Result("It went well", checks=[Check("one is one", True, "1 = 1")], measurements=[
        Measurement("a thing", 1e-3, "another thing", 2e-3)])

def failing(stage):
    return Result("It did not hold", checks=[Check("one is <two>", False, "1 < 2")])

def breaking(stage):
    raise ZeroDivisionError("nothing to divide by")

def full_disk(stage):
    raise OSError(28, "No space left on device", "ridge.onnx")

def no_memory(stage):
    raise MemoryError

runs = [globals()[name] for name in sys.argv[2:]]
tiny = [Chapter(10 * i, f"Chapter {i}", run) for i, run in enumerate(runs)]
manyfit.tour.chapters.all_chapters = lambda: tiny
sys.exit(main(["tour", "--out", sys.argv[1]]))
"""


def child(*arguments: str | Path, **environment: str) -> list[str]:
    return [sys.executable, "-W", "error", *map(str, arguments)]


def tiny_tour(out: Path, *runs: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        child("-c", TINY, out, *runs),
        env=os.environ | {"COLUMNS": "80"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


class Page(HTMLParser):
    """The elements of a page: (tag, attributes), and the text of each kind of element."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.elements if attribute in attributes]


# --- the real tour ---


@pytest.fixture(scope="module")
def toured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """``manyfit tour --quick`` into a pipe, and into a directory that holds an old report and a file."""
    out = tmp_path_factory.mktemp("tour") / "my tour"
    out.mkdir()
    (out / "report.html").write_text("an old report")
    (out / "notes.txt").write_text("mine")
    done = subprocess.run(
        child("-m", "manyfit", "tour", "--quick", "--out", out),
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    return out, done


@pytest.fixture(scope="module")
def html(toured: tuple[Path, subprocess.CompletedProcess[str]]) -> str:
    return (toured[0] / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


Toured = tuple[Path, subprocess.CompletedProcess[str]]


def test_everything_holds(toured: Toured) -> None:
    _, done = toured
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "FAILED" not in done.stdout
    assert re.search(r"All \d\d checks held", done.stdout)


def test_a_pipe_gets_plain_text_of_80_columns(toured: Toured) -> None:
    _, done = toured
    assert ESCAPE not in done.stdout
    assert "\r" not in done.stdout
    lines = done.stdout.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    # Paths are not broken, so that they can be copied.
    wide = [line.split()[0] for line in lines if len(line) > 80]
    assert set(wide) <= {"Report", "Next"}


def test_the_sweep_stands_beside_separate_fits(toured: Toured) -> None:
    _, done = toured
    lines = done.stdout.splitlines()
    at = next(
        i for i, line in enumerate(lines) if line.startswith("Ridge sweep, 50 x 5 fits on 15,000 x 100")
    )
    assert lines[at + 1].startswith("    manyfit's Ridge one by one")
    assert lines[at + 2].startswith("    scikit-learn's Ridge one by one")
    assert all(line.endswith(" times") for line in lines[at + 1 : at + 3])


def test_only_its_own_files_are_written(toured: Toured) -> None:
    out, _ = toured
    assert (out / "notes.txt").read_text() == "mine"
    models = {"linear_regression", "ridge", "pca"}
    expected = {f"{name}.{kind}" for name in models for kind in ("onnx", "safetensors")}
    assert {path.name for path in out.iterdir()} == expected | {"pipeline.onnx", "report.html", "notes.txt"}


def test_exported_models_verify_and_saved_ones_load(toured: Toured) -> None:
    out, done = toured
    assert main(["verify", *map(str, out.glob("*.onnx"))]) == 0
    assert manyfit.load(out / "ridge.safetensors").coef_.shape == (100,)
    # What it says to try next is quoted for a shell: the directory's name has a space.
    tried = next(line for line in done.stdout.splitlines() if line.startswith("Next"))
    assert tried.split(maxsplit=1)[1] == f"manyfit verify '{out / 'linear_regression.onnx'}'"


def test_the_report_refers_to_nothing_outside(html: str, page: Page) -> None:
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("iframe")
    for attribute in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
        outside = [
            value for value in page.values(attribute) if not value.startswith(("#", "data:image/png;"))
        ]
        assert outside == [], attribute
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    assert "http" not in re.sub(r'xmlns(:\w+)?="http://www\.w3\.org/[\w/]+"', "", html).replace(
        "http-equiv", ""
    )


def test_every_reference_in_the_report_has_its_target(html: str, page: Page) -> None:
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    targets = [value[1:] for name in ("href", "xlink:href") for value in page.values(name) if value[0] == "#"]
    targets += re.findall(r"url\(#([^)]*)\)", html)
    targets += [word for value in page.values("aria-labelledby") for word in value.split()]
    assert len(targets) > 100
    assert set(targets) <= set(ids)


def test_every_picture_says_what_it_shows(page: Page) -> None:
    pictures = page.all("svg")
    assert len(pictures) == len(page.all("figure")) == len(page.all("figcaption")) >= 8
    for picture in pictures:
        assert picture["role"] == "img"
        assert len(picture["aria-label"]) > 40
        assert "viewbox" in picture
    assert all(image.get("alt") for image in page.all("img"))


def test_the_report_is_laid_out_for_readers_of_all_kinds(page: Page) -> None:
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    headings = [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    assert set(headings[1:]) == {"h2"}
    assert all(cell.get("scope") in ("row", "col") for cell in page.all("th"))


def test_pictures_follow_the_theme(html: str) -> None:
    pictures = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "var(--ours)" in pictures
    assert re.findall(r"(?:fill|stroke): #\w+", pictures) == []
    assert "DejaVu" not in pictures


def test_the_report_tells_what_was_checked_and_measured(html: str, page: Page) -> None:
    held = [text for tag, text in page.texts if tag == "td" and text in ("held", "FAILED")]
    assert len(held) >= 20
    assert set(held) == {"held"}
    for words in (
        "diabetes",
        "Breast cancer",
        "scikit-learn\u2019s Ridge one by one",
        "1 pass over X",
        "manyfit verify",
        "Processor",
        "an old report",
    ):
        assert (words in html) == (words != "an old report"), words


# --- when something is wrong ---


def test_a_failing_check_is_shown_and_ends_with_1(tmp_path: Path) -> None:
    done = tiny_tour(tmp_path, "failing", "good")
    assert done.returncode == 1
    assert done.stderr == ""
    assert "FAILED  one is <two>: 1 < 2" in done.stdout
    assert "1 of 2 checks FAILED" in done.stdout
    assert "It went well" in done.stdout
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'role="alert"' in report
    assert "one is &lt;two&gt;" in report
    assert '<td class="failed">FAILED</td>' in report


def test_a_chapter_that_breaks_is_a_failed_check(tmp_path: Path) -> None:
    done = tiny_tour(tmp_path, "breaking", "good")
    assert done.returncode == 1
    assert "ZeroDivisionError: nothing to divide by" in done.stdout
    assert "It went well" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "in breaking" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("run", "problem"),
    [("full_disk", "ridge.onnx: No space left on device"), ("no_memory", "not enough memory")],
)
def test_a_machine_that_fails_ends_with_2(run: str, problem: str, tmp_path: Path) -> None:
    done = tiny_tour(tmp_path, run)
    assert done.returncode == 2
    assert done.stderr == f"manyfit tour: {problem}\n"
    assert list(tmp_path.iterdir()) == []


def test_directories_are_made(tmp_path: Path) -> None:
    assert tiny_tour(tmp_path / "a" / "b", "good").returncode == 0
    assert (tmp_path / "a" / "b" / "report.html").stat().st_size > 5000


@pytest.mark.parametrize("where", ["file", "file/below", "taken"])
def test_a_place_that_cannot_be_written_is_told_before_any_work(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "taken" / "report.html").mkdir(parents=True)
    assert main(["tour", "--out", str(tmp_path / where)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"manyfit tour: {tmp_path / where}")
    assert printed.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_without_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere")
        for where in (tmp_path, tmp_path / "below"):
            assert main(["tour", "--out", str(where)]) == 2
            assert capsys.readouterr() == ("", f"manyfit tour: {where}: Permission denied\n")
    finally:
        tmp_path.chmod(0o700)


def test_control_c_ends_the_tour_with_one_line(tmp_path: Path) -> None:
    # A shell that starts the tests in the background may have told children to ignore SIGINT.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from manyfit.cli import main; sys.exit(main(['tour', '--out', sys.argv[1]]))"
    )
    with subprocess.Popen(
        child("-c", code, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # The second chapter works for seconds, and has just begun.
        assert any(line.startswith("2/") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == ""
        assert process.stderr.read() == "manyfit tour: interrupted\n"
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    with subprocess.Popen(
        child("-c", TINY, tmp_path, "good"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


# --- the terminal ---


def test_a_terminal_gets_a_live_line_and_its_cursor_back(terminal: Any, tmp_path: Path) -> None:
    status, sent = terminal(child("-c", TINY, tmp_path, "good"))
    assert status == 0
    assert "\x1b[?25l" in sent
    assert sent.rindex("\x1b[?25h") > sent.rindex("\x1b[?25l")
    assert "A [step] of the good one" in sent
    assert re.search(r"\x1b\[[\d;]*3\dm", sent)


def test_no_color_is_respected(terminal: Any, tmp_path: Path) -> None:
    status, sent = terminal(child("-c", TINY, tmp_path, "good"), NO_COLOR="1")
    assert status == 0
    assert re.findall(r"\x1b\[(?:\d+;)*(?:3|4|9|10)\d[\d;]*m", sent) == []


def test_a_dumb_terminal_gets_plain_text(terminal: Any, tmp_path: Path) -> None:
    status, sent = terminal(child("-c", TINY, tmp_path, "good"), TERM="dumb")
    assert status == 0
    assert ESCAPE not in sent
    assert "It went well" in sent


def test_colours_asked_for_in_a_pipe_bring_no_moving_line(tmp_path: Path) -> None:
    done = tiny_tour(tmp_path, "good", FORCE_COLOR="1")
    assert done.returncode == 0
    assert "\x1b[?25l" not in done.stdout
    assert "\x1b[2K" not in done.stdout


def test_output_that_is_not_unicode(tmp_path: Path) -> None:
    done = tiny_tour(tmp_path, "failing", "good", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert done.stdout.isascii()
    assert "?" not in done.stdout


# --- parts ---


def test_every_chapter_is_found_in_order() -> None:
    found = chapters.all_chapters()
    assert len(found) == len(list(pkgutil.iter_modules(chapters.__path__)))
    orders = [chapter.order for chapter in found]
    assert orders == sorted(set(orders))
    assert found[-1].order == 90


def test_the_table_of_the_sweep() -> None:
    table = make_table(3000)
    assert table.X.shape == (3000, 100)
    np.testing.assert_allclose(table.X.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(table.X.std(axis=0), 1.0)
    # No column repeats what the others say.
    assert np.linalg.matrix_rank(table.X) == 100
    assert len(np.unique(table.X.round(12), axis=0)) == 3000
    # All rows of a patient have that patient's outcome.
    for patient in (0, 17, 441):
        assert len(set(table.y[table.patient == patient])) == 1
    assert len(set(table.patient)) == 442


def test_separate_fits_are_extrapolated_from_their_mean() -> None:
    n_fits = len(ALPHAS) * FOLDS
    some = OneByOne("Ridge", 1, fit_seconds=[1.0, 3.0])
    assert some.seconds == 2.0 * n_fits
    assert some.how == f"Ridge one by one (from 2 of {n_fits})"
    every = OneByOne("Ridge", 1, fit_seconds=[0.5] * n_fits)
    assert every.seconds == 0.5 * n_fits
    assert every.how == "Ridge one by one"


def test_checks_hold_at_their_limit_and_never_for_nan() -> None:
    assert Check.at_most("it", 1e-9, 1e-9).ok
    assert not Check.at_most("it", 1.1e-9, 1e-9).ok
    assert not Check.at_most("it", float("nan"), 1e-9).ok


def test_the_factor_is_how_many_times_as_long_the_other_took() -> None:
    assert Measurement("ours", 0.5, "theirs", 2.0).ratio == 4.0
    assert Measurement("ours", 0.5).ratio is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.2e-7, "0.4 µs"),
        (4.2e-4, "420 µs"),
        (9.996e-4, "1.0 ms"),
        (0.00996, "10 ms"),
        (0.9996, "1.0 s"),
        (12.4, "12 s"),
        (99.6, "1 min 40 s"),
        (125, "2 min 5 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_other_numbers() -> None:
    assert [times(x) for x in (0.031, 0.96, 3.14, 9.96, 240.4)] == [
        "0.03 times",
        "1.0 times",
        "3.1 times",
        "10 times",
        "240 times",
    ]
    assert [size(n) for n in (999, 1234, 999_600, 120_000_000)] == ["999 bytes", "1.2 kB", "1.0 MB", "120 MB"]
    assert count(150_000) == "150,000"
    assert power_of_ten(-12) == "10⁻¹²"


def test_labels_are_moved_apart_in_their_order() -> None:
    placed = spread(np.array([0.0, 5.0, 0.1, 0.2]), 1.0)
    assert list(np.argsort(placed)) == [0, 2, 3, 1]
    assert np.diff(np.sort(placed)).min() >= 1.0 - 1e-6
    np.testing.assert_allclose(placed[[0, 2, 3]].mean(), 0.1, atol=1e-6)


def test_a_picture_is_ready_for_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    # Whatever the reader's own settings are.
    monkeypatch.setitem(matplotlib.rcParams, "lines.linewidth", 20.0)
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "path")
    colour = COLOURS["ours"].light
    figure = draw(
        "one",
        lambda ax: ax.plot([1, 2], [3, 4], "o-", color=colour),
        alt='Two "points" & a line',
        caption="Two.",
    )
    assert figure.svg.startswith("<svg")
    assert 'aria-label="Two &quot;points&quot; &amp; a line"' in figure.svg
    assert "<metadata" not in figure.svg
    assert "stroke-width: 1.8" in figure.svg
    assert "<text" in figure.svg
    assert 'id="one-0"' in figure.svg
    assert colour not in figure.svg
    assert not figure.wide


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_pictures_stand_out_from_the_paper(theme: str) -> None:
    colours = {name: getattr(colour, theme) for name, colour in COLOURS.items()}
    for name in ("ink", "soft", "ours", "other", "good", "bad", *CATEGORIES):
        assert contrast(colours[name], colours["paper"]) >= 4.5, name
    assert contrast(colours["ink"], colours["card"]) >= 4.5
