"""Recording while a run lasts, into files that `record.h5` joins by virtual datasets.

A part of a run, from its start or a resume to its end, writes `record/part-<k>-rank-<r>.h5`: every rank what it owns.
With an h5py that knows MPI, all ranks write `record/part-<k>.h5` together, and a part ends with each checkpoint. What
was written up to a checkpoint is noted in it, so a run resumed on any number of ranks joins just that with what
follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ..errors import InputError
from ..network.model import Model
from ..network.parameters import Frozen
from ..parallel import collectives
from ..simulation.loop import Simulation
from ..simulation.observer import Observer, Outcome
from . import joined_file
from .disk import on_disk, require_room
from .growing_file import SharedFile, Stream, StreamFile, can_share
from .results import spread
from .spike_block import SpikeBlock

STATE = {"V_m": "mV", "adaptation": "1", "surrogate_gradient": "1/mV", "learning_signal": "1"}
SIGNALS = {"readout_signal": "mV", "error_signal": "mV", "target_signal": "mV"}
SPIKE = ("iteration", "step", "id")
ROOM = 2**23  # bytes that a rank gathers before it writes


class Recorder(Observer):
    """Records training samples of every `every`-th iteration (the first sample of a batch).

    Parameters
    ----------
    directory : of the recording; `record.h5` beside it joins the files
    wanted : what is recorded, section [record]
    """

    everywhere = False

    def __init__(self, directory: Path, wanted: Record) -> None:
        self.directory, self.wanted = directory, wanted
        self.parts: list[dict[str, Any]] = []  # ended ones, see `joined.join`
        self._file: StreamFile | None = None

    def start(self, simulation: Simulation) -> None:
        """Open the file of this part of the run."""
        network = simulation.network
        first, last = network.neurons
        ids = self._ids(network.n_recurrent)
        self.ids = ids[(ids >= first) & (ids < last)]
        self._selected = list(self._weights(simulation))
        wanted = [name for name in ("spikes", "input_spikes") if name in self.wanted.what]
        self._blocks = {}
        for name in wanted:
            sources = network.n_recurrent if name == "spikes" else network.n_inputs
            largest = (2**32 - 1, simulation.task.n_steps, sources)
            kinds = [np.min_scalar_type(number).str for number in largest]
            self._blocks[name] = SpikeBlock(simulation.task.n_steps, kinds)
        self._file = None
        self._opened(simulation)

    def _opened(self, simulation: Simulation) -> StreamFile:
        """Collective: the file, a new one if a checkpoint has closed the one before."""
        if self._file is not None:
            return self._file
        comm, rank = simulation.exchange.comm, simulation.exchange.rank
        self._written: dict[str, list[int]] = {name: [] for name in self._blocks}
        shared = can_share(comm)
        path = self.directory / f"part-{len(self.parts):03d}{'' if shared else f'-rank-{rank:05d}'}.h5"
        constants = {"state/id": self.ids} if self._keeps_state else {}
        for name, _, _, columns in self._selected:
            constants |= {f"weights/{name}/{key}": values for key, values in columns.items()}
        attributes = {"dt_ms": simulation.model.dt_ms, "n_steps": simulation.task.n_steps, "step": self.wanted.step}
        rest = path, dict(self._streams(simulation, rank)), constants, attributes, self.wanted.compression
        with on_disk(comm, "recording", path):
            self.directory.mkdir(parents=True, exist_ok=True)
        with on_disk(comm, "recording", path):
            self._file = SharedFile(comm, *rest) if shared else StreamFile(*rest)
        return self._file

    @property
    def _keeps_state(self) -> bool:
        return not STATE.keys().isdisjoint(self.wanted.what)

    def _ids(self, n: int) -> np.ndarray:
        wanted = self.wanted.neurons
        return spread(n, wanted) if isinstance(wanted, int) else np.unique(np.array(wanted, np.int64))

    def _streams(self, simulation: Simulation, rank: int) -> Iterator[tuple[str, Stream]]:
        """Streams of this rank; what all ranks know is written by rank 0."""
        what, n_out = self.wanted.what, simulation.network.n_readouts
        for name, block in self._blocks.items():
            for key, kind in zip(SPIKE, block.kinds, strict=True):
                packed = key != "id"  # their low bytes are as good as random: much time for little
                yield f"{name}/{key}", Stream(kind, (), "steps" if key == "step" else "1", ("spike",), packed)
        if rank == 0:
            yield "samples/iteration", Stream("u4", (), "1", ("sample",))
            yield "samples/loss", Stream("f8", (), "1", ("sample",))
        for name, unit in SIGNALS.items() if rank == 0 else ():
            if name in what:
                yield f"readouts/{name}", Stream("f8", (n_out,), unit, ("sample and step", "readout"))
        for name, unit in STATE.items():
            if name in what:
                yield f"state/{name}", Stream("f8", (len(self.ids),), unit, ("sample and step", "neuron"))
        for name, _, index, _ in self._selected:
            yield f"weights/{name}/weight", Stream("f8", (len(index),), "as in NEST", ("sample", "synapse"))

    def _weights(self, simulation: Simulation) -> Iterator[tuple[str, Any, np.ndarray, dict[str, np.ndarray]]]:
        """Collective: (projection, table, places in it, columns) of the synapses whose weights are kept."""
        if "weights" not in self.wanted.what:
            return
        comm, rank = simulation.exchange.comm, simulation.exchange.rank
        for table in (simulation.network.incoming, simulation.network.outgoing):
            for span in table.spans:
                if self.wanted.projections and span.projection.name not in self.wanted.projections:
                    continue
                if span.projection.rewire:
                    raise InputError(
                        f"[record] weights of '{span.projection.name}' can't be recorded: its synapses move; "
                        "name others in [record] projections"
                    )
                counts = collectives.gather(comm, span.last - span.first)
                before, total = sum(counts[:rank]), sum(counts)
                kept = spread(total, self.wanted.synapses or total) - before if total else np.zeros(0, np.int64)
                kept = kept[(kept >= 0) & (kept < counts[rank])]
                parts = [np.stack(part) for part in table.chunks(span)]
                source, target, delay, index = np.concatenate(parts, axis=1)[:, kept]
                yield span.projection.name, table, index, {"source": source, "target": target, "delay": delay}

    def _is_due(self, simulation: Simulation, index: int, phase: str) -> bool:
        first = simulation.iteration * simulation.model.optimizer.batch_size
        return phase == "train" and index == first and simulation.iteration % self.wanted.every == 0

    def before_sample(self, simulation: Simulation, index: int, phase: str) -> None:
        """Ask for the state of the neurons beside those that others want."""
        if self._keeps_state and self._is_due(simulation, index, phase):
            simulation.engine.record_ids(np.union1d(simulation.engine.recorded_ids, self.ids))

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        """Gather what is kept of a sample."""
        if not self._is_due(simulation, outcome.index, outcome.phase):
            return
        every = slice(None, None, self.wanted.step)
        engine, file = simulation.engine, self._opened(simulation)
        if "spikes" in self._blocks:
            spikes = simulation.exchange.broadcast_spikes(engine.log, simulation.task.n_steps)
            self._blocks["spikes"].add(simulation.iteration, spikes)
        if "input_spikes" in self._blocks:
            self._blocks["input_spikes"].add(simulation.iteration, outcome.sample.inputs)
        file.add("samples/iteration", [simulation.iteration])
        file.add("samples/loss", [outcome.loss])
        file.add("readouts/readout_signal", engine.loss.output(outcome.signal)[every])
        file.add("readouts/error_signal", outcome.error[every])
        file.add("readouts/target_signal", outcome.sample.target[every])
        if engine.recorded is not None:
            columns = np.isin(engine.recorded.record, self.ids)
            for name in STATE:
                if f"state/{name}" in file.streams:
                    file.add(f"state/{name}", getattr(engine.recorded, name)[every][:, columns])
        if self._selected:
            shown = engine.shown_weights()
            for name, table, index, _ in self._selected:
                file.add(f"weights/{name}/weight", shown.get(id(table), table.weight)[None, index])

    def after_iteration(self, simulation: Simulation, iteration: int, loss: float) -> None:
        """Write what was gathered when it has become much; here the state is whole if that fails."""
        if iteration % self.wanted.every == 0:
            self._flush(simulation, ROOM)

    def _flush(self, simulation: Simulation, room: int = 0) -> None:
        """Collective: write what was gathered, if it is more than `room` bytes on any rank."""
        comm, rank, size = simulation.exchange.comm, simulation.exchange.rank, simulation.exchange.size
        held = self._file.gathered_bytes + sum(block.nbytes for block in self._blocks.values())
        if collectives.maximum(comm, held) <= room:
            return
        for name, block in self._blocks.items():
            for columns in block.share(rank, size):
                for key, column in zip(SPIKE, columns, strict=True):
                    self._file.add(f"{name}/{key}", column, copy=False)
        needed = collectives.total(comm, self._file.gathered_bytes)
        with on_disk(comm, "recording", self._file.path):
            require_room(self._file.path, needed)
        with on_disk(comm, "recording", self._file.path):
            self._file.flush()
        for name, block in self._blocks.items():
            self._written[name].append(block.count)
            block.clear()

    def state(self, simulation: Simulation) -> dict[str, Any]:
        """Collective: write everything, and note how much that is."""
        if self._file is None:
            return {"parts": list(self.parts)}
        self._flush(simulation)
        comm, path = simulation.exchange.comm, self._file.path
        shared = isinstance(self._file, SharedFile)
        files = [(path.name, dict(self._file.rows))]
        names, rows = zip(*(files if shared else collectives.gather(comm, files[0])), strict=True)
        part = {"files": list(names), "rows": list(rows), "blocks": {k: list(v) for k, v in self._written.items()}}
        if not shared:
            return {"parts": [*self.parts, part]}
        with on_disk(comm, "recording", path):  # what a checkpoint counts on is out of danger
            self._file.close()
        self._file = None
        self.parts.append(part)
        return {"parts": list(self.parts)}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on after the parts that a checkpoint knows."""
        self.parts = joined_file.check_parts(self.directory, state["parts"])

    def finish(self, simulation: Simulation) -> None:
        """Close the files and join them in `record.h5`."""
        comm = simulation.exchange.comm
        parts = self.state(simulation)["parts"]
        if self._file is not None:
            with on_disk(comm, "recording", self._file.path):
                self._file.close()
        with on_disk(comm, "recording", self.directory):
            if simulation.exchange.rank == 0:
                joined_file.join(self.directory, parts)

    def failed(self, simulation: Simulation, problem: Exception) -> str:
        """Give up what could not be written, so that a checkpoint of the state still can be."""
        if self._file is None:
            return ""
        lost = self._file.drop() + sum(block.count for block in self._blocks.values())
        for block in self._blocks.values():
            block.clear()
        if not collectives.maximum(simulation.exchange.comm, lost):
            return ""
        return "recorded samples that were not written yet are lost, unless an earlier checkpoint is resumed"


def check(wanted: Record, model: Model) -> None:
    """Raise `InputError` if section [record] names what the network lacks."""
    problems = []
    n, names = model.size("recurrent"), [item.name for item in model.projections if item.pre.role != "readout"]
    if isinstance(wanted.neurons, tuple):
        problems += [f"neurons: {k} must lie in 0 to {n - 1}" for k in wanted.neurons if not 0 <= k < n]
    elif wanted.neurons < 0:
        problems.append(f"neurons = {wanted.neurons} must be at least 0")
    problems += [f"projections: '{k}' is none of {', '.join(names)}" for k in wanted.projections if k not in names]
    if problems:
        raise InputError("; ".join(f"[record] {problem}" for problem in problems))


Signal = Literal[
    "spikes", "input_spikes", "V_m", "adaptation", "surrogate_gradient", "learning_signal", "readout_signal",
    "error_signal", "target_signal", "weights",
]  # fmt: skip


class Record(Frozen):
    """Section [record]: what is kept of training samples beside the results."""

    every: int = Field(0, ge=0, description="iterations between recorded ones, 0 for no recording")
    what: tuple[Signal, ...] = Field(("spikes",), description="what is kept")
    step: int = Field(1, ge=1, description="steps between those whose state and signals are kept")
    neurons: int | tuple[int, ...] = Field(10, description="whose state is kept: how many, evenly spread, or their ids")
    projections: tuple[str, ...] = Field((), description="whose weights are kept, none for all")
    synapses: int = Field(0, ge=0, description="synapses of each projection, evenly spread, 0 for all")
    compression: int = Field(1, ge=0, le=9, description="gzip level, 0 for none")
