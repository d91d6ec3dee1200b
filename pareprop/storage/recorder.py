"""The observer that records training samples (section [record]), into files that `record.h5` joins.

In each part of a run, from its start or a resume to its end, every rank writes `record/part-<k>-rank-<r>.h5`. A
checkpoint holds the numbers of rows written so far: a run that is resumed on any number of ranks joins these rows with
its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ..engines.parameters import Parameter
from ..engines.recorded import RECORDED_UNITS, recorded_states
from ..engines.traces import TRACES_UNITS
from ..parallel import collectives
from ..simulation.observer import Observer, Outcome, Watched
from ..values import Values
from . import combined_file
from .disk import on_disk, require_space
from .growing_file import Column, GrowingFile
from .record_settings import DELAYS, PARAMETERS, SIGNALS, STATES, Record, list_neurons
from .recorded_synapses import RecordedSynapses, RecordedTraces, choose_synapses
from .spike_block import SpikeBlock

SPIKE = ("iteration", "step", "id")
BUFFER_BYTES = 2**23  # bytes that a rank buffers before it writes


class Recorder(Observer):
    """Records training samples of every `every`-th iteration (the first sample of a batch).

    `directory` has the files of the recording; `record.h5` next to it combines them. `settings` is the section
    [record].
    """

    everywhere = False
    _file: GrowingFile | None
    _synapses: dict[str, RecordedSynapses]  # by projection
    _traces: RecordedTraces | None

    def __init__(self, directory: Path, settings: Record) -> None:
        self.directory, self.settings = directory, settings
        self.parts: list[Values] = []  # ended parts, see `combined_file.combine_files`
        self._file = self._traces = None
        self._loaded: dict[str, np.ndarray] = {}  # states of traces of all ranks, from a checkpoint

    def start(self, simulation: Watched) -> None:
        """Open the file of this part of the run."""
        network = simulation.network
        first, last = network.neurons
        ids = list_neurons(self.settings, simulation.model)
        self.ids = ids[(ids >= first) & (ids < last)]
        self._synapses = dict(choose_synapses(simulation, self.settings))
        self._traces = RecordedTraces(simulation, self.settings.what, self._synapses)
        if self._loaded:
            self._traces.load_states(self._loaded)
            self._loaded = {}
        self._parameters = dict(_choose_parameters(simulation, self.ids)) if PARAMETERS in self.settings.what else {}
        self._blocks: dict[str, SpikeBlock] = {}
        for name in [name for name in ("spikes", "input_spikes") if name in self.settings.what]:
            sources = network.n_recurrent if name == "spikes" else network.n_inputs
            largest = (2**32 - 1, simulation.task.n_steps, sources)
            kinds = [np.min_scalar_type(number).str for number in largest]
            self._blocks[name] = SpikeBlock(simulation.task.n_steps, kinds)
        self._file = None
        self._open(simulation)

    def _open(self, simulation: Watched) -> None:
        """Collective: open the file of this rank."""
        comm, rank = simulation.exchange.comm, simulation.exchange.rank
        self._written: dict[str, list[int]] = {name: [] for name in self._blocks}
        path = self.directory / f"part-{len(self.parts):03d}-rank-{rank:05d}.h5"
        constants = {"state/id": self.ids} if self._keeps_state else {}
        for name, synapses in self._synapses.items():
            constants |= {f"weights/{name}/{key}": values for key, values in synapses.columns.items()}
        constants |= {f"parameters/{name}/id": ids for name, (_, _, ids) in self._parameters.items()}
        attributes = {"dt_ms": simulation.model.dt_ms, "n_steps": simulation.task.n_steps, "step": self.settings.step}
        streams = dict(self._describe_columns(simulation, rank))
        with on_disk(comm, "recording", path):
            self.directory.mkdir(parents=True, exist_ok=True)
        with on_disk(comm, "recording", path):
            self._file = GrowingFile(path, streams, constants, attributes, self.settings.compression)

    @property
    def _keeps_state(self) -> bool:
        return not {*RECORDED_UNITS, STATES}.isdisjoint(self.settings.what)

    def _describe_columns(self, simulation: Watched, rank: int) -> Iterator[tuple[str, Column]]:
        """Yield name and description of the columns that this rank writes; rank 0 writes values that all ranks have."""
        what, n_out = self.settings.what, simulation.network.n_readouts
        for name, block in self._blocks.items():
            for key, kind in zip(SPIKE, block.kinds, strict=True):
                packed = key != "id"  # low bytes of ids are nearly random: compression would gain little
                yield f"{name}/{key}", Column(kind, (), "steps" if key == "step" else "1", ("spike",), packed)
        if rank == 0:
            yield "samples/iteration", Column("u4", (), "1", ("sample",))
            yield "samples/loss", Column("f8", (), "1", ("sample",))
            if simulation.model.is_rewarded:
                yield "samples/n_steps", Column("u4", (), "steps", ("sample",))
        unit = simulation.engine.loss.unit
        for name in SIGNALS if rank == 0 else ():
            if name in what:
                yield f"readouts/{name}", Column("f8", (n_out,), unit, ("sample and step", "readout"))
        for name, unit in RECORDED_UNITS.items():
            if name in what:
                yield f"state/{name}", Column("f8", (len(self.ids),), unit, ("sample and step", "neuron"))
        for name, unit in recorded_states(simulation.model).items() if STATES in what else ():
            yield _name_column(name), Column("f8", (len(self.ids),), unit or "1", ("sample and step", "neuron"))
        for name, (item, places, _) in self._parameters.items():
            unit = item.population.params.definition.units[item.parameter]
            yield f"parameters/{name}/value", Column("f8", (len(places),), unit, ("sample", "neuron"))
        units = {item.name: item.weight_unit for item in simulation.model.projections}
        for name, synapses in self._synapses.items():
            n = len(synapses.index)
            unit = units[name] or "1"
            if "weights" in what:
                yield f"weights/{name}/weight", Column("f8", (n,), unit, ("sample", "synapse"))
            if DELAYS in what and synapses.learns_delays:
                yield f"weights/{name}/delay_real", Column("f8", (n,), "steps", ("sample", "synapse"))
            for key in self._traces.list_tracks(name) if self._traces else ():
                axes, own = ("sample and step", "synapse"), _invert_unit(unit) if key in TRACES_UNITS else "1"
                yield f"weights/{name}/{key}", Column("f8", (n,), own, axes)

    def _is_due(self, simulation: Watched, index: int, phase: str) -> bool:
        first = simulation.iteration * simulation.model.optimizer.batch_size
        return phase == "train" and index == first and simulation.iteration % self.settings.every == 0

    def before_sample(self, simulation: Watched, index: int, phase: str) -> None:
        """Ask the engine to record the chosen neurons, in addition to other observers' requests."""
        is_due = self._is_due(simulation, index, phase)
        if self._keeps_state and is_due:
            simulation.engine.record_neurons(np.union1d(simulation.engine.dynamics.ids, self.ids))
        if self._traces and self._traces.need_sample(simulation, is_due):
            simulation.engine.record_neurons(np.union1d(simulation.engine.dynamics.ids, self._traces.neurons))

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Buffer the recorded quantities of a sample."""
        engine, traces = simulation.engine, {}
        is_due = self._is_due(simulation, outcome.index, outcome.phase)
        if self._traces and self._traces.need_sample(simulation, is_due):
            traces = self._traces.record_sample(simulation, outcome)
        if not is_due:
            return
        file = self._file
        assert file is not None  # `start` was before
        if "spikes" in self._blocks:
            spikes = simulation.exchange.broadcast_spikes(engine.log, engine.n).pad_steps(simulation.task.n_steps)
            self._blocks["spikes"].add_spikes(simulation.iteration, spikes)
        if "input_spikes" in self._blocks:
            inputs = outcome.sample.inputs.slice_steps(0, engine.n).pad_steps(simulation.task.n_steps)
            self._blocks["input_spikes"].add_spikes(simulation.iteration, inputs)
        file.add_rows("samples/iteration", [simulation.iteration])
        file.add_rows("samples/loss", [outcome.loss])
        file.add_rows("samples/n_steps", [engine.n])
        every = partial(_subsample_rows, self.settings.step, simulation.task.n_steps)
        file.add_rows("readouts/readout_signal", every(engine.loss.output(outcome.signal)))
        file.add_rows("readouts/error_signal", every(outcome.error))
        if outcome.sample.target is not None:
            file.add_rows("readouts/target_signal", every(outcome.sample.target))
        if engine.recorded is not None:
            columns = np.isin(engine.recorded.record, self.ids)
            for name in RECORDED_UNITS:
                if name in self.settings.what:
                    file.add_rows(f"state/{name}", every(getattr(engine.recorded, name))[:, columns])
            for name, track in engine.recorded.states.items() if STATES in self.settings.what else ():
                if name != "V_m" or "V_m" not in self.settings.what:
                    file.add_rows(_name_column(name), every(track)[:, columns])
        for name, (parameter, places, _) in self._parameters.items():
            file.add_rows(f"parameters/{name}/value", parameter.values[None, places])
        for name, tracks in traces.items():
            for key in self._traces.list_tracks(name) if self._traces else ():
                file.add_rows(f"weights/{name}/{key}", every(tracks[key]))
        shown, delays = engine.show_weights(), engine.show_delays()
        for name, synapses in self._synapses.items():
            table, index = synapses.table, synapses.find_indices()
            if "weights" in self.settings.what:
                file.add_rows(f"weights/{name}/weight", shown.get(id(table), table.weight)[None, index])
            if DELAYS in self.settings.what and synapses.learns_delays:
                file.add_rows(f"weights/{name}/delay_real", delays[name][None, index - synapses.span.first])

    def after_iteration(self, simulation: Watched, iteration: int, loss: float) -> None:
        """Write the buffers if they are large: now, as a failure between iterations leaves a complete state."""
        if iteration % self.settings.every == 0:
            self._write_buffers(simulation, BUFFER_BYTES)

    def _write_buffers(self, simulation: Watched, limit: int = 0) -> None:
        """Collective: write the buffers if they hold more than `limit` bytes on any rank."""
        comm, rank, size = simulation.exchange.comm, simulation.exchange.rank, simulation.exchange.size
        file = self._file
        assert file is not None  # `start` was before
        n_bytes = file.buffered_bytes + sum(block.nbytes for block in self._blocks.values())
        if collectives.max_over_ranks(comm, n_bytes) <= limit:
            return
        for name, block in self._blocks.items():
            for columns in block.part_of(rank, size):
                for key, column in zip(SPIKE, columns, strict=True):
                    file.add_rows(f"{name}/{key}", column, copy=False)
        needed = collectives.sum_over_ranks(comm, file.buffered_bytes)
        with on_disk(comm, "recording", file.path):
            require_space(file.path, needed, file.descriptor)
        with on_disk(comm, "recording", file.path):
            file.write_rows()
        for name, block in self._blocks.items():
            self._written[name].append(block.count)
            block.drop_spikes()

    def state(self, simulation: Watched) -> Values:
        """Collective: write the buffers; return the files and their numbers of rows."""
        comm = simulation.exchange.comm
        traces = self._traces.gather_states(comm) if self._traces else {}
        if self._file is None:
            return {"parts": list(self.parts), **traces}
        self._write_buffers(simulation)
        path = self._file.path
        files = collectives.gather_values(comm, (path.name, dict(self._file.rows), dict(self._file.crcs)))
        names, rows, crcs = zip(*files, strict=True)
        part = {
            "files": list(names),
            "rows": list(rows),
            "crcs": list(crcs),
            "blocks": {name: list(counts) for name, counts in self._written.items()},
        }
        with on_disk(comm, "recording", path):  # the checkpoint refers to these rows
            self._file.sync_rows()
        return {"parts": [*self.parts, part], **traces}

    def load_state(self, state: Values) -> None:
        """Continue after the parts listed in a checkpoint."""
        self.parts = combined_file.check_parts(self.directory, state["parts"])
        self._loaded = {name: value for name, value in state.items() if name.startswith("traces/")}

    def require_readable(self, state: Values, rank: int, size: int) -> None:
        """Read this rank's share of the files that a checkpoint refers to; raise a ValueError if one is damaged."""
        try:
            combined_file.require_readable(self.directory, state["parts"], rank, size)
        except ValueError as problem:
            raise ValueError(f"{problem}; [record] every = 0 resumes without the recording") from None

    def finish(self, simulation: Watched) -> None:
        """Close the files and join them in `record.h5`."""
        comm = simulation.exchange.comm
        parts = self.state(simulation)["parts"]
        if self._file is not None:
            with on_disk(comm, "recording", self._file.path):
                self._file.close()
        with on_disk(comm, "recording", self.directory):
            if simulation.exchange.rank == 0:
                combined_file.combine_files(self.directory, parts)

    def failed(self, simulation: Watched, problem: Exception) -> str:
        """Drop buffers that could not be written, so that a checkpoint still can be."""
        if self._file is None:
            return ""
        lost = self._file.drop_rows() + sum(block.count for block in self._blocks.values())
        for block in self._blocks.values():
            block.drop_spikes()
        if not collectives.max_over_ranks(simulation.exchange.comm, lost):
            return ""
        return "recorded samples that were not written yet are lost, unless an earlier checkpoint is resumed"


def _choose_parameters(
    simulation: Watched, recorded: np.ndarray
) -> Iterator[tuple[str, tuple[Parameter, np.ndarray, np.ndarray]]]:
    """Yield each parameter that learns: name, (parameter, indices of recorded values, ids in the population)."""
    for item in simulation.engine.parameters.items:
        first = simulation.network.neurons[0]
        places = recorded[(recorded >= first + item.mine.start) & (recorded < first + item.mine.stop)] - first
        ids = places + first - simulation.model.offset(item.population)
        if item.optimizer.shared:
            places = ids = np.arange(int(simulation.exchange.rank == 0))
        else:
            places = places - item.mine.start
        yield item.name, (item, places, ids)


def _name_column(state: str) -> str:
    """Return the dataset of a neuron's state; its name gets a "_" if a recorded quantity has the same."""
    return f"state/{state}_" if state in (*RECORDED_UNITS, "id") and state != "V_m" else f"state/{state}"


def _invert_unit(unit: str) -> str:
    """Return 1 over a unit."""
    return unit if unit == "1" else f"1/({unit})" if "/" in unit else f"1/{unit}"


def _subsample_rows(step: int, n_steps: int, values: np.ndarray) -> np.ndarray:
    """Return every `step`-th row of `values` (n, m), padded with zeros to `n_steps` rows after an episode's end."""
    return np.pad(values, ((0, n_steps - len(values)), (0, 0)))[::step] if len(values) < n_steps else values[::step]
