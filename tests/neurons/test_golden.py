"""The golden cases of models given as equations, by compiled kernels and by the slow twin that they are measured by.

`test_generated` compares the same kernels with the same twin in a few seconds.
"""

from pathlib import Path

import case_files
import neuron_twin as twin
import numpy as np
import pytest
import reference
from params import first

from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import compile_model
from pareprop.neurons.model import models_of

FILES = case_files.find("neurons")
# Cases of the set --all: both variants, several models, ports and cutoffs. `test_engines` runs all of them on ranks.
COMPILED = ("interval-adex-adam-heterogeneous", "interval-iaf-psc-exp-ports-delays", "spike-nest-models-cutoff")
TWIN = ("interval-adex-adam-heterogeneous", "spike-nest-models-cutoff")


def cases(kept: tuple[str, ...]) -> list:
    """All cases as parameters, those that are not kept for `pytest --long`."""
    return first(0, sorted(FILES, key=lambda path: Path(path).stem not in kept), rest=len(kept))


class CompiledCells(twin.Cells):
    """As the twin's neurons, advanced by compiled kernels; rows of what they keep stay in `rows`, by step and group."""

    def __init__(self, case, dt):
        super().__init__(case, dt)
        models = models_of(case["neuron_models"], "case")
        self.cells = [
            Cells(
                compile_model(models[g["model"]]), g["n"], {k: np.asarray(v, float) for k, v in g["params"].items()}, dt
            )
            for g in case["groups"]
        ]
        self.rows = []

    def reset(self):
        for kind, cells in zip(self.kinds, self.cells, strict=True):
            cells.state[:] = cells.program.compute_initial(kind.env | {}, self.dt, kind.n)
            cells.z[:], cells.refractory[:] = 0, 0

    def restart(self):
        """Let traces start anew, as at the beginning of an interval."""
        for cells in self.cells:
            cells.before = np.zeros((cells.program.n_kept, cells.n))
            cells._call_function(
                "start", cells.n, cells.n, self.dt, cells.constant, cells.state, cells.z, cells.refractory, cells.before
            )

    def step(self, arriving, injected, first):
        fired, self.psi, now, states = np.zeros(self.n, bool), np.zeros(self.n), [], []
        for kind, cells, place in zip(self.kinds, self.cells, self.slices, strict=True):
            sums = np.zeros((len(kind.ports), kind.n))
            for key, port in self.port.items():
                for p in range(len(kind.ports)):
                    sums[p] += np.where(port[place] == p, arriving[key][place], 0.0)
            current = kind.env["I_e"] * (self.steps >= kind.first_current) + injected[place]
            before = cells.before
            z, psi, kept = cells.step(sums, current)
            cells.before = kept
            fired[place], self.psi[place] = z != 0, psi
            now.append((before, kept, psi))
            states.append(dict(zip(kind.names, cells.state.copy(), strict=True)))
        self.rows.append(now)
        self.states.append(states)
        self.steps += 1
        self.v = self.E_L = np.zeros(self.n)
        return fired


class CompiledRow(reference.Row):
    """Synapses of the spike variant, those onto one group together."""

    key = "in"

    def __init__(self, net, targets, weights, cutoff):
        super().__init__(net, targets, weights, cutoff)
        cells = self.cells = net.neurons
        self.kappa, self.kappa_reg = cells.kappa[targets], cells.kappa_reg[targets]
        self.e, self.ebar, self.ereg = np.zeros((3, len(targets)))
        self.parts = []
        for g, (kind, own, place) in enumerate(zip(cells.kinds, cells.cells, cells.slices, strict=True)):
            inside = np.flatnonzero((targets >= place.start) & (targets < place.stop))
            if inside.size:
                local = targets[inside] - place.start
                part = Cells(own.program, inside.size, {}, cells.dt)
                part.constant = np.ascontiguousarray(own.constant[:, local])
                port = int(cells.port[self.key][place][0])
                assert np.all(cells.port[self.key][place] == port) and kind.n == own.n
                self.parts.append((g, inside, local, part, port, np.zeros((own.program.n_traces, inside.size))))

    def work(self, u, z, history):
        if u < 0:
            return np.zeros(len(self.targets))
        for g, inside, local, part, port, trace in self.parts:
            columns = [np.ascontiguousarray(row[..., local]) for row in self.cells.rows[u][g]]
            self.e[inside] = part.advance_trace(port, *columns, float(z), trace)
        _, L, F = history.neuron(u, self.targets)
        self.ebar = self.kappa * self.ebar + self.e
        self.ereg = self.kappa_reg * self.ereg + (1.0 - self.kappa_reg) * self.e
        return L * self.ebar + F * self.ereg

    def decay(self, n):
        if n > 0:
            for *_, part, _, trace in self.parts:
                part.decay_trace(int(n), trace)
            self.ebar, self.ereg = self.ebar * self.kappa**n, self.ereg * self.kappa_reg**n


class CompiledRecurrent(CompiledRow):
    key = "rec"


def interval_gradients(net, start, T):
    """Gradients of one interval by the backward pass."""
    cells, kappa = net.neurons, net.readouts.kappa
    rate = net.z[start : start + T].sum(axis=0) / T
    reg = cells.c_reg * (rate - cells.f_target * net.dt) / T
    g = np.zeros((net.n_rec, net.n_in + net.n_rec))
    adjoint = [np.zeros((own.program.n_adjoint, own.n)) for own in cells.cells]
    signal = np.zeros(net.n_rec)
    zbar_out, g_out = np.zeros(net.n_rec), np.zeros((net.n_out, net.n_rec))
    for t in reversed(range(T)):
        signal = net.w_fb @ net.error[start + t] + kappa * signal
        credit = {"in": np.zeros(net.n_rec), "rec": np.zeros(net.n_rec)}
        for k, (own, place) in enumerate(zip(cells.cells, cells.slices, strict=True)):
            before, kept, psi = cells.rows[start + t][k]
            found = own.run_backward_step(
                before, kept, 1.0 - kappa, signal[place].copy(), reg[place].copy(), adjoint[k], psi
            )
            for key, total in credit.items():
                total[place] = found[cells.port[key][place], np.arange(own.n)]
        g[:, : net.n_in] += credit["in"][:, None] * reference.input_arrivals(net, start, t)
        g[:, net.n_in :] += credit["rec"][:, None] * reference.recurrent_arrivals(net, start, t)
    for t in range(T):
        zbar_out = kappa * zbar_out + net.readouts.zeta * net.z[start + t]
        g_out += np.outer(net.error[start + t], zbar_out)
    return {"in": g[:, : net.n_in], "rec": g[:, net.n_in :], "out": g_out}


def run_compiled(case, monkeypatch):
    """Results of a case by compiled kernels."""
    monkeypatch.setattr(twin, "Cells", CompiledCells)
    monkeypatch.setattr(twin, "EquationRow", CompiledRow)
    monkeypatch.setattr(twin, "RecurrentRow", CompiledRecurrent)
    monkeypatch.setattr(twin.TwinNetwork, "gradients", interval_gradients)
    plain = reference.simulate_interval

    def simulate_interval(net, *arguments):
        net.neurons.restart()
        return plain(net, *arguments)

    monkeypatch.setattr(reference, "simulate_interval", simulate_interval)
    return twin.run(case)


def compare(case, found):
    """Assert that results are those of the case, within what its README says."""
    expected = case["expected"]
    order = np.lexsort((expected["spike_ids"], expected["spike_steps"]))
    np.testing.assert_array_equal(found["spike_steps"], expected["spike_steps"][order])
    np.testing.assert_array_equal(found["spike_ids"], expected["spike_ids"][order])
    for name in ("w_in", "w_rec", "w_out"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=case["weights_tolerance"])
    scale = max(1.0, np.abs(expected["readout_signal"]).max())
    np.testing.assert_allclose(found["readout_signal"], expected["readout_signal"], rtol=0, atol=1e-9 * scale)
    record = expected["record"]
    np.testing.assert_allclose(
        found["surrogate_gradient"][:, record], expected["surrogate_gradient"], rtol=0, atol=1e-9
    )
    ends = np.cumsum([g["n"] for g in case["groups"]])
    for name, values in expected["states"].items():
        scale = max(1.0, np.nanmax(np.abs(values)))
        for k, neuron in enumerate(record):
            group = int(np.searchsorted(ends, neuron, side="right"))
            if not np.isnan(values[0, k]):
                local = neuron - (ends[group] - case["groups"][group]["n"])
                ours = [step[group][name][local] for step in found["states"]]
                np.testing.assert_allclose(ours, values[:, k], rtol=0, atol=1e-9 * scale)
    if case["variant"] == "interval":
        batch = int(case["optimizer"].get("batch_size", 1))
        for name in ("in", "rec", "out"):
            first = np.mean(found[f"g_{name}"][:batch], axis=0)
            scale = np.nanmax(np.abs(expected[f"gradient_{name}"]))
            np.testing.assert_allclose(first, expected[f"gradient_{name}"], rtol=0, atol=1e-9 * scale)


@pytest.mark.parametrize("path", cases(COMPILED), ids=lambda path: Path(path).stem)
def test_compiled(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = twin.load_case(path)
    compare(case, run_compiled(case, monkeypatch))


@pytest.mark.parametrize("path", cases(TWIN), ids=lambda path: Path(path).stem)
def test_twin(path: str) -> None:
    """Derivatives by complex steps, traces of every synapse."""
    case = twin.load_case(path)
    compare(case, twin.run(case))
