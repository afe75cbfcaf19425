"""A sweep as a Python script."""

from __future__ import annotations

from typing import Any

from manyfit.sweep.estimators import Built, Step
from manyfit.sweep.file import Sweep
from manyfit.sweep.run import search_arguments
from manyfit.sweep.settings import Call

__all__ = ["script"]


def script(sweep: Sweep) -> str:
    """Return a script that searches as the sweep does, into the same study."""
    code = _Code()
    data = _data(sweep, code)
    estimator = _estimator(sweep, code)
    space = _space(sweep, code)
    arguments = {"sampler": code.call(sweep.sampler)}
    if sweep.pruner is not None:
        arguments["pruner"] = code.call(sweep.pruner)
    arguments["cv"] = str(sweep.cv) if isinstance(sweep.cv, int) else code.call(sweep.cv)
    arguments.update({key: repr(value) for key, value in search_arguments(sweep).items()})
    if len(sweep.goals) > 1:
        arguments["refit"] = "False"
    code.name("manyfit.model_selection", "OptunaSearchCV")
    written = "".join(f"    {key}={value},\n" for key, value in arguments.items())
    fit = "".join(f", {key}={value}" for key, value in _fit_arguments(sweep).items())
    result = (
        "for trial in search.best_trials_:\n    print(trial.number, trial.values, trial.params)"
        if len(sweep.goals) > 1
        else "print(search.best_score_, search.best_params_)"
    )
    return f'''\
"""{_docstring(sweep)}

Written by manyfit sweep export from {sweep.path.name}.
"""

{code.imports()}

{data}
estimator = {estimator}

space = {{
{space}}}

search = OptunaSearchCV(
    estimator,
    space,
{written})
search.fit(X, y{fit})
{result}
'''


def _docstring(sweep: Sweep) -> str:
    text = " ".join(sweep.description.split()) or f"The sweep {sweep.name}."
    return text.replace("\\", "\\\\").replace('"""', "'''").rstrip('"')


class _Code:
    """Expressions, and the imports that they need."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # name: module

    def name(self, module: str, name: str) -> str:
        """Import a name; one that is taken by another module gets an alias."""
        alias = name
        while self._names.get(alias, f"{module}:{name}") != f"{module}:{name}":
            alias += "_"
        self._names[alias] = f"{module}:{name}"
        return alias

    def cls(self, found: type) -> str:
        """A class, from where it is public."""
        import importlib

        parts = found.__module__.split(".")
        for depth in range(1, len(parts) + 1):
            module = ".".join(parts[:depth])
            if any(part.startswith("_") for part in parts[:depth]):
                break
            if getattr(importlib.import_module(module), found.__name__, None) is found:
                return self.name(module, found.__name__)
        return self.name(found.__module__, found.__name__)

    def call(self, call: Call) -> str:
        parts = [self.value(each) for each in call.args]
        parts += [f"{key}={self.value(value)}" for key, value in call.kwargs.items()]
        return f"{self.name(call.module, call.name)}({', '.join(parts)})"

    def made(self, step: Step) -> str:
        keywords = ", ".join(f"{key}={self.value(value)}" for key, value in step.params.items())
        return f"{self.cls(step.cls)}({keywords})"

    def value(self, value: Any) -> str:
        """A value as an expression."""
        if hasattr(value, "get_params") and not isinstance(value, type):
            defaults = type(value)().get_params(deep=False) if _has_defaults(value) else {}
            given = {
                key: each
                for key, each in value.get_params(deep=False).items()
                if key not in defaults or repr(defaults[key]) != repr(each)
            }
            return self.made(Step(type(value), given))
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key!r}: {self.value(each)}" for key, each in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.value, value)) + "]"
        if isinstance(value, float) and value != value:
            return 'float("nan")'
        if isinstance(value, float) and value in (float("inf"), -float("inf")):
            return f'float("{value}")'
        return repr(value)

    def imports(self) -> str:
        by_module: dict[str, list[str]] = {}
        for alias, place in self._names.items():
            module, _, name = place.partition(":")
            by_module.setdefault(module, []).append(name if alias == name else f"{name} as {alias}")
        return "\n".join(
            f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(by_module.items())
        )


def _has_defaults(value: Any) -> bool:
    try:
        type(value)()
    except TypeError:
        return False
    return True


def _data(sweep: Sweep, code: _Code) -> str:
    source = sweep.source
    if source.dataset is not None:
        load = code.name("sklearn.datasets", f"load_{source.dataset}")
        return f"X, y = {load}(return_X_y=True)\n"
    read = code.name("manyfit.sweep", "read_table")
    arguments: dict[str, Any] = {
        "target": source.target[0] if len(source.target) == 1 else source.target,
        "drop": source.drop,
        "weights": source.weights,
        "groups": source.groups,
        "separator": source.separator,
    }
    given = "".join(f", {key}={value!r}" for key, value in arguments.items() if value)
    return f"data = {read}({str(source.path)!r}{given})\nX, y = data.X, data.y\n"


def _fit_arguments(sweep: Sweep) -> dict[str, str]:
    found = {}
    for key in sweep.fit_params():
        found[key] = "data.groups" if key == "groups" else "data.weights"
    return found


def _estimator(sweep: Sweep, code: _Code) -> str:
    built: Built = sweep.built
    if not built.pipeline:
        step = built.steps[0]
        return code.made(Step(step.cls, {**step.params, **sweep.fixed}))
    pipeline = code.name("sklearn.pipeline", "Pipeline")
    parts = []
    if built.encoded:
        transformer = code.name("sklearn.compose", "ColumnTransformer")
        inner = ", ".join(
            f"({step.name!r}, {code.made(step)}, {[sweep.data.names.index(name) for name in step.columns]})"
            for step in built.steps
            if step.columns
        )
        parts.append(f"('columns', {transformer}([{inner}], remainder='passthrough', sparse_threshold=0.0))")
    parts += [f"({step.name!r}, {code.made(step)})" for step in built.steps if not step.columns]
    text = f"{pipeline}([{', '.join(parts)}])"
    if sweep.fixed:
        text += (
            f".set_params({', '.join(f'{key}={code.value(value)}' for key, value in sweep.fixed.items())})"
        )
    return text


def _space(sweep: Sweep, code: _Code) -> str:
    from optuna.distributions import BaseDistribution

    lines = []
    for name, each in sweep.space.items():
        if isinstance(each, BaseDistribution):
            call = type(each).__name__
            code.name("optuna.distributions", call)
            keywords = {key: getattr(each, key) for key in ("low", "high", "log", "step")}
            shown = [repr(keywords["low"]), repr(keywords["high"])]
            if keywords["log"]:
                shown.append("log=True")
            if keywords["step"] not in (None, 1):
                shown.append(f"step={keywords['step']!r}")
            text = f"{call}({', '.join(shown)})"
        elif isinstance(each, list):
            text = code.value(each)
        else:
            kind = code.name("scipy.stats", each.dist.name)
            arguments = [repr(value) for value in each.args]
            arguments += [f"{key}={value!r}" for key, value in each.kwds.items()]
            text = f"{kind}({', '.join(arguments)})"
        lines.append(f"    {name!r}: {text},\n")
    return "".join(lines)
