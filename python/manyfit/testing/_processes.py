"""Running things in processes of their own, with a deadline, and seeing how those end."""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
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


_RUN = """
import pickle, sys
function, arguments = pickle.load(sys.stdin.buffer)
sys.stdout.buffer.write(pickle.dumps(function(*arguments)))
"""


def in_new_interpreter(
    function: Callable[..., Result],
    *arguments: Any,
    environment: Mapping[str, str] | None = None,
    deadline: float = DEADLINE,
) -> Result:
    """Run ``function(*arguments)`` in a fresh interpreter and return what it returned there.

    Raises
    ------
    AssertionError
        If the interpreter failed, died of a signal or hung.
    """
    inherited = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _RUN],
            input=cloudpickle.dumps((function, arguments)),
            capture_output=True,
            env=inherited | dict(environment or {}),
            timeout=deadline,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(f"a new interpreter hung: no answer within {deadline:g} s") from None
    if done.returncode != 0:
        text = done.stderr.decode(errors="replace")
        raise AssertionError(f"a new interpreter ended with status {done.returncode}:\n{text}")
    result: Result = pickle.loads(done.stdout)
    return result
