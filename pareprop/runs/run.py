"""A run in its directory, with all its observers: started from a configuration, or resumed from a checkpoint.

`config.toml` holds the effective configuration, `results.h5` the results, `checkpoints/` the state, `record/` the
recording of section [record].
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import files, terminal
from ..engines import footprint
from ..errors import InputError
from ..network.model import Model, describe_model
from ..parallel import collectives
from ..parallel.agreement import require_agreement
from ..parallel.exchange import Exchange
from ..simulation import building
from ..simulation.checks import name_classes
from ..simulation.loop import Simulation, check_replicas
from ..simulation.notices import LOST
from ..simulation.observer import Observer
from ..simulation.observer_calls import name_observers
from ..simulation.schedule import Annealing
from ..storage import checkpoint_read, checkpoint_write
from ..storage.best_weights import BestWeights
from ..storage.checkpoint_observer import Checkpoints
from ..storage.disk import on_disk, remove_leftover
from ..storage.record_settings import check
from ..storage.recorder import Recorder
from ..storage.repartition import Repartition
from ..storage.results import ResultsFile
from ..values import Values
from .config import DIGEST_LINE, Config
from .counters import Counters
from .directory import (
    BEST,
    CHECKPOINTS,
    CONFIG,
    RECORD,
    RESULTS,
    claim_directory,
    clear_run,
    is_run,
    reopen_directory,
)
from .log import Log, require_tensorboard
from .phases import Phases
from .population_rates import PopulationRates, SilentPopulations
from .progress import Progress
from .provenance import Provenance
from .seen import SampleChecksums
from .summary import describe_waiting, start_lines

# settings without effect if nothing is validated
VALIDATED = ("patience", "keep_best", "stop_below", "stop_above", "n_validate")
LATEST = 10  # iterations over which the difference from published rates at the end is averaged
EXIT_CHECKPOINTED = 75  # EX_TEMPFAIL: a signal stopped the run after a checkpoint; resume it


@dataclass
class Run:
    """A simulation with its observers and its directory.

    Attributes
    ----------
    config : Config
        The configuration.
    directory : Path
        The run directory.
    exchange : Exchange
        Exchange of all ranks.
    until : int or None
        Iteration after which to stop, None for the end of the training.
    signals : bool
        Whether to handle signals that stop the run.
    group : Exchange or None
        Exchange of this rank's replica group, None for all ranks.
    observers : sequence of Observer
        Observers of a script, called before the others, so that they do not see the weights of the test.
    rates_hz : dict of str to float
        Rates of populations in Hz, see `Model`.
    tests : bool
        Whether the test follows the training.
    draws : bool
        Whether figures follow, if the configuration asks for some.
    last : int
        Iteration after which this part of the run ends.
    """

    config: Config
    directory: Path
    exchange: Exchange
    until: int | None = None
    signals: bool = False
    group: Exchange | None = None
    observers: Sequence[Observer] = ()
    rates_hz: dict[str, float] = field(default_factory=dict)
    tests: bool = True
    draws: bool = True

    def __post_init__(self) -> None:
        task, iterations = self.config.task, self.config.task.iterations
        require_tensorboard(task.log)
        self.last = iterations if self.until is None else min(self.until, iterations)
        self.counters = Counters(self.exchange.comm)
        with collectives.share_errors(self.exchange.comm):  # data may be out of reach of one rank alone
            model = task.build_model()
            model.rates_hz = self.rates_hz
            task.require_samples()
            observers = self._all_observers(model)
        self.simulation = Simulation(model, task.subject, self.group or self.exchange, observers, task.make_settings())
        fields = type(task).model_fields
        given = [name for name in VALIDATED if name in fields and getattr(task, name) not in (fields[name].default, 0)]
        if given and not task.validates:
            why = f"validate_every = {task.validate_every}, iterations = {iterations}"
            self.simulation.notices.report_notice(
                "validated", f"{', '.join(given)}: no effect, as nothing is validated: {why}"
            )

    def _all_observers(self, model: Model) -> list[Observer]:
        """Return the observers of the run in the order of their calls; this is where a new one belongs."""
        task = self.config.task
        attributes = {
            "task": task.name,
            "figure": task.figure,
            "seed": task.seed,
            "config": self.config.to_json(),
            "config_digest": self.config.compute_digest(),
            "model": describe_model(model),
            **task.list_attributes(),
        }
        annealing = Annealing(task.schedule, task.decay_iterations, task.list_scheduled())
        best = BestWeights(self.directory / BEST, self.config.list_fixed_keys()) if task.keep_best else None
        self.phases, self.seen = Phases(task, task.iterations, annealing, best, self.tests), SampleChecksums()
        self.spiked = SilentPopulations()
        watched = [PopulationRates()] if "reference_hz" in attributes else []
        samples, recorded = (
            task.list_recorded_samples(),
            {("test", k): f"test-{k}" for k in range(self.config.record.test)},
        )
        also = task.list_sample_aliases() | {name: samples[key] for key, name in recorded.items() if key in samples}
        more = [self.phases.write, *(rates.write for rates in watched)]
        self.file = ResultsFile(
            self.directory / RESULTS,
            attributes,
            recorded | samples,
            more=more,
            links=also,
            keeps_weights=self.config.record.weights,
        )
        settings = self.config.checkpoint
        self.checkpoints = Checkpoints(
            self.directory / CHECKPOINTS,
            self.config.list_fixed_keys(),
            self.last,
            settings.every,
            settings.minutes,
            settings.keep,
            self.signals,
            self.observers,
        )
        recorders = []
        if self.config.record.every:
            check(self.config.record, model)
            recorders = [Recorder(self.directory / RECORD, self.config.record)]
        about = {"task": task.name, "config_digest": self.config.compute_digest(), "seed": task.seed}
        if model.backgrounds:
            about["background"] = "; ".join(item.format_line() for item in model.backgrounds)
        if model.perturbations:
            about["perturbed"] = "; ".join(item.format_line() for item in model.perturbations)
        groups = model.of_role("recurrent")
        areas = {item.area: [group.name for group in groups if group.area == item.area] for item in groups if item.area}
        if areas:
            about["areas"] = "; ".join(f"{area}: {', '.join(names)}" for area, names in areas.items())
        notes = self.provenance = Provenance(self.directory, about, self.counters)
        log, progress = Log(self.directory, self.last, self.phases, task.log), Progress(self.last, self.phases)
        learning, written = [annealing, self.phases, self.seen, self.spiked, *watched], [self.file, *recorders]
        self.repartition = Repartition(self.last)
        return [*self.observers, *learning, *written, progress, log, notes, self.checkpoints, self.repartition]

    def begin_run(self) -> None:
        """Collective: remove checkpoints and recordings of an older run and write the configuration."""
        with on_disk(self.exchange.comm, "run directory", self.directory):
            if self.exchange.rank == 0:
                clear_run(self.directory)
                self._write_config()

    def _write_config(self) -> None:
        part = remove_leftover(self.directory / f"{CONFIG}.part")
        part.write_text(self.config.to_toml() + f"\n{DIGEST_LINE} {self.config.compute_digest()}\n")
        self.config.task.write_files(self.directory)
        os.replace(part, self.directory / CONFIG)

    def resume_run(self) -> None:
        """Collective: load the latest undamaged checkpoint, and warn of later ones. Save the changed configuration.

        The next resume then continues to the same end.
        """
        folder, identity = self.checkpoints.folder, self.checkpoints.identity
        path, complaints = checkpoint_read.load(
            self.simulation, folder, identity, self._require_recording, self._ensure_results
        )
        self.seen.require_same(self.simulation, str(path))
        self.checkpoints.latest = path
        with on_disk(self.exchange.comm, "run directory", self.directory):
            if self.exchange.rank == 0:
                self._write_config()
        if self.exchange.rank == 0:
            for line in complaints:
                terminal.echo(f"pareprop: warning: {line}; the one before is used", err=True)
            terminal.echo(f"resumed: {path}, {self.simulation.iteration} iterations done")
            if self.rates_hz and self.simulation.network.n_sharing > 1:
                low, high = min(self.rates_hz.values()), max(self.rates_hz.values())
                terminal.echo(f"neurons are shared among ranks by measured rates, {low:.3g} to {high:.3g} Hz")

    def _ensure_results(self, path: Path, complaints: list[str]) -> None:
        """Collective: rewrite damaged results, while the simulation has its initial weights."""
        wrong = collectives.run_in_first_group(self.simulation.replicas, self.file.ensure_file, self.simulation)
        if wrong and self.exchange.rank == 0:
            terminal.echo(f"pareprop: warning: {wrong}; it is written anew", err=True)

    def _require_recording(self, numbers: Values, rank: int, size: int) -> None:
        """Raise a ValueError if this rank's part of the recording that a checkpoint refers to is damaged."""
        for name, observer in name_observers(self.simulation):
            if isinstance(observer, Recorder) and name in numbers:
                observer.require_readable(numbers[name], rank, size)

    def train(self) -> None:
        """Collective: train to the end; print and draw the results."""
        simulation, before = self.simulation, self.simulation.iteration
        lines = start_lines(simulation, self.config.task, self.last)
        if self.exchange.rank == 0:
            terminal.echo("\n".join(lines + self._describe_length()))
            terminal.echo(f"configuration: {self.directory / CONFIG}, digest {self.config.compute_digest()[:16]}")
        try:
            losses = simulation.train(self.last)
        finally:
            self.checkpoints.restore_handlers()
        digest = self.file.digest or simulation.hexdigest()  # other groups of ranks write no file
        lost = self._lost_inputs(before) + self.spiked.format_lines()
        if self.exchange.rank == 0:
            if losses:
                terminal.echo(f"loss: {losses[0]:.6g} in the first iteration, {losses[-1]:.6g} in the last")
            for line in (
                self.phases.format_lines()
                + _describe_clipping(self.simulation)
                + lost
                + self.config.task.list_remarks()
                + self.repartition.format_lines()
            ):
                terminal.echo(line)
        self._draw_figures()
        if self.exchange.rank == 0:
            model = self.simulation.model
            advised = describe_waiting(self.provenance.parts[-1], model.size("recurrent"), model.optimizer.batch_size)
            for line in self._describe_correlations() + self._describe_rates() + advised:
                terminal.echo(line)
            terminal.echo(f"results: {self.file.path}")
            self._report_end()
            terminal.echo(f"digest: {digest}")

    def _describe_length(self) -> list[str]:
        """Return a line on a training that has ended before, or ends before the iteration that was asked for."""
        task, until = self.config.task, self.until
        done, total = self.simulation.iteration, task.iterations
        asked = "" if until is None else f", until = {until}"
        n = "N" if until is None or until <= max(done, total) else until
        longer = f"`--set iterations={n}`, or iterations={n} in a script, makes it longer"
        none = f"{done} of {total} iterations done{asked}; none are added"
        tested = ", the network is tested" if self.tests and task.test_samples else ""
        if self.phases.stopped:
            return [f"training: ended early ({self.phases.stopped_by}) with {none}{tested}"]
        if done >= total > 0:
            return [f"training: ended with {none}{tested}; {longer}"]
        if until is not None and until > total:
            return [f"training: ends after {total} iterations{asked}; {longer}"]
        return [f"training: {none}"] if until is not None and 0 < until <= done else []

    @property
    def signal(self) -> str:
        """Name of the signal that cut the run short, "" for none."""
        return self.checkpoints.asked if self.simulation.iteration < self.config.task.iterations else ""

    def _lost_inputs(self, before: int) -> list[str]:
        """Collective: return a line on input spikes lost in step 0, if any, in training after `before` iterations."""
        notices, comm = self.simulation.notices, self.exchange.comm
        counts = (0, 0) if self.simulation.exchange.rank else (notices.lost, notices.trained)  # once for each group
        lost, trained = (collectives.sum_over_ranks(comm, count) for count in counts)
        if not lost:
            return []
        when = f" since the resume after iteration {before}" if before else ""
        return [f"lost inputs: {lost:,} of {trained:,} spikes ({lost / trained:.2%}) in training{when}: {LOST}"]

    def _describe_correlations(self) -> list[str]:
        """Return a line on the correlations of neurons with their targets, before and after learning."""
        if self.simulation.model.local is None:
            return []
        with files.open_results(self.file.path) as file:
            places = (f"dynamics/{name}/correlation" for name in ("first", "last"))
            found = [file[place][()] for place in places if place in file]
        if not found:
            return []
        first, last = (f"{values.mean():z.3f} (median {np.median(values):z.3f})" for values in (found[0], found[-1]))
        n = len(found[-1])
        return [f"correlation with targets: mean {first} in the first sample, {last} in the last, n = {n} neurons"]

    def _describe_rates(self) -> list[str]:
        """Return lines on the rates of populations in the last sample, and on their difference from published rates."""
        from ..plots import reader

        if self.config.task.figure != reader.POPULATIONS or self.checkpoints.asked:
            return []
        from ..plots import populations  # loads matplotlib

        with files.open_results(self.file.path) as file:
            measured = populations.of_sample(file, file["dynamics/last"]) if "dynamics/last" in file else []
            off = populations.compute_differences(file)
        lines = (
            [f"rates: {', '.join(f'{item.name} {item.rates.mean():.2f} Hz' for item in measured)}"] if measured else []
        )
        if len(off) > 1:
            when = f"in the first iteration, {off[-LATEST:].mean():.0%} in the last {min(LATEST, len(off))}"
            lines.append(f"difference from the published rates: {off[0]:.0%} {when}")
        return lines

    def _draw_figures(self) -> None:
        """Collective: draw the figures, unless none are wanted, or a signal stopped the run and time is short."""
        formats = self.config.task.figures if self.draws else "none"
        if self.checkpoints.asked or formats == "none":
            if self.exchange.rank == 0:
                terminal.echo(f"figures: none drawn; `pareprop plot {self.directory}` draws them")
            return
        with on_disk(self.exchange.comm, "figures", self.directory):
            if self.exchange.rank == 0:
                try:
                    draw_run(self.directory, pdf=formats == "pdf", report=True)
                except InputError as problem:  # the results were removed since they were written
                    raise OSError(str(problem)) from None

    def _report_end(self) -> None:
        done, iterations = self.simulation.iteration, self.config.task.iterations
        if done < iterations and not self.phases.stopped:
            why = f"stopped by {self.checkpoints.asked}" if self.checkpoints.asked else "stopped as requested"
            terminal.echo(f"{why} after {done} of {iterations} iterations; checkpoint: {self.checkpoints.latest}")
            terminal.echo(f"{self.config.task.describe_resume(self.directory)} continues from there")


def train(
    config: Config,
    out: str | None,
    exchange: Exchange,
    group: Exchange,
    until: int | None = None,
    *,
    overwrite: bool = False,
    restart: bool = False,
    observers: Sequence[Observer] = (),
    signals: bool = True,
    tests: bool = True,
) -> Run:
    """Collective: train in a directory, from the start or, with `restart`, from the checkpoint of a run there.

    `out` is the run directory; None: the next free `runs/TASK-NUMBER`. `exchange` joins all ranks, `group` this rank's
    replica group. The run stops after iteration `until`; None: at its end. With `overwrite` it replaces the files of a
    run in the directory. `observers` belong to a script. `signals` is whether signals stop the run, `tests` whether the
    test follows the training. Raises an `InputError` if the run is not possible; nothing is written then.
    """
    comm = exchange.comm
    places = {"out": str(out), "until": str(until), "overwrite": str(overwrite), "restart": str(restart)}
    places["tests"] = str(tests)
    require_agreement(comm, "run()", config.list_facts() | places | {"observers": name_classes(observers)})
    require_possible(config, group)
    old = (
        Path(out) if restart and out is not None and collectives.broadcast_from_root(comm, is_run(Path(out))) else None
    )
    with ExitStack() as stack:
        if old is not None:
            stack.enter_context(reopen_directory(comm, old))
        directory = old or stack.enter_context(claim_directory(comm, out, config.task.name, overwrite))
        folder = directory / CHECKPOINTS
        rates = {} if old is None else checkpoint_read.measured_rates(folder, exchange)
        run = Run(config, directory, exchange, until, signals, group, observers, rates, tests)
        saved = old is not None and bool(checkpoint_write.list_checkpoints(folder))
        if collectives.broadcast_from_root(comm, saved):
            run.resume_run()
        else:
            run.begin_run()
        run.train()
    return run


def require_possible(config: Config, group: Exchange) -> None:
    """Collective: raise `InputError` unless the ranks can train this configuration, before anything is written."""
    with collectives.share_errors(group.replicas.world or group.comm):
        model, settings = config.task.build_model(), config.task.make_settings()
        check_replicas(group.replicas.count, model, settings)
        check(config.record, model)
    plan = building.choose_algorithms(model, group, settings)
    with collectives.share_errors(group.replicas.world or group.comm):
        footprint.require_memory(model, config.task.n_steps, size=group.size, plan=plan)
        if config.record.test > config.task.test_samples:
            reason = f"there are test_samples = {config.task.test_samples} in section [run]"
            raise InputError(f"[record] test = {config.record.test}: {reason}")


def draw_run(directory: Path, pdf: bool = True, report: bool = False) -> None:
    """Draw the figures of a run from its results, print their paths, and write the report that shows them."""
    with _pause_garbage_collector():
        from ..plots import draw_figures as plot  # loading matplotlib takes longer than most commands

        print_figures(plot(directory, pdf=pdf))
        if report:
            from .report import write

            terminal.echo(f"report: {write([directory])}")


@contextmanager
def _pause_garbage_collector() -> Iterator[None]:
    """Switch off the garbage collector, which takes a fifth of the drawing: figures are many small objects."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def draw_seeds(directories: list[Path], out: Path) -> None:
    """Draw the figures that compare runs of several seeds and print their paths."""
    from ..plots import draw_seeds as plot

    print_figures(plot(directories, out))


def print_figures(paths: Iterable[Path]) -> None:
    """Print the paths of figures that were drawn."""
    for path in paths:
        if path.suffix == ".png":
            terminal.echo(f"figure: {path}")


def _describe_clipping(simulation: Simulation) -> list[str]:
    """Return a line on how many gradients were longer than `max_norm`, and how long all were."""
    most, norms = simulation.model.optimizer.max_norm, np.array(simulation.gradient_norms)
    norms = norms[np.isfinite(norms)]
    if most is None or not len(norms):
        return []
    n, between = np.count_nonzero(norms > most), f"{norms.min():.3g} to {norms.max():.3g}"
    return [
        f"gradients: {n} of {len(norms)} were above max_norm = {most:g} and scaled down; norms {between}, median "
        f"{np.median(norms):.3g}"
    ]
