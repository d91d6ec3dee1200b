"""The run directory: `results.h5` with everything a reader needs, written by an observer."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from . import canonical, collective
from .errors import InputError
from .kernels import build_info
from .learning import output
from .model import Model
from .simulation import Observer, Outcome, Simulation

FORMAT = "pareprop-run-1"
MATRIX = ("V_m", "adaptation", "surrogate_gradient", "learning_signal")


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):  # not Linux; on Linux this may be the peak of the process that started this one
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def make_directory(comm: Any, wanted: str | None, task: str, overwrite: bool = False) -> Path:
    """Collective: make the run directory on rank 0, `runs/<task>-<number>` if none is wanted.

    Raises
    ------
    InputError
        On all ranks, if the directory exists with something in it and may not be overwritten, or can't be made.
    """
    path, problem = None, None
    if comm is None or comm.rank == 0:
        try:
            path = _make(wanted, task, overwrite)
        except InputError as found:
            problem = found
        except OSError as found:
            problem = InputError(f"--out {wanted or 'runs'}: {found.strerror}")
    collective.raise_together(comm, problem)
    return path if comm is None else comm.bcast(path)


def _make(wanted: str | None, task: str, overwrite: bool) -> Path:
    if wanted is None:
        number = 1
        while (path := Path("runs", f"{task}-{number}")).exists():
            number += 1
    else:
        path = Path(wanted)
        if path.exists() and not path.is_dir():
            raise InputError(f"--out {path}: is a file")
        if path.exists() and any(path.iterdir()) and not overwrite:
            raise InputError(f"--out {path}: exists and is not empty; --overwrite replaces what is in it")
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
        raise InputError(f"--out {path}: may not be written to")
    return path


class RunFile(Observer):
    """Writes `results.h5` of a run on rank 0: configuration, losses, weights before and after, first and last dynamics.

    Parameters
    ----------
    path : of the file
    attributes : of its root, such as task, seed and configuration
    samples : (phase, index) of the samples whose dynamics are kept, to their names
    n_record : recurrent neurons whose state is kept, evenly spread
    """

    def __init__(
        self, path: Path, attributes: dict[str, Any], samples: Mapping[tuple[str, int], str], n_record: int = 10
    ) -> None:
        self.path, self.attributes, self.samples, self.n_record = path, attributes, samples, n_record
        self._file: h5py.File | None = None

    def start(self, simulation: Simulation) -> None:
        """Open the file and write what is known before the first iteration."""
        if simulation.exchange.rank == 0:
            self._file = h5py.File(self.path, "w")
            root = {
                "format": FORMAT, "version": version("pareprop"), "variant": simulation.model.variant,
                "dt_ms": simulation.model.dt_ms, "ranks": simulation.exchange.size, "build": build_info.mode,
            }  # fmt: skip
            self._file.attrs.update(root | self.attributes)
        self._write_weights(simulation, "weight_initial")
        self.ids = spread(simulation.network.n_recurrent, self.n_record)

    def before_sample(self, simulation: Simulation, index: int, phase: str) -> None:
        """Switch recording on for the samples that are kept."""
        simulation.engine.record_ids(self.ids if (phase, index) in self.samples else self.ids[:0])

    def after_sample(self, simulation: Simulation, outcome: Outcome) -> None:
        """Write the dynamics of a sample that is kept."""
        name = self.samples.get((outcome.phase, outcome.index))
        if name is None:
            return
        recorded = simulation.engine.recorded
        parts = [(recorded.record, {name: getattr(recorded, name) for name in MATRIX})] if recorded else []
        parts = list(collective.to_root(simulation.exchange.comm, parts))
        if self._file is None:
            return
        group = self._file.create_group(f"dynamics/{name}")
        group.attrs["iteration"] = simulation.iteration
        if parts:
            group["record"] = np.concatenate([record for record, _ in parts])
            for key in MATRIX:
                if key == "adaptation" and not simulation.network.adaptive:
                    continue
                group[key] = np.concatenate([arrays[key] for _, arrays in parts], axis=1)
        n_steps = len(outcome.error)
        group["input_steps"], group["input_ids"] = outcome.sample.inputs.spikes(n_steps)
        group["spike_steps"], group["spike_ids"] = simulation.engine.log.spikes(n_steps)
        group["readout_signal"] = output(simulation.model.of_role("readout")[0].params.loss, outcome.signal)
        group["target_signal"], group["error_signal"] = outcome.sample.target, outcome.error

    def finish(self, simulation: Simulation) -> None:
        """Write losses, final weights, digest and timings, and close the file."""
        self._write_weights(simulation, "weight")
        digest = simulation.hexdigest()
        peak = collective.maximum(simulation.exchange.comm, peak_rss_bytes())
        if self._file is None:
            return
        self._file["loss"], self._file["firing_rate"] = simulation.losses, simulation.rates
        self._file["loss"].attrs["unit"], self._file["firing_rate"].attrs["unit"] = "1", "Hz"
        self._file.attrs["digest"] = digest
        timings = self._file.create_group("timings")
        timings.attrs.update({f"{name}_s": seconds for name, seconds in simulation.timers.seconds.items()})
        timings.attrs["peak_rss_bytes"] = int(peak)
        self._file.close()

    def _write_weights(self, simulation: Simulation, name: str) -> None:
        comm, network, shown = simulation.exchange.comm, simulation.network, simulation.engine.shown_weights()
        for table, span in canonical.tables(network):
            count = collective.total(comm, span.last - span.first)
            group = self._projection(span.projection, count) if self._file else None
            place = 0
            for records in canonical.synapses(comm, table, span, shown.get(id(table))):
                stop = place + len(records)
                for key in ("source", "target", "delay") if name == "weight_initial" else ():
                    group[key][place:stop] = records[key]
                group[name][place:stop] = records["weight"]
                place = stop

    def _projection(self, projection: Any, count: int) -> h5py.Group:
        group = self._file.require_group(f"projections/{projection.name}")
        if "weight" not in group:
            columns = {"source": "i8", "target": "i8", "delay": "i4", "weight_initial": "f8", "weight": "f8"}
            for key, kind in columns.items():
                group.create_dataset(key, (count,), kind)
            pre, post = projection.pre, projection.post
            group.attrs.update(pre=pre.name, post=post.name, n_pre=pre.size, n_post=post.size)
            group["delay"].attrs["unit"] = "steps"
        return group


def spread(n: int, count: int) -> np.ndarray:
    """At most `count` ids evenly spread over [0, n)."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))


def describe(model: Model) -> str:
    """The model in words, as JSON: populations with their parameters, projections with their rules."""
    populations = [
        {"name": item.name, "size": item.size, "role": item.role, "model": item.model} for item in model.populations
    ]
    projections = [
        {"name": item.name, "rule": item.rule, "delay": list(item.delay_range)} for item in model.projections
    ]
    return json.dumps({"populations": populations, "projections": projections})
