"""The observer that writes `results.h5`: every dataset of a run's results, and the checks when a run resumes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from .. import __version__, files
from ..engines.recorded import RECORDED_UNITS, recorded_states
from ..errors import InputError, StateError, quote
from ..kernels import build_info
from ..later import h5py
from ..machine import peak_rss_bytes
from ..network.connectivity import Projection
from ..parallel import collectives
from ..simulation import digest
from ..simulation.observer import Observer, Outcome, Watched
from ..values import Values
from . import local_activity
from .disk import describe_os_error, on_disk, remove_leftover, replace_path, require_space, write_hdf5
from .self_description import STATE, describe_sample, name_axes, write_learned, write_parameters

BLOCK = 2**20  # synapses copied at a time
SYNAPSE_BYTES = 36  # source, target, delay, both weights
ENDS = ("source", "target", "delay")


class ResultsFile(Observer):
    """Writes `results.h5` on rank 0: configuration, losses, weights before and after, recorded samples.

    `attributes` of the root are task, seed, configuration and others. `samples` maps (phase, index) of each recorded
    sample to its name in the file, `links` further names to these names. The state of `n_record` recurrent neurons is
    recorded, evenly spread. The functions `more` write further datasets at the end of the run. `keeps_weights` is
    whether the file holds the synapses and their weights, not just their number.
    """

    everywhere = False
    movable = True

    def __init__(
        self,
        path: Path,
        attributes: Values,
        samples: Mapping[tuple[str, int], str],
        n_record: int = 10,
        more: Sequence[Callable[[h5py.File], None]] = (),
        links: Mapping[str, str] | None = None,
        keeps_weights: bool = True,
    ) -> None:
        self.more, self.links, self.keeps_weights = more, links or {}, keeps_weights
        self.path, self.attributes, self.samples, self.n_record = path, attributes, samples, n_record
        self.dynamics: Values = {}  # "<sample>/<dataset>" to the recorded array, on rank 0
        self.digest = ""  # digest of the run, after `finish`

    def create_file(self, simulation: Watched) -> None:
        """Collective: create the file with attributes and initial weights."""
        n_synapses = sum(self._count_synapses(simulation).values())
        with edit_file(simulation, self.path, self.keeps_weights * n_synapses * SYNAPSE_BYTES) as file:
            self._write_weights(simulation, file, "weight_initial")
            if file is not None:
                root = {
                    "format": files.RUN_FORMAT,
                    "version": __version__,
                    "variant": simulation.model.variant,
                    "dt_ms": simulation.model.dt_ms,
                    "build": build_info.mode,
                }
                file.attrs.update(root | self.attributes | ({} if self.keeps_weights else {files.NOT_KEPT: n_synapses}))
                write_parameters(file, simulation.model)

    @staticmethod
    def _count_synapses(simulation: Watched) -> dict[str, int]:
        """Collective: return the number of synapses of all ranks by projection."""
        spans = [span for _, span in digest.list_tables(simulation.network)]
        return {
            span.projection.name: collectives.sum_over_ranks(simulation.exchange.comm, span.last - span.first)
            for span in spans
        }

    def ensure_file(self, simulation: Watched) -> str:
        """Collective: create the file unless it exists and is undamaged; return a line on damage, "" without any.

        Nothing is lost: a checkpoint has the rest, and initial weights are drawn again.

        `InputError` if the path is a link, or the file belongs to another run.
        """
        comm, counts = simulation.exchange.comm, self._count_synapses(simulation) if self.keeps_weights else {}
        there, wrong = False, ""
        with collectives.share_errors(comm):
            if not simulation.exchange.rank:
                there = os.path.lexists(self.path)
                wrong = find_damage(self.path, counts) if there else ""
        there, wrong = collectives.broadcast_from_root(comm, (there, wrong))
        if wrong or not there:
            self.create_file(simulation)
        return wrong

    def start(self, simulation: Watched) -> None:
        """Create the file, unless the run was resumed from a checkpoint."""
        if simulation.iteration == 0:
            self.create_file(simulation)
        self.ids = choose_evenly(simulation.network.n_recurrent, self.n_record)

    def before_sample(self, simulation: Watched, index: int, phase: str) -> None:
        """Switch recording on for the recorded samples."""
        is_kept = (phase, index) in self.samples
        simulation.engine.record_neurons(self.ids if is_kept else self.ids[:0])
        local_activity.prepare_engine(simulation, self.attributes.get("measured_from", 0) if is_kept else None)

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Keep the dynamics of a recorded sample."""
        name = self.samples.get((outcome.phase, outcome.index))
        if name is None:
            return
        own = local_activity.collect_activity(simulation, outcome)
        recorded = simulation.engine.recorded
        parts = []
        if recorded:  # another observer may have asked for further neurons
            mine = np.isin(recorded.record, self.ids)
            tracks = {key: getattr(recorded, key) for key in RECORDED_UNITS}
            tracks |= {f"{STATE}{key}": track for key, track in recorded.states.items() if key != "V_m"}
            parts = [(recorded.record[mine], {key: track[:, mine] for key, track in tracks.items()})]
        parts = list(collectives.send_items_to_root(simulation.exchange.comm, parts))
        if simulation.exchange.rank:
            return
        dynamics: Values = {"iteration": simulation.iteration, **own}
        if outcome.sample.label is not None and simulation.network.n_readouts:  # otherwise it is no class
            dynamics["label"] = int(outcome.sample.label)
        if parts:
            dynamics["record"] = np.concatenate([record for record, _ in parts])
            adapts = any(item.params.adaptive for item in simulation.model.of_role("recurrent"))
            for key in parts[0][1]:
                if key == "adaptation" and not adapts:
                    continue
                dynamics[key] = np.concatenate([arrays[key] for _, arrays in parts], axis=1)
        n_steps = len(outcome.error)
        dynamics["input_steps"], dynamics["input_ids"] = outcome.sample.inputs.list_spikes(n_steps)
        dynamics["spike_steps"], dynamics["spike_ids"] = simulation.engine.log.list_spikes(n_steps)
        if simulation.network.n_readouts or not own:
            dynamics["readout_signal"] = simulation.engine.loss.output(outcome.signal)
            dynamics["error_signal"] = outcome.error
            if outcome.sample.target is not None:
                dynamics["target_signal"] = outcome.sample.target
        if outcome.sample.rollout is not None:
            dynamics |= _collect_episode(simulation, outcome)
        for key, value in dynamics.items():
            self.dynamics[f"{name}/{key}"] = np.array(value) if isinstance(value, np.ndarray) else value

    def state(self, simulation: Watched) -> Values:
        """Return the recorded samples so far; all else can be written again."""
        return dict(self.dynamics)

    def load_state(self, state: Values) -> None:
        """Restore the recorded samples."""
        for name, value in state.items():
            if len(name.split("/")) != 2 or not all(name.split("/")):
                raise ValueError(f"dynamics {quote(name)} must name a sample and a quantity")
            if not isinstance(value, np.ndarray) and (type(value) is not int or not 0 <= value < 2**63):
                raise ValueError(f"dynamics {quote(name)} = {quote(value)} must be an array or a whole number")
        self.dynamics = dict(state)

    def finish(self, simulation: Watched) -> None:
        """Write dynamics, losses, final weights, digest and timings."""
        kept = sum(value.nbytes for value in self.dynamics.values() if isinstance(value, np.ndarray))
        n_synapses = sum(self._count_synapses(simulation).values()) if self.keeps_weights else 0
        n_bytes = kept + 16 * len(simulation.losses) + n_synapses * SYNAPSE_BYTES
        with self._open_file(simulation) as before, edit_file(simulation, self.path, n_bytes) as file:
            self.digest = simulation.hexdigest()
            peak = collectives.max_over_ranks(simulation.exchange.comm, peak_rss_bytes())
            self._write_weights(simulation, file, "weight", before)
            values = gather_parameters(simulation)
            if file is None:
                return
            with files.report_read_errors(self.path):
                file.attrs.update(before.attrs if before is not None else {})
            file.attrs.update(self.attributes)  # a resume may have changed them, such as the number of iterations
            write_parameters(file, simulation.model)
            for key, value in self.dynamics.items():
                if isinstance(value, np.ndarray):
                    file[f"dynamics/{key}"] = value
            for key, value in self.dynamics.items():
                if not isinstance(value, np.ndarray):
                    name, _, attribute = key.partition("/")
                    file[f"dynamics/{name}"].attrs[attribute] = value
            for group in file["dynamics"].values() if "dynamics" in file else ():
                describe_sample(group, simulation.engine.loss.unit, recorded_states(simulation.model))
            for name, other in self.links.items():
                if f"dynamics/{other}" in file and f"dynamics/{name}" not in file:
                    file[f"dynamics/{name}"] = file[f"dynamics/{other}"]
            file["loss"], file["firing_rate"] = simulation.losses, simulation.rates
            for name, counts in simulation.moves.items():
                file[f"moves/{name}"] = counts
                if (group := file.get(f"projections/{name}")) is not None:
                    group["moved"] = file[f"moves/{name}"]
            write_learned(file, simulation.model, simulation.learned, values)
            units = {"loss": "1", "firing_rate": "Hz"}
            if simulation.gradient_norms:
                file["gradient_norm"], units["gradient_norm"] = simulation.gradient_norms, "1"
                file["gradient_norm"].attrs["max_norm"] = simulation.model.optimizer.max_norm
            for name, unit in units.items():
                name_axes(file, name, ("iteration",), unit)
            groups = simulation.replicas.count
            file.attrs.update(digest=self.digest, ranks=groups * simulation.exchange.size, replicas=groups)
            file.attrs["notices"] = "\n".join(simulation.notices.lines)
            timings = file.create_group("timings")
            timings.attrs.update({f"{name}_s": seconds for name, seconds in simulation.timers.seconds.items()})
            timings.attrs["peak_rss_bytes"] = int(peak)
            for write in self.more:
                write(file)

    @contextmanager
    def _open_file(self, simulation: Watched) -> Iterator[h5py.File | None]:
        """Collective context manager: open the file, as it was made before the training, on rank 0."""
        with ExitStack() as stack:
            before = None
            with on_disk(simulation.exchange.comm, "results", self.path):
                if simulation.exchange.rank == 0:
                    before = stack.enter_context(files.open_hdf5(self.path))
            yield before

    def _write_weights(
        self, simulation: Watched, file: h5py.File | None, name: str, before: h5py.File | None = None
    ) -> None:
        """Collective: write the present weights of all synapses as dataset `name`, on rank 0.

        From the file `before` initial weights are copied, and the ends of synapses that never move.
        """
        if not self.keeps_weights:
            return
        comm, network, shown = simulation.exchange.comm, simulation.network, simulation.engine.show_weights()
        real = simulation.engine.show_delays()
        problem = None
        for table, span in digest.list_tables(network):
            count = collectives.sum_over_ranks(comm, span.last - span.first)
            moved = ("source", "delay") if span.projection.rewire else ("delay",) if span.projection.learn_delay else ()
            columns = (*ENDS, "weight") if name == "weight_initial" or moved else ("weight",)
            parts = [(columns, name, digest.hash_synapses(comm, table, span, shown.get(id(table))))]
            if name == "weight" and span.projection.name in real:
                delay = real[span.projection.name]
                parts.append((("weight",), "delay_real", digest.hash_synapses(comm, table, span, delay, span.first)))
            for keys, kept_as, part in parts:
                place = 0
                for records in part:
                    try:
                        group = _write_projection(file, span.projection, count)
                        for key in keys if problem is None else ():
                            group[kept_as if key == "weight" else key][place : place + len(records)] = records[key]
                    except OSError as error:  # raised later: other ranks still send
                        problem = error
                    place += len(records)
            if before is not None and count and problem is None:
                try:
                    _copy_initial(before, file, span.projection.name, moved)
                except OSError as error:
                    problem = error
        if problem is not None:
            raise problem


def gather_parameters(simulation: Watched) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Collective: return on rank 0 initial and present values of parameters that learn, by name."""
    parameters, comm = simulation.engine.parameters, simulation.exchange.comm
    return {
        item.name: (
            parameters.gather_values(comm, item.initial, item),
            parameters.gather_values(comm, item.values, item),
        )
        for item in parameters.items
    }


def _collect_episode(simulation: Watched, outcome: Outcome) -> dict[str, np.ndarray]:
    """Return the arrays of an episode: decisions, rewards, observations, and values that the loss computed."""
    rollout = outcome.sample.rollout
    assert rollout is not None and outcome.evaluation is not None  # an episode has both
    arrays = {"decision_steps": rollout.when, "action": rollout.actions, "reward": rollout.rewards}
    arrays |= {key: value for key, value in outcome.evaluation.extra.items() if key != "entropy"}
    return arrays | (simulation.episodes.collect_dynamics() if simulation.episodes else {})


def _write_projection(file: h5py.File, projection: Projection, count: int) -> h5py.Group:
    group = file.require_group(f"projections/{projection.name}")
    if "weight" not in group:
        columns = {"source": "i8", "target": "i8", "delay": "i4", "weight_initial": "f8", "weight": "f8"}
        columns |= {"delay_real": "f8"} if projection.learn_delay else {}
        for key, kind in columns.items():
            group.create_dataset(key, (count,), kind)
            name_axes(group, key, ("synapse",), projection.weight_unit if key.startswith("weight") else "")
        pre, post = projection.pre, projection.post
        group.attrs.update(pre=pre.name, post=post.name, n_pre=pre.size, n_post=post.size)
    return group


def _copy_initial(before: h5py.File, file: h5py.File, projection: str, moved: tuple[str, ...]) -> None:
    """Copy initial weights of a projection and ends of its synapses; ends that `moved` as datasets `..._initial`."""
    with files.report_read_errors(before.filename):
        source, target = (each[f"projections/{projection}"] for each in (before, file))
        names = {key: key for key in ("weight_initial", *(() if moved else ENDS))}
        for key in moved:  # targets stay, and so does the order
            kept = f"{key}_initial"  # in the file after an earlier part of the run
            names[kept] = kept if kept in source else key
            target.create_dataset(kept, target[key].shape, target[key].dtype)
            name_axes(target, kept, ("synapse",))
        for key, old in names.items():
            for low in range(0, len(target[key]), BLOCK):
                target[key][low : low + BLOCK] = source[old][low : low + BLOCK]


def find_damage(path: Path, counts: Mapping[str, int]) -> str:
    """Return a line on damage in the results of a run that is to be resumed, "" without any.

    `counts` has the number of synapses by projection. Raises an `InputError` if the path is not a file, is a link, or
    the file belongs to another network.
    """
    try:
        if path.is_symlink():
            raise files.Unfit(errno.EINVAL, "is a link")
        with files.open_hdf5(path) as file, files.report_read_errors(path):
            if (given := file.attrs.get("format")) != files.RUN_FORMAT:
                return f"{path} is not the result of a run: attribute format is {quote(given)}"
            for value in file.attrs.values():
                str(value).encode()  # an attribute that is not text can't be written again
            for name, count in counts.items():
                for key in (*ENDS, "weight_initial") if count else ():
                    _read_through(path, file[f"projections/{name}/{key}"], count)
    except files.CorruptFile as problem:
        return f"{path} {problem.strerror}"
    except OSError as problem:
        linked = isinstance(problem, files.LinkedFile)  # a run writes no links: of a flipped bit, or of somebody else
        if (isinstance(problem, files.Unfit) and not linked) or problem.errno in (errno.EACCES, errno.EPERM):
            raise InputError(f"results {path}: {describe_os_error(problem)}") from None
        return f"{path} is damaged: {describe_os_error(problem)}"
    return ""


def _read_through(path: Path, column: h5py.Dataset, count: int) -> None:
    if column.shape != (count,) or column.dtype.kind not in "if":
        name = column.name.strip("/")
        wrong = f"{name} must be {count} numbers, as the run left; without the file, it is written anew"
        raise InputError(f"results {path}: {wrong}")
    for low in range(0, count, BLOCK):
        column[low : low + BLOCK]


@contextmanager
def edit_file(simulation: Watched, path: Path, n_bytes: int) -> Iterator[h5py.File | None]:
    """Collective context manager: write a new file under a temporary name, which replaces `path` at the end.

    Rank 0 gets the open file, other ranks get None. An error of the file system is raised as a `StateError` on all
    ranks; collective calls in the block must end before rank 0 raises one. `n_bytes` is the expected size, checked
    against the free disk space.
    """
    comm, part = simulation.exchange.comm, path.with_suffix(".part")
    file, problem, opened = None, None, ExitStack()
    with on_disk(comm, "results", path):
        if simulation.exchange.rank == 0:
            require_space(path, n_bytes)
            file = opened.enter_context(write_hdf5(remove_leftover(part), "x+"))
    try:
        try:
            with opened:
                yield file
        except (OSError, RuntimeError) as error:  # RuntimeError: HDF5 refuses
            problem = StateError(f"results {path}: {describe_os_error(error) if isinstance(error, OSError) else error}")
        with on_disk(comm, "results", path):
            if file is not None and problem is None:
                replace_path(part, path)
        collectives.raise_together(comm, problem)
    except BaseException:
        if file is not None:
            with suppress(OSError):
                part.unlink()
        raise


def choose_evenly(n: int, count: int) -> np.ndarray:
    """Return at most `count` ids evenly spread over [0, n)."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).astype(np.int64))
