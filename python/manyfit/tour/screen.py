"""The tour in a terminal or a pipe."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from types import TracebackType
from typing import NoReturn, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from manyfit._page.words import duration, times
from manyfit.tour.chapter import Check, Measurement, Result

__all__ = ["Screen"]

# For terminals that are not UTF-8.
_ASCII = str.maketrans({"✓": "+", "✗": "!", "·": "-", "²": "^2", "µ": "u", "“": '"', "”": '"'})


class _Console(Console):
    """A console that lets the command decide what a closed pipe means."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


class Screen:
    """Prints finished parts; on a terminal a line at the bottom shows what is under way.

    Nothing but plain text goes into a pipe or a file (colours do where FORCE_COLOR asks for them).
    """

    def __init__(self) -> None:
        self.console = _Console(highlight=False, emoji=False, markup=False)
        self._plain = not (self.console.encoding or "").lower().startswith("utf")
        # Not the console's own guess: FORCE_COLOR may ask for colours in a pipe, never for a moving line.
        live = sys.stdout.isatty() and self.console.is_interactive
        self._progress = Progress(
            SpinnerColumn("line" if self._plain else "dots", style="cyan"),
            TextColumn("{task.description}", markup=False),
            BarColumn(
                bar_width=16,
                style="bright_black",
                complete_style="cyan",
                finished_style="cyan",
                pulse_style="cyan",
            ),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not live,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    # --- the step under way ---

    def begin(self, text: str) -> None:
        """Show that a step begins."""
        room = max(20, min(self.console.width - 32, 50))
        shown = text if len(text) <= room else text[: room - 3] + "..."
        self._task = self._progress.add_task(self._encodable(shown.ljust(room)), total=None)

    def move(self, fraction: float) -> None:
        """Show how far the step is."""
        if self._task is not None:
            self._progress.update(self._task, total=1.0, completed=min(max(fraction, 0.0), 1.0))

    def end(self) -> None:
        """Take the step away again."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None

    # --- what stays ---

    def title(self, version: str, *, quick: bool) -> None:
        """Say what is about to happen."""
        self._print(f"manyfit {version} · tour{' (quick)' if quick else ''}", "bold")
        self._print("Everything below is computed here and now, on scikit-learn's own real data.")

    def note(self, text: str) -> None:
        """Say something in passing."""
        if text:
            self._print(text, "yellow")

    def chapter(self, number: int, count: int, title: str) -> None:
        """Announce a chapter."""
        self._print("")
        self._print(f"{number}/{count}  {title}", "bold cyan")

    def result(self, result: Result) -> None:
        """Tell what a chapter found."""
        self._print(result.headline, indent=5)
        held = sum(check.ok for check in result.checks)
        self._print(
            f"{held} of {len(result.checks)} checks held, {duration(result.seconds)}", "dim", indent=5
        )
        for check in result.checks:
            if not check.ok:
                self._print(f"✗ FAILED  {check.what}: {check.detail}", "bold red", indent=5)

    def measured(self, measurements: Sequence[Measurement]) -> None:
        """Show what was measured: a line for each, and below it what stands beside it."""
        self._print("")
        self._print("What was measured", "bold")
        before = ""
        for row in measurements:
            if row.what != before:
                self._row(row.what, duration(row.seconds))
            before = row.what
            if row.beside_seconds is not None and row.ratio is not None:
                self._row(f"  {row.beside}", duration(row.beside_seconds), times(row.ratio), style="dim")

    def _row(self, what: str, time: str, factor: str = "", style: str = "") -> None:
        room = max(12, min(self.console.width, 80) - 24)
        indent = " " * (len(what) - len(what.lstrip()))
        *first, last = textwrap.wrap(what, room, initial_indent=indent, subsequent_indent=indent + "  ")
        for line in first:
            self._print(line, style)
        self._print(f"{last:<{room}} {time:>10} {factor:>12}".rstrip(), style)

    def end_of_tour(self, checks: Sequence[Check], places: Sequence[tuple[str, str]], seconds: float) -> None:
        """Say how it ended and where to go next; `places` are pairs of a label and what to open or type."""
        held = sum(check.ok for check in checks)
        self._print("")
        if held == len(checks):
            self._print(f"✓ All {held} checks held. {duration(seconds)} in all.", "bold green")
        else:
            self._print(f"✗ {len(checks) - held} of {len(checks)} checks FAILED.", "bold red")
        width = max(len(label) for label, _ in places) + 2
        for label, text in places:
            # Not wrapped, so that it can be copied.
            self.console.print(self._encodable(f"{label:<{width}}{text}"), soft_wrap=True)

    def _print(self, text: str, style: str = "", indent: int = 0) -> None:
        # Wrapped here rather than by rich, which fills lines up with spaces.
        room = max(20, self.console.width - indent)
        for line in (
            textwrap.wrap(self._encodable(text), room) if len(text) > room else [self._encodable(text)]
        ):
            self.console.print(Text(" " * indent + line, style), soft_wrap=True)

    def _encodable(self, text: str) -> str:
        return text.translate(_ASCII) if self._plain else text
