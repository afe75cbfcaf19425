"""What a search shared, what it did one by one, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

__all__ = ["Plan", "Share"]


@dataclass
class Share:
    """Fits that were done alike.

    Attributes
    ----------
    how : str
        "population", "pipeline" or "one by one".
    what : str
        Name of the estimator, of the steps for a pipeline.
    why : str
        Why nothing more was shared; empty where there was nothing to share.
    fits : int
    passes : list of str
        What was prepared from the data, one entry for each pass over X.
    prepared : bool
        Whether all that was needed had been prepared before.
    seconds : float
        Wall-clock time.
    """

    how: str
    what: str
    why: str = ""
    fits: int = 0
    passes: list[str] = field(default_factory=list)
    prepared: bool = False
    seconds: float = 0.0

    def __str__(self) -> str:
        text = f"{self.fits} fit{'s' if self.fits != 1 else ''} of {self.what}"
        if self.how == "one by one":
            text += ", one by one"
        if self.passes:
            kinds = ", ".join(dict.fromkeys(self.passes))
            text += f", {len(self.passes)} pass{'es' if len(self.passes) != 1 else ''} over X ({kinds})"
        elif self.prepared:
            text += ", prepared before"
        return text + (f": {self.why}" if self.why else "")


class Plan:
    """What a search shared, in words (``str(plan)``) and numbers.

    Attributes
    ----------
    shares : list of Share
        Fits by the way they were done.
    steps : dict of str to int
        How often a step of a pipeline was fitted, by the name of its class; candidates that begin alike share it.
    workers : int
        Among how many workers the fits were divided; what one has prepared does not serve another.
    seconds : float
        Wall-clock time of the search.
    estimate : float or None
        What ``explain`` had predicted of it.
    """

    def __init__(self) -> None:
        self.shares: list[Share] = []
        self.steps: dict[str, int] = {}
        self.workers = 1
        self.seconds = 0.0
        self.estimate: float | None = None

    @property
    def fits(self) -> int:
        return sum(share.fits for share in self.shares)

    @property
    def passes(self) -> int:
        """Passes over X."""
        return sum(len(share.passes) for share in self.shares)

    def share(self, how: str, what: str, why: str = "") -> Share:
        """The entry for fits done in some way, made at its first use."""
        for share in self.shares:
            if (share.how, share.what, share.why) == (how, what, why):
                return share
        self.shares.append(Share(how, what, why))
        return self.shares[-1]

    @classmethod
    def joined(cls, plans: Iterable[Plan]) -> Plan:
        """One plan of those of several workers."""
        plans = list(plans)
        if len(plans) == 1:
            return plans[0]
        joined = cls()
        joined.workers = max(1, len(plans))
        for plan in plans:
            for theirs in plan:
                share = joined.share(theirs.how, theirs.what, theirs.why)
                share.fits += theirs.fits
                share.passes += theirs.passes
                share.prepared |= theirs.prepared
                share.seconds += theirs.seconds
            for name, n in plan.steps.items():
                joined.steps[name] = joined.steps.get(name, 0) + n
        return joined

    def __iter__(self) -> Iterator[Share]:
        return iter(self.shares)

    def __str__(self) -> str:
        parts = [str(share) for share in self.shares]
        if self.steps:
            parts.append("steps fitted: " + ", ".join(f"{name} {n}" for name, n in self.steps.items()))
        if self.workers > 1:
            parts.append(f"on {self.workers} workers")
        return "; ".join(parts) or "no fits"

    def __repr__(self) -> str:
        return f"<Plan: {self}>"
