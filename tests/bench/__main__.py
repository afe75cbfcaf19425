"""``python -m tests.bench``: ours beside the installed peers."""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .threads import limit_threads, load, threadpools, usable_cpus

if TYPE_CHECKING:
    from .case import AnyCase
    from .results import Report


def main(argv: list[str] | None = None) -> int:
    """Run, or show a saved run again; 1 when ours is missing or its quality is not equal."""
    args = _parser().parse_args(argv)
    if args.from_json is not None:
        return _show(args.from_json, markdown=args.markdown)
    limit_threads(args.threads)
    from . import cases

    families = cases.FAMILIES if args.device == "cpu" else cases.DEVICE_FAMILIES[args.device]
    unknown = sorted(set(args.families) - set(families))
    if unknown:
        print(f"unknown family {unknown[0]!r}; there are: {', '.join(families)}", file=sys.stderr)
        return 2
    chosen = [
        (family, case)
        for family in args.families or families
        for case in cases.of_family(family)
        if args.case is None or args.case.search(case.id)
    ]
    if not chosen:
        print("no case has such an id; --list shows them", file=sys.stderr)
        return 2
    if args.list:
        for family, case in chosen:
            print(f"{family:<15} {case.id}")
        return 0
    return _run(chosen, args)


def _run(chosen: list[tuple[str, AnyCase]], args: argparse.Namespace) -> int:
    from . import machine, report, runner, timing
    from .results import Report

    # With --markdown, standard output is the table alone.
    out = sys.stderr if args.markdown else sys.stdout
    plan = dataclasses.replace(timing.QUICK if args.quick else timing.Plan(), repeat=args.repeat)
    settings = runner.Settings(args.threads, plan, quick=args.quick, full=args.full)
    record = Report(machine.facts(), dataclasses.asdict(settings))
    for line in report.machine_lines(record.machine, record.settings):
        print(line, file=out)
    print(f"\n{report.LEGEND}", file=out)
    for family, case in chosen:
        result = runner.run_case(case, family, settings)
        record.results.append(result)
        print(file=out)
        for line in report.case_lines(result):
            print(line, file=out, flush=True)
        if args.json is not None:
            record.save(args.json)  # what is measured is kept when a later case is interrupted
    record.machine["load_after"] = load()
    record.machine["threadpools"] = threadpools()
    if args.json is not None:
        record.save(args.json)
    return _finish(record, markdown=args.markdown)


def _show(path: Path, *, markdown: bool) -> int:
    from . import report
    from .results import Report

    record = Report.load(path)
    if not markdown:
        for line in report.machine_lines(record.machine, record.settings):
            print(line)
        for result in record.results:
            print("", *report.case_lines(result), sep="\n")
    return _finish(record, markdown=markdown)


def _finish(record: Report, *, markdown: bool) -> int:
    from . import report

    out = sys.stderr if markdown else sys.stdout
    print("", *report.summary_lines(record), sep="\n", file=out)
    if markdown:
        print(report.markdown(record), end="")
    return 1 if report.failures(record) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Time manyfit beside its installed peers, interleaved in one run, at equal quality. "
        "Exit status 1 when the quality of a case differs or manyfit is missing.",
    )
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="such as linear_model (default: all)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where ours computes")
    parser.add_argument("--quick", action="store_true", help="smaller data, few rounds: a smoke test")
    parser.add_argument("--full", action="store_true", help="also the peers that take minutes")
    parser.add_argument("--case", metavar="REGEX", type=_regex, help="only cases whose id has a match")
    parser.add_argument("--list", action="store_true", help="list the ids of the cases and stop")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything measured")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table (the rest to stderr)")
    parser.add_argument("--from-json", metavar="FILE", type=Path, help="show a saved run, measure nothing")
    parser.add_argument("--threads", metavar="N", type=_positive, default=usable_cpus(), help="for everyone")
    parser.add_argument("--repeat", metavar="N", type=_positive, help="rounds (default: as time allows)")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"not a regular expression: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
