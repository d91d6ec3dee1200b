"""Slow, independent NumPy twin of the e-prop models, written for clarity and used as an oracle by the tests.

Every quantity is computed by stepping forward in time, exactly in the order in which the model equations are written
down: forward eligibility traces for each synapse, no backward pass, no prefix sums. Only the synapses (never the
time) are vectorised. Voltages count from ``E_L`` inside and are absolute in the results. All delays are whole steps.

Both variants stand in one file, because they share the equations of neurons and readouts.

Sources: Bellec et al. 2020, doi 10.1038/s41467-020-17236-y (interval variant, ``eprop_*_bsshslm_2020``);
Korcsak-Gorzo et al. 2025, arXiv:2511.21674 (spike variant, e-prop+); parameter names and defaults of NEST 3.10.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

NEURON_DEFAULTS = {
    "C_m": 250.0,
    "E_L": -70.0,
    "I_e": 0.0,
    "V_min": -np.inf,
    "V_th": -55.0,
    "V_reset": -70.0,
    "adapt_beta": 1.0,
    "adapt_tau": 10.0,
    "c_reg": 0.0,
    "eprop_isi_trace_cutoff": np.inf,
    "f_target": 10.0,
    "kappa": 0.97,
    "kappa_reg": 0.97,
    "refractory_input": False,
    "regular_spike_arrival": True,
    "surrogate_gradient_height": 0.3,
    "surrogate_gradient_width": 1.0,
    "t_ref": 2.0,
    "tau_m": 10.0,
}
READOUT_DEFAULTS = {
    "C_m": 250.0,
    "E_L": 0.0,
    "I_e": 0.0,
    "V_min": -np.inf,
    "eprop_isi_trace_cutoff": np.inf,
    "loss": "mean_squared_error",
    "regular_spike_arrival": True,
    "tau_m": 10.0,
}
OPTIMIZER_DEFAULTS = {
    "type": "gradient_descent",
    "eta": 1e-4,
    "batch_size": 1,
    "Wmin": -100.0,
    "Wmax": 100.0,
    "optimize_each_step": True,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-7,
    "momentum": 0.9,
    "weight_decay": 0.01,
}
SURROGATES = {
    "piecewise_linear": lambda x, h, w: h * np.maximum(0.0, 1.0 - np.abs(x) / w),
    "exponential": lambda x, h, w: h * np.exp(-np.abs(x) / w),
    "fast_sigmoid_derivative": lambda x, h, w: h * (1.0 + np.abs(x) / w) ** -2,
    "arctan_derivative": lambda x, h, w: h / (1.0 + (x / w) ** 2),
    "sigmoid_derivative": lambda x, h, w: h / np.cosh(x / (2.0 * w)) ** 2,
}


# ---------------------------------------------------------------------------------------------------------------------
# cases


def load_case(path: str | Path, form: str = "pareprop-case-1") -> dict:
    """Read a golden HDF5 case of a format.

    Returns
    -------
    dict
        The keys of `run_case`, and ``name``, ``weights_tolerance``, ``expected`` (dict of arrays), ``simulator``
        where the file has it.
    """

    def plain(value):
        if isinstance(value, bytes):
            return value.decode()
        return value.item() if isinstance(value, np.generic) else value

    def attributes(node):
        return {name: plain(value) for name, value in node.attrs.items()}

    def arrays(node):
        return {name: item[()] for name, item in node.items() if hasattr(item, "shape")}

    with h5py.File(path) as file:
        case = attributes(file) | {"name": Path(path).stem, "groups": []}
        if case["format"] != form:
            raise ValueError(f"{path}: format {case['format']!r} is not {form!r}")
        for key in sorted(file["groups"], key=int):
            params = attributes(file["groups"][key])
            case["groups"].append({"model": params.pop("model"), "n": params.pop("n"), "params": params})
        case |= {key: attributes(file[key]) for key in ("readout", "optimizer")} | arrays(file)
        case["expected"] = arrays(file["expected"])
    return case


@np.errstate(all="ignore")
def run_case(case: dict) -> dict:
    """Simulate a case and learn.

    Parameters
    ----------
    case : dict
        ``variant`` ("interval" or "spike"), ``groups`` (list of {"model", "n", "params"}), ``readout`` and
        ``optimizer`` (NEST parameters), ``w_in`` (n_rec, n_in), ``w_rec`` (n_rec, n_rec), ``w_out`` (n_out, n_rec)
        (row = target, NaN = no synapse), ``w_fb`` (n_rec, n_out), ``inputs`` (n_steps, n_in), ``targets``
        (n_steps, n_out).
        Interval: ``interval``, ``learning_window`` (steps), ``average_gradient`` (default false), ``reset``
        (default true), ``feedback``: "random", "symmetric" (w_fb = w_out^T after every optimizer step) or "adaptive"
        (w_fb learns with the gradients of w_out^T), where both have a synapse; ``learn_delay``: "in", "rec" to the
        settings of an optimizer of delays, with ``low`` and ``high``. Spike: ``window`` (n_steps,), and
        ``loss`` in ``readout`` (default mean_squared_error).
        Optional: ``d_rec`` (n_rec, n_rec), ``d_in`` (n_rec, n_in; row s of the inputs arrives in step s + d_in - 1),
        ``d_out``, ``d_fb`` (steps, default 1), ``dt`` (ms, default 1), spike: ``etas`` (n_steps,): the learning rate
        of updates made in each step, the last one in the flush too,
        ``step_currents`` (n_steps, n_rec; pA), injected in a step and felt in the next.

    Returns
    -------
    dict
        ``spike_steps``, ``spike_ids`` (sorted by step, then id), ``V_m``, ``surrogate_gradient`` (n_steps, n_rec),
        ``readout_signal``, ``error_signal`` (n_steps, n_out; 0 outside the learning window), ``w_in``, ``w_rec``,
        ``w_out`` (final weights, every pending update applied); interval also ``g_in``, ``g_rec``, ``g_out`` (lists,
        one raw gradient per interval, NaN = no synapse), ``losses`` (one per interval), and of delays that learn
        ``delay_in``, ``delay_rec``, and ``gd_in``, ``gd_rec`` as the gradients of weights.
    """
    return run_network(case, Network(case))


def run_network(case, net):
    """`run_case` of a network that stands for the case."""
    return {"interval": run_interval_variant, "spike": run_spike_variant}[case["variant"]](case, net)


class Network:
    """A case with the defaults filled in: weights, delays, neurons and readouts at rest."""

    def __init__(self, case):
        self.dt = float(case.get("dt", 1.0))
        self.w_in, self.w_rec, self.w_out = (np.array(case[name], float) for name in ("w_in", "w_rec", "w_out"))
        self.w_fb = np.nan_to_num(np.asarray(case["w_fb"], float))
        self.inputs = np.asarray(case["inputs"]).astype(bool)
        self.targets = np.asarray(case["targets"], float)
        self.n_steps, self.n_in = self.inputs.shape
        self.n_rec, self.n_out = self.w_fb.shape
        self.d_rec = np.broadcast_to(np.asarray(case.get("d_rec", 1), int), self.w_rec.shape)
        self.d_in = np.broadcast_to(np.asarray(case.get("d_in", 1), int), self.w_in.shape)
        self.d_out, self.d_fb = int(case.get("d_out", 1)), int(case.get("d_fb", 1))
        self.currents = np.asarray(case.get("step_currents", np.zeros((self.n_steps, self.n_rec))), float)
        self.optimizer = OPTIMIZER_DEFAULTS | dict(case["optimizer"])
        regular = case["variant"] == "spike"  # e-prop+ knows no irregular arrival
        self.neurons = Neurons(case["groups"], case["variant"], self.dt, regular)
        self.readouts = Readouts(case["readout"], self.n_out, self.dt, regular)
        self.z = np.zeros((self.n_steps, self.n_rec), bool)
        self.psi, self.v = np.zeros((2, self.n_steps, self.n_rec))
        self.signal, self.error = np.zeros((2, self.n_steps, self.n_out))
        self.learns_delays = "learn_delay" in case
        self.keeps = case.get("traces", False)  # they take gigabytes in large cases
        self.row_types = {"in": NeuronRow, "rec": NeuronRow}
        self.traces = []  # of each interval; in the spike variant of each row, source, targets, and (step, values)

    def step_neurons(self, s, arriving):
        """Advance the recurrent neurons through step s with the summed weights of "in" and "rec" that arrive in it."""
        injected = self.currents[s - 1] if s > 0 else np.zeros(self.n_rec)
        self.z[s] = self.neurons.step(arriving, injected, first=s == 0)
        self.v[s] = self.neurons.v + self.neurons.E_L
        self.psi[s] = self.neurons.psi

    def projections(self, cutoffs, readout_row):
        """The rows of all matrices in the spike variant, by name; an input of step s arrives in step s + d_in - 1."""
        delays = {"in": self.d_in - 1, "rec": self.d_rec}
        found = {
            key: Projection(self, getattr(self, f"w_{key}"), delays[key], row, cutoffs[0])
            for key, row in self.row_types.items()
        }
        in_out = np.full(self.w_out.shape, self.d_out)
        return found | {
            "out": Projection(self, self.w_out, in_out, readout_row, np.broadcast_to(cutoffs[1], self.n_out))
        }

    def gradients(self, start, T):
        """Gradients of one interval, from forward traces of every synapse."""
        cells, kappa = self.neurons, self.readouts.kappa
        kinds = {"": self.arrivals} | ({"delay_": self.arrivals_by_delay} if self.learns_delays else {})
        made = [self.make_traces() for _ in kinds]
        rate = self.z[start : start + T].sum(axis=0) / T
        reg = (cells.c_reg * (rate - cells.f_target * self.dt) / T)[:, None]
        shape = (self.n_rec, self.n_in + self.n_rec)
        ebar, sum_e, g = np.zeros((3, len(kinds), *shape))
        zbar_out, g_out = np.zeros(self.n_rec), np.zeros((self.n_out, self.n_rec))
        if self.keeps:
            traces = {name: np.zeros((T, *shape)) for name in ("eligibility", "eligibility_trace", "gradient")}
            traces_out = {name: np.zeros((T, self.n_out, self.n_rec)) for name in traces}
            self.traces.append({"onto neurons": traces, "onto readouts": traces_out})
        for t in range(T):
            error = self.error[start + t]
            signal = (self.w_fb @ error)[:, None]
            e = np.array([one.step(start + t, z(start, t, T)) for one, z in zip(made, kinds.values(), strict=True)])
            ebar = kappa * ebar + (1.0 - kappa) * e
            g += signal * ebar
            sum_e += e
            zbar_out = kappa * zbar_out + self.readouts.zeta * self.z[start + t]
            g_out += np.outer(error, zbar_out)
            if not self.keeps:
                continue
            for name, value in zip(traces, (e[0], ebar[0], signal * ebar[0] + reg * e[0]), strict=True):
                traces[name][t] = value
            for name, value in zip(traces, (self.z[start + t], zbar_out, np.outer(error, zbar_out)), strict=True):
                traces_out[name][t] = value
        g += reg * sum_e
        found = {"out": g_out}
        for kind, of_kind in zip(kinds, g, strict=True):
            found |= {f"{kind}in": of_kind[:, : self.n_in], f"{kind}rec": of_kind[:, self.n_in :]}
        return found

    def make_traces(self):
        """Eligibility traces of the synapses onto neurons at the start of an interval."""
        return NeuronTraces(self)

    def arrivals(self, start, t, T):
        """Spikes (n_rec, n_in + n_rec) that arrive at each synapse in step t of an interval of T steps."""
        return np.hstack([input_arrivals(self, start, t), recurrent_arrivals(self, start, t)])

    def arrivals_by_delay(self, start, t, T):
        """Half the difference of what arrived a step before and what arrives a step later, within steps 1 to T - 1."""
        nothing = np.zeros((self.n_rec, self.n_in + self.n_rec))
        before = self.arrivals(start, t - 1, T) if t > 1 else nothing
        after = self.arrivals(start, t + 1, T) if 0 < t < T - 1 else nothing
        return (before.astype(float) - after) / 2

    def results(self):
        steps, ids = np.nonzero(self.z)
        return {
            "spike_steps": steps,
            "spike_ids": ids,
            "V_m": self.v,
            "surrogate_gradient": self.psi,
            "readout_signal": self.signal,
            "error_signal": self.error,
            "w_in": self.w_in,
            "w_rec": self.w_rec,
            "w_out": self.w_out,
            "traces": self.traces,
        }


# ---------------------------------------------------------------------------------------------------------------------
# neurons and readouts


class Neurons:
    """The recurrent neurons: one value per neuron for every parameter and state variable."""

    def __init__(self, groups, variant, dt, regular):
        def per_neuron(name, default):
            values = [np.broadcast_to(g["params"].get(name, default), g["n"]) for g in groups]
            return np.concatenate(values).astype(float)

        p = {name: per_neuron(name, default) for name, default in NEURON_DEFAULTS.items()}
        models = np.concatenate([[g["model"]] * g["n"] for g in groups])
        functions = [[g["params"].get("surrogate_gradient_function", "piecewise_linear")] * g["n"] for g in groups]
        self.surrogate = np.concatenate(functions)
        self.height, self.width = p["surrogate_gradient_height"], p["surrogate_gradient_width"]
        self.variant, self.dt, self.tau_m = variant, dt, p["tau_m"]
        self.psc = np.char.startswith(models, "iaf_psc_delta")
        self.E_L, self.I_e = p["E_L"], p["I_e"]
        self.V_th, self.V_min, self.V_reset = p["V_th"] - self.E_L, p["V_min"] - self.E_L, p["V_reset"] - self.E_L
        self.alpha = np.exp(-dt / p["tau_m"])
        self.rho = np.exp(-dt / p["adapt_tau"])
        self.P_I = p["tau_m"] / p["C_m"] * (1.0 - self.alpha)
        self.zeta = np.where(regular | p["regular_spike_arrival"].astype(bool), 1.0, 1.0 - self.alpha)
        self.beta = np.where(np.char.endswith(models, "_adapt"), p["adapt_beta"], 0.0)
        self.t_ref = steps_up(p["t_ref"], dt).astype(int)
        self.refractory_input = p["refractory_input"].astype(bool)
        self.c_reg, self.f_target = p["c_reg"], p["f_target"] / 1000.0  # spikes per ms
        self.kappa, self.kappa_reg, self.cutoff = p["kappa"], p["kappa_reg"], steps_up(p["eprop_isi_trace_cutoff"], dt)
        self.reset()
        if any("V_m" in g["params"] for g in groups):
            starts = [np.broadcast_to(g["params"].get("V_m", g["params"].get("E_L", -70.0)), g["n"]) for g in groups]
            self.v = np.concatenate(starts) - self.E_L

    def reset(self):
        n = len(self.E_L)
        self.v, self.a, self.psi, self.stored = np.zeros((4, n))
        self.r = np.zeros(n, int)
        self.z = np.zeros(n, bool)  # the spike that has not yet acted on the adaptation (and on v, interval variant)

    def step(self, arriving, injected, first):
        """One step; returns the spikes. `injected` is the current of the step before (0 in the first step)."""
        arriving = arriving["in"] + arriving["rec"]
        current = injected + (0.0 if first else self.I_e)
        free = ~self.psc | (self.r == 0)
        # psc_delta neurons stand still while refractory and may keep what arrives, decayed to the first free step
        kept = ~free & self.refractory_input
        self.stored[kept] += (arriving * np.exp(-self.r * self.dt / self.tau_m))[kept]
        v = self.P_I * np.where(self.psc, injected + self.I_e, current) + self.zeta * arriving + self.alpha * self.v
        v += np.where(self.psc, self.stored, 0.0)
        if self.variant == "interval":
            v -= self.V_th * self.z
        self.v = np.where(free, np.maximum(v, self.V_min), self.v)
        self.a = np.where(free, self.rho * self.a + self.z, self.a)
        self.stored[free] = 0.0
        self.r = np.maximum(self.r - 1, 0)
        threshold = self.V_th + self.beta * self.a
        self.psi = np.where(self.r > 0, 0.0, self.evaluate_surrogate(self.v - threshold))
        spikes = (self.v >= threshold) & (self.r == 0)
        self.r = np.where(spikes, self.t_ref, self.r)
        if self.variant == "spike":
            self.v = np.where(spikes, np.where(self.psc, self.V_reset, self.v - self.V_th), self.v)
        self.z = spikes
        return spikes

    def evaluate_surrogate(self, x):
        psi = np.zeros_like(x)
        for name in set(self.surrogate):
            mine = self.surrogate == name
            psi[mine] = SURROGATES[name](x[mine], self.height[mine], self.width[mine])
        return psi


def steps_up(ms, dt):
    """Whole steps of a time, rounded up as `Time(Time::ms(t)).get_steps()` does; a thousandth of a step is none."""
    return np.ceil(np.asarray(ms, float) / dt - 1e-3)


class Readouts:
    """The leaky readouts, all with the same parameters."""

    def __init__(self, params, n, dt, regular):
        p = READOUT_DEFAULTS | dict(params)
        self.E_L, self.I_e, self.V_min = p["E_L"], p["I_e"], p["V_min"] - p["E_L"]
        self.kappa = np.exp(-dt / p["tau_m"])
        self.P_I = p["tau_m"] / p["C_m"] * (1.0 - self.kappa)
        self.zeta = 1.0 if regular or p["regular_spike_arrival"] else 1.0 - self.kappa
        self.loss, self.cutoff = p["loss"], steps_up(p["eprop_isi_trace_cutoff"], dt)
        self.y = np.full(n, p.get("V_m", p["E_L"]) - p["E_L"])

    def step(self, arriving, first):
        """One step; returns the signal that is compared with the target."""
        y = self.P_I * (0.0 if first else self.I_e) + self.zeta * arriving + self.kappa * self.y
        self.y = np.maximum(y, self.V_min)
        signal = self.y + self.E_L
        if self.loss == "cross_entropy":
            signal = np.exp(signal - signal.max())
            signal /= signal.sum()
        return signal


class Optimizer:
    """Gradient descent (with momentum), Adam or AdamW for an array of weights that take their steps together."""

    def __init__(self, params, shape):
        self.p = params
        self.m, self.v = np.zeros((2, *shape))
        self.steps = 0  # steps made since the start of the run

    def step(self, w, g, until):
        """The weights after a call that brings the number of steps up to `until`; the first step takes all of g."""
        p = self.p
        if p["type"] == "sum":  # of all gradients, while weights stay
            self.m = self.m + g
        if p["type"] == "gradient_descent":
            w = w - p["eta"] * g
        while p["type"] == "sgd_momentum" and self.steps < until:
            self.steps += 1
            self.m = p["momentum"] * self.m + g
            w = w - p["eta"] * self.m
            g = np.zeros_like(g)
        while p["type"] in ("adam", "adamw") and self.steps < until:
            self.steps += 1
            self.m = p["beta_1"] * self.m + (1.0 - p["beta_1"]) * g
            self.v = p["beta_2"] * self.v + (1.0 - p["beta_2"]) * g**2
            bias_1, bias_2 = 1.0 - p["beta_1"] ** self.steps, 1.0 - p["beta_2"] ** self.steps
            if p["type"] == "adam":
                w = w - p["eta"] * np.sqrt(bias_2) / bias_1 * self.m / (np.sqrt(self.v) + p["epsilon"])
            else:  # the published order: the mean gradient without its bias, and the decay beside it
                ahead = self.m / bias_1 / (np.sqrt(self.v / bias_2) + p["epsilon"])
                w = w - p["eta"] * (ahead + p["weight_decay"] * w)
            g = np.zeros_like(g)
        return np.clip(w, p["Wmin"], p["Wmax"])


# ---------------------------------------------------------------------------------------------------------------------
# interval variant


def run_interval_variant(case, net):
    """One sample after the other; the weights stand still within an interval."""
    T, batch = int(case["interval"]), int(net.optimizer["batch_size"])
    names = ("in", "rec", "out")
    weights = {"in": net.w_in, "rec": net.w_rec, "out": net.w_out}
    optimizers = {name: Optimizer(net.optimizer, weights[name].shape) for name in names}
    feedback = Feedback(case, net)
    delays = LearnedDelays(case, net)
    sums = dict.fromkeys(names, 0.0)
    gradients, losses = {name: [] for name in names}, []
    for index in range(net.n_steps // T):
        start = index * T
        if case.get("reset", True):
            net.neurons.reset()
            net.readouts.y = np.zeros(net.n_out)
        losses.append(simulate_interval(net, weights, start, T, int(case["learning_window"])))
        raw = net.gradients(start, T)
        for name in names:
            g = raw[name] / case["learning_window"] if case.get("average_gradient", False) else raw[name]
            gradients[name].append(np.where(np.isnan(weights[name]), np.nan, g))
            sums[name] = sums[name] + g
        delays.collect(weights, raw, case["learning_window"] if case.get("average_gradient", False) else 1)
        if (index + 1) % batch == 0:
            sums_out = sums["out"]
            for name in names:
                weights[name] = optimizers[name].step(weights[name], sums[name] / batch, (index + 1) // batch)
                sums[name] = 0.0
            feedback.step(weights["out"], sums_out / batch, (index + 1) // batch)
            delays.step(batch, (index + 1) // batch)
    results = net.results() | {f"w_{name}": weights[name] for name in names}
    results |= {f"delay_{name}": real for name, real in delays.real.items()}
    results |= {f"gd_{name}": gradient for name, gradient in delays.gradients.items()}
    return results | {f"g_{name}": gradients[name] for name in names} | {"losses": np.array(losses)}


class LearnedDelays:
    """Real delays of synapses; spikes take the nearest whole step."""

    def __init__(self, case, net):
        self.net, self.optimizers = net, {}
        self.real, self.gradients = {}, {}
        for name, settings in case.get("learn_delay", {}).items():
            bounds = {"Wmin": settings["low"], "Wmax": settings["high"]}
            self.real[name] = getattr(net, f"d_{name}").astype(float)
            self.optimizers[name] = Optimizer(OPTIMIZER_DEFAULTS | settings | bounds, self.real[name].shape)
            self.gradients[name] = []
        self.sums = dict.fromkeys(self.real, 0.0)

    def collect(self, weights, raw, divisor):
        for name in self.real:
            g = weights[name] * raw[f"delay_{name}"] / divisor
            self.gradients[name].append(g)
            self.sums[name] = self.sums[name] + np.nan_to_num(g)

    def step(self, batch, until):
        for name, optimizer in self.optimizers.items():
            self.real[name] = optimizer.step(self.real[name], self.sums[name] / batch, until)
            setattr(self.net, f"d_{name}", np.rint(self.real[name]).astype(int))
            self.sums[name] = 0.0


class Feedback:
    """Learning-signal weights that follow the readout weights or learn like them, where both have a synapse."""

    def __init__(self, case, net):
        self.net, self.kind = net, case.get("feedback", "random")
        self.optimizer = Optimizer(net.optimizer, net.w_fb.shape)
        self.both = ~np.isnan(net.w_out.T) & ~np.isnan(np.asarray(case["w_fb"], float))
        if self.kind == "symmetric":
            net.w_fb = np.where(self.both, np.nan_to_num(net.w_out.T), 0.0)

    def step(self, w_out, g_out, until):
        if self.kind == "symmetric":
            self.net.w_fb = np.where(self.both, np.nan_to_num(w_out.T), 0.0)
        if self.kind == "adaptive":
            moved = self.optimizer.step(self.net.w_fb, g_out.T, until)
            self.net.w_fb = np.where(self.both, moved, self.net.w_fb)


def input_arrivals(net, start, t):
    """Input spikes (n_rec, n_in) that arrive at each synapse in step t of the interval; those of step 0 are lost."""
    arrivals = np.zeros(net.w_in.shape, bool)
    for d in np.unique(net.d_in):
        if t > 0 and t - d + 1 >= 0:
            arrivals |= (net.d_in == d) & net.inputs[start + t - d + 1]
    return arrivals


def recurrent_arrivals(net, start, t):
    """Recurrent spikes (n_rec, n_rec) that arrive at each synapse in step t of the interval, from the same interval."""
    arrivals = np.zeros(net.w_rec.shape, bool)
    for d in np.unique(net.d_rec):
        if t - d >= 0:
            arrivals |= (net.d_rec == d) & net.z[start + t - d]
    return arrivals


def arriving(net, weights, start, t):
    """What arrives at each neuron in step t of the interval, by the origin of the synapses."""
    spikes = {"in": input_arrivals(net, start, t), "rec": recurrent_arrivals(net, start, t)}
    return {key: (weights[key] * spikes[key]).sum(axis=1) for key in spikes}


def simulate_interval(net, weights, start, T, learning_window):
    """Advance neurons and readouts through one interval; returns the loss."""
    weights = {name: np.nan_to_num(values) for name, values in weights.items()}
    loss = 0.0
    for t in range(T):
        s = start + t
        net.step_neurons(s, arriving(net, weights, start, t))
        # the readouts' own clock is late by the delay, so that in step t they take the spikes of step t
        signal = net.readouts.step(weights["out"] @ net.z[s], first=s == 0)
        if t >= T - learning_window:
            net.signal[s], net.error[s] = signal, signal - net.targets[s]
            if net.readouts.loss == "cross_entropy":
                loss -= np.sum(net.targets[s] * np.log(signal))
            else:
                loss += 0.5 * np.sum(net.error[s] ** 2)
    return loss


class NeuronTraces:
    """Traces of all synapses (n_rec, n_in + n_rec), forward in time."""

    def __init__(self, net):
        cells, self.net = net.neurons, net
        self.alpha, self.zeta, self.beta, self.rho = (
            x[:, None] for x in (cells.alpha, cells.zeta, cells.beta, cells.rho)
        )
        self.zbar, self.eps = np.zeros((2, net.n_rec, net.n_in + net.n_rec))

    def step(self, s, z):
        """The eligibility of step s, in which z arrives."""
        self.zbar = self.alpha * self.zbar + self.zeta * z
        e = self.net.psi[s][:, None] * (self.zbar - self.beta * self.eps)
        self.eps = self.rho * self.eps + e
        return e


# ---------------------------------------------------------------------------------------------------------------------
# spike variant


class History:
    """What the synapses look back at: psi, L and F of the neurons, E of the readouts; 0 before the task and after."""

    def __init__(self, net):
        self.net = net
        self.f_av = np.zeros(net.n_rec)
        self.F = np.zeros((net.n_steps, net.n_rec))

    def record_rate(self, s):
        cells = self.net.neurons
        self.f_av = cells.kappa_reg * self.f_av + (1.0 - cells.kappa_reg) * self.net.z[s] / self.net.dt
        self.F[s] = cells.c_reg * (self.f_av - cells.f_target)

    def error(self, s):
        return self.net.error[s] if 0 <= s < self.net.n_steps else np.zeros(self.net.n_out)

    def neuron(self, u, targets):
        """psi, L, F of the target neurons in history step u; L stems from the errors that step u caused."""
        if u < 0:
            return np.zeros((3, len(targets)))
        L = self.net.w_fb[targets] @ self.error(u + self.net.d_out)
        return self.net.psi[u, targets], L, self.F[u, targets]


class Row:
    """The synapses of one source with one delay onto neurons (or readouts) of one cutoff, and their bookkeeping."""

    def __init__(self, net, targets, weights, cutoff):
        self.targets, self.w, self.cutoff = targets, weights, cutoff
        self.m = net.d_out + net.d_fb - 1
        self.optimizer = Optimizer(net.optimizer, weights.shape)
        self.each_step = net.optimizer["optimize_each_step"]
        self.p = None  # previous arrival
        self.keeps, self.steps = net.keeps, []  # history step, e, its trace, gradient
        self.waiting = []  # arrivals that have not entered zbar yet

    def arrive(self, t_a, history):
        """Work off the history from the previous arrival and update the weights, before they are delivered."""
        if self.p is not None:
            steps = t_a - self.p
            worked = int(min(self.cutoff, steps))
            first = self.p - self.m
            g = np.zeros_like(self.w)
            for u in range(first, first + worked):
                z = sum(p <= u for p in self.waiting)
                self.waiting = [p for p in self.waiting if p > u]
                increment = self.work(u, z, history)
                g += increment
                if self.each_step:
                    self.w = self.optimizer.step(self.w, increment, u + 3)
            for u in range(first + worked, first + steps) if self.keeps else ():
                self.decay(1)
                nothing = np.zeros_like(self.w)
                self.steps.append((u, nothing, self.filtered(), nothing))
            self.decay(0 if self.keeps else steps - worked)
            if not self.each_step:
                self.w = self.optimizer.step(self.w, g, t_a + 1)
        self.p = t_a
        self.waiting.append(t_a)
        return self.w

    def filtered(self):
        """The filtered trace of each synapse."""
        return self.ebar


class NeuronRow(Row):
    def __init__(self, net, targets, weights, cutoff):
        super().__init__(net, targets, weights, cutoff)
        cells = net.neurons
        names = ("alpha", "rho", "beta", "kappa", "kappa_reg")
        self.alpha, self.rho, self.beta, self.kappa, self.kappa_reg = (getattr(cells, n)[targets] for n in names)
        self.zbar, self.eps, self.ebar, self.ereg = np.zeros((4, len(targets)))

    def work(self, u, z, history):
        psi, L, F = history.neuron(u, self.targets)
        self.zbar = self.alpha * self.zbar + z
        e = psi * (self.zbar - self.beta * self.eps)
        self.eps = self.rho * self.eps + e
        self.ebar = self.kappa * self.ebar + e
        self.ereg = self.kappa_reg * self.ereg + (1.0 - self.kappa_reg) * e
        g = L * self.ebar + F * self.ereg
        if self.keeps:
            self.steps.append((u, e, self.ebar, g))
        return g

    def decay(self, n):
        self.zbar = self.zbar * self.alpha**n
        self.eps = self.eps * self.rho**n
        self.ebar = self.ebar * self.kappa**n
        self.ereg = self.ereg * self.kappa_reg**n


class ReadoutRow(Row):
    def __init__(self, net, targets, weights, cutoff):
        super().__init__(net, targets, weights, cutoff)
        self.kappa = net.readouts.kappa
        self.zbar = 0.0

    def work(self, u, z, history):
        self.zbar = self.kappa * self.zbar + z
        g = history.error(u)[self.targets] * self.zbar
        if self.keeps:
            self.steps.append((u, np.full(len(self.targets), z), np.full(len(self.targets), self.zbar), g))
        return g

    def decay(self, n):
        self.zbar = self.zbar * self.kappa**n

    def filtered(self):
        return np.full(len(self.targets), self.zbar)


class Projection:
    """All rows of one weight matrix, found by (delay, source)."""

    def __init__(self, net, weights, delays, row_type, cutoffs):
        self.weights, self.rows = weights, {}
        self.delays = np.unique(delays[~np.isnan(weights)])
        exists = ~np.isnan(weights)
        for source in range(weights.shape[1]):
            for d in self.delays:
                for cutoff in np.unique(cutoffs):
                    targets = np.flatnonzero(exists[:, source] & (delays[:, source] == d) & (cutoffs == cutoff))
                    if len(targets):
                        row = row_type(net, targets, weights[targets, source].copy(), cutoff)
                        self.rows.setdefault((d, source), []).append(row)

    def deliver(self, t_a, spikes, history):
        """Summed weights (n_post,) of what arrives in step t_a, after the updates that the arrivals trigger."""
        total = np.zeros(len(self.weights))
        for d in self.delays:
            if 0 <= t_a - d < len(spikes):
                for source in np.flatnonzero(spikes[t_a - d]):
                    for row in self.rows.get((d, source), []):
                        total[row.targets] += row.arrive(t_a, history)
        return total

    def final_weights(self):
        return self.get(lambda row: row.w)

    def get(self, value):
        """The matrix of what rows have, NaN where there is no synapse."""
        found = np.where(np.isnan(self.weights), np.nan, self.weights)
        for (_, source), rows in self.rows.items():
            for row in rows:
                found[row.targets, source] = value(row)
        return found

    def put(self, take, matrix):
        """Let rows take their part of a matrix."""
        for (_, source), rows in self.rows.items():
            for row in rows:
                take(row, matrix[row.targets, source].copy())


def run_spike_variant(case, net):
    """One endless run; a synapse learns when a spike arrives, and once more in the flush at the end.

    `schedule` of the case has weights by the step from which on they hold; with the optimizer "sum" the results have
    "g_in" and so on, the sums of gradients.
    """
    if int(net.optimizer["batch_size"]) != 1:
        raise ValueError("the spike variant has batch_size 1")
    window = np.asarray(case["window"]).astype(bool)
    # a delay of one step from input to recurrent neurons is taken out: inputs[s] arrives in step s
    cutoffs = net.neurons.cutoff, float(net.readouts.cutoff)
    rows, spikes = net.projections(cutoffs, ReadoutRow), {"in": net.inputs, "rec": net.z, "out": net.z}
    history = History(net)
    for s in range(net.n_steps):
        if "etas" in case:
            net.optimizer["eta"] = case["etas"][s]  # all optimizers share these settings
        for key, weights in case.get("schedule", {}).get(s, {}).items():
            rows[key].put(lambda row, found: setattr(row, "w", found), weights)
        arriving = {key: rows[key].deliver(s, spikes[key], history) for key in rows}
        net.step_neurons(s, arriving)
        history.record_rate(s)
        signal = net.readouts.step(arriving["out"], first=s == 0)
        if window[s]:
            net.signal[s], net.error[s] = signal, signal - net.targets[s]
    if len(case.get("etas", ())) > net.n_steps:
        net.optimizer["eta"] = case["etas"][net.n_steps]
    flush(*((rows[key], spikes[key]) for key in rows), history=history)
    net.traces += list_traces(*rows.values())
    found = {f"w_{key}": projection.final_weights() for key, projection in rows.items()}
    if net.optimizer["type"] == "sum":
        found |= {f"g_{key}": projection.get(lambda row: row.optimizer.m) for key, projection in rows.items()}
    return net.results() | found


def run_batches(case, sample, reset=True, run=run_case, learns=()):
    """The spike variant in batches of samples of so many steps, as it is defined: from gradients of whole runs.

    With `reset` each sample is a run of its own. Without, the gradient of a sample is that of the run so far less that
    of the run up to the sample. `run` simulates a case; `learns` says which samples count, all do if it is empty.
    """
    batch, keys = int(case["optimizer"]["batch_size"]), ("in", "rec", "out")
    weights = {key: np.array(case[f"w_{key}"], float) for key in keys}
    optimizers = {key: Optimizer(OPTIMIZER_DEFAULTS | case["optimizer"], weights[key].shape) for key in keys}
    summing = case | {"optimizer": {"type": "sum", "optimize_each_step": False}, "schedule": {}}
    parts = {name: [] for name in ("spike_steps", "spike_ids", "readout_signal", "error_signal")}

    def simulate(first, last):
        by_step = ("inputs", "targets", "window", "step_currents")
        part = {name: summing[name][first:last] for name in by_step if name in summing}
        own = {f"w_{key}": weights[key] for key in keys} if reset else {}
        with np.errstate(all="ignore"):
            return run(summing | part | own)

    def keep(found, first):
        for name, values in parts.items():
            values.append(found[name] + first * (name == "spike_steps"))

    n_steps, n_samples = 0, len(case["inputs"]) // sample
    taken, total, before = 0, dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 0.0)
    for k in range(n_samples):
        first, last, counts = k * sample, (k + 1) * sample, learns[k] if learns else True
        found = simulate(first if reset else 0, last)
        if reset or k == n_samples - 1:
            keep(found, first if reset else 0)
        for key in keys if counts else ():
            total[key] = total[key] + found[f"g_{key}"] - (0.0 if reset else before[key])
        before, taken = {key: found[f"g_{key}"] for key in keys}, taken + counts
        if taken < batch:
            continue
        n_steps, taken = n_steps + 1, 0
        for key, optimizer in optimizers.items():
            weights[key] = optimizer.step(weights[key], total[key] / batch, n_steps)
        summing["schedule"][last], total = dict(weights), dict.fromkeys(keys, 0.0)
    return {name: np.concatenate(values) for name, values in parts.items()} | {f"w_{key}": weights[key] for key in keys}


def list_traces(*projections):
    """What rows have kept: name, source, delay, targets and steps of each."""
    return [
        (name, source, delay, row.targets, row.steps)
        for name, projection in zip(("in", "rec", "out"), projections, strict=True)
        for (delay, source), rows in projection.rows.items()
        for row in rows
    ]


def flush(*projections, history):
    """Spikes in flight arrive, then one more arrival closes every window with the last step of the task."""
    net = history.net
    end = net.n_steps + net.d_out + net.d_fb - 1
    for projection, spikes in projections:
        for t_a in range(net.n_steps, end):
            projection.deliver(t_a, spikes, history)
        for rows in projection.rows.values():
            for row in rows:
                row.arrive(end, history)
