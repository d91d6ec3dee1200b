"""Learning rules given by equations on one rank: their arrays, and their passes through an interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..algorithms.rule.learner import Learner, Rules
from ..arrays import allocate_aligned
from ..kernels import layout
from ..network import learning
from ..network.connectivity import Population
from ..network.local import LocalNetwork, LocalPopulation, program_of
from ..network.model import Model
from ..neurons.compile import Program
from ..rules.definition import Eprop
from ..values import Later
from .cells import Cells
from .learning_signal import TOGETHER, Taught, write_signals


class IntervalRules(Rules):
    """Learning rules in the interval variant: a pass forward through all steps, then one backward.

    `history` has the values that neurons keep of each step, from the step before the interval on:
    (1 + n_steps, n_kept, n).

    Attributes
    ----------
    coefficients : list of ndarray
        (n_steps, n) for each learner: the gradient of an arrival in each step.
    before : ndarray
        (n_kept, n), the values that neurons kept of the last step of the previous interval.
    goes_on : bool
        Whether the next interval continues from `before`.
    """

    def __init__(self, network: LocalNetwork, kappa: float, n_steps: int, history: np.ndarray) -> None:
        super().__init__(network, kappa)
        self._history, real = history, self._real
        rows = {name: allocate_aligned((n_steps, self.n), real) for name in self._sharing}
        self.coefficients = [rows[item.at.name] for item in self.learners]
        lengths = [n_steps if item.program.n_states else min(TOGETHER, n_steps) for item in self.learners]
        sizes = [(steps, item.last - item.first, real) for steps, item in zip(lengths, self.learners, strict=True)]
        self._scratch = [item.program.allocate_scratch(*size) for item, size in zip(self.learners, sizes, strict=True)]
        read = [steps for steps, item in zip(lengths, self.learners, strict=True) if "L" in item.at.rule.signals]
        self._signal = allocate_aligned((max(read, default=0), self.n), real)
        self.before = allocate_aligned(history.shape[1:], real)
        self.goes_on = False

    def begin_interval(self, reset: bool) -> None:
        """Prepare for an interval whose neurons are reset, or continue."""
        self.goes_on = not reset and self.goes_on
        if reset:
            self.start()

    def run(self, psi: np.ndarray, taught: Taught) -> None:
        """Compute the coefficients of an interval from surrogate gradients, in the first port of `psi`.

        `psi` has the shape (n_steps, n_ports, n).
        """
        modulator = np.zeros(len(psi)) if taught.modulator is None else taught.modulator[: len(psi)]
        modulator, signals = modulator.astype(self._real), taught.signals
        for item, B, scratch in zip(self.learners, self.coefficients, self._scratch, strict=True):
            scratch[1].fill(0.0)
            steps = len(psi) if item.program.n_states else TOGETHER  # states of `neuron` need all earlier steps
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
        self,
        item: Learner,
        part: slice,
        psi: np.ndarray,
        rate: np.ndarray,
        modulator: np.ndarray,
        B: np.ndarray,
        scratch: tuple[np.ndarray, np.ndarray],
    ) -> None:
        """Compute the coefficients of steps `part`, to which the arrays belong; parts with later steps come first."""
        a, n, (number, lam) = item.first, self.n, scratch
        row = min(part.start, len(self._history) - 1)  # the history has one row where neurons keep nothing
        first = self.before if self.goes_on and not part.start else self._history[row]
        kept = self._history[part.start + 1 :, :, a:]
        item.program.call_function(
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
        constants = sum({id(item.constant): item.constant.nbytes for item in self.learners}.values())
        return constants + self.before.nbytes + sum(array.nbytes for array in arrays)


class Nobody:
    """Stub of a `LocalNetwork` with n neurons, none of which is a target of a rule."""

    def __init__(self, model: Model, n: int) -> None:
        self.model, self.neurons, self.n_readouts = model, (0, n), model.size("readout")
        self.piece_of, self.kept = dict[str, LocalPopulation](), learning.list_kept(model)

    def program_of(self, population: Population) -> Program:
        """Return the compiled model of a population, see `LocalNetwork.program_of`."""
        return program_of(population, self.kept[population.name])


def count_bytes(model: Model, n_steps: int, n: int) -> int:
    """Return the bytes that rules take in intervals of n_steps with n neurons, whether or not these are targets."""
    if not learning.list_rules(model):
        return 0
    rank: Later = Nobody(model, n)
    return IntervalRules(rank, 0.0, n_steps, np.zeros((1, 0, n))).nbytes


class EpropKind:
    """E-prop with options, in the interval variant: through a part of the derivatives, or without a filter.

    Attributes
    ----------
    is_filtered : bool
        Whether traces are filtered.
    blocks : ndarray
        Blocks of the incoming synapses; only blocks with this rule are plastic.
    neurons : object
        The kernel's view of neurons with models that follow this part of the derivatives.
    coefficients : ndarray
        (n_steps, n_ports, n), of arrivals; before a backward pass port 0 holds surrogate gradients.
    """

    def __init__(self, rule: Eprop, blocks: np.ndarray, neurons: object, coefficients: np.ndarray) -> None:
        self.is_filtered, self.blocks, self.neurons = rule.filter == "readout", blocks, neurons
        self.coefficients, self.nbytes = coefficients, coefficients.nbytes


class Kinds:
    """Blocks of the synapses by learning rule: a table for each rule, in which only blocks with this rule are plastic.

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
        projections = table.map_blocks(lambda item: item)
        found = [rules.find(item) if item.plastic else None for item in projections]
        kinds = [learning.rule_of(item) for item in projections]

        def select_blocks(some: Sequence[bool]) -> np.ndarray:
            blocks = table.blocks_again
            blocks[~np.array(some, bool), layout.PLASTIC] = 0
            return blocks

        self.of_rules = [select_blocks([k == place for k in found]) for place in range(len(rules.learners))]
        for blocks in self.of_rules:
            blocks[:, layout.PORT] = 0  # coefficients of a rule are the same for all ports
        plain = [isinstance(rule, Eprop) and rule.is_plain for rule in kinds]
        self.plain = table.blocks if all(plain) and not table.has_transmission else select_blocks(plain)
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
            self.eprop.append(EpropKind(rule, select_blocks(of), cells.with_programs(programs), coefficients))
