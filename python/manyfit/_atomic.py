"""Write a whole file or leave the old one: temporary name, sync, rename."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

__all__ = ["atomic_write"]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the name `path` only once it is complete and on the disk.

    Parameters
    ----------
    path : str or os.PathLike
        A symbolic link is followed, as ``open`` does: the file that it names is replaced.

    Yields
    ------
    file : binary file
        Seekable. When the block raises, the file is removed and whatever was at `path` stays as it was.

    Raises
    ------
    OSError
        What ``open(path, "wb")`` raises for a missing folder, a folder in the place of a file, a read-only
        file; also when `path` is a device, a pipe or a socket, which a rename would destroy.

    Notes
    -----
    A new file gets the permissions that ``open`` gives (0o666 less the umask); a replaced one keeps its own.
    A process that is killed leaves at most a file ``.manyfit-*.tmp`` behind, which may be deleted.
    """
    name = os.fspath(path)
    target = os.path.realpath(name)
    mode = _mode_of_replaceable(name, target)
    folder = os.path.dirname(target)
    # The name does not grow with the target's: one that is as long as the file system allows still works.
    temporary = os.path.join(folder, f".manyfit-{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(temporary, flags, 0o666)
    except OSError as error:
        error.filename = name  # the user knows this name, not the temporary one
        raise
    try:
        with open(descriptor, "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_folder(folder)


def _mode_of_replaceable(name: str, target: str) -> int | None:
    """Permission bits of the file at `target`, None where there is none; OSError if it must stay."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        if name and not os.path.basename(name):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name) from None
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", name)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
    return stat.S_IMODE(mode) & 0o777


def _sync_folder(folder: str) -> None:
    """Make the rename survive a power cut, where the system can: it is atomic without this as well."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
