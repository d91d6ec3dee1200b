"""Notices: warnings of a run, each once, in one line.

Rank 0 gives them as a `ParepropWarning`; `Simulation.notices` holds all lines, for the log, the results and the report.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from ..algorithms.choice import explain_each_step
from ..algorithms.plan import NetworkPlan
from ..engines.base import Engine
from ..engines.plasticity import Plastic
from ..engines.sample import Sample
from ..errors import ParepropWarning, shorten
from ..network.connectivity import Projection
from ..network.learning import lacks_rates, reads_signals, rule_of
from ..network.local import LocalNetwork, is_custom_model
from ..network.losses import LOSSES
from ..network.model import Model
from ..network.optimizers import default_optimizer
from ..network.reward import Reward
from ..parallel import collectives
from ..parallel.exchange import Exchange
from ..values import AnyValue
from .score import Score

PACKAGE = __name__.partition(".")[0]
SHARE = 0.05  # a notice warns of lost spikes above this fraction: noise loses a few and still works
CHANCE = 3.0  # and of lost spikes of step 0 only above this times the mean of a step
GROWTH = 100.0  # a training diverges if its loss exceeds this times the first iteration's
SILENT = 10  # iterations without a spike, after which a notice says so
SOON, HARDLY = 100, 0.1  # a notice names the default optimizer if the loss falls by less than this in SOON iterations
SAMPLED = 4096  # gradients of about this many synapses of a projection are checked for explosion
ROUNDING = float(np.finfo(np.float32).eps)
LOST = "as in NEST, spikes that arrive in the first step of an interval (row 0 of a raster, delay 1) are lost"
OF_EACH = 10  # samples for each class, in fewer of which chance may leave out one
FEW = 50  # a loss that is called step by step is compared with its errors in about this many steps


class Notices:
    """The notices of a simulation, each once.

    `speaks` is whether this rank prints them; with `silent` there are none, on any rank.

    Attributes
    ----------
    lines : list of str
        All notices so far.
    trained, lost : int
        Input spikes of training samples so far, and the number of them that were lost because they came in step 0.
    """

    def __init__(self, speaks: bool, silent: bool = False) -> None:
        self.speaks, self._silent = speaks, silent
        self.lines: list[str] = []
        self._kinds: set[str] = set()
        self._n_inputs = self.trained = self.lost = 0  # input spikes so far
        self._largest_loss = 0.0
        self._silent_loss = 0.0  # spike variant: loss of the first sample if readouts stayed at 0

    def report_notice(self, kind: str, line: str) -> None:
        """Warn by a line, unless one of its kind was given before."""
        if kind in self._kinds or self._silent:
            return
        self._kinds.add(kind)
        self.lines.append(line)
        if self.speaks:
            warnings.warn(line, ParepropWarning, stacklevel=_find_stack_level())

    def check_network(self, network: LocalNetwork, plan: NetworkPlan | None, exchange: Exchange, n_steps: int) -> None:
        """Collective: warn of parts of a network without effect, see `list_network_notices`."""
        for kind, line in () if self._silent else list_network_notices(network, plan, exchange, n_steps):
            self.report_notice(kind, line)

    def check_sample(self, sample: Sample, index: int, phase: str, engine: Engine, generated: bool) -> None:
        """Warn of spikes of a sample that get lost, of a label without readouts, and of a raster that holds rates.

        There is no notice about step 0 for a task that draws its spikes itself (`generated`).
        """
        model, here = engine.network.model, f"sample {index} of '{phase}'"
        if odd := sample.inputs.non_binary_value:
            what = f"the raster holds {odd:g}, which counts as one spike like all but 0"
            self.report_notice("rates", f"{here}: {what}; Sample.from_rates draws spikes from rates")
        if lost := sample.inputs.n_unusable:
            what = f"{lost} of {sample.inputs.n_events} events have times that are negative or not finite"
            self.report_notice("unusable", f"{here}: {what}, and are left out")
        late, events = sample.inputs.n_late, sample.inputs.n_late + int(sample.inputs.ptr[-1])
        if late > SHARE * events:
            why = f"{late} events come after the last step and are left out, {events - late} spikes are in the sample"
            self.report_notice("late", f"{here}: {why}; more steps or a longer step_us hold more")
        if sample.label is not None and not engine.network.n_readouts:
            self.report_notice(
                "label", f"{here}: label = {sample.label} is not used: the model has no readouts that predict it"
            )
        if phase == "train" and index == 0 and model.eprop.is_online and engine.loss in LOSSES.values():
            n, target = engine.settings.learning_window, sample.target
            if target is not None:
                window = slice(len(target) - n, None) if sample.window is None else sample.window
                self._silent_loss = engine.loss.evaluate(np.zeros_like(target, float), target, window).loss
        self._n_inputs += int(sample.inputs.ptr[-1])
        if not (generated or model.eprop.is_online):
            self._check_transmission(sample, here, model)
        lost, total, n_steps = int(sample.inputs.ptr[1]), int(sample.inputs.ptr[-1]), len(sample.inputs.ptr) - 1
        delays = [item.delay_range[0] for item in model.projections if item.pre.role == "input" and not item.is_empty]
        if generated or model.eprop.is_online or min(delays, default=0) != 1:
            return
        if phase == "train":
            self.trained, self.lost = self.trained + total, self.lost + lost
        if lost > max(SHARE, CHANCE / n_steps) * total:
            self.report_notice("row 0", f"{here}: {lost} of {total} input spikes never arrive: {LOST}")

    def _check_transmission(self, sample: Sample, here: str, model: Model) -> None:
        """Warn of spikes in row 0 that short-term plasticity does not count."""
        ids = sample.inputs.ids[: int(sample.inputs.ptr[1])]
        for item in model.projections if len(ids) else ():
            if item.transmission and item.pre.role == "input" and not item.is_empty and item.delay_range[0] == 1:
                own, first = sample.inputs.ids[: int(sample.inputs.ptr[-1])], model.offset(item.pre)
                lost, total = (np.count_nonzero((of >= first) & (of < first + item.pre.size)) for of in (ids, own))
                if lost:
                    what = f"x and u of '{item.name}' do not count {lost} of {total} input spikes: {LOST}"
                    self.report_notice("transmission", f"{here}: {what}; synapses with longer delays count them")

    def check_classes(
        self,
        score: Score,
        phase: str,
        trained: set[int],
        n_trained: int,
        count_available: Callable[[str], int | None],
    ) -> None:
        """Warn of classes of a test that no sample of the training had, and of a test of a single class."""
        n, counts = len(score.labels), Counter(score.labels)
        absent, enough = sorted(counts.keys() - trained), OF_EACH * score.n_classes
        if absent and trained and n_trained >= min(enough, count_available("train") or enough):
            few = shorten(", ".join(map(str, absent)))
            which = f"class{'es' * (len(absent) > 1)} {few}, of which none of {n_trained} training samples was"
            self.report_notice(
                "absent", f"{sum(counts[label] for label in absent)} of {n} samples of '{phase}' are of {which}"
            )
        if len(counts) == 1 < score.n_classes and n >= max(2, min(OF_EACH, count_available(phase) or OF_EACH)):
            what = f"all {n} samples of '{phase}' are of class {score.labels[0]}"
            self.report_notice("single", f"{what}: their accuracy does not say how well classes are told apart")

    def check_errors(self, sample: Sample, signal: np.ndarray, engine: Engine) -> None:
        """Collective: warn, on the first training sample, if a script's errors are not the derivative of its loss.

        Not for a loss that changes from call to call: this would change it, too. A loss of firing rates is checked on
        each rank with the rates of its neurons; the notice is the finding of the first rank that has one.
        """
        if engine.network.model.activity is not None:
            with engine.channel.share_errors():
                line = engine.check_activity()
            if line := next(filter(None, collectives.gather_values(engine.exchange.comm, line)), ""):
                self.report_notice("activity", line)
        loss, target, window = engine.loss, sample.target, sample.window
        if loss in LOSSES.values() or target is None or isinstance(loss, Reward) or "loss state" in self._kinds:
            return
        inside = (
            np.arange(len(target))[-engine.settings.learning_window :] if window is None else np.flatnonzero(window)
        )
        by_step = engine.network.model.eprop.is_online
        few = inside[:: max(1, len(inside) // FEW)] if by_step else inside
        if line := loss.check(signal, target, few, by_step, engine.context):
            self.report_notice("errors", line)

    def find_explosion(self, engine: Engine, losses: list[float], rates: list[float]) -> list[tuple[float, str]]:
        """Return exploding gradients on this rank, each with the line of its notice.

        A gradient explodes if a change of the weight by its rounding in single precision would change the loss by as
        much as its largest value so far. Traces that grow from step to step cause it. Adam hides it, as its steps do
        not grow with the gradient.
        """
        if self._silent:
            return []
        self._largest_loss = max(self._largest_loss, abs(losses[0]), abs(losses[-1]))
        loss = self._largest_loss + _loss_of_rates(engine, rates[-1])
        found = []
        for item, weight, squares in engine.list_squares() if loss and "explode" not in self._kinds else ():
            few = slice(None, None, 1 + len(weight) // SAMPLED)
            size = float(np.max(np.abs(weight[few]), initial=item.rate))  # at least a step, as weights may begin at 0
            gradient = math.sqrt(np.max(squares[few], initial=0.0))
            if size and not gradient * size * ROUNDING <= loss:
                what = f"gradients of {gradient:.3g} at weights up to {size:.3g} and a loss of {losses[-1]:.3g}"
                found.append((gradient, f"projection '{item.name}': traces explode: {what}; {_make_hint(item)}"))
        return found

    def report_explosion(self, found_by_rank: list[list[tuple[float, str]]]) -> None:
        """Warn of the largest gradient that `find_explosion` found on any rank."""
        self.report_notice("explode", max(pair for found in found_by_rank for pair in found)[1])

    def check_rates(self, rates: list[float]) -> None:
        """Warn if no neuron has spiked in the first iterations: nothing can be learned."""
        if len(rates) == SILENT and not any(rates):
            who = "no neuron has spiked" if self._n_inputs else "neither inputs nor neurons have spiked"
            way = "stronger weights from the inputs, a lower V_th or a current I_e make them" if self._n_inputs else ""
            self.report_notice("silent", f"{who} in {SILENT} iterations{f'; {way}' if way else ''}")

    def check_loss(self, losses: list[float], model: Model) -> None:
        """Warn if the loss has grown a hundredfold, or hardly falls with the default eta."""
        first, last = losses[0], losses[-1]
        if len(losses) == SOON and model.optimizer == default_optimizer() and not model.is_rewarded:
            early, late = sum(losses[: SOON // 5]), sum(losses[-SOON // 5 :])
            if early * (1.0 - HARDLY) < late < GROWTH * early:
                what = f"{SOON} iterations have changed the loss by {100.0 * (late / early - 1.0):+.0f} %"
                way = "give one with a larger eta, or Adam"
                self.report_notice("eta", f"{what}: no optimizer was given, and the default takes small steps; {way}")
        if "errors" in self._kinds:  # that notice states the reason
            return
        within = len(losses) == 1 and 0 < GROWTH * self._silent_loss < first
        if not model.is_rewarded and (within or 0 < GROWTH * first < last):
            rule = model.optimizer
            grown = f"iteration {len(losses)}: the loss has grown from {first:.3g} to {last:.3g}"
            if within:
                grown = (
                    f"iteration 1: the loss is {first:.3g}, that of silent readouts would be {self._silent_loss:.3g}"
                )
            usual = (model.eprop.is_online and rule.batch_size == 1 and rule.often) or rule.usual
            usual = f"{rule.eta_scaled:g}" if rule.scaled else usual
            self.report_notice(
                "loss",
                f"{grown}: the training diverges; eta is {rule.eta:g}, of which {usual} is usual here: try a tenth",
            )


def list_network_notices(
    network: LocalNetwork, plan: NetworkPlan | None, exchange: Exchange, n_steps: int
) -> Iterator[tuple[str, str]]:
    """Collective: yield the notices (kind, line) of a network that was built, the same on all ranks.

    `network` is this rank's part, `exchange` joins the ranks that hold the network. In the spike variant `plan` has the
    algorithm of each projection. Samples have `n_steps` steps.
    """
    model = network.model
    yield from ((f"model {k}", line) for k, line in enumerate(model.notes))
    yield from _list_teacher_notices(model)
    yield from _list_rate_target_notices(model)
    comm = exchange.comm if exchange.size > 1 else None
    if plan:
        yield from _list_each_step_notices(plan)
    for applied in model.perturbations:
        if applied.start >= n_steps:
            start, end = applied.options.start_ms, n_steps * model.dt_ms
            when = f"start_ms = {start:g} is not before the end of samples, {end:g} ms"
            yield f"perturbation {applied.name}", f"{applied.kind} '{applied.name}': no effect, as {when}"
    for table in (
        () if model.eprop.is_online else network.list_tables().values()
    ):  # the spike variant delivers them later
        for span in table.spans:
            item = span.projection
            latest = n_steps if item.pre.role == "input" else n_steps - 1
            if item.pre.role == "readout" or item.pre.role == "current" or item.delay_range[1] <= latest:
                continue
            late = np.flatnonzero(span.delays > latest)
            lengths = [int(table.count_by_source(span, k)[1].sum()) for k in late.tolist()]
            counts = np.array([sum(lengths), span.last - span.first])
            n, total = (collectives.sum_over_ranks(comm, int(count)) for count in counts)
            if n:
                why = f"their delays are above {latest} steps, samples have {n_steps}"
                yield (
                    f"late {item.name}",
                    f"projection '{item.name}': {n} of {total} synapses never bring a spike: {why}",
                )


def _list_each_step_notices(plan: NetworkPlan) -> Iterator[tuple[str, str]]:
    """Yield notices of projections whose synapses take each time step because of `optimize_each_step` alone."""
    names: dict[tuple[str, bool], list[str]] = {}
    for name, item in plan.plans.items():
        if reason := explain_each_step(item):
            names.setdefault((reason, item.request.optimizer.accumulates), []).append(repr(name))
    for (reason, same), those in names.items():
        what = "weights are the same unless one meets a bound" if same else "it steps at arrivals, to other weights"
        line = f"synapses take each time step one by one, as {reason}; optimize_each_step = False is faster: {what}"
        yield f"each step {reason}", f"{', '.join(those)}: {line}"


def _make_hint(item: Plastic) -> str:
    """Return advice against traces that explode."""
    post = item.span.projection.post
    if is_custom_model(post):
        return f"check() of neuron model '{post.model}' states why"
    return "a lower surrogate_gradient_height makes them smaller"


def _loss_of_rates(engine: Engine, rate_hz: float) -> float:
    """Estimate the loss of a sample by firing-rate regularisation (`c_reg`), which reported losses omit."""
    steps_per_s, total = 1000.0 / engine.network.model.dt_ms, 0.0
    for group in engine.network.model.of_role("recurrent"):
        rate = max(rate_hz, float(np.max(_list_values(group.params.f_target)))) / steps_per_s
        if c_reg := float(np.max(_list_values(group.params.c_reg))):
            total += group.size * c_reg * rate * rate  # "rate**2" raises OverflowError
    return 0.5 * engine.n * total


def _list_rate_target_notices(model: Model) -> Iterator[tuple[str, str]]:
    """Yield a notice of gradients of learning rules that leave out regularization of firing rates."""
    for item in model.projections:
        if item.plastic and lacks_rates(item) and np.any(_list_values(getattr(item.post.params, "c_reg", 0.0))):
            unread = f"c_reg and f_target of '{item.post.name}' have no effect on it: write (L + F) in place of L"
            yield f"rates {item.name}", f"'{item.name}': rule {rule_of(item).name} reads L alone, so {unread}"


def _list_teacher_notices(model: Model) -> Iterator[tuple[str, str]]:
    """Yield a notice of projections that no learning signal reaches, such as those onto the first of two layers."""
    readouts = [item for item in model.projections if (item.pre.role, item.post.role) == ("readout", "recurrent")]
    readouts = [item for item in readouts if not item.is_empty]
    reached = {item.post.name for item in readouts} | set(model.local.of if model.local else ())
    idle: list[Projection] = []
    regularized: list[Projection] = []
    for item in model.projections:
        if item.plastic and reads_signals(item) and item.post.role == "recurrent" and item.post.name not in reached:
            has_rate = model.activity is not None or np.any(_list_values(getattr(item.post.params, "c_reg", 0.0)))
            (regularized if has_rate else idle).append(item)
    for items, what in ((idle, "nothing"), (regularized if readouts else [], "from its firing rates alone")):
        if not items:
            continue
        names = ", ".join(repr(item.name) for item in items)
        layer, why = items[0].post.name, f"learns {what}, as no learning signal reaches its targets"
        calls = [f", as by connect({item.name}, {layer}, weight=Normal(std=0.1))" for item in model.of_role("readout")]
        way = f"connect readouts to them{calls[0] if calls else ''}"
        yield f"taught {what}", f"{names}: {why}: {way}, or give plastic=False"


def _list_values(value: object) -> AnyValue:
    return value if isinstance(value, int | float | np.ndarray) else 1.0  # drawn values are not 0


def _find_stack_level() -> int:
    """Return the stack level of the first caller outside of the package, whose line a warning names."""
    frame, depth = sys._getframe(2), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == PACKAGE:
        frame, depth = frame.f_back, depth + 1
    return depth
