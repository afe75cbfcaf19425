"""At most one process writes to a file: a lock that the kernel takes back when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import weakref
from time import monotonic, sleep

from manyfit.exceptions import StorageError

__all__ = ["FileLock"]

PATIENCE = 1.0  # seconds: a killed process holds its lock until the kernel has buried it

_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


class FileLock:
    """Exclusive lock on ``PATH.lock``, which holds the process id of whoever has it.

    Parameters
    ----------
    path : str
        The file that is protected.

    Raises
    ------
    StorageError
        If another process (or another lock in this one) has it.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path + ".lock"
        self.descriptor: int | None = None
        deadline = monotonic() + PATIENCE
        while not self._try():
            if monotonic() > deadline:
                raise StorageError(f"{path}: another sweep is writing to it ({self._holder()})")
            sleep(0.02)
        _held.add(self)

    def _try(self) -> bool:
        try:
            descriptor = os.open(self.name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot write the lock {self.name} beside it: {error.strerror}"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before us may have removed the name in between: then this lock protects nothing.
            if not os.path.samestat(os.fstat(descriptor), os.stat(self.name)):
                os.close(descriptor)
                return False
        except (BlockingIOError, FileNotFoundError):
            os.close(descriptor)
            return False
        except OSError as error:
            os.close(descriptor)
            raise StorageError(f"{self.path}: its file system cannot lock: {error.strerror}") from error
        # A full disk must not keep anyone from reading the study: the text only helps people.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"pid {os.getpid()} on {socket.gethostname()}\n".encode())
        self.descriptor = descriptor
        return True

    def _holder(self) -> str:
        try:
            with open(self.name, encoding="utf-8", errors="replace") as file:
                return file.read(200).strip() or "pid unknown"
        except OSError:
            return "pid unknown"

    def release(self) -> None:
        """Let others write."""
        if self.descriptor is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.name)
            self.abandon()

    def abandon(self) -> None:
        """Close this process's hand on the lock: after a fork the parent's stays."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
            _held.discard(self)


def _after_fork() -> None:
    for lock in list(_held):
        lock.abandon()


os.register_at_fork(after_in_child=_after_fork)
