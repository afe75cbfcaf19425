"""A run for people: plain text while it goes on, a Markdown table for the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from .results import CaseResult, Entry, Report
from .units import digits, seconds, unit_of

WIDTH = 98
OURS = "manyfit"
#: CPUs kept busy by other processes from which on a figure is doubtful.
COMPANY = 0.1


def _range(spread: tuple[float, float] | None) -> str:
    """Quartiles in the unit of the larger one."""
    if spread is None:
        return ""
    low, high = spread
    unit, size = unit_of(high)
    return f"{digits(low / size)}-{digits(high / size)} {unit}"


def _first(entry: Entry) -> str:
    return seconds(sorted(entry.first_call)[len(entry.first_call) // 2]) if entry.first_call else ""


def _peak(entry: Entry) -> str:
    return "" if entry.peak_share is None else f"{entry.peak_share:+.1%}"


def _error(entry: Entry) -> str:
    if entry.error is None:
        return ""
    error = f"{entry.error:.0e}" if entry.error else "0"
    return error if entry.within_tolerance else f"{error} !"


def _ratio(result: CaseResult, entry: Entry) -> str:
    ratio = result.ratio(entry)
    if ratio is None:
        return ""
    spread = result.ratio_spread(entry)
    return f"{digits(ratio)}" + (f" ({digits(spread[0])}-{digits(spread[1])})" if spread else "")


# ----------------------------------------------------------------------------- text

_ROW = "  {:<21}{:>9}  {:<15}{:>3}  {:>8}  {:>7}  {:>7}  {:<}"


def machine_lines(machine: dict[str, Any], settings: dict[str, Any]) -> Iterator[str]:
    """The facts at the head of a run."""
    memory = f", {machine['memory_gib']} GiB" if machine["memory_gib"] else ""
    yield f"machine   {machine['cpu']}, {machine['level']}, {machine['cpus']} usable CPUs{memory}"
    yield f"system    {machine['system']}, load {machine['load_before']} in the last minute"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    yield from textwrap.wrap(versions, WIDTH, initial_indent="versions  ", subsequent_indent=" " * 10)
    yield f"threads   {settings['threads']} for everyone"
    if settings["quick"]:
        yield "quick     smaller data, few rounds: a smoke test, no figures to quote, targets not judged"
    yield f"{OURS}, as it tells itself:"
    yield from textwrap.indent(machine["manyfit"], "  ").splitlines()


def case_lines(result: CaseResult) -> Iterator[str]:
    """One case: a row for each library, then the verdicts."""
    yield result.title
    yield _ROW.format("", "median", "quartiles", "n", "first", "memory", "error", "peer/ours").rstrip()
    for entry in result.entries:
        yield from _entry_lines(result, entry)
    if result.quality:
        yield from _quality_lines(result)
    for verdict in result.verdicts:
        word = {True: "met", False: "MISSED", None: "not judged"}[verdict.met]
        yield f"  target: {verdict.says}: {verdict.outcome}, {word}"
    if (result.others_cpus or 0) > COMPANY:
        yield f"  NOISY: other processes kept {result.others_cpus:.1f} CPUs busy meanwhile"


def _entry_lines(result: CaseResult, entry: Entry) -> Iterator[str]:
    if entry.seconds:
        ratio = _ratio(result, entry) if entry is not result.ours else ""
        cells = (seconds(entry.median), _range(entry.spread), len(entry.seconds), _first(entry), _peak(entry))
        yield _ROW.format(entry.library, *cells, _error(entry), ratio).rstrip()
    elif entry.status == "ok":
        yield _ROW.format(entry.library, "not timed", "", "", "", "", _error(entry), "").rstrip()
    else:
        head = f"  {entry.library:<21}"
        yield from textwrap.wrap(entry.status, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))
    for note in entry.notes:
        yield f"  {'':<21}{note}"


def _quality_lines(result: CaseResult) -> Iterator[str]:
    word = {True: "equal", False: "NOT EQUAL", None: "nothing of ours to check"}[result.quality_ok]
    says = f"  quality: {word}; {result.quality}"
    if result.quality_ok is False and result.ours.error is not None:
        says += f": {OURS}'s error {result.ours.error:.1e}, limit {result.limit:.1e}; not timed"
    yield from textwrap.wrap(says, WIDTH, subsequent_indent=" " * 11)


LEGEND = """\
median, quartiles: time of a call over n interleaved rounds; first: first call in a fresh process;
memory: what a call adds to the resident memory at its peak, over the bytes of X; error: relative, see
"quality", "!" beyond its limit (such a peer is not "the fastest peer"); peer/ours: ratio of the medians
(quartiles of the ratios round by round), above 1 ours is faster."""


def summary_lines(report: Report) -> Iterator[str]:
    """What came of the run as a whole."""
    verdicts = [(result, verdict) for result in report.results for verdict in result.verdicts]
    met, missed = (sum(v.met is value for _, v in verdicts) for value in (True, False))
    equal = sum(result.quality_ok is True for result in report.results)
    checked = sum(result.quality_ok is not None for result in report.results)
    unjudged = len(verdicts) - met - missed
    yield (
        f"{len(report.results)} cases: quality equal in {equal} of {checked} checked; targets: {met} met, "
        + (f"{missed} missed" + (f", {unjudged} not judged" if unjudged else ""))
    )
    for result, verdict in verdicts:
        if verdict.met is False:
            text = f"  MISSED {result.id}: {verdict.says}: {verdict.outcome}"
            yield from textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    for reason, ids in failures(report).items():
        where = "every case" if len(ids) == len(report.results) else ", ".join(ids)
        text = f"  FAILED {reason}: {where}"
        yield from textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
    missing = {e.library for r in report.results for e in r.entries if e.status == "not installed"}
    if missing:
        yield f"  not installed: {', '.join(sorted(missing))}"
    company = sum((result.others_cpus or 0) > COMPANY for result in report.results)
    if company:
        yield f"  NOISY: others kept over {COMPANY} CPUs busy during {company} cases; measure those again"
    threads = report.settings["threads"]
    for pool, size in report.machine.get("threadpools", {}).items():
        if size != threads:
            yield f"  {pool} has {size} threads, not {threads}"


def failures(report: Report) -> dict[str, list[str]]:
    """Why the exit status is 1, with the cases; empty where ours took part everywhere at equal quality."""
    reasons: dict[str, list[str]] = {}
    for result in report.results:
        if result.ours.status != "ok":
            reasons.setdefault(f"{OURS} {result.ours.status}", []).append(result.id)
        elif result.quality_ok is False:
            reasons.setdefault("quality is not equal", []).append(result.id)
    return reasons


# ----------------------------------------------------------------------------- Markdown


def markdown(report: Report) -> str:
    """A table for the documentation: ours, each peer with its ratio, first call, memory."""
    peers = sorted({entry.library for result in report.results for entry in result.peers})
    head = ["case", OURS, *peers, "first call", "peak memory"]
    rows = [head, ["---"] + ["--:"] * (len(head) - 1)]
    rows += [_markdown_row(result, peers) for result in report.results]
    machine, settings = report.machine, report.settings
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    caption = (
        f"{machine['cpu']} ({machine['level']}, {machine['cpus']} CPUs), {settings['threads']} threads; "
    )
    quick = "A quick run: smaller data, few rounds, no figures to quote.\n\n" if settings["quick"] else ""
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    return f"{quick}{caption}{versions}.\n\n{table}\n"


def _markdown_row(result: CaseResult, peers: list[str]) -> list[str]:
    by_name = {entry.library: entry for entry in result.entries}
    title = result.title.replace("|", "\\|")
    if result.quality_ok is False:
        title += " (**quality not equal**)"
    cells = [title, _markdown_time(result, result.ours)]
    cells += [_markdown_time(result, by_name[peer]) if peer in by_name else "" for peer in peers]
    return [*cells, _first(result.ours), _peak(result.ours)]


def _markdown_time(result: CaseResult, entry: Entry) -> str:
    if not entry.seconds:
        return entry.status.split(":")[0] if entry.status != "ok" else "not timed"
    text = seconds(entry.median)
    ratio = result.ratio(entry)
    if entry is not result.ours and ratio is not None:
        text += f" ({digits(ratio)}x)"
    return text if entry.within_tolerance is not False else f"{text}, inaccurate"
