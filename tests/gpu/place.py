"""What these checks run on, and why not."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

from manyfit._show_config import config

__all__ = ["PLACE", "Place"]


@dataclass(frozen=True)
class Place:
    """What there is to run on."""

    why_not: str  # empty where there is a device
    simulated: bool
    devices: list[dict[str, Any]]
    build: str

    @property
    def real(self) -> bool:
        """Whether it is a GPU."""
        return not self.why_not and not self.simulated

    def lines(self) -> list[str]:
        """The facts, a line each."""
        if self.why_not:
            return [f"skipped: {self.why_not}"]
        kind = "simulated device: kernels run on the host" if self.simulated else "GPU"
        lines = [f"{kind} (module built with {self.build})"]
        for each in self.devices:
            memory = f"{each['free'] / 2**30:.1f} of {each['memory'] / 2**30:.1f} GiB free"
            lines.append(
                f"{each['device']}: {each['name']}, compute capability {each['major']}.{each['minor']}, "
                f"{each['multiprocessors']} multiprocessors, {memory}, driver {each['driver']}, "
                f"runtime {each['runtime']}"
            )
        found = [name for name in ("cupy", "torch", "jax") if importlib.util.find_spec(name) is not None]
        lines.append(f"array libraries: {', '.join(found) or 'none'}")
        return lines


def _look() -> Place:
    facts = config()["cuda"]
    if not facts["built"]:
        return Place(
            f"manyfit was built without its CUDA module ({facts['build']})", False, [], facts["build"]
        )
    if not facts["devices"]:
        return Place(facts["reason"], False, [], facts["build"])
    from manyfit import _cuda

    return Place("", _cuda.simulated, facts["devices"], facts["build"])


PLACE = _look()
