"""The command line: exit statuses, what is printed where, and what it costs to start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import manyfit
from manyfit.cli import main
from manyfit.linear_model import Ridge

Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``manyfit ARGUMENTS`` in a process of its own, into pipes."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "manyfit", *map(str, arguments)],
        env=os.environ | {"COLUMNS": "80"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "ridge.onnx"
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3))
    Ridge().fit(X, X @ [1.0, -2.0, 0.5]).to_onnx(path)
    return path


@pytest.fixture
def altered(exported: Path, tmp_path: Path) -> Path:
    """The same model with one coefficient another, and all else as it was."""
    import onnx

    model = onnx.load(exported)
    tensor = next(each for each in model.graph.initializer if list(each.dims).count(3))
    coefficients = bytearray(tensor.raw_data)
    coefficients[0] ^= 1
    tensor.raw_data = bytes(coefficients)
    path = tmp_path / "altered.onnx"
    onnx.save(model, path)
    return path


def one_line(text: str) -> str:
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text.strip()


# --- help, version, usage ---


@pytest.mark.parametrize("arguments", [(), ("tour",), ("verify",), ("info",)], ids=" ".join)
def test_help_has_examples_and_fits_80_columns(arguments: tuple[str, ...]) -> None:
    done = command(*arguments, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "examples:\n  manyfit " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "\x1b" not in done.stdout


def test_version() -> None:
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"manyfit {manyfit.__version__}\n")


def test_no_command_shows_the_help_as_an_error() -> None:
    done = command()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "commands:" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["train"], "invalid choice: 'train'"),
        (["tour", "--fast"], "unrecognized arguments: --fast"),
        (["tour", "--out"], "--out: expected one argument"),
        (["tour", "--out", ""], "--out: must name a directory, got ''"),
        (["tour", "--qui"], "unrecognized arguments: --qui"),
        (["verify"], "required: FILE"),
        (["info", "more"], "unrecognized arguments: more"),
    ],
)
def test_usage_errors_are_one_line(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    line = one_line(printed.err)
    assert problem in line
    assert "--help" in line


def test_help_starts_without_the_libraries(run_python: Run) -> None:
    done = run_python("""
        import sys
        from manyfit.cli import main
        assert main(["--help"]) == 0
        heavy = {"numpy", "scipy", "sklearn", "onnx", "onnxruntime", "rich", "matplotlib"} & set(sys.modules)
        assert not heavy, heavy
    """)
    assert done.returncode == 0, done.stderr


# --- info ---


def test_info_is_show_config(run_python: Run) -> None:
    done = command("info")
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout == run_python("import manyfit; manyfit.show_config()").stdout
    assert f"manyfit       {manyfit.__version__}\n" in done.stdout


def test_info_into_a_closed_pipe() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "manyfit", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


# --- verify ---


def test_verify_an_intact_file(exported: Path) -> None:
    done = command("verify", exported)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith(f"OK: {exported.parent}"[:40])
    assert "manyfit.linear_model.Ridge" in done.stdout
    assert "golden rows" in done.stdout
    assert "\x1b" not in done.stdout


def test_verify_an_altered_file(altered: Path) -> None:
    done = command("verify", altered)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED")
    assert "altered after export" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "not an ONNX file"),
        (b"This is a text.", "not an ONNX file"),
    ],
    ids=["missing", "empty", "text"],
)
def test_verify_unusable_files(
    content: bytes | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    assert main(["verify", str(path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    line = one_line(printed.err)
    assert line.startswith("manyfit verify: ")
    assert "model.onnx" in line
    assert problem in line


def test_verify_a_truncated_file(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "half.onnx"
    path.write_bytes(exported.read_bytes()[: exported.stat().st_size // 2])
    assert main(["verify", str(path)]) in (1, 2)
    printed = capsys.readouterr()
    assert "half.onnx" in printed.out + printed.err
    assert "Traceback" not in printed.err


def test_verify_a_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "Is a directory" in one_line(capsys.readouterr().err)


def test_verify_an_onnx_file_of_somebody_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx.helper

    value = onnx.helper.make_tensor_value_info("X", onnx.TensorProto.FLOAT, ["N", 1])
    other = onnx.helper.make_tensor_value_info("Y", onnx.TensorProto.FLOAT, ["N", 1])
    node = onnx.helper.make_node("Identity", ["X"], ["Y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "other", [value], [other]))
    path = tmp_path / "other.onnx"
    onnx.save(model, path)
    assert main(["verify", str(path)]) == 2
    assert "other.onnx" in one_line(capsys.readouterr().err)


def test_verify_several_files_takes_the_worst(
    exported: Path, altered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, missing = str(exported), str(altered), str(tmp_path / "missing.onnx")
    assert main(["verify", good, good]) == 0
    assert main(["verify", bad, good]) == 1
    capsys.readouterr()
    assert main(["verify", missing, bad, good]) == 2
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines() if line[0] != " "] == ["FAILED", "OK"]
    assert "missing.onnx" in one_line(printed.err)


def test_verify_on_a_terminal_that_is_not_unicode(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "modèle-Ω.onnx"
    path.write_bytes(exported.read_bytes())
    done = command("verify", path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
