"""The observer that writes `results.h5`."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .. import files
from ..engines.base import RECORDED_UNITS
from ..errors import InputError, StateError, quote
from ..kernels import build_info
from ..machine import peak_rss_bytes
from ..parallel import collectives
from ..simulation import digest
from ..simulation.loop import Simulation
from ..simulation.observer import Observer, Outcome
from . import local_activity
from .disk import clear, on_disk, reason, require_space
from .self_description import describe_sample, name_axes, write_parameters

SYNAPSE_BYTES = 36  # source, target, delay, both weights
ENDS = ("source", "target", "delay")


class ResultsFile(Observer):
    """Writes `results.h5` of a run on rank 0: configuration, losses, weights before and after, first and last dynamics.

    Parameters
    ----------
    path : Path
        Path of the file.
    attributes : dict of str to Any
        Attributes of its root, such as task, seed and configuration.
    samples : Mapping[tuple[str, int], str]
        (phase, index) of the recorded samples, to their names in the file.
    n_record : int
        Number of recurrent neurons whose state is recorded, evenly spread.
    """

    everywhere = False
    checkpoint_name = "RunFile"  # of version 0.1, whose checkpoints still resume

    def __init__(
        self, path: Path, attributes: dict[str, Any], samples: Mapping[tuple[str, int], str], n_record: int = 10
    ) -> None:
        self.path, self.attributes, self.samples, self.n_record = path, attributes, samples, n_record
        self.dynamics: dict[str, Any] = {}  # "<name>/<dataset>" to what was recorded, on rank 0

    def prepare(self, simulation: Simulation) -> None:
        """Collective: create the file with attributes and initial weights."""
        counts = [span.last - span.first for _, span in digest.tables(simulation.network)]
        n_bytes = collectives.total(simulation.exchange.comm, sum(counts)) * SYNAPSE_BYTES
        with editing(simulation, self.path, "w", n_bytes) as file:
            self._write_weights(simulation, file, "weight_initial")
            if file is not None:
                root = {
                    "format": files.RUN_FORMAT, "version": version("pareprop"), "variant": simulation.model.variant,
                    "dt_ms": simulation.model.dt_ms, "build": build_info.mode,
                }  # fmt: skip
                file.attrs.update(root | self.attributes)
                write_parameters(file, simulation.model)

    def ensure(self, simulation: Simulation) -> None:
        """Collective: create the file unless an earlier part of the run did."""
        comm, counts = simulation.exchange.comm, {}
        for _, span in digest.tables(simulation.network):
            counts[span.projection.name] = collectives.total(comm, span.last - span.first)
        with collectives.guarded(comm):
            there = simulation.exchange.rank or is_results(self.path)
            if there and not simulation.exchange.rank:
                require_fit(self.path, counts)
        if not collectives.gather(simulation.exchange.comm, there)[0]:
            self.prepare(simulation)

    def start(self, simulation: Simulation) -> None:
        """Create the file, unless the run was resumed from a checkpoint."""
        if simulation.iteration == 0:
            self.prepare(simulation)
        self.ids = choose_evenly(simulation.network.n_recurrent, self.n_record)

    def before_sample(self, simulation: Simulation, index: int, phase: str) -> None:
        """Switch recording on for the recorded samples."""
        is_kept = (phase, index) in self.samples
        simulation.engine.record_ids(self.ids if is_kept else self.ids[:0])
        local_activity.prepare(simulation, self.attributes.get("measured_from", 0) if is_kept else None)

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        """Keep the dynamics of a recorded sample."""
        name = self.samples.get((outcome.phase, outcome.index))
        if name is None:
            return
        own = local_activity.collect(simulation, outcome)
        recorded = simulation.engine.recorded
        parts = []
        if recorded:  # another observer may have asked for further neurons
            mine = np.isin(recorded.record, self.ids)
            parts = [(recorded.record[mine], {key: getattr(recorded, key)[:, mine] for key in RECORDED_UNITS})]
        parts = list(collectives.to_root(simulation.exchange.comm, parts))
        if simulation.exchange.rank:
            return
        dynamics: dict[str, Any] = {"iteration": simulation.iteration, **own}
        if parts:
            dynamics["record"] = np.concatenate([record for record, _ in parts])
            for key in RECORDED_UNITS:
                if key == "adaptation" and not simulation.network.adaptive:
                    continue
                dynamics[key] = np.concatenate([arrays[key] for _, arrays in parts], axis=1)
        n_steps = len(outcome.error)
        dynamics["input_steps"], dynamics["input_ids"] = outcome.sample.inputs.spikes(n_steps)
        dynamics["spike_steps"], dynamics["spike_ids"] = simulation.engine.log.spikes(n_steps)
        if simulation.network.n_readouts or not own:
            dynamics["readout_signal"] = simulation.engine.loss.output(outcome.signal)
            dynamics["error_signal"] = outcome.error
            if outcome.sample.target is not None:
                dynamics["target_signal"] = outcome.sample.target
        if outcome.sample.rollout is not None:
            dynamics |= _collect_episode(simulation, outcome)
        for key, value in dynamics.items():
            self.dynamics[f"{name}/{key}"] = np.array(value) if isinstance(value, np.ndarray) else value

    def state(self, simulation: Simulation) -> dict[str, Any]:
        """Return the dynamics so far; everything else can be written again."""
        return dict(self.dynamics)

    def load_state(self, state: dict[str, Any]) -> None:
        """Load the dynamics."""
        for name in state:
            if len(name.split("/")) != 2 or not all(name.split("/")):
                raise ValueError(f"dynamics {quote(name)} must name a sample and a quantity")
        self.dynamics = dict(state)

    def finish(self, simulation: Simulation) -> None:
        """Write dynamics, losses, final weights, digest and timings."""
        kept = sum(value.nbytes for value in self.dynamics.values() if isinstance(value, np.ndarray))
        with editing(simulation, self.path, "r+", kept + 16 * len(simulation.losses)) as file:
            digest = simulation.hexdigest()
            peak = collectives.maximum(simulation.exchange.comm, peak_rss_bytes())
            self._write_weights(simulation, file, "weight")
            if file is None:
                return
            for key in [
                key for key in file if key not in ("projections", "populations")
            ]:  # of a part of the run that ended here before
                del file[key]
            for key, value in self.dynamics.items():
                if isinstance(value, np.ndarray):
                    file[f"dynamics/{key}"] = value
            for key in [key for key in self.dynamics if key.endswith("/iteration")]:
                file[f"dynamics/{key.partition('/')[0]}"].attrs["iteration"] = self.dynamics[key]
            for group in file["dynamics"].values() if "dynamics" in file else ():
                describe_sample(group, simulation.engine.loss.unit)
            file["loss"], file["firing_rate"] = simulation.losses, simulation.rates
            for name, counts in simulation.moves.items():
                file[f"moves/{name}"] = counts
            for name, unit in (("loss", "1"), ("firing_rate", "Hz")):
                name_axes(file, name, ("iteration",), unit)
            groups = simulation.replicas.count
            file.attrs.update(digest=digest, ranks=groups * simulation.exchange.size, replicas=groups)
            file.attrs["notices"] = "\n".join(simulation.notices.lines)
            timings = file.create_group("timings")
            timings.attrs.update({f"{name}_s": seconds for name, seconds in simulation.timers.seconds.items()})
            timings.attrs["peak_rss_bytes"] = int(peak)

    def _write_weights(self, simulation: Simulation, file: h5py.File | None, name: str) -> None:
        comm, network, shown = simulation.exchange.comm, simulation.network, simulation.engine.show_weights()
        problem = None
        for table, span in digest.tables(network):
            count, place = collectives.total(comm, span.last - span.first), 0
            columns = (*ENDS, "weight") if name == "weight_initial" or span.projection.rewire else ("weight",)
            if file is not None and name == "weight" and span.projection.rewire:
                _keep_initial_ends(file[f"projections/{span.projection.name}"])
            for records in digest.synapses(comm, table, span, shown.get(id(table))):
                try:
                    group = _projection(file, span.projection, count)
                    for key in columns if problem is None else ():
                        group[name if key == "weight" else key][place : place + len(records)] = records[key]
                except OSError as error:  # other ranks continue to send: receive everything first
                    problem = error
                place += len(records)
        if problem is not None:
            raise problem


def _collect_episode(simulation: Simulation, outcome: Outcome) -> dict[str, np.ndarray]:
    """Return what happened in an episode: decisions, and what the loss made of them."""
    rollout = outcome.sample.rollout
    arrays = {"decision_steps": rollout.when, "action": rollout.actions, "reward": rollout.rewards}
    arrays |= {key: value for key, value in outcome.evaluation.extra.items() if key != "entropy"}
    return arrays | (simulation.episodes.collect_dynamics() if simulation.episodes else {})


def _projection(file: h5py.File, projection: Any, count: int) -> h5py.Group:
    group = file.require_group(f"projections/{projection.name}")
    if "weight" not in group:
        columns = {"source": "i8", "target": "i8", "delay": "i4", "weight_initial": "f8", "weight": "f8"}
        for key, kind in columns.items():
            group.create_dataset(key, (count,), kind)
            name_axes(group, key, ("synapse",))
        pre, post = projection.pre, projection.post
        group.attrs.update(pre=pre.name, post=post.name, n_pre=pre.size, n_post=post.size)
    return group


def _keep_initial_ends(group: h5py.Group) -> None:
    """Keep sources and delays from before synapses moved; targets stay, and so does their order."""
    for key in ("source", "delay"):
        if f"{key}_initial" not in group:  # else of a part of the run that ended here before
            group.copy(key, f"{key}_initial")


def is_results(path: Path) -> bool:
    """Whether there is a results file that can be opened.

    Raises
    ------
    InputError
        If going on with it would write into another file.
    """
    try:
        files.open_regular(path).close()
        with h5py.File(path) as file:
            if file.attrs.get("format") != files.RUN_FORMAT:
                return False
    except OSError:
        return False
    try:
        if path.is_symlink():
            raise files.Unfit(errno.EINVAL, "is a link")
        files.open_hdf5(path).close()
    except OSError as problem:
        raise InputError(f"results {path}: {reason(problem)}") from None
    return True


def require_fit(path: Path, counts: Mapping[str, int]) -> None:
    """Raise `InputError` unless the file holds so many synapses of each projection as the end of the run writes."""
    with files.open_results(path) as file:
        for name, count in counts.items():
            for key in (*ENDS, "weight_initial", "weight") if count else ():
                column = file.get(f"projections/{name}/{key}")
                fits = isinstance(column, h5py.Dataset) and column.shape == (count,) and column.dtype.kind in "if"
                if not fits:
                    raise InputError(
                        f"results {path}: projections/{name}/{key} must be {count} numbers, as the run left"
                    )


@contextmanager
def editing(simulation: Simulation, path: Path, mode: str, n_bytes: int) -> Iterator[h5py.File | None]:
    """Collective context manager: edit the file under a temporary name and rename it at the end.

    Rank 0 gets the open file, other ranks get None. An existing file is therefore always complete. An error of the file
    system is raised as a `StateError` on all ranks; collective calls in the block must end before rank 0 raises one.

    Parameters
    ----------
    simulation : Simulation
        The simulation.
    path : Path
        Path of the file.
    mode : str
        "w" for a new file, "r+" for an existing one.
    n_bytes : int
        Expected growth, checked against the free disk space.
    """
    comm, part = simulation.exchange.comm, path.with_suffix(".part")
    file = None
    with on_disk(comm, "results", path):
        if simulation.exchange.rank == 0:
            require_space(path, n_bytes)
            clear(part)
            if mode != "w":
                os.replace(path, part)
            file = h5py.File(part, "x" if mode == "w" else mode)
    problem = None
    try:
        yield file
    except (OSError, RuntimeError) as error:  # the second one of a damaged file
        problem = StateError(f"results {path}: {reason(error) if isinstance(error, OSError) else error}")
    with on_disk(comm, "results", path):
        if file is not None and problem is None:
            file.close()
            os.replace(part, path)
    collectives.raise_together(comm, problem)


def choose_evenly(n: int, count: int) -> np.ndarray:
    """Return at most `count` ids evenly spread over [0, n)."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))
