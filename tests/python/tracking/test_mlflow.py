"""Runs in a real MLflow store, in a file of the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

# MLflow's own code under this SQLAlchemy and this pydantic.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.xdist_group("mlflow"),
]

mlflow = pytest.importorskip("mlflow", reason="the mlflow extra is not installed")

from manyfit.linear_model import Ridge  # noqa: E402
from manyfit.tracking import MLflow  # noqa: E402

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X @ [1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One store for all: making its tables takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
        yield f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


class Search:
    """What a search has after its end."""

    def __init__(self, study: optuna.Study, estimator: Any) -> None:
        self.study_ = study
        self.best_estimator_ = estimator
        self.best_params_ = {"alpha": 0.5, "odd [name]": "ü"}
        self.best_trial_ = study.best_trial
        self.best_score_ = study.best_value
        self.n_trials_ = len(study.trials)


def runs(uri: str, experiment: str) -> tuple[list[Any], list[Any]]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    trials = [run for run in found if "manyfit.trial" in run.data.tags]
    return [run for run in found if run not in trials], sorted(
        trials, key=lambda run: int(run.data.tags["manyfit.trial"])
    )


def test_content(tell: Any, uri: str, tmp_path: Path) -> None:
    study = optuna.create_study(study_name="it's größe")
    tracker = MLflow(uri, "content")
    attrs = {
        "test_scores": {"score": [0.5, 1.5, None]},
        "seconds": {"fit_time": [1.0, 2.0, None]},
        "measures": {"model_bytes": 100, "latency_us": float("inf")},
    }
    tracker.on_batch_end(
        study, tell(study, 1, user_attrs=attrs, intermediate_values={0: 0.5, 3: 1.5, 4: float("nan")})
    )
    tracker.on_batch_end(
        study, tell(study, 1, state=TrialState.FAIL, value=None, user_attrs={"error": "x" * 9000 + "end"})
    )
    tracker.on_search_end(Search(study, Ridge().fit(X, Y)))
    (parent,), (good, bad) = runs(uri, "content")
    assert good.info.run_name == "trial 0"
    assert good.info.status == "FINISHED"
    assert good.data.params == {"a": "0.5"}
    assert good.data.metrics == {
        "value": 0.0,
        "mean_test_score": 1.0,
        "fit_time": 3.0,
        "model_bytes": 100.0,
        "intermediate": 1.5,
    }
    assert good.data.tags["mlflow.parentRunId"] == parent.info.run_id
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert [m.step for m in client.get_metric_history(good.info.run_id, "intermediate")] == [0, 3]
    assert bad.info.status == "FAILED"
    assert bad.data.tags["manyfit.error"].endswith("end")
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "it's größe"
    assert parent.data.tags["best.alpha"] == "0.5"
    assert parent.data.tags["best.odd _name_"] == "ü"
    assert parent.data.tags["model"] == "model/model.onnx"
    assert parent.data.metrics == {"best_score": 0.0, "trials": 2.0}
    path = client.download_artifacts(parent.info.run_id, "model/model.onnx", str(tmp_path))
    from manyfit.onnx import verify_file

    verify_file(path)


def test_resume_after_a_kill(tell: Any, uri: str) -> None:
    study = optuna.create_study(study_name="s")
    tracker = MLflow(uri, "resume")
    tracker.on_batch_end(study, tell(study, 2))
    client = mlflow.MlflowClient(tracking_uri=uri)
    torn = runs(uri, "resume")[1][1]
    client.update_run(torn.info.run_id, status="RUNNING")  # killed before its end
    tell(study, 2)  # told, not recorded
    tracker = MLflow(uri, "resume")
    tracker.on_batch_end(study, tell(study, 1))
    parents, trials = runs(uri, "resume")
    assert len(parents) == 1
    assert [int(run.data.tags["manyfit.trial"]) for run in trials] == [0, 1, 2, 3, 4]
    assert {run.info.status for run in trials} == {"FINISHED"}
    assert torn.info.run_id not in [run.info.run_id for run in trials]


def test_model_that_cannot_be_exported(tell: Any, uri: str) -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor

    study = optuna.create_study(study_name="s")
    tell(study, 1)
    MLflow(uri, "svr").on_search_end(Search(study, GaussianProcessRegressor().fit(X, Y)))
    (parent,), _ = runs(uri, "svr")
    assert parent.data.tags["model"].startswith("none: ")
    assert parent.info.status == "FINISHED"


def test_a_store_that_fails_stops_no_search(tell: Any, tmp_path: Path) -> None:
    study = optuna.create_study(study_name="s")
    tracker = MLflow("ftp://nowhere")
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="MLflow.*not recorded, tried again after the next batch"):
            tracker.on_batch_end(study, tell(study, 1))


def test_without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"pip install 'manyfit\[mlflow\]'"):
        MLflow()
    with pytest.raises(ImportError, match=r"pip install 'manyfit\[mlflow\]'"):
        MLflow("sqlite:///x.db")


def test_bad_experiment() -> None:
    with pytest.raises(ValueError, match="MLflow: experiment must be a name, got ''"):
        MLflow(experiment="")
