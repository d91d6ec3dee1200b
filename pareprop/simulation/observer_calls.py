"""Call hooks of observers, and collect the states of observers for checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from ..errors import ParepropError
from ..network.losses import name_loss
from ..parallel import collectives
from ..parallel.agreement import require_agreement
from ..values import Values
from . import encoded_states
from .checks import name_classes
from .observer import Observer, Watched

Keep = Callable[[], Values]  # returns the state of an observer or a loss


def notify_observers(simulation: Watched, what: str, *news: object) -> None:
    """Call a method of all observers."""
    for observer in simulation.observers:
        notify_observer(simulation, observer, what, *news)


def notify_observer(simulation: Watched, observer: Observer, what: str, *news: object) -> None:
    """Call a method of an observer, in the first group of ranks or in all."""
    method = getattr(observer, what)
    if not observer.everywhere and what not in ("before_sample", "after_sample"):
        collectives.run_in_first_group(simulation.replicas, method, simulation, *news)
    elif is_called_here(simulation, observer):  # groups run samples independently until the end of the batch
        method(simulation, *news)


def is_called_here(simulation: Watched, observer: Observer) -> bool:
    """Return whether an observer is called in this group of ranks."""
    return observer.everywhere or simulation.replicas.index == 0


def finish_observers(simulation: Watched) -> None:
    """Call `finish` of all observers, also after one has failed: results are kept; then raise the first error."""
    problems = []
    for observer in simulation.observers:
        try:
            notify_observer(simulation, observer, "finish")
        except ParepropError as problem:
            if not collectives.all_arrive(simulation.world):
                raise
            problems.append(problem)
    if problems:
        raise problems[0]


def name_observers(simulation: Watched) -> list[tuple[str, Observer]]:
    """Return the observers with their names in a checkpoint."""
    observers = simulation.observers
    names = [observer.checkpoint_name or type(observer).__name__ for observer in observers]
    return [(f"{name}.{names[:k].count(name)}", observers[k]) for k, name in enumerate(names)]


def list_states(
    simulation: Watched, observers: Iterable[Observer] | None = None
) -> Iterator[tuple[str, tuple[Values, dict[str, np.ndarray]]]]:
    """Collective: yield the states of the loss and of observers, all or some, by name, encoded by `split_state`.

    `InputError` if ranks have different observers, because states are compared, or a checkpoint could not store a
    state.
    """
    comm, loss = simulation.exchange.comm, simulation.engine.loss
    require_agreement(comm, "a checkpoint of observers", {"observers": name_classes(simulation.observers)})
    if loss.has_state:
        yield "loss", _split_state(simulation, f"loss {name_loss(loss)}", loss.state)
    for name, observer in name_observers(simulation):
        if observers is None or any(observer is chosen for chosen in observers):
            owner = f"observer {name.rpartition('.')[0]}"
            yield name, _split_state(simulation, owner, partial(observer.state, simulation))


def _split_state(simulation: Watched, owner: str, get: Keep) -> tuple[Values, dict[str, np.ndarray]]:
    problem: ParepropError | None = None
    parts: tuple[Values, dict[str, np.ndarray]] = ({}, {})
    try:
        parts = encoded_states.split_state(owner, get())
    except ParepropError as error:
        problem = error
    collectives.raise_together(simulation.exchange.comm, problem)
    return parts
