"""Running things in processes of their own, with a deadline, and seeing how those end."""

from __future__ import annotations

import atexit
import os
import pickle
import selectors
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from time import monotonic
from typing import Any, TypeVar

try:
    import cloudpickle
except ImportError:  # joblib carried a copy up to version 1.5
    from joblib.externals import cloudpickle

__all__ = ["DEADLINE", "cloudpickle", "in_fork", "in_new_interpreter"]

Result = TypeVar("Result")

# Seconds after which a process counts as hanging. Generous: a busy machine may be slow.
DEADLINE = 60.0


def in_fork(function: Callable[[], Result], deadline: float = DEADLINE) -> Result:
    """Run ``function()`` in a forked child and return what it returned there.

    Raises
    ------
    AssertionError
        If the child raised (its traceback is told), died of a signal, or hung.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 and later warn that threads exist; whether that is safe is what is being tested.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _answer(function, writing)
    os.close(writing)
    try:
        message = _read(reading, monotonic() + deadline)
    finally:
        os.close(reading)
    if message is None:
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if message is None:
        raise AssertionError(f"a forked child hung: no answer within {deadline:g} s")
    if os.WIFSIGNALED(status):
        raise AssertionError(f"a forked child died of {signal.Signals(os.WTERMSIG(status)).name}")
    if not message:
        raise AssertionError(f"a forked child ended with status {os.WEXITSTATUS(status)} and no answer")
    succeeded, answer = pickle.loads(message)
    if not succeeded:
        raise AssertionError(f"in a forked child:\n{answer}")
    result: Result = answer
    return result


def _answer(function: Callable[[], Any], writing: int) -> None:
    """Send what the function returns to the parent; ends the process without the parent's clean-up."""
    status = 1
    try:
        try:
            message = pickle.dumps((True, function()))
        except BaseException:
            message = pickle.dumps((False, traceback.format_exc()))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(message)
        status = 0
    finally:
        os._exit(status)


def _read(descriptor: int, deadline: float) -> bytes | None:
    """All bytes until the other side closes; None when the deadline passes before that."""
    parts: list[bytes] = []
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            left = deadline - monotonic()
            if left <= 0 or not selector.select(left):
                return None
            part = os.read(descriptor, 1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)


# Starts from third-party modules alone and forks for every call: what is imported from elsewhere, and how it finds
# its environment, is as in a fresh interpreter, which takes much longer to start.
_NURSERY = """
import os, pickle, sys, tempfile, warnings
import joblib, numpy, scipy.linalg, scipy.sparse, sklearn.decomposition, sklearn.linear_model

calls, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)  # what a call prints is no answer
while True:
    try:
        environment, call = pickle.load(calls)
    except EOFError:
        break
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as errors:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, from Python 3.12 on
            child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(errors.fileno(), 2)
                os.environ.update(environment)
                function, arguments = pickle.loads(call)
                pickle.dump(function(*arguments), result)
                result.flush()
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stderr.flush()
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        result.seek(0)
        errors.seek(0)
        pickle.dump((status, result.read(), errors.read()), answers)
        answers.flush()
"""


class _Nursery:
    """A process whose children are as good as fresh interpreters."""

    def __init__(self) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"},
            start_new_session=True,  # Ctrl-C is for the caller
        )
        atexit.register(self.close)

    def ask(self, message: bytes, deadline: float) -> tuple[int, bytes, bytes]:
        """The exit status of a call, its pickled result, and what it wrote to stderr."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(message)
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(deadline):
                self.close(kill=True)
                raise AssertionError(f"a new interpreter hung: no answer within {deadline:g} s")
        answer: tuple[int, bytes, bytes] = pickle.load(self.process.stdout)
        return answer

    def close(self, kill: bool = False) -> None:
        """End the process, and its children where they hang."""
        atexit.unregister(self.close)
        _nursery.cache_clear()
        if kill:
            os.killpg(self.process.pid, signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()


@cache
def _nursery(owner: int) -> _Nursery:
    """The nursery of the process `owner`, which is not that of a process it was forked from."""
    return _Nursery()


def in_new_interpreter(
    function: Callable[..., Result],
    *arguments: Any,
    environment: Mapping[str, str] | None = None,
    deadline: float = DEADLINE,
) -> Result:
    """Run ``function(*arguments)`` in a new interpreter and return what it returned there.

    The interpreter has imported nothing of this package, and sets `environment` before it does.

    Raises
    ------
    AssertionError
        If the interpreter failed, died of a signal or hung.
    """
    call = cloudpickle.dumps((function, arguments))
    message = pickle.dumps((dict(environment or {}), call))
    status, result, errors = _nursery(os.getpid()).ask(message, deadline)
    if status != 0:
        text = errors.decode(errors="replace")
        raise AssertionError(f"a new interpreter ended with status {status}:\n{text}")
    answer: Result = pickle.loads(result)
    return answer
