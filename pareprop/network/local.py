"""One rank's part of a network: parameters and initial states of its neurons, and the synapses onto them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import elementary, rng
from ..arrays import allocate_aligned, copy_aligned
from ..errors import InputError
from ..kernels import layout, members, readout_sums
from ..neurons.compile import Program, compile_model
from ..neurons.derive import NO_LEARNS
from ..parallel.messages import Sources
from ..values import AnyValue, Given
from . import learned, rewire
from .connectivity import Population, Projection
from .drawing import Draft, find_local_range
from .feedback import TiedFeedback
from .learning import list_kept
from .model import Model
from .neurons import PLAIN, round_up_steps
from .parameters import Distribution, Frozen, list_bounds
from .partition_bounds import choose_bounds
from .rule_options import definition_of
from .sharing import count_sharing
from .synapse_table import SynapseTable

# parameters in `cells` of NEST's own neurons, 0 for custom models
OF_NEST = ("alpha", "zeta", "rho", "E_L", "V_th", "V_init", "adapt_beta", "refractory_input")
WIDTHS = ("constants", "states", "ports", "kept", "adjoint", "traces")  # numbers of a neuron in a compiled model
READOUT_CONSTANTS = ("alpha", "zeta", "drive", "V_min", "V_init", "E_L")
ALMOST_ALL = 0.875  # a rank that needs the spikes of a larger fraction of the neurons gets all spikes
WINDOW = 2**26  # neurons that a rank checks at a time for synapses here, in 8 MiB


@dataclass
class LocalPopulation:
    """The neurons of one population on a rank.

    Attributes
    ----------
    index : int
        Index among the rank's populations, in order of the neurons.
    population : Population
        Their population.
    program : Program
        Their compiled model.
    first, last : int
        Half-open range of the rank's neurons.
    values : dict or None
        If neurons learn: name to float64 (n,), all current parameters; see `LocalNetwork.update_learned`.
    """

    index: int
    population: Population
    program: Program
    first: int
    last: int
    values: dict[str, np.ndarray] | None = None


class LocalNetwork:
    """One rank's part of a network.

    Parameters
    ----------
    model : Model
        The whole network.
    rank, size : int
        This rank, and the number of ranks.
    nodes : np.ndarray or None
        int64 (n_nodes + 1,), first rank of each node, and the number of ranks; None: one node.

    Attributes
    ----------
    n_sharing : int
        Number of ranks that have neurons, see `sharing`.
    cuts : np.ndarray
        int64 (size + 1,), first neuron of each rank, and the number of all.
    neurons : tuple of int
        Half-open range of this rank's recurrent neurons. Readouts belong to no rank: every rank updates all.
    incoming : SynapseTable
        Synapses onto the neurons from inputs and neurons.
    outgoing : SynapseTable
        Synapses from the neurons onto the readouts.
    feedback : SynapseTable
        Synapses from readouts onto the neurons.
    currents : SynapseTable
        Synapses from graded sources onto the neurons.
    sources : Sources
        Neurons with targets on this rank; tables have rows only for these, and only their spikes are needed.
    following : TiedFeedback
        Feedback weights tied to readout synapses.
    cells : dict
        Name to float64 (n_neurons,): parameters of the neurons in units of the kernels, see `_compute_parameters`.
    pieces : list of LocalPopulation
        A piece for each population with neurons here.
    piece_table : np.ndarray
        int64 (n_pieces, 3), first neuron of each piece, one past its last, bits of the neuron model, see layout.pxd.
    piece_of : dict of str to LocalPopulation
        Name of each population with neurons here to its piece.
    widths : dict
        Name of `WIDTHS` to the largest number among the compiled models, the same on all ranks.
    constants, initial : np.ndarray
        float64 (n, n_neurons), constants of the compiled models, and initial states of custom models.
    kept : dict of str to tuple of str
        Name of each population to the quantities that its steps store for learning rules.

    Raises
    ------
    InputError
        If the model has no recurrent neurons, or a parameter, a weight or a synapse is not valid.
    """

    def __init__(
        self, model: Model, rank: int, size: int, nodes: np.ndarray | None = None, cuts: np.ndarray | None = None
    ) -> None:
        self.model, self.rank, self.size, self.nodes = model, rank, size, nodes
        self.n_inputs = model.size("input")
        self.n_recurrent, self.n_readouts = model.size("recurrent"), model.size("readout")
        if not self.n_recurrent:
            raise InputError("the model has no recurrent neurons")
        self.n_sharing = count_sharing(model, size)
        self.cuts = choose_bounds(model, size, nodes) if cuts is None else cuts
        self.neurons = int(self.cuts[rank]), int(self.cuts[rank + 1])
        incoming = select_projections(model, ("input", "recurrent"), "recurrent")
        self.incoming = SynapseTable(model, incoming, *self.neurons, choose=self._choose_sources)
        onto_readouts = select_projections(model, ("recurrent",), "readout")
        self.outgoing = SynapseTable(model, onto_readouts, 0, self.n_readouts, sources=self.neurons)
        require_summable(self.outgoing)
        self.feedback = SynapseTable(model, select_projections(model, ("readout",), "recurrent"), *self.neurons)
        self.currents = SynapseTable(model, select_projections(model, ("current",), "recurrent"), *self.neurons)
        self.following = TiedFeedback(model, self.neurons, self.feedback, self.outgoing)
        for span in self.incoming.spans:
            if span.projection.rewire:
                rewire.check_synapses(span.projection, self.incoming.yield_chunks(span))
            elif span.projection.learn_delay is not None:  # results list a pair's synapses by their delays
                for source, target, _, _ in self.incoming.yield_chunks(span):
                    rewire.require_single(f"projection '{span.projection.name}'", "learn_delay", source, target)
        self._build_cells()

    def _choose_sources(self, drafts: list[Draft]) -> Sources | None:
        """Set `sources`, the neurons whose spikes this rank needs; return those that get rows, None for all."""
        n, (first, last) = self.n_recurrent, self.neurons
        self.sources = Sources(n)
        rewired = any(item.rewire and item.pre.role == "recurrent" for item in self.model.projections)
        moves = rewired and not self.model.eprop.is_online  # which notes arrivals of all neurons
        anywhere = rewired and not moves  # any neuron may come to have a target here
        if not n or anywhere or (not moves and last - first > ALMOST_ALL * n):
            return None
        ids = self._list_sources([draft for draft in drafts if draft.projection.pre.role == "recurrent"])
        if moves:
            self.sources = Sources(n, None, ids)
        elif len(ids) <= ALMOST_ALL * n:
            self.sources = Sources(n, ids)
            return self.sources
        return None

    def _list_sources(self, drafts: list[Draft]) -> np.ndarray:
        """Return the neurons with synapses of some projections here, and the rank's neurons: uint32, ascending.

        Synapses are drawn once for each window of neurons, whose bits take no more memory than the synapses will.
        """
        n, parts = self.n_recurrent, []
        window = max(WINDOW, 32 * int(sum(draft.expected for draft in drafts)) // 64 * 64)
        for low in range(0, n, window):
            bits = np.zeros(-(-min(window, n - low) // 64), np.uint64)
            members.add(bits, np.arange(*self.neurons) - low)
            for draft in drafts:
                draft.mark_sources(bits, self.model.offset(draft.projection.pre) - low)
            ids = np.empty(members.count_between(bits, 0, 64 * len(bits)), np.uint32)
            members.write(bits, ids)
            parts.append(ids + np.uint32(low))
        return np.concatenate(parts)

    def list_sources(self) -> np.ndarray:
        """Return the neurons with targets on this rank, and its own neurons, uint32 ascending; for the case that
        `sources` are all.
        """
        return np.union1d(np.arange(*self.neurons), self.incoming.list_used_neurons()).astype(np.uint32)

    def _build_cells(self) -> None:
        first = self.neurons[0]
        parts: list[dict[str, np.ndarray]] = []
        self.pieces: list[LocalPopulation] = []
        groups = self.model.of_role("recurrent")
        self.kept = list_kept(self.model)
        known = {item.name: self.program_of(item) for item in groups}
        by_equations = [known[item.name] for item in groups if is_custom_model(item)]
        self.widths = {name: max((getattr(item, f"n_{name}") for item in by_equations), default=0) for name in WIDTHS}
        for name in ("constants", "kept", "adjoint"):
            self.widths[name] = max(getattr(item, f"n_{name}") for item in known.values())
        columns: list[tuple[int, np.ndarray, np.ndarray]] = []
        for population in groups:
            low, high = find_local_range(self.model, population, *self.neurons)
            if low == high:
                continue
            start = self.model.offset(population) + low - first
            check_drawn_parameters(self.model, population, low, high)
            program, values = known[population.name], self._collect_values(population, low, high)
            for name, optimizer in population.learn.items():
                here = f"population '{population.name}': learn: {name}"
                learned.require_start(here, values[name], optimizer, low)
            with np.errstate(over="ignore"):  # infinite values raise an error when the run begins
                parts.append(self._compute_parameters(population, program, low, high, values))
                constants = program.compute_constants(values, self.model.dt_ms, high - low)
            given = is_custom_model(population)  # `Cells` has the initial states of others
            initial = program.compute_initial(values, self.model.dt_ms, high - low) if given else np.zeros((0, 0))
            columns.append((start, constants, initial))
            own = values if population.learn else None
            self.pieces.append(LocalPopulation(len(self.pieces), population, program, start, start + high - low, own))
        self.piece_of = {piece.population.name: piece for piece in self.pieces}
        rows = [(piece.first, piece.last, piece.population.params.kernel_code) for piece in self.pieces]
        self.piece_table = np.array(rows, np.int64).reshape(-1, layout.PIECE_COLUMNS)
        names = (
            parts[0]
            if parts
            else self._compute_parameters(groups[0], known[groups[0].name], 0, 0, self._collect_values(groups[0], 0, 0))
        )
        joined = {name: np.concatenate([part[name] for part in parts] or [np.zeros(0)]) for name in names}
        self.cells = {name: copy_aligned(array, float) for name, array in joined.items()}
        n = self.neurons[1] - self.neurons[0]
        self.constants = allocate_aligned((self.widths["constants"], n))
        self.initial = np.zeros((self.widths["states"], n))
        for start, constants, initial in columns:
            self.constants[: len(constants), start : start + constants.shape[1]] = constants
            self.initial[: len(initial), start : start + initial.shape[1]] = initial

    def program_of(self, population: Population, through: str = "all") -> Program:
        """Return the compiled model of a population, see the function of the same name."""
        return program_of(population, self.kept[population.name], through)

    def update_learned(self, piece: LocalPopulation, values: Given) -> np.ndarray:
        """Set learned parameters of a piece, and recompute constants and initial states from them.

        `values` maps each learned parameter to (n,) of the neurons of the piece, or to (1,) for all. Returns the
        derivatives of initial states by learned parameters, sorted by name, float64 (n_learned, n_states, n).
        """
        assert piece.values is not None  # they learn
        known, first, last = piece.values, piece.first, piece.last
        for name, value in values.items():
            known[name][:] = value
        self.cells["I_e"][first:last] = known["I_e"]
        # values that are the same for all neurons are computed once
        given = {name: value[:1] if np.all(value == value[:1]) else value for name, value in known.items()}
        constants, initial, slopes = piece.program.recompute_columns(given, self.model.dt_ms, last - first)
        self.constants[: len(constants), first:last] = constants
        self.initial[: len(initial), first:last] = initial
        return slopes

    def get_parameters(self, piece: LocalPopulation, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """Return all parameters of neurons (local indices `chosen`) of a piece with a custom model."""
        members = find_local_range(self.model, piece.population, *self.neurons)
        values = piece.values or self._collect_values(piece.population, *members)
        return {name: value[chosen - piece.first] for name, value in values.items()}

    def _collect_values(self, population: Population, low: int, high: int) -> dict[str, np.ndarray]:
        """Return the parameters of neurons [low, high) of a population that its equations read."""
        known = definition_of(population).defaults
        values = {
            name: getattr(population.params, name) for name in type(population.params).model_fields if name in known
        }
        return {
            name: draw_cell_values(self.model, population, name, value, low, high) for name, value in values.items()
        }

    def _compute_parameters(
        self, population: Population, program: Program, low: int, high: int, values: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return kernel parameters other than the constants of a model: voltages in mV from E_L, times in steps.

        `values` is the result of `_collect_values` for neurons [low, high).
        """

        def get_values(name: str, default: float = 0.0) -> np.ndarray:
            value = getattr(population.params, name, default)
            return draw_cell_values(self.model, population, name, default if value is None else value, low, high)

        dt, params = self.model.dt_ms, population.params
        named = {"f_target": get_values("f_target") / 1000.0, **{name: get_values(name) for name in PLAIN}}
        if is_custom_model(population):
            zero = np.zeros(high - low)
            return named | dict.fromkeys(OF_NEST, zero) | {"t_ref": np.rint(get_values("t_ref") / dt)}
        E_L = get_values("E_L")
        constants = program.compute_values(values, dt)
        return named | {
            "t_ref": round_up_steps(get_values("t_ref"), dt),
            "E_L": E_L,
            "V_th": get_values("V_th") - E_L,
            "V_init": get_values("V_m") - E_L if params.V_m is not None else np.zeros(high - low),
            **{
                name: np.broadcast_to(constants.get(name, other), high - low)
                for name, other in (("alpha", 0.0), ("zeta", 1.0), ("rho", 0.0))
            },
        }

    def select_kernel_arrays(self, kernel: type) -> dict[str, np.ndarray]:
        """Return the arrays of `cells` that a kernel class has as attributes, in the model's precision."""
        real, chosen = self.model.kernels.real, {name: self.cells[name] for name in self.cells if hasattr(kernel, name)}
        return chosen if real is np.float64 else {name: copy_aligned(array, real) for name, array in chosen.items()}

    def compute_readout_constants(self) -> dict[str, np.ndarray]:
        """Return the constants of all readouts, float64 (n_readouts,) each.

        They are `alpha` (decay per step), `zeta` (factor of arriving spikes), `drive` (mV per step), `V_min` and
        `V_init` (mV from E_L), `E_L` (mV). Raises `InputError` if populations of readouts have different losses.
        """
        groups = self.model.of_role("readout")
        losses = {group.params.loss: f"'{group.params.loss}' of '{group.name}'" for group in groups}
        if len(losses) > 1:
            raise InputError(f"all readouts must have one loss, not {' and '.join(losses.values())}")
        parts_of: dict[str, list[np.ndarray]] = {name: [] for name in READOUT_CONSTANTS}
        for group in groups:
            values = group.params
            alpha = elementary.exp(-self.model.dt_ms / values.tau_m)
            regular = getattr(values, "regular_spike_arrival", True)
            constants = (
                alpha,
                1.0 if regular else 1.0 - alpha,
                values.tau_m / values.C_m * (1.0 - alpha) * values.I_e,
                values.V_min - values.E_L,
                0.0 if values.V_m is None else values.V_m - values.E_L,
                values.E_L,
            )
            for name, value in zip(READOUT_CONSTANTS, constants, strict=True):
                parts_of[name].append(np.full(group.size, value))
        return {name: np.concatenate([np.zeros(0), *parts]) for name, parts in parts_of.items()}

    def build_dense_feedback(self) -> np.ndarray:
        """Return feedback weights onto this rank's neurons, float64 (n_readouts, n); 0 where there is no connection."""
        weights = np.zeros((self.n_readouts, self.neurons[1] - self.neurons[0]))
        for span in self.feedback.spans:
            offset = self.model.offset(span.projection.pre)
            for source, target, _, index in self.feedback.yield_chunks(span):
                place = offset + source, target - span.targets[0] + span.base
                np.add.at(weights, place, self.feedback.weight[index])
        return weights

    def list_tables(self) -> dict[str, SynapseTable]:
        """Return the synapse tables by kind."""
        return {
            "incoming": self.incoming,
            "outgoing": self.outgoing,
            "feedback": self.feedback,
            "currents": self.currents,
        }

    def nbytes(self) -> dict[str, int]:
        """Return this rank's bytes by kind."""
        memory = {name: table.nbytes for name, table in self.list_tables().items()}
        memory["mirror"] = self.following.nbytes  # a name that readers of benchmarks know
        return memory | {"neurons": sum(array.nbytes for array in self.cells.values())}


def select_projections(model: Model, pre: tuple[str, ...], post: str) -> list[Projection]:
    """Return the projections from populations with roles `pre` onto populations with role `post`."""
    return [item for item in model.projections if item.pre.role in pre and item.post.role == post]


def require_summable(table: SynapseTable) -> None:
    """Raise `InputError` if a weight onto a readout is too large for exact sums."""
    for span in table.spans:
        weight = table.weight[span.synapses]
        for worst in weight[~(np.abs(weight) < readout_sums.LARGEST)][:1]:
            raise InputError(
                f"projection '{span.projection.name}': weight = {worst:.9g} must be below "
                f"{readout_sums.LARGEST:.0f} in size, so that readouts can add their weights up exactly"
            )


def draw_cell_values(
    model: Model, population: Population, name: str, value: AnyValue, low: int, high: int
) -> np.ndarray:
    """Return values of a parameter for the cells [low, high) of a population, float64 (high - low,).

    `value` is one value for all, one for each cell of the population, or a distribution. The draws are keyed by the
    model's seed and the parameter's `name`.
    """
    if isinstance(value, Distribution):
        return value.draw_values(rng.make_key(model.seed, f"{population.name}/{name}"), np.arange(low, high))[:, 0]
    if np.ndim(value):
        return np.array(value[low:high], dtype=float)
    return np.full(high - low, float(value))


def check_drawn_parameters(model: Model, population: Population, low: int, high: int) -> None:
    """Raise `InputError` if a drawn parameter of a neuron [low, high) of a population is out of its bounds."""
    params = population.params
    kind: type[Frozen] = type(params)
    for bound in list_bounds(kind):
        names = [name for name in (bound.name, bound.limit) if isinstance(name, str)]
        drawn = [name for name in names if isinstance(getattr(params, name), Distribution)]
        values = [
            draw_cell_values(model, population, name, value, low, high)
            for name in names
            if drawn and (value := getattr(params, name)) is not None
        ]
        if len(values) < len(names) or not (broken := bound.find_broken(*values, *[bound.limit] * (2 - len(names)))):
            continue
        raise InputError(
            f"population '{population.name}': {bound.name}{' drawn' * (bound.name in drawn)} for neuron "
            f"{low + broken[0]} is {broken[1]:g}, {broken[2]}"
        )


def is_custom_model(population: Population) -> bool:
    """Return whether a population has a custom model, not one of NEST's own e-prop neurons."""
    return hasattr(population.params, "definition")


def program_of(population: Population, kept: tuple[str, ...], through: str = "all") -> Program:
    """Return the compiled model of a population, which one rank compiles for all.

    `kept` are quantities that steps store for learning rules, see `learning.list_kept`; `through` is the part of the
    derivatives that traces use, see `NeuronModel.learning_through`.
    """
    definition, learns = (
        definition_of(population).with_saved(kept),
        population.learns if through == "all" else NO_LEARNS,
    )
    return compile_model(definition.learning_through(through), parts=(), learns=learns)


def count_kept(model: Model) -> dict[str, int]:
    """Return the count of numbers that neurons of each custom model store in a step for derivatives, including psi."""
    kept, groups = list_kept(model), filter(is_custom_model, model.of_role("recurrent"))
    return {item.model: 1 + program_of(item, kept[item.name]).n_kept for item in groups}


def compute_target_rate(model: Model) -> float:
    """Return the mean target rate of the recurrent neurons in Hz, the expected rate without measured rates."""
    groups = model.of_role("recurrent")
    rates = [(group.size, group.params.f_target) for group in groups]
    known = [(size, float(rate)) for size, rate in rates if isinstance(rate, int | float)]
    total = sum(size for size, _ in known)
    return sum(size * rate for size, rate in known) / total if total else 10.0
