"""A study's one writer: what it writes Optuna reads, and what goes wrong is said in one message."""

from __future__ import annotations

import ctypes
import datetime
import math
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from manyfit.exceptions import StorageError
from manyfit.model_selection._store import Store, open_store

BEGIN = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456)
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "float": FloatDistribution(-1.0, 1e300),
    "log": FloatDistribution(1e-300, 1.0, log=True),
    "step": FloatDistribution(0.0, 1.0, step=0.1),
    "int": IntDistribution(-5, 2**31),
    "int log": IntDistribution(1, 1024, log=True),
    "int step": IntDistribution(0, 10, step=5),
    "categorical": CategoricalDistribution([None, True, 1, 2.5, "größe", "日本 '\"\\"]),
    "ünïcode ✓": CategoricalDistribution(["a"]),
}
PARAMS: dict[str, Any] = {
    "float": 0.1 + 0.2,
    "log": 1e-300,
    "step": 0.3,
    "int": 2**31 - 7,
    "int log": 3,
    "int step": 5,
    "categorical": "日本 '\"\\",
    "ünïcode ✓": "a",
}


def trial(number: int, value: float | None = None, **changes: Any) -> FrozenTrial:
    arguments: dict[str, Any] = {
        "number": number,
        "state": TrialState.COMPLETE,
        "value": float(number) if value is None and "values" not in changes else value,
        "datetime_start": BEGIN,
        "datetime_complete": BEGIN + datetime.timedelta(seconds=number),
        "params": {"a": 0.5},
        "distributions": {"a": FloatDistribution(0.0, 1.0)},
        "user_attrs": {},
        "system_attrs": {},
        "intermediate_values": {},
        "trial_id": number,
    }
    return FrozenTrial(**(arguments | changes))


def failed(number: int, error: str) -> FrozenTrial:
    changes = {"state": TrialState.FAIL, "values": None, "user_attrs": {"error": error}}
    return trial(number, **changes)


def content(trials: list[FrozenTrial]) -> list[str]:
    """Everything but the row ids; as text, so that NaN equals NaN."""
    found = []
    for entry in trials:
        parts = dict(entry.__dict__)
        del parts["_trial_id"]
        for key in ("_user_attrs", "_system_attrs", "intermediate_values"):
            parts[key] = sorted(parts[key].items())
        found.append(repr(parts))
    return found


def make(
    storage: Any, name: str | None = "study", fingerprint: dict[str, Any] | None = None, **more: Any
) -> Store:
    more = {"load_if_exists": True, "directions": ["minimize"]} | more
    return open_store(storage, name, more.pop("directions"), fingerprint or {}, **more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study.db"


def url(path: Path) -> str:
    return f"sqlite:///{path}"


KINDS = [
    trial(0, params=PARAMS, distributions=DISTRIBUTIONS),
    trial(1, math.inf, intermediate_values={0: math.nan, 1: math.inf, 2: -math.inf, 70: 5e-324}),
    trial(2, -math.inf, params={}, distributions={}),
    failed(3, "Traceback " + "äé\n\t\0" * 100_000),
    trial(4, state=TrialState.PRUNED, values=None, intermediate_values={3: 1.5}),
    trial(5, state=TrialState.PRUNED, value=1.5, intermediate_values={3: 1.5}),
    trial(
        6,
        system_attrs={"constraints:latency_us": 12.5, "constraints": [1.0, -1.0], "nested": {"x": [1, None]}},
    ),
    trial(7, user_attrs={"": "", "scores": [0.25, math.nan], "ключ": {"a": {"b": 1e308}}, "k" * 512: 1}),
]


def assert_round_trip(storage: Any, address: str) -> None:
    """Write every kind of trial, and read them as any Optuna tool does."""
    with make(storage) as store:
        store.write(KINDS[:3])
        store.write(KINDS[3:])
        assert content(store.trials()) == content(KINDS)
    study = optuna.load_study(study_name="study", storage=address)
    assert content(study.trials) == content(KINDS)
    assert study.trials[6].constraints == KINDS[6].constraints
    assert study.best_trial.number == 2
    assert optuna.get_all_study_names(address) == ["study"]
    # Optuna goes on with it.
    study.optimize(lambda t: t.suggest_float("a", 0.0, 1.0), n_trials=1)
    assert [t.number for t in study.trials] == list(range(9))
    with make(storage) as store:
        assert len(store.trials()) == 9


def test_optuna_reads_what_was_written(path: Path) -> None:
    assert_round_trip(path, url(path))


def test_neither_lock_nor_log_stays(path: Path) -> None:
    with make(path) as store:
        store.write(KINDS)
        assert sorted(os.listdir(path.parent)) == [f"study.db{end}" for end in ("", "-shm", "-wal", ".lock")]
    assert os.listdir(path.parent) == ["study.db"]


def test_memory() -> None:
    store = make(None)
    store.write(KINDS[:2])
    store.write(KINDS[4:])  # 3 comes late
    store.write(KINDS[2:4])
    assert content(store.trials()) == content(KINDS)
    assert content(store.study.trials) == content(KINDS)
    store.study_attrs["seed"] = 7
    assert dict(store.study_attrs) == {"fingerprint": {}, "seed": 7}


def test_multi_objective(path: Path) -> None:
    both = ["minimize", "maximize"]
    trials = [trial(0, values=[1.0, -math.inf]), trial(1, values=[2.0, 3.0]), trial(2, values=[0.5, 4.0])]
    with make(path, directions=both) as store:
        store.write(trials)
        with pytest.raises(ValueError, match=r"trial 3 must have 2 values, got \[3.0\]"):
            store.write([trial(3)])
    study = optuna.load_study(study_name="study", storage=url(path))
    assert content(study.trials) == content(trials)
    assert [t.number for t in study.best_trials] == [2]
    with pytest.raises(
        ValueError, match=r"made with directions \['minimize', 'maximize'\], this search has \['m"
    ):
        make(path)


def test_gaps_are_filled_later(path: Path) -> None:
    with make(path) as store:
        store.write([trial(5), trial(0)])
        store.write([trial(1)])
        assert [t.number for t in store.trials()] == [0, 1, 5]
    with make(path) as store:
        store.write([trial(4), trial(3), trial(2)])
        assert content(store.trials()) == content([trial(n) for n in range(6)])
    assert [t.number for t in optuna.load_study(study_name="study", storage=url(path)).trials] == list(
        range(6)
    )


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_bad_trials_change_nothing(kind: str, path: Path) -> None:
    with make(None if kind == "memory" else path) as store:
        store.write([trial(0)])
        running = trial(1, state=TrialState.RUNNING, values=None, datetime_complete=None)
        for bad, message in [
            (trial(0), "trial 0 has been told already"),
            (running, "trial 1 must be finished to be stored, got state RUNNING"),
            (trial(1, math.nan), "trial 1: .*NaN"),
            (trial(1, params={"a": 2.0}), "trial 1: The value 2.0 of parameter 'a'"),
            (trial(1, state=TrialState.PRUNED, value=math.nan), "trial 1: values must not be NaN"),
        ]:
            with pytest.raises(ValueError, match=message):
                store.write([trial(2), bad])
        with pytest.raises(ValueError, match="trial 1 has been told already"):
            store.write([trial(1), trial(1)])
        assert content(store.trials()) == content([trial(0)])
        store.write([trial(1)])


def test_values_no_json_holds(path: Path) -> None:
    with make(path) as store:
        store.write([trial(0, user_attrs={"a": np.arange(2), "b": np.int64(3), "c": np.float32(0.5)})])
        assert store.trials()[0].user_attrs == {"a": [0, 1], "b": 3, "c": 0.5}
        with pytest.raises(
            TypeError, match="trial 1: attribute 'a' must be made of what JSON holds, got <object"
        ):
            store.write([trial(2), trial(1, user_attrs={"a": object()})])
        with pytest.warns(UserWarning, match="Choices for a categorical distribution"):
            odd = CategoricalDistribution([int, float])
        with pytest.raises(TypeError, match="parameter 'a': its choices must be made of what JSON holds"):
            store.write([trial(1, params={"a": int}, distributions={"a": odd})])
        assert len(store.trials()) == 1
        with pytest.raises(TypeError, match="study attribute 'x' must be made of"):
            store.study_attrs["x"] = object()


def test_study_attributes(path: Path) -> None:
    with make(path, fingerprint={"data": "abc"}) as store:
        store.study_attrs["plan"] = "x" * 100_000
        store.study_attrs["seed"] = np.int64(3)
        store.study_attrs["seed"] = 4
    with make(path, fingerprint={"data": "abc"}) as store:
        assert dict(store.study_attrs) == {"fingerprint": {"data": "abc"}, "plan": "x" * 100_000, "seed": 4}
        assert "other" not in store.study_attrs
        with pytest.raises(TypeError, match="cannot be removed"):
            del store.study_attrs["seed"]


def test_study_of_another_space(path: Path) -> None:
    there = {"space": {"alpha": "Float(0, 1)", "l1": "Int(1, 2)"}, "rows": 100, "x": math.nan}
    make(path, fingerprint=there).close()
    make(path, fingerprint=there).close()
    here = {"space": {"alpha": "Float(0, 2)", "l2": "Int(1, 2)"}, "rows": 100, "x": math.nan}
    with pytest.raises(ValueError, match="made by another search") as caught:
        make(path, fingerprint=here)
    lines = str(caught.value).splitlines()
    assert str(path) in lines[0]
    assert "'study'" in lines[0]
    assert lines[1:] == [
        "  space.alpha: 'Float(0, 1)' in the study, 'Float(0, 2)' here",
        "  space.l1: 'Int(1, 2)' in the study, absent here",
        "  space.l2: absent in the study, 'Int(1, 2)' here",
    ]
    with pytest.raises(ValueError, match="and 2 more"):
        make(path, fingerprint=there | {str(i): i for i in range(12)})
    make(path, "another", fingerprint=here).close()


def test_names(path: Path) -> None:
    make(path, None).close()
    assert optuna.get_all_study_names(url(path)) == ["sweep"]
    with pytest.raises(
        ValueError, match="study 'sweep' is in it already; resume it, or choose another study_name"
    ):
        make(path, None, load_if_exists=False)
    with make(path, None) as store:
        assert not store.created
    make(path, "größe ✓", load_if_exists=False).close()
    with pytest.raises(ValueError, match=r"study_name must be one of \['größe ✓', 'sweep'\], got None"):
        make(path, None)


# Studies that Optuna made


def test_study_of_optunas_own(path: Path) -> None:
    study = optuna.create_study(study_name="study", storage=url(path), direction="minimize")
    study.optimize(lambda t: t.suggest_float("a", 0.0, 1.0), n_trials=2)
    left = study.ask()
    left.suggest_float("a", 0.0, 1.0)
    left.report(1.0, 0)
    left.set_user_attr("error", "old")
    study.enqueue_trial({"a": 0.25}, user_attrs={"mine": 1})
    with make(path, fingerprint={"space": 1}) as store:
        assert [t.state for t in store.trials()] == [TrialState.COMPLETE] * 2 + [TrialState.FAIL]
        assert store.trials()[2].user_attrs["error"] == "left running by a process that ended"
        assert store.trials()[2].datetime_complete is not None
        (waits,) = store.waiting()
        assert waits.number == 3
        assert waits.system_attrs["fixed_params"] == {"a": 0.25}
        done = trial(3, params={"a": 0.25}, user_attrs={"mine": 2})
        store.write([trial(4), done])
        assert content(store.trials()[3:]) == content([done, trial(4)])
        assert store.waiting() == []
    study = optuna.load_study(study_name="study", storage=url(path))
    assert [t.number for t in study.trials] == list(range(5))
    assert content(study.trials[3:]) == content([done, trial(4)])
    with pytest.raises(ValueError, match="space: 1 in the study, 2 here"):
        make(path, fingerprint={"space": 2})


# What goes wrong


def test_wrong_addresses(tmp_path: Path) -> None:
    rule = "storage must be None, a path, 'sqlite:///PATH' or 'postgresql://USER@HOST/DATABASE', got"
    for bad in ["mysql://me:secret@host/db", "http://host/x", "sqlite3:///x", "x://", "", "a\0b"]:
        with pytest.raises(ValueError, match=rule) as caught:
            make(bad)
        assert "secret" not in str(caught.value)
    with pytest.raises(TypeError, match=rule):
        make(3)
    with pytest.raises(ValueError, match="directions must hold 'minimize' or 'maximize', got 'up'"):
        make(None, directions=["up"])
    with pytest.raises(StorageError, match=f"{tmp_path}/no/s.db: its folder {tmp_path}/no does not exist"):
        make(tmp_path / "no" / "s.db")
    with pytest.raises(StorageError, match="must be a file"):
        make(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["with space.db", "größe?.db", "per%20cent.db", "{brace}.db", "a#b&c=d.db", "-x"]
)
def test_odd_file_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for storage in (name, tmp_path / name):
        with make(storage) as store:
            store.write([trial(len(store.trials()))])
    assert os.listdir(tmp_path) == [name]


def test_not_a_database(path: Path) -> None:
    for text in (b"method: bayes\n", b"x" * 10_000):
        path.write_bytes(text)
        with pytest.raises(StorageError, match=f"{path}: it is not an SQLite database; it was left as it is"):
            make(path)
        assert path.read_bytes() == text
    assert os.listdir(path.parent) == ["study.db"]
    path.write_bytes(b"")
    make(path).close()


def test_damaged_database(path: Path) -> None:
    with make(path) as store:
        store.write([trial(n) for n in range(200)])
    sound = path.read_bytes()
    for damaged in (sound[: len(sound) // 2], sound[:4096] + b"\xff" * 20_000 + sound[24096:], sound[:100]):
        path.write_bytes(damaged)
        with pytest.raises(StorageError, match=f"{path}: .*(damaged|malformed|not an SQLite)"):
            make(path)
    path.write_bytes(sound)
    with make(path) as store:
        assert len(store.trials()) == 200


def in_child(function: Callable[[], str], user: int | None = None) -> str:
    """What `function` answers in a forked child, which may be another user."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if user is not None:
                os.setgid(user)
                os.setuid(user)
            answer = function()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(write, answer.encode())
        os._exit(0)
    os.close(write)
    with open(read, encoding="utf-8") as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return answer


def test_read_only_folder(path: Path) -> None:
    def attempt(target: Path) -> Callable[[], str]:
        return lambda: str(make(target).trials())

    if os.geteuid() == 0:  # whom permissions do not stop: another user has the same folder
        for folder in path.parents:
            if folder.stat().st_mode & 0o055 == 0:
                folder.chmod(0o755)
    make(path).close()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    user = 65534 if os.geteuid() == 0 else None
    for target in (path, path.with_name("new.db")):
        answer = in_child(attempt(target), user)
        assert answer == (
            f"StorageError: {target}: cannot write the lock {target}.lock beside it: Permission denied"
        )
    path.parent.chmod(0o755)


def test_full_database_loses_nothing(path: Path) -> None:
    store = make(path)
    store.write([trial(n) for n in range(8)])
    connection = store._connection  # type: ignore[attr-defined]
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    connection.rollback()
    more = [failed(n, "x" * 100_000) for n in range(8, 16)]
    with pytest.raises(
        StorageError, match=f"{path}: the study cannot be written: database or disk is full; the 8 tri"
    ):
        store.write(more)
    assert len(store.trials()) == 8
    assert len(optuna.load_study(study_name="study", storage=url(path)).trials) == 8
    connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    connection.rollback()
    store.write(more)
    store.close()
    with make(path) as store:
        assert len(store.trials()) == 16


def test_no_file_may_grow(path: Path) -> None:
    # A limit on the size of files stops write() half-way, as a full disk does.
    store = make(path)
    store.write([trial(n) for n in range(8)])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(os.path.getsize(path), os.path.getsize(f"{path}-wal"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=f"{path}: the study cannot be written: "):
            store.write([failed(n, "x" * 100_000) for n in range(8, 16)])
        assert len(store.trials()) == 8
        store.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with make(path) as store:
        assert len(store.trials()) == 8
        store.write([trial(8)])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=512k") != 0:
        pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount2(os.fsencode(folder), 2)  # MNT_DETACH


def test_full_disk(small_disk: Path) -> None:
    path = small_disk / "study.db"
    store = make(path)
    written = 0
    with pytest.raises(StorageError, match=f"{path}: the study cannot be written: ") as caught:
        while True:
            store.write([trial(written), failed(written + 1, "x" * 10_000)])
            written += 2
    assert "full" in str(caught.value) or "disk I/O" in str(caught.value)
    assert written > 2
    assert len(store.trials()) == written
    store.close()
    with pytest.raises(StorageError):  # not even the log fits
        make(path).write([failed(written, "x" * 500_000)])
    study = optuna.load_study(study_name="study", storage=url(path))
    assert [t.number for t in study.trials] == list(range(written))


# One writer


def test_another_sweep_is_writing(path: Path) -> None:
    store = make(path)
    for storage in (path, url(path), os.path.relpath(path)):
        with pytest.raises(
            StorageError, match=rf"study.db: another sweep is writing to it \(pid {os.getpid()} on "
        ):
            make(storage)
    store.write([trial(0)])
    store.close()
    store.close()
    with pytest.raises(StorageError, match="the study is closed"):
        store.write([trial(1)])
    assert len(store.trials()) == 1  # may still be read
    with make(path) as store:
        assert len(store.trials()) == 1


def test_lock_ends_with_its_process(path: Path) -> None:
    code = f"""
import os, signal
from manyfit.model_selection._store import open_store
store = open_store({str(path)!r}, "study", ["minimize"], {{}})
child = os.fork()
if child == 0:  # a child does not carry the lock on
    os.close(1)
    signal.pause()
print(child, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run(
        [sys.executable, "-c", code], check=False, start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert process.returncode == -9
    child = int(process.stdout)
    try:
        assert os.path.exists(f"{path}.lock")
        make(path).close()
        assert not os.path.exists(f"{path}.lock")
    finally:
        os.kill(child, signal.SIGKILL)


def test_tools_may_write_attributes_meanwhile(path: Path) -> None:
    with make(path) as store:
        store.write([trial(0)])
        other = optuna.load_study(study_name="study", storage=url(path))
        other.set_user_attr("note", "seen")
        store.write([trial(1)])
        assert store.study.user_attrs["note"] == "seen"
        assert len(other.trials) == 2
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
