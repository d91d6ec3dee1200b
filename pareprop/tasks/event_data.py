"""A task of labelled recordings of events: from files (`event_reader`), from Tonic, or from a sequence of a script."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from ..engines.sample import Sample
from ..errors import InputError, quote
from ..exchange_formats.event_reader import MAX_CLASSES, require_numbers, to_whole_numbers
from ..network.parameters import is_number, is_whole
from ..parallel.spike_log import SpikeLog
from ..values import AnyValue
from .draws import draw_permutation, make_one_hot

INPUTS = 2**31 - 1  # more inputs are refused
FIELDS = ("x", "y", "p")  # of events, in the order of the sensor's size


class Recorded(Protocol):
    """A data set that is indexed like a sequence: (events, label) by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> AnyValue: ...


class EventData:
    """Recordings of events as samples: each event is a spike of an input, and each class has a readout.

    Recordings train in a new order in each pass. The first step of a sample is silent, as in all tasks; events after
    the last step are left out, and several events of an input in a step are one spike. Events whose time is negative or
    not finite are left out, too, with a notice.

    Parameters
    ----------
    train, test : sequence of tuple
        Recordings: (events, label), with events as a structured array with the fields `t` (microseconds), `x`, and of
        cameras `y` and `p`; such as data sets of Tonic, `Spoken` and `Gestures`. Test recordings: None for none.
    n_steps : int
        Steps of a sample.
    learning_window : int
        The last steps of a sample, which have a learning signal; 0: all.
    step_us : float
        Microseconds of a recording in a step.
    sensor_size : tuple of int or None
        Numbers of values of `x`, `y` and `p`; None: attribute `sensor_size` of `train`.
    n_classes : int or None
        Number of classes; None: `n_classes` of `train`, or the number of its `classes`.
    pool : int
        Neighbouring values of `x`, and of `y`, that share an input.
    hold_out : int
        Recordings of `train`, the last ones, that validate.
    seed : int
        Seed of the orders.

    Attributes
    ----------
    n_inputs : int
        Number of inputs that the network needs; an event's input is (p rows + y) columns + x.
    available : dict of str to int
        Recordings to train, to validate and to test.

    Raises
    ------
    InputError
        Names the value and the bound.

    Examples
    --------
    >>> task = EventData(Spoken("shd_train.h5"), Spoken("shd_test.h5"), n_steps=250, step_us=4000.0, pool=5)
    >>> model.inputs("in", task.n_inputs), model.readouts("out", task.n_classes, loss="cross_entropy")
    """

    def __init__(
        self,
        train: Recorded,
        test: Recorded | None = None,
        *,
        n_steps: int = 250,
        learning_window: int = 0,
        step_us: float = 4000.0,
        sensor_size: tuple[int, ...] | None = None,
        n_classes: int | None = None,
        pool: int = 1,
        hold_out: int = 0,
        seed: int = 1,
    ) -> None:
        for name, recordings in (("train", train), ("test", () if test is None else test)):
            if not hasattr(recordings, "__len__") or not hasattr(recordings, "__getitem__"):
                raise InputError(f"EventData: {name} = {quote(recordings)} must be a sequence of pairs (events, label)")
        size = getattr(train, "sensor_size", None) if sensor_size is None else sensor_size
        given = getattr(train, "n_classes", len(getattr(train, "classes", None) or ()))
        classes = given if n_classes is None else n_classes
        if n_classes is None and not classes:
            raise InputError("EventData: train has neither n_classes nor classes: give n_classes")
        for name, value, least in (
            ("n_steps", n_steps, 2),
            ("learning_window", learning_window, 0),
            ("pool", pool, 1),
            ("hold_out", hold_out, 0),
            ("n_classes", classes, 1),
            ("seed", seed, 0),
        ):
            if not is_whole(value) or value < least:
                raise InputError(f"EventData: {name} = {quote(value)} must be a whole number of at least {least}")
        if classes > MAX_CLASSES:
            raise InputError(f"EventData: n_classes = {classes} must be at most {MAX_CLASSES}")
        if not is_number(step_us) or not 0 < step_us < np.inf:
            raise InputError(f"EventData: step_us = {quote(step_us)} must be a number above 0 and finite")
        if size is None:
            raise InputError("EventData: train has no sensor_size: give sensor_size, the numbers of x, y and p")
        if not isinstance(size, tuple | list) or not size or not all(is_whole(n) and n > 0 for n in size[:3]):
            raise InputError(f"EventData: sensor_size = {quote(size)} must be whole numbers above 0: of x, y, p")
        if hold_out >= len(train):
            raise InputError(f"EventData: hold_out = {hold_out} must be below {len(train)}, the recordings of train")
        if learning_window > n_steps:
            raise InputError(f"EventData: learning_window = {learning_window} must be at most n_steps = {n_steps}")
        columns, rows, kinds = (*(int(n) for n in size[:3]), 1, 1)[:3]
        self._shape = -(-columns // pool), -(-rows // pool), kinds
        self._size, self._pool, self._step_us, self._seed = (columns, rows, kinds), pool, float(step_us), seed
        self._sets = {"train": train, "validate": train, "test": () if test is None else test}
        self._hold_out = hold_out
        self.n_steps, self.learning_window, self.n_classes = n_steps, learning_window or n_steps, int(classes)
        named = [str(name) for name in getattr(train, "classes", None) or ()]
        self.classes = named if len(named) == self.n_classes else []
        self.n_inputs = math.prod(self._shape)
        if self.n_inputs > INPUTS:
            what = f"sensor_size = {quote(size)} makes {self.n_inputs} inputs, at most {INPUTS} are possible"
            raise InputError(f"EventData: {what}; a larger pool makes fewer")
        self.available = {"train": len(train) - hold_out, "validate": hold_out, "test": len(self._sets["test"])}

    def __repr__(self) -> str:
        n_train, n_test = len(self._sets["train"]) - self._hold_out, len(self._sets["test"])
        sets = f"{n_train} recordings to train, {self._hold_out} to validate, {n_test} to test"
        return f"EventData({sets}; {self.n_inputs} inputs, {self.n_classes} classes, {self.n_steps} steps)"

    def sample(self, index: int, phase: str = "train") -> Sample:
        """Return recording `index` of a phase; after the last recording the first one follows again."""
        recordings, place = self._sets[phase], index
        n = len(recordings) - (self._hold_out if phase != "test" else 0)
        if phase == "validate":
            if not self._hold_out:
                raise InputError("EventData: hold_out = 0 leaves no recordings to validate")
            place = n + index % self._hold_out
        elif not n:
            raise InputError("EventData: there are no recordings to test")
        elif phase == "test":
            place = index % n
        else:
            turn, number = divmod(index, n)
            place = int(draw_permutation(self._seed, "events/order", turn, n)[number])
        spikes, label = self.read_recording(recordings, place, f"EventData: recording {place} of '{phase}'")
        target = make_one_hot(label, self.n_classes, self.n_steps)
        return Sample(spikes, target, label=label, n_inputs=self.n_inputs)

    def read_recording(self, recordings: Recorded, place: int, here: str) -> tuple[SpikeLog, int]:
        """Return spikes and label of a recording; messages begin with `here`."""
        recording = recordings[place]
        if not isinstance(recording, tuple | list) or len(recording) != 2:
            raise InputError(f"{here}: {quote(recording)} must be a pair (events, label)")
        events, label = recording
        if not is_whole(label) or not 0 <= label < self.n_classes:
            raise InputError(f"{here}: label = {quote(label)} must be a class from 0 to {self.n_classes - 1}")
        return self._convert_events(events, here), int(label)

    def _convert_events(self, events: AnyValue, here: str) -> SpikeLog:
        """Return the spikes of a recording, one for each input and step with events."""
        names = getattr(getattr(events, "dtype", None), "names", None) or ()
        if "t" not in names or "x" not in names:
            raise InputError(f"{here}: events must be a structured array with fields t and x, not {quote(events)}")
        if np.ndim(events["t"]) != 1:
            raise InputError(f"{here}: events have shape {np.shape(events['t'])}, must have one axis")
        require_numbers(events["t"], f"{here}: t")
        us = np.asarray(events["t"], float)
        usable = (us >= 0) & np.isfinite(us)
        step = 1 + np.floor(np.minimum(us[usable] / self._step_us, self.n_steps)).astype(np.int64)
        source = np.zeros(len(us), np.int64)
        for k in reversed(range(3)):
            name, size = FIELDS[k], self._size[k]
            given = events[name] if name in names else source * 0
            if np.shape(given) != np.shape(us):
                raise InputError(f"{here}: {name} has shape {np.shape(given)}, must be {np.shape(us)}")
            values = to_whole_numbers(given, f"{here}: {name}", size, ", the sensor's size")
            source = source * self._shape[k] + (values // self._pool if k < 2 else values)
        kept = step < self.n_steps
        codes = np.unique(step[kept] * self.n_inputs + source[usable][kept])
        log = SpikeLog.from_spikes(*np.divmod(codes, self.n_inputs), self.n_steps)
        log.n_late, log.n_unusable, log.n_events = int(np.sum(~kept)), int(np.sum(~usable)), len(us)
        return log
