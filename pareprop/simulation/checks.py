"""Check the tasks, samples and observers of a script; list the facts that ranks compare."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from ..engines.base import Settings
from ..engines.sample import Sample
from ..errors import InputError, quote
from ..network import identity
from ..network.model import Model
from ..network.parameters import Frozen, is_whole
from ..parallel.agreement import read_exchange_variables
from ..parallel.exchange import Exchange
from ..values import AnyValue
from .observer import Observer
from .task import ClosedTask, OpenTask, Task, is_closed, is_open

HOOKS = [name for name in vars(Observer) if not name.startswith("_") and callable(getattr(Observer, name))]
STATE = {"state", "load_state", "saved", "restore"}  # hooks that checkpoints call
LIKE_HOOKS = r"^(on|before|after|at)_|_(start|begin|end)$|^(begin|end)$"  # names like hooks of other packages
NEAR = 0.8  # a method whose name is this similar to a hook's is refused as a misspelt hook

EPISODES_NEED = {  # attributes that the loop reads of a task, name to meaning; here of a task with episodes
    "n_steps": "the most steps of an episode",
    "first": "the step of the first decision",
    "period": "the steps between decisions",
    "n_actions": "the number of actions",
    **dict.fromkeys(("seed", "sensor_delay", "replicated", "bootstrap", "act"), "derive from pareprop.ClosedTask"),
}
PIECES_NEED = {
    "n_steps": "the steps of a sample",
    "learning_window": "the last steps of a sample, which have a learning signal",
    "piece": "a method (first, last) that returns a Sample of these steps",
}
SAMPLES_NEED = {
    "n_steps": "the steps of a sample",
    "learning_window": "the last steps of a sample, which have a learning signal",
    "sample": "a method (index, phase) that returns a Sample",
}
LEAST = {"n_steps": 1, "learning_window": 0, "first": 0, "period": 1, "n_actions": 1, "sensor_delay": 1, "seed": 0}


def check_parts(model: object, task: object, settings: object) -> None:
    """Raise `InputError` unless a simulation can be made of a model, a task and settings."""
    if not isinstance(model, Model):
        raise InputError(f"Simulation: model = {quote(model)} must be a pareprop.Model")
    check_task(task)
    kind = model.eprop.engine.settings_type
    if settings is not None and not isinstance(settings, kind):
        raise InputError(f"Simulation: settings = {quote(settings)} must be of type {kind.__name__}")


def default_settings(model: Model, task: Task | ClosedTask | OpenTask) -> Settings:
    """Return the variant's default settings for a task."""
    kind = model.eprop.engine.settings_type
    return kind(task.n_steps if is_closed(task) else task.learning_window)


def check_exchange(exchange: AnyValue) -> Exchange:
    """Return `exchange`; raise `InputError` unless it is one."""
    if not all(hasattr(exchange, name) for name in ("rank", "size", "comm", "replicas", "open")):
        raise InputError(f"exchange = {quote(exchange)} must be what pareprop.exchange() returns")
    return exchange


def check_task(task: object) -> None:
    """Raise `InputError` unless a task has the attributes that the loop reads, with whole numbers within bounds."""
    if isinstance(task, type):
        raise InputError(f"task {task.__name__} is a class; pass an instance, {task.__name__}()")
    here = f"task {task.__class__.__name__}"
    hints = _needs_of(task)
    for name, meaning in hints.items():
        if not hasattr(task, name):
            raise InputError(f"{here}: {name} is missing: {meaning}")
    for name in hints.keys() & LEAST.keys():
        check_number(f"{here}: {name}", getattr(task, name), LEAST[name])


def _needs_of(task: object) -> dict[str, str]:
    """Return the attributes that the loop reads of a task, name to meaning."""
    return EPISODES_NEED if hasattr(task, "episode") else PIECES_NEED if is_open(task) else SAMPLES_NEED


def check_number(here: str, value: AnyValue, least: int) -> int:
    """Return `value`; raise `InputError` unless it is a whole number of at least `least`. `here` begins the message."""
    if not is_whole(value):
        raise InputError(f"{here} = {quote(value)} must be a whole number")
    if value < least:
        raise InputError(f"{here} = {quote(value)} must be at least {least}")
    return int(value)


def count_available(task: object, phase: str) -> int | None:
    """Return how many samples of a phase a task has; None if it makes any number of them."""
    known = getattr(task, "available", None)
    return known.get(phase) if isinstance(known, Mapping) else None


def list_facts(model: Model, task: object, settings: object) -> dict[str, str]:
    """Return the facts that must be the same on all ranks before a run, name to value as text.

    Of a script's task they are the attributes that the loop reads; its samples are compared later, one by one.
    """
    here, named = f"task {task.__class__.__name__}", {"task": task.__class__.__name__}
    known = [name for name in _needs_of(task) if name not in ("sample", "piece")]
    own = {f"{here}: {name}": identity.format_value(getattr(task, name)) for name in known}
    own |= describe_task(task) if isinstance(task, Frozen) else {}
    chosen = {} if settings is None else identity.list_fields(settings)
    facts = read_exchange_variables() | named | identity.list_facts(model) | own
    return facts | {f"settings: {name}": text for name, text in chosen.items()}


def describe_task(task: object) -> dict[str, str]:
    """Return the numbers and texts that a task holds, name to value as text."""
    held = (
        identity.list_fields(task)
        if isinstance(task, Frozen)
        else {
            name: identity.format_value(value)
            for name, value in getattr(task, "__dict__", {}).items()
            if isinstance(value, identity.PLAIN)
        }
    )
    return {f"task {task.__class__.__name__}: {name}": text for name, text in held.items()}


def check_sample(sample: object, task: object) -> None:
    """Raise `InputError` unless a task returned a sample."""
    if not isinstance(sample, Sample):
        kind, asked = type(sample).__name__, "piece" if is_open(task) else "sample"
        raise InputError(
            f"task {task.__class__.__name__}: {asked}() returned a {kind}, must return a Sample, such as "
            "Sample.from_raster(raster, target)"
        )


def check_label(sample: Sample, learning_window: int) -> None:
    """Raise `InputError` for a label without steps from which a class can be predicted."""
    if sample.label is None:
        return
    if sample.window is None and not learning_window:
        raise InputError("sample: a label needs learning_window of at least 1, as its steps predict the class")
    if sample.window is not None and not sample.window.any():
        raise InputError("sample: a label needs a window with at least one step, as its steps predict the class")


def check_observers(observers: object) -> list[Observer]:
    """Return observers as a list; raise `InputError` for other objects and for methods that seem misspelt hooks."""
    if not isinstance(observers, Iterable) or isinstance(observers, str | bytes):
        raise InputError(f"Simulation: observers = {quote(observers)} must be a list of observers")
    observers = list(observers)
    for observer in observers:
        name = type(observer).__name__
        if isinstance(observer, type):
            raise InputError(f"observer {observer.__name__} is a class; pass an instance, {observer.__name__}()")
        if not isinstance(observer, Observer):
            raise InputError(f"observer {name} must be derived from pareprop.Observer")
        for own in _list_own_methods(observer):
            if near := difflib.get_close_matches(own, HOOKS, 1, NEAR):
                raise InputError(f"observer {name}: {own} is not a hook; did you mean {near[0]}?")
    return observers


def list_unknown_hooks(observers: Iterable[Observer]) -> list[str]:
    """Return a line on each method that has a name like a hook's, and that nothing calls."""
    lines, hooks = [], [name for name in HOOKS if name not in STATE]
    for observer in observers:
        for own in _list_own_methods(observer):
            if not re.search(LIKE_HOOKS, own):
                continue
            near = difflib.get_close_matches(own, hooks, 1)
            out = f"did you mean {near[0]}?" if near else f"hooks: {', '.join(hooks)}"
            lines.append(f"observer {type(observer).__name__}: {own} is not a hook, nothing calls it; {out}")
    return list(dict.fromkeys(lines))


def _list_own_methods(observer: Observer) -> list[str]:
    """Return the public methods of an observer, inherited ones too, that `Observer` does not have."""
    own = (name for kind in type(observer).__mro__ if not issubclass(Observer, kind) for name in vars(kind))
    return [name for name in dict.fromkeys(own) if not name.startswith("_") and name not in HOOKS]


def name_classes(observers: Iterable[Observer]) -> str:
    """Return the class names of observers as one text, in the order of their calls."""
    return ", ".join(type(observer).__name__ for observer in observers) or "none"
