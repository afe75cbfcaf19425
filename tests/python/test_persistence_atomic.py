"""save leaves the old file or the new one under the name, whatever happens in between."""

from __future__ import annotations

import errno
import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest

import manyfit as mf
from manyfit.linear_model import Ridge


def model(value: float, size: int = 3) -> Ridge:
    """Return a Ridge whose coefficients are all `value`: a mixture of two would show."""
    est = Ridge(alpha=value)
    est.n_features_in_, est.coef_, est.intercept_ = size, np.full(size, value), 0.0
    est.n_iter_, est.solver_, est.fit_backend_ = None, "cholesky", "manyfit"
    return est


def value_in(path: Path) -> float:
    est = mf.load(path)
    assert np.all(est.coef_ == est.alpha)
    return float(est.alpha)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    mf.save(model(1.0), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def only(path: Path) -> bool:
    """Tell whether `path` is alone in its folder: nothing temporary stayed."""
    return [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_replaces(path: Path) -> None:
    mf.save(model(2.0, 1000), path)
    assert value_in(path) == 2.0
    assert only(path)


# Failures


class Stop(BaseException):
    """Neither an OSError nor an Exception, as KeyboardInterrupt."""


@pytest.mark.parametrize("error", [OSError(errno.EIO, "disk on fire"), KeyboardInterrupt(), Stop()], ids=repr)
@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_failure_leaves_the_old_file(
    error: BaseException, step: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(type(error)):
            mf.save(model(2.0), path)
    assert path.read_bytes() == before
    assert only(path)


def test_full_disk(path: Path) -> None:
    # A limit on the size of files stops write() half-way, as a full disk does.
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, hard))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            mf.save(model(2.0, 10**6), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == before
    assert only(path)


def test_natural_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        mf.save(model(1.0), tmp_path / "missing" / "model")
    assert caught.value.filename == str(tmp_path / "missing" / "model")
    for folder in (tmp_path, f"{tmp_path}/new/"):
        with pytest.raises(IsADirectoryError) as caught:
            mf.save(model(1.0), folder)
        assert caught.value.filename == str(folder)
    with pytest.raises(OSError, match="not a regular file"):
        mf.save(model(1.0), os.devnull)
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        mf.save(model(1.0), tmp_path / "file" / "model")
    with pytest.raises(TypeError):
        mf.save(model(1.0), 3)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        mf.save(model(1.0), tmp_path / "loop")
    monkeypatch.setattr(os, "access", lambda *args: False)  # root may write everything
    with pytest.raises(PermissionError):
        mf.save(model(1.0), tmp_path / "file")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "loop"]


# Order of the steps


def test_file_then_name_then_folder_reach_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []
    fsync, replace = os.fsync, os.replace

    def note_sync(descriptor: int) -> None:
        info = os.fstat(descriptor)
        steps.append(("folder", None) if stat.S_ISDIR(info.st_mode) else ("file", info.st_size))
        fsync(descriptor)

    def note_replace(source: str, target: str) -> None:
        steps.append(("rename", os.stat(source).st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    mf.save(model(2.0, 500), path)
    size = path.stat().st_size
    assert steps == [("file", size), ("rename", size), ("folder", None)]


# Names


def test_symbolic_links_are_followed(path: Path) -> None:
    other = path.parent / "other"
    other.mkdir()
    (other / "link").symlink_to("../model.safetensors")
    (other / "dangling").symlink_to("new")
    mf.save(model(2.0), other / "link")
    mf.save(model(3.0), other / "dangling")
    assert (other / "link").is_symlink()
    assert (other / "dangling").is_symlink()
    assert value_in(path) == 2.0
    assert value_in(other / "new") == 3.0
    assert {entry.name for entry in other.iterdir()} == {"link", "dangling", "new"}


def test_relative_and_long_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    longest = "x" * os.pathconf(tmp_path, "PC_NAME_MAX")
    mf.save(model(4.0), longest)
    assert value_in(tmp_path / longest) == 4.0
    assert only(tmp_path / longest)


@pytest.fixture
def umask() -> Iterator[int]:
    old = os.umask(0o027)
    yield 0o027
    os.umask(old)


def test_permissions_are_those_of_open(umask: int, tmp_path: Path) -> None:
    path = tmp_path / "model"
    mf.save(model(1.0), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    for mode in (0o600, 0o664):
        path.chmod(mode)
        mf.save(model(2.0), path)
        assert stat.S_IMODE(path.stat().st_mode) == mode


# Many at once, and sudden death


def test_concurrent_saves_and_loads(path: Path) -> None:
    """Each load meets one whole model, each save succeeds, and nothing temporary stays."""
    failures: list[BaseException] = []
    ended = threading.Event()

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def save(value: float) -> Callable[[], None]:
        def work() -> None:
            for _ in range(20):
                mf.save(model(value, 20_000), path)

        return work

    def load() -> None:
        while not ended.is_set():
            assert value_in(path) in (1.0, 2.0, 3.0, 4.0)

    reader = guarded(load)
    writers = [guarded(save(value)) for value in (2.0, 3.0, 4.0)]
    for writer in writers:
        writer.join()
    ended.set()
    reader.join()
    assert not failures
    assert only(path)


def test_kill_in_the_middle_of_saving(path: Path, run_python: Callable[..., CompletedProcess[str]]) -> None:
    """SIGKILL a child that saves without pause, at random moments: the file is always whole."""
    done = run_python(
        """
        import os, random, signal, time, warnings
        import numpy as np
        import manyfit as mf
        from manyfit.linear_model import Ridge

        # Python warns of threads in a process that forks; the ones of a BLAS do not matter to saving.
        warnings.simplefilter("ignore", DeprecationWarning)

        def model(value):
            est = Ridge(alpha=value)
            est.n_features_in_, est.coef_, est.intercept_ = 200_000, np.full(200_000, value), 0.0
            return est

        mf.save(model(0.0), "model.safetensors")
        mf.load("model.safetensors")
        seen = set()
        for round in range(25):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                new = [model(round + 0.25), model(round + 0.5)]
                os.write(writing, b"saving")
                while True:
                    for est in new:
                        mf.save(est, "model.safetensors")
            os.read(reading, 6)
            time.sleep(random.random() * 0.02)  # the moment of death, not a meeting point
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            est = mf.load("model.safetensors")
            assert np.all(est.coef_ == est.alpha), "torn"
            assert est.alpha <= round + 0.5
            seen.add(est.alpha)
        left = [name for name in os.listdir() if name != "model.safetensors"]
        assert all(name.startswith(".manyfit-") and name.endswith(".tmp") for name in left), left
        print(len(seen), len(left))
        """
    )
    assert done.returncode == 0, done.stderr
    versions, interrupted = map(int, done.stdout.split())
    assert versions > 1, "no save was ever completed"
    assert interrupted > 0, "no save was ever interrupted"
