"""The network that a script describes, whose methods the functions of `api` and the collections call.

The modules imported here implement the methods; all act on one `Session`, as in NEST.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError, quote
from ..machine import require_bytes
from ..values import AnyValue, Given, Values
from . import connecting, connection_values, node_values, running
from .errors import KernelException, NESTErrors
from .nodes import NodeCollection
from .session import Session
from .settings import DELAY_RANGE, merge_settings, read_delays
from .status import STATUS

NODE_BYTES = 32  # at least


class Kernel(Session):
    """A session and the methods that scripts call."""

    list_parameters, read, write = node_values.list_parameters, node_values.read, node_values.write
    connect_nodes = connecting.connect_nodes
    get_connections, write_delays = connection_values.get_connections, connection_values.write_delays
    list_ports, list_threads = connection_values.list_ports, connection_values.list_threads
    refresh_weights, write_weights = connection_values.refresh_weights, connection_values.write_weights
    refresh_states, write_per_synapse = connection_values.refresh_states, connection_values.write_per_synapse
    simulate = running.simulate_session

    def set_parameters(self, values: Given) -> None:
        """Set kernel parameters."""
        others = {key: value for key, value in values.items() if key not in DELAY_RANGE}
        ends = {key: value for key, value in values.items() if key in DELAY_RANGE}
        params = merge_settings(self.params, others, self.simulated, self.nodes.n > 0)
        if self.bundles.is_range_set and params["resolution"] != self.resolution:
            ends = dict(zip(DELAY_RANGE, map(self.get_delay, range(2)), strict=True)) | ends
        if ends:
            self.bundles.delays = read_delays(ends, params["resolution"], self.bundles.n > 0)
            self.bundles.is_range_set = True
        self.params = params
        self.versions.named = self.params["eprop_as"]
        if values.keys() & {"rng_seed", "local_num_threads", "total_num_virtual_procs"}:
            self.seed_generators()

    def read_status(self) -> Values:
        """All kernel parameters."""
        return self.params | {name: read(self) for name, read in STATUS.items()}

    def read_parameter(self, name: str) -> AnyValue:
        """Return a kernel parameter; `KeyError` if there is none with this name."""
        return self.params[name] if name in self.params else STATUS[name](self)

    def create_nodes(self, name: str, n: int, params: object) -> NodeCollection:
        """Make nodes."""
        with self.spent.time_phase("construction_create"):
            return self._create_checked(name, n, params)

    def _create_checked(self, name: str, n: int, params: object) -> NodeCollection:
        model = self.models.get_node_model(name)
        if not isinstance(n, int | np.integer) and not (isinstance(n, float) and n.is_integer()):
            raise TypeError("n must have an integer value")
        if n == 0:
            raise NESTErrors.BadParameterValue("n = 0: at least one node must be created")
        if n < 0:
            raise NESTErrors.BadProperty(f"n = {n}: at least one node must be created")
        try:
            require_bytes(NODE_BYTES * int(n), f"n = {quote(n)}: a network of so many nodes")
        except InputError as problem:
            raise NESTErrors.BadParameterValue(str(problem)) from None
        made = self.make_collection(self.nodes.add_nodes(model, int(n)))
        self.grown |= self.simulated and model.device is None
        if params:
            made.set(params)
        return made


NESTError = KernelException  # scripts of NEST 3.7 and 3.8 catch nest.kernel.NESTError
kernel = Kernel()
