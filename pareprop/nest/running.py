"""Simulate: the network is built before the first step, and when it grew; recorders write their files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import ParepropError, quote
from ..network.parameters import FLOAT_MAX, is_number
from ..parallel.collectives import share_errors
from .errors import EARLIER, NESTErrors, make_refusal, translate_errors
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


def simulate_session(session: Session, ms: float) -> None:
    """Collective: simulate for a time."""
    n = count_steps(session, ms)
    start, cpu = time.perf_counter(), time.process_time()
    with translate_errors(), session.spent.time_phase("simulate"):
        if session.clock is None and n:
            session.clock = _build_clock(session)
        elif n and session.grown:
            session.clock = _rebuild_clock(session)
        elif n and session.recorders.changed:
            session.running.replace_taps(session.recorders.make_taps(session.running.wiring))
        if n:
            session.running.set_learning_rates(session.models.list_learning_rates())
            _open_files(session)
            session.step += n
            session.stale = True
            session.running.advance_to(session.step)
            _write_files(session)
    session.spent.add_seconds("simulate_cpu", time.process_time() - cpu)
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
            with share_errors(session.exchange.comm):
                for recorder, files in session.text if session.exchange.rank == 0 else ():
                    files.create_files(recorder, session.params)
        except ParepropError as problem:
            session.files_open = False
            session.prepared = True  # as in NEST, where Cleanup follows
            raise NESTErrors.IOError(str(problem)) from None


def _write_files(session: Session) -> None:
    """Collective: move events to text files."""
    if session.text:
        with share_errors(session.exchange.comm):
            for recorder, files in session.text:
                files.move_events(recorder, session.shown, writes=session.exchange.rank == 0)


def _build_clock(session: Session) -> Clock:
    from .interval_clock import IntervalClock  # engines and MPI: a script that only describes needs none of them
    from .spike_clock import SpikeClock
    from .wiring import wire_network

    session.bundles.join_small_bundles()
    session.recorders.check_history(session.bundles)
    with session.timers.time_phase("wire"):
        wiring = wire_network(session, session.versions.find_version(session.exchange.rank))
    kind = SpikeClock if wiring.model.eprop.is_online else IntervalClock
    with session.timers.time_phase("build"):
        clock = kind(session, wiring, session.recorders.make_taps(wiring))
    session.n_built, session.grown = session.nodes.n, False
    session.generations.append(len(session.bundles))
    return clock


def _rebuild_clock(session: Session) -> Clock:
    """Collective: build the network again with nodes and connections made in the run, and transfer the state."""
    from .growth import Growth

    before, first = session.running, session.generations[-1]
    before.read_weights()
    clock = _build_clock(session)
    if type(clock) is not type(before):
        raise make_refusal("neurons of the interval variant after the first step of a network without any", EARLIER)
    clock.set_learning_rates(session.models.list_learning_rates())
    clock.transfer_state(Growth(before, clock, first))
    return clock
