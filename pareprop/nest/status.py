"""Kernel parameters that scripts can read, not set."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from functools import partial

from ..values import Values
from .devices.base import BACKENDS
from .rules import RULES
from .session import Session
from .settings import MS_PER_TIC, to_ms

BUILD: Values = {
    "version": "3.10.0",
    "exitcode": 0,
    "docdir": "",
    "datadir": "",
    "have_threads": True,
    "have_mpi": False,
    "have_gsl": False,
    "have_hdf5": False,
    "have_boost": False,
    "have_music": False,
    "have_sionlib": False,
    "have_libneurosim": False,
    "ndebug": True,
}
CONSTRUCTION = ("construction_create", "construction_connect")  # by one thread that never waits
SPENT = (*CONSTRUCTION, "simulate", "simulate_cpu")  # seconds that are counted

UNCOUNTED = ("communicate_prepare", "communicate_prepare_cpu")  # nothing is left to do then


def _read_seconds(session: Session, name: str) -> float:
    return session.spent.seconds[name]


STATUS: dict[str, Callable[[Session], object]] = {  # kernel parameters that cannot be set
    "biological_time": lambda session: to_ms(session.step, session.resolution),
    "network_size": lambda session: session.nodes.n,
    "num_connections": lambda session: session.bundles.n,
    "num_processes": lambda session: session.exchange.size,
    "mpi_rank": lambda session: session.exchange.rank,
    "node_models": lambda session: sorted(session.models.nodes),
    "synapse_models": lambda session: sorted(session.models.synapses),
    "min_delay": lambda session: session.get_delay(0),
    "max_delay": lambda session: session.get_delay(1),
    "prepared": lambda session: session.prepared,
    "tics_per_ms": lambda session: 1.0 / MS_PER_TIC,
    "tics_per_step": lambda session: round(session.resolution / MS_PER_TIC),
    "ms_per_tic": lambda session: MS_PER_TIC,
    "T_min": lambda session: -to_ms(2**60, MS_PER_TIC),
    "T_max": lambda session: to_ms(2**60, MS_PER_TIC),
    "memory_size": lambda session: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    **{f"time_{name}": partial(_read_seconds, name=name) for name in SPENT},
    **{f"time_{name}_cpu": partial(_read_seconds, name=name) for name in CONSTRUCTION},
    **{f"time_{name}": lambda session: 0.0 for name in UNCOUNTED},
    "recv_buffer_size_secondary_events": lambda session: 0,
    "send_buffer_size_secondary_events": lambda session: 0,
    "spike_buffer_resize_log": lambda session: {"global_max_spikes_sent": [], "new_buffer_size": [], "times": []},
    "local_spike_counter": lambda session: session.clock.n_spikes if session.clock else 0,
    "to_do": lambda session: 0,
    "min_update_time": lambda session: math.inf,
    "max_update_time": lambda session: -math.inf,
    "off_grid_spiking": lambda session: False,
    "rng_types": lambda session: ["mt19937_64"],
    "recording_backends": lambda session: list(BACKENDS),
    "connection_rules": lambda session: sorted(RULES),
    "max_num_syn_models": lambda session: 511,
    "build_info": lambda session: dict(BUILD),
    "growth_curves": lambda session: [],
    "modules": lambda session: [],
    "stimulation_backends": lambda session: [],
    "structural_plasticity_synapses": lambda session: {},
}
