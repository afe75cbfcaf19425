"""Models saved by every version so far load in this one and answer as they did."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors

import manyfit as mf
from manyfit.persistence import FORMAT_VERSION
from manyfit.testing import all_estimators

DATA = Path(__file__).resolve().parents[1] / "data"
FILES = sorted((DATA / "golden").rglob("*.safetensors"))
HINT = "run python tests/data/make_golden.py and commit what it adds"


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_golden", DATA / "make_golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_golden(path: Path, maker: ModuleType) -> None:
    """Load the model at `path` and compare its answers with those beside it, up to another CPU's rounding."""
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    version = path.parent
    assert metadata["manyfit_version"] == version.name
    assert f"format_{metadata['format_version']}" == version.parent.name
    est = mf.load(path)
    assert path.name.startswith(maker.golden_name(type(est)) + "-")
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as expected:
        answers = maker.outputs(est, expected["X"])
        assert answers.keys() == set(expected.files) - {"X"}
        for method, answer in answers.items():
            golden = expected[method]
            assert answer.dtype == golden.dtype
            if golden.dtype.kind == "f":
                tolerance = 1e3 * np.finfo(golden.dtype).eps
                scale = float(np.max(np.abs(golden)))
                np.testing.assert_allclose(answer, golden, rtol=tolerance, atol=tolerance * scale)
            else:
                np.testing.assert_array_equal(answer, golden)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_golden_file(path: Path, maker: ModuleType) -> None:
    check_golden(path, maker)


@pytest.mark.parametrize("cls", all_estimators(), ids=lambda cls: cls.__name__)
def test_every_estimator_has_golden_files_of_this_format(cls: type, maker: ModuleType) -> None:
    folder = DATA / "golden" / f"format_{FORMAT_VERSION}"
    assert list(folder.glob(f"*/{maker.golden_name(cls)}-*.safetensors")), HINT


def test_what_is_made_now_would_pass(maker: ModuleType, tmp_path: Path) -> None:
    written = maker.write_golden(tmp_path)
    assert {path.name.split("-")[0] for path in written} == {
        maker.golden_name(cls) for cls in all_estimators()
    }
    for path in written:
        check_golden(path, maker)
    assert maker.write_golden(tmp_path) == []
