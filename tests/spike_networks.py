"""Random small networks of the spike variant, run in samples and compared with the slow twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import networks
import numpy as np

from pareprop.algorithms.choice import ALGORITHMS, choose_algorithms
from pareprop.engines.sample import Sample
from pareprop.engines.spike import SpikeSettings
from pareprop.network.model import Model
from pareprop.simulation.loop import Simulation

MODELS = ("iaf", "iaf_adapt", "iaf_psc_delta", "iaf_psc_delta_adapt")
KEYS = {"in": "w_in", "rec": "w_rec", "out": "w_out"}


def random_case(seed: int, n_steps: int = 200, **overrides) -> dict:
    """A network of up to three groups of any models with everything drawn; `overrides` replace keys of the case.

    Sources spike from rarely to often; every group has its own cutoff and constants of the filters.
    """
    rng = np.random.default_rng(seed)
    n_in, n_out, sizes = 5, int(rng.integers(1, 4)), rng.integers(1, 5, size=rng.integers(1, 4))
    n_rec, d_out, d_fb = int(sizes.sum()), *map(int, rng.choice([1, 1, 2, 3, 5], 2))
    readout = networks.random_readout(rng) | {"eprop_isi_trace_cutoff": _cutoff(rng, d_out + d_fb - 1)}
    targets = rng.normal(size=(n_steps, n_out))
    if readout["loss"] == "cross_entropy":
        targets = np.eye(n_out)[rng.integers(0, n_out, n_steps)]
    optimizer = _optimizer(rng)
    weights = _weights(rng, n_in, n_rec, n_out)
    for key in KEYS.values():  # as NEST demands
        np.clip(weights[key], optimizer["Wmin"], optimizer["Wmax"], out=weights[key])
    return (
        weights
        | {
            "variant": "spike",
            "groups": [group(rng, int(n), d_out + d_fb - 1) for n in sizes],
            "readout": readout,
            "optimizer": optimizer,
            "inputs": rng.random((n_steps, n_in)) < rng.choice([0.01, 0.05, 0.2, 0.4], n_in),
            "targets": targets,
            "window": rng.random(n_steps) < rng.choice([0.3, 1.0]),
            "d_in": rng.integers(1, 6, (n_rec, n_in)) if rng.integers(2) else int(rng.integers(1, 6)),
            "d_rec": rng.integers(1, 6, (n_rec, n_rec))
            if rng.integers(2)
            else np.full((n_rec, n_rec), rng.integers(1, 6)),
            "d_out": d_out,
            "d_fb": d_fb,
            "dt": float(rng.choice([1.0, 0.5])),
            "step_currents": rng.normal(0.0, 0.1, (n_steps, n_rec)) * (rng.random() < 0.5),
        }
        | overrides
    )


def _weights(rng: np.random.Generator, n_in: int, n_rec: int, n_out: int) -> dict[str, np.ndarray]:
    shapes = {"w_in": (n_rec, n_in), "w_rec": (n_rec, n_rec), "w_out": (n_out, n_rec), "w_fb": (n_rec, n_out)}
    found = {}
    for key, shape in shapes.items():
        exists = rng.random(shape) < rng.choice([0.5, 1.0])
        found[key] = np.where(exists, rng.normal(0.3 if key == "w_in" else 0.0, 0.4, shape), np.nan)
    for key in ("w_out", "w_fb"):
        found[key][0, 0] = 0.5  # the delays of the learning loop are those of its synapses
    if rng.integers(2):
        np.fill_diagonal(found["w_rec"], np.nan)  # no autapses
    return found


def _cutoff(rng: np.random.Generator, m: int) -> float:
    return float(rng.choice([0, 1, 3, m, m + 1, 20, 100, np.inf, np.inf]))


def _optimizer(rng: np.random.Generator) -> dict:
    bound = float(rng.choice([0.3, 100.0, 100.0]))
    kind = str(rng.choice(["gradient_descent", "sgd_momentum", "adam", "adamw"]))
    etas = {"gradient_descent": [1e-4, 3e-4], "sgd_momentum": [1e-5, 3e-5]}.get(kind, [1e-3, 1e-2])
    return {
        "type": kind,
        "eta": float(rng.choice(etas)),
        "Wmin": -bound,
        "Wmax": bound,
        "optimize_each_step": bool(rng.integers(2)),
    }


def group(rng: np.random.Generator, n: int, m: int, **overrides) -> dict:
    """`n` neurons of any model with parameters of their own; `overrides` replace parameters, or the model."""
    model, E_L = overrides.pop("model", str(rng.choice(MODELS))), float(rng.choice([0.0, -70.0]))
    kappa = float(rng.choice([0.0, 0.5, 0.9, 0.97, 0.99]))
    params = {
        "C_m": rng.uniform(1.0, 3.0, n),
        "E_L": E_L,
        "I_e": rng.normal(0.0, 0.05, n),
        "V_m": E_L + 0.1,
        "V_th": E_L + rng.uniform(0.4, 0.8, n),
        "V_min": E_L + float(rng.choice([-1e3, -0.3])),
        "tau_m": float(rng.choice([0.5, 2.0, 5.0, 10.0, 30.0, 100.0])) if rng.random() < 0.7 else rng.uniform(5, 30, n),
        "t_ref": float(rng.integers(0, 4)),
        "c_reg": float(rng.choice([0.0, 1.0])),
        "f_target": 20.0,
        "kappa": kappa,
        "kappa_reg": kappa if rng.integers(2) else float(rng.choice([0.0, 0.5, 0.9, 0.97])),
        "eprop_isi_trace_cutoff": _cutoff(rng, m),
        "surrogate_gradient_function": str(rng.choice(networks.SURROGATES)),
        "surrogate_gradient_height": float(rng.uniform(0.3, 2.0)),
        "surrogate_gradient_width": rng.uniform(0.3, 2.0, n),
    }
    if "psc_delta" in model:
        params |= {"V_reset": E_L + float(rng.uniform(-0.2, 0.2)), "refractory_input": bool(rng.integers(2))}
    if "adapt" in model:
        params |= {"adapt_beta": rng.uniform(0.0, 0.5, n), "adapt_tau": rng.uniform(20.0, 200.0, n)}
    return {"model": model, "n": n, "params": params | overrides}


class CaseTask:
    """A case cut into samples of `n_steps`."""

    def __init__(self, case: dict, n_steps: int) -> None:
        self.case, self.n_steps, self.learning_window = case, n_steps, n_steps
        self.n_samples = len(case["inputs"]) // n_steps

    def sample(self, index: int, phase: str = "train") -> Sample:
        steps = slice(index * self.n_steps, (index + 1) * self.n_steps)
        return Sample.from_raster(
            self.case["inputs"][steps],
            self.case["targets"][steps],
            currents=self.case["step_currents"][steps],
            window=np.asarray(self.case["window"][steps], bool),
        )


def simulation(
    case: dict, n_steps: int = 0, round_steps: int = 0, exchange=None, without: Sequence[str] = ()
) -> Simulation:
    """A `Simulation` of the case in samples of `n_steps`, or in one; some algorithms are left out."""
    task = CaseTask(case, n_steps or len(case["inputs"]))
    settings = SpikeSettings(task.learning_window, round_steps=round_steps)
    model = networks.model(case)
    algorithms = algorithms_without(model, *without)
    return Simulation(
        model, task, exchange, settings=settings, algorithms=algorithms, quiet=True
    )  # cases draw what is reported


def collect_state(run: Simulation) -> dict[str, np.ndarray]:
    """Weights after a flush as matrices "in", "rec", "out", NaN where there is no synapse."""
    weights = run.engine.show_weights()
    return networks.matrices(run, lambda table: weights.get(id(table), table.weight))


def run_samples(run: Simulation, learns: Sequence[bool] = (), between: Callable | None = None, batch: int = 0) -> dict:
    """Run all samples, in batches of so many; return what `reference.run_case` returns, as far as the engine has it."""
    n_steps, parts = run.task.n_steps, {key: [] for key in ("spike_steps", "spike_ids", "error_signal", "signal")}
    for index in range(run.task.n_samples):
        run.run_sample(index, "train", learns[index] if learns else True)
        steps, ids = run.engine.log.list_spikes(n_steps)
        news = (steps + index * n_steps, ids.copy(), run.engine.error.copy(), run.engine.show_signal().copy())
        for part, new in zip(parts.values(), news, strict=True):
            part.append(new)
        if between:
            between(run, index)
        if batch and (index + 1) % batch == 0:
            run.engine.step_optimizers()
    return {key: np.concatenate(part) for key, part in parts.items()} | collect_state(run)


def compare(case: dict, found: dict, expected: dict, tolerance: float = 1e-10) -> float:
    """Fail unless spikes are equal and readouts and weights agree; return the worst deviation of the weights."""
    np.testing.assert_array_equal(found["spike_steps"], expected["spike_steps"])
    np.testing.assert_array_equal(found["spike_ids"], expected["spike_ids"])
    np.testing.assert_allclose(found["error_signal"], expected["error_signal"], rtol=tolerance, atol=tolerance)
    if case["readout"]["loss"] == "mean_squared_error":
        inside = np.asarray(case["window"], bool)
        wanted = expected["readout_signal"][inside]
        np.testing.assert_allclose(found["signal"][inside], wanted, rtol=tolerance, atol=tolerance)
    worst = 0.0
    for name, key in KEYS.items():
        np.testing.assert_array_equal(np.isnan(found[name]), np.isnan(expected[key]), err_msg=name)
        scale = np.nanmax(np.abs(expected[key]), initial=1e-3)
        worst = max(worst, np.nanmax(np.abs(found[name] - expected[key]), initial=0.0) / scale)
        np.testing.assert_allclose(found[name], expected[key], rtol=0, atol=tolerance * scale, err_msg=name)
    return worst


def changes(case: dict, expected: dict) -> list[float]:
    """The largest change of the weights of each kind, 0 where there are none."""
    return [np.max(np.abs(np.nan_to_num(expected[key] - case[key]))) for key in KEYS.values()]


def algorithms_without(model: Model, *names: str) -> dict[str, str] | None:
    """For each projection that learns onto neurons, the first algorithm that fits and is none of some."""
    if not names:
        return None  # what the package chooses
    return {
        plan.request.projection.name: next(
            item.name for item in ALGORITHMS.values() if item.name not in names and not item.why_not(plan.request)
        )
        for plan in choose_algorithms(model).plans.values()
        if plan.learns and plan.request.post.role == "recurrent"
    }


def algorithms(run: Simulation) -> set[str]:
    """The algorithms by which the run learns."""
    return set(run.algorithms.values())
