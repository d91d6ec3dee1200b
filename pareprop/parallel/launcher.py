"""Find the communicator of this process: MPI only where a launcher started it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import cast

from .. import installation
from ..errors import InputError, quote
from . import mpi
from .agreement import announce_script_end, read_exchange_variables, require_agreement
from .collectives import all_arrive, share_errors
from .exchange import SENDING_MODES, Alone, Exchange, Ranks
from .mpi import Comm
from .node import number_by_node, read_ranks_per_node, split_by_node
from .replicas import LEAVES, Replicas

# Number of ranks, as set by OpenMPI's mpirun, by Hydra (MPICH), by srun with PMI2 or PMIx; the first one found counts.
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
EXIT_INTERRUPTED = 130
RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


def read_launched_size(environment: Mapping[str, str]) -> int | None:
    """Return the number of ranks that the launcher started, None without a launcher."""
    for name in SIZES:
        if name in environment:
            return int(environment[name])
    return None


def read_launched_rank(environment: Mapping[str, str]) -> int:
    """Return the number of this rank as set by the launcher, before MPI starts; 0 without a launcher."""
    return next((int(environment[name]) for name in RANKS if name in environment), 0)


def read_sending_mode(environment: Mapping[str, str]) -> str:
    """Return the mode of sending spikes between nodes, from PAREPROP_SENDING; "counted" by default."""
    chosen = environment.get("PAREPROP_SENDING") or SENDING_MODES[0]
    if chosen not in SENDING_MODES:
        raise InputError(f"PAREPROP_SENDING = '{chosen}' must be one of {', '.join(SENDING_MODES)}")
    return chosen


def exchange() -> Exchange:
    """Collective: return `Ranks` if several ranks were started together, else `Alone`.

    Raise `InputError` if MPI does not load, or reports another number of ranks than the launcher started: the launcher
    then belongs to another MPI library.
    """
    if not faulthandler.is_enabled():
        faulthandler.enable(2)  # where this rank was when it crashed, on its standard error
    expected = read_launched_size(os.environ)
    if expected is None:
        return Alone()
    if os.environ.get("OMPI_COMM_WORLD_LOCAL_SIZE") == str(expected):  # one node: no search for a network
        os.environ.setdefault("OMPI_MCA_btl", "self,sm")
        os.environ.setdefault("OMPI_MCA_osc", "^ucx")
    os.environ.setdefault("MPI4PY_RC_THREAD_LEVEL", "funneled")  # one thread calls MPI, which then needs no locks
    try:
        from mpi4py import MPI  # starts MPI, so not at the top of the file
    except (ImportError, RuntimeError) as problem:
        why = str(problem).partition("\n")[0]
        raise InputError(
            f"{expected} ranks were started, but mpi4py does not load ({why}): install pareprop[mpi], or mpi4py and "
            "the MPI library that the launcher belongs to"
        ) from None

    comm = MPI.COMM_WORLD
    if comm.size != expected:
        raise InputError(
            f"{expected} ranks were started, but MPI ({MPI.Get_library_version().split(',')[0]}) sees {comm.size}: "
            "the launcher belongs to another MPI library than mpi4py"
        )
    if comm.size == 1:
        return Alone()
    require_agreement(
        comm, "exchange()", read_exchange_variables()
    )  # says who is missing, where MPI would wait in silence
    if _World.leaving is None:
        _World.leaving = comm.Dup()
        _end_others_on_exceptions()
    with share_errors(comm):
        mpi.require_handles(MPI._sizeof(MPI.Comm))
        way = read_sending_mode(os.environ)
        read_ranks_per_node(os.environ)
    local = split_by_node(comm)
    require_agreement(comm, "exchange()", installation.list_installation_facts(local))
    numbered = number_by_node(comm, local)
    announce_script_end(numbered)
    return Ranks(numbered, way)


def split_into_replicas(exchange: Exchange, replicas: int) -> Exchange:
    """Collective: divide all ranks into `replicas` groups of equal size; return the exchange of this rank's group.

    `replicas` must be a power of two in range, divide the number of ranks, and be equal on all ranks.
    """
    require_agreement(exchange.comm, "split()", {"replicas": quote(replicas)})
    if replicas == 1:
        return exchange
    if not isinstance(replicas, int) or not 1 <= replicas <= LEAVES or replicas & (replicas - 1):
        raise InputError(f"replicas = {quote(replicas)} must be a power of two from 1 to {LEAVES}")
    if exchange.size % replicas:
        raise InputError(f"replicas = {replicas} must divide the number of ranks, {exchange.size}")
    size = exchange.size // replicas
    index, place = divmod(exchange.rank, size)
    across = exchange.comm.Split(place, exchange.rank)
    groups = Replicas(replicas, index, across, exchange.comm)
    if size == 1:
        return Alone(groups)
    return Ranks(exchange.comm.Split(index, exchange.rank), cast(Ranks, exchange).sending_mode, groups)


def abort_all_ranks(code: int = 1) -> None:
    """End all ranks at once after an unexpected error on this one."""
    if _World.leaving is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        _World.leaving.Abort(code)


def do_all_ranks_leave() -> bool:
    """Collective, if all goes well: whether all ranks come here within some seconds, to leave with an error.

    A rank that left alone would wait for the others at MPI's end, and they for it, for ever.
    """
    return all_arrive(_World.leaving)


def end_at_once_on_interrupt() -> None:
    """Make SIGINT end this process at once if there are other ranks, which the launcher then ends.

    Python would wait for the end of a call, such as a receive without a sender. Checkpoints handle the signal instead.
    """
    if read_launched_size(os.environ) not in (None, 1) and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class _World:
    """The communicator of all ranks for their leaving, once MPI has started with more than one."""

    leaving: Comm = None


def _end_others_on_exceptions() -> None:
    """Make an uncaught exception end all ranks, as `python -m mpi4py` does."""
    before = sys.excepthook

    def end_all_ranks(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        before(kind, value, trace)
        abort_all_ranks(EXIT_INTERRUPTED if issubclass(kind, KeyboardInterrupt) else 1)

    sys.excepthook = end_all_ranks
