"""Sweep files in a folder of their own."""

from __future__ import annotations

import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from manyfit.cli import main
from manyfit.sweep.file import Sweep, read_sweep
from manyfit.sweep.problems import SweepFileError

RIDGE = """\
data: diabetes
estimator: Ridge
metric: {name: r2, goal: maximize}
parameters:
  alpha: {min: 0.001, max: 100.0, distribution: log_uniform_values}
  fit_intercept: {values: [true, false]}
run_cap: 24
cv: 3
seed: 5
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """``write(text, name="sweep.yaml")``: a file in the test's folder."""

    def make(text: str, name: str = "sweep.yaml") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return make


@pytest.fixture
def read(write: Callable[..., Path]) -> Callable[[str], Sweep]:
    """``read(text)``: the sweep that a file says."""
    return lambda text: read_sweep(write(text))


@pytest.fixture
def wrong(write: Callable[..., Path]) -> Callable[[str], list[str]]:
    """``wrong(text)``: everything that is wrong with a file, with the places but without its folder."""

    def find(text: str) -> list[str]:
        path = write(text)
        with pytest.raises(SweepFileError) as caught:
            read_sweep(path)
        return [
            line.removeprefix(f"{path}:").strip().replace(f"{path.parent}/", "")
            for line in caught.value.lines()
        ]

    return find


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``command("run", "sweep.yaml")``: ``manyfit sweep run sweep.yaml`` in the test's folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        ended = main(["sweep", *map(str, arguments)])
        printed = capsys.readouterr()
        assert ended == status, printed.out + printed.err
        return subprocess.CompletedProcess(arguments, ended, printed.out, printed.err)

    return run
