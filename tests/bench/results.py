"""What a run leaves behind: plain records that go to JSON and come back."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

SCHEMA = 1


@dataclass
class Entry:
    """One library in one case."""

    library: str
    version: str | None = None
    #: "ok", or why there are no times: "not installed", "skipped: ...", "failed: ...".
    status: str = "ok"
    notes: list[str] = field(default_factory=list)
    #: Relative error against the reference of the case.
    error: float | None = None
    within_tolerance: bool | None = None
    #: Seconds of a call, one figure per round (the mean of ``calls`` calls).
    seconds: list[float] = field(default_factory=list)
    calls: int = 1
    #: Seconds of the first call of fresh processes, imports of the class not counted.
    first_call: list[float] = field(default_factory=list)
    #: Bytes that a call in a fresh process added to the resident memory at its peak, and over X's bytes.
    peak_bytes: int | None = None
    peak_share: float | None = None

    @property
    def median(self) -> float | None:
        """Median seconds of a call."""
        return median(self.seconds) if self.seconds else None

    @property
    def spread(self) -> tuple[float, float] | None:
        """Quartiles of the seconds; None below three rounds."""
        return _quartiles(self.seconds)


@dataclass
class Verdict:
    """A target and what came of it; ``met`` is None where it could not be judged."""

    says: str
    outcome: str
    met: bool | None


@dataclass
class CaseResult:
    """Everything measured in one case."""

    id: str
    family: str
    title: str
    quality: str = ""
    limit: float | None = None
    #: None where there was nothing of ours to check.
    quality_ok: bool | None = None
    #: CPUs that other processes of the machine kept busy meanwhile; None where that is not known.
    others_cpus: float | None = None
    entries: list[Entry] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def ours(self) -> Entry:
        """Our entry, which is the first one."""
        return self.entries[0]

    @property
    def peers(self) -> list[Entry]:
        """The other libraries."""
        return self.entries[1:]

    def ratio(self, peer: Entry) -> float | None:
        """Median time of the peer over ours: above 1, ours is faster."""
        if self.ours.median is None or peer.median is None:
            return None
        return peer.median / self.ours.median

    def ratio_spread(self, peer: Entry) -> tuple[float, float] | None:
        """Quartiles of peer over ours, round by round: the drift of the machine falls out."""
        return _quartiles([p / o for o, p in zip(self.ours.seconds, peer.seconds, strict=False)])

    def fastest_peer(self) -> Entry | None:
        """The quickest of the peers whose quality is equal."""
        timed = [
            peer for peer in self.peers if peer.median is not None and peer.within_tolerance is not False
        ]
        return min(timed, key=lambda peer: peer.median or 0.0, default=None)


@dataclass
class Report:
    """A whole run."""

    machine: dict[str, Any]
    settings: dict[str, Any]
    results: list[CaseResult] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write as JSON."""
        record = {"schema": SCHEMA, **dataclasses.asdict(self)}
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read what ``save`` wrote."""
        record = json.loads(path.read_text(encoding="utf-8"))
        if record.pop("schema", None) != SCHEMA:
            raise ValueError(f"{path}: not a benchmark report of schema {SCHEMA}")
        results = []
        for item in record.pop("results"):
            entries = [Entry(**entry) for entry in item.pop("entries")]
            verdicts = [Verdict(**verdict) for verdict in item.pop("verdicts")]
            results.append(CaseResult(**item, entries=entries, verdicts=verdicts))
        return cls(**record, results=results)


def _quartiles(values: list[float]) -> tuple[float, float] | None:
    if len(values) < 3:
        return None
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high
