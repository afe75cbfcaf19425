"""The loop of a search by Optuna: batches of trials are asked, handed to an executor, judged and written.

Trials are asked in batches of fixed size. A batch is shown the results that are numbered below its first trial
minus a lag, whenever others end, so that a study follows from its seed, whatever computes it. For the same
reason a batch of a resumed study is asked as it was, and what is known already is not computed again. Results
are written in the order of their numbers.
"""

from __future__ import annotations

import heapq
import math
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from manyfit.model_selection._evaluator import Evaluation
from manyfit.model_selection._executor import Done, Executor, InProcess, Work
from manyfit.model_selection._measures import MEASURES, Goals, score_of
from manyfit.model_selection._plan import Plan
from manyfit.model_selection._pruning import Rungs
from manyfit.model_selection._sampling import Exhausted, Sampling
from manyfit.model_selection._space import Space
from manyfit.model_selection._stores import Store, kept_of

__all__ = ["Engine", "Schedule"]


_PATIENCE = 1.0  # seconds after which a part of a batch is written


@dataclass(frozen=True)
class Schedule:
    """Which trials are asked together, and what they are shown.

    Attributes
    ----------
    first : int
        Number of the first trial; those before it were there.
    batch_size, lag : int
    end : int or None
        Number up to which trials are asked; None: until something stops the search.
    """

    first: int
    batch_size: int
    lag: int
    end: int | None = None

    def batch_of(self, number: int) -> int:
        return (number - self.first) // self.batch_size

    def numbers(self, batch: int) -> range:
        begin = self.first + batch * self.batch_size
        end = begin + self.batch_size
        return range(begin, end if self.end is None else min(end, self.end))

    def shown(self, batch: int) -> int:
        """Below which number results are shown to a batch."""
        return max(self.first, self.first + batch * self.batch_size - self.lag)


@dataclass(eq=False)
class Member:
    """A trial on its way."""

    asked: FrozenTrial
    settings: dict[str, Any]
    rung: int = 0
    begun: bool = False
    evaluations: dict[int, Evaluation] = field(default_factory=dict)
    measures: dict[str, Any] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)
    error: str | None = None
    state: TrialState | None = None  # once it has ended

    @property
    def number(self) -> int:
        return self.asked.number


@dataclass(eq=False)
class Batch:
    """Trials that are trained together and pruned together."""

    index: int
    numbers: range
    shown: int
    members: list[Member] = field(default_factory=list)
    waiting: int = 0  # for how many pieces of work


class Engine:
    """Runs a search.

    Parameters
    ----------
    owner : str
        Whom messages name.
    sampling, space, goals, rungs, schedule, store, executor
        What is asked, aimed at, in which steps, in which order, kept where and computed by whom.
    known : list of FrozenTrial
        Trials that the study holds, by number; those from ``schedule.first`` on are not asked again.
    queued : dict of int to dict
        Parameters that somebody asked for, by the number of the trial.
    n_splits : int
    error_score : float or "raise"
    alone : bool
        Hand out trials one by one: they share nothing.
    timeout : float or None
        Seconds after which no trial is begun.
    callbacks : sequence of callable
        ``callback(study, trial)``, called after the trial has been written.
    verbose : int
    """

    def __init__(
        self,
        owner: str,
        sampling: Sampling,
        space: Space,
        goals: Goals,
        rungs: Rungs,
        schedule: Schedule,
        store: Store,
        executor: Executor,
        *,
        known: Sequence[FrozenTrial] = (),
        queued: Mapping[int, Mapping[str, Any]] | None = None,
        n_splits: int,
        error_score: Any = math.nan,
        alone: bool = False,
        timeout: float | None = None,
        callbacks: Sequence[Any] = (),
        verbose: int = 0,
    ) -> None:
        self.owner = owner
        self.sampling = sampling
        self.space = space
        self.goals = goals
        self.rungs = rungs
        self.schedule = schedule
        self.store = store
        self.executor = executor
        self.trials = list(known)
        self.stored = {trial.number: trial for trial in known if trial.number >= schedule.first}
        self.queued = queued or {}
        self.new: set[int] = set()  # numbers of the trials this search has written
        self.settings: dict[int, dict[str, Any]] = {}
        self.n_splits = n_splits
        self.error_score = error_score
        self.alone = alone
        self.timeout = timeout
        self.callbacks = callbacks
        self.verbose = verbose
        self.interrupted = False
        self.plans: dict[str, Plan] = {}  # by worker
        self._closing = False  # no more trials are asked
        self._stopping = False  # nor is work begun
        self._ready: list[tuple[int, int, int, Work, list[Member]]] = []  # a heap: by batch, then rung
        self._under_way: dict[int, tuple[Batch, list[Member]]] = {}
        self._batches: dict[int, Batch] = {}
        self._next_batch = 0
        self._next_work = 0
        self._ended: dict[int, FrozenTrial] = {}  # not yet told to the sampler
        self._written = schedule.first
        self._unwritten: dict[int, FrozenTrial] = {}
        self._pruning = type(rungs) is not Rungs
        self._ahead = not isinstance(executor, InProcess)
        self._begin = self._written_at = monotonic()

    # --- the loop ---

    def run(self) -> None:
        """Ask, evaluate and write until nothing is left to do."""
        self._begin = monotonic()
        record = self.store.study
        record._thread_local.in_optimize_loop = True  # callbacks may call study.stop()
        record._stop_flag = False
        try:
            with self._two_interrupts():
                while True:
                    try:
                        self._fill()
                        if not self._under_way:
                            break
                        for done in self.executor.wait():
                            self._receive(done)
                        self._write()
                    except KeyboardInterrupt:
                        if self.interrupted:
                            self._write(last=True, tell=False)
                            raise
                        self._interrupt()
                self._write(last=True)
        finally:
            record._thread_local.in_optimize_loop = False

    def _interrupt(self) -> None:
        self.interrupted = True
        self._closing = self._stopping = True
        n = sum(len(members) for _, members in self._under_way.values())
        text = f"\n{self.owner}: finishing the {n} trials that are running; Ctrl-C again stops now"
        with suppress(RuntimeError):  # the interrupt came in the middle of another line
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def _two_interrupts(self) -> Iterator[None]:
        """The first Ctrl-C lets what runs come to its end, the second is an interrupt as ever."""
        usual = signal.default_int_handler
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) != usual
        ):
            yield
            return

        def handle(signum: int, frame: Any) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self._interrupt()

        signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, usual)

    def _watch(self) -> None:
        """Notice whatever ends the search early."""
        if self.store.study._stop_flag:
            self._closing = self._stopping = True
        if self.timeout is not None and monotonic() - self._begin >= self.timeout:
            self._closing = self._stopping = True
        if self._stopping and self._ready:
            # Members that have begun go on; the others, all of higher numbers, were never asked.
            dropped = [entry for entry in self._ready if not entry[4][0].begun]
            self._ready = [entry for entry in self._ready if entry[4][0].begun]
            heapq.heapify(self._ready)
            for index, _, _, _, members in dropped:
                batch = self._batches[index]
                batch.waiting -= 1
                batch.members = [member for member in batch.members if member not in members]
                self._settle(batch)

    def _fill(self) -> None:
        """Keep the executor busy."""
        while len(self._under_way) < self.executor.slots:
            self._watch()
            if self._ready:
                self._submit()
            elif self._closing or not self._ask():
                return
        if self._ahead and not self._ready and not self._closing:
            self._ask()  # while others compute

    # --- asking ---

    def _ask(self) -> bool:
        """Ask the next batch; False if there is none, or none yet."""
        numbers = self.schedule.numbers(self._next_batch)
        shown = self.schedule.shown(self._next_batch)
        if not numbers or not self._tell(shown, numbers.start):
            return False
        if self.sampling.stopped:
            self._closing = True
            return False
        batch = Batch(self._next_batch, numbers, shown)
        self._next_batch += 1
        self._batches[batch.index] = batch
        for number in numbers:
            known = self.stored.get(number)
            try:
                asked, settings = self.sampling.ask(self.space, shown, known, self.queued.get(number))
            except Exhausted:
                self._closing = True
                break
            if known is not None:
                self._ended[number] = known
                continue
            member = Member(asked, settings or {})
            if settings is None:  # the space itself gave it up
                self._end(member, TrialState.PRUNED)
            else:
                batch.members.append(member)
        self._advance(batch)
        return True

    def _tell(self, shown: int, end: int) -> bool:
        """Tell the sampler all results below a number; False while some of them are missing."""
        while self.sampling.told < shown:
            trial = self._ended.pop(self.sampling.told, None)
            if trial is None:
                return False
            self.sampling.tell(trial, end)
        return True

    # --- working ---

    def _advance(self, batch: Batch) -> None:
        """Hand out the next rung of a batch, or end it."""
        alive = [member for member in batch.members if member.state is None]
        if not alive:
            self._batches.pop(batch.index, None)
            return
        groups = [[member] for member in alive] if self.alone else [alive]
        for members in groups:
            rung = members[0].rung
            last = [self.rungs.count(member.settings) == rung + 1 for member in members]
            work = Work(
                self._next_work,
                [self.rungs.candidate(member.settings, rung) for member in members],
                self.rungs.splits(rung),
                self.goals.measures if any(last) else (),
            )
            self._next_work += 1
            batch.waiting += 1
            heapq.heappush(self._ready, (batch.index, rung, work.id, work, members))

    def _submit(self) -> None:
        index, _, _, work, members = heapq.heappop(self._ready)
        for member in members:
            member.begun = True
        self._under_way[work.id] = self._batches[index], members
        self.executor.submit(work)

    def _receive(self, done: Done) -> None:
        batch, members = self._under_way.pop(done.id)
        self.plans |= done.plans
        splits = self.rungs.splits(members[0].rung) or range(self.n_splits)
        for i, member in enumerate(members):
            if done.error is not None:
                member.error = done.error
                continue
            member.evaluations.update(zip(splits, done.evaluations[i], strict=True))
            if i < len(done.measures):
                member.measures = dict(done.measures[i])
        batch.waiting -= 1
        if not self._pruning:
            for member in members:
                self._end(member)
        self._settle(batch)

    def _settle(self, batch: Batch) -> None:
        """Go on with a batch once all work on its rung is done."""
        if not batch.waiting:
            self._judge(batch)
            self._advance(batch)

    def _judge(self, batch: Batch) -> None:
        """End the members of a batch that are done, failed or pruned."""
        going = []
        for member in batch.members:
            if member.state is not None:
                continue
            member.error = member.error or self._failure(member)
            if member.error is not None or self.rungs.count(member.settings) == member.rung + 1:
                if self._pruning and member.error is None:
                    step, value = self._report(member)
                    member.reports[step] = value
                self._end(member)
            else:
                going.append(member)
        if not going:
            return
        reports = [self._report(member) for member in going]
        numbers = [member.number for member in going]
        verdicts = self.sampling.prune(numbers, reports, batch.shown, batch.numbers)
        for member, (step, value), pruned in zip(going, reports, verdicts, strict=True):
            member.reports[step] = value
            if pruned:
                self._end(member, TrialState.PRUNED)
            else:
                member.rung += 1

    def _report(self, member: Member) -> tuple[int, float]:
        values = [score_of(each["test_scores"], self.goals.names[0]) for each in member.evaluations.values()]
        step = self.rungs.step(member.settings, member.rung)
        return step, self.rungs.report(member.evaluations, values)

    def _failure(self, member: Member) -> str | None:
        """Why a trial has no value, so far as it has come."""
        if "error" in member.measures:
            return str(member.measures["error"])
        if isinstance(self.error_score, str) or math.isnan(self.error_score):
            for each in member.evaluations.values():
                if each.get("fit_error"):
                    return str(each["fit_error"])
        for name in self.goals.names:
            if name in MEASURES:
                continue
            missing = [
                split
                for split, each in member.evaluations.items()
                if math.isnan(score_of(each["test_scores"], name))
            ]
            if missing:
                places = ", ".join(map(str, missing))
                text = f"the score {name!r} is NaN on split{'s' if len(missing) > 1 else ''} {places}"
                why = member.evaluations[missing[0]].get("score_error")
                return f"{text}:\n{why}" if why else text
        return None

    def _end(self, member: Member, state: TrialState | None = None) -> None:
        trial = self._frozen(member, state)
        member.state = trial.state
        if member.settings:
            self.settings[trial.number] = member.settings
        self._ended[trial.number] = trial
        self._unwritten[trial.number] = trial

    def _frozen(self, member: Member, state: TrialState | None) -> FrozenTrial:
        """What a study keeps of a trial that has ended."""
        error = member.error or self._failure(member)
        live = self.sampling.ledger.trials[member.number]
        evaluations = [member.evaluations.get(split) for split in range(self.n_splits)]
        seen = [each for each in evaluations if each is not None]
        system = {
            key: value
            for key, value in live.system_attrs.items()
            if not key.startswith("tpe:relative_params")
        }
        values: list[float] | None = None
        if error is not None:
            state = TrialState.FAIL
        elif state == TrialState.PRUNED:
            values = self.goals.values(seen, member.measures) if seen else None
        else:
            state = TrialState.COMPLETE
            values = self.goals.values(seen, member.measures)
            for key, value in self.goals.violations(seen, member.measures).items():
                if math.isnan(value):
                    error, state, values = f"the constraint {key!r} is NaN", TrialState.FAIL, None
                    break
                system[f"constraints:{key}"] = value
        trial = FrozenTrial(
            number=member.number,
            state=state,
            value=None,
            values=values,
            datetime_start=live.datetime_start,
            datetime_complete=datetime.now(),
            params=live.params,
            distributions=live.distributions,
            user_attrs=kept_of(evaluations, member.measures, error),
            system_attrs=system,
            intermediate_values=member.reports,
            trial_id=member.number,
        )
        if state == TrialState.COMPLETE and self.goals.function is not None:
            for i, value in enumerate(self.goals.function(trial)):
                trial.set_constraint(str(i), value)
        return trial

    # --- writing ---

    def _write(self, last: bool = False, tell: bool = True) -> None:
        """Write, in order, what has ended: whole batches, and parts of one that takes long; tell callbacks."""
        ready = []
        number = self._written
        part = last or monotonic() - self._written_at >= _PATIENCE
        while number in self._unwritten or number in self.stored:
            batch = self.schedule.batch_of(number)
            if batch in self._batches and (self._pruning or not part):
                break
            if number in self._unwritten:
                ready.append(self._unwritten[number])
            number += 1
        if not ready:
            return
        self.store.write(ready)
        self._written_at = monotonic()
        for trial in ready:
            del self._unwritten[trial.number]
            self.new.add(trial.number)
        self.trials += ready
        self._written = number
        if not tell:
            return
        for callback in self.callbacks:
            batch_end = getattr(callback, "on_batch_end", None)
            if batch_end is not None:
                batch_end(self.store.study, ready)
                continue
            for trial in ready:
                callback(self.store.study, trial)
        if self.verbose > 0:
            self._say(ready)

    def _say(self, trials: Sequence[FrozenTrial]) -> None:
        numbers = f"{trials[0].number}" + (f"-{trials[-1].number}" if len(trials) > 1 else "")
        total = "" if self.schedule.end is None else f" of {self.schedule.end}"
        counts = [
            f"{n} {word}"
            for state, word in ((TrialState.PRUNED, "pruned"), (TrialState.FAIL, "failed"))
            if (n := sum(trial.state == state for trial in trials))
        ]
        try:
            best = self.store.study._get_best_trial(deepcopy=False)
            counts.insert(0, f"best {best.value:.6g} (trial {best.number})")
        except (ValueError, RuntimeError):
            pass  # none yet, or several objectives
        print(f"{self.owner}: trials {numbers}{total}: {', '.join([*counts, f'{self.seconds:.1f} s'])}")

    @property
    def plan(self) -> Plan:
        """What all workers shared."""
        return Plan.joined(self.plans.values())

    @property
    def seconds(self) -> float:
        return monotonic() - self._begin
