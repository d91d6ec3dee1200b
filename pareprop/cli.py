"""The command line: commands of the subpackages, exit codes."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial

import click

from . import __version__, terminal
from .errors import MESSAGE_LIMIT, InputError, ParepropError, ParepropWarning, RankLost, shorten
from .later import Later
from .parallel import launcher

EXIT_BAD_INPUT, EXIT_CANNOT_CONTINUE, EXIT_INTERRUPTED = 2, 3, launcher.EXIT_INTERRUPTED
LONGEST = 2**15  # longer messages, in characters, are shortened


COMMANDS: Later[click.Command] = Later(
    "pareprop",
    {
        "bench": "runs.bench_command.run_bench",
        "check-model": "runs.commands.check_model",
        "check-rule": "runs.commands.check_rule",
        "compare": "runs.commands.compare_runs",
        "compile": "runs.commands.compile_models",
        "config": "runs.commands.print_config",
        "dry-run": "scaling.commands.dry_run",
        "export": "runs.commands.export_run",
        "help": "runs.commands.help_command",
        "info": "runs.commands.print_info",
        "jobs": "scaling.commands.jobs_command",
        "launch": "scaling.commands.launch_command",
        "nest": "nest.commands.nest_command",
        "ping": "scaling.commands.ping_command",
        "plot": "runs.commands.draw_plots",
        "predict": "scaling.commands.predict_command",
        "report": "runs.commands.write_report",
        "resume": "runs.commands.resume_run",
        "run": "runs.commands.run_training",
        "scaling": "scaling.commands.scaling_group",
        "sweep": "scaling.sweep_command.sweep_command",
        "tasks": "runs.commands.list_tasks",
        "verify": "runs.commands.verify_cases",
    },
)


@click.group(commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def commands() -> None:
    """Train large sparse recurrent spiking networks with e-prop, alone or under mpirun."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command. Exit codes on all ranks: 1 failed case or internal error, 2 invalid input, 3 cannot continue."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # saves a search for plugins in all installed packages
    rank = launcher.read_launched_rank(os.environ)
    launcher.end_at_once_on_interrupt()
    warnings.simplefilter("always", ParepropWarning)
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        commands.main(args=arguments, prog_name="pareprop", obj=launcher.exchange(), standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (click.Abort, KeyboardInterrupt):
        launcher.abort_all_ranks(EXIT_INTERRUPTED)
        sys.exit(EXIT_INTERRUPTED)
    except (InputError, click.ClickException) as problem:
        _exit_with_error(rank, problem, EXIT_BAD_INPUT)
    except ParepropError as problem:
        _exit_with_error(rank, problem, EXIT_CANNOT_CONTINUE)
    except RankLost as problem:
        if problem.speaks:
            _print_error(0, problem)
        launcher.abort_all_ranks(EXIT_CANNOT_CONTINUE)
        sys.exit(EXIT_CANNOT_CONTINUE)
    except MemoryError as problem:
        terminal.echo(f"pareprop: error: not enough memory on rank {rank}: {problem}", err=True)
        launcher.abort_all_ranks(EXIT_CANNOT_CONTINUE)
        sys.exit(EXIT_CANNOT_CONTINUE)
    except Exception:
        terminal.echo(f"pareprop: rank {rank} failed:\n{traceback.format_exc()}", err=True)
        launcher.abort_all_ranks(1)
        sys.exit(1)


def _show_warning(others: Callable[..., object], message: object, category: type[Warning], *place: object) -> None:
    """Show a warning of the package in one line, without file and line number."""
    if issubclass(category, ParepropWarning):
        terminal.echo(f"pareprop: notice: {message}", err=True)
    else:
        others(message, category, *place)


def _exit_with_error(rank: int, problem: Exception, code: int) -> None:
    """Exit with `code`; if not all ranks come here, this rank reports its problem and ends the others."""
    _print_error(rank, problem)
    if not launcher.do_all_ranks_leave():
        if rank:
            _print_error(0, f"{problem} (rank {rank})")
        launcher.abort_all_ranks(code)
    sys.exit(code)


def _print_error(rank: int, problem: Exception | str) -> None:
    if rank:
        return
    if isinstance(problem, click.exceptions.NoArgsIsHelpError):
        problem.show()
    else:
        text = str(problem)
        if isinstance(problem, click.ClickException):  # click repeats the value whole
            text = shorten(problem.format_message(), MESSAGE_LIMIT)
        terminal.echo(f"pareprop: error: {shorten(text, LONGEST)}", err=True)
