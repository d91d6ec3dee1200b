"""Read the results of a run in a script or a notebook: each table as NumPy arrays by name, or as a pandas frame."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from .. import files, hdf5
from ..errors import InputError, quote
from ..later import h5py
from ..machine import require_bytes
from ..network.parameters import suggest_name
from ..simulation.returns import NAMES, Returns
from ..simulation.score import Score
from ..values import Foreign, Values

ROLES = {"neurons": ("recurrent", "spike"), "inputs": ("input", "input")}  # of a word: role, begin of names of columns
EVERY = 0, 2**63 - 1  # ids of all cells of a role, half-open
WORDS = {"dynamics": "sample", "projections": "projection", "populations": "population"}  # word for items of a group
MAX_CLASS = 9999  # higher classes are refused: a confusion matrix has their square


EPOCH = ("epoch", "iteration", "loss", "loss_per_step", "accuracy", "validation_loss", "validation_accuracy")


class Columns(dict):
    """NumPy arrays of equal length by name; `to_pandas()` makes a frame of them."""

    def to_pandas(self) -> Foreign:
        """Return the columns as a pandas.DataFrame; pandas must be installed."""
        import pandas

        return pandas.DataFrame(dict(self))

    def __repr__(self) -> str:
        n = len(next(iter(self.values()), ()))
        return f"Columns({', '.join(self)}; {n} rows)"


def _find_group(path: Path, file: h5py.File, kind: str, name: str) -> h5py.Group:
    known = list(file.get(kind, ()))
    if name not in known:
        more = "; --set record.test=N keeps the first N samples of the test" * (kind == "dynamics")
        raise InputError(f"{path}: no {WORDS[kind]} {quote(name)}{suggest_name(str(name), known)}{more}")
    group = file[f"{kind}/{name}"]
    if not isinstance(group, h5py.Group):
        raise InputError(f"{path}: {kind}/{name} is not what a run writes")
    return group


class RunResults:
    """Results of a run, read when they are needed; no file stays open.

    Parameters
    ----------
    directory : Path
        The run directory.

    Attributes
    ----------
    attributes : dict
        Attributes of `results.h5`: task, variant, seed, dt_ms, digest and more.
    config : dict of str to dict
        The configuration by section.
    losses : Columns
        `iteration`, `loss`, `firing_rate` (Hz), `error` where samples have classes, `gradient_norm` with
        `max_norm`.
    validations : Columns
        `iteration`, `value`.
    test : Score or None
        Score of the final test: the mean loss, with `accuracy`, `interval`, `confusion`, `counts`, `episodes`.
    populations, projections : list of str
        Names for `parameters` and `weights`.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.path = directory, directory / "results.h5"
        with files.open_results(self.path) as file:
            self.attributes = dict(file.attrs)
            self.projections = list(file.get("projections", ()))
            self.populations = list(file.get("populations", ()))
            self.samples = list(file.get("dynamics", ()))

    @cached_property
    def config(self) -> Values:
        """Configuration by section."""
        with files.open_results(self.path) as file:
            return hdf5.list_sections(file)

    @cached_property
    def losses(self) -> Columns:
        """Iteration (from 1), loss, firing rate in Hz; error if samples have classes; means of episodes; norms."""
        episodes = ("mean_return", "mean_length", "entropy", "value_error")
        names = ("loss", "firing_rate", "error", *episodes, "gradient_norm")
        with files.open_results(self.path) as file:
            columns = hdf5.read_columns(file, [name for name in names if name in file])
        return Columns(iteration=np.arange(1, len(columns.get("loss", ())) + 1), **columns)

    @cached_property
    def validations(self) -> Columns:
        """Iteration, value (error, loss or return) and loss of each validation."""
        with files.open_results(self.path) as file:
            group = file.get("validation", {})
            names = ("iteration", "value", *(["loss"] if "loss" in group else []))
            return Columns(
                {name: hdf5.require_dataset(group, name) if name in group else np.zeros(0) for name in names}
            )

    @cached_property
    def epochs(self) -> Columns:
        """Loss and accuracy, also of the validation, of each pass through training data that have an end.

        Columns epoch, iteration (those done at its end), loss, loss_per_step, accuracy, validation_loss,
        validation_accuracy; NaN where there is none.
        """
        with files.open_results(self.path) as file:
            group = file.get("epochs", {})
            return Columns(hdf5.read_columns(group, EPOCH)) if group else Columns()

    @cached_property
    def test(self) -> Score | None:
        """Score of the final test; None without a test."""
        with files.open_results(self.path) as file:
            group = file.get("test")
            if group is None:
                return None
            if not isinstance(group, h5py.Group):
                raise InputError(f"{self.path}: test is not what a run writes")
            losses = hdf5.read_columns(group, ["loss"])["loss"]
            classes = hdf5.read_columns(group, ("labels", "predictions") if "labels" in group else ())
            for name, values in classes.items():
                if len(values) and (values.dtype.kind not in "iu" or min(values) < 0 or max(values) > MAX_CLASS):
                    raise InputError(f"{self.path}: test/{name} must be classes 0, 1, ... {MAX_CLASS}")
            episodes = Returns.from_arrays({name: hdf5.require_dataset(group, name) for name in NAMES if name in group})
            n_classes = int(group.attrs.get("n_classes", 0))
            labels, predictions = (classes.get(name, ()) for name in ("labels", "predictions"))
            return Score(losses, labels, predictions, episodes, min(n_classes, MAX_CLASS + 1))

    def spikes(self, sample: str = "last", of: str = "neurons") -> Columns:
        """Return `step`, `time_ms` (as in NEST, (step + 1) dt) and `id` of the spikes of a recorded sample.

        Parameters
        ----------
        sample : str
            One of `samples`, such as "first" or "last".
        of : str
            "neurons", "inputs", or the name of a population, whose cells then count from 0.
        """
        known = {word: (prefix, *EVERY) for word, (_, prefix) in ROLES.items()}
        for role, prefix in ROLES.values() if of not in known else ():
            known |= {name: (prefix, first, last) for name, first, last in self.cells(role)}
        if of not in known:
            raise InputError(f"of = '{of}' must be 'neurons' or 'inputs', or a population{suggest_name(of, known)}")
        prefix, first, last = known[of]
        with files.open_results(self.path) as file:
            group = _find_group(self.path, file, "dynamics", sample)
            step, ids = hdf5.read_columns(group, (f"{prefix}_steps", f"{prefix}_ids")).values()
            mine = (ids >= first) & (ids < last)
            step = step[mine]
            return Columns(step=step, time_ms=(step + 1) * float(self.attributes["dt_ms"]), id=ids[mine] - first)

    def cells(self, role: str) -> list[tuple[str, int, int]]:
        """Return the populations of a role, "input" or "recurrent": name, first id, and one past the last id."""
        found = [(name, self.attributes_of(name)) for name in self.populations]
        try:
            mine = sorted(
                (int(about["order"]), name, int(about["size"])) for name, about in found if about["role"] == role
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise InputError(f"{self.path}: populations are not what a run writes: {problem}") from None
        ends = np.cumsum([size for _, _, size in mine]).tolist()
        return [(name, end - size, end) for (_, name, size), end in zip(mine, ends, strict=True)]

    def to_neo(self, sample: str = "last", of: str = "neurons") -> Foreign:
        """Return the spikes of a recorded sample for Elephant; the package neo must be installed.

        Parameters
        ----------
        sample : str
            One of `samples`, such as "first" or "last".
        of : str
            "neurons" or "inputs".

        Returns
        -------
        neo.Segment
            A spike train in ms for each cell, silent ones too, with `population`, `id` (in the population) and `gid`.
        """
        import neo

        if of not in ROLES:
            raise InputError(f"of = '{of}' must be 'neurons' or 'inputs'")
        spikes, cells = self.spikes(sample, of), self.cells(ROLES[of][0])
        ends = {len(values) for values in self.signals(sample).values()}
        dt = float(self.attributes["dt_ms"])
        stop = dt * max([*ends, *(spikes["step"] + 1)], default=0)
        segment = neo.Segment(name=sample, description=f"{self.directory}, sample '{sample}'")
        ids, times = spikes["id"], spikes["time_ms"]
        order = np.argsort(ids, kind="stable")
        own = np.searchsorted(ids[order], np.arange(cells[-1][2] + 1 if cells else 1))
        for name, first, last in cells:
            for gid in range(first, last):
                mine = times[order[own[gid] : own[gid + 1]]]
                about_cell = {"population": name, "id": gid - first, "gid": gid}
                segment.spiketrains.append(neo.SpikeTrain(mine, units="ms", t_stop=stop, **about_cell))
        return segment

    def signals(self, sample: str = "last") -> dict[str, np.ndarray]:
        """Return the recorded signals of a sample by name, (steps, neurons or readouts) each."""
        with files.open_results(self.path) as file:
            group = _find_group(self.path, file, "dynamics", sample)
            return {name: hdf5.require_dataset(group, name, 2) for name, data in group.items() if data.ndim == 2}

    def weights(self, projection: str) -> Columns:
        """Return `source`, `target`, `delay` (steps), `weight_initial` and `weight` of all synapses of a projection.

        If its delays learn, `delay_initial` and `delay_real`, too.
        """
        with files.open_results(self.path) as file:
            files.require_weights(file)
            group = _find_group(self.path, file, "projections", projection)
            more = [name for name in ("delay_initial", "delay_real") if "delay_real" in group and name in group]
            return Columns(hdf5.read_columns(group, ("source", "target", "delay", *more, "weight_initial", "weight")))

    def sizes_of(self, projection: str) -> tuple[int, int]:
        """Return the numbers of sources and targets of a projection."""
        with files.open_results(self.path) as file:
            group = _find_group(self.path, file, "projections", projection)
            return int(group.attrs["n_pre"]), int(group.attrs["n_post"])

    def attributes_of(self, population: str) -> Values:
        """Return role, model, size and order of a population, and the parameters that all of its cells share."""
        with files.open_results(self.path) as file:
            return dict(_find_group(self.path, file, "populations", population).attrs)

    def parameters(self, population: str) -> Columns:
        """Return NEST's parameters of all cells of a population, drawn values included, one value per cell."""
        with files.open_results(self.path) as file:
            group = _find_group(self.path, file, "populations", population)
            size = int(group.attrs["size"])
            require_bytes(8 * size * len(group.attrs), f"{self.path}: {group.name}")
            columns = {
                name: np.full(size, value)
                for name, value in group.attrs.items()
                if name not in ("role", "model", "size", "order")
            }
            columns |= {name: hdf5.require_dataset(group, name) for name in group if name != "neuron"}
            return Columns(neuron=np.arange(size), **dict(sorted(columns.items())))

    def __repr__(self) -> str:
        losses = self.losses["loss"]
        course = f", loss {losses[0]:.4g} to {losses[-1]:.4g}" if len(losses) else ""
        return f"OpenRun({self.directory}: {self.attributes.get('task', '?')}, {len(losses)} iterations{course})"
