"""The command line: commands of the rooms, exit codes."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial

import click

from . import terminal
from .errors import MESSAGE_LIMIT, InputError, ParepropError, ParepropWarning, RankLost, shorten
from .nest.commands import COMMANDS as NEST
from .parallel import launcher
from .runs.commands import COMMANDS as RUNS
from .scaling.commands import COMMANDS as SCALING

EXIT_BAD_INPUT, EXIT_CANNOT_CONTINUE, EXIT_INTERRUPTED = 2, 3, launcher.EXIT_INTERRUPTED
LONGEST = 2**15  # longer messages, in characters, are shortened


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pareprop")
def commands() -> None:
    """Train large sparse recurrent spiking networks with e-prop, alone or under mpirun."""


for _command in (*NEST, *RUNS, *SCALING):
    commands.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit codes on all ranks: 1 failed case or internal error, 2 invalid input, 3 cannot continue."""
    rank = launcher.rank_of_launcher(os.environ)
    launcher.end_at_once_on_interrupt()
    warnings.simplefilter("always", ParepropWarning)
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        commands.main(args=arguments, prog_name="pareprop", obj=launcher.exchange(), standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        launcher.abort(EXIT_INTERRUPTED)
        sys.exit(EXIT_INTERRUPTED)
    except (InputError, click.ClickException) as problem:
        _leave(rank, problem, EXIT_BAD_INPUT)
    except ParepropError as problem:
        _leave(rank, problem, EXIT_CANNOT_CONTINUE)
    except RankLost as problem:
        if problem.speaks:
            _report(0, problem)
        launcher.abort(EXIT_CANNOT_CONTINUE)
        sys.exit(EXIT_CANNOT_CONTINUE)
    except MemoryError as problem:
        terminal.echo(f"pareprop: error: not enough memory on rank {rank}: {problem}", err=True)
        launcher.abort(EXIT_CANNOT_CONTINUE)
        sys.exit(EXIT_CANNOT_CONTINUE)
    except Exception:
        terminal.echo(f"pareprop: rank {rank} failed:\n{traceback.format_exc()}", err=True)
        launcher.abort(1)
        sys.exit(1)


def _show_warning(others: Callable[..., object], message: object, category: type[Warning], *place: object) -> None:
    """Show a warning of the package in one line, without file and line number."""
    if issubclass(category, ParepropWarning):
        terminal.echo(f"pareprop: notice: {message}", err=True)
    else:
        others(message, category, *place)


def _leave(rank: int, problem: Exception, code: int) -> None:
    """Exit with `code`; if not all ranks come here, this rank reports its problem and ends the others."""
    _report(rank, problem)
    if not launcher.leave_together():
        if rank:
            _report(0, f"{problem} (rank {rank})")
        launcher.abort(code)
    sys.exit(code)


def _report(rank: int, problem: Exception | str) -> None:
    if rank:
        return
    if isinstance(problem, click.exceptions.NoArgsIsHelpError):
        problem.show()
    else:
        text = str(problem)
        if isinstance(problem, click.ClickException):  # click repeats the value whole
            text = shorten(problem.format_message(), MESSAGE_LIMIT)
        terminal.echo(f"pareprop: error: {shorten(text, LONGEST)}", err=True)
