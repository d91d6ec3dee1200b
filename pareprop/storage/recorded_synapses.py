"""Synapses of this rank that a recording follows: which ones, and their traces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..engines.rule_traces import traces_of
from ..engines.traces import TRACES_UNITS, Chosen, Traces, compile_traces
from ..network.connectivity import Projection
from ..network.synapse_table import ProjectionSlice, SynapseTable
from ..parallel import collectives
from ..simulation.observer import Outcome, Watched
from ..values import Values
from .record_settings import DELAYS, SYNAPSES, Record
from .results import choose_evenly


@dataclass(frozen=True)
class RecordedSynapses:
    """Recorded synapses of one projection on this rank.

    `columns` has their sources, targets and delays, (n,); `before` is the number of recorded synapses on the ranks
    before. Where delays learn, indices into the table change: `places` in canonical order do not.
    """

    projection: Projection
    table: SynapseTable
    span: ProjectionSlice
    index: np.ndarray
    places: np.ndarray
    columns: dict[str, np.ndarray]
    before: int

    @property
    def learns_delays(self) -> bool:
        """Whether an optimizer moves the delays."""
        return self.projection.learn_delay is not None

    def find_indices(self) -> np.ndarray:
        """Return where the synapses are in their table now."""
        return self.table.list_columns(self.span)[3, self.places] if self.learns_delays else self.index


def choose_synapses(simulation: Watched, settings: Record) -> Iterator[tuple[str, RecordedSynapses]]:
    """Collective: yield the projections with recorded weights, delays or traces, and this rank's synapses."""
    if {"weights", DELAYS, SYNAPSES, *TRACES_UNITS}.isdisjoint(settings.what):
        return
    comm, rank = simulation.exchange.comm, simulation.exchange.rank
    for table in (simulation.network.incoming, simulation.network.outgoing):
        for span in table.spans:
            if settings.projections and span.projection.name not in settings.projections:
                continue
            counts = collectives.gather_values(comm, span.last - span.first)
            before, total = sum(counts[:rank]), sum(counts)
            places = choose_evenly(total, settings.synapses or total) - before if total else np.zeros(0, np.int64)
            first = int(np.count_nonzero(places < 0))
            places = places[(places >= 0) & (places < counts[rank])]
            synapses = table.list_columns(span)
            if table.by_source:  # the order in which the ranks' shares follow one another
                source, target, delay, _ = synapses
                synapses = synapses[:, np.lexsort((target, delay, source))]
            source, target, delay, index = synapses[:, places]
            columns = {"source": source, "target": target, "delay": delay}
            chosen = RecordedSynapses(span.projection, table, span, index, places, columns, first)
            yield span.projection.name, chosen


class RecordedTraces:
    """Traces of this rank's recorded synapses, by projection."""

    def __init__(self, simulation: Watched, what: tuple[str, ...], chosen: dict[str, RecordedSynapses]) -> None:
        self._quantities = [name for name in TRACES_UNITS if name in what]
        self._with_states = SYNAPSES in what
        self._traces: dict[str, Traces] = {}
        self._before = {name: item.before for name, item in chosen.items()}
        for name, item in chosen.items() if self._quantities or self._with_states else ():
            compile_traces(simulation.engine, item.projection)
            self._traces[name] = traces_of(simulation.engine, Chosen(item.projection, **item.columns))

    def __bool__(self) -> bool:
        return bool(self._traces)

    @property
    def neurons(self) -> np.ndarray:
        """int64, neurons whose dynamics the engine must record."""
        return np.concatenate([traces.record for traces in self._traces.values()])

    def need_sample(self, simulation: Watched, is_recorded: bool) -> bool:
        """Return whether the traces step through a sample: through all of them, unless samples start at rest."""
        return is_recorded or not simulation.engine.resets

    def list_tracks(self, projection: str) -> list[str]:
        """Return the names of the quantities of synapses of a projection that are recorded in each step."""
        if projection not in self._traces:
            return []
        states = self._traces[projection].names if self._with_states else []
        return [*self._quantities, *(f"state_{name}" for name in states)]

    def record_sample(self, simulation: Watched, outcome: Outcome) -> dict[str, dict[str, np.ndarray]]:
        """Collective: step the traces through a sample; return all quantities by projection and name."""
        engine = simulation.engine
        log = simulation.exchange.broadcast_spikes(engine.log, engine.n)
        return {
            name: traces.record_states(engine.inputs, log, outcome.error, outcome.sample.modulator)
            for name, traces in self._traces.items()
        }

    def gather_states(self, comm: object) -> dict[str, np.ndarray]:
        """Collective: return the states of the traces of all ranks, last axis: synapses."""
        states: dict[str, np.ndarray] = {}
        for name, traces in self._traces.items():
            parts = collectives.gather_values(comm, traces.state())
            states |= {
                f"traces/{name}/{key}": np.concatenate([part[key] for part in parts], axis=-1) for key in parts[0]
            }
        return states

    def load_states(self, states: Values) -> None:
        """Restore the traces of this rank's synapses from the states of all ranks."""
        for name, traces in self._traces.items():
            first = self._before[name]
            own = {
                key: states[f"traces/{name}/{key}"][..., first : first + value.shape[-1]]
                for key, value in traces.state().items()
            }
            traces.load_state(own)
