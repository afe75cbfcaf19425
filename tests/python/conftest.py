"""What every Python test shares."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

# As it was before anything imported manyfit: what an import does to it must not reach a fresh interpreter.
_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("MANYFIT_") and name != "OMP_NUM_THREADS"
}


@pytest.fixture(scope="session", autouse=True)
def blas_threads() -> Iterator[None]:
    """One BLAS thread where several processes test at once: more would wait for each other, busily."""
    if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) < 2:
        yield
        return
    import scipy.linalg  # noqa: F401  # brings its BLAS
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


@contextmanager
def kept_environment() -> Iterator[None]:
    """What is done to this process's environment is undone: Dask's clusters set threads in it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def environment() -> Callable[[], AbstractContextManager[None]]:
    """``with environment():`` leaves the environment as it was."""
    return kept_environment


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``run_python(code, **environment)``: run code in a fresh interpreter, warnings as errors.

    It runs away from the source tree and without the settings of manyfit and OpenMP that the test run
    itself may have.
    """

    def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            env=_ENVIRONMENT | environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def terminal() -> Callable[..., tuple[int, str]]:
    """``terminal(command, cwd=None, **environment)``: exit status, and every byte a terminal of 80 columns was sent."""

    def run(command: Sequence[str], cwd: Path | None = None, **environment: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        own = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        with subprocess.Popen(
            command,
            cwd=cwd,
            env=own | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"} | environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            sent = b""
            while True:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # Linux's way to say that the other side has gone
                    break
                if not piece:
                    break
                sent += piece
        os.close(ours)
        return process.returncode, sent.decode()

    return run
