"""A study as it stands in its storage, whoever is writing to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyfit.exceptions import StorageError
from manyfit.sweep.file import Sweep, locate, read_sweep
from manyfit.sweep.problems import near
from manyfit.sweep.tally import Tally

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = ["PATH", "PLAN", "RUNS", "TEXT", "View", "is_sweep_file", "open_view", "writer"]

# Attributes of a study.
TEXT = "manyfit:sweep"
PATH = "manyfit:sweep_path"
PLAN = "manyfit:plan"  # with the number of the run
RUNS = "manyfit:runs"

_SUFFIXES = (".yaml", ".yml")


def is_sweep_file(place: str) -> bool:
    """Whether a place is a sweep file rather than a storage."""
    return "://" not in place and place.lower().endswith(_SUFFIXES)


@dataclass
class View:
    """A study, for reading.

    Attributes
    ----------
    study : optuna.Study
    url : str
        The storage: the path of a file, or a URL.
    where : str
        The storage as people name it.
    place : str
        As the user named it.
    trials : list of FrozenTrial
        All of them, by number.
    text : str
        The sweep file that it was made by; empty where there was none.
    path : Path or None
        Where that file was.
    plans : list of str
        What was shared, in each run that computed something.
    runs : list of dict
        When each run began, on which machine, and how far it was to go.
    """

    study: optuna.Study
    url: str
    where: str
    place: str
    trials: list[FrozenTrial]
    text: str
    path: Path | None
    plans: list[str]
    runs: list[dict[str, Any]]

    @property
    def directions(self) -> list[str]:
        """Of the objectives: "maximize" or "minimize"."""
        return [direction.name.lower() for direction in self.study.directions]

    def tally(self) -> Tally:
        """Count the trials."""
        tally = Tally(self.directions)
        tally.add(self.trials)
        return tally

    @property
    def plan(self) -> str:
        """What was shared, in words."""
        return "; then ".join(self.plans)

    def begun(self) -> datetime | None:
        """When the last run began, by the clock of this machine."""
        if not self.runs:
            return None
        begun = datetime.fromisoformat(self.runs[-1]["begun"])
        return begun.astimezone().replace(tzinfo=None) if begun.tzinfo else begun

    def sweep(self, *, with_data: bool = False) -> Sweep:
        """What the sweep file said, as it was when the sweep was last run."""
        if not self.text:
            raise ValueError(
                f"{self.where}: the study {self.study.study_name!r} was not made by manyfit sweep"
            )
        return read_sweep(self.path or "sweep.yaml", text=self.text, with_data=with_data)

    def names(self) -> list[str]:
        """Names of the objectives."""
        try:
            names = [goal.name for goal in self.sweep().goals]
        except (ValueError, OSError):
            names = []
        if len(names) == len(self.directions):
            return names
        return (
            ["score"]
            if len(self.directions) == 1
            else [f"objective {i}" for i in range(len(self.directions))]
        )


def open_view(place: str, name: str | None = None) -> View:
    """Open the study of a sweep file, or one in a storage.

    Raises
    ------
    StorageError
        If there is none.
    """
    import optuna

    from manyfit.model_selection._store import assert_sqlite, escaped, quiet, resolve

    storage = place
    if is_sweep_file(place):
        storage, own = locate(place)
        name = name or own
    url, where, path = resolve(storage)
    if path is not None and not os.path.exists(path):
        then = f": manyfit sweep run {place} makes it" if is_sweep_file(place) else _near_file(path)
        raise StorageError(f"{where}: there is no study yet{then}")
    if path is not None:
        assert_sqlite(path, where, "it is neither a sweep file (.yaml) nor an SQLite database")
    with quiet():
        try:
            there = optuna.storages.RDBStorage(escaped(url), skip_table_creation=True)
            names = [each.study_name for each in there.get_all_studies()]
        except Exception as error:
            reason: BaseException = error
            while (inner := getattr(reason, "orig", None) or reason.__cause__) is not None:
                reason = inner
            text = " ".join(str(reason).split())
            raise StorageError(f"{where}: the study cannot be read: {text}") from error
        if name is None and len(names) > 1:
            raise StorageError(f"{where}: --name must be one of {', '.join(map(repr, names))}, got none")
        name = name or next(iter(names), "")
        if name not in names:
            hint = near(name, names) or (f"; it has {', '.join(map(repr, names))}" if names else "")
            raise StorageError(
                f"{where}: there is no study {name!r}{hint}" if name else f"{where}: holds no study"
            )
        study = optuna.load_study(storage=there, study_name=name)
    attrs = study.user_attrs
    path_of_file, runs = attrs.get(PATH), attrs.get(RUNS, [])
    return View(
        study,
        path or url,
        where,
        place,
        study.get_trials(deepcopy=False),
        attrs.get(TEXT, ""),
        Path(path_of_file) if path_of_file else None,
        [attrs[key] for i in range(len(runs)) if (key := f"{PLAN}:{i + 1}") in attrs],
        runs,
    )


def writer(view: View) -> str:
    """Who is writing to a study: ``pid 12 on host``; empty for nobody."""
    return _lock_in_database(view) if "://" in view.url else _lock_of_file(view.url)


def _lock_of_file(path: str) -> str:
    import fcntl

    try:
        descriptor = os.open(path + ".lock", os.O_RDONLY)
    except OSError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return os.read(descriptor, 200).decode(errors="replace").strip() or "a process"
    else:
        return ""
    finally:
        os.close(descriptor)


def _lock_in_database(view: View) -> str:
    import sqlalchemy

    from manyfit.model_selection._store import lock_key

    query = sqlalchemy.text(
        "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
        " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND ((classid::bigint << 32) | objid::bigint) = :key"
    )
    engine = sqlalchemy.create_engine(view.url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            found = connection.execute(query, {"key": lock_key(view.study.study_name)}).scalar()
    except sqlalchemy.exc.SQLAlchemyError:
        return ""
    return "" if found is None else str(found).removeprefix("manyfit ") or "a process"


def _near_file(path: str) -> str:
    folder = Path(path).parent
    return near(Path(path).name, [each.name for each in folder.iterdir()]) if folder.is_dir() else ""
