"""A line for each told trial, exactly once, whatever happened between telling and writing."""

from __future__ import annotations

import json
import math
import resource
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from manyfit.tracking import JsonLines

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(study_name="größe")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


def lines(path: Path) -> list[dict[str, Any]]:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def numbers(path: Path) -> list[int]:
    return [line["number"] for line in lines(path)]


def test_content(tell: Any, study: optuna.Study, path: Path) -> None:
    log = JsonLines(path)
    log.on_batch_end(study, tell(study, 2))
    failed = tell(study, state=TrialState.FAIL, value=None, user_attrs={"error": "Trace\nback"})
    odd = tell(
        study,
        value=math.inf,
        intermediate_values={0: math.nan, 5: 1.0},
        user_attrs={"scores": [1, None, np.float32(0.5)], "object": {1}},
        system_attrs={"constraints:size": 2.0},
    )
    log.on_batch_end(study, failed + odd)
    got = lines(path)
    assert [line["number"] for line in got] == [0, 1, 2, 3]
    assert got[0]["study"] == "größe"
    assert got[0]["params"] == {"a": 0.5}
    assert got[0]["values"] == [0.0]
    assert got[0]["state"] == "COMPLETE"
    assert got[0]["completed"] == study.trials[0].datetime_complete.isoformat()  # type: ignore[union-attr]
    assert got[2]["state"] == "FAIL"
    assert got[2]["attrs"]["error"] == "Trace\nback"
    assert got[3]["values"] == ["inf"]
    assert got[3]["intermediate_values"] == {"0": "nan", "5": 1.0}
    assert got[3]["attrs"] == {"scores": [1, None, 0.5], "object": "{1}"}
    assert got[3]["constraints"] == {"size": 2.0}


@pytest.mark.parametrize("cut", [0, 1, 10, "newline", "all but newline of two"])
def test_resume_after_a_kill(tell: Any, cut: Any, study: optuna.Study, path: Path) -> None:
    log = JsonLines(path)
    log.on_batch_end(study, tell(study, 3))
    whole = path.read_bytes()
    if cut == "newline":
        path.write_bytes(whole[:-1])
    elif cut == "all but newline of two":
        path.write_bytes(b"\n".join(whole.split(b"\n")[:2]))
    else:
        path.write_bytes(whole[: len(whole) - cut])
    missed = tell(study, 2)  # committed, and not appended
    log = JsonLines(path)
    log.on_batch_end(study, tell(study, 1))
    assert numbers(path) == list(range(6))
    log.on_batch_end(study, missed)
    assert numbers(path) == list(range(6))


def test_last_batch_missed(tell: Any, study: optuna.Study, path: Path) -> None:
    tell(study, 3)

    class Search:
        study_ = study

    JsonLines(path).on_search_end(Search())
    assert numbers(path) == [0, 1, 2]


def test_studies_share_a_file(tell: Any, study: optuna.Study, path: Path) -> None:
    log = JsonLines(path)
    other = optuna.create_study(study_name="other")
    again = optuna.create_study(study_name="größe")  # a later one, of the same name
    for each in (study, other, again, study):
        log.on_batch_end(each, tell(each, 1))
    assert [(line["study"], line["number"]) for line in lines(path)] == [
        ("größe", 0),
        ("other", 0),
        ("größe", 0),
        ("größe", 1),
    ]


def test_with_optunas_own_optimize(path: Path) -> None:
    study = optuna.create_study()
    study.optimize(lambda t: t.suggest_float("x", 0, 1), 3, callbacks=[JsonLines(path)])
    assert numbers(path) == [0, 1, 2]


def test_full_disk(tell: Any, study: optuna.Study, path: Path) -> None:
    log = JsonLines(path)
    log.on_batch_end(study, tell(study, 2))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
    try:
        with pytest.warns(
            RuntimeWarning, match=r"JsonLines\('.*log.jsonl'\): not recorded, .* File too large"
        ):
            log.on_batch_end(study, tell(study, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.on_batch_end(study, tell(study, 1))
    assert numbers(path) == [0, 1, 2, 3, 4]


def test_lines_of_others_stay(tell: Any, study: optuna.Study, path: Path) -> None:
    path.write_text('not json\n[1]\n{"study": "größe"}\n')
    JsonLines(path).on_batch_end(study, tell(study, 1))
    text = path.read_text().splitlines()
    assert text[:3] == ["not json", "[1]", '{"study": "größe"}']
    assert json.loads(text[3])["number"] == 0


def test_bad_paths(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="JsonLines: the folder of path='.*no/log' does not exist"):
        JsonLines(tmp_path / "no" / "log")
    with pytest.raises(IsADirectoryError, match="path must be a file"):
        JsonLines(tmp_path)
