"""Facts about the machine that a figure means nothing without."""

from __future__ import annotations

import contextlib
import importlib
import io
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from .case import CELER, LIBRARIES, MANYFIT
from .threads import load, usable_cpus

#: Flags of /proc/cpuinfo that each x86-64 level adds to the one before.
LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}


def facts() -> dict[str, Any]:
    """CPU, its level, memory, and the versions of everything that takes part."""
    cpuinfo = _read("/proc/cpuinfo")
    model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.+)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", _read("/proc/meminfo"), re.MULTILINE)
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cpus": usable_cpus(),
        "level": _level(set(flags[1].split())) if flags else platform.machine(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "system": f"{platform.system()} {platform.release()}",
        "versions": _versions(),
        "manyfit": _manyfit(),
        "load_before": load(),
    }


def _level(flags: set[str]) -> str:
    best = "x86-64"
    for level, needed in LEVELS.items():
        if not needed <= flags:
            break
        best = level
    return best


def _versions() -> dict[str, str]:
    versions = {"Python": platform.python_version()}
    for name in ("numpy", "scipy", *(library.name for library in (*LIBRARIES, CELER))):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _manyfit() -> str:
    """What ``show_config`` prints (the level that runs, compiler, LAPACK), or why it cannot."""
    text = io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            importlib.import_module(MANYFIT.root).show_config()
    except Exception as error:  # whatever is wrong with ours, the peers can still be shown
        return f"no configuration to show: {type(error).__name__}: {error}"
    return text.getvalue().strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
