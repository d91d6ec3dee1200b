"""Letting time go on: the network is built before the first step, and when it grew; recorders write their files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import ParepropError, quote
from ..network.parameters import FLOAT_MAX, is_number
from ..parallel.collectives import guarded
from .errors import EARLIER, NESTErrors, refuse, translate_errors
from .session import Session

if TYPE_CHECKING:
    from .clock import Clock


def count_steps(session: Session, ms: float) -> int:
    """Whole steps of a time."""
    if not is_number(ms) or not abs(ms) <= FLOAT_MAX:
        raise NESTErrors.BadParameter(f"The simulation time must be a finite number, it is {quote(ms)}")
    n = float(ms) / session.resolution
    if ms < 0:
        raise NESTErrors.BadParameter(f"The simulation time cannot be negative, it is {ms}")
    if abs(n - round(n)) > 1e-9 * max(1.0, n):
        raise NESTErrors.BadParameter(
            f"The simulation time must be a multiple of the simulation resolution, it is {ms}"
        )
    return round(n)


def simulate(session: Session, ms: float) -> None:
    """Collective: let time go on."""
    n = count_steps(session, ms)
    start, cpu = time.perf_counter(), time.process_time()
    with translate_errors(), session.spent.phase("simulate"):
        if session.clock is None and n:
            session.clock = _build_clock(session)
        elif n and session.grown:
            session.clock = _grow(session)
        elif n and session.recorders.changed:
            session.running.take_taps(session.recorders.taps(session.running.wiring))
        if n:
            session.running.take_rates(session.models.rates())
            _open_files(session)
            session.step += n
            session.stale = True
            session.running.advance(session.step)
            _write_files(session)
    session.spent.add("simulate_cpu", time.process_time() - cpu)
    if session.params["print_time"] and session.exchange.rank == 0:
        print(
            f"[ 100% ] Model time: {session.step * session.resolution:.1f} ms, real time: "
            f"{time.perf_counter() - start:.1f} s"
        )


def _open_files(session: Session) -> None:
    """Collective: have recorders to text files make new ones, once between `Prepare` and `Cleanup`."""
    if session.files_open:
        return
    session.files_open = session.prepared
    session.text = list(session.recorders.list_files())
    if session.text:
        try:
            with guarded(session.exchange.comm):
                for recorder, files in session.text if session.exchange.rank == 0 else ():
                    files.begin(recorder, session.params)
        except ParepropError as problem:
            session.files_open = False
            session.prepared = True  # as in NEST, where Cleanup follows
            raise NESTErrors.IOError(str(problem)) from None


def _write_files(session: Session) -> None:
    """Collective: move events to text files."""
    if session.text:
        with guarded(session.exchange.comm):
            for recorder, files in session.text:
                files.take(recorder, session.shown, writes=session.exchange.rank == 0)


def _build_clock(session: Session) -> Clock:
    from .interval_clock import IntervalClock  # engines and MPI: a script that only describes needs none of them
    from .spike_clock import SpikeClock
    from .wiring import wire

    session.bundles.settle()
    session.recorders.check_history(session.bundles)
    with session.timers.phase("wire"):
        wiring = wire(session, session.versions.of(session.exchange.rank))
    kind = SpikeClock if wiring.model.eprop.is_online else IntervalClock
    with session.timers.phase("build"):
        clock = kind(session, wiring, session.recorders.taps(wiring))
    session.n_built, session.grown = session.nodes.n, False
    session.generations.append(len(session.bundles))
    return clock


def _grow(session: Session) -> Clock:
    """Collective: build the network anew with what was made in the run, and have it go on as the one before."""
    from .growth import Growth

    before, first = session.running, session.generations[-1]
    before.read_weights()
    clock = _build_clock(session)
    if type(clock) is not type(before):
        raise refuse("neurons of the interval variant after the first step of a network without any", EARLIER)
    clock.take_rates(session.models.rates())
    clock.take_over(Growth(before, clock, first))
    return clock
