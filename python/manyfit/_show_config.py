"""What this installation is made of and what it chose on this machine."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import sys
import textwrap
from typing import Any, TextIO

import manyfit
from manyfit import _native

__all__ = ["config", "show_config"]

_DEPENDENCIES = ("numpy", "scipy", "scikit-learn", "onnx", "onnxruntime", "safetensors")
_LABEL_WIDTH = 14
_LINE_WIDTH = 80


def _installed_version(distribution: str) -> str | None:
    """Version of a distribution without importing it (some take a second to import)."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _lapack() -> dict[str, str]:
    """Name and version of SciPy's LAPACK, whose functions the core calls."""
    import scipy

    # SciPy also tells directories of the machine it was built on; they help nobody here.
    lapack = scipy.show_config(mode="dicts")["Build Dependencies"]["lapack"]
    return {"provider": "SciPy", "name": lapack["name"], "version": lapack["version"]}


def _cuda(build: str) -> dict[str, Any]:
    """What there is of CUDA: the module, and the devices it finds; asking must not fail."""
    facts: dict[str, Any] = {"built": False, "build": build, "reason": build, "devices": []}
    if importlib.util.find_spec("manyfit._cuda") is None:
        return facts
    facts["built"] = True
    try:
        from manyfit import _cuda

        facts["reason"] = ""
        for index in range(_cuda.device_count()):
            facts["devices"].append({"device": f"cuda:{index}", **_cuda.facts(index)})
    except Exception as error:
        facts["reason"] = str(error)
    return facts


def _cuda_lines(cuda: dict[str, Any]) -> list[tuple[str, str]]:
    if not cuda["built"]:
        return [("CUDA", f"not built: {cuda['reason']}")]
    lines = [("CUDA", f"built ({cuda['build']})" + (f"; {cuda['reason']}" if cuda["reason"] else ""))]
    for each in cuda["devices"]:
        versions = ", ".join(
            f"{name} {each[name] // 1000}.{each[name] % 1000 // 10}"
            for name in ("driver", "runtime")
            if each[name]
        )
        lines.append(
            (
                f"  {each['device']}",
                f"{each['name']}, compute capability {each['major']}.{each['minor']}, "
                f"{each['free'] / 2**30:.1f} of {each['memory'] / 2**30:.1f} GiB free"
                + (f", {versions}" if versions else ""),
            )
        )
    return lines


def config() -> dict[str, Any]:
    """Facts about this installation, as a dictionary.

    Returns
    -------
    dict
        ``version``, ``python`` and ``platform``; ``cpu`` (``level``, ``reason``, levels ``built`` and
        ``supported``); ``threads`` (``default`` and its ``limits``, 0 where there is none); ``lapack``
        (``provider``, ``name``, ``version``); ``build`` (compiler and flags); ``cuda`` (``built``,
        ``build``, why no device is there: ``reason``, and ``devices``); ``dependencies`` (versions, None
        where not installed).

    See Also
    --------
    show_config : The same for people.
    """
    core = _native.core
    return {
        "version": manyfit.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "cpu": {
            "level": _native.cpu_level,
            "reason": _native.cpu_level_reason,
            "built": list(_native.levels_built),
            "supported": list(_native.levels_supported),
        },
        "threads": {"default": core.default_threads(), "limits": dict(core.thread_limits())},
        "lapack": _lapack(),
        "build": dict(core.build_info()),
        "cuda": _cuda(core.build_info()["cuda"]),
        "dependencies": {name: _installed_version(name) for name in _DEPENDENCIES},
    }


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Pairs (label, text) in the order they are shown."""
    cpu, threads, lapack = facts["cpu"], facts["threads"], facts["lapack"]
    build, cuda = facts["build"], facts["cuda"]
    limits = ", ".join(f"{name} {value or 'no limit'}" for name, value in threads["limits"].items())
    dependencies = ", ".join(
        f"{name} {version or 'missing'}" for name, version in facts["dependencies"].items()
    )
    return [
        ("manyfit", facts["version"]),
        ("Python", facts["python"]),
        ("Platform", facts["platform"]),
        ("CPU level", f"{cpu['level']} ({cpu['reason']})"),
        ("  built", ", ".join(cpu["built"])),
        ("  this CPU", ", ".join(cpu["supported"])),
        ("Threads", f"{threads['default']} ({limits})"),
        ("LAPACK", f"{lapack['name']} {lapack['version']} (from {lapack['provider']})"),
        ("Compiler", f"{build['compiler']}, {build['build_type']}"),
        ("  flags", build["flags"]),
        ("  with", f"Eigen {build['eigen']}, pybind11 {build['pybind11']}"),
        *_cuda_lines(cuda),
        ("Dependencies", dependencies),
    ]


def show_config(file: TextIO | None = None) -> None:
    """Print the version, the CPU level and why, the threads and why, LAPACK, compiler and CUDA.

    Parameters
    ----------
    file : text file, default=None
        Where to print; None is standard output.

    See Also
    --------
    config : The same facts as a dictionary.
    """
    out = sys.stdout if file is None else file
    for label, text in _lines(config()):
        print(
            textwrap.fill(
                text,
                width=_LINE_WIDTH,
                initial_indent=label.ljust(_LABEL_WIDTH),
                subsequent_indent=" " * _LABEL_WIDTH,
                break_long_words=False,
                break_on_hyphens=False,
            ),
            file=out,
        )
