"""Where a study is kept: one process writes finished trials into Optuna's own tables, a batch at a time.

Every Optuna tool reads the result. Trials come in when they are finished, so whatever is killed leaves none
RUNNING, and a batch is in the storage as a whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import stat
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from manyfit.exceptions import StorageError
from manyfit.model_selection import _store_rows as rows
from manyfit.model_selection._store_lock import PATIENCE, FileLock

if TYPE_CHECKING:
    import optuna
    from optuna.study import StudyDirection
    from optuna.trial import FrozenTrial
    from sqlalchemy import Connection

__all__ = ["Store", "open_store"]

PREFIX = "manyfit:"  # of our attributes among a study's user attributes
FINGERPRINT = "fingerprint"
DEFAULT_NAME = "sweep"
_SHOWN = 10  # differences in an error


class StudyAttrs(MutableMapping[str, Any]):
    """What a study remembers besides its trials: seed, fingerprint, plan. Kept at once; JSON values."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _all(self) -> dict[str, Any]:
        with self._store.errors("read"):
            attrs = self._store.study.user_attrs
        return {key.removeprefix(PREFIX): attrs[key] for key in attrs if key.startswith(PREFIX)}

    def __getitem__(self, key: str) -> Any:
        return self._all()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        plain = json.loads(rows.to_json(value, f"study attribute {key!r}"))
        with self._store.errors("written"):
            self._store.study.set_user_attr(PREFIX + key, plain)

    def __delitem__(self, key: str) -> None:
        raise TypeError("study attributes cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Store:
    """A study in memory; in a database, see :class:`DatabaseStore`. Made by :func:`open_store`.

    Attributes
    ----------
    study : optuna.Study
        For reading.
    study_attrs : mutable mapping
    where : str
        Storage as errors name it.
    created : bool
        The study is new.
    """

    where = "memory"
    created = True

    def __init__(self, study: optuna.Study) -> None:
        self.study = study
        self.study_attrs = StudyAttrs(self)
        self._early: list[FrozenTrial] = []  # those whose predecessors are still missing

    def trials(self) -> list[FrozenTrial]:
        """Finished trials, by number. Not to be changed."""
        with self.errors("read"):
            known = self.study.get_trials(deepcopy=False)
        return [trial for trial in known if trial.state.is_finished()] + self._early

    def waiting(self) -> list[FrozenTrial]:
        """Trials that somebody enqueued; one written under the number of such a trial takes its place."""
        from optuna.trial import TrialState

        with self.errors("read"):
            return self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def write(self, trials: Sequence[FrozenTrial]) -> None:
        """Add finished trials: all of them, or none if an error is raised.

        Raises
        ------
        ValueError
            If a trial is not finished, was told before, or could not be read again.
        StorageError
            If the storage did not take them.
        """
        trials = self._checked(trials)
        self._refuse({trial.number for trial in self.trials()}, trials)
        early = sorted([*self._early, *trials], key=lambda trial: trial.number)
        while early and early[0].number == len(self.study.get_trials(deepcopy=False)):
            self.study.add_trial(early.pop(0))
        self._early = early

    def _checked(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        for trial in trials:
            rows.check(trial, len(self.study.directions))
        self._refuse(set(), trials)
        return list(trials)

    def _refuse(self, told: set[int], trials: Sequence[FrozenTrial]) -> None:
        told = set(told)
        for trial in trials:
            if trial.number in told:
                raise ValueError(f"{self.where}: trial {trial.number} has been told already")
            told.add(trial.number)

    @contextlib.contextmanager
    def errors(self, what: str) -> Iterator[None]:
        """Say in one message what failed in the block."""
        yield

    def close(self) -> None:
        """Let others write; what was written can still be read."""

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DatabaseStore(Store):
    """A study in SQLite or PostgreSQL."""

    def __init__(self, url: str, where: str, lock: FileLock | None) -> None:
        self.url = url
        self.where = where
        self._file_lock = lock
        self._early = []
        self._connection: Connection | None = None

    def open(
        self,
        name: str | None,
        directions: Sequence[StudyDirection],
        fingerprint: Mapping[str, Any],
        load_if_exists: bool,
    ) -> None:
        """Connect, lock, and find or make the study."""
        import sqlalchemy

        with self.errors("opened"), quiet():
            self._engine = sqlalchemy.create_engine(self.url, **self._engine_options())
            if self._file_lock is None:
                # Two that find an empty database at the same moment: one makes the tables, the other waits.
                with self._engine.connect() as connection:
                    connection.execute(
                        sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": lock_key("")}
                    )
                    self._open_study(name, directions, fingerprint, load_if_exists)
                    connection.execute(
                        sqlalchemy.text("SELECT pg_advisory_unlock(:key)"), {"key": lock_key("")}
                    )
            else:
                self._open_study(name, directions, fingerprint, load_if_exists)
            self._lock()
            connection = self._connected()
            with connection.begin():
                self.failed = rows.fail_running(connection, self.study._study_id)
            with connection.begin():
                self._told, self._waiting = rows.told(connection, self.study._study_id)
        if FINGERPRINT not in self.study_attrs:
            self.study_attrs[FINGERPRINT] = dict(fingerprint)

    def _engine_options(self) -> dict[str, Any]:
        if self._file_lock is not None:
            return {"connect_args": {"timeout": 60}}  # seconds to wait for a tool that writes attributes
        name = f"manyfit pid {os.getpid()} on {socket.gethostname()}"
        return {"connect_args": {"application_name": name}, "pool_pre_ping": True}

    def _open_study(
        self,
        name: str | None,
        directions: Sequence[StudyDirection],
        fingerprint: Mapping[str, Any],
        load_if_exists: bool,
    ) -> None:
        import optuna

        storage = optuna.storages.RDBStorage(escaped(self.url), engine_kwargs=self._engine_options())
        self._storage = storage
        known = {study.study_name: study for study in storage.get_all_studies()}
        if name is None:
            if len(known) > 1:
                raise ValueError(f"{self.where}: study_name must be one of {sorted(known)}, got None")
            name = next(iter(known), DEFAULT_NAME)
        self.created = name not in known
        if self.created:
            self.study = optuna.create_study(storage=storage, study_name=name, directions=directions)
        else:
            if not load_if_exists:
                raise ValueError(
                    f"{self.where}: study {name!r} is in it already; resume it, or choose another study_name"
                )
            self.study = optuna.load_study(storage=storage, study_name=name)
            there = [direction.name.lower() for direction in self.study.directions]
            here = [direction.name.lower() for direction in directions]
            if there != here:
                raise ValueError(
                    f"{self.where}: study {name!r} was made with directions {there}, this search has {here}"
                )
        self.study_attrs = StudyAttrs(self)
        stored = self.study_attrs.get(FINGERPRINT)
        if stored is not None:
            differences = list(_differences(stored, json.loads(rows.to_json(fingerprint, "fingerprint"))))
            if differences:
                shown = "\n".join(f"  {line}" for line in differences[:_SHOWN])
                more = f"\n  and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
                raise ValueError(
                    f"{self.where}: study {name!r} was made by another search; choose another study_name, "
                    f"or search as it did:\n{shown}{more}"
                )

    # --- one writer ---

    def _connected(self) -> Connection:
        """The connection that writes. On PostgreSQL it holds the lock: without the lock nothing is written."""
        if self._connection is None:
            raise StorageError(f"{self.where}: the study is closed")
        return self._connection

    def _lock(self) -> None:
        import sqlalchemy

        self._connection = connection = self._engine.connect()
        if self._file_lock is not None:
            return
        key = {"key": lock_key(self.study.study_name)}
        with connection.begin():
            # A killed sweep keeps its lock until the server has seen its end of the connection close.
            connection.execute(sqlalchemy.text(f"SET LOCAL lock_timeout = '{int(1000 * PATIENCE)}ms'"))
            try:
                with connection.begin_nested():
                    connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), key)
            except sqlalchemy.exc.OperationalError as error:
                if getattr(error.orig, "sqlstate", None) != "55P03":  # lock_not_available
                    raise
                holder = connection.execute(
                    sqlalchemy.text(
                        "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
                        " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
                        " AND ((classid::bigint << 32) | objid::bigint) = :key"
                    ),
                    key,
                ).scalar()
                raise StorageError(
                    f"{self.where}: another sweep is writing to study {self.study.study_name!r} "
                    f"({holder or 'pid unknown'})"
                ) from None

    def write(self, trials: Sequence[FrozenTrial]) -> None:
        """Add finished trials in one transaction: all of them, or none if an error is raised."""
        trials = self._checked(trials)
        self._connected()
        self._refuse(self._told, trials)
        if not trials:
            return
        with self.errors(
            "written", f"the {len(trials)} trials of this batch were not stored; resume repeats them"
        ):
            if not self._insert(trials):
                # The server went away. Whether it had taken the batch, only it can tell.
                with contextlib.suppress(Exception):
                    self._connected().close()
                self._lock()
                connection = self._connected()
                with connection.begin():
                    there, self._waiting = rows.told(connection, self.study._study_id)
                missing = [trial for trial in trials if trial.number not in there]
                if missing and not self._insert(missing):
                    raise StorageError(
                        f"{self.where}: the connection was lost twice while a batch was written"
                    )
        self._told.update(trial.number for trial in trials)

    def _insert(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether the trials are stored; False if the connection was lost."""
        import sqlalchemy

        connection = self._connected()
        if connection.closed:  # lost before, and nobody was there to go on
            return False
        try:
            with connection.begin():
                rows.insert(connection, self.study._study_id, trials, self._waiting)
        except sqlalchemy.exc.DBAPIError as error:
            if error.connection_invalidated:
                return False
            raise
        return True

    # --- errors ---

    @contextlib.contextmanager
    def errors(self, what: str, then: str = "") -> Iterator[None]:
        """Say in one message what failed in the block."""
        import optuna
        import sqlalchemy

        try:
            yield
        except (
            sqlalchemy.exc.SQLAlchemyError,
            optuna.exceptions.StorageInternalError,
            sqlite3.Error,
        ) as error:
            reason: BaseException = error
            while True:
                inner = getattr(reason, "orig", None) or reason.__cause__
                if inner is None:
                    break
                reason = inner
            text = " ".join(str(reason).split())
            if "file is not a database" in text:
                text = "it is not an SQLite database"
            then = f"; {then}" if then else ""
            raise StorageError(f"{self.where}: the study cannot be {what}: {text}{then}") from error

    def close(self) -> None:
        """Let others write; what was written can still be read."""
        import sqlalchemy

        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                connection.close()
        if hasattr(self, "_engine"):
            self._engine.dispose()  # ends the connection, and with it the server's lock
        if hasattr(self, "_storage"):
            self._storage.remove_session()
            self._storage.engine.dispose()
        if self._file_lock is not None:
            self._file_lock.release()


def open_store(
    storage: str | os.PathLike[str] | None,
    study_name: str | None,
    directions: Sequence[str | StudyDirection],
    fingerprint: Mapping[str, Any],
    *,
    load_if_exists: bool = False,
) -> Store:
    """Open or make a study, as the one process that writes to it.

    Parameters
    ----------
    storage : str, path or None
        None keeps the study in memory. A path or ``sqlite:///PATH`` is an SQLite file, ``postgresql://...`` a
        server's database.
    study_name : str or None
        None: the only study in the storage, or a new one named "sweep".
    directions : sequence of {"minimize", "maximize"}
    fingerprint : dict
        What makes the search: its space and data. Kept in a new study, compared with an existing one's.
    load_if_exists : bool
        Go on with a study that exists. Trials that Optuna left RUNNING in it become failed ones.

    Raises
    ------
    ValueError
        If the storage has no known form, the study exists and `load_if_exists` is false, or another search
        made it.
    StorageError
        If the storage cannot be used, or another sweep is writing to it.
    """
    import optuna

    order = [_direction(entry) for entry in directions]
    if storage is None or storage in ("sqlite://", "sqlite:///:memory:"):
        with quiet():
            study = optuna.create_study(directions=order, study_name=study_name)
        store = Store(study)
        store.study_attrs[FINGERPRINT] = dict(fingerprint)
        return store
    url, where, path = resolve(storage)
    lock = None if path is None else _prepare_file(path)
    database = DatabaseStore(url, where, lock)
    try:
        database.open(study_name, order, fingerprint, load_if_exists)
    except BaseException:
        database.close()
        raise
    return database


def _direction(entry: str | StudyDirection) -> StudyDirection:
    from optuna.study import StudyDirection

    if isinstance(entry, StudyDirection) and entry != StudyDirection.NOT_SET:
        return entry
    if entry in ("minimize", "maximize"):
        return StudyDirection[str(entry).upper()]
    raise ValueError(f"directions must hold 'minimize' or 'maximize', got {entry!r}")


def resolve(storage: str | os.PathLike[str]) -> tuple[str, str, str | None]:
    """URL for SQLAlchemy, name for people, and path of a file."""
    import sqlalchemy

    rule = "storage must be None, a path, 'sqlite:///PATH' or 'postgresql://USER@HOST/DATABASE'"
    try:
        text = os.fspath(storage)
    except TypeError:
        raise TypeError(f"{rule}, got {storage!r}") from None
    if not text or "\0" in text:
        raise ValueError(f"{rule}, got {storage!r}")
    if "://" not in text:
        path = text
    else:
        try:
            url = sqlalchemy.make_url(text)
        except (sqlalchemy.exc.ArgumentError, ValueError):
            raise ValueError(f"{rule}, got {text!r}") from None
        backend = url.drivername.split("+")[0]
        if backend in ("postgres", "postgresql"):
            try:
                import psycopg  # noqa: F401  # is it there?
            except ImportError:
                raise ImportError(
                    f"storage={url.render_as_string()!r} needs psycopg: pip install 'manyfit[postgres]'"
                ) from None
            url = url.set(drivername="postgresql+psycopg")
            return url.render_as_string(hide_password=False), url.render_as_string(), None
        if backend != "sqlite" or not url.database:
            raise ValueError(f"{rule}, got {url.render_as_string()!r}")
        path = url.database
    full = os.path.abspath(path)
    return sqlalchemy.URL.create("sqlite", database=full).render_as_string(), path, full


def escaped(url: str) -> str:
    return url.replace("{", "{{").replace("}", "}}")  # Optuna fills in a template


def assert_sqlite(path: str, where: str, otherwise: str) -> None:
    """Raise StorageError where a file cannot be read or does not begin as an SQLite database does."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise StorageError(f"{where}: cannot be read: {error.strerror}") from error
    if head != b"SQLite format 3\0":
        raise StorageError(f"{where}: {otherwise}")


def _prepare_file(path: str) -> FileLock:
    """Lock an SQLite file, look whether it is a sound one, and turn on its write-ahead log."""
    folder = os.path.dirname(path)
    try:
        there = os.stat(folder)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "does not exist" if missing else f"cannot be read: {error.strerror}"
        raise StorageError(f"{path}: its folder {folder} {why}") from None
    if not stat.S_ISDIR(there.st_mode):
        raise StorageError(f"{path}: {folder} is no folder")
    if os.path.exists(path) and not os.path.isfile(path):
        raise StorageError(f"{path}: must be a file, and is not one")
    if os.path.isfile(path) and os.path.getsize(path):
        # Before anything is written beside it.
        assert_sqlite(path, path, "it is not an SQLite database; it was left as it is")
    lock = FileLock(path)
    try:
        connection = sqlite3.connect(path, timeout=60)
        try:
            connection.execute(
                "PRAGMA journal_mode=WAL"
            )  # where a file system has none, SQLite keeps its own
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        lock.release()
        damaged = isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error)
        raise StorageError(_damaged(path, str(error)) if damaged else f"{path}: {error}") from error
    if found != "ok":
        lock.release()
        raise StorageError(_damaged(path, " ".join(found.split())))
    return lock


def _damaged(path: str, how: str) -> str:
    return (
        f"{path}: the database is damaged ({how}); it was left as it is. "
        f"What can be read: sqlite3 {path} .recover | sqlite3 NEW"
    )


def lock_key(name: str) -> int:
    """Number of PostgreSQL's lock for a study; without a name, for making the tables. 0 <= key < 2^63."""
    digest = hashlib.sha256(f"manyfit study {name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """Lines that say where two fingerprints differ."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in [*there, *(key for key in here if key not in there)]:
            inner = f"{path}.{key}" if path else str(key)
            if key not in here:
                yield f"{inner}: {there[key]!r} in the study, absent here"
            elif key not in there:
                yield f"{inner}: absent in the study, {here[key]!r} here"
            else:
                yield from _differences(there[key], here[key], inner)
    elif json.dumps(there) != json.dumps(here):  # so that NaN equals NaN, and 1 is not 1.0
        yield f"{path}: {there!r} in the study, {here!r} here"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's messages about studies made."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)
