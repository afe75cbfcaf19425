"""What a case has to reach, judged on its result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .results import CaseResult, Verdict
from .units import digits, seconds


class Target(Protocol):
    """A bound on one figure of a result."""

    def judge(self, result: CaseResult) -> Verdict:
        """Compare the result with the bound; ``met`` is None where the figure is missing."""


@dataclass(frozen=True)
class Faster:
    """A peer's time over ours is at least ``times``; the peer is the fastest one unless named."""

    times: float
    than: str | None = None

    def judge(self, result: CaseResult) -> Verdict:
        """Compare the ratio of medians."""
        says = f"at least {self.times:g}x {self.than or 'the fastest peer'}"
        if self.than is None:
            peer = result.fastest_peer()
        else:
            peer = next((entry for entry in result.peers if entry.library == self.than), None)
        ratio = None if peer is None else result.ratio(peer)
        if ratio is None or peer is None:
            return Verdict(says, "nothing to compare", None)
        return Verdict(says, f"{digits(ratio)}x {peer.library}", ratio >= self.times)


@dataclass(frozen=True)
class PeakMemory:
    """A call adds at most ``share`` of X's bytes to the memory in use."""

    share: float

    def judge(self, result: CaseResult) -> Verdict:
        """Compare the peak measured in a fresh process."""
        says = f"peak memory of a fit at most X + {self.share:.0%}"
        if result.ours.peak_share is None:
            return Verdict(says, "not measured", None)
        return Verdict(says, f"X + {result.ours.peak_share:.1%}", result.ours.peak_share <= self.share)


@dataclass(frozen=True)
class Seconds:
    """The median is at most ``bound`` seconds."""

    bound: float

    def judge(self, result: CaseResult) -> Verdict:
        """Compare the median."""
        says = f"at most {self.bound:g} s"
        if result.ours.median is None:
            return Verdict(says, "not measured", None)
        return Verdict(says, seconds(result.ours.median), result.ours.median <= self.bound)
