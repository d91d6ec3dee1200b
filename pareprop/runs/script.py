"""`pareprop.run`: train the model and task of a script with the files and settings of a run."""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..errors import InputError, quote
from ..network import parameters
from ..network.model import Model
from ..parallel import collectives, launcher
from ..parallel.exchange import Exchange
from ..simulation.checks import check_exchange, check_number, check_observers, check_task
from ..simulation.loop import Simulation
from ..simulation.observer import Observer
from ..simulation.task import ClosedTask, Task
from ..storage.checkpoint_observer import Checkpoint
from ..storage.record_settings import Record
from ..tasks.base import TaskBase
from ..values import AnyValue, Given
from .config import EPOCHS, Config, iterations_of
from .opened import OpenRun, open_run
from .phases import Score
from .run import EXIT_CHECKPOINTED, train
from .script_task import ScriptTask, describe_script

T = TypeVar("T")

SETTINGS = (
    "iterations",
    "validate_every",
    "validate_samples",
    "eta_validate",
    "stop_below",
    "stop_above",
    "stop_samples",
    "patience",
    "keep_best",
    "test_samples",
    "eta_test",
    "figures",
    "log",
)


@dataclass(frozen=True, repr=False)
class Trained:
    """A training that has ended, as `run` returns it on all ranks.

    Attributes
    ----------
    directory : Path
        The run directory.
    simulation : Simulation
        The trained network; `simulation.train(n)` continues without writing anything.
    digest : str
        SHA-256 of all spikes of the training and the final weights.
    losses : list of float
        Mean loss of each iteration.
    validations : list of tuple[int, float]
        Iterations done, and error, loss or return of each validation.
    test : Score or None
        Score of the final test; `test.value` is its error, loss or return.
    stopped : bool
        Whether the training stopped early, by `stop_below`, `stop_above`, `patience` or an observer.
    """

    directory: Path
    simulation: Simulation
    digest: str
    losses: list[float]
    validations: list[tuple[int, float]]
    test: Score | None
    stopped: bool

    def open(self) -> OpenRun:
        """Open the results, on one rank or on all: spikes, weights and parameters as arrays and pandas frames."""
        return open_run(self.directory)

    def __repr__(self) -> str:
        losses = f", loss {self.losses[0]:.4g} to {self.losses[-1]:.4g}" if self.losses else ""
        return f"Trained({self.directory}: {len(self.losses)} iterations{losses}, digest {self.digest[:16]})"


def run(
    model: Model | None,
    task: Task | ClosedTask,
    out: str | Path | None = None,
    *,
    until: int | None = None,
    restart: bool = False,
    overwrite: bool = False,
    observers: Sequence[Observer] = (),
    record: Record | Given | None = None,
    checkpoint: Checkpoint | Given | None = None,
    replicas: int = 1,
    exchange: Exchange | None = None,
    quiet: bool = False,
    **settings: object,
) -> Trained:
    """Collective: train a network as `pareprop run` does, and write results, figures and checkpoints into a directory.

    A signal that asks for the end (SIGUSR1, SIGTERM, Ctrl-C) ends the training after the iteration, with a checkpoint.

    Parameters
    ----------
    model : Model or None
        The network; None: the network of the task, which must be one of `pareprop.tasks`.
    task : Task or ClosedTask
        Inputs and targets, or episodes.
    out : str, Path or None
        Run directory; None: `runs/NAME-NUMBER`, by the class of the task.
    until : int or None
        Iteration after which to stop with a checkpoint, None for the end.
    restart : bool
        Whether to continue from the latest checkpoint if there is a run in `out`; else a run begins there.
    overwrite : bool
        Whether to replace the files of a run in `out`.
    observers : sequence of Observer
        Observers of the script, such as `LearningRate`; their `state` survives a restart.
    record : dict or None
        What to record, as section [record]: `{"every": 10, "what": ["spikes"]}`; None: nothing.
    checkpoint : dict or None
        When to write checkpoints, as section [checkpoint]: `{"every": 100, "minutes": 15, "keep": 2}`; None: every 15
        minutes. One is written at the end in any case.
    replicas : int
        Groups of ranks that share batches.
    exchange : Exchange or None
        Exchange of all ranks; None: `pareprop.exchange()`.
    quiet : bool
        Whether to print nothing; the log of the run directory has the lines in any case.
    **settings : object
        Keys of section [run]: `iterations` (100; a total, also after a restart) or `epochs`, `validate_every`,
        `validate_samples`, `eta_validate`, `stop_below`, `stop_above`, `stop_samples`, `patience`, `keep_best`,
        `test_samples`, `eta_test`, `figures` ("png", "pdf", "none") and `log`; see `pareprop config`.

    Returns
    -------
    Trained
        Losses, scores, digest and the trained network.

    Raises
    ------
    InputError
        If model, task, a setting or the directory cannot be used; nothing is written then.
    StateError
        If the run cannot continue: numbers that are not finite, or a full disk; names the latest checkpoint.
    KeyboardInterrupt
        On all ranks, after Ctrl-C and the checkpoint.
    SystemExit
        With code 75, after SIGUSR1 or SIGTERM and the checkpoint.

    Examples
    --------
    >>> done = run(model, Levels(), "runs/levels", iterations=200, test_samples=10, restart=True)
    >>> done.losses[-1], done.test.value, done.open().spikes("last")
    """
    exchange = launcher.exchange() if exchange is None else check_exchange(exchange)
    with collectives.share_errors(exchange.comm):
        if not isinstance(out, str | Path | None):
            raise InputError(f"pareprop.run: out = {quote(out)} must be a path")
        until = None if until is None else check_number("pareprop.run: until", until, 0)
        observers = check_observers(observers)
        config = _make_config(model, task, _without_epochs(model, task, settings), record, checkpoint)
    with contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext(), _naming_arguments():
        ended = train(
            config,
            None if out is None else str(out),
            exchange,
            launcher.split_into_replicas(exchange, replicas),
            until,
            overwrite=overwrite,
            restart=restart,
            observers=observers,
            signals=threading.current_thread() is threading.main_thread(),
        )
    if ended.signal == "SIGINT":
        raise KeyboardInterrupt
    if ended.signal:
        sys.exit(EXIT_CHECKPOINTED)
    digest = collectives.broadcast_from_root(exchange.comm, ended.simulation.hexdigest())
    phases, losses = ended.phases, list(ended.simulation.losses)
    return Trained(
        ended.directory, ended.simulation, digest, losses, list(phases.history.validations), phases.test, phases.stopped
    )


@contextlib.contextmanager
def _naming_arguments() -> Iterator[None]:
    """Context that replaces options by arguments of `run` in messages about the run directory."""
    try:
        yield
    except InputError as problem:
        text = str(problem)
        if not text.startswith("--out "):
            raise
        for option, argument in (
            ("--out ", "out = "),
            ("--overwrite", "overwrite=True"),
            ("--restart", "restart=True"),
        ):
            text = text.replace(option, argument)
        raise InputError(f"pareprop.run: {text}") from None


def _make_config(model: Model | None, task: object, settings: Given, record: object, checkpoint: object) -> Config:
    """Return the checked configuration of a call of `run`."""
    check_task(task)
    if model is None:
        if not isinstance(task, TaskBase):
            raise InputError(f"pareprop.run: model = None needs a task of pareprop.tasks, not {type(task).__name__}")
        given = {name: getattr(task, name) for name in task.model_fields_set} | dict(settings)
        chosen = parameters.validate_values(type(task), given, f"pareprop.run: task '{task.name}'")
    else:
        chosen = _make_task(model, task, settings)
    parts = (("record", Record, record), ("checkpoint", Checkpoint, checkpoint))
    return Config(chosen, *(_make_section(name, kind, given) for name, kind, given in parts))


def _without_epochs(model: Model | None, task: object, settings: Given) -> Given:
    """Return the settings with the iterations of passes through the training data, where these are given."""
    if EPOCHS not in settings:
        return settings
    here, others = f"pareprop.run: {EPOCHS}", {name: value for name, value in settings.items() if name != EPOCHS}
    if "iterations" in settings:
        raise InputError(f"{here}: iterations are given, too: give one of them")
    batch_size = model.optimizer.batch_size if isinstance(model, Model) else getattr(task, "batch_size", 1)
    return others | {"iterations": iterations_of(settings[EPOCHS], here, task, batch_size)}


def _make_task(model: Model, task: object, settings: Given) -> ScriptTask:
    if not isinstance(model, Model):
        raise InputError(f"pareprop.run: model must be a pareprop.Model, not {quote(model)}")
    known = (SETTINGS[0], EPOCHS, *SETTINGS[1:])  # epochs have become iterations by now
    if unknown := [name for name in settings if name not in known]:
        raise InputError(f"pareprop.run: unknown setting '{unknown[0]}'{parameters.suggest_name(unknown[0], known)}")
    own, arrays = describe_script(model, task)
    chosen = parameters.validate_values(ScriptTask, own | dict(settings), "pareprop.run")
    chosen.set_script_objects(model, task, arrays)
    return chosen


def _make_section(name: str, kind: type[parameters.Frozen], given: object) -> AnyValue:
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping | None):
        raise InputError(f"pareprop.run: {name} = {quote(given)} must be a table, such as {{'every': 10}}")
    return parameters.validate_values(kind, given or {}, f"pareprop.run: {name}")
