"""Runs of MLflow: one for the search, and one below it for each trial."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from manyfit.tracking._tracker import Tracker, moment

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

__all__ = ["MLflow"]

_STUDY, _TRIAL, _ENDED = "manyfit.study", "manyfit.trial", "manyfit.completed"
_LONGEST = 5000  # characters of a tag or parameter


class MLflow(Tracker):
    """Record a search in MLflow: runs, parameters, metrics, and the ONNX model of the best.

    Parameters
    ----------
    tracking_uri : str, default=None
        Such as "sqlite:///mlflow.db" or "http://host:5000"; None: MLflow's own setting.
    experiment : str, default="manyfit"
        Made if it does not exist.

    Notes
    -----
    Needs ``pip install 'manyfit[mlflow]'``. A trial's parameters, values, mean scores, measures and seconds are
    its run's; intermediate values are metrics by step. The search's run has the best parameters and value, and
    ``model/model.onnx`` where the best estimator can be exported. Artefacts of a new experiment in an SQLite file
    are kept in the folder ``mlartifacts`` beside it.
    """

    def __init__(self, tracking_uri: str | None = None, experiment: str = "manyfit") -> None:
        super().__init__()
        try:
            import mlflow  # noqa: F401  # is it there?
        except ImportError:
            raise ImportError("MLflow needs its package: pip install 'manyfit[mlflow]'") from None
        name: object = experiment
        if not isinstance(name, str) or not name:
            raise ValueError(f"MLflow: experiment must be a name, got {name!r}")
        self.tracking_uri = tracking_uri
        self.experiment = experiment

    def __repr__(self) -> str:
        return f"MLflow(tracking_uri={self.tracking_uri!r}, experiment={self.experiment!r})"

    def _recorded(self, study: Study) -> set[Hashable]:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self._client = MlflowClient(tracking_uri=self.tracking_uri)
        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            place = self._artifacts()
            try:
                self._experiment = self._client.create_experiment(self.experiment, artifact_location=place)
            except MlflowException:  # another search made it meanwhile
                found = self._client.get_experiment_by_name(self.experiment)
                if found is None:
                    raise
        if found is not None:
            self._experiment = found.experiment_id
        known: set[Hashable] = set()
        self._parent: str | None = None
        name = study.study_name.replace("'", "_")
        token: Any = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`{_STUDY}` = '{name}'", max_results=1000, page_token=token
            )
            for run in page:
                tags = run.data.tags
                if _TRIAL not in tags:
                    self._parent = run.info.run_id
                elif run.info.status == "RUNNING":  # a kill left it unfinished
                    self._client.delete_run(run.info.run_id)
                else:
                    known.add((int(tags[_TRIAL]), tags[_ENDED]))
            token = page.token
            if not token:
                break
        if self._parent is None:
            run = self._client.create_run(
                self._experiment, run_name=study.study_name, tags={_STUDY: name, "manyfit.role": "search"}
            )
            self._parent = run.info.run_id
        return known

    def _artifacts(self) -> str | None:
        """Beside the file of a local store: MLflow's own default is the current folder."""
        import mlflow

        uri = self.tracking_uri or mlflow.get_tracking_uri()
        if not uri.startswith("sqlite:///"):
            return None
        folder = os.path.dirname(os.path.abspath(uri.removeprefix("sqlite:///")))
        return "file://" + os.path.join(folder, "mlartifacts")

    def _record(self, study: Study, trial: FrozenTrial) -> None:
        from mlflow.entities import Metric, Param, RunTag

        begin, end = (_milliseconds(each) for each in (trial.datetime_start, trial.datetime_complete))
        tags = {
            _STUDY: study.study_name.replace("'", "_"),
            _TRIAL: str(trial.number),
            _ENDED: moment(trial),
            "manyfit.state": trial.state.name,
            "mlflow.parentRunId": str(self._parent),
        }
        if "error" in trial.user_attrs:
            tags["manyfit.error"] = str(trial.user_attrs["error"])[-_LONGEST:]
        run = self._client.create_run(
            self._experiment, start_time=begin, run_name=f"trial {trial.number}", tags=tags
        )
        metrics = [Metric(name, value, end, 0) for name, value in _metrics(study, trial).items()]
        metrics += [
            Metric("intermediate", float(value), end, step)
            for step, value in trial.intermediate_values.items()
            if math.isfinite(value)
        ]
        params = [Param(_name(key), str(value)[:_LONGEST]) for key, value in trial.params.items()]
        for first in range(0, max(len(metrics), 1), 900):  # MLflow takes 1000 entries at once
            self._client.log_batch(
                run.info.run_id, metrics[first : first + 900], [] if first else params[:100]
            )
        for first in range(100, len(params), 100):
            self._client.log_batch(run.info.run_id, params=params[first : first + 100])
        status = "FAILED" if trial.state.name == "FAIL" else "FINISHED"
        self._client.log_batch(run.info.run_id, tags=[RunTag("manyfit.done", "yes")])
        self._client.set_terminated(run.info.run_id, status, end)

    def _conclude(self, search: Any) -> None:
        """Write what the search found into its run."""
        from mlflow.entities import Metric, RunTag

        parent = str(self._parent)
        tags = {
            f"best.{_name(key)}": str(value)[:_LONGEST]
            for key, value in _best(search, "best_params_", {}).items()
        }
        best = _best(search, "best_trial_", None)
        if best is not None:
            tags["best.trial"] = str(best.number)
        values = {"best_score": _best(search, "best_score_", math.nan), "trials": float(search.n_trials_)}
        now = int(1000 * time.time())
        metrics = [Metric(key, float(value), now, 0) for key, value in values.items() if math.isfinite(value)]
        tags["model"] = self._export(search, parent)
        self._client.log_batch(parent, metrics, tags=[RunTag(key, value) for key, value in tags.items()])
        self._client.set_terminated(parent)

    def _export(self, search: Any, parent: str) -> str:
        """Keep the verified ONNX model of the best; say where, or why there is none."""
        from manyfit.onnx import to_onnx

        if not hasattr(search, "best_estimator_"):
            return "none: the search did not refit"
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.onnx")
            try:
                to_onnx(search.best_estimator_, path)
            except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
                return f"none: {error}"[:_LONGEST]
            self._client.log_artifact(parent, path, "model")
        return "model/model.onnx"


def _best(search: Any, name: str, default: Any) -> Any:
    """An attribute that a search without a best trial does not have."""
    try:
        return getattr(search, name)
    except (AttributeError, ValueError, RuntimeError):
        return default


def _metrics(study: Study, trial: FrozenTrial) -> dict[str, float]:
    """Finite numbers of a trial."""
    found: dict[str, Any] = {}
    values = trial.values or []
    for i, value in enumerate(values):
        found["value" if len(values) == 1 else f"value_{i}"] = value
    scores = trial.user_attrs.get("test_scores")
    for name, row in scores.items() if isinstance(scores, Mapping) else ():
        known = [score for score in row if score is not None]
        found[f"mean_test_{name}"] = sum(known) / len(known) if known else math.nan
    for key in ("measures", "seconds"):
        entries = trial.user_attrs.get(key)
        for name, value in entries.items() if isinstance(entries, Mapping) else ():
            found[name] = sum(each or 0.0 for each in value) if isinstance(value, list) else value
    for name, value in trial.constraints.items():
        found[f"constraint_{name}"] = value
    return {
        _name(key): float(value)
        for key, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _name(name: str) -> str:
    """`name` of characters that MLflow takes."""
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)[:250] or "_"


def _milliseconds(moment: Any) -> int:
    return int(1000 * (time.time() if moment is None else moment.timestamp()))
