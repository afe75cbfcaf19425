"""What is wrong with a sweep file: all of it, with places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

__all__ = ["Problem", "Problems", "SweepFileError", "near", "one_of"]


@dataclass(frozen=True, order=True)
class Problem:
    """Something wrong: the line (1-based, 0 for the file as a whole), the key, and the rule and the value."""

    line: int
    key: str
    text: str


class SweepFileError(ValueError):
    """A sweep file that cannot be used.

    Parameters
    ----------
    path : str
    problems : iterable of Problem
    """

    def __init__(self, path: str, problems: Iterable[Problem]) -> None:
        self.path = path
        self.problems = sorted(set(problems))
        super().__init__("\n".join(self.lines()))

    def lines(self) -> list[str]:
        """One line for each problem: ``FILE:LINE: KEY: RULE, got VALUE``."""
        found = []
        for problem in self.problems:
            place = f"{self.path}:{problem.line}" if problem.line else self.path
            found.append(f"{place}: {problem.key + ': ' if problem.key else ''}{problem.text}")
        return found


class Problems:
    """Collects problems, and what was understood although it was written otherwise (`notes`)."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[Problem] = []
        self.notes: list[Problem] = []

    def add(self, line: int, key: str, text: str) -> None:
        """Add what is wrong."""
        self.found.append(Problem(line, key, " ".join(text.split())))

    def note(self, line: int, key: str, text: str) -> None:
        """Add how something was understood."""
        self.notes.append(Problem(line, key, text))

    def note_lines(self) -> list[str]:
        """One line for each note."""
        return SweepFileError(self.path, self.notes).lines()

    def check(self) -> None:
        """Raise SweepFileError if there are any."""
        if self.found:
            raise SweepFileError(self.path, self.found)


def near(name: str, names: Iterable[str], cutoff: float = 0.6) -> str:
    """``; did you mean 'alpha'?`` where one of the names is alike, else nothing."""
    choices = {each.lower(): each for each in names}
    found = get_close_matches(name.lower(), choices, n=1, cutoff=cutoff)
    return f"; did you mean {choices[found[0]]!r}?" if found else ""


def one_of(name: object, names: Iterable[str]) -> str:
    """Say which names there are, and which is the nearest."""
    names = list(names)
    return f"must be one of {', '.join(names)}, got {name!r}{near(str(name), names)}"
