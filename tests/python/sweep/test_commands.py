"""``manyfit sweep`` for real: run, kill, resume, status, best, report, export, check."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold, cross_val_score

import manyfit
from manyfit.cli import main
from manyfit.linear_model import Ridge

from .conftest import RIDGE

Command = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]

# So long that it does not end by itself.
ENDLESS = RIDGE.replace("run_cap: 24", "run_cap: 1000000")

# A shell that starts the tests in the background may have told children to ignore SIGINT.
CHILD = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from manyfit.cli import main; sys.exit(main(['sweep', *sys.argv[1:]]))"
)


def trials(path: Path, name: str = "sweep") -> list[optuna.trial.FrozenTrial]:
    """What Optuna itself reads from a storage."""
    study = optuna.load_study(storage=f"sqlite:///{path}", study_name=name)
    return study.get_trials()


def same(one: list[optuna.trial.FrozenTrial], other: list[optuna.trial.FrozenTrial]) -> None:
    assert [t.number for t in one] == [t.number for t in other]
    assert [t.params for t in one] == [t.params for t in other]
    assert [t.state for t in one] == [t.state for t in other]
    np.testing.assert_allclose([t.values for t in one], [t.values for t in other], rtol=1e-10)


def stopped(folder: Path, signals: list[int], *arguments: str) -> subprocess.CompletedProcess[str]:
    """A sweep that gets signals, the first one when it has told of a batch, the others as soon as it answers."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CHILD, *arguments],
        cwd=folder,
        env=os.environ | {"COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if re.match(r"\d+ of \d+ trials", line):
                break
        told = ""
        for number in signals:
            process.send_signal(number)
            if number == signal.SIGINT and len(signals) > 1 and not told:
                while "again stops now" not in told:
                    told += process.stderr.read(1)
        out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, "".join(said) + out, told + err)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep that was run to its end: its folder, and what was printed."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "sweep.yaml").write_text(RIDGE)
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "manyfit", "sweep", "run", "sweep.yaml"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return folder, finished.stdout


@pytest.fixture
def in_done(done: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(done[0])
    return done[0]


# --- run ---


def test_run_says_what_it_does_and_finds(done: tuple[Path, str]) -> None:
    _, said = done
    lines = said.splitlines()
    assert lines[0] == "sweep: Ridge on diabetes (442 x 10), bayes for r2, 24 trials"
    assert any(line.startswith("24 of 24 trials: 24 complete, best 0.4") for line in lines)
    assert "shared: 72 fits of Ridge, 1 pass over X (fold Gram)" in lines
    assert lines[-1] == "next: manyfit sweep best sweep.yaml --onnx sweep.onnx"
    assert "\x1b" not in said


def test_scores_are_those_of_cross_validation(done: tuple[Path, str]) -> None:
    X, y = load_diabetes(return_X_y=True)
    told = trials(done[0] / "sweep.db")
    assert [trial.number for trial in told] == list(range(24))
    for trial in told[::8]:
        assert trial.state.name == "COMPLETE"
        expected = cross_val_score(Ridge(**trial.params), X, y, cv=KFold(3))
        np.testing.assert_allclose(trial.user_attrs["test_scores"]["score"], expected, rtol=1e-9)
        np.testing.assert_allclose(trial.value, expected.mean(), rtol=1e-9)


def test_every_trial_has_its_line_in_the_log(done: tuple[Path, str]) -> None:
    import json

    lines = (done[0] / "sweep.jsonl").read_text().splitlines()
    numbers = [json.loads(line).get("number") for line in lines]
    assert [number for number in numbers if number is not None] == list(range(24))


def test_run_again_has_nothing_to_do(in_done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "run", "sweep.yaml"]) == 0
    assert (
        capsys.readouterr().out.splitlines()[1]
        == "sweep.db holds all 24 trials of it; --trials N makes it longer"
    )


def test_the_same_seed_gives_the_same_study(done: tuple[Path, str], tmp_path: Path, command: Command) -> None:
    (tmp_path / "sweep.yaml").write_text(RIDGE)
    command("run", "sweep.yaml", "--workers", "2", "--storage", "other.db")
    same(trials(tmp_path / "other.db"), trials(done[0] / "sweep.db"))
    command("run", "sweep.yaml", "--seed", "6", "--storage", "third.db")
    assert trials(tmp_path / "third.db")[0].params != trials(done[0] / "sweep.db")[0].params


def test_grid_tries_all(write: Write, command: Command, tmp_path: Path) -> None:
    write("""\
        name: all of them
        data: diabetes
        pipeline: [StandardScaler, {class: PCA, name: pca}, Ridge]
        method: grid
        parameters:
          pca: {n_components: {min: 2, max: 8, q: 3}}
          ridge: {alpha: {values: [0.1, 1, 1e1]}}
        cv: {splitter: ShuffleSplit, n_splits: 2, random_state: 0}
    """)
    said = command("run", "sweep.yaml").stdout
    told = trials(tmp_path / "sweep.db", "all of them")
    assert len(told) == 9
    points = {(t.params["pca__n_components"], t.params["ridge__alpha"]) for t in told}
    assert points == {(n, a) for n in (2, 5, 8) for a in (0.1, 1, 10.0)}
    assert "9 of 9 trials" in said


def test_a_table_with_texts_weights_and_groups(write: Write, command: Command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = ["size,city,weight,house,price"]
    for i in range(60):
        rows.append(f"{rng.normal():.4f},{'BR'[i % 2]},{1 + i % 3},{i % 12},{rng.normal() + 3 * (i % 2):.4f}")
    write("\n".join(rows), "prices.csv")
    write("""\
        data: {path: prices.csv, target: price, weights: weight, groups: house}
        pipeline:
          - {class: OneHotEncoder, columns: [city]}
          - Ridge
        parameters: {ridge__alpha: {min: 0.01, max: 10.0}}
        run_cap: 4
        cv: GroupKFold
    """)
    command("run", "sweep.yaml")
    told = trials(tmp_path / "sweep.db")
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 4
    assert min(trial.value for trial in told) > 0.3


def test_several_objectives_and_constraints(write: Write, command: Command, tmp_path: Path) -> None:
    write("""\
        data: breast_cancer
        pipeline: [StandardScaler, PCA, RidgeClassifier]
        method: random
        metric: [accuracy, model_bytes]
        constraints: [accuracy >= 0.9]
        parameters: {pca__n_components: {min: 1, max: 10}}
        run_cap: 8
        cv: 3
    """)
    said = command("run", "sweep.yaml").stdout
    told = trials(tmp_path / "sweep.db")
    assert all(len(trial.values) == 2 for trial in told)
    assert "on the Pareto front" in said
    best = command("best", "sweep.yaml").stdout
    assert re.match(r"best: trial \d+, accuracy 0\.\d+, model_bytes \d+", best)
    page = command("report", "sweep.yaml")
    assert page.stdout == "sweep.html: 8 trials\n"
    assert "Pareto front" in (tmp_path / "sweep.html").read_text()


def test_trials_that_are_pruned(write: Write, command: Command, tmp_path: Path) -> None:
    write(RIDGE.replace("cv: 3", "cv: 6\nearly_terminate: {type: median, min_iter: 1, min_trials: 4}"))
    command("run", "sweep.yaml")
    states = {trial.state.name for trial in trials(tmp_path / "sweep.db")}
    assert states == {"COMPLETE", "PRUNED"}
    command("report", "sweep.yaml")
    assert "ended early" in (tmp_path / "sweep.html").read_text()


def test_trials_that_fail_are_kept_with_their_reason(write: Write, command: Command, tmp_path: Path) -> None:
    write("""\
        data: diabetes
        pipeline: [PCA, Ridge]
        parameters: {pca__n_components: [3, 5, 50, 60]}
        method: grid
        cv: 3
    """)
    command("run", "sweep.yaml")
    told = {trial.params["pca__n_components"]: trial for trial in trials(tmp_path / "sweep.db")}
    assert {n: trial.state.name for n, trial in told.items()} == {
        3: "COMPLETE", 5: "COMPLETE", 50: "FAIL", 60: "FAIL",
    }  # fmt: skip
    assert "n_components" in told[50].user_attrs["error"]
    command("report", "sweep.yaml")
    page = (tmp_path / "sweep.html").read_text()
    assert "What failed" in page
    assert "2 trials failed." in page


def test_all_trials_fail(write: Write, command: Command) -> None:
    write("""\
        data: diabetes
        pipeline: [PCA, Ridge]
        parameters: {pca__n_components: [50, 60]}
        method: grid
    """)
    done = command("run", "sweep.yaml", status=1)
    assert done.stderr.startswith("manyfit sweep run: OptunaSearchCV: all 2 trials failed. The first one:\n")
    assert command("best", "sweep.yaml", status=1).stderr == (
        "manyfit sweep best: there is no best trial: 0 complete, 2 failed of 2\n"
    )
    command("report", "sweep.yaml")
    command("status", "sweep.yaml")


def test_warnings_are_counted_rather_than_repeated(write: Write, command: Command) -> None:
    write("""\
        data: breast_cancer
        estimator: MLPClassifier
        params: {max_iter: 1, hidden_layer_sizes: 2}
        parameters: {alpha: [0.1, 1.0]}
        method: grid
        cv: 2
    """)
    done = command("run", "sweep.yaml")
    assert re.fullmatch(r"ConvergenceWarning: .* \(4 times\)\n", done.stderr)


def test_mlflow_holds_runs_and_the_model(write: Write, command: Command, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    write(RIDGE.replace("run_cap: 24", "run_cap: 4") + "mlflow: {tracking_uri: runs.db, experiment: ridge}\n")
    command("run", "sweep.yaml")
    assert (tmp_path / "runs.db").is_file()
    assert len(list(tmp_path.rglob("model.onnx"))) == 1


# --- being stopped ---


def test_a_killed_supervisor_loses_nothing(write: Write, command: Command, tmp_path: Path) -> None:
    write(ENDLESS)
    killed = stopped(tmp_path, [signal.SIGKILL], "run", "sweep.yaml")
    assert killed.returncode == -signal.SIGKILL
    before = trials(tmp_path / "sweep.db")
    assert before
    assert {trial.state.name for trial in before} == {"COMPLETE"}
    status = command("status", "sweep.yaml").stdout
    assert f"trials   {len(before)} of 1000000: {len(before)} complete" in status
    assert "not running; manyfit sweep resume sweep.yaml goes on" in status
    wanted = len(before) + 20
    said = command("resume", "sweep.yaml", "--trials", str(wanted)).stdout
    assert f"sweep.db holds {len(before)} trials of it: going on" in said
    after = trials(tmp_path / "sweep.db")
    same(after[: len(before)], before)
    assert len(after) == wanted
    command("run", "sweep.yaml", "--trials", str(wanted), "--storage", "whole.db")
    same(after, trials(tmp_path / "whole.db"))


def test_control_c_saves_and_says_how_to_go_on(write: Write, tmp_path: Path) -> None:
    write(ENDLESS)
    done = stopped(tmp_path, [signal.SIGINT], "run", "sweep.yaml")
    assert done.returncode == 130
    saved = len(trials(tmp_path / "sweep.db"))
    last = done.stderr.splitlines()[-1]
    assert last == (
        f"manyfit sweep run: interrupted; {saved} trials are saved in sweep.db; go on with: manyfit sweep resume "
        "sweep.yaml"
    )
    assert "best: trial" in done.stdout
    assert "Traceback" not in done.stderr
    done = stopped(tmp_path, [signal.SIGINT], "resume", "sweep.db")
    assert done.returncode == 130
    assert len(trials(tmp_path / "sweep.db")) > saved


def test_control_c_twice_stops_at_once(write: Write, tmp_path: Path) -> None:
    # Batches so large that the running one takes seconds.
    write(ENDLESS.replace("diabetes", "digits") + "batch_size: 4\n")
    done = stopped(tmp_path, [signal.SIGINT, signal.SIGINT], "run", "sweep.yaml")
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert re.search(r"manyfit sweep run: interrupted; \d+ trials are saved in sweep\.db", done.stderr)
    assert {trial.state.name for trial in trials(tmp_path / "sweep.db")} == {"COMPLETE"}


def test_one_writer_at_a_time(write: Write, command: Command, tmp_path: Path) -> None:
    write(ENDLESS)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", CHILD, "run", "sweep.yaml"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if re.match(r"\d+ of \d+ trials", line):
                break
        status = command("status", "sweep.db").stdout
        second = command("resume", "sweep.yaml", status=2)
        process.kill()
    assert re.search(rf"state +running \(pid {process.pid} on ", status)
    assert "remaining" in status
    assert f"another sweep is writing to it (pid {process.pid}" in second.stderr


# --- status, best, report ---


def test_status(in_done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for place in ("sweep.yaml", "sweep.db"):
        assert main(["sweep", "status", place]) == 0
        lines = capsys.readouterr().out.splitlines()
        rows = {line[:9].strip(): line[9:] for line in lines}
        assert rows["state"] == "complete"
        assert rows["trials"] == "24 of 24: 24 complete"
        assert rows["shared"] == "72 fits of Ridge, 1 pass over X (fold Gram)"
        assert rows["best"].startswith("trial ")
        assert any("fit_intercept: True" in line for line in lines)
        assert "trials per minute" in rows["pace"]
    assert main(["sweep", "status", "sweep.yaml", "--watch"]) == 0
    assert capsys.readouterr().out.startswith("24 of 24 trials: 24 complete, best 0.4")


def test_best_exports_the_verified_model(in_done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = trials(in_done / "sweep.db")
    best = max(told, key=lambda trial: trial.value)
    assert main(["sweep", "best", "sweep.yaml", "--onnx", "best.onnx", "--save", "best.safetensors"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"best: trial {best.number}, r2 {best.value:.6g}\n")
    assert f"  alpha: {best.params['alpha']}\n" in said
    assert main(["verify", "best.onnx"]) == 0
    X, y = load_diabetes(return_X_y=True)
    expected = Ridge(**best.params).fit(X, y).predict(X)
    np.testing.assert_allclose(manyfit.load("best.safetensors").predict(X), expected, rtol=1e-9)
    import onnxruntime as ort

    session = ort.InferenceSession("best.onnx", providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"X": X.astype(np.float32)})
    np.testing.assert_allclose(np.ravel(answer), expected, rtol=1e-3)


def test_best_of_a_chosen_trial(in_done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", "best", "sweep.db", "--trial", "3"]) == 0
    assert capsys.readouterr().out.startswith("best: trial 3, ")
    assert main(["sweep", "best", "sweep.db", "--trial", "99"]) == 2
    assert "--trial must be one that is complete, got 99: there is none" in capsys.readouterr().err


def test_a_model_without_a_converter(write: Write, command: Command) -> None:
    write("data: iris\nestimator: GaussianNB\nparameters: {var_smoothing: [1e-9, 1e-3]}\nmethod: grid\n")
    command("run", "sweep.yaml")
    done = command("best", "sweep.yaml", "--onnx", "x.onnx", status=2)
    assert done.stderr.startswith("manyfit sweep best: ")
    assert "GaussianNB" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["status", "none.yaml"], "none.yaml: No such file or directory"),
        (["status", "none.db"], "none.db: there is no study yet"),
        (["status", "sweep.yml"], "manyfit sweep run sweep.yml makes it"),
        (["status", "notes.txt"], "it is neither a sweep file (.yaml) nor an SQLite database"),
        (["status", "sweep.db", "--name", "swep"], "there is no study 'swep'; did you mean 'sweep'?"),
        (["status", "mysql://a/b"], "storage must be"),
        (["run", "sweep.yaml", "--trials", "0"], "--trials: must be a whole number >= 1, got '0'"),
        (["run", "sweep.yaml", "--timeout", "soon"], "--timeout: must be seconds > 0"),
        (["export", "sweep.yaml"], "required: --python"),
        (["report", "sweep.db", "--out", "no/where.html"], "no/where.html: No such file or directory"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
    ],
)
def test_what_cannot_be_done(
    in_done: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (in_done / "notes.txt").write_text("mine")
    (in_done / "sweep.yml").write_text(RIDGE.replace("run_cap", "storage: other.db\nrun_cap"))
    assert main(["sweep", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (in_done / "other.db").exists()


def test_another_space_is_told(in_done: Path, tmp_path: Path, command: Command) -> None:
    (tmp_path / "sweep.yaml").write_text(RIDGE.replace("max: 100.0", "max: 10.0"))
    (tmp_path / "sweep.db").write_bytes((in_done / "sweep.db").read_bytes())
    done = command("run", "sweep.yaml", "--trials", "30", status=2)
    assert "alpha" in done.stderr
    assert "high=100.0" in done.stderr
    assert "high=10.0" in done.stderr
    assert len(trials(tmp_path / "sweep.db")) == 24


def test_a_study_of_optunas(tmp_path: Path, command: Command) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/other.db", study_name="theirs")
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=12)
    assert "12: 12 complete" in command("status", "other.db").stdout
    assert command("best", "other.db").stdout.splitlines()[1] == f"  x: {study.best_params['x']}"
    command("report", "other.db")
    assert "theirs" in (tmp_path / "other.html").read_text()
    for arguments in (["best", "other.db", "--onnx", "x.onnx"], ["resume", "other.db"]):
        assert "was not made by manyfit sweep" in command(*arguments, status=2).stderr


def test_one_of_several_studies(tmp_path: Path, command: Command) -> None:
    for name in ("one", "other"):
        optuna.create_study(storage=f"sqlite:///{tmp_path}/two.db", study_name=name)
    assert "--name must be one of 'one', 'other', got none" in command("status", "two.db", status=2).stderr
    assert "0: 0 complete" in command("status", "two.db", "--name", "one").stdout
    assert "none has ended yet" in command("best", "two.db", "--name", "one", status=1).stderr
    command("report", "two.db", "--name", "one")


# --- export, check ---


@pytest.mark.parametrize(
    "text",
    [
        RIDGE,
        """\
        description: a "quoted" \\ description
        data: breast_cancer
        pipeline:
          - {class: StandardScaler, name: scale, params: {with_mean: false}}
          - PCA: {n_components: 5}
          - SVC
        method: random
        metric: roc_auc
        parameters:
          svc: {C: {min: 0.1, max: 10.0, distribution: log_uniform_values}, kernel: {value: linear}}
          scale: [passthrough, {class: MinMaxScaler}]
          svc__gamma: {mu: -3, sigma: 1, distribution: log_normal}
        run_cap: 6
        cv: {splitter: StratifiedKFold, n_splits: 3, shuffle: true, random_state: 2}
        early_terminate: {type: median, min_iter: 1}
        """,
        """\
        data: {path: t.csv, target: y, drop: [id], weights: w, groups: g}
        pipeline: [{class: OneHotEncoder, columns: [kind]}, Ridge]
        method: grid
        parameters: {ridge__alpha: {min: 1, max: 9, q: 2}}
        cv: GroupKFold
        """,
        """\
        data: diabetes
        estimator: Ridge
        metric: [r2, neg_mean_absolute_error]
        constraints: neg_mean_absolute_error >= -100
        parameters: {alpha: {min: 0.1, max: 10.0}}
        method: nsga2
        run_cap: 8
        """,
    ],
    ids=["ridge", "pipeline", "table", "objectives"],
)
def test_the_exported_script_gives_the_same_study(
    text: str, write: Write, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    rows = [f"{i},{'ab'[i % 2]},{rng.normal():.3f},{i % 5},{1 + i % 2},{rng.normal():.3f}" for i in range(40)]
    write("\n".join(["id,kind,x,g,w,y", *rows]), "t.csv")
    write(text)
    command("run", "sweep.yaml")
    script = command("export", "sweep.yaml", "--python").stdout
    # The script writes a study of its own beside the first.
    written = write(script.replace("storage='sweep.db'", "storage='script.db'"), "search.py")
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(written))
    same(trials(tmp_path / "script.db"), trials(tmp_path / "sweep.db"))
    assert names["search"].n_trials_ == len(trials(tmp_path / "sweep.db"))
    command("export", "sweep.yaml", "--python", "--out", "again.py")
    assert (tmp_path / "again.py").read_text() == script


def test_check_says_what_would_be_done(write: Write, command: Command, tmp_path: Path) -> None:
    write(RIDGE.replace("0.001", "1e-3"))
    done = command("check", "sweep.yaml")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("sweep.yaml:5: parameters.alpha.min: 1e-3 is read as the number 0.001")
    rows = {line[:11].strip(): line[11:].strip() for line in lines[1:]}
    assert rows["sweep"].endswith("Ridge on diabetes (442 x 10), bayes for r2, 24 trials")
    assert rows["searched"] == "alpha: numbers from 0.001 to 100, on a log scale"
    assert rows["fits"].startswith("72 (24 trials x 3 splits)")
    assert os.listdir(tmp_path) == ["sweep.yaml"]
    write(RIDGE.replace("alpha", "aplha"))
    wrong = command("check", "sweep.yaml", status=1)
    assert (
        wrong.stderr
        == "sweep.yaml:5: parameters.aplha: Ridge has no parameter 'aplha'; did you mean 'alpha'?\n"
    )
    command("check", "none.yaml", status=2)
    command("run", "sweep.yaml", status=2)


@pytest.mark.parametrize("name", ["", "run", "resume", "status", "best", "report", "export", "check"])
def test_help_has_examples_and_fits_80_columns(name: str, command: Command) -> None:
    shown = command(*filter(None, [name]), "--help").stdout
    assert "examples:\n  manyfit sweep " in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_example_in_the_help_works(write: Write, command: Command, tmp_path: Path) -> None:
    shown = command("--help").stdout
    write(re.split(r"that works:\n", shown)[1].rstrip("\n") + "\n", "help.yaml")
    command("run", "help.yaml", "--trials", "4")
    assert len(trials(tmp_path / "help.db", "help")) == 4


def test_help_needs_no_library(run_python: Any) -> None:
    done = run_python("""
        import sys
        from manyfit.cli import main
        assert main(["sweep", "run", "--help"]) == 0
        heavy = {"numpy", "sklearn", "optuna", "yaml", "rich", "matplotlib"} & set(sys.modules)
        assert not heavy, heavy
    """)
    assert done.returncode == 0, done.stderr


def test_dask_computes_the_same_study(
    done: tuple[Path, str], tmp_path: Path, command: Command, environment: Any
) -> None:
    distributed = pytest.importorskip("distributed")
    (tmp_path / "sweep.yaml").write_text(RIDGE)
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with environment(), distributed.LocalCluster(**options) as cluster:
        said = command("run", "sweep.yaml", "--dask", cluster.scheduler_address).stdout
    assert "24 of 24 trials" in said
    same(trials(tmp_path / "sweep.db"), trials(done[0] / "sweep.db"))


def test_a_terminal_gets_a_bar_and_its_cursor_back(write: Write, tmp_path: Path, terminal: Any) -> None:
    write(RIDGE)
    command = [sys.executable, "-W", "error", "-m", "manyfit", "sweep", "run", "sweep.yaml"]
    status, text = terminal(command, tmp_path, COLUMNS="100")
    assert status == 0, text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "24 of 24 trials: 24 complete" in text
