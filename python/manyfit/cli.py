"""The command ``manyfit``.

Exit status: 0 when all is well, 1 when something that was checked does not hold, 2 when the command cannot
do its work (usage, files), 130 after Ctrl-C. What a command needs is imported when it runs, so that
``manyfit --help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import manyfit
from manyfit.sweep import cli as sweep

__all__ = ["main"]

OK = 0
FAILED = 1
UNUSABLE = 2
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + 13  # SIGPIPE, which Windows does not name

_DESCRIPTION = """\
Machine learning with scikit-learn's interface: whole hyperparameter sweeps for
the price of a few fits, and verified ONNX at the end.
"""

_EXAMPLES = """\
examples:
  manyfit tour                  see it work on real data; writes a report page
  manyfit verify model.onnx     does an exported model still answer as it did?
  manyfit sweep run FILE        search as a file says; it survives being killed
  manyfit info                  version, CPU level, threads, compiler, CUDA

Every command has its own --help.
"""

_TOUR = """\
Train every family on real data that scikit-learn brings along, run a ridge
sweep of 250 fits beside the same fits one by one, reduce handwritten digits,
export and verify ONNX, save and load. Nothing is downloaded.

Writes report.html (one self-contained page) and the exported models into DIR,
overwrites these files, and leaves all others in DIR alone.
"""

_TOUR_EXAMPLES = """\
examples:
  manyfit tour                  the whole tour, well under a minute
  manyfit tour --quick          smaller tables, a few seconds
  manyfit tour --out /tmp/tour  report and models go to /tmp/tour

exit status:
  0   everything that was verified held
  1   a check failed; it is shown here and in the report
  2   DIR cannot be written
"""

_VERIFY = """\
Replay the golden rows that travel in every ONNX file exported by manyfit, on
the ONNX Runtime installed here, and compare with what the model answered when
it was exported. An altered file is noticed and its graph is not run.
"""

_VERIFY_EXAMPLES = """\
examples:
  manyfit verify ridge.onnx
  manyfit verify models/*.onnx

exit status:
  0   every file answers as it did when it was exported
  1   a file was altered, or answers otherwise
  2   a file cannot be read, is damaged, or was not exported by manyfit
"""

_INFO = "Show version, CPU level and why, threads and why, LAPACK, compiler and CUDA."

_INFO_EXAMPLES = """\
examples:
  manyfit info
  MANYFIT_CPU_LEVEL=v2 manyfit info     with another CPU level than it chose
"""


class _Parser(argparse.ArgumentParser):
    """A parser that keeps examples as they are laid out and says what is wrong in one line."""

    def __init__(self, **options: Any) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(**options, formatter_class=layout, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments; None takes those of the process.

    Returns
    -------
    int
        The exit status.

    Examples
    --------
    >>> from manyfit.cli import main
    >>> main(["verify", "missing.onnx"])
    2
    """
    # Whatever a terminal cannot show is replaced, rather than ending the command.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    command = "manyfit"
    try:
        parser = _parser()
        arguments = parser.parse_args(argv)
        if arguments.command is None:
            parser.print_help(sys.stderr)
            return UNUSABLE
        command = " ".join(
            filter(None, ["manyfit", arguments.command, getattr(arguments, "sweep_command", "")])
        )
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # from argparse: --help, --version, usage
        return stop.code if isinstance(stop.code, int) else OK
    except KeyboardInterrupt:
        return _complain(command, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader has gone (as in `manyfit info | head -1`); nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        return _complain(command, _file_problem(error), UNUSABLE)
    except MemoryError:
        return _complain(command, "not enough memory", UNUSABLE)


def _parser() -> _Parser:
    parser = _Parser(prog="manyfit", description=_DESCRIPTION, epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"manyfit {manyfit.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")

    tour = commands.add_parser(
        "tour", help="see everything work, on real data", description=_TOUR, epilog=_TOUR_EXAMPLES
    )
    tour.add_argument(
        "--out",
        metavar="DIR",
        type=_directory,
        default="manyfit-tour",
        help="where to write (default: %(default)s)",
    )
    tour.add_argument("--quick", action="store_true", help="smaller tables, a few seconds")

    verify = commands.add_parser(
        "verify", help="check exported ONNX files", description=_VERIFY, epilog=_VERIFY_EXAMPLES
    )
    verify.add_argument("files", metavar="FILE", nargs="+", help="ONNX file exported by manyfit")

    sweep.add_commands(commands)

    commands.add_parser(
        "info", help="this installation, this machine", description=_INFO, epilog=_INFO_EXAMPLES
    )
    return parser


def _directory(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("must name a directory, got ''")
    return text


def _run(arguments: argparse.Namespace) -> int:
    if arguments.command == "tour":
        from manyfit.tour import run

        return OK if run(arguments.out, quick=arguments.quick) else FAILED
    if arguments.command == "verify":
        return max([_verify(path) for path in arguments.files])
    if arguments.command == "sweep":
        return sweep.run_command(arguments)
    manyfit.show_config()
    return OK


def _verify(path: str) -> int:
    from manyfit.onnx import verify_file

    try:
        report = verify_file(path)
    except manyfit.ModelFormatError as error:
        return _complain("manyfit verify", str(error), UNUSABLE)
    except OSError as error:
        return _complain("manyfit verify", _file_problem(error), UNUSABLE)
    print("\n".join(report.lines()))
    return OK if report.ok else FAILED


def _file_problem(error: OSError) -> str:
    """Say what is wrong with which file."""
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def _complain(command: str, problem: str, status: int) -> int:
    """Print one line on stderr and hand back `status`."""
    print(f"{command}: {' '.join(problem.split())}", file=sys.stderr)
    return status
