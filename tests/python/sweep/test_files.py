"""What good sweep files mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import MinMaxScaler

import manyfit.decomposition
import manyfit.linear_model
from manyfit.sweep.file import KEYS, Sweep, locate, read_sweep
from manyfit.sweep.settings import METHODS, seconds

from .conftest import RIDGE

Read = Callable[[str], Sweep]
Write = Callable[..., Path]

FOREST = "data: diabetes\nestimator: RandomForestRegressor\nrun_cap: 2\nparameters:\n  "


def test_a_whole_file(read: Read) -> None:
    sweep = read(RIDGE)
    assert type(sweep.estimator) is manyfit.linear_model.Ridge
    assert sweep.space == {"alpha": FloatDistribution(0.001, 100.0, log=True), "fit_intercept": [True, False]}
    assert (sweep.n_trials, sweep.timeout, sweep.seed, sweep.cv, sweep.workers) == (24, None, 5, 3, 0)
    assert sweep.name == "sweep"
    assert sweep.storage == str(sweep.path.with_suffix(".db"))
    assert sweep.log == sweep.path.with_suffix(".jsonl")
    assert sweep.data.X.shape == (442, 10)
    assert sweep.text == RIDGE
    assert sweep.notes == []


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("n_estimators: {min: 10, max: 50}", IntDistribution(10, 50)),
        ("n_estimators: {min: 10, max: 50, q: 15}", IntDistribution(10, 40, step=15)),
        ("n_estimators: {min: 10, max: 500, distribution: log_uniform_values}", IntDistribution(10, 500, log=True)),
        ("n_estimators: {min: 10, max: 500, distribution: q_log_uniform_values, q: 1}",
            IntDistribution(10, 500, log=True)),
        ("max_depth: {min: 1, max: 64, distribution: log_uniform_values}", IntDistribution(1, 64, log=True)),
        ("max_features: {min: 0.1, max: 1.0}", FloatDistribution(0.1, 1.0)),
        ("max_features: {min: 0.1, max: 1.0, q: 0.25}", FloatDistribution(0.1, 0.85, step=0.25)),
        ("ccp_alpha: {min: 1, max: 100, distribution: log_uniform_values}", FloatDistribution(1.0, 100.0, log=True)),
        ("ccp_alpha: {min: -2, max: 0, distribution: log_uniform}",
            FloatDistribution(0.1353352832366127, 1.0, log=True)),
        ("max_features: {min: 1, max: 2, distribution: uniform}", FloatDistribution(1.0, 2.0)),
        ("max_depth: [2, 4, null]", [2, 4, None]),
        ("max_depth: {values: [2, None]}", [2, None]),
        ("max_features: {values: [sqrt, 0.5]}", ["sqrt", 0.5]),
    ],
)  # fmt: skip
def test_distributions_are_inferred(entry: str, expected: object, read: Read) -> None:
    assert list(read(FOREST + entry).space.values()) == [expected]


def test_normal_distributions(read: Read) -> None:
    sweep = read(FOREST + "ccp_alpha: {mu: -3, sigma: 2, distribution: log_normal}")
    assert sweep.space["ccp_alpha"].median() == pytest.approx(2.718281828**-3)


def test_fixed_parameters(read: Read) -> None:
    sweep = read(
        FOREST + "max_depth: 3\n  n_estimators: {value: 7}\n  max_features: [0.5]\n  bootstrap: [true, false]"
    )
    assert sweep.fixed == {"max_depth": 3, "n_estimators": 7, "max_features": 0.5}
    assert sweep.estimator.get_params()["n_estimators"] == 7
    assert list(sweep.space) == ["bootstrap"]


def test_pipelines_and_their_parameters(read: Read) -> None:
    sweep = read("""\
        data: digits
        pipeline:
          - StandardScaler
          - {class: PCA, name: pca}
          - LogisticRegression: {max_iter: 50}
        parameters:
          standardscaler: [passthrough, {class: MinMaxScaler, params: {clip: true}}]
          pca: {n_components: {min: 2, max: 9}, whiten: [true, false]}
          logisticregression: {parameters: {C: {min: 0.1, max: 1.0}}}
        run_cap: 1
    """)
    names = [name for name, _ in sweep.estimator.steps]
    assert names == ["standardscaler", "pca", "logisticregression"]
    assert type(sweep.estimator["pca"]) is manyfit.decomposition.PCA
    assert sweep.estimator[-1].max_iter == 50
    assert list(sweep.space) == [
        "standardscaler", "pca__n_components", "pca__whiten", "logisticregression__C",
    ]  # fmt: skip
    choice = sweep.space["standardscaler"][1]
    assert isinstance(choice, MinMaxScaler)
    assert choice.clip


def test_names_of_steps(read: Read) -> None:
    sweep = read(
        "data: iris\npipeline: [PCA, PCA, RidgeClassifier]\nparameters: {pca-2__whiten: [true, false]}\nrun_cap: 1"
    )
    assert [name for name, _ in sweep.estimator.steps] == ["pca", "pca-2", "ridgeclassifier"]


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"gp", "cmaes"}))
def test_every_method_makes_its_sampler(method: str, read: Read) -> None:
    text = RIDGE.replace("{min: 0.001, max: 100.0, distribution: log_uniform_values}", "[0.1, 1.0, 10.0]")
    sweep = read(text + f"method: {method}\n")
    assert type(sweep.sampler.make()).__name__ == METHODS[method][0]
    if method == "grid":
        assert sweep.grid == {"alpha": [0.1, 1.0, 10.0], "fit_intercept": [True, False]}
        assert sweep.n_trials == 6


@pytest.mark.parametrize(
    ("text", "kind", "arguments"),
    [
        ("hyperband", "HyperbandPruner", {}),
        (
            "{type: hyperband, min_iter: 2, eta: 4}",
            "HyperbandPruner",
            {"min_resource": 2, "reduction_factor": 4},
        ),
        ("{type: successive_halving, min_iter: 1}", "SuccessiveHalvingPruner", {"min_resource": 1}),
        ("{type: median, min_trials: 3}", "MedianPruner", {"n_startup_trials": 3}),
        ("{type: percentile, percentile: 25}", "PercentilePruner", {"percentile": 25}),
        ("{type: wilcoxon, p_threshold: 0.2}", "WilcoxonPruner", {"p_threshold": 0.2}),
        ("{type: threshold, lower: 0.1}", "ThresholdPruner", {"lower": 0.1}),
    ],
)
def test_every_way_to_end_early(text: str, kind: str, arguments: dict[str, object], read: Read) -> None:
    sweep = read(RIDGE + f"early_terminate: {text}\n")
    assert sweep.pruner is not None
    assert (sweep.pruner.name, sweep.pruner.kwargs) == (kind, arguments)
    assert type(sweep.pruner.make()).__name__ == kind


def test_metrics_and_constraints(read: Read) -> None:
    sweep = read("""\
        data: breast_cancer
        estimator: LogisticRegression
        metric: [auc, {name: latency_us, goal: minimize}]
        constraints: {model_bytes: {max: 262144}, accuracy: {min: 9e-1}}
        parameters: {C: {min: 0.1, max: 1.0}}
        run_cap: 1
        cv: {splitter: StratifiedKFold, n_splits: 4, shuffle: yes, random_state: 1}
    """)
    assert [(goal.name, goal.goal) for goal in sweep.goals] == [
        ("roc_auc", "maximize"),
        ("latency_us", "minimize"),
    ]
    assert sweep.constraints == ["model_bytes <= 262144", "accuracy >= 0.9"]
    assert isinstance(sweep.splitter(), StratifiedKFold)
    again = read(RIDGE.replace("r2, goal: maximize", "mean_squared_error, goal: minimize"))
    assert again.goals[0].name == "neg_mean_squared_error"
    assert "which is maximised" in again.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (90, 90), (0.5, 0.5), ("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1h30m", 5400), ("1d", 86400),
        ("1.5h", 5400), ("1 h 30 m", 5400), ("", None), ("m", None), (0, None), (-1, None), (True, None),
        ("1:30", None), (float("inf"), None), ("nan", None), ([1], None),
    ],
)  # fmt: skip
def test_times(text: object, expected: float | None) -> None:
    assert seconds(text) == expected


def test_places(read: Read, tmp_path: Path) -> None:
    sweep = read(RIDGE + "name: mine\nstorage: sub/study.db\nlog: false\nmlflow: {experiment: x}\n")
    assert sweep.storage == str(tmp_path / "sub" / "study.db")
    assert (sweep.name, sweep.log, sweep.mlflow) == ("mine", None, {"experiment": "x"})
    assert locate(sweep.path) == (sweep.storage, "mine")
    assert read(RIDGE + "mlflow: runs.db").mlflow == {"tracking_uri": f"sqlite:///{tmp_path}/runs.db"}
    assert read(RIDGE + "mlflow: http://host:5000").mlflow == {"tracking_uri": "http://host:5000"}
    server = read(RIDGE + "storage: postgresql://me@host/db\n")
    assert server.storage == "postgresql://me@host/db"
    assert server.log == tmp_path / "sweep.jsonl"


def test_overrides(write: Write) -> None:
    path = write(RIDGE + "workers: 3\n")
    sweep = read_sweep(path, {"run_cap": 7, "timeout": 3.0, "workers": 1, "seed": 9, "storage": "x.db"})
    assert (sweep.n_trials, sweep.timeout, sweep.workers, sweep.file_workers, sweep.seed) == (7, 3.0, 1, 3, 9)
    assert sweep.storage == "x.db"


def test_the_page_names_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text(encoding="utf-8")
    assert [key for key in KEYS if f"| `{key}` |" not in page] == []
    assert [name for name in METHODS if f"`{name}`" not in page] == []
