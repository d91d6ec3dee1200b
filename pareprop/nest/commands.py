"""`pareprop nest SCRIPT`: run a script that imports `nest` with this package in its place."""

from __future__ import annotations

import os
import runpy
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import click

from .. import terminal
from ..errors import InputError
from ..parallel import launcher
from ..parallel.exchange import Exchange

PATIENCE = 20.0  # seconds that a rank whose script failed waits for the others to fail, too


@contextmanager
def replace_nest() -> Iterator[ModuleType]:
    """Have `import nest` mean `pareprop.nest`, within this context."""
    import pareprop.nest as nest

    parts = ("random", "math", "logic", "raster_plot", "voltage_trace")
    names = {"nest": nest, "nest.ll_api": nest} | {f"nest.{name}": getattr(nest, name) for name in parts}
    kept = {name: sys.modules.get(name) for name in names}
    sys.modules.update(names)
    try:
        yield nest
    finally:
        for name, module in kept.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def set_options(nest: ModuleType, version: str, losses: bool, allow_delays: bool = False) -> None:
    """Have every kernel begin with the options of the command."""
    from .settings import DEFAULTS

    DEFAULTS["eprop_delays_above_one_step"] = allow_delays
    DEFAULTS["eprop_as"], DEFAULTS["eprop_nest_losses"] = version, losses
    nest.ResetKernel()


@click.command(name="nest", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("script", type=click.Path())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--as",
    "version",
    type=click.Choice(["3.7", "3.8", "3.9", "3.10"]),
    help="NEST's version that the script is for; else its parameters say.",
)
@click.option("--nest-losses", is_flag=True, help="Lose the learning signals that NEST loses, and scale f_target so.")
@click.option("--allow-delays", is_flag=True, help="Accept delays above one step, which NEST refuses for e-prop.")
@click.option("--timings", is_flag=True, help="Print at the end how long each part took, and the digest of the run.")
@click.pass_obj
def nest_command(
    exchange: Exchange,
    script: str,
    arguments: tuple[str, ...],
    version: str | None,
    nest_losses: bool,
    allow_delays: bool,
    timings: bool,
) -> None:
    """Run a script written for NEST, unchanged.

    `import nest` means this package in it.

    The script sees SCRIPT and ARGUMENTS as its command line. It ends with exit code 1 if it fails, on all ranks, as it
    does with NEST.
    """
    if not Path(script).is_file():
        raise InputError(f"script {script}: there is no such file")
    with replace_nest() as nest:
        set_options(nest, version or "", nest_losses, allow_delays)
        start = time.perf_counter()
        code = _run(exchange, script, arguments)
        if timings and not code:
            _print_timings(exchange, time.perf_counter() - start)
    if code:
        sys.exit(code)


def _run(exchange: Exchange, script: str, arguments: tuple[str, ...]) -> int:
    """Run the script; return its exit code."""
    kept = sys.argv, sys.path[:]
    sys.argv, sys.path[:1] = [script, *arguments], [str(Path(script).resolve().parent)]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as stop:
        return _exit_code(exchange, stop)
    except Exception as problem:
        _report_failure(exchange, _format_traceback(problem, script))
        return 1
    finally:
        sys.argv, sys.path[:] = kept
    return 0


def _format_traceback(problem: Exception, script: str) -> str:
    """The traceback from the script on, without the frames that run the script."""
    frame = problem.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != script:
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(problem), problem, frame or problem.__traceback__))


def _exit_code(exchange: Exchange, stop: SystemExit) -> int:
    if stop.code is None or stop.code == 0:
        return 0
    if not isinstance(stop.code, int):
        _report_failure(exchange, str(stop.code))
        return 1
    _report_failure(exchange, "")
    return stop.code


def _report_failure(exchange: Exchange, text: str) -> None:
    """Print why the script failed, once if it fails on all ranks; end all if it fails on some alone."""
    together = _is_called_by_all(exchange)
    if text and (exchange.rank == 0 or not together):
        where = "" if exchange.size == 1 or together else f"rank {exchange.rank}: "
        sys.stderr.write(f"{where}{text.rstrip()}\n")
        sys.stderr.flush()
    if not together:
        launcher.abort_all_ranks()
        os._exit(1)


def _is_called_by_all(exchange: Exchange) -> bool:
    """Whether all ranks call this within `PATIENCE` seconds."""
    if exchange.comm is None:
        return True
    request, start = exchange.comm.Ibarrier(), time.monotonic()
    while not request.Test():
        if time.monotonic() - start > PATIENCE:
            return False
        time.sleep(0.005)
    return True


def _print_timings(exchange: Exchange, seconds: float) -> None:
    from .kernel import kernel

    if kernel.clock is None:
        return
    digest = kernel.clock.compute_digest()
    if exchange.rank == 0:
        for name, value in (kernel.timers.seconds | kernel.clock.simulation.timers.seconds).items():
            terminal.echo(f"{name:12s} {value:9.3f} s")
        biological = kernel.step * kernel.resolution / 1000
        terminal.echo(f"script       {seconds:9.3f} s, {biological:.4g} s of biological time")
        terminal.echo(f"digest: {digest}")
