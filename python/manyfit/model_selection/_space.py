"""What a search may set: spaces of parameters, in whatever form they are written, as Optuna asks for them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import BaseTrial, FrozenTrial

__all__ = ["ALTERNATIVE", "Parameter", "Space"]

ALTERNATIVE = "alternative"  # the name under which a study holds which dict of a list of dicts was chosen
_TAIL = 1e-9  # of a distribution without an end, left out


@dataclass(frozen=True)
class Parameter:
    """A parameter that trials ask for.

    Attributes
    ----------
    name : str
        In the study. The estimator's name of it, but where alternatives give it different distributions.
    distribution : optuna.distributions.BaseDistribution
    setting : callable or None
        The estimator's value for the study's; None where they are the same.
    """

    name: str
    distribution: BaseDistribution
    setting: Callable[[Any], Any] | None = None


class _Labelled:
    """Values that a study cannot hold, by their labels."""

    def __init__(self, labels: Sequence[str], values: Sequence[Any]) -> None:
        self.values = dict(zip(labels, values, strict=True))

    def __call__(self, label: Any) -> Any:
        return self.values[label]


class _Quantile:
    """The value of a distribution of SciPy's below which a share of it lies."""

    def __init__(self, frozen: Any) -> None:
        self.ppf = getattr(frozen, "ppf", None) or frozen.icdf
        low, high = frozen.support()
        self.low = 0.0 if math.isfinite(low) else _TAIL
        self.high = 1.0 if math.isfinite(high) else 1.0 - _TAIL
        self.discrete = _is_discrete(frozen)

    def __call__(self, share: float) -> Any:
        value = float(self.ppf(min(max(share, self.low), self.high)))
        return int(value) if self.discrete else value


def _is_discrete(frozen: Any) -> bool:
    from scipy.stats import rv_discrete

    return isinstance(getattr(frozen, "dist", None), rv_discrete)


class Space:
    """The parameters of a search.

    Parameters
    ----------
    space : dict, list of dict, or callable
        See :class:`OptunaSearchCV`.
    estimator : estimator or None
        Whose parameters they are; None checks no names.
    owner : str
        Whom errors name.
    """

    def __init__(self, space: Any, estimator: Any = None, owner: str = "OptunaSearchCV") -> None:
        self.owner = owner
        self.function: Callable[[Any], Any] | None = None
        self.alternatives: list[dict[str, Parameter]] = []
        self._names: dict[str, Any] | None = None
        self._estimator = type(estimator).__name__
        if estimator is not None and hasattr(estimator, "get_params"):
            self._names = estimator.get_params(deep=True)
        if isinstance(space, Mapping):
            self.alternatives = [self._parameters(space, "space")]
        elif callable(space):
            self.function = space
        elif isinstance(space, Sequence) and not isinstance(space, str):
            if not space:
                raise ValueError(f"{owner}: space must hold at least one parameter, got {space!r}")
            for i, entry in enumerate(space):
                if not isinstance(entry, Mapping):
                    raise TypeError(f"{owner}: space[{i}] must be a dict of parameters, got {entry!r}")
            self.alternatives = [self._parameters(entry, f"space[{i}]") for i, entry in enumerate(space)]
            if len(self.alternatives) > 1:
                self._tell_apart()
        else:
            raise TypeError(
                f"{owner}: space must be a dict, a list of dicts or a function of the trial, got {space!r}"
            )
        self._check_names([list(entry) for entry in self.alternatives], self.alternatives)

    # --- reading ---

    def _parameters(self, space: Mapping[str, Any], where: str) -> dict[str, Parameter]:
        if not space:
            raise ValueError(f"{self.owner}: {where} must hold at least one parameter, got {dict(space)!r}")
        found: dict[str, Parameter] = {}
        for name, entry in space.items():
            if not isinstance(name, str):
                raise TypeError(f"{self.owner}: {where}: parameters are named by strings, got {name!r}")
            if isinstance(entry, Mapping):
                inner = self._parameters(entry, f"{where}[{name!r}]")
                found.update({f"{name}__{key}": _named(each, name) for key, each in inner.items()})
            else:
                found[name] = self._parameter(name, entry)
        return found

    def _parameter(self, name: str, entry: Any) -> Parameter:
        from optuna.distributions import BaseDistribution, CategoricalDistribution

        if isinstance(entry, CategoricalDistribution):
            return self._choices(name, entry.choices)
        if isinstance(entry, BaseDistribution):
            step = getattr(entry, "step", None)
            if step is not None and entry.single() and (isinstance(step, float) or step > 1):
                raise self._error(name, "have a step <= high - low", entry)
            return Parameter(name, entry)
        if _is_scipy(entry):
            return self._scipy(name, entry)
        if isinstance(entry, set | frozenset):
            raise self._error(name, "be a list (a set has no order)", entry)
        if isinstance(entry, str | bytes) or not (
            isinstance(entry, Sequence | np.ndarray) or hasattr(entry, "__array__")
        ):
            hint = "; distributions of one's own need ppf" if hasattr(entry, "rvs") else ""
            raise self._error(
                name, f"be a list of values or a distribution of Optuna's or SciPy's{hint}", entry
            )
        values = list(entry)
        if not values:
            raise self._error(name, "have at least one value", entry)
        return self._choices(name, values)

    def _choices(self, name: str, values: Iterable[Any]) -> Parameter:
        from optuna.distributions import CategoricalDistribution

        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        if all(_primitive(value) for value in plain):
            once = list(dict.fromkeys((type(value), value) for value in plain))
            if len({value for _, value in once}) == len(once):  # no 1 beside True
                return Parameter(name, CategoricalDistribution([value for _, value in once]))
        labels = _labels(plain)
        return Parameter(name, CategoricalDistribution(labels), _Labelled(labels, plain))

    def _scipy(self, name: str, frozen: Any) -> Parameter:
        from optuna.distributions import FloatDistribution, IntDistribution

        if hasattr(frozen, "dist") and hasattr(frozen.dist, "_parse_args"):
            shape, loc, scale = frozen.dist._parse_args(*frozen.args, **frozen.kwds)
            kind = frozen.dist.name
            if kind == "uniform":
                if not scale > 0:
                    raise self._error(name, "have low < high", f"low={loc:g}, high={loc + scale:g}")
                return Parameter(name, FloatDistribution(float(loc), float(loc + scale)))
            if kind in ("loguniform", "reciprocal") and loc == 0 and scale > 0:
                low, high = (float(end * scale) for end in shape)
                if not low > 0:
                    raise self._error(name, "have low > 0 on a log scale", f"low={low:g}, high={high:g}")
                if not low < high:
                    raise self._error(name, "have low < high", f"low={low:g}, high={high:g}")
                return Parameter(name, FloatDistribution(low, high, log=True))
            if kind == "randint":
                low, high = (int(end + loc) for end in shape)
                if not low < high:
                    raise self._error(name, "have low < high", f"low={low}, high={high}")
                return Parameter(name, IntDistribution(low, high - 1))
        quantile = _Quantile(frozen)
        if not math.isfinite(quantile(0.5)):
            raise self._error(name, "be a distribution with valid parameters", _described(frozen))
        return Parameter(name, FloatDistribution(0.0, 1.0), quantile)

    def _tell_apart(self) -> None:
        """Give a parameter a name of its own in each alternative, where they say different things of it."""
        names = {name for entry in self.alternatives for name in entry}
        for name in names:
            kinds = [entry[name].distribution for entry in self.alternatives if name in entry]
            if any(kind != kinds[0] for kind in kinds):
                for i, entry in enumerate(self.alternatives):
                    if name in entry:
                        each = entry[name]
                        entry[name] = Parameter(f"{name}@{i}", each.distribution, each.setting)

    def _error(self, name: str, rule: str, value: Any) -> ValueError:
        shown = value if isinstance(value, str) else repr(value)
        return ValueError(f"{self.owner}: space: {name} must {rule}, got {shown}")

    def _check_names(
        self, groups: Sequence[Sequence[str]], entries: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        if self._names is None:
            return
        for i, group in enumerate(groups):
            for name in group:
                if name in self._names or _inside_of_a_choice(name, group):
                    continue
                near = get_close_matches(name, self._names, n=1, cutoff=0.4)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                where = "space" if entries is None or len(entries) < 2 else f"space[{i}]"
                raise ValueError(f"{self.owner}: {where}: {self._estimator} has no parameter {name!r}{hint}")

    # --- asking ---

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """Ask a trial for every parameter; the settings of the estimator."""
        if self.function is not None:
            return self._checked(self.function(trial))
        i = 0
        if len(self.alternatives) > 1:
            i = trial.suggest_categorical(ALTERNATIVE, range(len(self.alternatives)))
        settings = {}
        for name, each in self.alternatives[i].items():
            value = trial._suggest(each.name, each.distribution)  # type: ignore[attr-defined]  # FrozenTrial has none; those asked do
            settings[name] = value if each.setting is None else each.setting(value)
        return settings

    def settings(self, trial: FrozenTrial) -> dict[str, Any] | None:
        """The settings that the parameters of a trial stand for; None where it was made by another space."""
        from optuna import TrialPruned
        from optuna.trial import FixedTrial

        if self.function is not None:
            try:
                return self._checked(self.function(FixedTrial(trial.params, trial.number)))
            except (ValueError, TrialPruned):
                return None
        try:
            entry = self.alternatives[trial.params[ALTERNATIVE] if len(self.alternatives) > 1 else 0]
            settings = {}
            for name, each in entry.items():
                value = trial.params[each.name]
                if not each.distribution._contains(each.distribution.to_internal_repr(value)):
                    return None
                settings[name] = value if each.setting is None else each.setting(value)
        except (KeyError, IndexError, TypeError, ValueError):
            return None
        return settings

    def _checked(self, settings: Any) -> dict[str, Any]:
        if not isinstance(settings, Mapping):
            raise TypeError(f"{self.owner}: space must return a dict of parameters, got {settings!r}")
        if not self._names or not settings.keys() <= self._names.keys():
            self._check_names([list(settings)])
        return dict(settings)

    # --- comparing ---

    def check_compatible(self, trials: Iterable[FrozenTrial]) -> None:
        """Raise where trials of a study have other kinds of values, or other choices, for a parameter."""
        from optuna.distributions import check_distribution_compatibility

        here = self.distributions
        met: dict[str, list[BaseDistribution]] = {}
        for trial in trials:
            for name, there in trial.distributions.items():
                if name not in here or there in met.setdefault(name, []):
                    continue
                met[name].append(there)
                try:
                    check_distribution_compatibility(there, here[name])
                except ValueError:
                    raise self._error(name, f"be {there} as in the study", here[name]) from None

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions by their names in the study; empty for a function."""
        found: dict[str, BaseDistribution] = {}
        for entry in self.alternatives:
            found.update({each.name: each.distribution for each in entry.values()})
        return found

    def describe(self) -> Any:
        """The space in words that can be stored and compared."""
        if self.function is not None:
            return f"function {getattr(self.function, '__qualname__', type(self.function).__qualname__)}"
        described = [
            {name: _said(each.distribution, each.setting) for name, each in sorted(entry.items())}
            for entry in self.alternatives
        ]
        return described[0] if len(described) == 1 else described


def _named(each: Parameter, step: str) -> Parameter:
    return Parameter(f"{step}__{each.name}", each.distribution, each.setting)


def _primitive(value: Any) -> bool:
    return value is None or type(value) in (bool, int, float, str)


def _is_scipy(entry: Any) -> bool:
    return callable(getattr(entry, "support", None)) and (hasattr(entry, "ppf") or hasattr(entry, "icdf"))


def _described(frozen: Any) -> str:
    if not hasattr(frozen, "dist"):
        return repr(frozen)
    said = [f"{each:g}" if isinstance(each, float) else repr(each) for each in frozen.args]
    said += [f"{key}={each!r}" for key, each in frozen.kwds.items()]
    return f"{frozen.dist.name}({', '.join(said)})"


def _said(distribution: BaseDistribution, setting: Any) -> str:
    if isinstance(setting, _Quantile):
        return f"quantiles of {_described(setting.ppf.__self__)}"
    return str(distribution)


def _labels(values: Sequence[Any]) -> list[str]:
    """A text for each value, all different and the same in every process."""
    labels: list[str] = []
    for i, value in enumerate(values):
        text = value if isinstance(value, str) else getattr(value, "__qualname__", None) or repr(value)
        text = re.sub(r"\s+", " ", text)
        if " at 0x" in text:
            text = f"{type(value).__name__} {i}"
        if len(text) > 80:
            text = f"{text[:70]}... {i}"
        labels.append(text if text not in labels else f"{text} {i}")
    return labels


def _inside_of_a_choice(name: str, group: Iterable[str]) -> bool:
    """Whether `name` belongs to an estimator that the space chooses as well."""
    parts = name.split("__")
    return any("__".join(parts[:depth]) in group for depth in range(1, len(parts)))
