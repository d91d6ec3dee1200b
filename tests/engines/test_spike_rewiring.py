"""Rewiring in the spike variant against a slow twin: every move, weights, restarts; the same on any number of ranks."""

from pathlib import Path

import networks
import numpy as np
import pytest
import reference
import spike_networks
from commands import check_resumed
from params import first_rows
from test_rewiring import write_config

from pareprop import rng
from pareprop.engines.spike import SpikeSettings
from pareprop.network.model import Model
from pareprop.network.rewire import Rewire
from pareprop.simulation import Simulation

N_IN, N_REC, SAMPLE, SAMPLES, SEED = 12, 10, 60, 8, 5
NAMES = {"in": "in->rec0", "rec": "rec0->rec0"}

OF_SYNAPSES = ("targets", "w", "alpha", "rho", "beta", "kappa", "kappa_reg", "zbar", "eps", "ebar", "ereg", "g")


class MovingRow(reference.NeuronRow):
    """A row that works off its window at the cutoff, or before synapses move; its weights have the source's sign."""

    kept = OF_SYNAPSES

    def __init__(self, net, targets, weights, cutoff):
        super().__init__(net, targets, weights, cutoff)
        self.g, self.closed, self.sign = np.zeros(len(targets)), False, 0
        self.u = 0  # first step of the history that is not worked off

    def arrive(self, t_a, history):
        if self.p is not None:
            steps = t_a - self.p
            if not self.closed:
                self.work_off(self.p - self.m + int(min(self.cutoff, steps)), history)
            self.decay(steps - int(min(self.cutoff, steps)))
            if not self.each_step:
                self.step(self.g, t_a + 1)
        self.g, self.closed, self.p, self.u = np.zeros(len(self.targets)), False, t_a, t_a - self.m
        self.waiting.append(t_a)
        return self.w

    def work_off(self, end, history):
        for u in range(self.u, end):
            z = sum(p <= u for p in self.waiting)
            self.waiting = [p for p in self.waiting if p > u]
            increment = self.work(u, z, history)
            self.g += increment
            if self.each_step:
                self.step(increment, u + 3)
        self.u = max(self.u, end)

    def close(self, T, history):
        """Before step T: what is known by then is worked off; a synapse that comes starts with traces of 0."""
        if self.p is not None and not self.closed:
            self.closed = self.p + self.cutoff < T
            self.work_off(self.p - self.m + int(self.cutoff) if self.closed else T - self.m, history)

    def step(self, g, until):
        w = self.optimizer.step(self.w, g, until)
        self.w = np.maximum(w, 0.0) if self.sign > 0 else np.minimum(w, 0.0) if self.sign < 0 else w


class MovingRows(reference.Projection):
    """Rows of one matrix, with rows for all sources and delays, whose synapses move."""

    def __init__(self, net, weights, delays, cutoff, name, rule, signs, row=MovingRow):
        super().__init__(net, weights, delays, row, np.full(len(weights), cutoff))
        self.net, self.name, self.rule, self.signs, self.moves = net, name, rule, signs, []
        self.first_delay = int(name == NAMES["in"])  # here an input of step s arrives in step s + d
        self.sign = np.sign(weights)  # of each synapse
        for source in range(weights.shape[1]):
            for d in self.delays:
                none = row(net, np.zeros(0, int), np.zeros(0), cutoff)
                self.rows.setdefault((d, source), [none])[0].sign = signs[source]

    def synapses(self):
        """(target, source, delay) to (row, place in it)."""
        return {
            (int(target), source, int(d)): (rows[0], k)
            for (d, source), rows in self.rows.items()
            for k, target in enumerate(rows[0].targets)
        }

    def end_sample(self, n, T, history):
        """Sample n, from 1, ended before step T."""
        for rows in self.rows.values():
            rows[0].close(T, history)
        due, eta, there = n % self.rule.every == 0, self.net.optimizer["eta"], self.synapses()
        gone = {}
        for (target, source, d), (row, k) in there.items():
            s = self.signs[source] or self.sign[target, source]
            theta = s * row.w[k] - (eta * self.rule.l1 if due else 0.0)
            row.w[k] = np.clip(s * max(theta, 0.0), self.net.optimizer["Wmin"], self.net.optimizer["Wmax"])
            if due and theta <= 0:
                gone.setdefault(target, []).append((source, d))
        for target in sorted(gone):
            self.move(target, sorted(gone[target]), n, {s for t, s, _ in there if t == target})

    def move(self, target, gone, n, had):
        key = [rng.make_key(SEED, f"{self.name}/{what}") for what in ("rewire", "rewire-sign")]
        draws = np.random.Philox(key=key[0], counter=[0, target, 0, n])
        new = []
        while len(new) < len(gone):
            source = (int(draws.random_raw()) * self.weights.shape[1]) >> 64
            if source not in had and source not in new:
                new.append(source)
        for (old, d), source in zip(gone, new, strict=True):
            row = self.rows[d, old][0]
            gone_from = np.flatnonzero(row.targets == target)
            self.change(row, lambda values, k=gone_from: np.delete(values, k))
            row = self.rows[d, source][0]
            self.change(row, lambda values: np.append(values, np.zeros(1, values.dtype)))
            row.targets[-1] = target
            for name in ("alpha", "rho", "beta", "kappa", "kappa_reg"):
                getattr(row, name)[-1] = getattr(self.net.neurons, name)[target]
            top = int(np.random.Philox(key=key[1], counter=[0, target, source, n]).random_raw()) >> 63
            self.sign[target, source] = self.signs[source] or (-1 if top else 1)
            self.moves.append((n, target, old, source, d + self.first_delay))

    @staticmethod
    def change(row, change):
        """Apply a function to what a row keeps of each synapse."""
        for name in row.kept:
            setattr(row, name, change(getattr(row, name)))
        row.optimizer.m, row.optimizer.v = change(row.optimizer.m), change(row.optimizer.v)

    def final_weights(self):
        weights = np.full(self.weights.shape, np.nan)
        for (target, source, _), (row, k) in self.synapses().items():
            weights[target, source] = row.w[k]
        return weights


def twin(case: dict, rules: dict, signs: dict) -> tuple[dict, dict]:
    """What `reference.run_case` returns, in samples after which synapses move; and the moves."""
    net = reference.Network(case)
    cutoff = float(net.neurons.cutoff[0])
    moving = {
        key: MovingRows(net, getattr(net, f"w_{key}"), delays, cutoff, NAMES[key], rules[key], signs[key])
        for key, delays in (("in", case["d_in"] - 1), ("rec", net.d_rec))
    }
    cutoffs = np.full(net.n_out, net.readouts.cutoff, float)
    p_out = reference.Projection(net, net.w_out, np.full(net.w_out.shape, net.d_out), reference.ReadoutRow, cutoffs)
    history, spikes = reference.History(net), {"in": net.inputs, "rec": net.z}
    for s in range(net.n_steps):
        arriving = {key: moving[key].deliver(s, spikes[key], history) for key in moving}
        arriving_out = p_out.deliver(s, net.z, history)
        net.step_neurons(s, arriving)
        history.record_rate(s)
        signal = net.readouts.step(arriving_out, first=s == 0)
        if case["window"][s]:
            net.signal[s], net.error[s] = signal, signal - net.targets[s]
        if (s + 1) % SAMPLE == 0:
            for rows in moving.values():
                rows.end_sample((s + 1) // SAMPLE, s + 1, history)
    reference.flush(*((moving[key], spikes[key]) for key in moving), (p_out, net.z), history=history)
    weights = {"w_in": moving["in"], "w_rec": moving["rec"], "w_out": p_out}
    found = net.results() | {key: rows.final_weights() for key, rows in weights.items()}
    return found, {key: rows.moves for key, rows in moving.items()}


def sparse(random: np.random.Generator, degree: int, scale: float, signs: np.ndarray) -> np.ndarray:
    """Weights of `degree` synapses onto each neuron."""
    n_sources = len(signs)
    found = np.full((N_REC, n_sources), np.nan)
    for row in found:
        some = random.choice(n_sources, degree, replace=False)
        row[some] = random.normal(0.0, scale, degree)
        row[some] = np.where(signs[some] != 0, np.abs(row[some]) * signs[some], row[some])
    return found


def case_of(seed: int, model: str, cutoff: float, adam: bool, each_step: bool, signs: dict) -> dict:
    random = np.random.default_rng(seed)
    n_steps = SAMPLE * SAMPLES
    m = int(random.choice([1, 3]))
    params = {"kappa": 0.9, "kappa_reg": 0.8, "tau_m": 15.0, "t_ref": 1.0, "c_reg": 0.5}
    group = spike_networks.group(random, N_REC, m, model=model, eprop_isi_trace_cutoff=cutoff, **params)
    optimizer = {"type": "adam", "eta": 2e-3} if adam else {"type": "gradient_descent", "eta": 3e-3}
    optimizer |= {"Wmin": -2.0, "Wmax": 2.0, "optimize_each_step": each_step}
    weights = {
        "w_in": sparse(random, 5, 0.5, signs["in"]),
        "w_rec": sparse(random, 4, 0.3, signs["rec"]),
        "w_out": random.normal(0, 0.4, (2, N_REC)),
        "w_fb": random.normal(0, 0.6, (N_REC, 2)),
    }
    return (
        spike_networks.random_case(seed, n_steps)
        | weights
        | {
            "groups": [group],
            "dt": 1.0,
            "d_out": (m + 1) // 2,
            "d_fb": m + 1 - (m + 1) // 2,
            "readout": {"C_m": 1.0, "tau_m": 20.0, "loss": "mean_squared_error", "eprop_isi_trace_cutoff": 30.0},
            "optimizer": optimizer,
            "inputs": random.random((n_steps, N_IN)) < random.choice([0.02, 0.1, 0.2], N_IN),
            "targets": random.normal(size=(n_steps, 2)),
            "window": np.ones(n_steps),
            "d_in": random.integers(1, 4, (N_REC, N_IN)),
            "d_rec": random.integers(1, 4, (N_REC, N_REC)),
            "step_currents": np.zeros((n_steps, N_REC)),
        }
    )


def rewire(network: Model, rules: dict, signs: dict) -> None:
    """Let synapses of a network of a case move."""
    network.seed = SEED
    key_of = {name: key for key, name in NAMES.items()}
    for k, item in enumerate(network.projections):
        if (key := key_of.get(item.name)) is not None:
            changed = {"rewire": rules[key], "signs": signs[key].astype(np.int8)}
            network.projections[k] = item.model_copy(update=changed)


@pytest.mark.parametrize(
    ("seed", "model", "cutoff", "adam", "each_step", "bound"),
    first_rows(
        2,
        [
            (1, "iaf", np.inf, False, False, True),
            (3, "iaf_adapt", 5.0, True, True, False),
            (2, "iaf", 20.0, True, False, True),
            (4, "iaf_psc_delta", 40.0, False, True, False),
            (5, "iaf_psc_delta_adapt", np.inf, True, False, True),
        ],
    ),
)
def test_equals_the_twin(seed: int, model: str, cutoff: float, adam: bool, each_step: bool, bound: bool) -> None:
    random = np.random.default_rng(100 + seed)
    signs = {key: random.choice([-1, 1] if bound else [0, 0, 1], n) for key, n in (("in", N_IN), ("rec", N_REC))}
    rules = {"in": Rewire(l1=10.0, every=1), "rec": Rewire(l1=40.0, every=2)}
    case = case_of(seed, model, cutoff, adam, each_step, signs)
    expected, moves = twin(case, rules, signs)

    network = networks.model(case)
    rewire(network, rules, signs)
    task = spike_networks.CaseTask(case, SAMPLE)
    simulation = Simulation(network, task, settings=SpikeSettings(SAMPLE))
    plastic = {item.name: item for item in simulation.engine.plastic if item.rewiring}
    for item in plastic.values():
        item.rewiring.kept = []
    found = spike_networks.run_samples(simulation, between=lambda run, index: run.engine.step_optimizers())
    for key, name in NAMES.items():
        seen = np.concatenate(plastic[name].rewiring.kept)
        assert len(seen) > 10, "the case must have moves"
        np.testing.assert_array_equal(seen, moves[key], err_msg=key)
    spike_networks.compare(case, found, expected, 1e-8)
    if bound:
        for key in NAMES:
            assert np.all(np.nan_to_num(found[key]) * signs[key] >= 0)


@pytest.fixture
def config(tmp_path: Path, no_figures: None) -> Path:
    path = write_config(tmp_path)
    text = path.read_text().replace('"interval"', '"spike"')
    path.write_text(text.replace("l1 = 0.05", "l1 = 1.0").replace("l1 = 0.02", "l1 = 0.5"))
    return path


@pytest.mark.slow
@pytest.mark.mpi
def test_restart_on_other_ranks_is_exact(tmp_path: Path, config: Path, capsys: pytest.CaptureFixture) -> None:
    """Books of rows that have synapses on no rank, or came to have some on another, are in checkpoints too."""
    check_resumed(capsys, config, tmp_path, 3, 2)
