"""A network of the user, given as populations and projections, trained on a data file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from ..engines.sample import Sample
from ..errors import InputError, escape_unprintable, quote
from ..exchange_formats.event_reader import Folder, Gestures, Spoken, open_recordings
from ..network import from_tables
from ..network.model import Model, equations_of
from ..network.optimizers import OPTIMIZERS, GradientDescent, Optimizer, OptimizerName
from ..network.parameters import is_whole, suggest_name
from ..neurons import library
from ..neurons.model import models_of
from ..rules import library as rule_library
from ..rules.definition import read_rules
from ..sonata import circuit
from ..values import AnyValue, Given, Values
from .base import LEARNING, MODEL, TaskBase, name_outputs
from .datafile import DataFile
from .event_samples import EventSamples
from .input_spikes import InputSpikes

# settings that populations depend on
OF_NEURONS = {"variant", "dt_ms", "sonata_options", "local_readouts", "neuron_models", "learning_rules"}
ADD = {  # functions that add the tables of a setting to a network with populations
    "projections": from_tables.add_projections,
    "backgrounds": from_tables.add_backgrounds,
    "perturbations": from_tables.add_perturbations,
}
NEEDED = {  # settings that must be valid before a table is checked
    "populations": OF_NEURONS,
    "projections": OF_NEURONS | {"populations"},
    "backgrounds": OF_NEURONS | {"populations", "projections"},
    "perturbations": OF_NEURONS | {"populations", "projections"},
}
OF_EVENTS = ("test_data", "step_us", "sensor_size", "pool", "label_from")  # settings of event recordings


def _check_order(value: float, info: ValidationInfo) -> float:
    if value < info.data.get("Wmin", value):
        raise ValueError(f"must be at least Wmin = {info.data['Wmin']}")
    return value


def _check_decay(value: float | None, info: ValidationInfo) -> float | None:
    if value is not None and info.data.get("optimizer", "adamw") != "adamw":
        raise ValueError(f"is a setting of optimizer = 'adamw', not of '{info.data['optimizer']}'")
    return value


def _check_neuron_models(value: Values, info: ValidationInfo) -> Values:
    with _convert_input_errors():
        models = models_of(value, "")
        if "variant" in info.data:
            Model(info.data["variant"], neuron_models=models)
        return {name: model.to_dict() for name, model in models.items()}


def _check_rules(value: Values) -> Values:
    with _convert_input_errors():
        return {name: rule.to_dict() for name, rule in read_rules(value, "").items()}


def _check_sonata(value: Values, info: ValidationInfo) -> Values:
    known = ("sign", "neuron", "values", "projections", "round_delays", "default_weight", "default_delay")
    if unknown := [key for key in value if key not in known]:
        raise ValueError(f"unknown option '{unknown[0]}'{suggest_name(unknown[0], known)}")
    if info.data.get("sonata") and {"variant", "dt_ms", "neuron_models", "learning_rules"} <= info.data.keys():
        with _convert_input_errors():
            _make_empty_model(info.data | {"sonata_options": value})
    return value


def _check_tables(value: tuple[Values, ...], info: ValidationInfo) -> tuple[Values, ...]:
    """Build the network up to these tables, unless a setting before them is invalid."""
    if info.data.keys() >= NEEDED[str(info.field_name)]:
        model = _build_model(info.data, optimizer=GradientDescent(batch_size=info.data.get("batch_size", 1)))
        if info.field_name == "populations":
            local = info.data["local_readouts"]
            _raise_problems(from_tables.add_populations(model, value, ("recurrent",) if local else from_tables.NEEDED))
            _raise_problems(from_tables.add_local_readouts(model, local), "local_readouts")
        else:
            _raise_problems(ADD[str(info.field_name)](model, value))
    return value


Tables = Annotated[tuple[Values, ...], AfterValidator(_check_tables)]


class Data(TaskBase):
    """Samples of a file (see `datafile`): the first `n_train` train in turn, the others validate or test.

    If a training both validates and tests, the last `test_samples` samples test, and do not validate.
    """

    name: ClassVar[str] = "data"
    summary: ClassVar[str] = "populations and projections of your own, trained on data of a file"
    figure: ClassVar[str] = "readout"
    generated: ClassVar[bool] = False
    by_content: ClassVar[tuple[str, ...]] = ("data", "test_data")
    variant_defaults: ClassVar[dict[str, dict]] = {"spike": {"optimizer": "gradient_descent", "eta": 1e-5}}

    eta: float = Field(1e-3, ge=0, description="learning rate")
    optimizer: OptimizerName = Field(
        "adam", json_schema_extra=LEARNING, description="optimizer, unless a projection names one"
    )
    Wmin: float = Field(-100.0, json_schema_extra=LEARNING, description="lowest weight")
    Wmax: Annotated[float, AfterValidator(_check_order)] = Field(
        100.0, validate_default=True, json_schema_extra=LEARNING, description="highest weight"
    )
    max_norm: float | None = Field(
        None,
        gt=0,
        json_schema_extra=LEARNING,
        description="largest norm of the gradient of all weights; a larger gradient is scaled down (interval variant)",
    )
    weight_decay: Annotated[
        float | None,
        Field(
            ge=0,
            json_schema_extra=LEARNING,
            description="share of a weight that optimizer adamw takes away in a step, divided by eta [0.01]",
        ),
        AfterValidator(_check_decay),
    ] = None
    dt_ms: float = Field(1.0, gt=0, json_schema_extra=MODEL, description="step in ms")
    neuron_models: Annotated[Values, AfterValidator(_check_neuron_models)] = Field(
        {},
        json_schema_extra={"section": "neuron_models"},
        description="custom neuron models that populations may name, and the models of the package that they name",
    )
    learning_rules: Annotated[Values, AfterValidator(_check_rules)] = Field(
        {},
        json_schema_extra={"section": "learning_rules"},
        description="custom learning rules that projections may name, and the rules of the package that they name",
    )
    sonata: Path | None = Field(
        None,
        json_schema_extra=MODEL,
        description="circuit_config.json of a SONATA network, or a simulation_config.json with its input spikes",
    )
    sonata_options: Annotated[Values, AfterValidator(_check_sonata)] = Field(
        {},
        validate_default=True,
        json_schema_extra=MODEL,
        description="sign, neuron, values, projections, round_delays, default_weight, default_delay of the network",
    )
    local_readouts: Values = Field(
        {},
        json_schema_extra=MODEL,
        description="readouts of single neurons: name, of (populations, else all), tau_m, tau_rise, weight, feedback, "
        "loss, trials",
    )
    populations: Tables = Field(
        from_tables.POPULATIONS,
        json_schema_extra=MODEL,
        description="name, role, size, model, and NEST's parameters of the model",
    )
    projections: Tables = Field(
        from_tables.PROJECTIONS,
        validate_default=True,
        json_schema_extra=MODEL,
        description="ends, rule, weight (number, mean and std, low and high, or gain), delay in steps or delay_ms",
    )
    backgrounds: Tables = Field(
        (),
        validate_default=True,
        json_schema_extra=MODEL,
        description="Poisson background of neurons: post, rate_hz, weight, port, name",
    )
    perturbations: Tables = Field(
        (),
        validate_default=True,
        json_schema_extra=MODEL,
        description="perturbations in some phases: kind, of, phases, start_ms, stop_ms, and options of the kind",
    )
    data: Path = Field(
        Path("data.npz"),
        description="HDF5 file (.h5) or .npz with samples; or recordings of events: file of SHD, folder, AEDAT",
    )
    test_data: Path | None = Field(None, description="recordings of events that test, as shd_test.h5")
    n_train: int = Field(
        0, ge=0, description="number of training samples, the first ones of the file; 0 for all that do not hold out"
    )
    n_validate: int | None = Field(None, ge=1, description="number of samples after them that validate")
    n_test: int | None = Field(None, ge=1, description="number of samples after those that test")
    steps: int | None = Field(None, ge=1, description="steps of a sample, if no array of the file has an axis of steps")
    step_us: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="microseconds of recorded events in a step [dt_ms]"
    )
    sensor_size: tuple[int, ...] | None = Field(
        None, description="numbers of values of x, y and p of events in a folder; files of SHD and AEDAT contain them"
    )
    pool: int = Field(1, ge=1, description="neighbouring values of x, and of y, of events that share an input")
    label_from: Literal["folder", "file"] = Field(
        "folder", description="what names the class of events in a folder: folder, or file as in Tonic's DVS128 Gesture"
    )
    shuffle: bool = Field(False, description="whether each pass through the training samples has a new random order")
    redraw: bool = Field(
        False, description="whether spikes of `rates` are drawn anew for each pass through the training samples"
    )
    window: int = Field(0, ge=0, description="last steps of a sample with a learning signal, 0 for all")

    @classmethod
    def find_defaults(cls, values: Given) -> Given:
        """Return the defaults of the variant; all held-out samples validate or test."""
        pairs = {"validate_samples": values.get("n_validate"), "test_samples": values.get("n_test")}
        given = {name: n for name, n in pairs.items() if n is not None and is_whole(n) and n > 0}
        return {**super().find_defaults(values), **given}

    @model_validator(mode="before")
    @classmethod
    def _complete_settings(cls, values: object) -> object:
        """Complete the settings that depend on tables or on a SONATA network."""
        return _add_package_models(_drop_default_tables(values)) if isinstance(values, Mapping) else values

    @cached_property
    def _file(self) -> DataFile | EventSamples:
        sizes = {role: self._cells.size(role) for role in ("input", "current", "readout")}
        sizes["local"] = sum(size for _, size in _list_local_spans(self._cells))
        if self._spikes is not None:
            sizes["input"] = 0  # inputs in the data file
        file = _open_samples(self, sizes)
        problems = DataSplit(self, file.n_samples, file.n_first).find_shortages()
        if self.window > file.n_steps:
            problems.append(f"window = {self.window} must be at most {file.n_steps}, the steps of a sample")
        if self.redraw and file.read_rates(0) is None:
            problems.append(f"redraw = True needs rates, from which spikes are drawn; {self.data} has none")
        if problems:
            raise InputError("; ".join(problems))
        return file

    @cached_property
    def _spikes(self) -> InputSpikes | None:
        """Spikes of virtual populations, if the SONATA configuration names files of them."""
        spike_files = circuit.read(self.sonata).spikes if self.sonata else []
        return InputSpikes(spike_files, self._cells) if spike_files else None

    @cached_property
    def _cells(self) -> Model:
        """The network without its projections."""
        return _build_model({name: value for name, value in self if name not in ADD})

    @property  # not cached: a cycle of references would keep the file open
    def split(self) -> DataSplit:
        """Samples of the file that each phase has."""
        return DataSplit(self, self._file.n_samples, self._file.n_first)

    @property
    def available(self) -> dict[str, int]:
        """Samples of the phases, see `Task`."""
        return {phase: len(part) for phase, part in self.split.parts.items()}

    def list_fingerprints(self) -> dict[str, str]:
        """Return digests of the data file, and of neuron models that files of SONATA name."""
        own = equations_of(self._cells)
        named = {f"neuron model '{name}'": item.digest for name, item in own.items() if name not in self.neuron_models}
        return {"fingerprint of data": self._file.compute_fingerprint()} | named

    def list_free_settings(self) -> set[str]:
        """Return settings that a resumed run may change; `test_samples` only without validations (shared samples)."""
        return super().list_free_settings() - ({"test_samples"} if self.validate_every else set())

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return self._file.n_steps

    @property
    def learning_window(self) -> int:
        """Last steps of a sample with a learning signal."""
        return self.window or self.n_steps

    def build_model(self) -> Model:
        """Return the network of the configuration; reads the header of the data file."""
        kind: Callable[..., Optimizer] = OPTIMIZERS[self.optimizer]
        own = {name: getattr(self, name) for name in ("max_norm", "weight_decay") if getattr(self, name) is not None}
        rule = kind(eta=self.eta, batch_size=self.batch_size, Wmin=self.Wmin, Wmax=self.Wmax, **own)
        model = _build_model(dict(self), seed=self.seed, optimizer=rule, precision=self.precision)
        _ = self._file  # reports problems of the file before anything is written
        return model

    def list_attributes(self) -> Values:
        """Return attributes of the results that the figures of this task read: names of the classes."""
        return name_outputs(self._file.classes)

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return sample `index` of a phase from the file."""
        turn, place = self.split.locate_sample(index, phase)
        target = self._file.read_target(place)
        others: Values = {}  # arguments of `Sample`, of several types
        if self.local_readouts:
            others["local_targets"] = partial(self._read_local_targets, place)
        if (currents := self._file.read_currents(place)) is not None:
            others["currents"] = currents
        if (label := self._file.read_label(place)) is not None:
            others["label"] = label
        if self._spikes is not None:
            return Sample(self._spikes.sample(place, self._file.n_steps), target, **others)
        rates = self._file.read_rates(place)
        if rates is not None:
            number = place + self._file.n_samples * turn if self.redraw and phase == "train" else place
            return Sample.from_rates(rates, target, self.seed, number, self.dt_ms, **others)
        return Sample(self._file.read_spikes(place), target, **others)

    def _read_local_targets(self, place: int, first: int, last: int) -> np.ndarray:
        """Return targets of neurons [first, last) of a population, (n_steps, n); the file has a column per neuron."""
        column = 0
        for offset, size in _list_local_spans(self._cells):
            if offset <= first < offset + size:
                return self._file.read_local_target(place, column + first - offset, column + last - offset)
            column += size
        raise IndexError(f"neuron {first} has no readout")


class DataSplit:
    """The parts of a file's samples that train, validate and test, by the settings of a task.

    Of `n_samples` samples the first `n_first` are of `data`, the others of `test_data`.
    """

    def __init__(self, task: Data, n_samples: int, n_first: int) -> None:
        self.task, self.n_samples, self.n_first = task, n_samples, n_first

    @property
    def _n_tested(self) -> int:
        """Samples of the test; at least one if the training may stop early."""
        return max(self.task.test_samples, int(self.task.stop_below > 0))

    def find_shortages(self) -> list[str]:
        """Return one problem for each number of samples that exceeds the samples of the file."""
        task, n_samples, n_first = self.task, self.n_samples, self.n_first
        if task.n_train > n_first:
            return [f"n_train = {task.n_train} must be at most {n_first}, the samples in {task.data}"]
        validates = bool(task.validate_every)
        asked = {
            "validate_samples": ("validate", task.validate_samples * validates),
            "stop_samples": ("validate", task.stop_samples * (validates and bool(task.stop_below))),
            "test_samples": ("test", self._n_tested),
        }
        counts = {name: getattr(task, name) or 0 for name in ("n_train", "n_validate", "n_test")}
        own = {} if task.test_data is None else {"n_test": counts.pop("n_test")}
        if own and own["n_test"] > n_samples - n_first:
            return [f"n_test = {own['n_test']} must be at most {n_samples - n_first}, the samples in {task.test_data}"]
        if (total := max(counts["n_train"], 1) + sum(list(counts.values())[1:])) > n_first:
            shown = ", ".join(f"{name} = {n}" for name, n in counts.items() if n)
            least = "" if counts["n_train"] else " and at least one that trains"
            return [f"{shown}{least} make {total} samples, {task.data} has {n_first}"]
        if not self._is_explicit and any(n for _, n in asked.values()) and not 0 < task.n_train < n_samples:
            where = f"{task.data} has {n_samples} samples, and those after the training ones validate and test"
            return [f"n_train = {task.n_train} must lie in 1 to {n_samples - 1}: {where}"]
        parts = self.parts
        if validates and not parts["validate"]:
            return [f"validate_every = {task.validate_every} needs n_validate: no samples of {task.data} validate"]
        return [
            f"{name} = {n} must be at most {len(parts[phase])}, the samples of "
            f"{task.test_data if phase == 'test' and task.test_data else task.data} that {phase}"
            for name, (phase, n) in asked.items()
            if n > len(parts[phase])
        ]

    @property
    def _is_explicit(self) -> bool:
        """Whether validation and test sets are given by size or by separate files."""
        task = self.task
        return task.n_validate is not None or task.n_test is not None or task.test_data is not None

    @cached_property
    def parts(self) -> dict[str, range]:
        """Samples of the file that each phase has, counted from 0."""
        task, n_samples, n_first = self.task, self.n_samples, self.n_first
        if task.test_data is not None:
            n_train = task.n_train or n_first - (task.n_validate or 0)
            validated = n_first if task.n_validate is None else n_train + task.n_validate
            last = n_samples if task.n_test is None else n_first + task.n_test
            return {"train": range(n_train), "validate": range(n_train, validated), "test": range(n_first, last)}
        if self._is_explicit:
            n_train = task.n_train or n_samples - (task.n_validate or 0) - (task.n_test or 0)
            between = 0 if task.n_test is None else n_samples - n_train - task.n_test
            first = n_train + (between if task.n_validate is None else task.n_validate)
            last = n_samples if task.n_test is None else first + task.n_test
            return {"train": range(n_train), "validate": range(n_train, first), "test": range(first, last)}
        n_train = task.n_train or n_samples
        both = task.validate_every and self._n_tested  # at least one sample validates
        first = max(n_samples - self._n_tested, n_train + 1) if both else n_train
        last = first if both else n_samples
        return {"train": range(n_train), "validate": range(n_train, last), "test": range(first, n_samples)}

    def locate_sample(self, index: int, phase: str) -> tuple[int, int]:
        """Return the pass through the samples of a phase, and the sample of the file."""
        task = self.task
        part = self.parts[phase if phase in ("train", "validate") else "test"]
        turn, place = divmod(index, len(part))
        if task.shuffle and phase == "train":
            place = int(np.random.default_rng([task.seed, turn]).permutation(len(part))[place])
        return turn, part[place]


def _drop_default_tables(values: Given) -> Given:
    """Drop the default populations and projections if there is a SONATA network."""
    return {"populations": (), "projections": (), **values} if values.get("sonata") else values


def _add_package_models(values: Given) -> Given:
    """Copy models and rules of the package that tables name into the settings: another version may change them."""
    values, options = {**values}, values.get("sonata_options", {})
    for key, tables, field, known, names in (
        ("neuron_models", "populations", "model", library, library.free_names()),
        ("learning_rules", "projections", "learning_rule", rule_library, rule_library.list_names()),
    ):
        own, entries = values.get(key, {}), values.get(tables, ())
        if isinstance(own, Mapping) and isinstance(entries, list | tuple):
            named = [entry.get(field) for entry in entries if isinstance(entry, Mapping)]
            named += [options.get("neuron")] if key == "neuron_models" and isinstance(options, Mapping) else []
            used = [name for name in dict.fromkeys(map(str, named)) if name in names and name not in own]
            values |= {key: {**own, **{name: known.get_definition(name).to_dict() for name in used}}} if used else {}
    return values


def _open_samples(task: Data, sizes: dict[str, int]) -> DataFile | EventSamples:
    by_file = task.label_from == "file"
    events = open_recordings(task.data, task.sensor_size, by_file=by_file)
    _refuse_unused(task, events)
    if events is None:
        return DataFile(task.data, sizes, task.steps)
    return EventSamples(
        task.data,
        events,
        task.test_data,
        sizes,
        steps=task.steps,
        step_us=1000.0 * task.dt_ms if task.step_us is None else task.step_us,
        pool=task.pool,
        by_file=by_file,
    )


def _refuse_unused(task: Data, events: Spoken | Gestures | Folder | None) -> None:
    """Raise `InputError` if a setting of event recordings, or of folders of them, has no use for this data file."""
    unused, needed = set(OF_EVENTS), f"needs recordings of events, {task.data} has none"
    if events is not None:
        foreign_size = {"sensor_size"} if task.sensor_size != events.sensor_size else set()
        unused = set() if isinstance(events, Folder) else {"label_from"} | foreign_size
        needed = f"needs a folder of recordings, {task.data} is none"
    fields = type(task).model_fields
    given = [name for name in OF_EVENTS if name in unused and getattr(task, name) != fields[name].default]
    shown = {name: getattr(task, name) for name in given}
    texts = [f"{name} = {value if isinstance(value, Path) else quote(value)}" for name, value in shown.items()]
    if texts:
        raise InputError("; ".join(f"{text} {needed}" for text in texts))


def _list_local_spans(model: Model) -> list[tuple[int, int]]:
    """Return first neuron and number of neurons of each population whose neurons have local readouts."""
    of = model.local.of if model.local else ()
    return [(model.offset(item), item.size) for item in model.of_role("recurrent") if item.name in of]


def _build_model(values: Given, **others: AnyValue) -> Model:
    """Return the network of the tables in `values`: populations, and then the other tables."""
    model = _make_empty_model(values, **others)
    if "populations" in values:
        local = values["local_readouts"]
        from_tables.add_populations(model, values["populations"], ("recurrent",) if local else from_tables.NEEDED)
        from_tables.add_local_readouts(model, local)
    for name, add in ADD.items():
        add(model, values.get(name, ()))
    return model


def _make_empty_model(values: Given, **others: AnyValue) -> Model:
    """Return the model before the tables are added: empty, or a SONATA network."""
    own = models_of(values["neuron_models"], "")
    others = {"variant": values["variant"], "dt_ms": values["dt_ms"], "neuron_models": own, **others}
    others["learning_rules"] = read_rules(values["learning_rules"], "")
    if not values.get("sonata"):
        return Model(**others)
    return Model.from_sonata(values["sonata"], **values["sonata_options"], **others)


def _raise_problems(problems: list[str], key: str | None = None) -> None:
    """Raise an error with these problems, if there are any, for `key` or else for the key under validation."""
    if problems:
        problems = list(map(escape_unprintable, problems))  # pydantic fails on text that UTF-8 cannot write
        context = {"text": "; ".join(problems), "problems": problems, "key": key}
        raise PydanticCustomError("problems", "{text}", context)


@contextmanager
def _convert_input_errors() -> Iterator[None]:
    """Context that turns an `InputError` into a problem of the key under validation."""
    try:
        yield
    except InputError as problem:
        _raise_problems([str(problem)])
