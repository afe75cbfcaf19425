"""``python -m tests.gpu``: every check on a GPU, and a table of what ran."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .place import PLACE

FOLDER = Path(__file__).parent


class Table:
    """Counts what became of the checks, by file and function."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], Counter[str]] = {}
        self.seconds: Counter[tuple[str, str]] = Counter()
        self.reasons: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        path, _, name = report.nodeid.partition("::")
        place = Path(path).stem.removeprefix("test_"), name.partition("[")[0].removeprefix("test_")
        self.seconds[place] += report.duration
        if report.when == "call" or report.outcome != "passed":
            self.counts.setdefault(place, Counter())[report.outcome] += 1
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            self.reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1

    def show(self) -> None:
        """Print the table."""
        print(f"\n{'check':58} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
        for place, counts in self.counts.items():
            name = f"{place[0]}: {place[1].replace('_', ' ')}"
            numbers = f"{counts['passed']:7} {counts['failed']:7} {counts['skipped']:8}"
            print(f"{name[:58]:58} {numbers} {self.seconds[place]:8.1f}")
        for reason, count in self.reasons.items():
            print(f"skipped {count}: {reason}")


def main(arguments: list[str]) -> int:
    """Run the checks; 0 where all that can run passed."""
    for line in PLACE.lines():
        print(line)
    if PLACE.why_not:
        return 0
    table = Table()
    # One process: a GPU is not shared among several.
    status = pytest.main(["-n0", "-q", "-p", "no:cacheprovider", str(FOLDER), *arguments], plugins=[table])
    table.show()
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
