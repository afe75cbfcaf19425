"""How far a sweep is, and what one would do."""

from __future__ import annotations

import contextlib
import math
import shlex
import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from manyfit._page.words import count, duration
from manyfit.sweep.file import Sweep
from manyfit.sweep.progress import remaining, shown
from manyfit.sweep.run import passes
from manyfit.sweep.tally import Tally, pace
from manyfit.sweep.view import View, writer

__all__ = ["Status", "plan_lines"]

_PROBES = 64  # candidates that stand for all


@dataclass
class Status:
    """How far a sweep is.

    Attributes
    ----------
    rows : list of (label, text)
    done : bool
        Whether nothing more is to come: it is complete, or nobody is at work.
    """

    view: View
    tally: Tally
    n_trials: int | None
    rows: list[tuple[str, str]]
    done: bool

    @classmethod
    def of(cls, view: View) -> Status:
        """Look at a study."""
        from manyfit.sweep.commands import describe, parameters

        tally = view.tally()
        last = view.runs[-1] if view.runs else {}
        n_trials = last.get("n_trials")
        at_work = writer(view)
        complete = n_trials is not None and tally.total >= n_trials
        rows = [("sweep", view.study.study_name), ("storage", view.where)]
        with contextlib.suppress(ValueError, OSError):
            rows.insert(1, ("search", describe(view.sweep())))
        if complete:
            state = "complete"
        elif at_work:
            state = f"running ({at_work})"
        else:
            state = f"not running; manyfit sweep resume {shlex.quote(view.place)} goes on"
        rows.append(("state", state))
        of = f" of {n_trials}" if n_trials is not None else ""
        rows.append(("trials", f"{tally.total}{of}: {tally.counts()}"))
        if tally.best is not None and tally.best.values is not None:
            names = view.names()
            values = ", ".join(f"{n} {v:.6g}" for n, v in zip(names, tally.best.values, strict=True))
            rows.append(("best", f"trial {tally.best.number}, {values}"))
            rows += [("", f"{name}: {value}") for name, value in parameters(view, tally.best).items()]
            if len(tally.front) > 1:
                rows.append(("Pareto front", f"{len(tally.front)} trials"))
        begun = view.begun()
        speed = pace(view.trials, begun)
        if speed is not None:
            rows.append(("pace", f"{speed:,.0f} trials per minute"))
        if at_work and not complete:
            spent = (datetime.now() - begun).total_seconds() if begun else 0.0
            left = remaining(tally.total, n_trials, last.get("timeout"), speed, spent)
            if left:
                rows.append(("remaining", f"about {left}"))
        if view.plan:
            number = passes(view.plan)
            rows.append(
                ("shared", f"{view.plan}" + (f" ({number} in all)" if view.plan.count("pass") > 1 else ""))
            )
        return cls(view, tally, n_trials, rows, complete or not at_work)

    def lines(self) -> list[str]:
        """The table as text."""
        width = max(len(label) for label, _ in self.rows) + 2
        return [f"{label:<{width}}{text}" for label, text in self.rows]

    def line(self) -> str:
        """All in one line, for pipes."""
        of = f" of {self.n_trials}" if self.n_trials is not None else ""
        best = shown(self.tally)
        found = dict(self.rows)
        parts = [f"{self.tally.total}{of} trials: {self.tally.counts()}", best, found.get("remaining", "")]
        return ", ".join(filter(None, parts))

    def table(self) -> Any:
        """The table for a terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="cyan", no_wrap=True)
        table.add_column()
        for label, text in self.rows:
            table.add_row(label, Text(text))
        return table


def plan_lines(sweep: Sweep) -> list[str]:
    """What a sweep would do."""
    from sklearn.base import is_classifier
    from sklearn.model_selection import check_cv

    from manyfit.model_selection._space import Space
    from manyfit.sweep.commands import describe

    cv = check_cv(sweep.splitter(), sweep.data.y, classifier=is_classifier(sweep.estimator))
    splits = cv.get_n_splits(sweep.data.X, sweep.data.y, sweep.data.groups)
    rows = [
        ("sweep", f"{sweep.name}: {describe(sweep)}"),
        ("estimator", " ".join(str(sweep.estimator).split())),
    ]
    space = Space(sweep.space, sweep.estimator)
    for i, (name, distribution) in enumerate(space.distributions.items()):
        rows.append(("searched" if i == 0 else "", f"{name}: {_said(distribution)}"))
    rows += [("fixed", f"{name}: {value}") for name, value in sweep.fixed.items()]
    rows.append(("cv", f"{splits} splits by {type(cv).__name__}"))
    if sweep.n_trials is not None:
        fits = sweep.n_trials * splits
        rows.append(("fits", f"{count(fits)} ({sweep.n_trials} trials x {splits} splits)"))
    if sweep.constraints:
        rows.append(("constraints", ", ".join(sweep.constraints)))
    if sweep.pruner is not None:
        rows.append(("ends early", f"{sweep.pruner.name}({_keywords(sweep.pruner.kwargs)})"))
    rows += _estimate(sweep, space)
    rows.append(("limits", ", ".join(_limits(sweep))))
    rows.append(("kept in", sweep.storage + (f", log in {sweep.log}" if sweep.log else "")))
    width = max(len(label) for label, _ in rows) + 2
    return [f"{label:<{width}}{text}" for label, text in rows]


def _estimate(sweep: Sweep, space: Any) -> list[tuple[str, str]]:
    """What fits would share and about how long they would take, by a few fits of candidates drawn at random."""
    import optuna

    from manyfit.model_selection import GridSearchCV
    from manyfit.model_selection._sampling import quiet
    from manyfit.sweep.goals import MEASURES

    with quiet():
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=sweep.seed))
    wanted = sweep.n_trials or _PROBES
    candidates = [space.suggest(study.ask()) for _ in range(min(wanted, _PROBES))]
    names = [goal.name for goal in sweep.goals if goal.name not in (*MEASURES, "score")]
    search = GridSearchCV(
        sweep.estimator,
        [{name: [value] for name, value in each.items()} for each in candidates],
        scoring=names[0] if names else None,
        cv=sweep.splitter(),
        n_jobs=sweep.n_jobs,
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = search.explain(sweep.data.X, sweep.data.y, **sweep.fit_params())
    except Exception as error:
        return [("fits take", f"cannot be told: {' '.join(str(error).split())[:200]}")]
    shares = "; ".join(
        dict.fromkeys(f"{s.what}, {s.how}{f' ({s.why})' if s.why else ''}" for s in found.plan)
    )
    rows = [("fitted as", shares)]
    if sweep.n_trials is not None and math.isfinite(found.seconds):
        seconds = found.seconds * sweep.n_trials / len(candidates) / max(1, sweep.workers)
        many = "fits" if found.probe_fits != 1 else "fit"
        rows.append(("fits take", f"about {duration(seconds)}, by {found.probe_fits} probe {many}"))
    return rows


def _limits(sweep: Sweep) -> list[str]:
    found = [f"{sweep.n_trials} trials"] if sweep.n_trials is not None else []
    if sweep.timeout is not None:
        found.append(duration(sweep.timeout))
    return found


def _keywords(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in arguments.items())


def _said(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return "one of " + ", ".join(map(str, distribution.choices))
    kind = "whole numbers" if isinstance(distribution.low, int) else "numbers"
    text = f"{kind} from {distribution.low:g} to {distribution.high:g}"
    if distribution.step not in (None, 1):
        text += f" in steps of {distribution.step:g}"
    return text + (", on a log scale" if distribution.log else "")
