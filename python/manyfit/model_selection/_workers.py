"""Worker processes on this machine. They only compute, so each of them may die at any moment."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import select
import selectors
import signal
import subprocess
import sys
import threading
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, Pipe
from numbers import Integral
from time import monotonic
from typing import Any

from manyfit.model_selection import _worker
from manyfit.model_selection._executor import Done, Task, Work

__all__ = ["WorkerProcesses"]

DEATHS = 3  # under one piece of work, until its candidates are tried one by one; then under one candidate
STARTS = 10  # processes in a row that end by themselves before they are ready: none will
KILLED_STARTS = 100  # and of those that somebody killed
FAREWELL = 5.0  # seconds for idle workers to end by themselves

_THREADS = ("MANYFIT_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from manyfit.model_selection._worker import main; main(sys.argv[2:])"
)


@dataclass(eq=False)
class Piece:
    """Work as it is sent: a whole, or one candidate of work that killed workers."""

    work: Work
    deaths: int = 0
    whole: Whole | None = None
    place: int = 0  # of the candidate in the whole

    def split(self) -> list[Piece]:
        """Return a piece for each candidate."""
        whole = Whole(self.work, [None] * len(self.work.candidates))
        return [
            Piece(replace(self.work, candidates=[candidate]), whole=whole, place=place)
            for place, candidate in enumerate(self.work.candidates)
        ]

    def finish(self, task: Task, done: Done) -> Done | None:
        """Take the answer; return that to the work as it was submitted once it is complete."""
        if self.whole is None:
            return done
        self.whole.parts[self.place] = done
        if self.whole.ended or any(part is None for part in self.whole.parts):
            return None
        return self.whole.joined(task)


@dataclass(eq=False)
class Whole:
    """Work whose candidates are tried one by one."""

    work: Work
    parts: list[Done | None]
    ended: bool = False

    def joined(self, task: Task) -> Done:
        """One answer from those of the candidates."""
        joined = Done(self.work.id)
        for part in self.parts:
            assert part is not None
            if part.error is None:
                joined.evaluations += part.evaluations
                joined.measures += part.measures
            else:
                joined.evaluations.append(failed_evaluations(task, self.work, part.error))
                joined.measures.append({})
            joined.seconds += part.seconds
            joined.plans |= part.plans
        return joined


@dataclass(eq=False)
class _Process:
    process: subprocess.Popen[bytes]
    connection: Connection
    death: int | None  # a descriptor that is readable once the process has ended
    ready: bool = False
    item: Piece | None = None


class _Shared:
    """What the caller and the thread that looks after the workers both touch.

    There is no lock: Python's own are not safe from an interrupt. Each list grows on one side and shrinks on
    the other, and a bell says when to look.
    """

    def __init__(self) -> None:
        self.submitted: deque[Work] = deque()
        self.done: list[Done] = []
        self.errors: list[BaseException] = []  # that candidates raised
        self.fatal: BaseException | None = None
        self.closing = False
        self.now = False
        self.to_keeper = Bell()
        self.to_caller = Bell()


class Bell:
    """Wakes a thread that waits, also if it was rung before."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def ring(self) -> None:
        os.eventfd_write(self.descriptor, 1)

    def wait(self, timeout: float | None = None) -> None:
        select.select([self.descriptor], [], [], timeout)

    def silence(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


class WorkerProcesses:
    """Evaluates in processes of this machine.

    A worker that dies (killed, out of memory, a crash in compiled code) is replaced and its work is done again.
    Work under which three workers died is tried one candidate at a time, and a candidate that kills is answered
    as failed. The data is copied once, into memory that all workers share.

    Parameters
    ----------
    n : int, default=None
        Number of processes, which share the CPUs: each computes on an equal part of them. None: one for each CPU.

    Examples
    --------
    >>> from manyfit.model_selection import WorkerProcesses
    >>> WorkerProcesses(2).slots
    2
    """

    def __init__(self, n: int | None = None) -> None:
        from manyfit._native import core

        if n is None:
            n = core.default_threads()
        if isinstance(n, bool) or not isinstance(n, Integral) or n < 1:
            raise ValueError(f"WorkerProcesses: n must be an integer of at least 1, got {n!r}")
        self.n: int = int(n)
        self.slots: int = self.n
        self._threads: int = max(1, core.default_threads() // self.n)
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"WorkerProcesses({self.n})"

    def __reduce__(self) -> Any:
        return WorkerProcesses, (self.n,)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run now."""
        return [] if self._thread is None else [each.process.pid for each in list(self._keeper.workers)]

    def start(self, task: Task) -> None:
        """Send the task out; workers become ready while the caller goes on."""
        import sklearn

        from manyfit.model_selection._parcel import dumps, pack

        self.close(now=True)
        filters = [dumps(entry) for entry in warnings.filters]
        parts = {"task": task, "config": sklearn.get_config(), "warnings": filters}
        try:
            parcel = pack(parts)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise TypeError(
                f"{self!r}: the estimator, data or scorer cannot be sent to another process: {error}"
            ) from error
        self._shared = _Shared()
        self._open = 0  # pieces of work not yet answered
        self._keeper = _Keeper(self.n, self._threads, parcel, task, self._shared)
        self._thread = threading.Thread(target=self._keeper.run, name="manyfit workers", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        if self._thread is None:
            raise RuntimeError(f"{self!r}: submit must come after start")
        self._open += 1
        self._shared.submitted.append(work)
        self._shared.to_keeper.ring()

    def wait(self, timeout: float | None = None) -> list[Done]:
        if self._thread is None:
            return []
        shared = self._shared
        end = None if timeout is None else monotonic() + timeout
        while self._open and not (shared.done or shared.errors or shared.fatal):
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                return []
            shared.to_caller.wait(left)
            shared.to_caller.silence()
        done = shared.done[:]
        n = len(done)
        # An interrupt arrives at a call or a loop: there is none between here and the caller.
        if n:
            del shared.done[:n]
            self._open -= n
            return done
        if shared.errors:
            error = shared.errors[0]
            del shared.errors[0]
            self._open -= 1
            raise error
        if self._open and shared.fatal is not None:
            raise shared.fatal
        return []

    def close(self, now: bool = False) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        shared = self._shared
        shared.now = now
        shared.closing = True
        shared.to_keeper.ring()
        thread.join()
        shared.to_keeper.close()
        shared.to_caller.close()


class _Keeper:
    """Looks after the workers, on a thread of its own: an interrupt of the main thread breaks no message."""

    def __init__(self, n: int, threads: int, parcel: int, task: Task, shared: _Shared) -> None:
        self.workers: list[_Process] = []
        self._n = n
        self._threads = threads
        self._parcel = parcel
        self._task = task
        self._shared = shared
        self._queue: deque[Piece] = deque()
        self._failed_starts = [0, 0]  # that ended by themselves, that were killed
        self._selector = selectors.DefaultSelector()
        self._selector.register(shared.to_keeper.descriptor, selectors.EVENT_READ)

    def run(self) -> None:
        try:
            while not self._shared.closing:
                while len(self.workers) < self._n:
                    self._start_worker()
                self._send()
                for key, _ in self._selector.select():
                    if key.data is None:
                        self._shared.to_keeper.silence()
                    elif key.data in self.workers:
                        self._listen(key.data)
                self._take()
        except BaseException as error:
            self._shared.fatal = error
            self._shared.to_caller.ring()
        finally:
            self._end()

    def _take(self) -> None:
        while self._shared.submitted:
            self._queue.append(Piece(self._shared.submitted.popleft()))

    # --- processes ---

    def _start_worker(self) -> None:
        ours, theirs = Pipe()
        environment = dict(os.environ)
        for name in _THREADS:
            with contextlib.suppress(KeyError, ValueError):
                if 0 < int(environment[name]) < self._threads:
                    continue  # the user wants fewer still
            environment[name] = str(self._threads)
        descriptors = (theirs.fileno(), self._parcel)
        command = [
            sys.executable,
            *subprocess._args_from_interpreter_flags(),  # type: ignore[attr-defined]  # not in typeshed
            *("-c", _CODE, json.dumps(list(map(str, sys.path)))),
            *map(str, (*descriptors, os.getpid())),
        ]
        try:
            # A group of its own: Ctrl-C in the terminal does not reach it, and it ends as a whole.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=descriptors, env=environment, process_group=0
            )
        finally:
            theirs.close()
        death = None
        with contextlib.suppress(OSError):
            death = os.pidfd_open(process.pid)
        worker = _Process(process, ours, death)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        if death is not None:
            self._selector.register(death, selectors.EVENT_READ, worker)
        self.workers.append(worker)

    def _listen(self, worker: _Process) -> None:
        """Take all that a worker says, which may be its last words."""
        ended = worker.process.poll() is not None
        try:
            while worker.connection.poll():
                self._hear(worker, worker.connection.recv_bytes())
        except (OSError, EOFError):
            ended = True
        if ended:
            self._bury(worker)

    def _hear(self, worker: _Process, message: bytes) -> None:
        kind, body = message[:1], message[1:]
        if kind == _worker.READY:
            worker.ready = True
            self._failed_starts = [0, 0]
            return
        item, worker.item = worker.item, None
        if kind == _worker.RESULT and item is not None:
            self._finish(item, pickle.loads(body))
            return
        error = _raised(body)
        if item is None:  # it could not even load the task
            raise error
        if item.whole is not None:  # its other candidates have no use any more
            self._queue = deque(each for each in self._queue if each.whole is not item.whole)
            if item.whole.ended:
                return
            item.whole.ended = True
        self._shared.errors.append(error)
        self._shared.to_caller.ring()

    def _bury(self, worker: _Process) -> None:
        """Remove a dead worker and decide what becomes of its work."""
        how = self._remove(worker)
        item = worker.item
        if item is None:
            if not worker.ready:
                self._failed_starts["SIGKILL" in how] += 1
                for limit, count in zip((STARTS, KILLED_STARTS), self._failed_starts, strict=True):
                    if count >= limit:
                        raise RuntimeError(
                            f"WorkerProcesses: {limit} worker processes in a row ended while starting ({how})"
                        )
            return
        item.deaths += 1
        if item.deaths < DEATHS:
            self._queue.appendleft(item)
        elif item.whole is None and len(item.work.candidates) > 1:
            self._queue.extend(item.split())
        else:
            error = f"{item.deaths} worker processes that evaluated this candidate died, the last one {how}"
            self._finish(item, Done(item.work.id, error=error))

    def _remove(self, worker: _Process, patience: float = 0.0) -> str:
        """End a worker and all it started; say how it ended."""
        self.workers.remove(worker)
        self._selector.unregister(worker.connection)
        if worker.death is not None:
            self._selector.unregister(worker.death)
            os.close(worker.death)
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(patience)
        status = worker.process.poll()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(worker.process.pid, signal.SIGKILL)
        worker.process.wait()
        worker.connection.close()
        return _how(worker.process.returncode if status is None else status)

    # --- work ---

    def _send(self) -> None:
        for worker in list(self.workers):
            if not self._queue:
                return
            if not worker.ready or worker.item is not None:
                continue
            from manyfit.model_selection._parcel import dumps

            worker.item = self._queue.popleft()
            try:
                worker.connection.send_bytes(dumps(worker.item.work))
            except OSError:
                self._queue.appendleft(worker.item)  # it died before it knew of the work
                worker.item = None
                self._bury(worker)

    def _finish(self, item: Piece, answer: Done) -> None:
        done = item.finish(self._task, answer)
        if done is not None:
            self._shared.done.append(done)
            self._shared.to_caller.ring()

    def _end(self) -> None:
        for worker in self.workers:
            if worker.ready and worker.item is None and not self._shared.now:
                with contextlib.suppress(OSError):
                    worker.connection.send_bytes(b"")
        begin = monotonic()
        for worker in list(self.workers):
            idle = worker.ready and worker.item is None and not self._shared.now
            self._remove(worker, max(0.0, begin + FAREWELL - monotonic()) if idle else 0.0)
        self._selector.close()
        os.close(self._parcel)


class _Remote(Exception):
    """The traceback of another process."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _raised(body: bytes) -> BaseException:
    """The exception that a worker raised, with its traceback there as the cause."""
    sent, text = pickle.loads(body)
    if sent is not None:
        with contextlib.suppress(Exception):
            error = pickle.loads(sent)
            if isinstance(error, BaseException):
                error.__cause__ = _Remote(text)
                return error
    return RuntimeError(f"in a worker process:\n{text}")


def failed_evaluations(task: Task, work: Work, error: str) -> list[dict[str, Any]]:
    """What a candidate gets that no worker survived: failed fits on every split."""
    splits: Sequence[int] = range(len(task.splits)) if work.splits is None else work.splits
    score = math.nan if isinstance(task.error_score, str) else task.error_score
    named = getattr(task.scorer, "_scorers", None)
    scores: Any = dict.fromkeys(named, score) if isinstance(named, Mapping) else score
    evaluation = {
        "fit_error": error,
        "test_scores": scores,
        "n_test_samples": 0,
        "fit_time": 0.0,
        "score_time": 0.0,
    }
    if task.return_train_score:
        evaluation["train_scores"] = scores
    return [dict(evaluation, n_test_samples=len(task.splits[split][1])) for split in splits]


def _how(status: int) -> str:
    if status == _worker.MEMORY:
        return "out of memory"
    if status >= 0:
        return f"with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = "unknown"
    hint = ", perhaps for want of memory" if -status == signal.SIGKILL else ""
    return f"killed by signal {-status} ({name}{hint})"
