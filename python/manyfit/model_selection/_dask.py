"""Workers of a Dask cluster. Its scheduler runs a lost worker's work again; lost data is sent again."""

from __future__ import annotations

import contextlib
import pickle
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Any

import numpy as np

from manyfit.model_selection._executor import Done, Task, Work, perform
from manyfit.model_selection._parcel import dumps, parts_of
from manyfit.model_selection._workers import Bell, Piece

__all__ = ["DaskWorkers"]

PATIENCE = 5.0  # seconds until a scheduler must have answered
REVIVAL = 120.0  # seconds for a cluster that lost all workers to get one again
KEPT = 2  # evaluators in a worker: those of the last searches


class DaskWorkers:
    """Evaluates on the workers of a Dask cluster, one batch on each at a time.

    The data is sent once to every worker and kept there. Work under which workers keep dying is tried one
    candidate at a time, and a candidate that kills is answered as failed.

    Parameters
    ----------
    client : distributed.Client or str
        A client, or the address of a scheduler, such as "tcp://10.0.0.1:8786".

    Notes
    -----
    Needs ``pip install 'manyfit[dask]'``, here and on the workers. A fit uses as many threads as its worker has
    (``dask worker --nthreads``).
    """

    def __init__(self, client: Any) -> None:
        try:
            import distributed
        except ImportError:
            raise ImportError("DaskWorkers needs Dask: pip install 'manyfit[dask]'") from None
        if not isinstance(client, str | distributed.Client):
            raise TypeError(f"DaskWorkers: client must be a distributed.Client or an address, got {client!r}")
        if isinstance(client, distributed.Client) and client.asynchronous:
            raise ValueError("DaskWorkers: client must not be asynchronous")
        self.client = client
        self.slots = 1
        self._connection: Any = None

    def __repr__(self) -> str:
        return f"DaskWorkers({self._address!r})"

    def __copy__(self) -> DaskWorkers:
        return DaskWorkers(self.client)

    def __deepcopy__(self, memo: Any) -> DaskWorkers:
        return DaskWorkers(self.client)

    def __reduce__(self) -> Any:
        return DaskWorkers, (self._address,)

    @property
    def _address(self) -> str:
        if isinstance(self.client, str):
            return self.client
        return str(getattr(self.client.scheduler, "address", "closed"))

    def start(self, task: Task) -> None:
        """Connect, and send the task to every worker.

        Raises
        ------
        ConnectionError
            If no scheduler answers, or it has no workers.
        """
        import sklearn

        self.close(now=True)
        self._connection = self._connect() if isinstance(self.client, str) else self.client
        # Not left to Dask, which pickles large objects without the classes of a notebook.
        text, views = parts_of((task, sklearn.get_config()))
        self._parts = [uuid.uuid4().hex, text, *(np.frombuffer(view, np.uint8) for view in views)]
        self._task = task
        self._bell = Bell()
        self._futures: dict[Any, Piece] = {}
        self._data: Any = None
        try:
            self._count()
            if self.slots == 0:
                self._connection.wait_for_workers(1, timeout=PATIENCE)
                self._count()
            self._scatter()
        except (OSError, TimeoutError) as error:
            self.close(now=True)
            raise ConnectionError(
                f"DaskWorkers: the scheduler at {self._address!r} has no workers (waited {PATIENCE:g} s)"
            ) from error
        except BaseException:
            self.close(now=True)
            raise

    def _connect(self) -> Any:
        import distributed

        try:
            client: Any = distributed.Client
            return client(self.client, timeout=PATIENCE, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ConnectionError(
                f"DaskWorkers: no Dask scheduler answers at {self.client!r} ({reason})"
            ) from None

    def _count(self) -> None:
        self.slots = len(self._connection.nthreads())

    def _scatter(self) -> None:
        (self._data,) = self._connection.scatter([self._parts], broadcast=True, hash=False)

    def submit(self, work: Work) -> None:
        if self._connection is None:
            raise RuntimeError(f"{self!r}: submit must come after start")
        self._send(Piece(work))

    def _send(self, piece: Piece) -> None:
        if self._data.status != "finished":  # every worker that had it is gone
            try:
                self._connection.wait_for_workers(1, timeout=REVIVAL)
                self._scatter()
            except TimeoutError:
                raise ConnectionError(
                    f"DaskWorkers: the cluster at {self._address!r} lost all workers (waited {REVIVAL:g} s)"
                ) from None
        future = self._connection.submit(_perform, self._data, dumps(piece.work), pure=False)
        self._futures[future] = piece
        future.add_done_callback(_ring(self._bell))

    def wait(self, timeout: float | None = None) -> list[Done]:
        end = None if timeout is None else monotonic() + timeout
        while self._connection is not None and self._futures:
            for future, piece in list(self._futures.items()):
                if not future.done():
                    continue
                done = self._answer(future, piece)
                # An interrupt arrives at a call or a loop: there is none between here and the caller.
                del self._futures[future]
                if done is not None:
                    return [done]
            left = None if end is None else end - monotonic()
            if left is not None and left <= 0:
                return []
            self._bell.wait(left)
            self._bell.silence()
        return []

    def _answer(self, future: Any, piece: Piece) -> Done | None:
        """What became of work whose future has ended; None if it goes on in other futures."""
        import distributed

        if self._connection.status not in ("running", "connecting"):
            raise ConnectionError(f"DaskWorkers: the scheduler at {self._address!r} went away")
        if future.status == "finished":
            try:
                done: Done = future.result()
            except (distributed.client.FutureCancelledError, OSError, TimeoutError):
                if future.status == "finished":
                    raise
                self._again(piece)
                return None
            self._count()
            return piece.finish(self._task, done)
        if future.status == "error":
            error = future.exception()
            if not isinstance(error, distributed.KilledWorker):
                raise error
            if piece.whole is None and len(piece.work.candidates) > 1:
                for part in piece.split():
                    self._send(part)
                return None
            text = f"the Dask workers that evaluated this candidate died: {error}"
            return piece.finish(self._task, Done(piece.work.id, error=text))
        self._again(piece)  # cancelled or lost: with the data, on the last worker that had it
        return None

    def _again(self, piece: Piece) -> None:
        if self._connection.status != "running":
            raise ConnectionError(f"DaskWorkers: the scheduler at {self._address!r} went away")
        self._send(piece)

    def close(self, now: bool = False) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(Exception):  # it may have gone away
            if now and self._futures:
                connection.cancel(list(self._futures), force=True)
        self._futures = {}
        self._data = None
        if isinstance(self.client, str):
            with contextlib.suppress(Exception):
                connection.close(timeout=PATIENCE)


def _ring(bell: Bell) -> Callable[[Any], None]:
    return lambda future: bell.ring()


# --- on a worker ---

_evaluators: OrderedDict[str, Any] = OrderedDict()
_one_at_a_time = threading.Lock()


def _perform(parts: list[Any], message: bytes) -> Done:
    """Evaluate work with what this worker has prepared from the data before."""
    import sklearn
    from distributed import get_worker
    from threadpoolctl import threadpool_limits

    token, text, *buffers = parts
    threads = get_worker().state.nthreads
    with _one_at_a_time, threadpool_limits(limits=threads):
        if token not in _evaluators:
            task, config = pickle.loads(text, buffers=buffers)
            _evaluators[token] = task.evaluator(), config
            while len(_evaluators) > KEPT:
                _evaluators.popitem(last=False)
        evaluator, config = _evaluators[token]
        with sklearn.config_context(**config):
            return perform(evaluator, pickle.loads(message))
