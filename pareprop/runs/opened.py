"""`open_run`: the results of a run, and its trained network, to test, to continue, or to learn something else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError, quote
from ..network.model import Model
from ..parallel import launcher
from ..parallel.exchange import Exchange
from ..simulation.checks import check_exchange
from ..simulation.loop import Simulation
from ..simulation.observer import Observer
from ..simulation.task import ClosedTask, Task
from ..storage import checkpoint_read
from ..storage.best_weights import BestWeights
from ..storage.opened import RunResults
from . import config
from .config import CONFIG
from .directory import BEST, CHECKPOINTS
from .phases import Phases
from .script_task import ScriptTask
from .seen import SampleChecksums


class OpenRun(RunResults):
    """Results of a run, see `RunResults`, and its network with its task.

    Parameters
    ----------
    directory : Path
        The run directory.
    trust : bool
        Whether code that its configuration names may be imported.
    """

    def __init__(self, directory: Path, trust: bool = False) -> None:
        super().__init__(directory)
        self._trust = trust

    def model(self) -> Model:
        """Return the network of the run as it was before the training; `copy_weights` and `copy_parameters` copy
        learned values.

        Raises
        ------
        InputError
            If only the script of the run has the network.
        """
        return self._load().task.build_model()

    def simulation(
        self,
        task: Task | ClosedTask | None = None,
        model: Model | None = None,
        *,
        fine_tune: bool = False,
        exchange: Exchange | None = None,
        observers: Iterable[Observer] = (),
    ) -> Simulation:
        """Collective: return the trained network in a simulation, which tests, continues, or learns something else.

        Parameters
        ----------
        task : Task, ClosedTask or None
            Task whose samples run; None: the task of the run, which must belong to the package.
        model : Model or None
            The network; None: the network of the run.
        fine_tune : bool
            False: the simulation continues the run from its latest checkpoint, to the same bits; the task must make the
            samples of the run. True: it begins at iteration 0, with weights and learned parameters of the results.
        exchange : Exchange or None
            Of all ranks; None: `pareprop.exchange()`.
        observers : iterable of Observer
            Observers.

        Returns
        -------
        Simulation
            Nothing is written into the run directory.

        Raises
        ------
        InputError
            If only the script of the run has network or task, or they differ from network and task of the run.

        Examples
        --------
        >>> open_run("runs/tones").simulation(Tones()).test(100).accuracy
        >>> tuned = open_run("runs/tones").simulation(OtherTones(), fine_tune=True)
        """
        exchange = launcher.exchange() if exchange is None else check_exchange(exchange)
        chosen = self._load(model)
        network = chosen.task.build_model()
        if task is None and isinstance(chosen.task, ScriptTask) and not chosen.task.has_subject:
            made_by = chosen.task.made_by
            reason = f"class {made_by} of {chosen.task.script} makes the samples of this run"
            raise InputError(f"{self.directory}: {reason}: simulation({made_by}(...)) takes them")
        subject = chosen.task.subject if task is None else task
        if fine_tune:
            network.copy_weights(self)
            network.copy_parameters(self)
            settings = chosen.task.make_settings() if task is None else None
            return Simulation(network, subject, exchange, observers, settings)
        best = BestWeights(self.directory / BEST, chosen.list_fixed_keys()) if chosen.task.keep_best else None
        phases, seen = Phases(chosen.task, chosen.task.iterations, None, best), SampleChecksums()
        simulation = Simulation(network, subject, exchange, [phases, seen], chosen.task.make_settings())
        path, _ = checkpoint_read.load(simulation, self.directory / CHECKPOINTS, chosen.list_fixed_keys())
        seen.require_same(simulation, str(path))
        if best is not None and phases.kept is not None:
            best.restore_network(simulation, phases.kept[0])
        simulation.observers = list(observers)
        return simulation

    def _load(self, model: Model | None = None) -> config.Config:
        """Return the configuration of the run; `model` replaces the network of a script."""
        chosen = config.load_of_run(self.directory / CONFIG, trust=self._trust)
        if model is None:
            return chosen
        if not isinstance(chosen.task, ScriptTask):
            raise InputError(f"{self.directory}: model = {quote(model)}: the run has its own network, not a script's")
        chosen.task.set_script_objects(model)
        return chosen


def open_run(directory: str | Path, trust: bool = False) -> OpenRun:
    """Open a run.

    Parameters
    ----------
    directory : str or Path
        The run directory.
    trust : bool
        Whether code that its configuration names, such as an environment, may be imported; needed for runs of others.

    Returns
    -------
    OpenRun
        Losses, spikes, weights and parameters, as NumPy arrays or pandas frames; the trained network.

    Raises
    ------
    InputError
        If there are no results of a run.

    Examples
    --------
    >>> run = open_run("runs/sine-waves-1")
    >>> run.losses["loss"], run.losses.to_pandas(), run.test
    >>> run.spikes("last"), run.weights("rec->rec"), run.parameters("rec")
    >>> run.simulation().test(100)
    """
    if not isinstance(directory, str | Path):
        raise InputError(f"open_run: directory = {quote(directory)} must be a path")
    return OpenRun(Path(directory), trust)
