"""Finished trials as rows of Optuna's own tables."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from sqlalchemy import Connection

__all__ = ["check", "fail_running", "insert", "told"]


def to_json(value: Any, what: str) -> str:
    """Text for `value` in a study; scalars and arrays of NumPy become numbers and lists."""
    try:
        return json.dumps(value, default=_plain)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{what} must be made of what JSON holds, got {value!r} ({error})") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not")


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def check(trial: FrozenTrial, n_objectives: int) -> None:
    """Refuse a trial that Optuna could not read again."""
    what = f"trial {trial.number}"
    if not trial.state.is_finished():
        raise ValueError(f"{what} must be finished to be stored, got state {trial.state.name}")
    try:
        trial._validate()
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    if trial.values is not None:
        if len(trial.values) != n_objectives and trial.state.name == "COMPLETE":
            raise ValueError(f"{what} must have {n_objectives} values, got {trial.values!r}")
        if any(math.isnan(value) for value in trial.values):
            raise ValueError(f"{what}: values must not be NaN, got {trial.values!r}")


def told(connection: Connection, study_id: int) -> tuple[set[int], dict[int, int]]:
    """Numbers of the finished trials, and the row of each that waits, by its number."""
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.trial import TrialState

    table = models.TrialModel.__table__
    rows = connection.execute(
        sqlalchemy.select(table.c.number, table.c.trial_id, table.c.state).where(table.c.study_id == study_id)
    )
    finished: set[int] = set()
    waiting: dict[int, int] = {}
    for number, trial_id, state in rows:
        if state == TrialState.WAITING:
            waiting[number] = trial_id
        else:
            finished.add(number)
    return finished, waiting


def insert(
    connection: Connection, study_id: int, trials: Sequence[FrozenTrial], waiting: dict[int, int]
) -> None:
    """Insert `trials` in the order of their numbers; those that waited in the study keep their row."""
    import sqlalchemy
    from optuna.distributions import distribution_to_json
    from optuna.storages._rdb import models

    trials = sorted(trials, key=lambda trial: trial.number)
    table = models.TrialModel.__table__
    values, steps = models.TrialValueModel, models.TrialIntermediateValueModel
    rows: dict[int, dict[str, Any]] = {
        trial.number: {
            "number": trial.number,
            "study_id": study_id,
            "state": trial.state,
            "datetime_start": _utc(trial.datetime_start),
            "datetime_complete": _utc(trial.datetime_complete),
        }
        for trial in trials
    }
    ids = {number: waiting[number] for number in rows if number in waiting}
    for number, trial_id in ids.items():
        _forget(connection, trial_id)
        connection.execute(sqlalchemy.update(table).where(table.c.trial_id == trial_id).values(rows[number]))
    new = [number for number in rows if number not in waiting]
    if new:
        statement = sqlalchemy.insert(table).returning(table.c.trial_id, sort_by_parameter_order=True)
        found = connection.execute(statement, [rows[number] for number in new]).scalars()
        ids |= dict(zip(new, found, strict=True))

    parts: dict[Any, list[dict[str, Any]]] = {
        model: []
        for model in (
            models.TrialParamModel,
            values,
            steps,
            models.TrialUserAttributeModel,
            models.TrialSystemAttributeModel,
        )
    }
    for trial in trials:
        trial_id = ids[trial.number]
        for name, distribution in trial.distributions.items():
            try:
                text = distribution_to_json(distribution)
            except (TypeError, ValueError) as error:
                raise TypeError(
                    f"parameter {name!r}: its choices must be made of what JSON holds, got {distribution!r} ({error})"
                ) from None
            parts[models.TrialParamModel].append(
                {
                    "trial_id": trial_id,
                    "param_name": name,
                    "param_value": float(distribution.to_internal_repr(trial.params[name])),
                    "distribution_json": text,
                }
            )
        for objective, value in enumerate(trial.values or ()):
            stored, kind = values.value_to_stored_repr(float(value))
            parts[values].append(
                {"trial_id": trial_id, "objective": objective, "value": stored, "value_type": kind}
            )
        for step, value in trial.intermediate_values.items():
            stored, step_kind = steps.intermediate_value_to_stored_repr(float(value))
            parts[steps].append(
                {
                    "trial_id": trial_id,
                    "step": int(step),
                    "intermediate_value": stored,
                    "intermediate_value_type": step_kind,
                }
            )
        for model, attributes in (
            (models.TrialUserAttributeModel, trial.user_attrs),
            (models.TrialSystemAttributeModel, trial.system_attrs),
        ):
            for key, attribute in attributes.items():
                text = to_json(attribute, f"trial {trial.number}: attribute {key!r}")
                parts[model].append({"trial_id": trial_id, "key": key, "value_json": text})
    for model, entries in parts.items():
        if entries:
            connection.execute(sqlalchemy.insert(model.__table__), entries)


def _forget(connection: Connection, trial_id: int) -> None:
    """Remove what a waiting trial holds: its final form brings all of it."""
    import sqlalchemy
    from optuna.storages._rdb import models

    for model in (
        models.TrialParamModel,
        models.TrialValueModel,
        models.TrialIntermediateValueModel,
        models.TrialUserAttributeModel,
        models.TrialSystemAttributeModel,
        models.TrialHeartbeatModel,
    ):
        table = model.__table__
        connection.execute(sqlalchemy.delete(table).where(table.c.trial_id == trial_id))


def fail_running(connection: Connection, study_id: int) -> int:
    """Turn trials left RUNNING by a process that has ended into failed ones; return their number."""
    import sqlalchemy
    from optuna.storages._rdb import models
    from optuna.trial import TrialState

    table, attributes = models.TrialModel.__table__, models.TrialUserAttributeModel.__table__
    running = (table.c.study_id == study_id) & (table.c.state == TrialState.RUNNING)
    ids = list(connection.execute(sqlalchemy.select(table.c.trial_id).where(running)).scalars())
    if not ids:
        return 0
    values = models.TrialValueModel.__table__
    for trial_id in ids:
        connection.execute(
            sqlalchemy.delete(attributes).where(
                (attributes.c.trial_id == trial_id) & (attributes.c.key == "error")
            )
        )
        connection.execute(sqlalchemy.delete(values).where(values.c.trial_id == trial_id))
    now = _utc(datetime.now())
    connection.execute(
        sqlalchemy.update(table).where(running).values(state=TrialState.FAIL, datetime_complete=now)
    )
    text = to_json("left running by a process that ended", "error")
    connection.execute(
        sqlalchemy.insert(attributes),
        [{"trial_id": trial_id, "key": "error", "value_json": text} for trial_id in ids],
    )
    return len(ids)
