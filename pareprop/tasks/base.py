"""Base of all tasks: the settings that every task has, with their bounds, and the methods that a task may override."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PrivateAttr, model_validator
from pydantic.config import JsonDict

from ..engines.base import Settings
from ..engines.sample import Sample
from ..errors import escape_unprintable
from ..network import parameters
from ..network.connectivity import Population
from ..network.model import Model
from ..network.variants import DEFAULT, VARIANTS, Variant, VariantName, find_variant
from ..values import AnyValue, Given, Values

# sections of a configuration, for fields that do not belong to [task]
MODEL: JsonDict = {"section": "model"}
LEARNING: JsonDict = {"section": "learning"}
RUN: JsonDict = {"section": "run"}
MOST_NAMED = 1000  # more outputs are numbered


class TaskBase(parameters.Frozen):
    """Settings of a task. A subclass adds its own fields and the methods `model` and `sample`.

    Samples depend on (seed, phase, index) alone, so all ranks make the same ones.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    figure: ClassVar[str] = ""
    n_classes: ClassVar[int] = 0
    generated: ClassVar[bool] = True  # whether the task draws its inputs; else a notice warns of lost spikes
    imports: ClassVar[tuple[str, ...]] = ()  # settings that name code to import
    by_content: ClassVar[
        tuple[str, ...]
    ] = ()  # settings that a resumed run may change: `fingerprint` compares the data
    variant_defaults: ClassVar[Mapping[str, Given]] = {}

    seed: int = Field(1, ge=0, lt=2**32, json_schema_extra=RUN, description="seed of the network and of the data")
    variant: VariantName = Field(
        DEFAULT,
        json_schema_extra=MODEL,
        description=" or ".join(f"{variant.name} ({variant.summary})" for variant in VARIANTS.values()),
    )
    precision: Literal["double", "single"] = Field(
        "double", json_schema_extra=MODEL, description="precision of weights, state and histories"
    )
    iterations: int = Field(100, ge=0, json_schema_extra=RUN, description="training iterations")
    batch_size: int = Field(1, ge=1, json_schema_extra=LEARNING, description="samples per optimizer step")
    eta: float = Field(1e-4, ge=0, json_schema_extra=LEARNING, description="learning rate")
    schedule: Literal["constant", "linear", "exponential", "cosine"] = Field(
        "constant", json_schema_extra=LEARNING, description="course of eta (and c_H of rewards) to its last value"
    )
    eta_end: float = Field(0.0, ge=0, json_schema_extra=LEARNING, description="last learning rate of the schedule")
    decay_iterations: int = Field(
        0, ge=0, json_schema_extra=LEARNING, description="iterations of the schedule, 0 for all of the training"
    )
    eta_validate: float = Field(0.0, ge=0, json_schema_extra=LEARNING, description="learning rate in validations")
    eta_test: float = Field(0.0, ge=0, json_schema_extra=LEARNING, description="learning rate in the test")
    validate_every: int = Field(
        0, ge=0, json_schema_extra=RUN, description="iterations between validations, 0 for none"
    )
    validate_samples: int = Field(1, ge=1, json_schema_extra=RUN, description="samples of a validation")
    stop_below: float = Field(
        0.0, ge=0, json_schema_extra=RUN, description="stop when error or loss of a validation is below it, 0 for never"
    )
    stop_samples: int = Field(
        1, ge=1, json_schema_extra=RUN, description="samples on which it must stay below that, to stop"
    )
    patience: int = Field(
        0,
        ge=0,
        json_schema_extra=RUN,
        description="stop after this many validations in a row without a better one, 0 for never",
    )
    keep_best: bool = Field(
        False,
        json_schema_extra=RUN,
        description="whether result and test use the weights of the best validation, not the last ones",
    )
    test_samples: int = Field(
        0, ge=0, json_schema_extra=RUN, description="samples of the test after training, 0 for none"
    )
    log: Literal["csv", "tensorboard", "none"] = Field(
        "csv",
        json_schema_extra=RUN,
        description="curves while it runs: csv (loss.csv), tensorboard (in the same folder) or none",
    )
    figures: Literal["png", "pdf", "none"] = Field(
        "png", json_schema_extra=RUN, description="figures at the end: png, pdf (both), or none"
    )

    _untrusted_origin: str = PrivateAttr("")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: object) -> object:
        """Use the defaults of the variant in place of the defaults of the fields."""
        if not isinstance(values, Mapping):
            return values
        filled = {**cls.find_defaults(values), **values}
        if filled.get("schedule", "constant") != "constant" and not filled.get("decay_iterations"):
            # fixed here: a run that is resumed to train longer keeps the schedule of its first iterations
            filled["decay_iterations"] = filled.get("iterations", cls.model_fields["iterations"].default)
        return filled

    @classmethod
    def find_defaults(cls, values: Given) -> Given:
        """Return the defaults of the variant that `values` choose; they replace the defaults of the fields."""
        variant = values.get("variant", cls.model_fields["variant"].default)
        return cls.variant_defaults.get(variant, {}) if isinstance(variant, str) else {}

    @model_validator(mode="after")
    def _check_schedule(self) -> TaskBase:
        for name, ends in self.list_scheduled().items() if self.schedule == "exponential" else ():
            if not min(ends) > 0:
                raise ValueError(f"schedule = 'exponential' needs {name} and {name}_end above 0")
        if self.schedule != "constant" and self.eta == 0:
            raise ValueError(f"schedule = '{self.schedule}' needs eta above 0")
        return self

    @model_validator(mode="after")
    def _check_validations(self) -> TaskBase:
        for name in ("patience", "keep_best"):
            if getattr(self, name) and not self.validate_every:
                raise ValueError(f"{name} = {getattr(self, name)} needs validate_every above 0")
        return self

    @property
    def validates(self) -> bool:
        """Whether a complete training has a validation."""
        return 0 < self.validate_every <= self.iterations

    def list_free_settings(self) -> set[str]:
        """Return the settings of [run] that a resumed run may change, because they do not affect learning."""
        looks = {"validate_every", "validate_samples", "stop_below", "stop_above", "stop_samples"}
        return {"test_samples", "patience", "keep_best"} | (set() if self.eta_validate else looks)

    def list_scheduled(self) -> dict[str, tuple[float, float]]:
        """Return first and last value of all settings that follow the schedule, by name."""
        return {"eta": (self.eta, self.eta_end)}

    @property
    def n_steps(self) -> int:
        """Steps of one sample."""
        raise NotImplementedError

    @property
    def learning_window(self) -> int:
        """Last steps of a sample with a learning signal."""
        return self.n_steps

    @property
    def eprop(self) -> Variant:
        """The variant of e-prop."""
        return find_variant(self.variant)

    def make_settings(self) -> Settings:
        """Return the settings of the variant."""
        return self.eprop.make_settings(self.learning_window)

    def list_recorded_samples(self) -> dict[tuple[str, int], str]:
        """Return the samples whose dynamics are recorded: (phase, index) to their names in the results."""
        tested = self.test_samples or self.stop_below
        last = ("test", 0) if tested else ("train", max(self.iterations - 1, 0) * self.batch_size)
        return {last: "last", ("train", 0): "first"}

    def list_sample_aliases(self) -> dict[str, str]:
        """Return further names of recorded samples, as name to other name: with one iteration, "last" is "first"."""
        return {} if "last" in self.list_recorded_samples().values() else {"last": "first"}

    def list_attributes(self) -> Values:
        """Return attributes of the results that the figures of this task read, such as `output_names`."""
        return {}

    def list_arrays(self) -> dict[str, np.ndarray]:
        """Return arrays of the results that the figures of this task read."""
        return {}

    def list_remarks(self) -> list[str]:
        """Return remarks about the data as lines of text."""
        return []

    def mark_untrusted(self, origin: str) -> None:
        """Note that the settings come from file `origin`, maybe another user's: import no code that they name."""
        self._untrusted_origin = origin

    def set_folder(self, folder: Path) -> None:
        """Set the folder of the configuration file, for tasks that read files in this folder."""

    def write_files(self, directory: Path) -> None:
        """Write files that the configuration refers to into a run directory, next to the configuration."""

    def require_samples(self) -> None:
        """Raise `InputError` if a phase has no sample that can be read; for data that are read during the run."""

    def list_fingerprints(self) -> Values:
        """Return digests of data files, which must not change when a run is resumed."""
        return {}

    def list_network_facts(self) -> dict[str, str]:
        """Return facts of a network beyond the settings, which must not change when a run is resumed."""
        return {}

    def describe_resume(self, directory: Path) -> str:
        """Return the command that continues a run in a directory, for messages."""
        return f"`pareprop resume {directory}`"

    @property
    def subject(self) -> AnyValue:
        """The task that a simulation runs: this one, unless it holds the settings of another."""
        return self

    def build_model(self) -> Model:
        """Return the network."""
        raise NotImplementedError

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return sample `index` of `phase`."""
        raise NotImplementedError


def make_task(kind: type[TaskBase], settings: Sequence[str] | Given) -> TaskBase:
    """Make a task from "key=value" texts or a mapping.

    An unknown key (its message names the nearest known one) or a value out of range raises `InputError`.
    """
    values = settings if isinstance(settings, Mapping) else dict(map(parameters.parse_setting, settings))
    return parameters.validate_values(kind, values, f"task '{kind.name}'")


def name_outputs(classes: object) -> Values:
    """Return the attribute with which figures name classes; {} unless `classes` is a short sequence of texts."""
    if not isinstance(classes, list | tuple) or not 0 < len(classes) <= MOST_NAMED:
        return {}
    names = [escape_unprintable(name) for name in classes if isinstance(name, str)]
    return {"output_names": names} if len(names) == len(classes) else {}


def list_feedback_options(kind: str, weight: parameters.Distribution) -> Values:
    """Return the options of a feedback connection; symmetric ones use the weights of the synapses onto readouts."""
    return {"feedback": kind} | ({} if kind == "symmetric" else {"weight": weight})


def connect_dense(model: Model, pre: Population, post: Population, weights: np.ndarray, **options: object) -> None:
    """Connect all pairs with weights (n_post, n_pre), NaN = no synapse; symmetric feedback has no own weights."""
    target, source = np.nonzero(~np.isnan(weights))
    own = {} if options.get("feedback") == "symmetric" else {"weight": weights[target, source]}
    model.connect(pre, post, "explicit", source=source, target=target, **own, **options)
