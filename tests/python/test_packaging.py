"""The installed package: CPU levels, show_config, what an import does and what it leaves alone."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import manyfit as mf
from manyfit import _native
from manyfit._show_config import config

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]

LEVELS_THAT_RUN = [level for level in _native.levels_built if level in _native.levels_supported]

# Fits every family on the same data and prints the results with all their digits.
FIT_ALL = """
    import json
    import numpy as np
    import manyfit as mf
    from manyfit import _native
    from manyfit.decomposition import PCA
    from manyfit.linear_model import LinearRegression, Ridge

    rng = np.random.default_rng(7)
    X = rng.normal(size=(403, 13)) @ rng.normal(size=(13, 13)) + 5.0
    Y = X @ rng.normal(size=(13, 2)) + rng.normal(size=(403, 2))
    results = {}
    for dtype in ("float64", "float32"):
        ols = LinearRegression().fit(X.astype(dtype), Y.astype(dtype))
        ridge = Ridge(alpha=3.0).fit(X.astype(dtype), Y.astype(dtype))
        pca = PCA(n_components=4, svd_solver="full").fit(X.astype(dtype))
        sweep = mf.fit_many(
            Ridge(), X.astype(dtype), Y.astype(dtype), params=[{"alpha": a} for a in (0.1, 10.0)], cv=3
        )
        results[dtype] = {
            "ols": ols.coef_.tolist(),
            "ridge": ridge.coef_.tolist(),
            "intercept": ridge.intercept_.tolist(),
            "variance": pca.explained_variance_.tolist(),
            "components": pca.components_.tolist(),
            "sweep": [model.coef_.tolist() for model in sweep],
            "backends": [ols.fit_backend_, ridge.fit_backend_, pca.fit_backend_],
        }
    print(json.dumps({
        "level": _native.cpu_level,
        "reason": _native.cpu_level_reason,
        "module": _native.core.__name__,
        "flags": str(_native.core.build_info()),
        "results": results,
    }))
"""


def test_version_is_that_of_the_distribution() -> None:
    assert mf.__version__ == importlib.metadata.version("manyfit")


@pytest.mark.parametrize(
    ("asked", "built", "supported", "level"),
    [
        (None, "v2 v3 v4", "v2 v3 v4", "v4"),
        ("", "v2 v3 v4", "v2 v3 v4", "v4"),
        (None, "v2 v3 v4", "v2 v3", "v3"),
        (None, "v2 v3 v4", "v2", "v2"),
        (None, "v2", "v2 v3 v4", "v2"),
        (None, "base", "base", "base"),
        ("v2", "v2 v3 v4", "v2 v3 v4", "v2"),
        ("v3", "v2 v3 v4", "v2 v3", "v3"),
        ("base", "base", "base", "base"),
    ],
)
def test_level_chosen(asked: str | None, built: str, supported: str, level: str) -> None:
    chosen, reason = _native.choose_level(asked, tuple(built.split()), tuple(supported.split()))
    assert chosen == level
    assert reason == f"MANYFIT_CPU_LEVEL={asked}" if asked else "best level" in reason


@pytest.mark.parametrize(
    ("asked", "built", "supported", "message"),
    [
        ("v9", "v2 v3 v4", "v2 v3", "MANYFIT_CPU_LEVEL must be one of base, v2, v3, v4, got 'v9'"),
        ("V3", "v2 v3 v4", "v2 v3", "got 'V3'"),
        ("v3", "v2", "v2 v3 v4", "MANYFIT_CPU_LEVEL=v3: that level is not built (built: v2; this CPU runs"),
        ("base", "v2 v3 v4", "v2 v3 v4", "MANYFIT_CPU_LEVEL=base: that level is not built"),
        ("v4", "v2 v3 v4", "v2 v3", "MANYFIT_CPU_LEVEL=v4: this CPU does not run that level"),
        (
            None,
            "v2 v3 v4",
            "",
            "fits this machine (built: v2, v3, v4; this CPU runs: none)",
        ),
        (None, "v4", "v2 v3", "no manyfit module fits this machine"),
        (None, "", "v2 v3", "built: none"),
    ],
)
def test_level_refused(asked: str | None, built: str, supported: str, message: str) -> None:
    with pytest.raises(ImportError, match=re.escape(message)):
        _native.choose_level(asked, tuple(built.split()), tuple(supported.split()))


def test_import_with_unknown_level_says_what_there_is(run_python: RunPython) -> None:
    result = run_python("import manyfit._native", MANYFIT_CPU_LEVEL="v9")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ImportError: MANYFIT_CPU_LEVEL must be one of base, v2, v3, v4, got 'v9' (built: "
    )


def test_default_is_the_best_level(run_python: RunPython) -> None:
    result = run_python("from manyfit import _native as n; print(n.cpu_level, n.core.__name__)")
    assert result.stdout.split() == [LEVELS_THAT_RUN[-1], f"manyfit._core_{LEVELS_THAT_RUN[-1]}"], (
        result.stderr
    )


def test_every_level_gives_the_same_models(run_python: RunPython) -> None:
    runs = {}
    for level in LEVELS_THAT_RUN:
        process = run_python(FIT_ALL, MANYFIT_CPU_LEVEL=level)
        assert process.returncode == 0, process.stderr
        runs[level] = json.loads(process.stdout)
    for level, run in runs.items():
        assert run["level"] == level
        assert run["module"] == f"manyfit._core_{level}"
        assert run["reason"] == f"MANYFIT_CPU_LEVEL={level}"
        assert level == "base" or f"-march=x86-64-{level}" in run["flags"]
    reference = runs[LEVELS_THAT_RUN[0]]["results"]
    for level, run in runs.items():
        for dtype, tolerance in (("float64", 1e-10), ("float32", 2e-4)):
            for name, expected in reference[dtype].items():
                got = run["results"][dtype][name]
                if name == "backends":
                    assert got == ["manyfit"] * 3
                else:
                    np.testing.assert_allclose(
                        got, expected, rtol=tolerance, atol=tolerance, err_msg=f"{level} {dtype} {name}"
                    )


def test_config_is_plain_data() -> None:
    facts = config()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["version"] == mf.__version__
    assert facts["cpu"]["level"] == _native.cpu_level
    assert facts["cpu"]["level"] in facts["cpu"]["built"]
    assert facts["threads"]["default"] >= 1
    assert facts["cuda"]["built"] is (importlib.util.find_spec("manyfit._cuda") is not None)
    assert facts["cuda"]["build"] == _native.core.build_info()["cuda"]
    assert facts["cuda"]["reason"] or facts["cuda"]["devices"]
    assert facts["dependencies"]["numpy"] == np.__version__


def test_show_config_prints_what_config_says() -> None:
    out = io.StringIO()
    mf.show_config(out)
    text, facts = out.getvalue(), config()
    unwrapped = re.sub(r"\s+", " ", text)
    for expected in (
        facts["version"],
        facts["cpu"]["level"],
        facts["cpu"]["reason"],
        f"affinity {facts['threads']['limits']['affinity']}",
        facts["lapack"]["name"],
        facts["build"]["compiler"],
        facts["cuda"]["build"],
    ):
        assert expected in unwrapped
    assert max(map(len, text.splitlines())) <= 80


def test_show_config_names_no_directory() -> None:
    out = io.StringIO()
    mf.show_config(out)
    assert not re.search(r"(?<![\w.])/\w+/", out.getvalue())


@pytest.mark.parametrize(
    ("environment", "threads"),
    [({"OMP_NUM_THREADS": "1"}, 1), ({"MANYFIT_NUM_THREADS": "1"}, 1), ({"MANYFIT_NUM_THREADS": "3"}, 3)],
)
def test_config_follows_the_environment(
    run_python: RunPython, environment: dict[str, str], threads: int
) -> None:
    code = "import json; from manyfit._show_config import config; print(json.dumps(config()['threads']))"
    shown = json.loads(run_python(code, **environment).stdout)
    assert shown["default"] == threads
    assert shown["limits"]["environment"] == threads


def test_import_leaves_heavy_packages_alone(run_python: RunPython) -> None:
    # Beyond what scikit-learn imports for the same classes, which is not ours to change.
    code = """
        import sys
        import sklearn.base, sklearn.decomposition, sklearn.linear_model, sklearn.model_selection
        theirs = {"manyfit", *sys.stdlib_module_names, *(name.partition(".")[0] for name in sys.modules)}

        def new():
            return sorted({name.partition(".")[0] for name in sys.modules} - theirs)

        import manyfit
        print(new())
        manyfit.linear_model.Ridge().fit([[0.0], [1.0]], [0.0, 1.0])
        manyfit.decomposition.PCA, manyfit.fit_many, manyfit.Dataset, manyfit.show_config
        print(new())
    """
    result = run_python(code)
    assert result.stdout.splitlines() == ["[]", "[]"], result.stderr


def test_import_and_fit_have_no_side_effect(run_python: RunPython) -> None:
    # Compared with the state after scikit-learn's import: what that one does is not ours.
    code = """
        import locale, os, random, signal, sys, threading, warnings
        import numpy as np
        import sklearn.linear_model, sklearn.decomposition, scipy.linalg

        def state():
            tasks = "/proc/self/task"
            return {
                "environment": dict(os.environ),
                "directory": os.getcwd(),
                "signals": {s: signal.getsignal(s) for s in signal.valid_signals()},
                "subnormals": [(np.array([5e-324, 2.3e-308]) / d).tolist() for d in (1.0, 2.0)],
                "float32 subnormals": (np.array([1e-38], "float32") / np.float32(16)).tolist(),
                "numpy errors": np.geterr(),
                "numpy random": np.random.get_state()[1].tolist(),
                "python random": random.getstate(),
                "locale": locale.setlocale(locale.LC_ALL),
                "warning filters": list(warnings.filters),
                "threads": len(os.listdir(tasks)) if os.path.isdir(tasks) else threading.active_count(),
                "recursion": sys.getrecursionlimit(),
                "hooks": (sys.excepthook, threading.excepthook, sys.unraisablehook),
            }

        before = state()
        assert before["float32 subnormals"][0] > 0
        import manyfit as mf
        import manyfit._native
        mf.linear_model.Ridge, mf.decomposition.PCA
        imported = state()
        print([name for name in before if before[name] != imported[name]])

        X = np.arange(3000.0).reshape(-1, 3) ** 0.5
        mf.linear_model.Ridge().fit(X, X)
        mf.decomposition.PCA().fit(X)
        fitted = state()
        fitted["threads"] = before["threads"]  # the pool stays
        print([name for name in before if before[name] != fitted[name]])
    """
    result = run_python(code)
    assert result.stdout.splitlines() == ["[]", "[]"], result.stderr


def test_modules_hold_no_path_of_the_build_machine() -> None:
    package = Path(str(_native.core.__file__)).parent
    modules = [package.joinpath(path.name) for path in package.glob("_c*") if ".so" in path.suffixes]
    assert len(modules) > len(_native.levels_built)
    absolute_source = re.compile(rb"(?<![\w.+/-])/[\w.+/-]+\.(?:cpp|cc|h|hpp|cu)\b")
    for module in modules:
        assert not absolute_source.findall(module.read_bytes()), module.name
