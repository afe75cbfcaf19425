"""The store in PostgreSQL, on a real server that the tests start."""

from __future__ import annotations

import gc
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from manyfit.exceptions import StorageError
from manyfit.model_selection._store import Store, open_store

pytest.importorskip("psycopg")
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Optuna's own connections
    pytest.mark.xdist_group("postgres"),
]
optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Connections that Optuna leaves open end here, not in the midst of another test."""
    yield
    gc.collect()


def binaries() -> Path | None:
    """Folder of PostgreSQL's programs."""
    found = shutil.which("initdb")
    folders = (
        [Path(found).resolve().parent]
        if found
        else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    )
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class Server:
    """A server on a Unix socket in a folder of its own."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs = programs
        self.folder = folder
        self.user: dict[str, Any] = {}
        if os.geteuid() == 0:  # whom initdb refuses
            try:
                account = pwd.getpwnam("postgres")
            except KeyError:
                account = pwd.getpwnam("nobody")
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
            os.chown(folder, account.pw_uid, account.pw_gid)
        self.run("initdb", "-A", "trust", "-U", "me", "-E", "UTF8", "--no-sync", "--no-locale")
        self.start()

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.programs / program, "-D", self.folder / "data", *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **self.user,
        )

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self.run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-w", "-m", "immediate", "stop")

    def url(self, name: str) -> str:
        return f"postgresql://me:secret@/{name}?host={self.folder}"

    def new(self, name: str) -> str:
        """URL of a new, empty database."""
        import psycopg

        with psycopg.connect(f"host={self.folder} user=me dbname=postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)


@pytest.fixture(scope="module")
def store_tests() -> Any:
    """What the tests of the store in a file are made of."""
    spec = importlib.util.spec_from_file_location("store_tests", Path(__file__).with_name("test_store.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL's programs (initdb, pg_ctl) are not installed")
    # Not below TMPDIR: a socket's path must be short, and the server's account must reach it.
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    try:
        server = Server(programs, folder)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    return server.new(request.node.name)


def make(url: str, name: str | None = "study", **more: Any) -> Store:
    return open_store(
        url, name, ["minimize"], more.pop("fingerprint", {}), **{"load_if_exists": True, **more}
    )


def test_optuna_reads_what_was_written(url: str, store_tests: Any) -> None:
    store_tests.assert_round_trip(url, url.replace("postgresql:", "postgresql+psycopg:"))


def test_another_space_and_a_bad_trial(url: str, store_tests: Any) -> None:
    make(url, fingerprint={"space": 1}).close()
    with pytest.raises(ValueError, match="space: 1 in the study, 2 here"):
        make(url, fingerprint={"space": 2})
    with make(url, fingerprint={"space": 1}) as store:
        store.write([store_tests.trial(0)])
        with pytest.raises(StorageError, match="the study cannot be written: .*too long") as caught:
            store.write([store_tests.trial(1), store_tests.trial(2, user_attrs={"k" * 600: 1})])
        assert "secret" not in str(caught.value)
        store.write([store_tests.trial(1)])
        assert [t.number for t in store.trials()] == [0, 1]


def test_two_sweeps_at_once(url: str, store_tests: Any) -> None:
    with make(url) as store:
        with pytest.raises(
            StorageError, match=rf"another sweep is writing to study 'study' \(manyfit pid {os.getpid()} on"
        ):
            make(url)
        store.write([store_tests.trial(0)])
        with make(url, "größe") as other:  # another study of the same database
            other.write([store_tests.trial(0)])
            assert len(other.trials()) == 1
    with make(url) as store:
        assert len(store.trials()) == 1


def test_tables_are_made_once(url: str) -> None:
    """Several sweeps find an empty database at the same moment."""
    code = """
import sys
from manyfit.model_selection._store import open_store
input()
open_store(sys.argv[1], sys.argv[2], ["minimize"], {}).close()
"""
    command = [sys.executable, "-c", code, url]
    processes = [
        subprocess.Popen([*command, str(i)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for i in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, errors


def test_supervisor_killed(url: str) -> None:
    """Its lock ends with it, and what it told is there."""
    code = """
import sys
from manyfit.model_selection._store import open_store
from optuna.trial import create_trial
store = open_store(sys.argv[1], "study", ["minimize"], {})
for number in range(1000000):
    trial = create_trial(value=1.0)
    trial.number = number
    store.write([trial])
    print(number, flush=True)
"""
    told = -1
    with subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told = int(line)
            if told == 20:
                os.kill(process.pid, signal.SIGKILL)
    with make(url) as store:
        numbers = [trial.number for trial in store.trials()]
    assert numbers in (list(range(told + 1)), list(range(told + 2)))


def test_connection_lost_and_server_restarted(server: Server, url: str, store_tests: Any) -> None:
    with make(url) as store:
        store.write([store_tests.trial(0)])
        server.stop()
        with pytest.raises(
            StorageError, match="the study cannot be written: .*resume repeats them"
        ) as caught:
            store.write([store_tests.trial(1)])
        assert "secret" not in str(caught.value)
        server.start()
        store.write([store_tests.trial(1)])
        server.stop()
        server.start()
        store.write([store_tests.trial(2)])  # the loss is not even noticed
        with pytest.raises(StorageError, match="another sweep is writing"):
            make(url)
        assert [t.number for t in store.trials()] == [0, 1, 2]


def test_nobody_there(server: Server) -> None:
    with pytest.raises(
        StorageError, match=r"postgresql.*me:\*\*\*@.*nothing.*: the study cannot be opened: .*does not exist"
    ):
        make(server.url("nothing"))
    with pytest.raises(StorageError, match="the study cannot be opened: .*"):
        make("postgresql://me@/x?host=/nowhere")


def test_without_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"pip install 'manyfit\[postgres\]'"):
        make("postgresql://me@/x")
