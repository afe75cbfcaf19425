"""``python -m tests.bench.kills``: kill workers and supervisors of sweeps at random times, resume, and count.

Every trial that a search has told is announced on its output. After each kill of a supervisor and at the end of
each sweep the storage is compared with what was announced, and a sweep that was killed many times with one that
was not.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import select
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

STARTING = 0.15  # share of the supervisors that are killed while they start
WORKERS = 0.85  # share of the kills that hit a worker
PAUSE = 0.7  # seconds, the longest, from one kill or told trial to the next kill


# --- the sweep that is killed ---


def child(folder: Path, n_trials: int) -> None:
    """Run the sweep, or go on with it, and announce each told trial."""
    import numpy as np
    import optuna
    from optuna.distributions import FloatDistribution
    from sklearn.linear_model import Ridge

    from manyfit.model_selection import OptunaSearchCV
    from manyfit.model_selection._workers import WorkerProcesses
    from manyfit.tracking import JsonLines

    optuna.logging.set_verbosity(optuna.logging.WARNING)

    class Slow(Ridge):  # type: ignore[misc]
        """Takes long enough to be hit."""

        def fit(self, X: Any, y: Any) -> Any:
            time.sleep(0.01)
            return super().fit(X, y)

    class Announce:
        def on_batch_end(self, study: Any, trials: Any) -> None:
            for trial in trials:
                print(json.dumps([trial.number, trial.state.name, trial.params, trial.values]), flush=True)

    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 5))
    search = OptunaSearchCV(
        Slow(),
        {"alpha": FloatDistribution(1e-3, 1e3, log=True)},
        n_trials=n_trials,
        sampler=optuna.samplers.TPESampler(seed=0),
        cv=3,
        storage=str(folder / "study.db"),
        study_name="study",
        executor=WorkerProcesses(2),
        callbacks=[JsonLines(folder / "log.jsonl"), Announce()],
        random_state=0,
    )
    search.fit(X, X @ np.arange(5.0) + rng.normal(size=40))
    print("end", flush=True)


# --- who kills it ---


class Campaign:
    """Kills and what became of it.

    Parameters
    ----------
    folder : Path
    kills : int
        How many to do; the last sweep is then left to end.
    n_trials : int
        Of each sweep.
    seed : int
    say : callable
        Gets a line now and then.
    """

    def __init__(
        self, folder: Path, kills: int, n_trials: int = 80, seed: int = 0, say: Callable[[str], None] = print
    ) -> None:
        self.folder = folder
        self.kills = kills
        self.n_trials = n_trials
        self.random = random.Random(seed)
        self.say = say
        self.counts: collections.Counter[str] = collections.Counter(
            dict.fromkeys(
                (
                    "workers killed",
                    "supervisors killed",
                    "resumes",
                    "sweeps ended",
                    "trials told",
                    "told trials lost",
                    "trials counted twice",
                    "trials left running",
                    "lines of the log missing or twice",
                    "workers left behind",
                    "resumes that failed",
                    "sweeps unlike the undisturbed one",
                ),
                0,
            )
        )

    def run(self) -> dict[str, int]:
        reference = self._sweep(self.folder / "undisturbed", disturbed=False)
        i = 0
        while self._done() < self.kills:
            got = self._sweep(self.folder / f"sweep{i}", disturbed=True)
            if got != reference:
                self.counts["sweeps unlike the undisturbed one"] += 1
            self.counts["sweeps ended"] += 1
            i += 1
        return dict(self.counts)

    def wrong(self) -> dict[str, int]:
        """Counts that must be zero, and are not."""
        good = ("workers killed", "supervisors killed", "resumes", "sweeps ended", "trials told")
        return {key: count for key, count in self.counts.items() if count and key not in good}

    def _count(self, what: str) -> None:
        self.counts[what] += 1
        if self._done() % 10 == 0:
            ended = self.counts["sweeps ended"]
            self.say(f"{self._done()} kills, {ended} sweeps ended: {self.wrong() or 'all well'}")

    def _done(self) -> int:
        return self.counts["workers killed"] + self.counts["supervisors killed"]

    def _sweep(self, folder: Path, disturbed: bool) -> list[Any]:
        """Run one sweep to its end, however often it is killed; return what its study holds."""
        folder.mkdir()
        told: dict[int, Any] = {}
        lives = 0
        while not self._life(folder, told, disturbed):
            lives += 1
            self.counts["resumes"] += 1
            self._compare(folder, told)
            if self.counts["resumes that failed"] > 5:
                raise RuntimeError(f"resumes fail: {(folder / 'errors').read_text()[-2000:]}")
        self._compare(folder, told)
        rows = stored(folder)
        if disturbed:
            self.counts["trials told"] += len(told)
        numbers = [row[0] for row in rows]
        if numbers != list(range(self.n_trials)):
            self.counts["told trials lost"] += len(set(range(self.n_trials)) - set(numbers))
        lines = collections.Counter(
            json.loads(line)["number"] for line in (folder / "log.jsonl").read_text().splitlines()
        )
        self.counts["lines of the log missing or twice"] += sum(lines[n] != 1 for n in range(self.n_trials))
        return rows

    def _life(self, folder: Path, told: dict[int, Any], disturbed: bool) -> bool:
        """One supervisor, from its start to its death; whether the sweep has ended."""
        command = [sys.executable, __file__, "--child", str(folder), "--trials", str(self.n_trials)]
        with (
            open(folder / "errors", "a") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process,
        ):
            assert process.stdout is not None
            supervisor = psutil.Process(process.pid)
            workers: set[psutil.Process] = set()
            starting = disturbed and self.random.random() < STARTING
            kill_at = time.monotonic() + self.random.uniform(0, 3) if starting else None
            ended = False
            buffer = b""
            while True:
                wait = None if kill_at is None else max(0.0, kill_at - time.monotonic())
                if not select.select([process.stdout], [], [], wait)[0]:
                    kill_at = None
                    workers.update(supervisor.children())
                    if self._done() >= self.kills:
                        continue
                    if not starting and self.random.random() < WORKERS:
                        self._kill_worker(supervisor)
                        kill_at = time.monotonic() + self.random.uniform(0, PAUSE)
                        continue
                    process.kill()
                    self._count("supervisors killed")
                    starting = False
                    continue
                data = process.stdout.read1(1 << 16)  # type: ignore[attr-defined]
                if not data:
                    break
                buffer += data
                *lines, buffer = buffer.split(b"\n")
                for line in lines:
                    if line == b"end":
                        ended = True
                        continue
                    number, *rest = json.loads(line)
                    if number in told:
                        self.counts["trials counted twice"] += 1
                    told[number] = rest
                if disturbed and kill_at is None and process.poll() is None and lines:
                    kill_at = time.monotonic() + self.random.uniform(0, PAUSE)
            status = process.wait()
        _, alive = psutil.wait_procs(workers, timeout=60)
        self.counts["workers left behind"] += len(alive)
        # A kill may also come after the last word.
        if status not in (0, -signal.SIGKILL) or (status == 0 and not ended):
            self.counts["resumes that failed"] += 1
        return ended

    def _kill_worker(self, supervisor: psutil.Process) -> None:
        workers = supervisor.children()
        if workers:
            self.random.choice(workers).kill()
            self._count("workers killed")

    def _compare(self, folder: Path, told: dict[int, Any]) -> None:
        """Hold the storage against what was announced."""
        rows = stored(folder)
        held = {row[0]: list(row[1:]) for row in rows}
        self.counts["trials counted twice"] += len(rows) - len(held)
        self.counts["trials left running"] += sum(row[1] in ("RUNNING", "WAITING") for row in rows)
        self.counts["told trials lost"] += sum(held.get(number) != rest for number, rest in told.items())


def stored(folder: Path) -> list[Any]:
    """Number, state, parameters and values of the trials in a study's file."""
    path = folder / "study.db"
    if not path.exists():
        return []
    connection = sqlite3.connect(path)
    try:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if "trial_values" not in tables:
            return []
        rows = connection.execute("SELECT trial_id, number, state FROM trials ORDER BY number").fetchall()
        params: dict[int, dict[str, float]] = collections.defaultdict(dict)
        for trial, name, value in connection.execute(
            "SELECT trial_id, param_name, param_value FROM trial_params"
        ):
            params[trial][name] = value
        values: dict[int, list[float]] = collections.defaultdict(list)
        for trial, value in connection.execute("SELECT trial_id, value FROM trial_values ORDER BY objective"):
            values[trial].append(value)
    finally:
        connection.close()
    return [(number, state, params[trial], values.get(trial)) for trial, number, state in rows]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--trials", type=int, default=80, help="of each sweep")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child is not None:
        child(args.child, args.trials)
        return 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(
            Path(folder), args.kills, args.trials, args.seed, lambda line: print(line, flush=True)
        )
        counts = campaign.run()
    width = max(map(len, counts))
    for key, count in counts.items():
        print(f"{key:<{width}}  {count}")
    print(f"{time.monotonic() - begin:.0f} s")
    return 1 if campaign.wrong() else 0


if __name__ == "__main__":
    raise SystemExit(main())
