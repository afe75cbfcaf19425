"""Every kind of mistake in a sweep file, with the whole message: line, key, rule and value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from manyfit.sweep.file import Sweep, read_sweep
from manyfit.sweep.problems import SweepFileError

Wrong = Callable[[str], list[str]]
Read = Callable[[str], Sweep]

GOOD = {
    "data": "diabetes",
    "estimator": "Ridge",
    "parameters": "{alpha: {min: 0.1, max: 10.0}}",
    "run_cap": "8",
}


def text(**changes: str | None) -> str:
    """A good file with keys changed (None: left out)."""
    keys = {**GOOD, **changes}
    return "".join(f"{key}: {value}\n" for key, value in keys.items() if value is not None)


def space(entry: str) -> str:
    return text(parameters=f"{{{entry}}}")


CASES: list[tuple[str, list[str]]] = [
    # --- keys ---
    (text(run_cap=None, runcap="8"), ["4: runcap: unknown key; did you mean 'run_cap'?",
        "run_cap: run_cap or timeout must be given, got neither: bayes has no end of its own"]),
    (text(program="train.py"), ["5: program: unknown key; the estimator is named by estimator or pipeline"]),
    (text(data=None), ["data: must be given, got none"]),
    (text(parameters=None), ["parameters: must be given, got none"]),
    (text(estimator=None), ["estimator: either estimator or pipeline must be given, got neither"]),
    (text(pipeline="[Ridge]"), ["5: estimator: either estimator or pipeline must be given, got both"]),
    (text(params="{alpha: 1}", estimator=None, pipeline="[Ridge]"),
        ["4: params: goes with estimator; a step has its own, as {PCA: {n_components: 5}}",
         "2: parameters.alpha: Pipeline has no parameter 'alpha'; did you mean 'ridge__alpha'?"]),
    (text(name="''"), ["5: name: must be a text of 1 to 200 letters, got ''"]),
    (text(description="[1]"), ["5: description: must be a text, got a list"]),
    # --- estimators ---
    (text(estimator="Rigde"),
        ["2: estimator: neither manyfit nor scikit-learn has an estimator 'Rigde'; did you mean 'Ridge'?"]),
    (text(estimator="[Ridge]"), ["2: estimator: must be the name of an estimator, got a list"]),
    (text(estimator="os.system"),
        ["2: estimator: must be a class with fit, get_params and set_params, got 'os.system'"]),
    (text(estimator="sklearn.svm.SVX"), ["2: estimator: sklearn.svm has no 'SVX'; did you mean 'SVR'?"]),
    (text(estimator="no_such_thing.Ridge"), ["2: estimator: there is no module 'no_such_thing' for "
        "'no_such_thing.Ridge': pip install it, or see how it is spelt"]),
    (text(estimator="import os"), ["2: estimator: must be the name of an estimator, got 'import os'"]),
    (text(estimator="{class: Ridge, parms: {}}"),
        ["2: estimator.parms: unknown key; a step has class, name, params, columns; did you mean 'params'?"]),
    (text(estimator="{params: {}, name: x}"), ["2: estimator.class: must be the name of an estimator, got none"]),
    (text(params="{aplha: 1}"), ["5: params.aplha: Ridge has no parameter 'aplha'; did you mean 'alpha'?"]),
    (text(params="{alpha: -1.0}"), ["5: params.alpha: Ridge: alpha must be >= 0, got -1.0"]),
    (text(params="3"), ["5: params: must be a mapping of parameters, got 3"]),
    (text(estimator="SVR", params="{kernel: rgb}", parameters="{C: [1, 2]}"),
        ["5: params.kernel: SVR: kernel must be one of 'linear', 'poly', 'precomputed', 'rbf', 'sigmoid' or a callable,"
         " got 'rgb'"]),
    # --- pipelines ---
    (text(estimator=None, pipeline="[]", parameters="{a: [1, 2]}"),
        ["4: pipeline: must be a list of steps, got a list"]),
    (text(estimator=None, pipeline="[Ridge, Ridge]", parameters="{ridge__alpha: [1, 2]}"),
        ["4: pipeline[0]: only the last step predicts; Ridge has no transform"]),
    (text(estimator=None, pipeline="[{class: PCA, name: a}, {class: Ridge, name: a}]",
          parameters="{a__n_components: [1, 2]}"),
        ["4: pipeline[1]: steps must have different names, got 'a' twice"]),
    (text(estimator=None, pipeline="[{class: PCA, name: a__b}, Ridge]", parameters="{ridge__alpha: [1, 2]}"),
        ["4: pipeline[0].name: must be a word without '__', got 'a__b'"]),
    (text(estimator=None, pipeline="[PCA, {class: OneHotEncoder, columns: [a]}, Ridge]",
          parameters="{ridge__alpha: [1, 2]}"),
        ["4: pipeline[1]: steps with columns must come first: they work side by side"]),
    (text(estimator=None, pipeline="[{class: OneHotEncoder, columns: [bmj]}, Ridge]",
          parameters="{ridge__alpha: [1, 2]}"),
        ["4: pipeline.columns: the table has no column 'bmj'; did you mean 'bmi'?"]),
    # --- parameters ---
    (space("alhpa: [1, 2]"), ["3: parameters.alhpa: Ridge has no parameter 'alhpa'; did you mean 'alpha'?"]),
    (space("alpha: {min: 3, max: 1}"), ["3: parameters.alpha.min: must be < max (1), got 3"]),
    (space("alpha: {min: 3, max: 3}"),
        ["3: parameters.alpha.min: must be < max, got 3 for both; value: 3 fixes a parameter"]),
    (space("alpha: {min: 0, max: 1, distribution: log_uniform_values}"),
        ["3: parameters.alpha.min: must be > 0 on a log scale, got 0"]),
    (space("alpha: {min: a, max: 1}"), ["3: parameters.alpha.min: must be a number, got 'a'"]),
    (space("alpha: {min: 0.1}"), ["3: parameters.alpha.max: must be given for uniform, got none"]),
    (space("alpha: {min: .inf, max: 3}"), ["3: parameters.alpha.min: must be a finite number, got inf"]),
    (space("alpha: {mim: 1, max: 3}"),
        ["3: parameters.alpha.mim: unknown key; a parameter has values, value, min, max, distribution, q, mu, sigma;"
         " did you mean 'min'?"]),
    (space("alpha: {}"), ["3: parameters.alpha: must have values, value, or min and max, got none of them"]),
    (space("alpha: []"), ["3: parameters.alpha: must have at least one value, got an empty list"]),
    (space("alpha: {values: 3}"), ["3: parameters.alpha.values: must be a list of values, got 3"]),
    (space("alpha: [1, 2, 1]"), ["3: parameters.alpha[2]: values must be different, got 1 twice"]),
    (space("alpha: [1, -2]"), ["3: parameters.alpha[1]: Ridge: alpha must be >= 0, got -2"]),
    (space("alpha: {min: -1.0, max: 2.0}"), ["3: parameters.alpha.min: Ridge: alpha must be >= 0, got -1.0"]),
    (space("alpha: 3"), ["3: parameters: must hold at least one parameter with more than one value"]),
    (text(parameters="[alpha]"), ["3: parameters: must be a mapping of parameters, got a list"]),
    (space("alpha: {values: [1, 2], min: 3}"),
        ["3: parameters.alpha.min: does not go with categorical, which takes values"]),
    (space("alpha: {min: 1, max: 2, distribution: log}"),
        ["3: parameters.alpha.distribution: must be one of constant, categorical, int_uniform, uniform, q_uniform, "
         "log_uniform_values, q_log_uniform_values, log_uniform, normal, log_normal, got 'log'"]),
    (space("alpha: {min: 1, max: 2, distribution: beta}"),
        ["3: parameters.alpha.distribution: beta of W&B is not supported; there are constant, categorical, "
         "int_uniform, uniform, q_uniform, log_uniform_values, q_log_uniform_values, log_uniform, normal, log_normal"]),
    (space("alpha: {values: [1, 2], probabilities: [0.5, 0.5]}"),
        ["3: parameters.alpha.probabilities: is not supported: all values are equally likely"]),
    (space("alpha: {min: 1.0, max: 2.0, q: 3}"), ["3: parameters.alpha.q: must be <= max - min (1), got 3"]),
    (space("alpha: {min: 1.0, max: 2.0, q: -1}"), ["3: parameters.alpha.q: must be > 0, got -1"]),
    (space("alpha: {mu: 1, sigma: 0}"), ["3: parameters.alpha.sigma: must be > 0, got 0"]),
    (space("alpha: {min: 1.5, max: 3, distribution: int_uniform}"),
        ["3: parameters.alpha.min: must be a whole number for int_uniform, got 1.5"]),
    (space("alpha: {min: 0.1, max: 10.0, distribution: q_log_uniform_values, q: 0.1}"),
        ["3: parameters.alpha.q: must be 1, with whole numbers for min and max, on a log scale, got 0.1"]),
    (space("alpha: {min: 1, max: 400, distribution: log_uniform}"),
        ["3: parameters.alpha: log_uniform takes exponents of e; log_uniform_values takes the bounds"]),
    # --- method ---
    (text(method="bays"), ["5: method: must be one of grid, random, bayes, tpe, gp, cmaes, qmc, nsga2, nsga3, "
                           "got 'bays'; did you mean 'bayes'?"]),
    (text(method="grid"), ["3: parameters.alpha: has no end of values, and method grid tries all: give values, or q"]),
    (text(method="grid", parameters="{alpha: {min: 1, max: 1000000}}"),
        ["3: parameters: a grid must have at most 100,000 points, got 1,000,000"]),
    (text(run_cap=None), ["run_cap: run_cap or timeout must be given, got neither: bayes has no end of its own"]),
    # --- metric ---
    (text(metric="acuracy"), ["5: metric: there is no metric or measure 'acuracy'; did you mean 'accuracy'?"]),
    (text(metric="{name: r2, gaol: maximize}"),
        ["5: metric.gaol: unknown key; metric has name, goal; did you mean 'goal'?"]),
    (text(metric="{name: r2, goal: minimise}"),
        ["5: metric.goal: must be one of maximize, minimize, got 'minimise'; did you mean 'minimize'?"]),
    (text(metric="{name: r2, goal: minimize}"),
        ["5: metric.goal: must be maximize for r2 (the higher the better), got 'minimize'"]),
    (text(metric="{name: mse, goal: maximize}"),
        ["5: metric.goal: must be minimize for mse (the lower the better), got 'maximize'"]),
    (text(metric="{goal: maximize}"), ["5: metric: must be the name of a metric, got none"]),
    (text(metric="[]"), ["5: metric: must name at least one metric, got an empty list"]),
    (text(metric="[r2, r2]"), ["5: metric[1]: metrics must be different, got 'r2' twice"]),
    (text(metric="roc_auc"),
        ["5: metric: roc_auc is for classifiers, and Ridge is a regressor; r2 or neg_mean_squared_error fit"]),
    (text(estimator="LogisticRegression", data="iris", parameters="{C: [1, 2]}", metric="r2"),
        ["5: metric: r2 is for regressors, and LogisticRegression is a classifier; accuracy or neg_log_loss fit"]),
    (text(estimator="RidgeClassifier", data="breast_cancer", metric="neg_log_loss"),
        ["5: metric: neg_log_loss needs predict_proba, which RidgeClassifier does not have"]),
    (text(estimator="LogisticRegression", data="iris", parameters="{C: [1, 2]}", metric="f1"),
        ["5: metric: f1 cannot be computed on this target: Target is multiclass but average='binary'. Please choose "
         "another average setting, one of [None, 'micro', 'macro', 'weighted'].; f1_macro and f1_weighted take any "
         "classes"]),
    # --- constraints ---
    (text(constraints="latency_us < 3"),
        ["5: constraints: must read 'NAME <= NUMBER' or 'NAME >= NUMBER', got 'latency_us < 3'"]),
    (text(constraints="[latency <= 3]"),
        ["5: constraints[0]: there is no metric or measure 'latency'; did you mean 'latency_us'?"]),
    (text(constraints="{model_bytes: 3}"),
        ["5: constraints.model_bytes: must have max or min, as in {max: 200}, got 3"]),
    (text(constraints="{model_bytes: {max: a}}"), ["5: constraints.model_bytes.max: must be a number, got 'a'"]),
    # --- early_terminate ---
    (text(early_terminate="{type: hyperbnad}"),
        ["5: early_terminate.type: must be one of hyperband, successive_halving, median, percentile, wilcoxon, "
         "threshold, got 'hyperbnad'; did you mean 'hyperband'?"]),
    (text(early_terminate="{eta: 3}"),
        ["5: early_terminate.type: must be one of hyperband, successive_halving, median, percentile, wilcoxon, "
         "threshold, got none"]),
    (text(early_terminate="{type: hyperband, eta: 1}"), ["5: early_terminate.eta: must be >= 2, got 1"]),
    (text(early_terminate="{type: median, miniter: 1}"),
        ["5: early_terminate.miniter: unknown key; median has type, resource, min_resource, min_iter, min_trials; "
         "did you mean 'min_iter'?"]),
    (text(early_terminate="{type: percentile}"),
        ["5: early_terminate.percentile: must be a number between 0 and 100, got none"]),
    (text(early_terminate="median", metric="[r2, latency_us]"), ["5: early_terminate: goes with one metric, got 2"]),
    (text(early_terminate="median", metric="latency_us"),
        ["5: early_terminate: goes with a metric, got the measure latency_us"]),
    # --- limits ---
    (text(run_cap="0"), ["4: run_cap: must be >= 1, got 0"]),
    (text(run_cap="1.5"), ["4: run_cap: must be a whole number, got 1.5"]),
    (text(timeout="10 minutes"),
        ["5: timeout: must be seconds > 0, or a time such as 90s, 10m or 2h, got '10 minutes'"]),
    (text(timeout="1:30"), ["5: timeout: must be seconds > 0, or a time such as 90s, 10m or 2h, got '1:30'; write "
                            "hours and minutes as 1h30m"]),
    (text(timeout="-3"), ["5: timeout: must be seconds > 0, or a time such as 90s, 10m or 2h, got -3"]),
    (text(seed="-1"), ["5: seed: must be >= 0, got -1"]),
    (text(workers="two"), ["5: workers: must be a whole number, got 'two'"]),
    # --- cv ---
    (text(cv="1"), ["5: cv: must be >= 2, got 1"]),
    (text(cv="{splitter: KFlod}"),
        ["5: cv.splitter: must be one of GroupKFold, GroupShuffleSplit, KFold, LeaveOneGroupOut, LeaveOneOut, "
         "LeavePGroupsOut, LeavePOut, PredefinedSplit, RepeatedKFold, RepeatedStratifiedKFold, ShuffleSplit, "
         "StratifiedGroupKFold, StratifiedKFold, StratifiedShuffleSplit, TimeSeriesSplit, got 'KFlod'; did you mean "
         "'KFold'?"]),
    (text(cv="{splitter: KFold, n_split: 3}"),
        ["5: cv.n_split: KFold has no parameter 'n_split'; did you mean 'n_splits'?"]),
    (text(cv="{splitter: KFold, n_splits: 3, random_state: 1}"),
        ["5: cv: KFold: Setting a random_state has no effect since shuffle is False. You should leave random_state to "
         "its default (None), or set shuffle=True."]),
    (text(cv="GroupKFold"), ["5: cv: The 'groups' parameter should not be None. (data.groups names the column with "
                             "the groups)"]),
    (text(cv="1000"), ["5: cv: Cannot have number of splits n_splits=1000 greater than the number of samples: "
                       "n_samples=442."]),
    (text(estimator="LogisticRegression", data="breast_cancer", parameters="{C: [1, 2]}",
          cv="{splitter: TimeSeriesSplit, n_splits: 560}"),
        ["5: cv: split 0 would train on one class only (0): use StratifiedKFold, or shuffle: true"]),
    (text(estimator="LogisticRegression", data="breast_cancer", parameters="{C: [1, 2]}", metric="roc_auc",
          cv="{splitter: KFold, n_splits: 200}"),
        ["6: cv: split 0 would be scored on one class only (0), where roc_auc has no value"]),
    # --- storage, log, mlflow ---
    (text(storage="3"), ["5: storage: must be a path or a URL, got 3"]),
    (text(storage="mysql://a/b"),
        ["5: storage: must be a path, sqlite:///PATH or postgresql://..., got 'mysql://a/b'"]),
    (text(log="3"), ["5: log: must be a path, true or false, got 3"]),
    (text(mlflow="{url: x}"), ["5: mlflow.url: unknown key; mlflow has tracking_uri, experiment"]),
    (text(mlflow="3"), ["5: mlflow: must be true, a URI, or tracking_uri, experiment, got 3"]),
    # --- data ---
    (text(data="diabetis"), ["1: data.dataset: must be one of breast_cancer, diabetes, digits, iris, linnerud, wine, "
                             "got 'diabetis'; did you mean 'diabetes'?"]),
    (text(data="california_housing"),
        ["1: data.dataset: 'california_housing' would be downloaded; sweeps read files and breast_cancer, diabetes, "
         "digits, iris, linnerud, wine: save it as a file first"]),
    (text(data="[a]"), ["1: data: must be a mapping with path and target, or the name of a data set, got a list"]),
    (text(data="{target: y}"), ["1: data: must have either path or dataset"]),
    (text(data="{path: t.csv}"), ["1: data.target: must name the column to predict, got none"]),
    (text(data="{path: t.csv, targt: y}"), ["1: data.target: must name the column to predict, got none",
        "1: data.targt: unknown key; data has dataset, path, target, drop, weights, groups, separator; did you mean "
        "'target'?"]),
    (text(data="{dataset: iris, target: y}"), ["1: data.target: is for files; data sets have their own target"]),
    (text(data="{path: none.csv, target: y}"), ["1: data.path: there is no file none.csv"]),
    (text(data="{path: no/none.csv, target: y}"), ["1: data.path: there is no file no/none.csv (nor a folder no)"]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "messages"), CASES, ids=range(len(CASES)))
def test_message(content: str, messages: list[str], wrong: Wrong) -> None:
    found = [line.replace(f" (nor a folder {Path.cwd()}", " (nor a folder ") for line in wrong(content)]
    assert sorted(found) == sorted(messages)


def test_all_is_told_at_once(wrong: Wrong) -> None:
    found = wrong("""\
        data: {path: none.csv, targt: y}
        estimator: Rigde
        method: bays
        metric: acuracy
        parameters: {alpha: {min: 3, max: 1}}
        runcap: 8
        timeout: soon
        cv: {splitter: KFlod}
        seed: -1
    """)
    places = [line.partition(":")[0] for line in found]
    assert places == [*"1123456789"] or len(set(places)) == 9, found


# --- tables ---

TABLE = "age,shoe,city,height\n3,25,Bern,96\n9,35,Rome,130\n5,29,Bern,110\n7,,Rome,121\n4,27,Oslo,101\n"


@pytest.fixture
def table(write: Callable[..., Path]) -> None:
    write(TABLE, "table.csv")


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        ("{path: tabel.csv, target: height}",
            ["1: data.path: there is no file tabel.csv; did you mean 'table.csv'?"]),
        ("{path: table.csv, target: hight, drop: city}",
            ["1: data.target: the table has no column 'hight'; did you mean 'height'?"]),
        ("{path: table.csv, target: x, drop: city}",
            ["1: data.target: the table has no column 'x'; it has 'age', 'shoe', 'city', 'height'"]),
        ("{path: table.csv, target: height, drop: [cty]}",
            ["1: data.drop: the table has no column 'cty'; did you mean 'city'?"]),
        ("{path: table.csv, target: height, weights: height}",
            ["1: data.weights: 'height' is the target already"]),
        ("{path: table.csv, target: height, drop: city, weights: shoe}",
            ["1: data.weights: 'shoe' must hold numbers >= 0, got nan in row 4"]),
        ("{path: table.csv, target: shoe, drop: city}",
            ["1: data.target: 'shoe' must have a value in every row, got 1 without (the first is row 4)"]),
        ("{path: table.csv, target: height, drop: [age, shoe, city]}",
            ["1: data: no column is left to learn from; the table has 'age', 'shoe', 'city', 'height'"]),
        ("{path: table.csv, target: city, drop: shoe}",
            ["1: data.target: must be numbers for Ridge, a regressor, got texts ('Bern', 'Oslo', 'Rome', ...)"]),
        ("{path: table.csv, target: height}",
            ["1: data: column holds texts: 'city'; leave it out (drop), or encode it in a pipeline that begins with "
             "{class: OneHotEncoder, columns: [city], params: {handle_unknown: ignore}}"]),
        ("{path: table.csv, target: height, drop: city}",
            ["1: data: 'shoe' has missing values (1 in the table), and Ridge takes none: drop the column, or begin a "
             "pipeline with SimpleImputer"]),
        ("{path: empty.csv, target: height}",
            ["1: data.path: empty.csv: the file is empty; the first line must name the columns"]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("table")
def test_bad_data(data: str, messages: list[str], wrong: Wrong, write: Callable[..., Path]) -> None:
    write("", "empty.csv")
    assert wrong(text(data=data, cv="2")) == messages


@pytest.mark.usefixtures("table")
def test_what_the_messages_advise_works(read: Read) -> None:
    sweep = read("""\
        data: {path: table.csv, target: height}
        pipeline:
          - {class: OneHotEncoder, columns: [city], params: {handle_unknown: ignore}}
          - SimpleImputer
          - Ridge
        parameters: {ridge__alpha: [1, 2]}
        run_cap: 2
        cv: 2
    """)
    model = sweep.estimator.fit(sweep.data.X, sweep.data.y)
    assert model.predict(sweep.data.X).shape == (5,)
    assert model[-1].n_features_in_ == 5


def test_a_classifier_needs_classes(write: Callable[..., Path], wrong: Wrong) -> None:
    write("a,half,one\n1,0.5,1\n2,1.5,1\n3,2.5,1\n", "t.csv")
    for target, message in (
        ("half", "must be classes for RidgeClassifier, a classifier, got numbers with fractions"),
        ("one", "must have at least two classes for RidgeClassifier, got 1"),
    ):
        content = text(data=f"{{path: t.csv, target: {target}}}", estimator="RidgeClassifier", cv="2")
        assert wrong(content) == [f"1: data.target: {message}"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_sweep(tmp_path / "none.yaml")


def test_the_error_names_the_file(write: Callable[..., Path]) -> None:
    path = write(text(seed="-1"))
    with pytest.raises(SweepFileError) as caught:
        read_sweep(path)
    assert str(caught.value) == f"{path}:5: seed: must be >= 0, got -1"
