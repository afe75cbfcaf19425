"""Long fits tell how far they are, and stop when they are told to."""

from __future__ import annotations

import os
import signal
import threading
from time import perf_counter
from typing import Any

from manyfit._execution import progress as report_progress
from manyfit.testing._compare import assert_same_model
from manyfit.testing._conditions import can_fork, is_estimator
from manyfit.testing._data import Data, fit, make_data
from manyfit.testing._kit import check
from manyfit.testing._long_fits import Watch, long_fit, timed_fit
from manyfit.testing._processes import in_fork

# An interrupted fit must end within this share of the time it had ahead.
_SHARE = 0.5
_ATTEMPTS = 5


class _Stop(Exception):
    """Raised by a callback that has seen enough."""


@check(is_estimator)
def check_progress(estimator: Any) -> None:
    """A long fit reports stages and fractions in [0, 1] on the thread that called it; an exception stops it."""
    found = long_fit(estimator)
    if found is None:
        return
    data, watch = found.data, found.watch
    assert watch.reports, f"a fit of {found.seconds:.2g} s reported nothing"
    assert watch.threads == {threading.get_ident()}, "reports came on another thread"
    for stage, fraction in watch.reports:
        assert isinstance(stage, str), f"a stage is {stage!r}"
        assert stage, "a stage has no name"
        assert 0.0 <= fraction <= 1.0, f"{stage}: a fraction of {fraction}"
    for stage in {stage for stage, _ in watch.reports}:
        fractions = [fraction for name, fraction in watch.reports if name == stage]
        assert len(set(fractions)) > 1 or len(fractions) < 10, f"{stage} stays at {fractions[0]}"

    calls = []

    def stop(stage: str, fraction: float) -> None:
        calls.append(stage)
        raise _Stop

    try:
        with report_progress(stop):
            fit(estimator, data)
    except _Stop:
        pass
    else:
        raise AssertionError("an exception in the callback was swallowed")
    assert len(calls) == 1, "the callback was called again after it raised"
    small = make_data(estimator)
    assert_same_model(fit(estimator, small), fit(estimator, small), "a fit after a stopped one")


@check(is_estimator, can_fork)
def check_interrupt(estimator: Any) -> None:
    """Ctrl-C in the middle of a long fit raises KeyboardInterrupt soon, and the estimator fits again."""
    found = long_fit(estimator)
    if found is None:
        return
    data = found.data
    small = make_data(estimator)
    expected = fit(estimator, small)

    def interrupted() -> tuple[float, float]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        seconds, delay = found.seconds, _delay(estimator, data)
        for _ in range(_ATTEMPTS):  # a machine that is busy with other things may be slow once
            if delay < _SHARE * seconds:
                break
            seconds = timed_fit(estimator, data)[0]
            delay = _delay(estimator, data)
        assert_same_model(fit(estimator, small), expected, "a fit after Ctrl-C")
        return delay, seconds

    delay, seconds = in_fork(interrupted)
    assert delay < _SHARE * seconds, f"a fit of {seconds:.2g} s ended {delay:.2g} s after Ctrl-C"


def _delay(estimator: Any, data: Data) -> float:
    """Seconds from the signal to KeyboardInterrupt; the signal comes right after the first report."""
    watch = Watch()
    sent = []

    def send() -> None:
        watch.first.wait()
        sent.append(perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        with report_progress(watch):
            fit(estimator, data)
        watch.first.set()
        sender.join()  # where the fit ended just before the signal, KeyboardInterrupt comes here
    except KeyboardInterrupt:
        return perf_counter() - sent[0]
    raise AssertionError("Ctrl-C did not raise KeyboardInterrupt")
