"""The report of a sweep: one page that holds everything it shows."""

from __future__ import annotations

import importlib.resources
import math
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

import manyfit
from manyfit._page import Figure, Table
from manyfit._page.html import document, figures, prose, table
from manyfit._page.svg import number
from manyfit._page.words import count, duration
from manyfit.sweep import pictures
from manyfit.sweep.file import Sweep
from manyfit.sweep.run import passes
from manyfit.sweep.tally import Tally, feasible, pace
from manyfit.sweep.view import View

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

__all__ = ["page"]

_ROWS = 25
_ERRORS = 5


def page(view: View) -> str:
    """Lay out the report of a study.

    Returns
    -------
    str
        A page of HTML without any external resource.
    """
    return _Page(view).html()


class _Page:
    def __init__(self, view: View) -> None:
        from manyfit.model_selection._space import Space

        self.view = view
        self.tally: Tally = view.tally()
        self.names = view.names()
        self.sweep: Sweep | None
        try:
            self.sweep = view.sweep()
            space = Space(self.sweep.space, self.sweep.estimator)
            self.distributions: dict[str, Any] = space.distributions
            known = {trial.number: space.settings(trial) for trial in view.trials}
        except (ValueError, OSError):
            self.sweep, self.distributions, known = None, {}, {}
        self.settings = {t.number: known.get(t.number) or dict(t.params) for t in view.trials}
        for trial in view.trials:
            self.distributions = {**trial.distributions, **self.distributions}
        self.titles = {t.number: pictures.label(t, self.names, self.settings[t.number]) for t in view.trials}

    def html(self) -> str:
        """The page."""
        view = self.view
        sections = [
            ("history", "What was found", self._found()),
            ("parameters", "Which parameters matter", self._parameters()),
            ("trials", "The best trials", self._best()),
            ("shared", "What was shared, and what it cost", self._shared()),
            ("failed", "What failed", self._failed()),
            ("file", "The sweep file", self._file()),
        ]
        sections = [each for each in sections if each[2]]
        links = "\n".join(f'<li><a href="#{place}">{escape(title)}</a></li>' for place, title, _ in sections)
        main = "\n".join(
            f'<section id="{place}" aria-labelledby="{place}-title">\n<h2 id="{place}-title">{escape(title)}</h2>\n'
            f"{body}\n</section>"
            for place, title, body in sections
        )
        style, script = (
            importlib.resources.files(__package__).joinpath(f"report.{kind}").read_text(encoding="utf-8")
            for kind in ("css", "js")
        )
        now = datetime.now().strftime("%Y-%m-%d %H:%M")
        body = f"""\
<style>
{style}
</style>
<header>
<h1>{escape(view.study.study_name)}</h1>
<p class="lead">{self._lead()}</p>
{self._numbers()}
<nav aria-label="Contents"><ol>
{links}
</ol></nav>
</header>
<main>
{main}
</main>
<footer>
<p class="meta">Written by manyfit {manyfit.__version__} on {now}. This page refers to nothing outside itself.</p>
</footer>"""
        return document(f"{view.study.study_name}: a sweep", body, script)

    # --- parts ---

    def _lead(self) -> str:
        if self.sweep is None:
            return prose(f"A study of {self.tally.total} trials.")
        if self.sweep.description:
            return prose(self.sweep.description)
        from manyfit.sweep.commands import describe

        return prose(f"{describe(self.sweep)}.")

    def _numbers(self) -> str:
        cells: list[tuple[str, str, str]] = []
        best = self.tally.best
        if best is not None and best.values is not None:
            for name, value in zip(self.names, best.values, strict=True):
                which = f"best {name}" if len(self.names) == 1 else f"{name} of trial {best.number}"
                cells.append(
                    (number(value), f"{which}, trial {best.number}" if len(self.names) == 1 else which, "")
                )
        cells.append((count(self.tally.total), self._of(), ""))
        seconds = self._wall()
        if seconds:
            speed = 60 * self.tally.total / seconds
            cells.append((duration(seconds), f"at work, {speed:,.0f} trials per minute", ""))
        if self.tally.failed:
            cells.append((count(self.tally.failed), "trials failed", "bad"))
        items = "\n".join(
            f"<div{f' class={style}' if style else ''}><dt>{prose(label)}</dt><dd>{escape(value)}</dd></div>"
            for value, label, style in cells
        )
        return f'<dl class="numbers">\n{items}\n</dl>'

    def _of(self) -> str:
        wanted = self.view.runs[-1].get("n_trials") if self.view.runs else None
        of = f" of {count(wanted)}" if wanted and wanted != self.tally.total else ""
        return f"trials{of}: {self.tally.counts()}"

    def _wall(self) -> float:
        """Seconds during which the sweep ran, without the pauses between its runs."""
        ends = [t.datetime_complete for t in self.view.trials if t.datetime_complete is not None]
        starts = [datetime.fromisoformat(run["begun"]) for run in self.view.runs]
        starts = [s.astimezone().replace(tzinfo=None) if s.tzinfo else s for s in starts]
        if not starts:
            speed = pace(self.view.trials)
            return 60 * len(ends) / speed if speed else 0.0
        total = 0.0
        for begun, after in zip(starts, [*starts[1:], datetime.max], strict=True):
            inside = [end for end in ends if begun <= end < after]
            if inside:
                total += (max(inside) - begun).total_seconds()
        return total

    def _found(self) -> str:
        if self.tally.complete == 0:
            return (
                f"<p>{prose('No trial was completed.')}</p>"
                if self.view.trials
                else "<p>No trial has ended yet.</p>"
            )
        parts: list[Figure] = []
        if len(self.names) == 2 or len(self.names) > 2:
            parts.append(pictures.front(self.view.trials, self.tally, self.names, self.titles))
        directions = self.view.directions
        for i, (name, direction) in enumerate(zip(self.names, directions, strict=True)):
            parts.append(pictures.history(self.view.trials, name, direction, i, self.titles))
        return figures(parts)

    def _parameters(self) -> str:
        bars, order = pictures.importance(self.view.study, 0, self.names[0])
        named = {name for each in self.settings.values() for name in each}
        order = [name for name in order if name in named] + sorted(named - set(order))
        lines = pictures.coordinates(
            self.view.trials, self.settings, self.distributions, self.names[0], self.view.directions[0],
            self.titles, order,
        )  # fmt: skip
        stops = pictures.rungs(self.view.trials, self.names[0], self.view.directions[0])
        found = [each for each in (lines, bars, stops) if each is not None]
        return figures(found) if found else ""

    def _best(self) -> str:
        trials = [t for t in self.view.trials if t.state.name == "COMPLETE" and t.values and feasible(t)]
        front = {trial.number for trial in self.tally.front}
        sign = -1 if self.view.directions[0] == "maximize" else 1
        trials.sort(key=lambda t: (t.number not in front, sign * t.values[0]))
        shown = trials[:_ROWS]
        if not shown:
            return ""
        names = list(dict.fromkeys(name for t in shown for name in self.settings[t.number]))
        measures = [m for m in _measures(shown) if m not in self.names]
        splits = any("test_scores" in t.user_attrs for t in shown)
        heads = ["trial", *self.names, *(["splits"] if splits else []), *measures, *names]
        head = "".join(
            f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name in heads
        )
        rows = "\n".join(self._row(t, names, measures, splits) for t in shown)
        which = f"the {len(shown)} best of {len(trials)}" if len(trials) > len(shown) else f"all {len(shown)}"
        if front:
            which += ", those on the Pareto front first"
        caption = f"Complete trials: {which}. A head sorts by its column."
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="The best trials">\n<table class="sortable">\n'
            f"<caption>{prose(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n"
            "</table>\n</div>"
        )

    def _row(self, trial: FrozenTrial, names: list[str], measures: list[str], splits: bool) -> str:
        assert trial.values is not None
        cells = [_cell(value, 6) for value in trial.values]
        if splits:
            spread = _spread(trial, self.names[0])
            cells.append(f'<td class="number soft">{spread}</td>')
        kept = trial.user_attrs.get("measures", {})
        cells += [_cell(kept.get(name)) for name in measures]
        cells += [_cell(self.settings[trial.number].get(name)) for name in names]
        return f'<tr data-trial="{trial.number}"><th scope="row">{trial.number}</th>{"".join(cells)}</tr>'

    def _shared(self) -> str:
        rows = []
        trials = self.view.trials
        fit = sum(_seconds(t, "fit_time") for t in trials)
        score = sum(_seconds(t, "score_time") for t in trials)
        fits = sum(_computed(t) for t in trials)
        wall = self._wall()
        if self.view.plan:
            rows.append(("Shared", self.view.plan))
            rows.append(("Passes over X", count(passes(self.view.plan))))
        if fits:
            rows.append(("Fits", f"{count(fits)}, {duration(fit)} in all; scoring them {duration(score)}"))
        if wall:
            rows.append(
                ("At work", duration(wall) + (f", {duration(wall / fits)} for a fit" if fits else ""))
            )
        if self.view.runs:
            last = self.view.runs[-1]
            rows.append(("Runs", f"{len(self.view.runs)}, the last on {last.get('host', '')}"))
        if self.tally.pruned:
            rows.append(("Ended early", f"{self.tally.pruned} of {self.tally.total} trials"))
        if not rows:
            return ""
        items = "\n".join(f"<dt>{prose(name)}</dt><dd>{prose(text)}</dd>" for name, text in rows)
        return f'<dl class="facts">\n{items}\n</dl>'

    def _failed(self) -> str:
        failed = [t for t in self.view.trials if t.state.name == "FAIL"]
        if not failed:
            return ""
        kinds: dict[str, list[int]] = {}
        for trial in failed:
            text = str(trial.user_attrs.get("error", "no reason was kept")).strip()
            kinds.setdefault(text.splitlines()[-1][:300], []).append(trial.number)
        rows = [
            (
                text,
                count(len(numbers)),
                ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else ""),
            )
            for text, numbers in sorted(kinds.items(), key=lambda each: -len(each[1]))[:_ERRORS]
        ]
        return table(Table(f"{len(failed)} trials failed.", ("why", "trials", "numbers"), rows))

    def _file(self) -> str:
        if not self.view.text:
            return ""
        where = f"<p>{prose(str(self.view.path))}</p>" if self.view.path else ""
        return f'{where}<pre tabindex="0"><code>{escape(self.view.text.rstrip())}</code></pre>'


def _cell(value: Any, digits: int = 4) -> str:
    if isinstance(value, float):
        return f'<td class="number" data-value="{value!r}">{escape(number(value, digits))}</td>'
    text = "" if value is None else " ".join(str(value).split())
    return f'<td class="number">{escape(text if value is not None else "None")}</td>'


def _measures(trials: list[FrozenTrial]) -> list[str]:
    return list(dict.fromkeys(name for t in trials for name in t.user_attrs.get("measures", {})))


def _spread(trial: FrozenTrial, name: str) -> str:
    scores = trial.user_attrs.get("test_scores", {})
    values = scores.get(name) or scores.get("score") or []
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    mean = sum(known) / len(known)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in known) / len(known))
    return f"±\N{NO-BREAK SPACE}{number(deviation)}"


def _seconds(trial: FrozenTrial, key: str) -> float:
    return float(sum(each for each in trial.user_attrs.get("seconds", {}).get(key, []) if each is not None))


def _computed(trial: FrozenTrial) -> int:
    return sum(each is not None for each in trial.user_attrs.get("seconds", {}).get("fit_time", []))
