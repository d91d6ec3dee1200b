"""The network that a script describes, and its time.

The file is long because all functions of `api` act on one object, as in NEST.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError, ParepropError, quote
from ..machine import require_bytes
from ..network.parameters import FLOAT_MAX, is_number
from ..parallel.collectives import guarded
from ..timers import Timers
from .bundles import Bundles
from .catalogue import ALIKE, BACKENDS, FORCED, NodeModel, SynapseModel, list_of_recorder
from .connections import FROM_DEVICES, TO_RECORDERS, Bundle, SynapseCollection, bundle, count_steps
from .errors import KernelException, NESTErrors, refuse, translate_errors, unknown
from .models import Models
from .nodes import NodeCollection, NodeTable
from .parameters import write
from .random import Generators
from .recording import Recorders
from .rules import BOTH_WAYS, RULES
from .settings import DEFAULTS, MS_PER_TIC, merge_settings, to_ms, to_steps
from .versions import CUTOFF, Versions, read_old

if TYPE_CHECKING:
    from ..parallel.exchange import Exchange
    from .clock import Clock
    from .network import Wiring
    from .taps import Taps

DYNAMIC = ("V_m", "V_th_adapt", "adaptation", "learning_signal", "surrogate_gradient", "readout_signal",
           "readout_signal_unnorm", "target_signal", "error_signal")  # fmt: skip
NODE_BYTES = 32  # at least


class Kernel:
    """All that one `ResetKernel` starts anew.

    Attributes
    ----------
    nodes, bundles : NodeTable, Bundles
        What was created and connected.
    params : dict
        Kernel parameters.
    generators : Generators
        Random numbers.
    clock : Clock or None
        The running network, None until the first step.
    timers : Timers
        Wall seconds until it runs: describe (in `Connect`), wire, build.
    spent : Timers
        Seconds of all calls, see `SPENT`.
    """

    def __init__(self) -> None:
        self.reset()

    @cached_property
    def exchange(self) -> Exchange:
        """Between ranks; MPI starts when it is first needed."""
        from ..parallel import launcher

        return launcher.exchange()

    def reset(self) -> None:
        """Forget everything."""
        self.params = dict(DEFAULTS)
        self.nodes, self.bundles = NodeTable(), Bundles()
        self.versions = Versions(self.params["eprop_as"])
        self.models = Models(lambda name: self.bundles.n_of_model[name], self.versions)
        self.recorders = Recorders(self.nodes)
        self.clock: Clock | None = None
        self.timers, self.spent = Timers(), Timers()
        self.step, self._stale, self.prepared, self.files_open = 0, False, False, False
        self._seed()

    def _seed(self) -> None:
        self.generators = Generators(self.params["rng_seed"], self.params["total_num_virtual_procs"])

    @property
    def resolution(self) -> float:
        """Length of a step in ms."""
        return self.params["resolution"]

    @property
    def simulated(self) -> bool:
        """Whether the network runs already, so that it cannot grow."""
        return self.clock is not None

    # ---- kernel parameters -------------------------------------------------------------------------------------------

    def set(self, values: Mapping[str, Any]) -> None:
        """Set kernel parameters."""
        self.params = merge_settings(self.params, values, self.simulated, self.nodes.n > 0)
        self.versions.named = self.params["eprop_as"]
        if values.keys() & {"rng_seed", "local_num_threads", "total_num_virtual_procs"}:
            self._seed()

    def status(self) -> dict[str, Any]:
        """All kernel parameters."""
        return self.params | {name: read(self) for name, read in STATUS.items()}

    def attribute(self, name: str) -> Any:
        """One kernel parameter.

        Raises
        ------
        KeyError
            If it is none.
        """
        return self.params[name] if name in self.params else STATUS[name](self)

    def delay(self, end: int) -> float:
        """Smallest (0) or largest (1) delay in ms."""
        return self._to_ms(self._delays[end])

    def _to_ms(self, steps: int) -> float:
        return to_ms(steps, self.resolution)

    @property
    def _delays(self) -> tuple[int, int]:
        return self.bundles.delays or (1, 1)

    @property
    def shown(self) -> int:
        """Stamps below it are shown by meters and weight recorders: in slices of the smallest delay, as in NEST."""
        return (self.step - 1) // self._delays[0] * self._delays[0] + 1

    # ---- nodes -------------------------------------------------------------------------------------------------------

    def collection(self, ids: np.ndarray) -> NodeCollection:
        """Nodes by ascending id."""
        return NodeCollection(self, ids)

    def create(self, name: str, n: int, params: Any) -> NodeCollection:
        """Make nodes."""
        with self.spent.phase("construction_create"):
            return self._create(name, n, params)

    def _create(self, name: str, n: int, params: Any) -> NodeCollection:
        model = self.models.node(name)
        if not isinstance(n, int | np.integer) and not (isinstance(n, float) and n.is_integer()):
            raise TypeError("n must have an integer value")
        if n == 0:
            raise NESTErrors.BadParameterValue("n = 0: at least one node must be created")
        if n < 0:
            raise NESTErrors.BadProperty(f"n = {n}: at least one node must be created")
        if self.simulated and model.kind not in ("recorder", "stimulator"):
            raise refuse("neurons created after the first step", "create them before")
        try:
            require_bytes(NODE_BYTES * int(n), f"n = {quote(n)}: a network of so many nodes")
        except InputError as problem:
            raise NESTErrors.BadParameterValue(str(problem)) from None
        made = self.collection(self.nodes.create(model, int(n)))
        if params:
            made.set(params)
        return made

    def list_parameters(self, nodes: NodeCollection) -> list[str]:
        """Names of all parameters of nodes."""
        keys: dict[str, None] = {}
        for block, local in nodes.parts():
            own = dict.fromkeys(self.versions.show(block.values))
            if block.model.kind == "recorder":
                own = dict.fromkeys(list_of_recorder(own, block.get("record_to", int(local[0]))))
            elif block.model.recordables:
                own |= dict.fromkeys(key for key in block.model.recordables if key in DYNAMIC) | {"recordables": None}
                own = {key: None for key in own if not (self.simulated and key in DYNAMIC)}
            keys = own if not keys else {key: None for key in keys if key in own}
        return sorted([*keys, "global_id", "model", "element_type", "thread", "vp", *ALIKE])

    def read(self, nodes: NodeCollection, key: str) -> list[Any]:
        """One parameter of each node."""
        if key == "global_id":
            return nodes.tolist()
        column = []
        for block, local in nodes.parts():
            column += [self._value(block, place, key) for place in local.tolist()]
        return column

    def _value(self, block: Any, local: int, key: str) -> Any:
        if key in ALIKE:
            return ALIKE[key]
        if key in ("model", "element_type", "vp", "thread", "recordables"):
            process = (block.first + local) % self.generators.n if block.model.element_type == "neuron" else 0
            return {
                "model": block.model.name, "element_type": block.model.element_type, "vp": process, "thread": process,
                "recordables": list(block.model.recordables),
            }[key]  # fmt: skip
        if block.model.kind == "recorder" and key in ("events", "n_events", "filenames"):
            return self._value_of_recorder(block, local, key)
        if self.simulated and key in DYNAMIC and block.model.kind in ("neuron", "readout"):
            raise refuse(f"reading {key} of a neuron in a run", "record it by a multimeter")
        if key in ("gamma", "beta") and block.model.kind == "neuron":
            return read_old(key, lambda name: block.get(name, local))
        if key not in block.values:
            if key in DYNAMIC and key in block.model.recordables:
                return block.get("V_th", local) if key == "V_th_adapt" else 0.0
            known = ", ".join(self.list_parameters(self.collection(np.array([block.first + local]))))
            raise unknown(KeyError, f"{block.model.name} has no parameter '{key}'; it has {known}")
        value = block.get(key, local)
        if key == CUTOFF:
            return self.versions.show_cutoff(value)
        if key in ("senders", "targets"):
            return self.collection(np.unique(value).astype(np.int64))
        if key == "record_from":
            return list(value)
        if key == "spike_multiplicities":
            return value.astype(np.int64)
        return value / 1000.0 if key == "f_target" else value

    def _value_of_recorder(self, block: Any, local: int, key: str) -> Any:
        recorder = self.recorders.of(block, local, self.resolution)
        backend = block.get("record_to", local)
        if backend != "memory":
            files = self.recorders.files(block, local, self.generators.n, self.resolution)
            if key == "n_events":
                return files.n
            if key == "events":
                raise unknown(KeyError, f"{recorder.name} has no 'events': they are {files.place(self.params)}")
            if backend == "ascii":
                return [str(path) for path in files.paths(self.params)]
        if key == "filenames":
            raise unknown(KeyError, f"{recorder.name} has no 'filenames': its record_to is not 'ascii'")
        if key == "n_events":
            return recorder.count(self.shown)
        events = recorder.events(self.shown)
        if block.get("time_in_steps", local):
            steps = to_steps(events["times"], self.resolution)
            events |= {"times": steps, "offsets": to_ms(steps, self.resolution) - events["times"]}
        return events

    def write(self, nodes: NodeCollection, values: Mapping[str, Any]) -> None:
        """Set parameters of nodes."""
        values = dict(values)
        if late := [key for key in ("interval", "offset", "record_from") if key in values]:
            if self.recorders.has_meter(nodes.tolist()):
                raise NESTErrors.BadProperty(f"{late[0]} cannot be changed after the multimeter has been connected")
        forces = bool(values) and values.keys() <= FORCED.keys()
        if self.simulated:
            for block, _ in nodes.parts():
                if block.model.element_type == "neuron" and not (forces and block.model.variant):
                    raise refuse(f"changing {', '.join(values)} of neurons in a run", "set it before the first step")
                made = any(map(self.recorders.is_made, nodes.tolist()))
                if block.model.kind == "recorder" and values.keys() != {"n_events"} and made:
                    raise refuse(f"changing {', '.join(values)} of recorders in a run", "set it before the first step")
        if "n_events" in values:
            self._clear(nodes, values.pop("n_events"))
        if values:
            write(self, nodes, values)
        if self.clock is not None and forces:
            self.clock.forced.restart(nodes._ids, self.step)

    def _clear(self, nodes: NodeCollection, n: Any) -> None:
        for block, local in nodes.parts():
            if block.model.kind != "recorder":
                raise NESTErrors.UnaccessedDictionaryEntry(
                    f"Unaccessed elements in params: n_events ({block.model.name})"
                )
            if n != 0:
                raise NESTErrors.BadProperty(f"n_events = {n}: it can only be set to 0, which forgets all events")
            for place in local.tolist():
                self.recorders.of(block, place, self.resolution).clear(self.shown)
                self.recorders.files(block, place, self.generators.n, self.resolution).n = 0

    # ---- connections -------------------------------------------------------------------------------------------------

    def connect(self, pre: Any, post: Any, conn: Any, syn: Any) -> None:
        """Connect nodes."""
        start = time.perf_counter()
        try:
            self._connect(pre, post, conn, syn)
        except NESTErrors.IllegalConnection as problem:
            raise type(problem)(f"Creation of connection is not possible: {problem}") from None
        finally:
            seconds = time.perf_counter() - start
            self.timers.add("describe", seconds)
            self.spent.add("construction_connect", seconds)

    def _connect(self, pre: Any, post: Any, conn: Any, syn: Any) -> None:
        source, target = self._ids(pre), self._ids(post)
        _check_ids(((pre, source), (post, target)), conn)
        syn = {"synapse_model": syn} if isinstance(syn, str) else dict(syn or {})
        model = self.models.synapse(syn.get("synapse_model", "static_synapse"))
        ends = self._models(source), self._models(target)
        records = "recorder" in [node.kind for nodes in ends for node in nodes]
        if records and model.variant:
            raise NESTErrors.IllegalConnection(f"{model.name} does not connect recorders")
        if not records:
            _check_ends(model, *ends)
            if isinstance(conn, Mapping) and conn.get("rule") == BOTH_WAYS:
                _check_ends(model, *ends[::-1])
        made = bundle(model, conn, syn, source, target, self.generators, self.resolution)
        if not len(made):
            return
        made.records = records
        if ends[0][0].element_type != "neuron":
            made.table = FROM_DEVICES
        elif records:
            made.table = TO_RECORDERS
        self._check_delay(made)
        if records:
            for part in self.recorders.connect(made):
                self.bundles.append(part)
            return
        _check_receptor(model, made.receptor, ends[1])
        if self.simulated:
            kind_of, base_of = (np.array(["", *np.concatenate([np.repeat(getattr(block.model, name), block.n)
                                for block in self.nodes.blocks])]) for name in ("kind", "base"))  # fmt: skip
            self._running.link(made, base_of, kind_of)
        self.bundles.append(made)

    def _check_delay(self, made: Bundle) -> None:
        low, high = made.delays
        if made.model.base.startswith("eprop_") and high > 1 and not self.params["eprop_delays_above_one_step"]:
            raise NESTErrors.IllegalConnection(
                "e-prop synapses need a delay of one step, as in NEST; longer ones are simulated with "
                "nest.set(eprop_delays_above_one_step=True)"
            )
        least, most = self._delays if self.simulated else (low, high)
        if low < least or high > most:
            raise NESTErrors.BadDelay(
                f"Delay value {self._to_ms(low if low < least else high)} is invalid: after the first step it must be "
                f"between min_delay {self._to_ms(least)} and max_delay {self._to_ms(most)}"
            )

    def _ids(self, nodes: Any) -> np.ndarray:
        if isinstance(nodes, NodeCollection):
            return nodes._ids
        ids = nodes if isinstance(nodes, np.ndarray) else np.asarray(list(nodes))
        if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 1:
            raise TypeError("nodes must be a NodeCollection or a sequence of whole numbers")
        bad = ids[(ids < 1) | (ids > self.nodes.n)]
        if len(bad):
            raise NESTErrors.UnknownNode(f"Node with id {bad[0]} does not exist.")
        return ids.astype(np.int64)

    def _models(self, ids: np.ndarray) -> list[NodeModel]:
        """Models of the nodes among `ids`, in any order."""
        if len(ids) == 1:  # of many single calls
            return [self.nodes.place(int(ids[0]))[0].model]
        return self.nodes.models(ids)

    def get_connections(self, source: Any, target: Any, synapse_model: str | None) -> SynapseCollection:
        """Connections between nodes, in order of model, source and target."""
        sources, targets = (None if nodes is None else self._ids(nodes) for nodes in (source, target))
        name = None if synapse_model is None else self.models.synapse(synapse_model).name
        return SynapseCollection(self, *self.bundles.find(sources, targets, name, self.models.synapses))

    def ports(self, index: np.ndarray, place: np.ndarray) -> np.ndarray:
        """NEST's ports of connections."""
        return self.bundles.ports(index, place, self.generators.n)

    def threads(self, index: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Virtual processes that NEST would keep connections in: of the target, or of the source of a recorder."""
        return self.bundles.owners(index, place) % self.generators.n

    def write_delays(self, index: np.ndarray, place: np.ndarray, delay: np.ndarray) -> None:
        """Set delays of connections in ms, before the first step."""
        if self.simulated:
            raise refuse("another delay of connections after the first step", "give it before")
        steps = np.broadcast_to(count_steps(delay, self.resolution), len(index))
        for which in np.unique(index).tolist():
            mine, made = index == which, self.bundles[which]
            delays = np.broadcast_to(made.delay, len(made)).copy()
            delays[place[mine]] = steps[mine]
            changed = replace(made, delay=delays)
            self._check_delay(changed)
            self.bundles[which] = changed
            self.bundles.note_delays(changed)

    @property
    def _running(self) -> Clock:
        assert self.clock is not None  # the network has run
        return self.clock

    def refresh_weights(self) -> None:
        """Collective if the network has run: bring weights up to date."""
        if self._stale:
            self._running.read_weights()
            self._stale = False

    def write_weights(self, index: np.ndarray, place: np.ndarray, weight: np.ndarray) -> None:
        """Collective if the network has run: set weights of connections."""
        self.refresh_weights()
        for which in np.unique(index):
            group, mine = self.bundles[which], index == which
            if group.model.plastic:
                rule = group.model.defaults["optimizer"]
                if np.any(weight[mine] < rule["Wmin"]) or np.any(weight[mine] > rule["Wmax"]):
                    raise NESTErrors.BadProperty(f"Wmin = {rule['Wmin']} ≤ weight ≤ Wmax = {rule['Wmax']} required.")
            group.weight = group.weight.copy()
            group.weight[place[mine]] = weight[mine]
            if self.clock is not None:
                self.clock.write_weights(int(which))

    # ---- time --------------------------------------------------------------------------------------------------------

    def steps(self, ms: float) -> int:
        """Whole steps of a time."""
        if not is_number(ms) or not abs(ms) <= FLOAT_MAX:
            raise NESTErrors.BadParameter(f"The simulation time must be a finite number, it is {quote(ms)}")
        n = float(ms) / self.resolution
        if ms < 0:
            raise NESTErrors.BadParameter(f"The simulation time cannot be negative, it is {ms}")
        if abs(n - round(n)) > 1e-9 * max(1.0, n):
            raise NESTErrors.BadParameter(
                f"The simulation time must be a multiple of the simulation resolution, it is {ms}"
            )
        return round(n)

    def simulate(self, ms: float) -> None:
        """Collective: let time go on."""
        n = self.steps(ms)
        start, cpu = time.perf_counter(), time.process_time()
        with translate_errors(), self.spent.phase("simulate"):
            if self.clock is None and n:
                self.clock = self._build_clock()
            elif n and self.recorders.changed:
                w = self._running.wiring
                taps = self._make_taps(w, self.step)
                self._running.take_taps(taps)
            if n:
                self._running.take_rates(self.models.rates())
                self._open_files()
                self.step += n
                self._stale = True
                self._running.advance(self.step)
                self._write_files()
        self.spent.add("simulate_cpu", time.process_time() - cpu)
        if self.params["print_time"] and self.exchange.rank == 0:
            print(f"[ 100% ] Model time: {self.step * self.resolution:.1f} ms, real time: "
                  f"{time.perf_counter() - start:.1f} s")  # fmt: skip

    def _open_files(self) -> None:
        """Collective: have recorders to text files make new ones, once between `Prepare` and `Cleanup`."""
        if self.files_open:
            return
        self.files_open = self.prepared
        self._text = list(self.recorders.list_files(self.generators.n, self.resolution))
        if self._text:
            try:
                with guarded(self.exchange.comm):
                    for recorder, files in self._text if self.exchange.rank == 0 else ():
                        files.begin(recorder, self.params)
            except ParepropError as problem:
                self.files_open = False
                self.prepared = True  # as in NEST, where Cleanup follows
                raise NESTErrors.IOError(str(problem)) from None

    def _write_files(self) -> None:
        """Collective: move events to text files."""
        if self._text:
            with guarded(self.exchange.comm):
                for recorder, files in self._text:
                    files.take(recorder, self.shown, writes=self.exchange.rank == 0)

    def _make_taps(self, w: Wiring, now: int) -> Taps:
        return self.recorders.taps(self.bundles, self.generators.n, w.recurrent, w.readouts, self.resolution, now)

    def _build_clock(self) -> Clock:
        from .interval_clock import IntervalClock  # engines and MPI: a script that only describes needs none of them
        from .spike_clock import SpikeClock
        from .wiring import wire

        self.bundles.settle()
        self.recorders.check_history(self.bundles)
        with self.timers.phase("wire"):
            version = self.versions.of(self.exchange.rank)
            wiring = wire(self.nodes, self.bundles, self.models.synapses, self.params, version)
        taps = self._make_taps(wiring, 0)
        kind = SpikeClock if wiring.model.eprop.is_online else IntervalClock
        with self.timers.phase("build"):
            return kind(self.params, wiring, self.nodes, self.bundles, taps, self.exchange, self.params["rng_seed"])


def _check_receptor(model: SynapseModel, receptor: int, targets: list[NodeModel]) -> None:
    """Check the receptor type of e-prop neurons, readouts and parrots; rate connections and others have their own."""
    if model.base == "rate_connection_delayed":
        return
    for node in targets:
        if (node.variant and receptor != 0) or (node.kind == "parrot" and receptor not in (0, 1)):
            raise NESTErrors.UnknownReceptorType(f"Receptor type {receptor} is not available in {node.name}.")


def _check_ids(given: tuple[tuple[Any, np.ndarray], ...], conn: Any) -> None:
    """Check the ids of nodes that a script gave to connect."""
    for nodes, ids in given:
        if isinstance(nodes, NodeCollection):
            if not len(ids):
                raise NESTErrors.IllegalConnection("a NodeCollection is empty")
        elif (conn.get("rule") if isinstance(conn, Mapping) else conn) != "one_to_one":
            if len(np.unique(ids)) < len(ids):
                raise ValueError("ids that repeat are connected by the rule 'one_to_one' only")


def _check_ends(model: SynapseModel, sources: list[NodeModel], targets: list[NodeModel]) -> None:
    """Check the models of nodes that synapses are to connect."""
    variant = model.variant
    if not variant:
        if model.base == "static_synapse" and any(node.kind == "stimulator" for node in targets):
            raise NESTErrors.IllegalConnection("generators take no spikes")
        if any(node.kind == "readout" for node in sources) and model.base == "static_synapse":
            raise NESTErrors.IllegalConnection("readouts send no spikes")
        return
    learning = "learning_signal" in model.base
    target_kinds = ("neuron",) if learning else ("neuron", "readout")
    for node in targets:
        plain = node.kind == "neuron" and not node.variant
        if node.kind not in target_kinds or (node.variant != variant and not plain):
            raise NESTErrors.NotImplemented(f"{model.name} cannot have {node.name} as its target")
    for node in sources:
        good = node.base.startswith("eprop_readout") if learning else node.kind in ("neuron", "parrot")
        if not good or (node.variant and node.variant != variant):
            raise NESTErrors.IllegalConnection(f"{model.name} cannot have {node.name} as its source")


NESTError = KernelException  # scripts of NEST 3.7 and 3.8 catch nest.kernel.NESTError
kernel = Kernel()


BUILD: dict[str, Any] = {
    "version": "3.10.0", "exitcode": 0, "docdir": "", "datadir": "", "have_threads": True, "have_mpi": False,
    "have_gsl": False, "have_hdf5": False, "have_boost": False, "have_music": False, "have_sionlib": False,
    "have_libneurosim": False, "ndebug": True,
}  # fmt: skip
SPENT = ("construction_create", "construction_connect", "simulate", "simulate_cpu")  # seconds that are counted


def _read_seconds(kernel: Kernel, name: str) -> float:
    return kernel.spent.seconds[name]


STATUS: dict[str, Callable[[Kernel], Any]] = {  # kernel parameters that cannot be set
    "biological_time": lambda kernel: to_ms(kernel.step, kernel.resolution),
    "network_size": lambda kernel: kernel.nodes.n,
    "num_connections": lambda kernel: kernel.bundles.n,
    "num_processes": lambda kernel: kernel.exchange.size,
    "mpi_rank": lambda kernel: kernel.exchange.rank,
    "node_models": lambda kernel: sorted(kernel.models.nodes),
    "synapse_models": lambda kernel: sorted(kernel.models.synapses),
    "min_delay": lambda kernel: kernel.delay(0),
    "max_delay": lambda kernel: kernel.delay(1),
    "prepared": lambda kernel: kernel.prepared,
    "tics_per_ms": lambda kernel: 1.0 / MS_PER_TIC,
    "tics_per_step": lambda kernel: round(kernel.resolution / MS_PER_TIC),
    "ms_per_tic": lambda kernel: MS_PER_TIC,
    "T_min": lambda kernel: -to_ms(2**60, MS_PER_TIC),
    "T_max": lambda kernel: to_ms(2**60, MS_PER_TIC),
    "memory_size": lambda kernel: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    **{f"time_{name}": partial(_read_seconds, name=name) for name in SPENT},
    "local_spike_counter": lambda kernel: kernel.clock.n_spikes if kernel.clock else 0,
    "to_do": lambda kernel: 0,
    "min_update_time": lambda kernel: math.inf,
    "max_update_time": lambda kernel: -math.inf,
    "off_grid_spiking": lambda kernel: False,
    "rng_types": lambda kernel: ["mt19937_64"],
    "recording_backends": lambda kernel: list(BACKENDS),
    "connection_rules": lambda kernel: sorted(RULES),
    "max_num_syn_models": lambda kernel: 511,
    "build_info": lambda kernel: dict(BUILD),
    "growth_curves": lambda kernel: [],
    "modules": lambda kernel: [],
    "stimulation_backends": lambda kernel: [],
    "structural_plasticity_synapses": lambda kernel: {},
}  # fmt: skip
