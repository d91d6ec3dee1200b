"""Slow twin of reward-based e-prop: the online rule of Bellec et al. 2020, one filter more for every synapse.

Nothing here uses the identity by which the package multiplies errors with advantages: TD errors meet traces that are
filtered by gamma lambda, forward in time, in the order in which they would be known. The entropy term and the
regularisation of rates are added as they stand in the equations.
"""

from __future__ import annotations

import neuron_twin
import numpy as np
import reference

from pareprop import rng


def returns(value, rewards, gamma, lambda_, after):
    """TD errors and advantages of one episode, as sums over all later steps; `after` follows the last value."""
    value, rewards = np.asarray(value, float), np.asarray(rewards, float)
    delta = rewards + gamma * np.append(value[1:], after) - value
    n = len(delta)
    advantage = [sum((gamma * lambda_) ** (m - k) * delta[m] for m in range(k, n)) for k in range(n)]
    return delta, np.array(advantage)


def softmax(x):
    x = np.exp(np.asarray(x) - np.max(x))
    return x / x.sum()


def gradients(case, index, episode, loss):
    """Gradients of one episode, with its readout signals; weights stand still.

    Parameters
    ----------
    case : dict
        As of `reference.run_case`; the last readout is the value.
    index : int
        Interval of the inputs.
    episode : dict
        `when`, `actions`, `rewards`, `acting` (N,), `terminated`, `bootstrap`, `n_steps`.
    loss : dict
        `gamma`, `lambda_`, `c_V`, `c_H`.
    """
    net = reference.Network(case)
    T, start = int(episode["n_steps"]), index * int(case["interval"])
    weights = {"in": net.w_in, "rec": net.w_rec, "out": net.w_out}
    if case.get("feedback") == "symmetric":
        reference.Feedback(case, net)
    reference.simulate_interval(net, weights, start, T, T)
    signal = net.signal[start : start + T]
    cells, kappa, traces = net.neurons, net.readouts.kappa, net.make_traces()
    ebar, sum_e, g, h = np.zeros((4, net.n_rec, net.n_in + net.n_rec))
    zbar_out = np.zeros(net.n_rec)
    g_out, h_out = np.zeros((2, net.n_out, net.n_rec))
    decay = loss["gamma"] * loss["lambda_"]
    step_of = {int(u): n for n, u in enumerate(episode["when"])}
    last_n = len(episode["when"]) - 1
    for t in range(T):
        e = traces.step(start + t, net.arrivals(start, t, T))
        ebar = kappa * ebar + (1.0 - kappa) * e
        sum_e += e
        zbar_out = kappa * zbar_out + net.readouts.zeta * net.z[start + t]
        if t not in step_of:
            continue
        n = step_of[t]
        if n > 0:  # the TD error of the step before is known now; it meets the traces of that step
            delta = episode["rewards"][n - 1] + loss["gamma"] * signal[t, -1] - signal[int(episode["when"][n - 1]), -1]
            g += delta * h
            g_out += delta * h_out
        error = np.zeros(net.n_out)
        if episode["acting"][n]:
            pi = softmax(signal[t, :-1])
            error[:-1] = pi
            error[int(episode["actions"][n])] -= 1.0
            H = -sum(p * np.log(p) for p in pi)
            bonus = np.append(loss["c_H"] * pi * (np.log(pi) + H), 0.0)
            g += (net.w_fb @ bonus)[:, None] * ebar
            g_out += np.outer(bonus, zbar_out)
        error[-1] = -loss["c_V"]
        h = decay * h + (net.w_fb @ error)[:, None] * ebar
        h_out = decay * h_out + np.outer(error, zbar_out)
        if n == last_n:
            after = 0.0 if episode["terminated"] else episode["bootstrap"]
            delta = episode["rewards"][n] + loss["gamma"] * after - signal[t, -1]
            g += delta * h
            g_out += delta * h_out
    rate = net.z[start : start + T].sum(axis=0) / T
    g += (cells.c_reg * (rate - cells.f_target * net.dt) / T)[:, None] * sum_e
    return {"in": g[:, : net.n_in], "rec": g[:, net.n_in :], "out": g_out}, signal


# ---- spike variant ---------------------------------------------------------------------------------------------------

BLOCK = 32  # episodes begin at multiples of so many steps, at least one step after the one before


class OnlineHistory(reference.History):
    """With TD errors and discounts by the step in which the readouts make them known."""

    def __init__(self, net):
        super().__init__(net)
        self.delta, self.discount = np.zeros(net.n_steps + 99), np.ones(net.n_steps + 99)
        self.L = {}  # learning signals, by the feedback of the step in which they arrive

    def project(self, t):
        """What readouts tell neurons in step t is of the history step that made it."""
        net = self.net
        u = t - net.d_out - net.d_fb
        self.L[u] = net.w_fb @ self.error(u + net.d_out)


class OnlineRow:
    """What TD errors will meet: the products of learning signals and traces, `h`, which fade.

    After the cutoff e is 0 and nothing is credited, while TD errors go on.
    """

    def __init__(self, net, targets, weights, cutoff):
        super().__init__(net, targets, weights, np.inf)
        self.d_out, self.h, self.fades = net.d_out, np.zeros(len(targets)), cutoff

    def work(self, u, z, history):
        if u < 0:
            return np.zeros(len(self.targets))
        is_credited = u < self.p - self.m + self.fades
        self.follow(u, z, history, is_credited)
        g = history.delta[u + self.d_out] * self.h + is_credited * history.F[u, self.targets] * self.ereg
        L = is_credited * history.L[u][self.targets]
        self.h = history.discount[u + self.d_out] * self.h + L * self.ebar
        return g


class OnlineNeuronRow(OnlineRow, reference.NeuronRow):
    def follow(self, u, z, history, is_credited):
        psi = history.net.psi[u].copy()
        history.net.psi[u] *= is_credited
        reference.NeuronRow.work(self, u, z, history)
        history.net.psi[u] = psi


class OnlineEquationRow(OnlineRow, neuron_twin.EquationRow):
    """Of neurons given by equations, with one port."""

    def follow(self, u, z, history, is_credited):
        whole = self.cells.history[u]
        self.cells.history[u] = whole | {"psi": is_credited * whole["psi"]}
        neuron_twin.EquationRow.work(self, u, z, history)
        self.cells.history[u] = whole


class OnlineReadoutRow(reference.ReadoutRow):
    def __init__(self, net, targets, weights, cutoff):
        super().__init__(net, targets, weights, np.inf)
        self.h, self.fades = np.zeros(len(targets)), cutoff

    def work(self, u, z, history):
        met = super().work(u, z, history)
        if u < 0:
            return np.zeros(len(self.targets))
        g = history.delta[u] * self.h
        self.h = history.discount[u] * self.h + (u < self.p - self.m + self.fades) * met
        return g


def run_batches(case, task, loss, n_episodes, reset):
    """As `run_online` in batches of episodes, see `reference.run_batches`."""
    batch, keys = int(case["optimizer"]["batch_size"]), ("in", "rec", "out")
    weights = {key: np.array(case[f"w_{key}"], float) for key in keys}
    optimizers = {
        key: reference.Optimizer(reference.OPTIMIZER_DEFAULTS | case["optimizer"], weights[key].shape) for key in keys
    }
    summing = case | {"optimizer": {"type": "sum", "optimize_each_step": False}, "schedule": {}}
    total, before, happened, spikes = dict.fromkeys(keys, 0.0), dict.fromkeys(keys, 0.0), [], []
    for k in range(n_episodes):
        own = {f"w_{key}": weights[key] for key in keys} | {"first_episode": k} if reset else {}
        found, events, z = run_online(summing | own, task, loss, 1 if reset else k + 1)
        happened, spikes = happened + events if reset else events, [*spikes, z] if reset else [z]
        for key in keys:
            total[key] = total[key] + found[f"g_{key}"] - (0.0 if reset else before[key])
            before[key] = found[f"g_{key}"]
        if (k + 1) % batch == 0:
            for key, optimizer in optimizers.items():
                weights[key] = optimizer.step(weights[key], total[key] / batch, (k + 1) // batch)
            summing["schedule"][k + 1], total = dict(weights), dict.fromkeys(keys, 0.0)
    return weights, happened, np.concatenate(spikes)


def run_online(case, task, loss, n_episodes, moving=None):
    """Learning within episodes of a corridor: weights after a flush, and what happened.

    Every synapse follows the rule step by step; the environment is stepped by hand. `moving` makes the synapses onto
    neurons if they move after each episode. `first_episode` of the case is the number of the first one, `schedule` has
    weights by the episode from which on they hold; with the optimizer "sum" there are sums of gradients, as "g_in".
    """
    total = n_episodes * BLOCK * (task.n_steps // BLOCK + 1)
    n_out = len(case["w_out"])
    given = "neuron_models" in case
    kind, row = (neuron_twin.TwinNetwork, OnlineEquationRow) if given else (reference.Network, OnlineNeuronRow)
    net = kind(case | {"inputs": np.zeros((total, task.n_inputs)), "targets": np.zeros((total, n_out))})
    net.row_types = {"in": row, "rec": row}
    rows = net.projections((net.neurons.cutoff, net.readouts.cutoff), OnlineReadoutRow)
    for key, delays in (("in", net.d_in - 1), ("rec", net.d_rec)) if moving else ():
        rows[key] = moving(net, key, getattr(net, f"w_{key}"), delays)
    history, start, happened = OnlineHistory(net), 0, []

    def follow():
        if case.get("feedback") == "symmetric":
            net.w_fb = np.where(np.isnan(case["w_fb"]), 0.0, np.nan_to_num(rows["out"].final_weights().T))

    def step(t):
        history.project(t)
        spikes = {"in": net.inputs, "rec": net.z, "out": net.z}
        arriving = {key: rows[key].deliver(t, spikes[key], history) for key in rows}
        net.step_neurons(t, arriving)
        history.record_rate(t)
        follow()
        return net.readouts.step(arriving["out"], first=t == 0)

    follow()
    for number in range(n_episodes):
        for key, weights in case.get("schedule", {}).get(number, {}).items() if "first_episode" not in case else ():
            rows[key].put(lambda row, found: setattr(row, "w", found), weights)
        index = case.get("first_episode", 0) + number
        draws = rng.draw_uniform(rng.make_key(task.seed, "train/actions"), [index], task.most)[0]
        episode, place, n, before = task.episode(index), 2, 0, None
        filled = task.first + task.sensor_delay
        net.inputs[start : start + filled] = episode.raster[:filled] < 0.1 + 0.12 * place
        t = start
        while True:
            signal = step(t)
            if t < start + task.first or (t - start - task.first) % task.period:
                t += 1
                continue
            pi = softmax(signal[:-1])
            action = int(draws[n] >= pi[0])
            if before is not None:
                reward, value, bonus = before
                history.delta[t] = reward + bonus + loss["gamma"] * signal[-1] - value
            history.discount[t] = 0.0 if before is None else loss["gamma"] * loss["lambda_"]
            net.error[t] = np.append(pi, -loss["c_V"])
            net.error[t, action] -= 1.0
            place, n = place + (1 if action else -1), n + 1
            before = 1.0 if place == 4 else -0.1, signal[-1], -loss["c_H"] * np.sum(pi * np.log(pi))
            happened.append((index, action, before[0], signal[-1]))
            over = place in (0, 4)
            if not over:
                room = max(min(task.period, task.n_steps - filled), 0)
                shown = episode.raster[filled : filled + room] < 0.1 + 0.12 * place
                net.inputs[start + filled : start + filled + room] = shown
                filled += room
            t += 1
            if over or n == task.most:
                break
        after = 0.0
        if not over and task.bootstrap and t - start + task.period <= task.n_steps:
            for _ in range(task.period):
                after = step(t)[-1]
                t += 1
        history.delta[t] = before[0] + before[2] + loss["gamma"] * after - before[1]
        net.inputs[t:] = False
        end = (t // BLOCK + 1) * BLOCK
        while t < end:
            step(t)
            t += 1
        start = end
        history.project(end)  # which is known by then
        for key in ("in", "rec") if moving else ():
            rows[key].end_sample(index + 1, end, history)
    net.n_steps = start
    last = start + net.d_out + net.d_fb - 1
    for t in range(start, last + 1):  # the last spikes arrive, then one more everywhere
        history.project(t)
        for key, projection in rows.items():
            if t < last:
                projection.deliver(t, (net.inputs if key == "in" else net.z)[:start], history)
            else:
                for row in (row for rows in projection.rows.values() for row in rows):
                    row.arrive(t, history)
        if t < last:
            follow()
    found = {key: projection.final_weights() for key, projection in rows.items()}
    if net.optimizer["type"] == "sum":
        found |= {f"g_{key}": projection.get(lambda row: row.optimizer.m) for key, projection in rows.items()}
    return found, happened, net.z[:start]
