"""N-MNIST: classify digits seen by an event camera.

Korcsak-Gorzo et al. 2025; sizes and parameters of NEST's tutorial `eprop_supervised_classification_neuromorphic_mnist`.
Variant "interval" has cross-entropy and Adam on batches instead.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field, PrivateAttr

from .. import rng
from ..engines.base import Settings
from ..engines.sample import Sample
from ..errors import InputError
from ..exchange_formats.n_mnist_reader import N_CLASSES, SIDE, Problems, Recordings, open_splits
from ..network.connectivity import Population
from ..network.model import Model
from ..network.optimizers import Adam, GradientDescent
from ..network.parameters import Normal, Uniform
from ..network.variants import VariantName
from ..values import Values
from .base import LEARNING, MODEL, TaskBase
from .draws import compute_glorot_bound, make_one_hot
from .pixel_spikes import N_PIXELS, PixelSpikes, SampleOrders, index_pixels
from .synthetic import SyntheticDigits

NO_DATA = (
    "task 'n-mnist': data is not given; get N-MNIST's Train.zip and Test.zip (Orchard et al. 2015) from "
    "https://doi.org/10.17632/468j46mzdv.1 and give their folder by --set data=FOLDER, or try --set data=synthetic"
)


class NMnist(TaskBase):
    """Pixels without events in the training recordings have no input neuron."""

    name: ClassVar[str] = "n-mnist"
    summary: ClassVar[str] = "digits seen by an event camera (Korcsak-Gorzo et al. 2025)"
    figure: ClassVar[str] = "events"
    n_classes: ClassVar[int] = N_CLASSES
    # chosen on 160 of the 800 training recordings of a small set
    variant_defaults: ClassVar[dict[str, dict]] = {
        "interval": {
            "batch_size": 100,
            "iterations": 200,
            "n_rec": 400,
            "density_in": 1.0,
            "window": 150,
            "c_reg": 300.0,
            "shift": 1,
        }
    }

    variant: VariantName = "spike"
    data: str = Field("", description="folder with Train and Test or their zips, 'TRAIN.zip,TEST.zip', or synthetic")
    iterations: int = Field(6400, ge=0, description="training iterations")
    batch_size: int = Field(1, ge=1, description="recordings per optimizer step")
    eta: float = Field(5e-3, ge=0, description="learning rate, times (1 - kappa)^2 in the spike variant")
    test_samples: int = Field(100, ge=0, description="recordings of the test split that are classified")
    hold_out: int = Field(0, ge=0, description="training recordings kept back for validation")
    scan: int = Field(500, ge=1, description="training recordings in which silent pixels are looked for, at most")
    silent: float = Field(0.0, ge=0, lt=1, description="share of recordings with events up to which a pixel is silent")
    n_rec: int = Field(150, ge=1, json_schema_extra=MODEL, description="recurrent neurons")
    density_in: float = Field(0.25, gt=0, le=1, description="probability of a synapse from input to recurrent neuron")
    density_rec: float = Field(0.01, ge=0, le=1, description="probability of a synapse between recurrent neurons")
    shift: int = Field(0, ge=0, lt=SIDE, description="pixels by which training recordings are moved at random, at most")
    n_step: int = Field(300, ge=2, description="steps of a recording")
    window: int = Field(10, ge=1, description="last steps of a recording with a learning signal")
    kappa: float = Field(
        0.99, ge=0, lt=1, json_schema_extra=LEARNING, description="filter of the eligibility traces (spike variant)"
    )
    cutoff: float = Field(
        100.0, ge=0, json_schema_extra=LEARNING, description="eprop_isi_trace_cutoff in ms (spike variant)"
    )
    tau_out: float = Field(100.0, gt=0, description="time constant of the readouts in ms")
    c_reg: float = Field(
        2.0,
        ge=0,
        json_schema_extra=LEARNING,
        description="firing-rate regularisation, / n_step / (1 - kappa)^2 if spike",
    )
    f_target: float = Field(10.0, ge=0, json_schema_extra=LEARNING, description="target firing rate in Hz")

    _problems: Problems = PrivateAttr(default_factory=Problems)

    @property
    def n_steps(self) -> int:
        """Steps of one recording."""
        return self.n_step

    @property
    def learning_window(self) -> int:
        """Last steps of a recording with a learning signal."""
        return self.window

    def make_settings(self) -> Settings:
        """Return the settings of the variant."""
        return self.eprop.make_settings(self.window, average_gradient=True)

    def list_attributes(self) -> Values:
        """Return the note for the figures that marks synthetic data."""
        return {"note": "synthetic digits"} if self.data == "synthetic" else {}

    def list_arrays(self) -> dict[str, np.ndarray]:
        """Return row, column and polarity of each input neuron."""
        return {"input_pixels": np.column_stack(self._spikes.locate_pixels())}

    def list_remarks(self) -> list[str]:
        """Return the skipped files as lines of text."""
        note = ["synthetic digits"] if self.data == "synthetic" else []
        return [f"data: {line}" for line in note + self._problems.format_lines()]

    # ---- network -----------------------------------------------------------------------------------------------------

    def build_model(self) -> Model:
        """Return the network of the tutorial."""
        scale, spiking = self.eprop.compute_scale(self.kappa), self.eprop.is_online
        rule = {"eta": self.eta * (scale * scale), "batch_size": self.batch_size}
        optimizer = GradientDescent(**rule, optimize_each_step=False) if spiking else Adam(**rule, epsilon=1e-8)
        model = Model(self.variant, self.seed, optimizer=optimizer, precision=self.precision)
        inputs = model.inputs("in", len(self._spikes.pixels))
        values = {
            "C_m": 1.0,
            "E_L": 0.0,
            "V_m": 0.0,
            "V_th": 0.6,
            "tau_m": 30.0,
            "t_ref": 0.0,
            "f_target": self.f_target,
            "c_reg": self.c_reg,
            "surrogate_gradient_height": 0.5,
            "surrogate_gradient_width": 1.0 / 1.7,
        }
        own: dict[str, float] = {"regular_spike_arrival": False}
        loss = "cross_entropy"
        if spiking:
            own, loss = {"eprop_isi_trace_cutoff": self.cutoff}, "mean_squared_error"
            c_reg = self.c_reg / self.n_step / (scale * scale)
            values |= own | {"kappa": self.kappa, "kappa_reg": self.kappa, "c_reg": c_reg}
        neurons = model.neurons("rec", self.n_rec, "iaf", **values)
        out = model.readouts("out", N_CLASSES, C_m=1.0, E_L=0.0, V_m=0.0, tau_m=self.tau_out, loss=loss, **own)
        self._connect_populations(model, inputs, neurons, out, scale)
        return model

    def _connect_populations(
        self, model: Model, inputs: Population, neurons: Population, out: Population, scale: float
    ) -> None:
        bound = scale * compute_glorot_bound(self.n_rec, N_CLASSES)
        random = "fixed_probability"
        weight = Normal(std=1.0 / math.sqrt(inputs.size))
        model.connect(inputs, neurons, random, probability=self.density_in, weight=weight)
        model.connect(
            neurons,
            neurons,
            random,
            probability=self.density_rec,
            weight=Normal(std=1.0 / math.sqrt(self.n_rec)),
            allow_autapses=False,
        )
        model.connect(neurons, out, weight=Uniform(low=-bound, high=bound))
        model.connect(out, neurons, weight=Normal(std=1.0 / scale))

    # ---- data --------------------------------------------------------------------------------------------------------

    @cached_property
    def _splits(self) -> tuple[Recordings | SyntheticDigits, Recordings | SyntheticDigits]:
        if not self.data:
            raise InputError(NO_DATA)
        recordings: tuple[Recordings, Recordings] | tuple[SyntheticDigits, SyntheticDigits]
        if self.data == "synthetic":
            recordings = SyntheticDigits("train", self.seed), SyntheticDigits("test", self.seed)
        else:
            recordings = open_splits(self.data, self._problems)
        self._check_sizes(len(recordings[0]), len(recordings[1]))
        return recordings

    def _check_sizes(self, n_train: int, n_test: int) -> None:
        for name, most in (("hold_out", n_train - 1), ("test_samples", n_test)):
            value = getattr(self, name)
            if value > most:
                raise InputError(f"task 'n-mnist': {name} = {value} must be at most {most} with these data")
        needed = max(self.validate_samples, self.stop_samples if self.stop_below else 0) if self.validate_every else 0
        if self.hold_out < needed:
            raise InputError(f"task 'n-mnist': hold_out = {self.hold_out} must be at least {needed}, to validate on")

    @cached_property
    def _orders(self) -> SampleOrders:
        train, test = self._splits
        return SampleOrders(self.seed, len(train), len(test), self.hold_out)

    @cached_property
    def _spikes(self) -> PixelSpikes:
        """Spikes of the pixels with events in the first training recordings."""
        seen, train = np.zeros(N_PIXELS), self._splits[0]
        scanned = self._orders.find_order("train", 0)[: self.scan]
        for events in map(train.read_events, map(int, scanned)):
            if events is not None:
                seen[np.unique(index_pixels(events))] += 1
        active = np.flatnonzero(seen > self.silent * len(scanned))
        if not len(active):
            raise InputError("; ".join(["task 'n-mnist': data has no events", *self.list_remarks()]))
        return PixelSpikes(self._splits, active, self.n_step)

    def require_samples(self) -> None:
        """Raise `InputError` if no recording of a phase can be read."""
        phases = {"train": self.iterations, "validate": self.validate_every, "test": self.test_samples}
        for phase in [phase for phase, used in phases.items() if used]:
            self.sample(0, phase)

    @property
    def available(self) -> dict[str, int]:
        """Recordings of the phases, see `Task`."""
        return self._orders.sizes

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return recording number `index` of a phase; after the last one, training continues in a new order."""
        n, is_test = self.available[phase], phase == "test"
        for attempt in range(n):  # skip damaged recordings
            epoch, place = divmod(index + attempt, n)
            chosen = int(self._orders.find_order(phase, epoch)[place])
            spikes = self._spikes.read_spikes(is_test, chosen)
            if spikes is not None:
                label = int(self._splits[is_test].labels[chosen])
                if phase == "train" and self.shift:
                    draws = rng.draw_uniform(rng.make_key(self.seed, "shift"), [index], 2)[0]
                    spikes = self._spikes.shift_spikes(
                        spikes, *(np.floor(draws * (2 * self.shift + 1)).astype(np.int64) - self.shift)
                    )
                return Sample(spikes, make_one_hot(label, N_CLASSES, self.n_step), label=label)
        raise InputError(
            "; ".join([f"task 'n-mnist': no recording for phase {phase} can be read", *self.list_remarks()])
        )
