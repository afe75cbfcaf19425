"""The report of a sweep, and what its pictures stand on."""

from __future__ import annotations

import re
import warnings
from datetime import datetime, timedelta
from html.parser import HTMLParser

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from manyfit._page.svg import Scale, number
from manyfit.sweep.progress import ProgressBar
from manyfit.sweep.report import page
from manyfit.sweep.tally import Tally, pace
from manyfit.sweep.view import View

SPACE = {
    "alpha": FloatDistribution(1e-3, 1e3, log=True),
    "kind": CategoricalDistribution(("<b>plain</b>", "other")),
}


def study(count: int, directions: tuple[str, ...] = ("maximize",)) -> optuna.Study:
    """Trials of all kinds, with names that would break a careless page."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(directions=list(directions), study_name="a <study> & 'more'")
    begin = datetime(2026, 1, 1)
    for i in range(count):
        state = TrialState.FAIL if i % 7 == 3 else TrialState.PRUNED if i % 7 == 5 else TrialState.COMPLETE
        single = len(directions) == 1
        if state == TrialState.PRUNED and not single:
            state = TrialState.FAIL
        alpha = 10.0 ** (-3 + 6 * (i * 0.37 % 1))
        score = 1 - (alpha / 1000) ** 0.5
        kept = {"error": "Traceback\nValueError: <no> good"} if state == TrialState.FAIL else {}
        made.add_trial(
            create_trial(
                state=state,
                values=None if state == TrialState.FAIL else [score, 1000 * alpha][: len(directions)],
                params={"alpha": alpha, "kind": "<b>plain</b>" if i % 2 else "other"},
                distributions=SPACE,
                intermediate_values={1: score, 2: score} if single and state != TrialState.FAIL else {},
                user_attrs=kept | {"seconds": {"fit_time": [0.1, 0.1], "score_time": [0.0, 0.0]}},
            )
        )
        trial = made._storage._studies[made._study_id].trials[-1]  # type: ignore[attr-defined]
        trial.datetime_start = begin + timedelta(seconds=i)
        trial.datetime_complete = begin + timedelta(seconds=i + 1)
    return made


def view(made: optuna.Study) -> View:
    return View(
        made, "nowhere.db", "nowhere.db", "nowhere.db", made.get_trials(), "", None, ["8 fits of Ridge"], []
    )


class Page(HTMLParser):
    """The elements of a page, and whether all that were opened are closed."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("directions", [("maximize",), ("minimize",), ("maximize", "minimize")], ids=str)
@pytest.mark.parametrize("count", [0, 1, 2, 40])
def test_the_page_is_whole_and_refers_to_nothing_outside(count: int, directions: tuple[str, ...]) -> None:
    html = page(view(study(count, directions)))
    found = Page(html)
    assert found.open == []
    assert not found.all("link")
    assert not found.all("img")
    ids = [each["id"] for _, each in found.elements if "id" in each]
    assert len(ids) == len(set(ids))
    for attribute in ("src", "href", "xlink:href"):
        values = [each[attribute] for _, each in found.elements if attribute in each]
        assert [value for value in values if not value.startswith("#")] == []
        assert {value[1:] for value in values} <= set(ids)
    assert "http" not in re.sub(r'xmlns(:\w+)?="http://www\.w3\.org/[\w/]+"', "", html).replace(
        "http-equiv", ""
    )
    assert "<b>plain" not in html
    assert "<study>" not in html
    (policy,) = [each["content"] for each in found.all("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy
    for picture in found.all("svg"):
        assert picture["role"] == "img"
        assert len(picture["aria-label"]) > 20


def test_what_the_page_tells() -> None:
    html = page(view(study(40)))
    sections = ("What was found", "Which parameters matter", "The best trials", "What failed")
    for words in (
        *sections,
        "8 fits of Ridge",
        "6 trials failed.",
        "ValueError: &lt;no&gt; good",
        "ended early",
    ):
        assert words in html, words
    rows = [each for each in Page(html).all("tr") if "data-trial" in each]
    best = max((t for t in study(40).get_trials() if t.state.name == "COMPLETE"), key=lambda t: t.value)
    assert rows[0]["data-trial"] == str(best.number)
    front = page(view(study(40, ("maximize", "minimize"))))
    assert "Pareto front" in front


def test_the_script_is_the_one_the_policy_allows() -> None:
    import base64
    import hashlib

    html = page(view(study(3)))
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in html


# --- counting ---


def test_tally_of_one_objective() -> None:
    trials = study(40).get_trials()
    tally = Tally(["maximize"])
    tally.add(trials[:10])
    tally.add(trials[10:])
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert tally.complete == len(complete)
    assert tally.total == 40
    assert tally.best is not None
    assert tally.best.value == max(trial.value for trial in complete)
    low = Tally(["minimize"])
    low.add(trials)
    assert low.best is not None
    assert low.best.value == min(trial.value for trial in complete)


def test_the_front_is_optunas() -> None:
    made = study(60, ("maximize", "minimize"))
    tally = Tally(["maximize", "minimize"])
    tally.add(made.get_trials())
    assert {t.number for t in tally.front} == {t.number for t in made.best_trials}


def test_trials_outside_the_constraints_are_not_the_best() -> None:
    trials = [
        create_trial(value=value, system_attrs={"constraints:x": violation})
        for value, violation in ((3.0, 1.0), (2.0, 0.0), (1.0, -1.0))
    ]
    tally = Tally(["maximize"])
    tally.add(trials)
    assert tally.infeasible == 1
    assert tally.best is not None
    assert tally.best.value == 2.0


def test_pace() -> None:
    trials = study(30).get_trials()
    assert pace(trials) == pytest.approx(60.0)
    assert pace(trials, datetime(2026, 1, 1, 0, 0, 20)) == pytest.approx(66.0)
    assert pace([]) is None


# --- scales ---


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.123456, "0.1235"),
        (12345.6, "12,346"),
        (-2973.8, "\N{MINUS SIGN}2,974"),
        (1.5e-7, "1.5e-07"),
        (30650.0, "30,650"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    "scale", [Scale(0, 1), Scale(-3, 1e6), Scale(0.2, 0.2000001), Scale(1e-4, 1e4, True), Scale(2, 5, True)]
)
def test_ticks_lie_on_the_scale(scale: Scale) -> None:
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 9
    assert all(-1e-6 <= share <= 1 + 1e-6 for share, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


# --- progress ---


def test_progress_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    made = study(12)
    bar = ProgressBar(n_trials=12)
    for trial in made.get_trials():
        bar(made, trial)
    bar.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("12 of 12 trials: ")
    assert "\x1b" not in "".join(lines)


NOTEBOOK = """
from sklearn.datasets import load_diabetes
from manyfit.linear_model import Ridge
from manyfit.model_selection import OptunaSearchCV
from manyfit.sweep import ProgressBar
X, y = load_diabetes(return_X_y=True)
bar = ProgressBar(n_trials=16)
search = OptunaSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, n_trials=16, callbacks=[bar], random_state=0).fit(X, y)
print(bar._progress, bar.console.is_jupyter)
"""


def test_progress_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.delenv("NO_COLOR", raising=False)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        NotebookClient(book, timeout=120, kernel_name="python3").execute()
    outputs = book.cells[0]["outputs"]
    assert [each for each in outputs if each["output_type"] == "error"] == []
    said = "".join(str(each.get("text", "")) + str(each.get("data", "")) for each in outputs)
    assert "16 of 16 trials: 16 complete, best 0.4" in said
    assert "None True" in said
