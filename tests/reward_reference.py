"""Slow twin of reward-based e-prop: the online rule of Bellec et al. 2020, one filter more for every synapse.

Nothing here uses the identity by which the package multiplies errors with advantages: TD errors meet traces that are
filtered by gamma lambda, forward in time, in the order in which they would be known. The entropy term and the
regularisation of rates are added as they stand in the equations.
"""

from __future__ import annotations

import numpy as np
import reference


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
    cells, kappa = net.neurons, net.readouts.kappa
    alpha, zeta, beta, rho = (x[:, None] for x in (cells.alpha, cells.zeta, cells.beta, cells.rho))
    zbar, eps, ebar, sum_e, g, h = np.zeros((6, net.n_rec, net.n_in + net.n_rec))
    zbar_out = np.zeros(net.n_rec)
    g_out, h_out = np.zeros((2, net.n_out, net.n_rec))
    decay = loss["gamma"] * loss["lambda_"]
    step_of = {int(u): n for n, u in enumerate(episode["when"])}
    last_n = len(episode["when"]) - 1
    for t in range(T):
        psi = net.psi[start + t][:, None]
        arrivals = np.broadcast_to(reference.input_arrivals(net, start, t), net.w_in.shape)
        zbar = alpha * zbar + zeta * np.hstack([arrivals, reference.recurrent_arrivals(net, start, t)])
        e = psi * (zbar - beta * eps)
        eps = rho * eps + e
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
