"""The commands ``manyfit sweep ...``: their arguments, and which function does each."""

from __future__ import annotations

import argparse
import sys
from typing import Any

__all__ = ["add_commands", "run_command"]

OK = 0
FAILED = 1
UNUSABLE = 2
INTERRUPTED = 130

_SWEEP = """\
Hyperparameter searches that stand in a file: what to search, on which data, for
how long. The study survives being killed, and every Optuna tool reads it.
"""

_SWEEP_EXAMPLES = """\
examples:
  manyfit sweep check FILE      is the file right, and what would be done?
  manyfit sweep run FILE        search; Ctrl-C saves, resume goes on
  manyfit sweep status FILE     how far it is, from any terminal
  manyfit sweep best FILE       what was found; --onnx OUT exports it
  manyfit sweep report FILE     one self-contained page

A sweep file that works:
  data: diabetes
  estimator: Ridge
  metric: {name: r2, goal: maximize}
  parameters:
    alpha: {min: 0.001, max: 100.0, distribution: log_uniform_values}
  run_cap: 50
"""

_RUN = """\
Search as FILE says, or go on where it was left. Finished trials are written
batch by batch: Ctrl-C once ends the search when the running batch is saved,
twice at once; after a kill -9 or a power cut, run or resume goes on.
"""

_RUN_EXAMPLES = """\
examples:
  manyfit sweep run ridge.yaml
  manyfit sweep run ridge.yaml --trials 200 --workers 4
  manyfit sweep run ridge.yaml --dask tcp://scheduler:8786
  manyfit sweep run ridge.yaml --storage postgresql://me@host/sweeps

exit status:
  0    the sweep is complete
  1    every trial failed
  2    the file, the data or the storage cannot be used
  130  Ctrl-C; what was found is saved
"""

_RESUME = """\
Go on with a sweep that was begun: FILE or the storage in which it is kept. With
--trials it may become longer than its file says.
"""

_RESUME_EXAMPLES = """\
examples:
  manyfit sweep resume ridge.yaml
  manyfit sweep resume ridge.db --trials 500

exit status: as that of manyfit sweep run
"""

_STATUS = """\
How far a sweep is: trials by state, the best so far, the pace, the time that
remains, and what its fits shared. Nothing is written.
"""

_STATUS_EXAMPLES = """\
examples:
  manyfit sweep status ridge.yaml
  manyfit sweep status ridge.yaml --watch
  manyfit sweep status postgresql://me@host/sweeps --name ridge
"""

_BEST = """\
The parameters of the best trial. With several metrics: of the first one, among
the trials on the Pareto front. --onnx and --save fit the model on all rows.
"""

_BEST_EXAMPLES = """\
examples:
  manyfit sweep best ridge.yaml
  manyfit sweep best ridge.yaml --onnx ridge.onnx
  manyfit sweep best ridge.yaml --trial 17 --save ridge.safetensors

exit status:
  0   done; what was exported answers as the model does
  1   there is no best trial, or the export did not agree with the model
  2   the study, the data or OUT cannot be used
"""

_REPORT = """\
One page of HTML that needs nothing else: history, importance of parameters,
parallel coordinates, Pareto front, what was shared, the best trials.
"""

_REPORT_EXAMPLES = """\
examples:
  manyfit sweep report ridge.yaml                  writes ridge.html beside it
  manyfit sweep report ridge.db --out /tmp/r.html
"""

_EXPORT = "The search as a Python script that gives the same study."

_EXPORT_EXAMPLES = """\
examples:
  manyfit sweep export ridge.yaml --python > ridge.py
  manyfit sweep export ridge.yaml --python --out ridge.py
"""

_CHECK = """\
Read FILE and its data, say everything that is wrong with them, each with its
line. Where nothing is: what would be done, and about how long the fits take, by
a few that are timed. Nothing is written.
"""

_CHECK_EXAMPLES = """\
examples:
  manyfit sweep check ridge.yaml

exit status:
  0   the file is right
  1   something in it is not
  2   the file cannot be read
"""


def add_commands(commands: Any) -> None:
    """Add the group to the commands of ``manyfit``."""
    group = commands.add_parser(
        "sweep", help="searches from files that survive", description=_SWEEP, epilog=_SWEEP_EXAMPLES
    )
    parts = group.add_subparsers(dest="sweep_command", metavar="COMMAND", title="commands", required=True)

    run = parts.add_parser("run", help="search as a file says", description=_RUN, epilog=_RUN_EXAMPLES)
    run.add_argument("file", metavar="FILE", help="sweep file (YAML)")
    _add_overrides(run)
    run.add_argument(
        "--storage", metavar="URL", help="path or URL of the study (default: FILE's, or FILE.db)"
    )
    run.add_argument("--seed", type=_whole(0), metavar="N", help="another seed than FILE's; for a new study")

    resume = parts.add_parser(
        "resume", help="go on with a sweep", description=_RESUME, epilog=_RESUME_EXAMPLES
    )
    _add_place(resume)
    _add_overrides(resume)

    status = parts.add_parser("status", help="how far it is", description=_STATUS, epilog=_STATUS_EXAMPLES)
    _add_place(status)
    status.add_argument("--watch", action="store_true", help="show it again every second until it is done")

    best = parts.add_parser("best", help="what was found", description=_BEST, epilog=_BEST_EXAMPLES)
    _add_place(best)
    best.add_argument("--trial", type=_whole(0), metavar="N", help="this trial instead of the best")
    best.add_argument("--onnx", metavar="OUT", help="write the model as verified ONNX")
    best.add_argument("--save", metavar="OUT", help="write the model as manyfit.save does")

    report = parts.add_parser("report", help="a page about it", description=_REPORT, epilog=_REPORT_EXAMPLES)
    _add_place(report)
    report.add_argument(
        "--out", metavar="HTML", help="where to write it (default: beside FILE or the storage)"
    )

    export = parts.add_parser(
        "export", help="the search as code", description=_EXPORT, epilog=_EXPORT_EXAMPLES
    )
    export.add_argument("file", metavar="FILE", help="sweep file (YAML)")
    export.add_argument("--python", action="store_true", required=True, help="as a Python script")
    export.add_argument("--out", metavar="PY", help="where to write it (default: standard output)")

    check = parts.add_parser("check", help="is the file right?", description=_CHECK, epilog=_CHECK_EXAMPLES)
    check.add_argument("file", metavar="FILE", help="sweep file (YAML)")


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("place", metavar="FILE|STORAGE", help="sweep file, or path or URL of a study")
    parser.add_argument("--name", metavar="STUDY", help="which study, where the storage holds several")


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trials", type=_whole(1), metavar="N", help="number of trials, instead of run_cap")
    parser.add_argument("--timeout", type=_time, metavar="S", help="seconds, or 10m, 2h: instead of timeout")
    parser.add_argument(
        "--workers", type=_whole(0), metavar="N", help="worker processes; 0: compute in this one"
    )
    parser.add_argument("--dask", metavar="ADDRESS", help="compute on the workers of this Dask scheduler")


def _whole(least: int) -> Any:
    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be a whole number >= {least}, got {text!r}")
        return value

    return read


def _time(text: str) -> float:
    from manyfit.sweep.settings import seconds

    found = seconds(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"must be seconds > 0, or a time such as 90s, 10m or 2h, got {text!r}"
        )
    return found


def run_command(arguments: argparse.Namespace) -> int:
    """Run a command of the group; errors of files and storages are told here."""
    from manyfit.exceptions import StorageError
    from manyfit.sweep import commands
    from manyfit.sweep.problems import SweepFileError

    command = arguments.sweep_command
    try:
        status: int = getattr(commands, command)(arguments)
        return status
    except SweepFileError as error:
        print(error, file=sys.stderr)
        return FAILED if command == "check" else UNUSABLE
    except (StorageError, ValueError, ImportError) as error:
        print(f"manyfit sweep {command}: {error}", file=sys.stderr)
        return UNUSABLE
