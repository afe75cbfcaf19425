"""What can only be measured in a fresh process: first calls, peak memory, imports.

``python -m tests.bench.child`` is the process itself; the functions below start it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class ChildFailed(RuntimeError):
    """A fresh process did not deliver; the message is its last line."""


# ----------------------------------------------------------------------------- the parent's side


def measure_call(what: str, case_id: str, library: str, threads: int, *, quick: bool) -> dict[str, Any]:
    """Run one contender of a case in a fresh process; ``what`` is "first" or "memory"."""
    command = ["-m", "tests.bench.child", what, case_id, library, "--threads", str(threads)]
    record = json.loads(_python([*command, *(["--quick"] if quick else [])]))
    assert isinstance(record, dict)
    return record


def measure_import(statement: str, after: str) -> float:
    """Seconds of ``statement`` in a fresh interpreter that has run ``after``."""
    lines = (
        after,
        "import time",
        "start = time.perf_counter()",
        statement,
        "print(time.perf_counter() - start)",
    )
    return float(_python(["-c", "\n".join(lines)]))


def _python(arguments: list[str]) -> str:
    """Last line that a fresh interpreter printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ChildFailed(lines[-1])
    return done.stdout.strip().splitlines()[-1]


# ----------------------------------------------------------------------------- the child's side


def first_call(run: Callable[[], Any]) -> dict[str, Any]:
    """Seconds of the first call, whatever it loads and starts included."""
    start = time.perf_counter()
    run()
    return {"seconds": time.perf_counter() - start}


def peak_memory(warm_up: Callable[[], Any], run: Callable[[], Any]) -> dict[str, Any]:
    """Bytes that ``run`` adds to the resident memory at its peak.

    ``warm_up`` does the same on a few rows before, so that code loaded at the first call is not counted.
    """
    warm_up()
    gc.collect()
    _return_free_memory()
    CLEAR_REFS.write_text("5")  # The high-water mark starts again from the memory in use now.
    before = _status("VmRSS")
    run()
    return {"bytes": max(0, _status("VmHWM") - before)}


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{STATUS} has no {key}")
    return int(found[1]) * 1024


def _return_free_memory() -> None:
    """Give free heap pages back, or the call could use them without being seen (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def main() -> None:
    """Measure one contender and print a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("first", "memory"))
    parser.add_argument("case")
    parser.add_argument("library")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    from .case import Case, shrink
    from .cases import find

    warnings.simplefilter("ignore")
    case = find(args.case)
    assert isinstance(case, Case)
    case = shrink(case) if args.quick else case
    contender = next(c for c in case.contenders if c.library.name == args.library)
    data = case.data.make()
    run = contender.prepare(data, args.threads)
    if args.what == "first":
        record = first_call(run)
    else:
        record = peak_memory(contender.prepare(data.head(1000), args.threads), run)
        record["share"] = record["bytes"] / data.X.nbytes
    print(json.dumps(record))


if __name__ == "__main__":
    main()
