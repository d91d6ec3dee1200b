"""Base class of the clocks of both variants: the built network, its stimuli, and the weights that scripts read."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from ..arrays import sort_by
from ..engines.base import Settings
from ..engines.sample import Sample
from ..kernels import layout
from ..network.connectivity import Population
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..simulation.digest import Digest
from ..simulation.loop import Simulation
from ..simulation.observer import Observer
from ..values import Later
from .connections import Bundle
from .devices.base import RateSource, SpikeSource, TrainSource
from .errors import warn_once
from .forced import ForcedSpikes
from .growth import Growth
from .network import Wiring
from .stimuli import Amplitudes, Currents, PendingSpikes, SpikeTrains
from .taps import AHEAD, NOBODY, Taps, WeightTap, gather_columns


class Clock(Observer):
    """A network that is simulated in stretches of any length, by `Simulation.advance`.

    It is the task of its simulation, which calls `piece` for inputs, and an observer that records. Generators are read
    from the nodes of `session`, and weights of its connections are updated. A sample has at most `n_steps` steps.

    Attributes
    ----------
    simulation : Simulation
        Runs the network.
    step : int
        NEST's steps that are simulated.
    n_spikes : int
        Of neurons and parrots in the latest stretch of time.
    etas, first_etas : dict
        Synapse model to its learning rate, and to the rate of the first update of each synapse.
    """

    def __init__(self, session: Later, wiring: Wiring, taps: Taps, settings: Settings, n_steps: int) -> None:
        self.n_steps, self.learning_window = n_steps, settings.learning_window
        nodes, exchange, seed = session.nodes, session.exchange, session.params["rng_seed"]
        self.wiring, self.bundles, self.taps, self.exchange = wiring, session.bundles, taps, exchange
        self.model, self.comm, self.dt = wiring.model, exchange.comm, wiring.model.dt_ms
        self.step, self.n_spikes = 0, 0
        n_out = len(wiring.readouts)
        self.pending_inputs, self._parrots = PendingSpikes(), PendingSpikes()
        self._nodes = nodes
        self._late_signals: deque[tuple[int, np.ndarray]] = deque(maxlen=AHEAD)
        self.spike_trains = SpikeTrains(nodes, wiring.links, wiring.trains, wiring.relays, seed, self.dt)
        self.targets = Amplitudes(nodes, wiring.rate_connections.targets, n_out, self.dt)
        self.window = Amplitudes(nodes, wiring.rate_connections.window, n_out, self.dt)
        self.currents = Currents(nodes, wiring.currents, self.dt)
        self.forced = ForcedSpikes(nodes, wiring.recurrent, self.dt)
        self.counted_since: dict[
            str, int
        ] = {}  # by projection that was made later: NEST's step whose spikes count first
        self.silenced: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []  # until a step: array, places, values
        self.etas: dict[str, float] = {}
        self.first_etas: dict[str, float] = {}
        mine = weakref.proxy(self)  # its memory is free as soon as the session forgets the clock
        self.simulation = Simulation(self.model, mine, exchange, [mine], settings, quiet=True)
        self.engine, self.network = self.simulation.engine, self.simulation.network
        if self.wiring.plain and self.wiring.plastic:
            names = ", ".join(self.wiring.plain)
            warn_once(
                f"{names}: NEST has no e-prop synapses onto them; here such synapses learn by traces that follow "
                "from the equations",
                exchange.rank,
            )
        groups = self.model.of_role("recurrent") if self.model.eprop.is_online and self.wiring.plastic else []
        if self.dt != 1.0 and not session.params["eprop_nest_losses"]:
            if any(np.any(group.params.c_reg) and np.any(group.params.f_target) for group in groups):
                warn_once(
                    f"resolution {self.dt:g} ms: firing rates are regularized towards f_target; NEST takes f_target * "
                    f"{self.dt:g}, as does nest.set(eprop_nest_losses=True) or pareprop nest --nest-losses",
                    exchange.rank,
                )
        self._record_taps()
        self._synapses = {
            span.projection.name: (table, span) for table in self.network.list_tables().values() for span in table.spans
        }
        self._watched = [self._find_watched_synapses(tap) for tap in taps.weights]

    def _record_taps(self) -> None:
        """Make the engine record the neurons that the taps read."""
        generators = [
            block.first + np.arange(block.n)
            for block in self._nodes.list_blocks_of_kind("stimulator")
            if block.model.is_a(SpikeSource)
        ]
        self._generators = self.taps.filter_recorded(np.concatenate([NOBODY, *generators])).tolist()
        self.engine.record_neurons(self.taps.recorded)
        own = self.engine.dynamics.ids - self.network.neurons[0]
        self._recorded = own
        learns = np.zeros(self._nodes.n + 1, bool)  # others take no learning signals in NEST
        for bundle in self.bundles:
            if bundle.model.plastic:
                learns[bundle.target] = True
        self._has_learning_inputs = learns[self.wiring.recurrent[self.engine.dynamics.ids]]
        cells = self.network.cells
        self._shift = {name: cells[name][own] for name in ("E_L", "V_th", "adapt_beta")}

    def replace_taps(self, taps: Taps) -> None:
        """Collective: replace the recorders between two stretches of time."""
        before, self.taps = self.taps, taps
        taps.weights = before.weights
        self._record_taps()
        self._record_pending(before)

    def _record_pending(self, before: Taps, widen: Callable[[np.ndarray], np.ndarray] = np.asarray) -> None:
        """Collective: record values that are already known of later steps."""
        self.taps.reserve_until(self.step + AHEAD)
        self.taps.transfer_state(before, widen)
        for step, error in tuple(self._late_signals):
            self.record_learning_signals(step, error)

    def link_generators(self, bundle: Bundle) -> bool:
        """Take connections of generators that were made in a run; return False for others, which the network lacks."""
        ends = self._nodes.list_end_models(bundle.source, bundle.target)
        if bundle.model.base == "rate_connection_delayed" and all(pre.is_a(RateSource) for pre, _ in ends):
            self.wiring.rate_connections.add_connections(bundle, ends)
            self.wiring.rate_connections.keep_last_links()
            return True
        if not all(pre.is_a(SpikeSource, TrainSource) and post.kind == "parrot" for pre, post in ends):
            return False
        self.wiring.add_parrot_links(bundle, np.arange(len(bundle)), self._nodes)
        self.spike_trains.update_links()
        return True

    def piece(self, first: int, last: int) -> Sample:
        """Return the sample of steps [first, last) of the run, see `OpenTask`."""
        raise NotImplementedError

    def _run(self, end: int) -> None:
        raise NotImplementedError

    def set_learning_rates(self, rates: dict[str, tuple[float, float]]) -> None:
        """Set the learning rates from now on, see `Models.list_learning_rates`."""
        self.etas = {name: eta for name, (eta, _) in rates.items()}
        self.first_etas = {name: first for name, (_, first) in rates.items()}

    def advance_to(self, end: int) -> None:
        """Collective: simulate the steps up to `end`."""
        n_spikes = 0
        for stop in sorted({end, *(when for when, *_ in self.silenced if when < end)}):
            self._simulate_stretch(stop)
            n_spikes += self.n_spikes
            self._reopen_until(stop)
        self.n_spikes = n_spikes

    def set_counted_since(self, first: int) -> None:
        """Set the step from which spikes count at new synapses of a run; logs start with NEST's step `first`."""
        for table in self.network.list_tables().values() if self.counted_since else ():
            since = table.map_blocks(lambda item: self.counted_since.get(item.name, 0))
            table.blocks[:, layout.SINCE] = np.maximum(np.array(since, np.int64) - first, 0)

    def silence_until(self, step: int, array: np.ndarray, places: np.ndarray) -> None:
        """Set weights or currents to 0 until a step."""
        self.silenced.append((step, array, places, array[places].copy()))
        array[places] = 0.0

    def _reopen_until(self, step: int) -> None:
        for when, array, places, values in self.silenced:
            if when <= step:
                array[places] = values
        self.silenced = [item for item in self.silenced if item[0] > step]

    def _simulate_stretch(self, end: int) -> None:
        stamps, sources = self.spike_trains.emit_spikes(self.step, end)
        self.pending_inputs.add_spikes(stamps, sources)
        for frozen in (self.targets, self.window, self.currents):
            frozen.read_until(self.step, end)
        self.taps.reserve_until(end + AHEAD)
        self.n_spikes = 0
        self._record_input_spikes(end, stamps, sources)
        self._run(end)
        self.taps.write_spikes(self.bundles)
        self.step = end

    def _record_input_spikes(self, end: int, stamps: np.ndarray, sources: np.ndarray) -> None:
        """Count and note the spikes of parrots and generators up to `end`."""
        parrots = sources < len(self.wiring.parrots)
        self._parrots.add_spikes(stamps[parrots], sources[parrots])
        steps, index = self._parrots.take_log(self.step + 1, end + 1).list_spikes(end - self.step)
        self.n_spikes += len(steps)
        if not self.taps.records_spikes:
            return
        self.taps.note_spikes(self.step + 1 + steps, self.wiring.parrots[index])
        for node in self._generators:
            emitted, early = self._nodes.get_device(node, self.dt, SpikeSource).list_spikes(self.step, end)
            self.taps.note_spikes(emitted, np.full(len(emitted), node), early)

    def transfer_state(self, growth: Growth) -> None:
        """Collective: take over the state of the network before it grew, see `Growth`."""
        raise NotImplementedError

    # ---- recording ---------------------------------------------------------------------------------------------------

    def record_dynamics(self, step: int, first: int, last: int) -> None:
        """Collective: record dynamics of neurons in steps [first, last) of the sample; `first` is NEST's `step`."""
        if not len(self.taps.recorded):
            return
        voltage, adaptation, psi = (track[first:last] for track in self.engine.dynamics.get_tracks())
        shift = self._shift
        columns = {"V_m": voltage + shift["E_L"], "surrogate_gradient": psi, "adaptation": adaptation}
        columns["V_th_adapt"] = shift["E_L"] + shift["V_th"] + shift["adapt_beta"] * adaptation
        for field, values in columns.items():
            if self.taps.records_field(field):
                self.taps.write_neurons(field, step, gather_columns(self.comm, values))

    def record_learning_signals(self, step: int, error: np.ndarray) -> None:
        """Collective: show the learning signals that errors (n_steps, n_readouts) give, from `step` on."""
        late = error[-AHEAD:]
        self._late_signals.append((step + len(error) - len(late), late.copy()))
        if self.taps.records_field("learning_signal"):
            own = self.engine.project_signals(error, self._recorded) * self._has_learning_inputs
            self.taps.write_neurons("learning_signal", step, gather_columns(self.comm, own))

    # ---- weights -----------------------------------------------------------------------------------------------------

    def _find_watched_synapses(self, tap: WeightTap) -> list[tuple[SynapseTable, np.ndarray, np.ndarray]]:
        """Tables, places in them and places in the tap of the watched synapses that this rank has."""
        number_of = {(int(b), int(p)): k for k, (b, p) in enumerate(tap.place)}
        synapses = []
        for name, (table, span) in self._synapses.items():
            members = self.wiring.origin.get(name, ())
            if not any(index in {b for b, _ in number_of} for index, _ in members):
                continue
            for (index, place), local in self._find_local_places(table, span, members):
                keep = [k for k, p in enumerate(place.tolist()) if (index, p) in number_of]
                number = np.array([number_of[index, int(place[k])] for k in keep], np.int64)
                synapses.append((table, local[keep], number))
        return synapses

    def read_watched_weights(self) -> list[np.ndarray]:
        """Collective: present weights of the connections that each weight recorder watches."""
        found = [np.zeros(len(tap.source)) for tap in self.taps.weights]
        for values, synapses in zip(found, self._watched, strict=True):
            for table, local, number in synapses:
                values[number] = table.weight[local]
        return found if self.comm is None else [sum(parts) for parts in zip(*self.comm.allgather(found), strict=True)]

    def _find_local_places(
        self, table: SynapseTable, span: ProjectionSlice, members: Sequence[tuple[int, np.ndarray]]
    ) -> list[tuple[tuple[int, np.ndarray], np.ndarray]]:
        """For each bundle of a projection: its connections that live on this rank, and their places in the table.

        Connections of equal source, target and delay lie in the order in which they were made.
        """
        bundles = [(index, place) for index, place in members]
        source, target, delay = (
            np.concatenate(column)
            for column in zip(
                *(
                    (b.source[p], b.target[p], np.broadcast_to(b.delay, len(b))[p])
                    for b, p in ((self.bundles[i], p) for i, p in bundles)
                ),
                strict=True,
            )
        )
        which = np.repeat(np.arange(len(bundles)), [len(p) for _, p in bundles])
        place = np.concatenate([p for _, p in bundles])
        target = np.searchsorted(self._list_node_ids(span.projection.post), target)
        here = (target >= span.targets[0]) & (target < span.targets[1])
        if table.by_source:
            here &= np.isin(source, self._list_node_ids(span.projection.pre)[span.sources])
        mine = np.flatnonzero(here)
        order = mine[sort_by(delay[mine], source[mine], target[mine])]
        parts = list(table.yield_places(span))
        local = np.concatenate([part[0] for part in parts]) if parts else np.zeros(0, np.int64)
        result = []
        for k, (index, _) in enumerate(bundles):
            chosen = which[order] == k
            result.append(((index, place[order][chosen]), local[chosen]))
        return result

    def _list_node_ids(self, population: Population) -> np.ndarray:
        first = self.model.offset(population)
        ids = self.wiring.recurrent if population.role == "recurrent" else self.wiring.readouts
        return ids[first : first + population.size]

    def read_weights(self) -> None:
        """Collective: bring the weights of all bundles up to date, on all ranks."""
        for name, (table, span) in self._synapses.items():
            if not span.projection.plastic:
                continue
            for (index, place), local in self._find_local_places(table, span, self.wiring.origin[name]):
                mine = place, self.engine.get_weights(table)[local]
                for there, values in [mine] if self.comm is None else self.comm.allgather(mine):
                    self.bundles[index].weight[there] = values

    def read_states(self, shown: int) -> None:
        """Collective: update the short-term plasticity of all bundles, on all ranks.

        Spikes with stamps below `shown` were sent, as NEST counts.
        """

    def write_weights(self, index: int) -> None:
        """Give the weights of a bundle to the network."""
        closed, self.silenced = self.silenced, []
        for _, array, places, values in closed:
            array[places] = values
        for name, (table, span) in self._synapses.items():
            members = self.wiring.origin.get(name, ())
            if any(which == index for which, _ in members):
                for (which, place), local in self._find_local_places(table, span, members):
                    if which == index:
                        self.engine.set_weights(table, local, self.bundles[index].weight[place])
        for when, array, places, _ in closed:
            self.silence_until(when, array, places)

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def compute_digest(self) -> str:
        """Collective: SHA-256 over all spikes and the present weights, valid on rank 0."""
        digest = Digest()
        digest.update(self.simulation.digest)
        digest.add_weights(self.comm, self.network)
        return digest.hexdigest()
