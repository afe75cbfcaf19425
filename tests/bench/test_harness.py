"""The harness itself: what it must notice, and that it shows it."""

from __future__ import annotations

import dataclasses
import gc
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from . import __main__ as command
from . import cases, child, reference, report, timing
from .case import MANYFIT, SKLEARN, SKLEARNEX, Case, Contender, Library, Run, shrink
from .data import Data, Regression
from .quality import Coefficients, LinearPrediction, PrincipalComponents, Quality, RidgeSweep
from .results import Report
from .runner import Settings, run_case
from .targets import Faster, PeakMemory

SPEC = Regression(60, 4)
SETTINGS = Settings(threads=1, plan=timing.Plan(repeat=3, grain=1e-4))


def solver(library: Library, *, off_by: float = 0.0, pause: int = 0) -> Contender:
    """A contender whose coefficients are wrong by ``off_by`` and that burns ``pause`` loops."""

    def prepare(data: Data, threads: int) -> Run:
        def run() -> Any:
            assert data.y is not None
            for _ in range(pause):
                pass
            coef, intercept = reference.ridge(data.X, data.y)
            return SimpleNamespace(coef_=coef + off_by, intercept_=intercept)

        return run

    return Contender(library, prepare)


def missing(library: Library) -> Contender:
    def prepare(data: Data, threads: int) -> Run:
        raise ModuleNotFoundError(f"No module named {library.root!r}", name=library.root)

    return Contender(library, prepare)


def case_of(*contenders: Contender, **options: Any) -> Case:
    return Case("toy", SPEC, contenders, Coefficients(tolerance=1e-9), **options)


def run(case: Case, settings: Settings = SETTINGS) -> Report:
    machine = {
        "cpu": "a CPU",
        "level": "x86-64-v4",
        "cpus": 2,
        "memory_gib": None,
        "system": "Linux",
        "load_before": 0.1,
        "versions": {"Python": "3"},
        "manyfit": "level v4",
    }
    return Report(machine, dataclasses.asdict(settings), [run_case(case, "family", settings)])


def text_of(record: Report) -> str:
    lines = [*report.machine_lines(record.machine, record.settings), *report.case_lines(record.results[0])]
    return "\n".join([*lines, *report.summary_lines(record)])


def test_equal_quality_is_timed_and_judged() -> None:
    case = case_of(
        solver(MANYFIT),
        solver(SKLEARN, pause=1_000_000),
        targets=(Faster(1.5), Faster(1e9), PeakMemory(0.05)),
    )
    record = run(case)
    result = record.results[0]
    assert result.quality_ok is True
    assert [len(entry.seconds) for entry in result.entries] == [3, 3]
    assert [verdict.met for verdict in result.verdicts] == [True, False, None]
    assert report.failures(record) == {}
    assert "MISSED toy/60x4/float64" in text_of(record)
    assert max(map(len, text_of(record).splitlines())) <= report.WIDTH


@pytest.mark.parametrize("off_by", [1e-3, np.nan, np.inf])
def test_unequal_quality_fails_and_is_not_timed(off_by: float) -> None:
    record = run(case_of(solver(MANYFIT, off_by=off_by), solver(SKLEARN)))
    assert record.results[0].quality_ok is False
    assert not record.results[0].ours.seconds
    assert list(report.failures(record)) == ["quality is not equal"]
    assert "NOT EQUAL" in text_of(record)
    assert "quality not equal" in report.markdown(record)


def test_an_inaccurate_peer_is_shown_but_is_not_the_one_to_beat() -> None:
    record = run(case_of(solver(MANYFIT), solver(SKLEARN, pause=1_000_000), solver(SKLEARNEX, off_by=0.1)))
    result = record.results[0]
    assert result.quality_ok is True
    fastest = result.fastest_peer()
    assert fastest is not None
    assert fastest.library == SKLEARN.name
    assert result.peers[1].seconds
    assert " !" in text_of(record)
    assert "inaccurate" in report.markdown(record)


def test_a_missing_peer_has_its_row() -> None:
    record = run(case_of(solver(MANYFIT), missing(SKLEARNEX), targets=(Faster(2),)))
    assert report.failures(record) == {}
    assert record.results[0].verdicts[0].met is None
    for shown in (text_of(record), report.markdown(record)):
        assert "not installed" in shown
        assert SKLEARNEX.name in shown


def test_ours_missing_or_raising_is_a_failure() -> None:
    def prepare(data: Data, threads: int) -> Run:
        def call() -> Any:
            raise RuntimeError("no kernel")

        return call

    record = run(case_of(missing(MANYFIT), solver(SKLEARN)))
    assert list(report.failures(record)) == ["manyfit not installed"]
    assert record.results[0].peers[0].seconds  # the peers are still measured
    record = run(case_of(Contender(MANYFIT, prepare), solver(SKLEARN)))
    assert list(report.failures(record)) == ["manyfit failed: RuntimeError: no kernel"]


def test_slow_contenders_run_once_or_on_request() -> None:
    slow = dataclasses.replace(solver(SKLEARN), once=True, only_full=True)
    once = dataclasses.replace(solver(SKLEARNEX), once=True)
    case = case_of(solver(MANYFIT), slow, once)
    usual = run(case).results[0]
    assert [len(entry.seconds) for entry in usual.entries] == [3, 0, 1]
    assert usual.peers[0].status.startswith("skipped")
    full = run(case, dataclasses.replace(SETTINGS, full=True)).results[0]
    assert [len(entry.seconds) for entry in full.entries] == [3, 1, 3]


def test_a_quick_run_judges_nothing() -> None:
    record = run(
        case_of(solver(MANYFIT), solver(SKLEARN), targets=(Faster(1e9),)), Settings(1, timing.QUICK, True)
    )
    assert record.results[0].verdicts[0].met is None
    assert "smoke test" in text_of(record)


def test_a_saved_run_reads_back_the_same(tmp_path: Any) -> None:
    record = run(case_of(solver(MANYFIT), solver(SKLEARN), missing(SKLEARNEX), targets=(Faster(1e9),)))
    record.save(tmp_path / "run.json")
    again = Report.load(tmp_path / "run.json")
    assert again == record
    assert text_of(again) == text_of(record)
    (tmp_path / "other.json").write_text('{"schema": 0}')
    with pytest.raises(ValueError, match="schema"):
        Report.load(tmp_path / "other.json")


def test_rounds_are_interleaved_and_rotate() -> None:
    log: list[str] = []

    def burn(name: str) -> None:
        log.append(name)
        sum(range(200_000))

    runs = {name: (lambda name=name: burn(name)) for name in "abc"}
    timing.interleave(runs, timing.Plan(repeat=3, grain=0.0))
    assert "".join(log[-9:]) == "abcbcacab"


def test_times_are_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def tick() -> None:
        nonlocal calls
        calls += 1

    monkeypatch.setattr(time, "perf_counter", lambda: 0.25 * calls)
    monkeypatch.setattr(timing, "settle", lambda: None)
    plan = timing.Plan(repeat=2, grain=1.0)
    assert timing.interleave({"tick": tick}, plan) == {"tick": ([0.25, 0.25], 4)}
    assert calls == 1 + 5 + 2 * 4  # two estimates of a call, then two figures of a grain each


@pytest.mark.skipif(not child.CLEAR_REFS.exists(), reason="needs Linux")
def test_peak_memory_sees_what_a_call_frees_again() -> None:
    megabytes = 64

    def allocate() -> None:
        np.ones(megabytes * 2**20, dtype=np.uint8)

    gc.collect()
    peak = child.peak_memory(lambda: None, allocate)["bytes"] / 2**20
    assert megabytes - 1 <= peak <= megabytes + 4
    assert child.peak_memory(allocate, lambda: None)["bytes"] / 2**20 <= 4


def test_first_call_and_memory_of_a_real_case_in_fresh_processes() -> None:
    record = child.measure_call("first", "ols-fit/200x20/float64", SKLEARN.name, 1, quick=True)
    assert record["seconds"] > 0
    with pytest.raises(child.ChildFailed, match="StopIteration"):
        child.measure_call("first", "no-such-case", SKLEARN.name, 1, quick=True)


@pytest.mark.parametrize(("rows", "columns"), [(80, 5), (20, 60)])
@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_reference_agrees_with_scikit_learn(rows: int, columns: int, alpha: float) -> None:
    from sklearn.linear_model import LinearRegression, Ridge

    data = Regression(rows, columns, mean=2.0).make()
    assert data.y is not None
    peer = (Ridge(alpha) if alpha else LinearRegression()).fit(data.X, data.y)
    quality = Coefficients(alpha=alpha, tolerance=1e-11)
    assert quality.error(peer, quality.reference(data), data) < quality.tolerance


def test_extended_reference_is_finer_than_float64() -> None:
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        pytest.skip("this platform has no extended precision")
    data = Regression(300, 6, condition=1e6).make()
    assert data.y is not None
    normal = data.X - data.X.mean(axis=0)
    gram = np.linalg.solve(normal.T @ normal, normal.T @ (data.y - data.y.mean()))
    exact, plain = (reference.ridge(data.X, data.y, extended=extended).coef for extended in (True, False))
    scale = np.abs(exact).max()
    assert np.abs(plain - exact).max() / scale < 1e-9
    assert np.abs(gram - exact).max() / scale > 1e-7  # what the quality check of such data has to notice


def test_quality_notices_wrong_components_predictions_and_sweeps() -> None:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge

    from .contenders import Applied, Estimator, SweepResult, sweep

    data = Regression(400, 6).make()
    assert data.y is not None
    quality: Quality = PrincipalComponents(tolerance=1e-9)
    pca, expected = PCA(2).fit(data.X), quality.reference(data)
    assert quality.error(pca, expected, data) < 1e-9
    pca.components_ = pca.components_[:, ::-1].copy()
    assert quality.error(pca, expected, data) > 1e-3

    model = Ridge().fit(data.X, data.y)
    quality = LinearPrediction(tolerance=1e-12)
    output = model.predict(data.X)
    assert quality.error(Applied(model, data.X, output), None, data) < 1e-12
    assert quality.error(Applied(model, data.X, output + 1.0), None, data) > 1e-3
    assert quality.error(Applied(model, data.X, output[:, None]), None, data) == np.inf

    alphas, folds = (0.1, 10.0), 4
    quality = RidgeSweep(alphas=alphas, folds=folds, tolerance=1e-9)
    expected = quality.reference(data)
    contenders = sweep(Estimator("linear_model", "Ridge"), [{"alpha": alpha} for alpha in alphas], folds)
    peer = next(c for c in contenders if c.library is SKLEARN)
    searched = peer.prepare(data, 1)()
    assert quality.error(searched, expected, data) < 1e-9
    assert quality.error(SweepResult(searched.scores[::-1], None), expected, data) > 1e-6
    models = [[SimpleNamespace(coef_=m.coef, intercept_=m.intercept) for m in row] for row in expected[0]]
    assert quality.error(SweepResult(searched.scores, models), expected, data) < 1e-9
    assert quality.error(SweepResult(searched.scores, models[::-1]), expected, data) > 1e-6


def test_every_case_is_declared_soundly() -> None:
    every = [case for family in cases.FAMILIES for case in cases.of_family(family)]
    assert len({case.id for case in every}) == len(every)
    for case in every:
        assert cases.find(case.id) is case
        if isinstance(case, Case):
            assert case.contenders[0].library is MANYFIT
            assert hash(shrink(case).data) == hash(case.data.quick())


def test_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "limit_threads", lambda threads: None)
    assert command.main(["linear_model", "--list", "--case", "ols"]) == 0
    listed = capsys.readouterr().out
    assert "ols-fit/200x20/float64" in listed
    assert "ridge" not in listed
    assert command.main(["no_such_family"]) == 2
    assert "no_such_family" in capsys.readouterr().err
    assert command.main(["--list", "--case", "no such case"]) == 2
    with pytest.raises(SystemExit):
        command.main(["--threads", "0"])
