"""A file with a line of JSON for each trial."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from manyfit.tracking._tracker import Tracker, moment, plain

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

__all__ = ["JsonLines"]


class JsonLines(Tracker):
    """Append a line of JSON to a file for each trial.

    A line holds "study", "number", "state", "values", "params", "intermediate_values", "attrs" (scores of the
    splits, seconds, measures, the traceback of a failure), "constraints", "started" and "completed". Numbers that
    JSON does not have are written as "nan", "inf" and "-inf".

    Parameters
    ----------
    path : str or path
        Made if it does not exist; its folder must. Several studies may share a file.

    Notes
    -----
    After a kill, the search that resumes adds the lines that are missing and mends one that was torn.

    Examples
    --------
    >>> import json, optuna, tempfile
    >>> from manyfit.tracking import JsonLines
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = optuna.create_study()
    ...     log = JsonLines(f"{folder}/log.jsonl")
    ...     study.optimize(lambda t: t.suggest_int("n", 3, 3), 2, callbacks=[log])
    ...     [json.loads(line)["params"] for line in open(log.path)]
    [{'n': 3}, {'n': 3}]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = os.path.abspath(os.fspath(path))
        if not os.path.isdir(os.path.dirname(self.path)):
            raise FileNotFoundError(f"JsonLines: the folder of path={os.fspath(path)!r} does not exist")
        if os.path.isdir(self.path):
            raise IsADirectoryError(f"JsonLines: path must be a file, got the folder {os.fspath(path)!r}")

    def __repr__(self) -> str:
        return f"JsonLines({self.path!r})"

    def _recorded(self, study: Study) -> set[Hashable]:
        known: set[Hashable] = set()
        self._lines: list[bytes] = []
        self._size = 0  # of the whole lines
        mend = b""
        try:
            file = open(self.path, "rb")  # noqa: SIM115  # closed below
        except FileNotFoundError:
            return known
        with file:
            for line in file:
                entry = _parsed(line)
                if not line.endswith(b"\n"):
                    if entry is None:
                        break  # torn: what follows is written over it
                    mend = b"\n"
                self._size += len(line)
                if entry is not None and entry.get("study") == study.study_name:
                    known.add((entry.get("number"), entry.get("completed")))
        if mend:
            self._append(mend)
        return known

    def _record(self, study: Study, trial: FrozenTrial) -> None:
        entry = {
            "study": study.study_name,
            "number": trial.number,
            "state": trial.state.name,
            "values": trial.values,
            "params": trial.params,
            "intermediate_values": trial.intermediate_values,
            "attrs": trial.user_attrs,
            "constraints": trial.constraints,
            "started": None if trial.datetime_start is None else trial.datetime_start.isoformat(),
            "completed": moment(trial),
        }
        self._lines.append(json.dumps(plain(entry), allow_nan=False).encode() + b"\n")

    def _finish_batch(self, study: Study) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._append(b"".join(lines))

    def _append(self, data: bytes) -> None:
        """Write behind the last whole line, or leave the file as it was."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.ftruncate(descriptor, self._size)
            written = 0
            while written < len(data):
                written += os.pwrite(descriptor, data[written:], self._size + written)
        finally:
            os.close(descriptor)
        self._size += len(data)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None
