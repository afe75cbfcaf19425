"""OptunaSearchCV: a search that asks Optuna what to try next, in batches whose fits share work."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from numbers import Integral, Real
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.exceptions import FitFailedWarning
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import _routing_enabled, process_routing
from sklearn.utils.validation import check_is_fitted

from manyfit.model_selection._executor import Executor, InProcess, Task
from manyfit.model_selection._measures import MEASURES, Goals, read_goals
from manyfit.model_selection._population import is_ours
from manyfit.model_selection._search import SharedSearch
from manyfit.model_selection._space import Space

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from manyfit.model_selection._engine import Engine, Schedule
    from manyfit.model_selection._stores import Store

__all__ = ["OptunaSearchCV"]

BATCH_SIZE = 8


class OptunaSearchCV(SharedSearch):
    """Search by Optuna, in batches of trials that are trained together.

    Trials are asked from a sampler of Optuna's, `batch_size` at a time, evaluated by cross-validation as one
    population where the estimator is one of manyfit's, and told to the study. The same `random_state` gives the
    same study, whatever the number of threads or workers, and a study that was killed and resumed equals one
    that was not.

    Parameters
    ----------
    estimator : estimator
        Any of scikit-learn's interface; those of manyfit share work.
    space : dict, list of dict, or callable
        What to search. A dict of parameter names to Optuna distributions, lists of values (of any kind),
        frozen distributions of SciPy's, or, for the steps of a Pipeline, further such dicts. A list of dicts
        holds alternatives, of which each trial takes one. A function ``space(trial)`` asks the trial, as
        Optuna's objectives do, and returns a dict of parameters: what it asks may depend on what it got.
    n_trials : int, default=None
        How many trials there are in the end: a study in `storage` that is resumed is completed to this
        number. Trials of a study given as `study` do not count. None: until `timeout`, or until a sampler that
        tries everything has done so.
    timeout : float, default=None
        Seconds after which no trial is begun.
    scoring : str, callable, list, tuple or dict, default=None
        As in scikit-learn's searches.
    cv : int, splitter or iterable, default=None
        As in scikit-learn's searches.
    refit : bool, str or callable, default=True
        Fit the best candidate on all rows. With several metrics or objectives, the name of the one that
        chooses; True takes the first objective. A function takes ``cv_results_`` and returns the index.
    sampler : optuna.samplers.BaseSampler, default=None
        None: ``TPESampler()``. It is copied, and the copy seeded anew for each trial.
    pruner : optuna.pruners.BasePruner, default=None
        Ends trials between rungs; None ends none.
    study : optuna.Study, default=None
        A study whose trials the sampler knows from the beginning; new ones are added to it.
    storage : str, default=None
        A path, or a URL of SQLite or PostgreSQL, where trials are kept; a study that is there is resumed.
        None keeps them in memory.
    study_name : str, default=None
        Name of the study in `storage`.
    directions : list of {"maximize", "minimize"}, default=None
        One for each objective; None maximises scores and minimises measures.
    objectives : list of str, default=None
        Metrics and measures to aim at: "latency_us" (microseconds that the exported ONNX model takes for one row
        on one thread), "model_bytes" (its size) and "fit_seconds" (of one fit on all rows, alone). None: the score.
    constraints : list of str, dict or callable, default=None
        Bounds such as ``"latency_us <= 200"`` or ``{"accuracy": ">= 0.9"}``, or a function of the frozen trial
        that returns numbers, all at most 0 where the trial may be chosen.
    resource : str, default="splits"
        What a pruner sees grow: "splits", or a parameter such as ``"max_iter"``, of which each rung takes
        `reduction_factor` times as much as the one before, and the last the trial's own value.
    min_resource : int, default="auto"
        Value of that parameter on the first rung; "auto" makes three rungs before the last.
    reduction_factor : int, default=3
    batch_size : int, default="auto"
        Trials asked and trained together; "auto" means 8.
    lag : int, default="auto"
        Trial n is shown the results below (first number of its batch) - lag; ``1 + lag // batch_size`` batches
        may be under way at once. "auto" is one batch: it keeps two workers busy.
    executor : Executor, default=None
        Who evaluates; None: this process.
    callbacks : sequence of callable, default=()
        ``callback(study, trial)`` is called after a trial has been written, as by Optuna, and may call
        ``study.stop()``.
    n_jobs : int, default=None
        Threads of a population; processes for other estimators.
    random_state : int, RandomState or None, default=None
        None takes the seed from `sampler`, if that has one.
    error_score : "raise" or float, default=nan
        nan marks a trial of which a fit failed as failed; a number is taken for the score of that fit.
    return_train_score : bool, default=False
    verbose : int, default=0
        1 prints a line for each batch.

    Attributes
    ----------
    study_ : optuna.Study
    trials_ : list of optuna.trial.FrozenTrial
        Failed ones have the traceback as user attribute "error".
    n_trials_ : int
    best_trial_ : optuna.trial.FrozenTrial
    best_trials_ : list of optuna.trial.FrozenTrial
        The Pareto front, of trials that keep to the constraints.
    best_params_ : dict
    best_score_ : float
    best_index_ : int
    best_estimator_ : estimator
    refit_time_ : float
    cv_results_ : dict
        As in scikit-learn, with "number" and "state" of the trials and their measures; nan for splits that
        were not run.
    interrupted_ : bool
        Whether Ctrl-C ended the search.
    plan_ : Plan
        What was shared.
    scorer_ : callable or dict
    multimetric_ : bool
    n_splits_ : int

    Notes
    -----
    Ctrl-C once lets what runs come to its end, and ``fit`` returns what there is; twice, it stops at once.

    Examples
    --------
    >>> from manyfit.linear_model import Ridge
    >>> from manyfit.model_selection import OptunaSearchCV
    >>> from optuna.distributions import FloatDistribution
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> space = {"alpha": FloatDistribution(1e-4, 1e2, log=True), "fit_intercept": [True, False]}
    >>> search = OptunaSearchCV(Ridge(), space, n_trials=30, random_state=0).fit(X, y)
    >>> search.best_params_["fit_intercept"]
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **{key: rule for key, rule in BaseSearchCV._parameter_constraints.items() if key != "pre_dispatch"},
        "n_trials": [Interval(Integral, 1, None, closed="left"), None],
        "timeout": [Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "lag": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "random_state": ["random_state"],
        "study_name": [str, None],
        "callbacks": ["array-like", None],
    }

    pre_dispatch = "2*n_jobs"  # as the other searches have it

    def __init__(
        self,
        estimator: Any,
        space: Any,
        *,
        n_trials: int | None = None,
        timeout: float | None = None,
        scoring: Any = None,
        cv: Any = None,
        refit: Any = True,
        sampler: Any = None,
        pruner: Any = None,
        study: Any = None,
        storage: Any = None,
        study_name: str | None = None,
        directions: Any = None,
        objectives: Any = None,
        constraints: Any = None,
        resource: str = "splits",
        min_resource: int | str = "auto",
        reduction_factor: int = 3,
        batch_size: int | str = "auto",
        lag: int | str = "auto",
        executor: Executor | None = None,
        callbacks: Sequence[Any] = (),
        n_jobs: int | None = None,
        random_state: Any = None,
        error_score: Any = np.nan,
        return_train_score: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.space = space
        self.n_trials = n_trials
        self.timeout = timeout
        self.scoring = scoring
        self.cv = cv
        self.refit = refit
        self.sampler = sampler
        self.pruner = pruner
        self.study = study
        self.storage = storage
        self.study_name = study_name
        self.directions = directions
        self.objectives = objectives
        self.constraints = constraints
        self.resource = resource
        self.min_resource = min_resource
        self.reduction_factor = reduction_factor
        self.batch_size = batch_size
        self.lag = lag
        self.executor = executor
        self.callbacks = callbacks
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags = deepcopy(get_tags(self.estimator).target_tags)
        return tags

    @_fit_context(prefer_skip_nested_validation=False)  # type: ignore[untyped-decorator]  # scikit-learn is untyped
    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Search, and fit the best candidate on all rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or Dataset
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            None when `X` is a Dataset.
        **params : dict
            Further arguments of the estimator's ``fit`` (arrays of one value for each sample are cut with the
            splits), and ``groups`` for the splitter.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a space, objective or constraint that breaks its rule, a study of another space, when all
            trials fail, and when no trial keeps to the constraints.
        """
        from manyfit.model_selection._engine import Engine

        begin = perf_counter()
        goals = self._goals()
        base = clone(self.estimator)
        space = Space(self.space, base, type(self).__name__)
        self._check(goals)
        rounds, _ = self._prepare(X, y, params)
        splits = list(self._checked_cv_orig.split(rounds.X, rounds.y, **rounds.routed.splitter.split))
        if not splits:
            raise ValueError(f"{type(self).__name__}: cv must give at least one split, got none")
        self.n_splits_ = len(splits)
        task = Task(
            base,
            rounds.X,
            rounds.y,
            splits,
            goals.scorer,
            rounds.routed.estimator.fit,
            rounds.routed.scorer.score,
            self.error_score,
            self.return_train_score,
            self.n_jobs,
            goals.measures,
        )
        executor: Executor = InProcess(rounds.dataset) if self.executor is None else self.executor
        store = self._open_store(space, goals, task)
        try:
            engine = self._engine(Engine, store, executor, space, goals, task)
            executor.start(task)
            finished = False
            try:
                engine.run()
                finished = True
            finally:
                executor.close(now=not finished)
                self.study_ = store.study
                self.trials_ = engine.trials
                self.n_trials_ = len(engine.trials)
                self.interrupted_ = engine.interrupted
                self.plan_ = engine.plan
        finally:
            store.close()
        self.scorer_ = goals.scorer._scorers if isinstance(goals.scorer, _MultimetricScorer) else goals.scorer
        self._conclude(engine, space, goals, splits)
        if self.refit is not False:
            prepared = executor.fit_all if isinstance(executor, InProcess) else None
            self._fit_best(task.estimator, task.X, task.y, task.fit_params, prepared)
        self._note_time(perf_counter() - begin)
        for callback in self.callbacks or ():
            if hasattr(callback, "on_search_end"):
                callback.on_search_end(self)
        return self

    # --- before ---

    def _goals(self) -> Goals:
        return read_goals(
            type(self).__name__,
            self.estimator,
            self.scoring,
            self.refit,
            self.objectives,
            self.directions,
            self.constraints,
            isinstance(self.error_score, str),
        )

    def _get_scorers(self) -> tuple[Any, str]:
        goals = self._goals()
        return goals.scorer, self._refit_name(goals)

    def _refit_name(self, goals: Goals) -> str:
        return self.refit if isinstance(self.refit, str) else goals.names[0]

    def _check(self, goals: Goals) -> None:
        from optuna import Study
        from optuna.pruners import BasePruner, NopPruner
        from optuna.samplers import BaseSampler, BruteForceSampler, GridSampler

        name = type(self).__name__
        for key, kind in (("sampler", BaseSampler), ("pruner", BasePruner), ("study", Study)):
            value = getattr(self, key)
            if value is not None and not isinstance(value, kind):
                raise TypeError(f"{name}: {key} must be an optuna {kind.__name__} or None, got {value!r}")
        ends = self.n_trials is not None or self.timeout is not None
        if not ends and not isinstance(self.sampler, GridSampler | BruteForceSampler):
            raise ValueError(f"{name}: n_trials or timeout must be given, got None for both")
        if self.pruner is not None and not isinstance(self.pruner, NopPruner):
            if len(goals.names) > 1:
                raise ValueError(
                    f"{name}: pruner must be None with several objectives ({', '.join(goals.names)}), "
                    f"got {type(self.pruner).__name__}"
                )
            if goals.names[0] in MEASURES:
                raise ValueError(
                    f"{name}: pruner must be None where the objective is a measure ({goals.names[0]}), "
                    f"got {type(self.pruner).__name__}"
                )
        if self.study is not None:
            if self.storage is not None:
                raise ValueError(f"{name}: storage must be None where a study is given, got {self.storage!r}")
            theirs = [direction.name.lower() for direction in self.study.directions]
            if theirs != goals.directions:
                raise ValueError(
                    f"{name}: study must have the directions {goals.directions} of the objectives "
                    f"({', '.join(goals.names)}), got {theirs}"
                )

    def _open_store(self, space: Space, goals: Goals, task: Task) -> Store:
        from manyfit.model_selection._stores import MemoryStore, StudyStore

        if self.study is not None:
            return StudyStore(self.study)
        if self.storage is None:
            return MemoryStore(goals.directions, self.study_name, self.sampler, self.pruner)
        if hasattr(self.storage, "write"):
            store: Store = self.storage
            return store
        from manyfit.model_selection._fingerprint import fingerprint_of
        from manyfit.model_selection._store import open_store

        fingerprint = fingerprint_of(task, space, goals, self.scoring)
        return open_store(self.storage, self.study_name, goals.directions, fingerprint, load_if_exists=True)

    def _engine(
        self, kind: type[Engine], store: Store, executor: Executor, space: Space, goals: Goals, task: Task
    ) -> Engine:
        from manyfit.model_selection._pruning import make_rungs
        from manyfit.model_selection._sampling import Sampling

        name = type(self).__name__
        rungs = make_rungs(
            name,
            self.pruner,
            self.resource,
            self.min_resource,
            self.reduction_factor,
            task.estimator,
            space,
            self.n_splits_,
        )
        known, waiting = store.trials(), store.waiting()
        space.check_compatible(known)
        seed, schedule = self._schedule(store, known, waiting)
        sampler = self.sampler
        if sampler is None and self.study is not None:
            sampler = self.study.sampler
        sampling = Sampling(sampler, self.pruner, goals.directions, seed, self.study_name or "manyfit")
        sampling.start_with([trial for trial in known if trial.number < schedule.first])
        shares = is_ours(task.estimator) or isinstance(task.estimator, Pipeline)
        return kind(
            name,
            sampling,
            space,
            goals,
            rungs,
            schedule,
            store,
            executor,
            known=known,
            queued={trial.number: trial.system_attrs.get("fixed_params", {}) for trial in waiting},
            n_splits=self.n_splits_,
            error_score=self.error_score,
            alone=not shares and self.n_jobs in (None, 1),
            timeout=self.timeout,
            callbacks=tuple(self.callbacks or ()),
            verbose=int(self.verbose),
        )

    def _schedule(
        self, store: Store, told: Sequence[FrozenTrial], waiting: Sequence[FrozenTrial]
    ) -> tuple[int, Schedule]:
        """The seed and the schedule: those of the study if it was begun before."""
        from manyfit.model_selection._engine import Schedule
        from manyfit.model_selection._sampling import seed_of

        numbers = [trial.number for trial in (*told, *waiting)]
        count = max(numbers, default=-1) + 1
        known = dict(store.study_attrs.get("schedule", {}))
        if not known:
            batch_size = BATCH_SIZE if self.batch_size == "auto" else int(self.batch_size)
            known = {
                "seed": seed_of(self.sampler, self.random_state),
                "first": min((trial.number for trial in waiting), default=count),
                "batch_size": batch_size,
                "lag": batch_size if self.lag == "auto" else int(self.lag),
            }
            store.study_attrs["schedule"] = known
        else:
            for key in ("batch_size", "lag"):
                if getattr(self, key) not in ("auto", known[key]):
                    raise ValueError(
                        f"{type(self).__name__}: {key} must stay {known[key]} in a study that is resumed, "
                        f"got {getattr(self, key)!r}"
                    )
        end = None
        if self.n_trials is not None:
            end = int(self.n_trials) + (count - len(waiting) if self.study is not None else 0)
        return known["seed"], Schedule(known["first"], known["batch_size"], known["lag"], end)

    # --- after ---

    def _conclude(self, engine: Engine, space: Space, goals: Goals, splits: Sequence[Any]) -> None:
        """``cv_results_`` and the best trial."""
        from manyfit.model_selection._results import Results

        name = type(self).__name__
        results = Results(self, engine.trials, engine.settings, space, goals, splits)
        ended = [trial for trial in self.trials_ if trial.state.is_finished()]
        failed = [trial for trial in ended if trial.state.name == "FAIL"]
        if not any(trial.state.name == "COMPLETE" for trial in ended):
            if not ended:
                raise ValueError(f"{name}: no trial was finished before the search was ended")
            first = next((t.user_attrs["error"] for t in failed if "error" in t.user_attrs), "unknown")
            raise ValueError(f"{name}: all {len(failed)} trials failed. The first one:\n{first}")
        if new := [t for t in ended if t.number in engine.new and "error" in t.user_attrs]:
            fate = "have no score" if failed else f"have the score {self.error_score}"
            warnings.warn(
                f"{name}: {len(new)} of {len(ended)} trials failed and {fate}. The first one, "
                f"trial {new[0].number}:\n{new[0].user_attrs['error']}",
                FitFailedWarning,
                stacklevel=4,
            )
        self.multimetric_ = results.multimetric
        self.cv_results_ = results.table
        self.best_trials_ = results.front()
        if self.refit is False and len(goals.names) > 1:
            return
        try:
            self.best_index_ = results.best(self.refit, self._refit_name(goals))
        except LookupError as error:
            if self.refit is False:
                warnings.warn(str(error), UserWarning, stacklevel=4)
                return
            raise ValueError(str(error)) from None
        self.best_trial_ = results.trials[self.best_index_]
        self.best_params_ = self.cv_results_["params"][self.best_index_]
        if not callable(self.refit):
            self.best_score_ = float(results.column(self._refit_name(goals))[self.best_index_])

    def _run_search(self, evaluate_candidates: Any) -> None:
        """Candidates such as a search might try, for :meth:`explain`."""
        from optuna.samplers import RandomSampler

        from manyfit.model_selection._sampling import Sampling

        space = Space(self.space, self.estimator, type(self).__name__)
        sampling = Sampling(RandomSampler(), None, ["maximize"], 0, "explained")
        left = BATCH_SIZE if self.n_trials is None else int(self.n_trials)
        size = BATCH_SIZE if self.batch_size == "auto" else int(self.batch_size)
        while left > 0:
            asked = [sampling.ask(space, 0)[1] for _ in range(min(size, left))]
            evaluate_candidates(asked)
            left -= len(asked)

    # --- using ---

    def score(self, X: Any, y: Any = None, **params: Any) -> float:
        """Score of the best estimator, by the metric that chose it.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        **params : dict
            For the scorer, where metadata routing is on.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        if isinstance(self.refit, str) or not isinstance(self.scorer_, dict):
            return float(super().score(X, y, **params))
        routed = process_routing(self, "score", **params).scorer["score"] if _routing_enabled() else {}
        name = self._refit_name(self._goals())
        return float(self.scorer_[name](self.best_estimator_, X, y, **routed))
