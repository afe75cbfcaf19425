"""A worker process: evaluates what its supervisor sends, and ends with it."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import select
import signal
import sys
import threading
import traceback
import warnings
from multiprocessing.connection import Connection
from typing import Any

__all__ = ["FAILED", "MEMORY", "READY", "RESULT", "main"]

# The first byte of what a worker says.
READY = b"r"
RESULT = b"d"
FAILED = b"f"  # the exception that evaluating raised, and its traceback
MEMORY = 77  # exit status of a worker that ran out of memory: another one tries again

_LOOK = 1.0  # seconds between looks whether the supervisor is still the parent


def _listen(connection: Connection, works: queue.SimpleQueue[bytes | None], parent: int) -> None:
    """Take what comes, and end the process (and what it started) when the supervisor is gone."""
    try:
        while True:
            while not select.select([connection], [], [], _LOOK)[0]:
                if os.getppid() != parent:
                    raise EOFError
            message = connection.recv_bytes()
            works.put(message or None)
            if not message:
                return
    except (OSError, EOFError):
        pass
    if os.getpgid(0) == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _failure(error: BaseException) -> bytes:
    """An exception and its traceback; one that cannot be sent, as text."""
    from manyfit.model_selection._parcel import dumps

    text = "".join(traceback.format_exception(error))
    sent = None
    with contextlib.suppress(Exception):
        sent = dumps(error)
    return FAILED + pickle.dumps((sent, text))


def main(argv: list[str]) -> None:
    """Run as ``main([connection, parcel, parent])``: two descriptors and a process id."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's
    handle, parcel, parent = map(int, argv)
    connection = Connection(handle)
    works: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, works, parent), daemon=True).start()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the supervisor is gone: so is the work
        _serve(connection, works, parcel)
    sys.stdout.flush()
    sys.stderr.flush()


def _serve(connection: Connection, works: queue.SimpleQueue[bytes | None], parcel: int) -> None:
    try:
        evaluator = _prepare(parcel)
    except MemoryError:
        os._exit(MEMORY)
    except BaseException as error:
        connection.send_bytes(_failure(error))
        return
    connection.send_bytes(READY)
    while (message := works.get()) is not None:
        try:
            answer = _answer(evaluator, message)
        except MemoryError:
            os._exit(MEMORY)
        except BaseException as error:
            answer = _failure(error)
        connection.send_bytes(answer)


def _prepare(parcel: int) -> Any:
    import sklearn

    from manyfit.model_selection._parcel import unpack

    parts = unpack(parcel)
    os.close(parcel)
    sklearn.set_config(**parts["config"])
    filters: list[Any] = []
    for entry in parts["warnings"]:
        with contextlib.suppress(Exception):  # a category of a module that is not here
            filters.append(pickle.loads(entry))
    warnings.filters[:] = filters  # type: ignore[index]  # typed as a Sequence, but a list
    warnings.filterwarnings("ignore", module="^$")  # makes the list above count
    return parts["task"].evaluator()


def _answer(evaluator: Any, message: bytes) -> bytes:
    from manyfit.model_selection._executor import perform
    from manyfit.model_selection._parcel import dumps

    return RESULT + dumps(perform(evaluator, pickle.loads(message)))
