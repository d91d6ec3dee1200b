"""Random small networks, as a case of the slow twin (`reference.run_case`) and as a `Model` of the package."""

from __future__ import annotations

from collections.abc import Callable

import h5py
import numpy as np
from reference import run_case

from pareprop.engines.interval import IntervalSettings
from pareprop.engines.sample import Sample
from pareprop.network.model import Model
from pareprop.network.optimizers import make_optimizer
from pareprop.neurons.model import models_of
from pareprop.simulation.loop import Simulation

SURROGATES = ("piecewise_linear", "exponential", "fast_sigmoid_derivative", "arctan_derivative")
ALL_SURROGATES = (*SURROGATES, "sigmoid_derivative")  # random cases draw from NEST's


def random_readout(rng: np.random.Generator) -> dict:
    """Parameters of readouts that both variants have."""
    return {
        "C_m": float(rng.uniform(1.0, 3.0)),
        "E_L": float(rng.choice([0.0, -0.4])),
        "I_e": float(rng.normal()),
        "tau_m": float(rng.uniform(5.0, 30.0)),
        "V_min": float(rng.choice([-1e300, -0.5])),
        "loss": str(rng.choice(["mean_squared_error", "cross_entropy"])),
    }


def random_case(seed: int, **overrides) -> dict:
    """A sparse network of mixed groups with everything drawn; `overrides` replace keys of the case.

    It spikes often enough for all terms of the gradient to matter; the callers check that.
    """
    rng = np.random.default_rng(seed)
    n_in, n_out, sizes = 6, int(rng.integers(1, 4)), rng.integers(1, 8, size=rng.integers(1, 4))
    n_rec, interval, n_intervals = int(sizes.sum()), int(rng.integers(30, 60)), 3
    shape = {"w_in": (n_rec, n_in), "w_rec": (n_rec, n_rec), "w_out": (n_out, n_rec), "w_fb": (n_rec, n_out)}
    density = dict(zip(shape, rng.choice([0.3, 0.7, 1.0], len(shape)), strict=True))
    weights = {
        key: np.where(rng.random(shape[key]) < density[key], rng.normal(0.0, 0.8, shape[key]), np.nan) for key in shape
    }
    weights["w_in"] += 0.6
    return (
        weights
        | {
            "variant": "interval",
            "groups": [_group(rng, int(n)) for n in sizes],
            "readout": random_readout(rng) | {"regular_spike_arrival": bool(rng.integers(2))},
            "optimizer": {"type": "gradient_descent", "eta": 1e-3},
            "inputs": rng.random((n_intervals * interval, n_in)) < 0.25,
            "targets": rng.normal(size=(n_intervals * interval, n_out)),
            "d_rec": rng.integers(1, 6, size=(n_rec, n_rec)),
            "interval": interval,
            "learning_window": int(rng.integers(1, interval + 1)),
            "average_gradient": bool(rng.integers(2)),
            "reset": bool(rng.integers(2)),
            "dt": float(rng.choice([1.0, 0.5])),
            "step_currents": rng.normal(0.0, 0.1, (n_intervals * interval, n_rec)) * (rng.random() < 0.5),
        }
        | overrides
    )


def _group(rng: np.random.Generator, n: int) -> dict:
    E_L = float(rng.choice([0.0, -70.0]))
    params = {
        "C_m": rng.uniform(1.0, 3.0, n),
        "E_L": E_L,
        "I_e": rng.normal(0.0, 0.05, n),
        "V_m": E_L + 0.1,
        "V_th": E_L + rng.uniform(0.4, 0.8, n),
        "V_min": E_L + float(rng.choice([-1e3, -0.3])),
        "tau_m": rng.uniform(5.0, 30.0, n),
        "t_ref": float(rng.integers(0, 4)),
        "c_reg": float(rng.choice([0.0, 50.0])),
        "f_target": 20.0,
        "regular_spike_arrival": bool(rng.integers(2)),
        "surrogate_gradient_function": str(rng.choice(SURROGATES)),
        "surrogate_gradient_height": float(rng.uniform(0.3, 2.0)),
        "surrogate_gradient_width": rng.uniform(0.3, 2.0, n),
    }
    if rng.integers(2):
        return {"model": "iaf", "n": n, "params": params}
    adaptation = {"adapt_beta": rng.uniform(0.0, 0.5, n), "adapt_tau": rng.uniform(20.0, 200.0, n)}
    return {"model": "iaf_adapt", "n": n, "params": params | adaptation}


class CaseTask:
    """The intervals of a case as a task."""

    def __init__(self, case: dict) -> None:
        self.case, self.n_steps, self.learning_window = case, case["interval"], case["learning_window"]

    def sample(self, index: int, phase: str = "train") -> Sample:
        steps = slice(index * self.n_steps, (index + 1) * self.n_steps)
        currents = {"currents": self.case["step_currents"][steps]} if "step_currents" in self.case else {}
        return Sample.from_raster(self.case["inputs"][steps], self.case["targets"][steps], **currents)


def simulation(case: dict, exchange=None, round_steps: int = 0, keep_gradients: bool = True) -> Simulation:
    """A `Simulation` of the case, whose gradients can be read before `step_optimizers` unless they are not kept."""
    settings = IntervalSettings(
        case["learning_window"], average_gradient=case["average_gradient"], reset=case["reset"], round_steps=round_steps
    )
    run = Simulation(model(case), CaseTask(case), exchange, settings=settings)
    if keep_gradients:
        run.engine.gradient.keep_gradients()
    return run


def model(case: dict) -> Model:
    """The case in words: explicit projections between all groups."""
    network = Model(
        case["variant"],
        dt_ms=case["dt"],
        optimizer=make_optimizer(case["optimizer"], "case"),
        precision=case.get("precision", "double"),
    )
    inputs = network.inputs("in", case["w_in"].shape[1])
    definitions = models_of(case.get("neuron_models", {}), "case")
    groups = [
        network.neurons(f"rec{k}", group["n"], definitions.get(group["model"], group["model"]), **group["params"])
        for k, group in enumerate(case["groups"])
    ]
    ports = {key: np.broadcast_to(case.get(f"port_{key}", None), len(groups)) for key in ("in", "rec")}
    out = network.readouts("out", case["w_out"].shape[0], **case["readout"])
    place = {group.name: slice(network.offset(group), network.offset(group) + group.size) for group in groups}
    n_rec = network.size("recurrent")
    currents = network.currents("dc", n_rec) if "step_currents" in case else None
    d_in = np.broadcast_to(case.get("d_in", 1), case["w_in"].shape)
    d_rec = np.broadcast_to(case.get("d_rec", 1), case["w_rec"].shape)
    learned = {key: case.get("learn_delay", {}).get(key) for key in ("in", "rec")}
    for k, post in enumerate(groups):
        rows = place[post.name]
        more = {key: {"port": ports[key][k], "learn_delay": learned[key]} for key in ports}
        _connect(network, inputs, post, case["w_in"][rows], d_in[rows], **more["in"])
        for pre in groups:
            columns = place[pre.name]
            _connect(network, pre, post, case["w_rec"][rows, columns], d_rec[rows, columns], **more["rec"])
        _connect(network, out, post, case["w_fb"][rows], case.get("d_fb", 1), feedback=case.get("feedback", "random"))
        _connect(network, post, out, case["w_out"][:, rows], case.get("d_out", 1))
        if currents is not None:
            d_currents = np.broadcast_to(case.get("d_currents", 1), n_rec)[rows, None]
            _connect(network, currents, post, np.where(np.eye(n_rec) > 0, 1.0, np.nan)[rows], d_currents, plastic=False)
    return network


def _connect(network: Model, pre, post, weights: np.ndarray, delays=1, **options) -> None:
    target, source = np.nonzero(~np.isnan(weights))
    delays = np.broadcast_to(delays, weights.shape)[target, source]
    network.connect(
        pre, post, "explicit", source=source, target=target, weight=weights[target, source], delay=delays, **options
    )


def matrices(run: Simulation, values) -> dict[str, np.ndarray]:
    """`values(table)`, one per synapse, as matrices "in", "rec", "out" (target, source), NaN where there is none."""
    network = run.network
    found = {
        "in": np.full((network.n_recurrent, network.n_inputs), np.nan),
        "rec": np.full((network.n_recurrent, network.n_recurrent), np.nan),
        "out": np.full((network.n_readouts, network.n_recurrent), np.nan),
    }
    for table in (network.incoming, network.outgoing):
        for span in table.spans:
            pre, post = span.projection.pre, span.projection.post
            key = "out" if post.role == "readout" else "in" if pre.role == "input" else "rec"
            for source, target, _, index in table.yield_chunks(span):
                place = target + network.model.offset(post), source + network.model.offset(pre)
                found[key][place] = values(table)[index]
    return found


def write_case(path, case: dict, expected: dict) -> None:
    """Write an interval case with a step of 1 ms and without injected currents as a file of `pareprop verify`."""
    with h5py.File(path, "w") as file:
        keys = ("variant", "interval", "learning_window", "average_gradient", "reset")
        file.attrs.update({"format": "pareprop-case-1", "weights_tolerance": 1e-9} | {key: case[key] for key in keys})
        for k, group in enumerate(case["groups"]):
            node = file.create_group(f"groups/{k}")
            node.attrs.update({"model": group["model"], "n": group["n"]} | group["params"])
        file.create_group("readout").attrs.update(case["readout"])
        file.create_group("optimizer").attrs.update(case["optimizer"])
        for key in ("w_in", "w_rec", "w_out", "w_fb", "inputs", "targets", "d_rec"):
            file[key] = case[key]
        for key in ("spike_steps", "spike_ids", "readout_signal", "w_in", "w_rec", "w_out"):
            file[f"expected/{key}"] = expected[key]
        if "learn_delay" not in case:
            return
        file.attrs["format"], file["d_in"], file["expected/loss"] = "pareprop-case-4", case["d_in"], expected["losses"]
        for name in ("in", "rec", "out"):
            file[f"expected/gradient_{name}"] = expected[f"g_{name}"][0]
        for k, (name, settings) in enumerate(case["learn_delay"].items()):
            file.create_group(f"learn_delay/{k}").attrs.update({"matrix": f"w_{name}", "epsilon": 1e-7} | settings)
            missing, real = np.isnan(case[f"w_{name}"]), expected[f"delay_{name}"]
            file[f"expected/delay_{name}"] = np.where(missing, np.nan, real)
            file[f"expected/d_{name}"] = np.where(missing, 0, np.rint(real)).astype(np.int32)
            file[f"expected/gradient_delay_{name}"] = np.where(missing, np.nan, expected[f"gd_{name}"][0])


def weights(run: Simulation) -> dict[str, np.ndarray]:
    """The weights as `matrices`."""
    return matrices(run, lambda table: table.weight.copy())


def compare_interval(case: dict, run: Simulation, before: Callable | None = None, tolerance: float = 1e-10) -> dict:
    """Train a case; compare losses, spikes and weights with the slow twin, which is returned.

    `before(run, index, expected)` looks at the gradients of a sample before they are used.
    """
    expected, steps = run_case(case), case["interval"]
    spikes = []
    for index in range(len(case["inputs"]) // steps):
        loss, _ = run.run_sample(index, "train", learn=True)
        np.testing.assert_allclose(loss, expected["losses"][index], rtol=1e-12, atol=1e-12)
        at, ids = run.engine.log.list_spikes(steps)
        spikes.append(np.stack([at + index * steps, ids]))
        if before:
            before(run, index, expected)
        run.engine.step_optimizers()
    np.testing.assert_array_equal(np.hstack(spikes), [expected["spike_steps"], expected["spike_ids"]])
    for name, found in weights(run).items():
        wanted = expected[f"w_{name}"]
        scale = np.nanmax(np.abs(wanted), initial=1e-300)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance * scale, err_msg=name)
    return expected
