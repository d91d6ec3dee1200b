"""Learning rules given by equations on one rank: their arrays, and their passes through an interval."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ..algorithms.plan import RULE_FOLD_STEPS, NetworkPlan
from ..arrays import allocate_aligned
from ..kernels import layout
from ..network import learning
from ..network.connectivity import Projection
from ..network.learning import RuleAt
from ..network.local import LocalNetwork, LocalPopulation, cell_values
from ..network.model import Model
from ..network.rule_options import definition_of
from ..rules.definition import Eprop
from ..rules.program import Places, RuleProgram, compile_rule
from ..values import Later, Values
from .cells import Cells
from .learning_signal import TOGETHER, Taught, write_signals

RULE_TARGETS = np.asarray(layout.example_targets()).dtype


class Learner:
    """A learning rule with its parameters at one population, on this rank.

    Attributes
    ----------
    at : RuleAt
        The rule, its parameters and targets.
    program : RuleProgram
        Its kernels.
    first, last : int
        Half-open range of its targets among this rank's neurons.
    state, constant : ndarray
        (n_states + n_map, n), (n_constants, n) of the model's precision: states of `neuron`, then a composed map of
        steps; constants. n: all neurons of this rank, as rules at other populations share the arrays.
    places : Places
        Numbers of targets that depend on the place of a step in its block.
    initial : ndarray
        (n_states, last - first), values of the states at the start.
    """

    def __init__(self, network: LocalNetwork, at: RuleAt, kappa: float) -> None:
        model, self.at = network.model, at
        definition = definition_of(at.post).keeping(network.kept[at.post.name])
        self.program: RuleProgram = compile_rule(learning.bind(at, definition))
        piece = network.piece_of.get(at.post.name)
        self.first, self.last = (piece.first, piece.last) if piece else (0, 0)
        n, bound = self.last - self.first, self.program.bound
        self.initial = np.zeros((self.program.n_states, n))
        self._constants = np.zeros((self.program.n_constants, n))
        self.places = Places(np.zeros(0), np.zeros((1, 0, 0)), False)
        if piece is None:
            return
        low = network.neurons[0] + self.first - model.offset(at.post)
        given = network.values_of(piece, np.arange(self.first, self.last))
        of_model = network.program_of(at.post).values(given, model.dt_ms)
        parameters = {
            name: cell_values(model, at.post, f"{at.rule.name}/{name}", value, low, low + n)
            for name, value in at.parameters.items()
        }
        kappa_of: object = of_model["kappa"] if model.eprop.is_online else kappa
        values = bound.values(parameters, of_model, model.dt_ms, kappa_of)
        self._constants[...] = self.program.constants(values, n)
        self.places = self.program.places(values, n, model.kernels.real)
        for row, value in zip(self.initial, bound.initial(values).values(), strict=True):
            row[:] = value

    def take(self, state: np.ndarray, constant: np.ndarray) -> None:
        """Use arrays that rules at other populations share, and set this population's part of them."""
        self.state, self.constant = state, constant
        constant[: len(self._constants), self.first : self.last] = self._constants
        self.start()

    def start(self) -> None:
        """Set the states of `neuron` to their initial values."""
        self.state[: len(self.initial), self.first : self.last] = self.initial


class Rules(ABC):
    """The learning rules of a network on one rank.

    Parameters
    ----------
    network : LocalNetwork
        This rank's share.
    kappa : float
        Decay of the filter of learning signals in the interval variant.

    Attributes
    ----------
    learners : list of Learner
        In order of `learning.list_rules`, the same on all ranks.
    states : dict
        Name to (n_states, n), states of `neuron`, in the spike variant with maps of steps; the names are the same on
        all ranks.
    """

    def __init__(self, network: LocalNetwork, kappa: float) -> None:
        self.network, self._real = network, network.model.kernels.real
        self.n, self._online = network.neurons[1] - network.neurons[0], network.model.eprop.is_online
        self.learners = [Learner(network, at, kappa) for at in learning.list_rules(network.model)]
        self._indices = learning.index_rules(network.model)
        self.states: dict[str, np.ndarray] = {}
        self._sharing: dict[str, list[Learner]] = {}
        for item in self.learners:
            self._sharing.setdefault(item.at.name, []).append(item)
        for name, items in self._sharing.items():
            sizes = [item.program.n_states + self._online * item.program.n_map for item in items]
            state = allocate_aligned((max(sizes), self.n), self._real)
            constant = allocate_aligned((max(item.program.n_constants for item in items), self.n), self._real)
            for item in items:
                item.take(state, constant)
            self.states[f"rule_{name}"] = state

    def find(self, projection: Projection) -> int | None:
        """Return the index of a projection's learner, None if it does not learn by a rule given by equations."""
        return self._indices.get(projection.name)

    def start(self) -> None:
        """Set the states of `neuron` to their initial values."""
        for item in self.learners:
            item.start()

    def list_arrays_to_check(self) -> dict[str, np.ndarray]:
        """Return the values that rules compute in a sample, by name, see `Engine.list_arrays_to_check`."""
        return {
            f"numbers of rule {item.at.rule.name}": rows
            for item, rows in zip(self.learners, self._computed, strict=True)
        }

    @property
    def nbytes(self) -> int:
        """Bytes of the constants."""
        return sum({id(item.constant): item.constant.nbytes for item in self.learners}.values())

    @property
    @abstractmethod
    def _computed(self) -> list[np.ndarray]:
        """Values that each learning rule computes in a sample, last axis: this rank's neurons."""


class IntervalRules(Rules):
    """Learning rules in the interval variant: a pass forward through all steps, then one backward.

    Parameters
    ----------
    network : LocalNetwork
        This rank's share.
    kappa : float
        As of `Rules`.
    n_steps : int
        Steps of an interval.
    history : ndarray
        (1 + n_steps, n_kept, n), what neurons keep of each step, from the step before the interval on.

    Attributes
    ----------
    coefficients : list of ndarray
        (n_steps, n) for each learner: what an arrival in a step adds to the gradient.
    before : ndarray
        (n_kept, n), what neurons kept of the last step of the interval before.
    goes_on : bool
        Whether the next interval goes on from `before`.
    """

    def __init__(self, network: LocalNetwork, kappa: float, n_steps: int, history: np.ndarray) -> None:
        super().__init__(network, kappa)
        self._history, real = history, self._real
        rows = {name: allocate_aligned((n_steps, self.n), real) for name in self._sharing}
        self.coefficients = [rows[item.at.name] for item in self.learners]
        lengths = [n_steps if item.program.n_states else min(TOGETHER, n_steps) for item in self.learners]
        sizes = [(steps, item.last - item.first, real) for steps, item in zip(lengths, self.learners, strict=True)]
        self._scratch = [item.program.scratch(*size) for item, size in zip(self.learners, sizes, strict=True)]
        read = [steps for steps, item in zip(lengths, self.learners, strict=True) if "L" in item.at.rule.signals]
        self._signal = allocate_aligned((max(read, default=0), self.n), real)
        self.before = allocate_aligned(history.shape[1:], real)
        self.goes_on = False

    def begin(self, reset: bool) -> None:
        """Prepare for an interval whose neurons are reset, or go on."""
        self.goes_on = not reset and self.goes_on
        if reset:
            self.start()

    def run(self, psi: np.ndarray, taught: Taught) -> None:
        """Find the coefficients of an interval from surrogate gradients, of the first port of (n_steps, n_ports, n)."""
        modulator = np.zeros(len(psi)) if taught.modulator is None else taught.modulator[: len(psi)]
        modulator, signals = modulator.astype(self._real), taught.signals
        for item, B, scratch in zip(self.learners, self.coefficients, self._scratch, strict=True):
            scratch[1].fill(0.0)
            steps = len(psi) if item.program.n_states else TOGETHER  # states of `neuron` are those of all steps before
            for start in reversed(range(0, len(psi), steps) if item.first < item.last else ()):
                part = slice(start, min(start + steps, len(psi)))
                if "L" in item.at.rule.signals:
                    if signals is None:
                        write_signals(self.network, taught.error[part], self._signal[: part.stop - start])
                    else:
                        self._signal[: part.stop - start] = signals[part]
                self._run_part(item, part, psi[part], taught.rate, modulator[part], B[part], scratch)
        if len(self.learners):
            self.before[...] = self._history[len(psi)] if self._history.shape[1] else 0.0
            self.goes_on = True

    def _run_part(
        self, item: Learner, part: slice, psi: np.ndarray, rate: np.ndarray, modulator: np.ndarray, B: np.ndarray,
        scratch: tuple[np.ndarray, np.ndarray],
    ) -> None:  # fmt: skip
        """Find the coefficients of steps `part`, to which the arrays belong; later steps come first."""
        a, n, (number, lam) = item.first, self.n, scratch
        row = min(part.start, len(self._history) - 1)  # the history has one row where neurons keep nothing
        first = self.before if self.goes_on and not part.start else self._history[row]
        kept = self._history[part.start + 1 :, :, a:]
        item.program.call(
            "interval", len(psi), item.last - a, n, item.constant[:, a:], first[:, a:], kept,
            self._history.shape[1] * n, psi[:, :, a:], psi.shape[1] * n, self._signal[:, a:], rate[a:], modulator,
            item.state[:, a:], number, number[0].size, lam, item.program.n_synapse, B[:, a:],
        )  # fmt: skip

    @property
    def _computed(self) -> list[np.ndarray]:
        return self.coefficients

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        scratch = [array for pair in self._scratch for array in pair]
        arrays = [*self.states.values(), *scratch, self._signal, *{id(B): B for B in self.coefficients}.values()]
        return super().nbytes + self.before.nbytes + sum(array.nbytes for array in arrays)


class SpikeRules(Rules):
    """Learning rules in the spike variant: values of their steps are kept in rings, which synapses read.

    Parameters
    ----------
    network : LocalNetwork
        This rank's share.
    plan : NetworkPlan
        How each projection learns.
    n_steps : int
        Steps of a sample.

    Attributes
    ----------
    modulator : ndarray
        float64 (n_steps + m + 2,), a ring of what rules read as `M`.
    """

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, n_steps: int) -> None:
        super().__init__(network, 0.0)
        self._m, self._steps = plan.m, RULE_FOLD_STEPS + plan.m + 2
        self.modulator = np.zeros(n_steps + plan.m + 2)
        modes = {(item.learner, item.settings["algorithm"]) for item in plan.plans.values()}
        self._singly = {self.learners[k].at.name for k, mode in modes if k >= 0 and mode != layout.RULE}
        sizes = {
            name: [max(getattr(item.program, key) for item in items) for key in ("n_numbers", "n_entries", "n_map")]
            for name, items in self._sharing.items()
        }
        # (steps, n_numbers, n): all steps that synapses still read, or one
        self._numbers = {
            name: allocate_aligned((self._steps if name in self._singly else 1, numbers, self.n), self._real)
            for name, (numbers, _, _) in sizes.items()
        }
        self._entries = {
            name: allocate_aligned((self._steps, entries, self.n), self._real)
            for name, (_, entries, _) in sizes.items()
        }
        self._ends = {
            name: allocate_aligned((layout.RULE_ENDS, n_map, self.n), self._real)
            for name, (_, _, n_map) in sizes.items()
        }

    @property
    def _computed(self) -> list[np.ndarray]:
        return [(self._entries if item.program.n_entries else self._numbers)[item.at.name] for item in self.learners]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays that a state keeps, by name; last axis: this rank's neurons."""
        found = {f"{name}_state_{k}": row for name, rows in self.states.items() for k, row in enumerate(rows)}
        kinds = {"entry": self._entries, "end": self._ends}
        kinds["number"] = {name: ring for name, ring in self._numbers.items() if name in self._singly}
        return found | {
            f"rule_{name}_{kind}_{k}": ring[:, k]
            for kind, rings in kinds.items()
            for name, ring in rings.items()
            for k in range(ring.shape[1])
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        modulator = self.modulator.nbytes * bool(self.learners)  # it counts only where a rule may read it
        return super().nbytes + modulator + sum(array.nbytes for array in self.arrays.values())

    def kernel_learners(self) -> Values:
        """Return the table of rules as the kernel takes it."""
        rows, self._own = [], list[np.ndarray]()  # kept: kernels have their addresses
        for item in self.learners:
            program, places, name = item.program, item.places, item.at.name
            table, shift = places.table.astype(self._real), np.zeros(self.n, self._real)
            shift[item.first : item.last] = places.shift
            if not places.shared:
                table = np.zeros((*places.table.shape[:2], self.n), self._real)
                table[:, :, item.first : item.last] = places.table
            numbers, entries, ends = self._numbers[name], self._entries[name], self._ends[name]
            arrays = {
                "constant": item.constant,
                "state": item.state,
                "number": numbers,
                "own": program.own(item.constant),
                "present": item.state[program.n_states :],
                "entry": entries,
                "end": ends,
                "table": table,
                "shift": shift,
            }
            composes = program.n_entries > 0
            fields = {key: array.ctypes.data for key, array in arrays.items()} | {
                "first": item.first,
                "last": item.last,
                "lag": self._m if item.at.rule.is_late else 0,
                "step": program.address("step", self._real),
                "trace": program.address("trace", self._real),
                "row": program.address("row", self._real) if composes else 0,
                "n_numbers": numbers.shape[1],
                "n_kept": len(numbers),
                "n_entries": entries.shape[1] if composes else 0,
                "n_ends": ends.shape[1],
                "n_columns": table.shape[1],
                "n_places": len(table),
                "shared": places.shared,
                "block": 1 << int(min(places.shift, default=0)),
            }
            self._own += arrays.values()
            rows.append(tuple(fields[key] for key in RULE_TARGETS.fields or ()))
        learners = np.array(rows, RULE_TARGETS)
        return {"table": learners, "steps": self._steps, "fold_steps": RULE_FOLD_STEPS, "modulator": self.modulator}

    def take_modulator(self, first: int, n_steps: int, given: np.ndarray | None) -> None:
        """Write the modulator `M` of steps [first, first + n_steps) into its ring."""
        places = np.arange(first, first + n_steps) % len(self.modulator)
        self.modulator[places] = 0.0 if given is None else given[:n_steps]


class _Nobody:
    """Stands in for a `LocalNetwork` with n neurons, of which none is a target of a rule."""

    def __init__(self, model: Model, n: int) -> None:
        self.model, self.neurons = model, (0, n)
        self.piece_of, self.kept = dict[str, LocalPopulation](), learning.list_kept(model)


def count_bytes(model: Model, plan: NetworkPlan | None, n_steps: int, n: int) -> int:
    """Return the bytes that learning rules take on a rank with n neurons, whether or not these are targets.

    Parameters
    ----------
    model : Model
        The whole network.
    plan : NetworkPlan or None
        Plan of the spike variant; None: the interval variant.
    n_steps : int
        Steps of a sample.
    n : int
        Number of neurons.
    """
    if not learning.list_rules(model):
        return 0
    rank: Later = _Nobody(model, n)
    return (SpikeRules(rank, plan, n_steps) if plan else IntervalRules(rank, 0.0, n_steps, np.zeros((1, 0, n)))).nbytes


class EpropKind:
    """E-prop with options, in the interval variant: through a part of the derivatives, or without a filter.

    Attributes
    ----------
    is_filtered : bool
        Whether traces are filtered.
    blocks : ndarray
        Blocks of the incoming synapses, of which only those learn that this kind is for.
    neurons : object
        The kernel's view of neurons with models that follow that part of the derivatives.
    coefficients : ndarray
        (n_steps, n_ports, n), of arrivals; as port 0 surrogate gradients, before a backward pass.
    """

    def __init__(self, rule: Eprop, blocks: np.ndarray, neurons: object, coefficients: np.ndarray) -> None:
        self.is_filtered, self.blocks, self.neurons = rule.filter == "readout", blocks, neurons
        self.coefficients, self.nbytes = coefficients, coefficients.nbytes


class Kinds:
    """Which blocks of the incoming synapses learn by which rule: a table for each rule, in which no other block learns.

    Attributes
    ----------
    plain : ndarray
        Blocks that learn by e-prop without options.
    of_rules : list of ndarray
        Blocks of each learner.
    eprop : list of EpropKind
        E-prop with options.
    onto_readouts : ndarray
        Blocks of the outgoing synapses.
    """

    def __init__(self, network: LocalNetwork, rules: Rules, cells: Cells, n_steps: int) -> None:
        model, table = network.model, network.incoming
        projections = table.by_block(lambda item: item)
        found = [rules.find(item) if item.plastic else None for item in projections]
        kinds = [learning.rule_of(item) for item in projections]

        def chosen(some: Sequence[bool]) -> np.ndarray:
            blocks = table.blocks_again
            blocks[~np.array(some, bool), layout.PLASTIC] = 0
            return blocks

        self.of_rules = [chosen([k == place for k in found]) for place in range(len(rules.learners))]
        for blocks in self.of_rules:
            blocks[:, layout.PORT] = 0  # coefficients of a rule are the same for all ports
        plain = [isinstance(rule, Eprop) and rule.is_plain for rule in kinds]
        self.plain = table.blocks if all(plain) and not table.has_transmission else chosen(plain)
        outgoing = network.outgoing
        self.onto_readouts = outgoing.blocks_again if outgoing.has_transmission else outgoing.blocks
        shape = n_steps, max(network.widths["ports"], 1), rules.n
        self.eprop = []
        for rule in learning.list_eprop(model):
            of = [
                isinstance(kind, Eprop) and (kind.through, kind.filter) == (rule.through, rule.filter) for kind in kinds
            ]
            posts = {item.post.name for item, mine in zip(projections, of, strict=True) if mine}
            programs = [
                network.program_of(piece.population, rule.through if name in posts else "all")
                for name, piece in network.piece_of.items()
            ]
            coefficients = allocate_aligned(shape, model.kernels.real)
            self.eprop.append(EpropKind(rule, chosen(of), cells.with_programs(programs), coefficients))
