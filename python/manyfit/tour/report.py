"""The report: one page that holds everything it shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import manyfit
from manyfit._page.html import document, figures, prose, table
from manyfit._page.words import duration, times
from manyfit.tour.chapter import Check, Measurement, Result
from manyfit.tour.machine import Machine

__all__ = ["page"]

Part = tuple[str, Result]


def page(parts: Sequence[Part], machine: Machine, commands: Sequence[tuple[str, str]], *, quick: bool) -> str:
    """Lay out the report.

    Parameters
    ----------
    parts : sequence of (title, Result)
        The chapters, in order.
    machine : Machine
    commands : sequence of (text, command)
        Where to go next; the commands are to be copied.
    quick : bool
        Whether the tour was the short one.

    Returns
    -------
    str
        A page of HTML without any external resource.
    """
    chapters = "\n".join(
        _chapter(number, title, result) for number, (title, result) in enumerate(parts, start=1)
    )
    measurements = [row for _, result in parts for row in result.measurements]
    checks = [check for _, result in parts for check in result.checks]
    body = f"""\
<header>
<h1>A tour of manyfit</h1>
<p class="lead">Whole hyperparameter sweeps for the price of a few fits, scikit-learn&rsquo;s interface, and
verified ONNX at the end. Everything on this page was computed on this machine just
now{_quick_note(quick)}</p>
{_numbers(parts, checks)}
{_alarm(checks)}
{_navigation(parts)}
</header>
<main>
{chapters}
{_measured(measurements, machine)}
{_verified(checks)}
{_machine(machine)}
{_next(commands)}
</main>
<footer>
<p class="meta">Written by manyfit {manyfit.__version__}. This page refers to nothing outside itself.</p>
</footer>"""
    return document("manyfit: the tour", body)


def _quick_note(quick: bool) -> str:
    return ", on smaller tables than in the whole tour, because it was asked to be quick." if quick else "."


def _numbers(parts: Sequence[Part], checks: Sequence[Check]) -> str:
    """The few numbers that say most: the largest gain, and how many checks held."""
    held = sum(check.ok for check in checks)
    cells = [(f"{held} of {len(checks)}", "checks held", "" if held == len(checks) else "bad")]
    compared = [row for _, result in parts for row in result.measurements if row.beside_seconds is not None]
    if compared:
        # Small things gain large factors; the longest work is what people wait for.
        longest = max(compared, key=lambda row: row.beside_seconds or 0.0)
        same = [row for row in compared if row.what == longest.what]
        cells.insert(0, (duration(longest.seconds), longest.what, ""))
        cells[1:1] = [(duration(row.beside_seconds or 0.0), row.beside, "") for row in same]
    items = "\n".join(
        f"<div{f' class={style}' if style else ''}><dt>{prose(label)}</dt><dd>{escape(value)}</dd></div>"
        for value, label, style in cells
    )
    return f'<dl class="numbers">\n{items}\n</dl>'


def _alarm(checks: Sequence[Check]) -> str:
    failed = [check for check in checks if not check.ok]
    if not failed:
        return ""
    lines = "\n".join(
        f"<p><strong>{prose(check.what)}</strong>: {prose(check.detail)}</p>" for check in failed
    )
    return f'<div class="alarm" role="alert">\n<p class="failed">Did not hold</p>\n{lines}\n</div>'


def _navigation(parts: Sequence[Part]) -> str:
    places = [(f"chapter-{number}", title) for number, (title, _) in enumerate(parts, start=1)]
    places += [("measured", "What was measured"), ("verified", "What was verified")]
    places += [("machine", "This machine"), ("next", "Where to go next")]
    items = "\n".join(f'<li><a href="#{place}">{escape(title)}</a></li>' for place, title in places)
    return f'<nav aria-label="Contents"><ol>\n{items}\n</ol></nav>'


def _chapter(number: int, title: str, result: Result) -> str:
    lines = [f'<section id="chapter-{number}" aria-labelledby="title-{number}">']
    lines.append(f'<h2 id="title-{number}">{escape(title)}</h2>')
    lines += [f"<p>{prose(paragraph)}</p>" for paragraph in result.text or [result.headline]]
    if result.figures:
        lines.append(figures(result.figures))
    if result.code:
        lines.append(f'<pre tabindex="0"><code>{escape(result.code.rstrip())}</code></pre>')
    lines += [table(each) for each in result.tables]
    lines.append("</section>")
    return "\n".join(lines)


def _measured(measurements: Sequence[Measurement], machine: Machine) -> str:
    rows = "\n".join(_measured_row(row) for row in measurements)
    return f"""\
<section id="measured" aria-labelledby="measured-title">
<h2 id="measured-title">What was measured</h2>
<p>Wall-clock times of this run. Short ones are medians of many calls, taken in turn with what they stand
beside; what is not manyfit had as many BLAS threads as made it fastest.
{prose(machine.note)}</p>
<table class="stacked">
<thead><tr><th scope="col">What</th><th scope="col">Time</th><th scope="col">Beside</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</section>"""


def _measured_row(row: Measurement) -> str:
    beside = ""
    if row.beside_seconds is not None and row.ratio is not None:
        beside = (
            f'<span class="number">{duration(row.beside_seconds)}, {times(row.ratio)} as long</span><br>'
            f'<span class="soft">{prose(row.beside)}</span>'
        )
    time = f'<td class="number">{duration(row.seconds)}</td>'
    return f'<tr><th scope="row">{prose(row.what)}</th>{time}<td>{beside}</td></tr>'


def _verified(checks: Sequence[Check]) -> str:
    rows = "\n".join(
        f'<tr><td class="{"ok" if check.ok else "failed"}">{"held" if check.ok else "FAILED"}</td>'
        f'<th scope="row">{prose(check.what)}<br><span class="soft">{prose(check.detail)}</span></th></tr>'
        for check in checks
    )
    return f"""\
<section id="verified" aria-labelledby="verified-title">
<h2 id="verified-title">What was verified</h2>
<p>The tour ends with exit status 0 only when all of this holds.</p>
<table class="stacked">
<thead><tr><th scope="col">Result</th><th scope="col">Check</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</section>"""


def _machine(machine: Machine) -> str:
    items = "\n".join(f"<dt>{prose(label)}</dt><dd>{prose(text)}</dd>" for label, text in machine.facts)
    return f"""\
<section id="machine" aria-labelledby="machine-title">
<h2 id="machine-title">This machine</h2>
<dl class="facts">
{items}
</dl>
</section>"""


def _next(commands: Sequence[tuple[str, str]]) -> str:
    items = "\n".join(
        f'<p>{prose(text)}</p>\n<pre tabindex="0">{escape(command)}</pre>' for text, command in commands
    )
    return f"""\
<section id="next" class="commands" aria-labelledby="next-title">
<h2 id="next-title">Where to go next</h2>
{items}
</section>"""
