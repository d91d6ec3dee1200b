"""The configuration of a script's run: its network as tables, and the name of the task that makes its samples."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, PrivateAttr

from .. import files, hdf5
from ..engines.base import Settings
from ..engines.sample import Sample
from ..errors import InputError
from ..later import h5py
from ..network import identity, to_tables
from ..network.learning import rules_by_name
from ..network.model import Model, equations_of
from ..neurons.model import models_of
from ..parallel.spike_log import SpikeLog
from ..rules.definition import read_rules
from ..simulation.checks import count_available
from ..simulation.task import ClosedTask, Task
from ..storage.disk import remove_leftover, require_space, write_hdf5
from ..tasks import TASKS
from ..tasks.base import LEARNING, MODEL, RUN, TaskBase, name_outputs
from ..values import AnyValue, Values

ARRAYS, RESULTS = "network.h5", "results.h5"  # next to the configuration


class ScriptTask(TaskBase):
    """Settings of a run with a model and a task of a script."""

    summary: ClassVar[str] = "trained by a script"
    imports: ClassVar[tuple[str, ...]] = ("made_by", "task_settings")
    by_content: ClassVar[tuple[str, ...]] = ("name", "made_by", "task_settings", "not_described", *to_tables.KEYS)

    seed: int = Field(1, ge=0, lt=2**63, description="seed of the network")
    stop_above: float | None = Field(
        None, json_schema_extra=RUN, description="stop when the mean return of a validation is above it"
    )
    neuron_models: Values = Field(
        {}, json_schema_extra={"section": "neuron_models"}, description="neuron models of the network"
    )
    learning_rules: Values = Field(
        {}, json_schema_extra={"section": "learning_rules"}, description="learning rules of the network"
    )
    script: str = Field("", json_schema_extra=RUN, description="script that trained this run")
    dt_ms: float = Field(1.0, json_schema_extra=MODEL, description="step in ms")
    not_described: str = Field(
        "no tables describe it",
        json_schema_extra=MODEL,
        description="why the network is not described here; empty if it is",
    )
    optimizer: Values = Field({}, json_schema_extra=LEARNING, description="optimizer, unless a projection names one")
    loss: Values = Field({}, json_schema_extra=LEARNING, description="loss of episodes with rewards")
    local_readouts: Values = Field({}, json_schema_extra=MODEL, description="readouts of single neurons")
    populations: tuple[Values, ...] = Field(
        (), json_schema_extra=MODEL, description="name, role, size, model, and NEST's parameters of the model"
    )
    projections: tuple[Values, ...] = Field(
        (), json_schema_extra=MODEL, description="ends, and options of Model.connect; long arrays lie in network.h5"
    )
    backgrounds: tuple[Values, ...] = Field(
        (), json_schema_extra=MODEL, description="Poisson background of neurons: post, rate_hz, weight, port, name"
    )
    perturbations: tuple[Values, ...] = Field(
        (), json_schema_extra=MODEL, description="perturbations in some phases: kind, of, phases, options"
    )
    made_by: str = Field("", description="what makes the samples: a task of the package, or a class of the script")
    task_settings: Values = Field({}, description="settings of a task of the package")
    steps: int = Field(1, ge=1, description="steps of a sample")
    window: int = Field(0, ge=0, description="last steps of a sample with a learning signal")
    engine: Values = Field({}, description="settings of the variant of e-prop")
    _model: Model | None = PrivateAttr(None)
    _subject: AnyValue = PrivateAttr(None)
    _folder: Path | None = PrivateAttr(None)
    _arrays: dict[str, np.ndarray] = PrivateAttr({})

    def set_script_objects(self, model: Model, task: object = None, arrays: to_tables.Arrays | None = None) -> None:
        """Set the model and the task of a script, and the arrays that the tables refer to."""
        self._model, self._subject, self._arrays = model, task, arrays or {}

    @property
    def has_subject(self) -> bool:
        """Whether there is a task that makes the samples."""
        return self._find_subject() is not None

    def set_folder(self, folder: Path) -> None:
        """Set the folder of the configuration, where arrays and results lie."""
        self._folder = folder

    @property
    def name(self) -> str:  # type: ignore[override]  # others are classes of one name
        """Name of the class that makes the samples."""
        return self.made_by

    @property
    def figure(self) -> str:  # type: ignore[override]
        """Kind of the task's own figure."""
        return str(getattr(self._find_subject(), "figure", ""))

    @property
    def subject(self) -> Task | ClosedTask:
        """The task of the script or of the package; without one, the samples that the results keep."""
        subject = self._find_subject()
        return StoredSamples(self, self._folder or Path()) if subject is None else subject

    def _find_subject(self) -> AnyValue:
        if self._subject is None and self.made_by in TASKS:
            self._subject = TASKS[self.made_by](**self.task_settings)
            self._subject.mark_untrusted(self._untrusted_origin)
        return self._subject

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return self.steps

    @property
    def learning_window(self) -> int:
        """Last steps of a sample with a learning signal."""
        return self.window

    def make_settings(self) -> Settings:
        """Return the settings of the variant."""
        return self.eprop.engine.settings_type(**{"learning_window": self.window, **self.engine})

    def list_attributes(self) -> Values:
        """Return attributes of the results that figures read."""
        subject = self._find_subject()
        own = getattr(subject, "list_attributes", None)
        return own() if callable(own) else name_outputs(getattr(subject, "classes", None))

    def list_fingerprints(self) -> Values:
        """Return nothing: samples are compared by `SampleChecksums`."""
        return {}

    def list_network_facts(self) -> dict[str, str]:
        """Return all values that the script gave to its network, name to value as text."""
        return identity.list_facts(self.build_model(), "train")

    def require_samples(self) -> None:
        """Raise `InputError` if there is no task that makes the samples, or it has too few of them."""
        if not self.has_subject:
            raise InputError(
                f"a script trained this run, and its class {self.made_by} makes the samples: "
                f"pareprop.run(..., restart=True) in {self.script or 'the script'} continues it"
            )
        self._require_available()

    def _require_available(self) -> None:
        """Raise `InputError` if more samples are asked for than the task has for validation or test."""
        stops = bool(self.stop_below) or self.stop_above is not None
        validates, test = bool(self.validate_every), self.test_samples
        ends = validates and not test and (stops or bool(self.patience))
        for name, phase, asked, why in (
            ("validate_samples", "validate", self.validate_samples * validates, ""),
            ("stop_samples", "validate", self.stop_samples * (validates and stops), ""),
            ("test_samples", "test", test or int(ends), ", as after an early stop," if ends else ""),
        ):
            most = count_available(self.subject, phase)
            if most is not None and asked > most:
                what = f"the samples that {self.made_by} has to {phase}"
                raise InputError(f"{name} = {asked}{why} must be at most {most}, {what}")

    def describe_resume(self, directory: Path) -> str:
        """Return the command or call that continues a run in a directory."""
        if self.made_by in TASKS and not self.not_described:
            return super().describe_resume(directory)
        return f"pareprop.run(..., out={str(directory)!r}, restart=True)"

    def build_model(self) -> Model:
        """Return the script's network, or the one that the tables describe."""
        if self._model is not None:
            return self._model
        if self.not_described:
            raise InputError(
                f"a script trained this run, and only {self.script or 'the script'} has its network: "
                f"{self.not_described}"
            )
        own = models_of(self.neuron_models, ""), read_rules(self.learning_rules, "")
        return to_tables.build_model(self.model_dump(), self._read_arrays(), *own)

    def _read_arrays(self) -> dict[str, np.ndarray]:
        path = (self._folder or Path()) / ARRAYS
        if not path.exists():
            return {}
        arrays: dict[str, np.ndarray] = {}
        with (
            files.input_errors(path),
            files.open_hdf5(files.require_own_file(path)) as file,
            files.report_read_errors(path),
        ):
            file.visititems(lambda name, item: arrays.update({name: item[()]}) if _is_array(item) else None)
        return arrays

    def write_files(self, directory: Path) -> None:
        """Write the arrays of the network next to the configuration; remove arrays of another run."""
        arrays, path = self._arrays, directory / ARRAYS
        if self._folder is not None:
            if self._folder.resolve() == directory.resolve():  # they are there
                return
            arrays = self._read_arrays()
        if not arrays:
            path.unlink(missing_ok=True)
        elif not holds_arrays(path, arrays):
            part = remove_leftover(directory / f"{ARRAYS}.part")
            require_space(part, sum(array.nbytes for array in arrays.values()))
            with write_hdf5(part, "x+") as file:
                for name, array in arrays.items():
                    file[name] = array
            os.replace(part, path)


def holds_arrays(path: Path, arrays: dict[str, np.ndarray]) -> bool:
    """Return whether a file has these arrays and no others: large ones are not written again."""
    names: list[str] = []
    try:
        with files.open_hdf5(files.require_own_file(path)) as file, files.report_read_errors(path):
            file.visititems(lambda name, item: names.append(name) if _is_array(item) else None)
            same = (np.array_equal(file[name][()], arrays[name], equal_nan=True) for name in names)
            return {*names} == {*arrays} and all(same)
    except OSError:  # there is none, or it is damaged
        return False


def _is_array(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.kind in "iufb"


class StoredSamples:
    """A task with the samples that the results of a run contain, for use without the script."""

    def __init__(self, task: ScriptTask, folder: Path) -> None:
        self._task, self._path = task, folder / RESULTS
        self.n_steps, self.learning_window = task.steps, task.window

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return a sample if the results keep it, else the first one that they keep."""
        name = self._task.list_recorded_samples().get((phase, index), "first")
        with files.open_results(self._path) as file:
            kept = (hdf5.find_child(file, f"dynamics/{known}") for known in (name, "first", "last"))
            group = next((each for each in kept if each is not None), None)
            if group is None or self._task.build_model().size("current"):
                why = "its input currents are not in" if group is not None else "no sample is in"
                raise InputError(f"a script makes the samples of this run, and {why} {self._path}")
            steps, ids = hdf5.read_values(group, "input_steps"), hdf5.read_values(group, "input_ids")
            target = hdf5.read_values(group, "target_signal", 2)
        if steps is None or ids is None:
            raise InputError(f"{self._path}: no input spikes of sample '{name}'")
        ptr = np.searchsorted(steps, np.arange(self.n_steps + 1))
        return Sample(SpikeLog.from_arrays(ids.astype(np.uint32), ptr), target)


def describe_script(model: Model, task: AnyValue) -> tuple[Values, to_tables.Arrays]:
    """Return the settings that describe a script's network and task, and the arrays that they refer to."""
    rule, window = model.optimizer, getattr(task, "learning_window", task.n_steps)
    own = getattr(task, "make_settings", None)
    engine = {k: v for k, v in dataclasses.asdict(own()).items() if v is not None} if callable(own) else {}
    made_by, of_package = type(task).__name__, isinstance(task, TaskBase)
    arrays: to_tables.Arrays = {}
    try:
        tables, arrays = to_tables.describe_model(model)
        tables["not_described"] = ""
        tables["learning_rules"] = {name: rule.to_dict() for name, rule in rules_by_name(model).items()}
    except InputError as problem:
        tables = {"not_described": str(problem), "dt_ms": model.dt_ms}
    settings = {
        "variant": model.variant,
        "precision": model.precision,
        "seed": model.seed,
        "eta": rule.eta,
        "batch_size": rule.batch_size,
        "script": Path(sys.argv[0]).name,
        "neuron_models": {name: item.to_dict() for name, item in equations_of(model).items()},
        "made_by": task.name if of_package else made_by,
        "task_settings": task.model_dump(mode="json", exclude_none=True, exclude_unset=True) if of_package else {},
        "steps": task.n_steps,
        "window": window,
        "engine": engine,
        **tables,
    }
    return settings, arrays
