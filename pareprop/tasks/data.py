"""A network of the user, given as populations and projections, trained on a data file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..engines.sample import Sample
from ..errors import InputError, printable, quote
from ..exchange_formats.event_reader import Folder, Gestures, Spoken, open_recordings
from ..network import from_tables
from ..network.model import Model, equations_of
from ..network.optimizers import OPTIMIZERS, GradientDescent, Optimizer, OptimizerName
from ..network.parameters import is_whole, nearest
from ..neurons import library
from ..neurons.model import models_of
from ..rules import library as rule_library
from ..rules.definition import rules_of
from ..sonata import circuit
from ..values import AnyValue, Given, Values
from .base import LEARNING, MODEL, TaskBase, name_outputs
from .datafile import DataFile
from .event_samples import EventSamples
from .input_spikes import InputSpikes

# settings from which the populations are made
OF_NEURONS = {"variant", "dt_ms", "sonata_options", "local_readouts", "neuron_models", "learning_rules"}
ADD = {  # what adds the tables of a setting to a network with populations
    "projections": from_tables.add_projections,
    "backgrounds": from_tables.add_backgrounds,
    "perturbations": from_tables.add_perturbations,
}
NEEDED = {  # settings that must be valid where those are checked
    "populations": OF_NEURONS,
    "projections": OF_NEURONS | {"populations"},
    "backgrounds": OF_NEURONS | {"populations", "projections"},
    "perturbations": OF_NEURONS | {"populations", "projections"},
}
OF_EVENTS = ("test_data", "step_us", "sensor_size", "pool", "label_from")  # settings of recordings of events


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
    Wmax: float = Field(100.0, validate_default=True, json_schema_extra=LEARNING, description="highest weight")
    max_norm: float | None = Field(
        None,
        gt=0,
        json_schema_extra=LEARNING,
        description="norm of the gradient of all weights above which it is scaled down to that (interval variant)",
    )
    weight_decay: float | None = Field(
        None,
        ge=0,
        json_schema_extra=LEARNING,
        description="share of a weight that optimizer adamw takes away in a step, divided by eta [0.01]",
    )
    dt_ms: float = Field(1.0, gt=0, json_schema_extra=MODEL, description="step in ms")
    neuron_models: Values = Field(
        {},
        json_schema_extra={"section": "neuron_models"},
        description="neuron models given by equations, that populations may name; those of the package that they name",
    )
    learning_rules: Values = Field(
        {},
        json_schema_extra={"section": "learning_rules"},
        description="learning rules given by equations, that projections may name; those of the package that they name",
    )
    sonata: Path | None = Field(
        None,
        json_schema_extra=MODEL,
        description="circuit_config.json of a SONATA network, or a simulation_config.json with its input spikes",
    )
    sonata_options: Values = Field(
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
    populations: tuple[Values, ...] = Field(
        from_tables.POPULATIONS,
        json_schema_extra=MODEL,
        description="name, role, size, model, and NEST's parameters of the model",
    )
    projections: tuple[Values, ...] = Field(
        from_tables.PROJECTIONS,
        validate_default=True,
        json_schema_extra=MODEL,
        description="ends, rule, weight (number, mean and std, low and high, or gain), delay in steps or delay_ms",
    )
    backgrounds: tuple[Values, ...] = Field(
        (),
        validate_default=True,
        json_schema_extra=MODEL,
        description="Poisson background of neurons: post, rate_hz, weight, port, name",
    )
    perturbations: tuple[Values, ...] = Field(
        (),
        validate_default=True,
        json_schema_extra=MODEL,
        description="what is perturbed in some phases: kind, of, phases, start_ms, stop_ms, and options of the kind",
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
    steps: int | None = Field(
        None, ge=1, description="steps of a sample, where the file has labels, and rates or spikes that do not tell"
    )
    step_us: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="microseconds of recorded events in a step; else those of dt_ms"
    )
    sensor_size: tuple[int, ...] | None = Field(
        None, description="numbers of values of x, y and p of events in a folder; files of SHD and AEDAT tell them"
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
        """Return the defaults of the variant; all samples that are held out validate or test."""
        pairs = {"validate_samples": values.get("n_validate"), "test_samples": values.get("n_test")}
        given = {name: n for name, n in pairs.items() if n is not None and is_whole(n) and n > 0}
        return {**super().find_defaults(values), **given}

    @field_validator("Wmax")
    @classmethod
    def _check_order(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("Wmin", value):
            raise ValueError(f"must be at least Wmin = {info.data['Wmin']}")
        return value

    @field_validator("weight_decay")
    @classmethod
    def _check_decay(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and info.data.get("optimizer", "adamw") != "adamw":
            raise ValueError(f"is a setting of optimizer = 'adamw', not of '{info.data['optimizer']}'")
        return value

    @model_validator(mode="before")
    @classmethod
    def _tables_of_sonata(cls, values: object) -> object:
        """Drop the default populations and projections if there is a SONATA network."""
        if isinstance(values, Mapping) and values.get("sonata"):
            return {"populations": (), "projections": (), **values}
        return values

    @model_validator(mode="before")
    @classmethod
    def _models_of_the_package(cls, values: object) -> object:
        """Add models and rules of the package that tables name to the settings: another version may change them."""
        if not isinstance(values, Mapping):
            return values
        values, options = {**values}, values.get("sonata_options", {})
        for key, tables, field, known, names in (
            ("neuron_models", "populations", "model", library, library.free_names()),
            ("learning_rules", "projections", "learning_rule", rule_library, rule_library.names()),
        ):
            own, entries = values.get(key, {}), values.get(tables, ())
            if isinstance(own, Mapping) and isinstance(entries, list | tuple):
                named = [entry.get(field) for entry in entries if isinstance(entry, Mapping)]
                named += [options.get("neuron")] if key == "neuron_models" and isinstance(options, Mapping) else []
                used = [name for name in dict.fromkeys(map(str, named)) if name in names and name not in own]
                values |= {key: {**own, **{name: known.get(name).to_dict() for name in used}}} if used else {}
        return values

    @field_validator("neuron_models")
    @classmethod
    def _check_neuron_models(cls, value: Values, info: ValidationInfo) -> Values:
        with _problems():
            models = models_of(value, "")
            if "variant" in info.data:
                Model(info.data["variant"], neuron_models=models)
            return {name: model.to_dict() for name, model in models.items()}

    @field_validator("learning_rules")
    @classmethod
    def _check_rules(cls, value: Values) -> Values:
        with _problems():
            return {name: rule.to_dict() for name, rule in rules_of(value, "").items()}

    @field_validator("sonata_options")
    @classmethod
    def _check_sonata(cls, value: Values, info: ValidationInfo) -> Values:
        known = ("sign", "neuron", "values", "projections", "round_delays", "default_weight", "default_delay")
        if unknown := [key for key in value if key not in known]:
            raise ValueError(f"unknown option '{unknown[0]}'{nearest(unknown[0], known)}")
        if info.data.get("sonata") and {"variant", "dt_ms", "neuron_models", "learning_rules"} <= info.data.keys():
            with _problems():
                _empty(info.data | {"sonata_options": value})
        return value

    @field_validator("populations", "projections", "backgrounds", "perturbations")
    @classmethod
    def _check_tables(cls, value: tuple[Values, ...], info: ValidationInfo) -> tuple[Values, ...]:
        """Build the network up to these tables, unless a setting before them is invalid."""
        if info.data.keys() >= NEEDED[str(info.field_name)]:
            model = _build(info.data, optimizer=GradientDescent(batch_size=info.data.get("batch_size", 1)))
            if info.field_name == "populations":
                local = info.data["local_readouts"]
                _raise(from_tables.add_populations(model, value, ("recurrent",) if local else from_tables.NEEDED))
                _raise(from_tables.add_local_readouts(model, local), "local_readouts")
            else:
                _raise(ADD[str(info.field_name)](model, value))
        return value

    @cached_property
    def _file(self) -> DataFile | EventSamples:
        sizes = {role: self._cells.size(role) for role in ("input", "current", "readout")}
        sizes["local"] = sum(size for _, size in self._with_readout)
        if self._spikes is not None:
            sizes["input"] = 0  # inputs in the data file
        file = self._open(sizes)
        problems = self._find_shortages(file.n_samples, file.n_first)
        if self.window > file.n_steps:
            problems.append(f"window = {self.window} must be at most {file.n_steps}, the steps of a sample")
        if self.redraw and file.rates(0) is None:
            problems.append(f"redraw = True needs rates, from which spikes are drawn; {self.data} has none")
        if problems:
            raise InputError("; ".join(problems))
        return file

    def _open(self, sizes: dict[str, int]) -> DataFile | EventSamples:
        by_file = self.label_from == "file"
        events = open_recordings(self.data, self.sensor_size, by_file=by_file)
        self._refuse_unused(events)
        if events is None:
            return DataFile(self.data, sizes, self.steps)
        return EventSamples(
            self.data,
            events,
            self.test_data,
            sizes,
            steps=self.steps,
            step_us=1000.0 * self.dt_ms if self.step_us is None else self.step_us,
            pool=self.pool,
            by_file=by_file,
        )

    def _refuse_unused(self, events: Spoken | Gestures | Folder | None) -> None:
        """Raise `InputError` if settings of recordings of events, or of folders of them, are given, and have no use."""
        unused, needed = set(OF_EVENTS), f"needs recordings of events, {self.data} has none"
        if events is not None:
            foreign_size = {"sensor_size"} if self.sensor_size != events.sensor_size else set()
            unused = set() if isinstance(events, Folder) else {"label_from"} | foreign_size
            needed = f"needs a folder of recordings, {self.data} is none"
        fields = type(self).model_fields
        given = [name for name in OF_EVENTS if name in unused and getattr(self, name) != fields[name].default]
        shown = {name: getattr(self, name) for name in given}
        told = [f"{name} = {value if isinstance(value, Path) else quote(value)}" for name, value in shown.items()]
        if told:
            raise InputError("; ".join(f"{one} {needed}" for one in told))

    @cached_property
    def _spikes(self) -> InputSpikes | None:
        """Spikes of virtual populations, if the SONATA configuration names files of them."""
        spike_files = circuit.read(self.sonata).spikes if self.sonata else []
        return InputSpikes(spike_files, self._cells) if spike_files else None

    @cached_property
    def _cells(self) -> Model:
        """The network without its projections."""
        return _build({name: value for name, value in self if name not in ADD})

    @property
    def _n_test(self) -> int:
        """Samples of the test; at least one if the training may stop early."""
        return max(self.test_samples, int(self.stop_below > 0))

    def _find_shortages(self, n_samples: int, n_first: int) -> list[str]:
        """Return the problems if samples that are counted, or asked for, are more than there are."""
        if self.n_train > n_first:
            return [f"n_train = {self.n_train} must be at most {n_first}, the samples in {self.data}"]
        validates = bool(self.validate_every)
        asked = {
            "validate_samples": ("validate", self.validate_samples * validates),
            "stop_samples": ("validate", self.stop_samples * (validates and bool(self.stop_below))),
            "test_samples": ("test", self._n_test),
        }
        counts = {name: getattr(self, name) or 0 for name in ("n_train", "n_validate", "n_test")}
        own = {} if self.test_data is None else {"n_test": counts.pop("n_test")}
        if own and own["n_test"] > n_samples - n_first:
            return [f"n_test = {own['n_test']} must be at most {n_samples - n_first}, the samples in {self.test_data}"]
        if (total := max(counts["n_train"], 1) + sum(list(counts.values())[1:])) > n_first:
            shown = ", ".join(f"{name} = {n}" for name, n in counts.items() if n)
            least = "" if counts["n_train"] else " and at least one that trains"
            return [f"{shown}{least} make {total} samples, {self.data} has {n_first}"]
        if not self._is_explicit and any(n for _, n in asked.values()) and not 0 < self.n_train < n_samples:
            where = f"{self.data} has {n_samples} samples, and those after the training ones validate and test"
            return [f"n_train = {self.n_train} must lie in 1 to {n_samples - 1}: {where}"]
        parts = self._split(n_samples, n_first)
        if validates and not parts["validate"]:
            return [f"validate_every = {self.validate_every} needs n_validate: no samples of {self.data} validate"]
        return [
            f"{name} = {n} must be at most {len(parts[phase])}, the samples of "
            f"{self.test_data if phase == 'test' and self.test_data else self.data} that {phase}"
            for name, (phase, n) in asked.items()
            if n > len(parts[phase])
        ]

    def fingerprint(self) -> dict[str, str]:
        """Return digests of the data file, and of neuron models that files of SONATA name."""
        own = equations_of(self._cells)
        named = {f"neuron model '{name}'": item.digest for name, item in own.items() if name not in self.neuron_models}
        return {"fingerprint of data": self._file.fingerprint()} | named

    def list_free(self) -> set[str]:
        """Return settings that a resumed run may change; with validations not `test_samples`, which takes from them."""
        return super().list_free() - ({"test_samples"} if self.validate_every else set())

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        return self._file.n_steps

    @property
    def learning_window(self) -> int:
        """Last steps of a sample with a learning signal."""
        return self.window or self.n_steps

    def model(self) -> Model:
        """Return the network of the configuration; reads the header of the data file."""
        kind: Callable[..., Optimizer] = OPTIMIZERS[self.optimizer]
        own = {name: getattr(self, name) for name in ("max_norm", "weight_decay") if getattr(self, name) is not None}
        rule = kind(eta=self.eta, batch_size=self.batch_size, Wmin=self.Wmin, Wmax=self.Wmax, **own)
        model = _build(dict(self), seed=self.seed, optimizer=rule, precision=self.precision)
        _ = self._file  # reports problems of the file before anything is written
        return model

    def attributes(self) -> Values:
        """Return attributes of the results that the figures of this task read: names of the classes."""
        return name_outputs(self._file.classes)

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return sample `index` of a phase from the file."""
        turn, place = self._place(index, phase)
        target = self._file.target(place)
        others: Values = {}  # arguments of `Sample`, of several types
        if self.local_readouts:
            others["local_targets"] = partial(self._local_targets, place)
        if (currents := self._file.currents(place)) is not None:
            others["currents"] = currents
        if (label := self._file.label(place)) is not None:
            others["label"] = label
        if self._spikes is not None:
            return Sample(self._spikes.sample(place, self._file.n_steps), target, **others)
        rates = self._file.rates(place)
        if rates is not None:
            number = place + self._file.n_samples * turn if self.redraw and phase == "train" else place
            return Sample.from_rates(rates, target, self.seed, number, self.dt_ms, **others)
        return Sample(self._file.spikes(place), target, **others)

    @cached_property
    def _with_readout(self) -> list[tuple[int, int]]:
        """First neuron and number of neurons of each population whose neurons have a readout of their own."""
        model = self._cells
        of = model.local.of if model.local else ()
        return [(model.offset(item), item.size) for item in model.of_role("recurrent") if item.name in of]

    def _local_targets(self, place: int, first: int, last: int) -> np.ndarray:
        """Return targets of neurons [first, last) of a population, (n_steps, n); the file has a column per neuron."""
        column = 0
        for offset, size in self._with_readout:
            if offset <= first < offset + size:
                return self._file.local_target(place, column + first - offset, column + last - offset)
            column += size
        raise IndexError(f"neuron {first} has no readout")

    @property
    def parts(self) -> dict[str, range]:
        """Samples of the file that each phase has, counted from 0."""
        return self._split(self._file.n_samples, self._file.n_first)

    @property
    def _is_explicit(self) -> bool:
        """Whether the samples that validate or test are counted, or those that test are files of their own."""
        return self.n_validate is not None or self.n_test is not None or self.test_data is not None

    def _split(self, n_samples: int, n_first: int) -> dict[str, range]:
        if self.test_data is not None:
            n_train = self.n_train or n_first - (self.n_validate or 0)
            validated = n_first if self.n_validate is None else n_train + self.n_validate
            last = n_samples if self.n_test is None else n_first + self.n_test
            return {"train": range(n_train), "validate": range(n_train, validated), "test": range(n_first, last)}
        if self._is_explicit:
            n_train = self.n_train or n_samples - (self.n_validate or 0) - (self.n_test or 0)
            between = 0 if self.n_test is None else n_samples - n_train - self.n_test
            first = n_train + (between if self.n_validate is None else self.n_validate)
            last = n_samples if self.n_test is None else first + self.n_test
            return {"train": range(n_train), "validate": range(n_train, first), "test": range(first, last)}
        n_train = self.n_train or n_samples
        both = self.validate_every and self._n_test  # at least one sample validates
        first = max(n_samples - self._n_test, n_train + 1) if both else n_train
        last = first if both else n_samples
        return {"train": range(n_train), "validate": range(n_train, last), "test": range(first, n_samples)}

    @property
    def available(self) -> dict[str, int]:
        """Samples of the phases, see `Task`."""
        return {phase: len(part) for phase, part in self.parts.items()}

    def _place(self, index: int, phase: str) -> tuple[int, int]:
        """Return the pass through the samples of a phase, and the sample of the file."""
        part = self.parts[phase if phase in ("train", "validate") else "test"]
        turn, place = divmod(index, len(part))
        if self.shuffle and phase == "train":
            place = int(np.random.default_rng([self.seed, turn]).permutation(len(part))[place])
        return turn, part[place]


def _build(values: Given, **others: AnyValue) -> Model:
    """Return the network of the tables that are in `values`: populations, and others once there are projections."""
    model = _empty(values, **others)
    if "populations" in values:
        local = values["local_readouts"]
        from_tables.add_populations(model, values["populations"], ("recurrent",) if local else from_tables.NEEDED)
        from_tables.add_local_readouts(model, local)
    for name, add in ADD.items():
        add(model, values.get(name, ()))
    return model


def _empty(values: Given, **others: AnyValue) -> Model:
    """Return the model before the tables are added: empty, or a SONATA network."""
    own = models_of(values["neuron_models"], "")
    others = {"variant": values["variant"], "dt_ms": values["dt_ms"], "neuron_models": own, **others}
    others["learning_rules"] = rules_of(values["learning_rules"], "")
    if not values.get("sonata"):
        return Model(**others)
    return Model.from_sonata(values["sonata"], **values["sonata_options"], **others)


def _raise(problems: list[str], key: str | None = None) -> None:
    """Raise if there are problems, of `key` or else of the key that is being checked."""
    if problems:
        problems = list(map(printable, problems))  # pydantic fails on text that UTF-8 cannot write
        context = {"text": "; ".join(problems), "problems": problems, "key": key}
        raise PydanticCustomError("problems", "{text}", context)


@contextmanager
def _problems() -> Iterator[None]:
    """Context that raises an `InputError` as a problem of the key that is being checked."""
    try:
        yield
    except InputError as problem:
        _raise([str(problem)])
