"""Progress of a search: a bar in terminals and notebooks, lines in pipes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from manyfit._page.words import duration
from manyfit.sweep.tally import Tally

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial
    from rich.progress import Progress, TaskID

__all__ = ["ProgressBar", "shown"]

_EVERY = 1.0  # seconds between two lines in a pipe, at least


class ProgressBar:
    """Show how far a search is: one of the callbacks of ``OptunaSearchCV``, or of a study of Optuna's.

    A bar that moves in terminals and notebooks, at most a line a second elsewhere.

    Parameters
    ----------
    n_trials : int, default=None
        How many trials there will be in the end; None where time ends the search.
    timeout : float, default=None
        Seconds after which the search ends.
    what : str, default=""
        What is searched, to stand at the beginning.
    console : rich.console.Console, default=None
        Where to show it; None is standard output.

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import OptunaSearchCV
    >>> from manyfit.sweep import ProgressBar
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> with ProgressBar(n_trials=3) as bar:  # doctest: +ELLIPSIS
    ...     search = OptunaSearchCV(
    ...         Ridge(), {"alpha": [0.1, 1.0, 10.0]}, n_trials=3, callbacks=[bar], random_state=0
    ...     ).fit(X, y)
    3 of 3 trials: 3 complete, best 0.4...
    """

    def __init__(
        self,
        n_trials: int | None = None,
        timeout: float | None = None,
        *,
        what: str = "",
        console: Any = None,
    ) -> None:
        self.n_trials = n_trials
        self.timeout = timeout
        self.what = what
        self.console = console
        self.tally: Tally | None = None
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._begin = monotonic()
        self._before = 0  # trials that were there
        self._said = -_EVERY
        self._line = ""

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Count one trial."""
        self.on_batch_end(study, [trial])

    def on_batch_end(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        """Count trials that ended together."""
        if self.tally is None:
            self._start(study, trials)
        assert self.tally is not None
        self.tally.add(trials)
        if self._progress is not None and self._task is not None:
            done = float(self.tally.total)
            if self.n_trials is None and self.timeout:
                done = monotonic() - self._begin
            self._progress.update(self._task, completed=done, says=self.says())
        elif monotonic() - self._said >= _EVERY:
            self._print()

    def says(self) -> str:
        """Counts, the best so far, and the pace."""
        assert self.tally is not None
        parts = [self.tally.counts(), shown(self.tally)]
        seconds = monotonic() - self._begin
        if seconds > 0 and self.tally.total > self._before:
            parts.append(f"{60 * (self.tally.total - self._before) / seconds:,.0f} trials per minute")
        return ", ".join(filter(None, parts))

    def on_search_end(self, search: Any) -> None:
        """Take the bar away, and leave a line of what it came to."""
        self.close()

    def close(self) -> None:
        """Take the bar away, and leave a line of what it came to."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if self.tally is not None:
            self._print()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        self.tally = Tally([direction.name.lower() for direction in study.directions])
        first = min(trial.number for trial in trials)
        self.tally.add(trial for trial in study.get_trials(deepcopy=False) if trial.number < first)
        self._before = self.tally.total
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        if self.console is None:
            self.console = Console(highlight=False, emoji=False, markup=False)
        live = self.console.is_jupyter or (sys.stdout.isatty() and self.console.is_interactive)
        if not live:
            return
        total = self.n_trials if self.n_trials is not None else self.timeout
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24, style="bright_black", complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.fields[says]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._task = self._progress.add_task(self.what or "search", total=total, says="")
        self._progress.start()

    def _print(self) -> None:
        assert self.tally is not None
        of = f" of {self.n_trials}" if self.n_trials is not None else ""
        line = f"{self.tally.total}{of} trials: {self.says()}"
        if self._line.startswith(f"{self.tally.total}{of} "):
            return
        self._line, self._said = line, monotonic()
        self.console.print(line, soft_wrap=True)


def shown(tally: Tally) -> str:
    """The best so far in words."""
    if tally.best is None:
        return "none good yet"
    if len(tally.signs) > 1:
        return f"{len(tally.front)} on the Pareto front"
    assert tally.best.values is not None
    return f"best {tally.best.values[0]:.6g} (trial {tally.best.number})"


def remaining(
    total: int, n_trials: int | None, timeout: float | None, per_minute: float | None, spent: float
) -> str:
    """How long it may still take, in words; empty where it cannot be told."""
    left = []
    if n_trials is not None and per_minute:
        left.append(60 * max(n_trials - total, 0) / per_minute)
    if timeout is not None:
        left.append(max(timeout - spent, 0.0))
    return duration(min(left)) if left else ""
