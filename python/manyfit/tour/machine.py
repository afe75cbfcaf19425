"""The machine that the times were taken on."""

from __future__ import annotations

import os
import platform
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from manyfit._show_config import config

__all__ = ["Machine", "observe"]


class Machine(NamedTuple):
    """What is known about the machine.

    Attributes
    ----------
    facts : list of (label, text)
    note : str
        Where other programs keep it busy, a sentence that says so; otherwise empty.
    """

    facts: list[tuple[str, str]]
    note: str


def observe() -> Machine:
    """Look at the machine as it is now."""
    known = config()
    cpu, load = known["cpu"], _load_average()
    processors = os.cpu_count() or 1
    dependencies = ", ".join(
        f"{name} {version}" for name, version in known["dependencies"].items() if version
    )
    facts = [
        ("Date", datetime.now().astimezone().strftime("%d %B %Y, %H:%M (UTC%z)")),
        ("Processor", f"{_processor()}, {processors} logical CPUs"),
        ("Threads used", str(known["threads"]["default"])),
        ("Code for", f"CPU level {cpu['level']}: {cpu['reason']}"),
        ("Memory", _memory()),
        ("Load before", "" if load is None else f"{load:.1f} on {processors} CPUs"),
        ("System", known["platform"]),
        ("manyfit", f"{known['version']}, {known['build']['compiler']}"),
        ("Python", known["python"]),
        ("With", dependencies),
    ]
    note = ""
    if load is not None and load > 0.5 * processors:
        note = f"Other programs keep this machine busy (load {load:.1f} on {processors} CPUs): times vary."
    return Machine([(label, text) for label, text in facts if text], note)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return name


def _memory() -> str:
    try:
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return ""
    return f"{n_bytes / 2**30:.0f} GiB"


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
