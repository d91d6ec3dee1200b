"""A network of pareprop in PyTorch, with its trained weights; needs torch alone.

    network = Network()                  # torch.nn.Module, float64; parameters: the weights of each projection
    readouts, spikes = network(inputs)   # inputs (samples, steps, inputs) of 0 and 1, or (steps, inputs) of one sample

`readouts` (samples, steps, readouts) are voltages in mV, for a loss "cross_entropy" logits; `spikes` (samples, steps,
neurons) are 0 or 1. Each sample starts at rest. Spikes equal pareprop's up to rounding: sums have another order.
With `first` false, constant currents flow from the first step on, as in all samples of a run except the first.

Autograd uses the surrogate gradients of the neurons; like e-prop, it excludes paths through resets and bounds. So
`loss.backward()` is backpropagation through time; `Network(through=0.0)` cuts the paths through other neurons, which
leaves e-prop's gradient.
"""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Any

import torch

Later = Any  # numbers or tensors, contexts of autograd, classes that the export writes


class Spike(torch.autograd.Function):
    """1 if a neuron that is not refractory reaches its threshold; backward the surrogate gradient."""

    @staticmethod
    def forward(ctx: Later, excess: torch.Tensor, free: torch.Tensor, surrogate: torch.Tensor) -> torch.Tensor:
        """Return spikes; `excess` is the value minus its threshold."""
        ctx.save_for_backward(surrogate)
        return ((excess >= 0.0) & free).to(excess.dtype)

    @staticmethod
    def backward(ctx: Later, gradient: torch.Tensor) -> tuple[Later, ...]:
        """Multiply by the surrogate gradient."""
        return gradient * ctx.saved_tensors[0], None, None


class ReplaceGradient(torch.autograd.Function):
    """The value of one tensor, with the gradient of another."""

    @staticmethod
    def forward(ctx: Later, value: torch.Tensor, learned: torch.Tensor) -> torch.Tensor:
        """Return the value."""
        return value.clone()

    @staticmethod
    def backward(ctx: Later, gradient: torch.Tensor) -> tuple[Later, ...]:
        """Pass the gradient to `learned`."""
        return None, gradient


def to_tensor(x: Later) -> torch.Tensor:
    """Return a number as a tensor."""
    return x if torch.is_tensor(x) else torch.tensor(float(x), dtype=torch.float64)


def select_where(condition: Later, a: Later, b: Later) -> torch.Tensor:
    """Return `a` where a condition is not 0, else `b`."""
    return torch.where(to_tensor(condition) != 0, to_tensor(a), to_tensor(b))


def take_minimum(a: Later, b: Later) -> torch.Tensor:
    """Return the minimum of two; the first one has the gradient if they are equal."""
    return select_where(to_tensor(a) <= to_tensor(b), a, b)


def take_maximum(a: Later, b: Later) -> torch.Tensor:
    """Return the maximum of two; the first one has the gradient if they are equal."""
    return select_where(to_tensor(a) >= to_tensor(b), a, b)


class Network(torch.nn.Module):
    """The trained network.

    Parameters
    ----------
    through : float
        Factor of gradients through spikes of neurons: 1 for backpropagation through time, 0 for e-prop.
    """

    def __init__(self, through: float = 1.0) -> None:
        super().__init__()
        self.about, self.through = json.loads(ABOUT), through
        self.weights = torch.nn.ParameterDict()
        for k, item in enumerate(self.about["projections"]):
            while hasattr(self.weights, item["key"]):  # attributes of ParameterDict, such as "forward", and other keys
                item["key"] += "_"
            self.weights[item["key"]] = torch.nn.Parameter(_read_array(f"weight/{k}"))
            for name in ("source", "target", "delay"):
                self.register_buffer(f"{name}_{k}", _read_array(f"{name}/{k}"))
        for k, item in enumerate(self.about["populations"]):
            for name in item["values"]:
                self.register_buffer(f"value_{k}_{name}", _read_array(f"value/{k}/{name}"))

    def forward(self, inputs: torch.Tensor, first: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return voltages of the readouts, and spikes of the neurons."""
        about, one = self.about, inputs.dim() == 2
        raster = inputs[None] if one else inputs
        n_samples, n_steps = raster.shape[:2]
        cells: dict[str, list[torch.Tensor]] = {name: [] for name in about["neurons"]}
        sizes = {item["name"]: item["size"] for item in about["populations"]}
        matrices = self._build_matrices(sizes)
        raster = raster.to(next((weight.dtype for weight in self.weights.values()), torch.float64))
        shares = dict(zip(about["inputs"], raster.split([sizes[name] for name in about["inputs"]], dim=2), strict=True))
        driven = {  # input currents by delay, in the step of the input spikes
            k: [(delay, shares[about["projections"][k]["pre"]] @ weight.T) for delay, weight in matrices.pop(k)]
            for k in list(matrices)
            if about["projections"][k]["pre"] in shares
        }
        states = {k: self._rest_state(k, n_samples) for k, item in enumerate(about["populations"]) if item["model"]}
        voltages: dict[str, list[torch.Tensor]] = {name: [] for name in about["readouts"]}
        before = {
            item["name"]: self._collect_values(k).start.expand(n_samples, -1)
            for k, item in enumerate(about["populations"])
            if item["role"] == "readout"
        }
        for step in range(n_steps):
            arriving: dict[tuple[str, str], Later] = {}
            onto_readouts = []
            for k, of_delays in driven.items():
                place = about["projections"][k]["post"], about["projections"][k]["port"]
                for delay, drive in of_delays if step or not about["loses_first"] else ():
                    if step - delay + 1 >= 0:
                        arriving[place] = arriving.get(place, 0.0) + drive[:, step - delay + 1]
            for k, of_delays in matrices.items():
                item = about["projections"][k]
                for delay, weight in of_delays:
                    if item["onto_readouts"] and about["loses_first"]:  # the readouts' clock is late by the delay
                        onto_readouts.append((item, weight))
                        continue
                    if step - delay < 0:
                        continue
                    spikes = cells[item["pre"]][step - delay]
                    if not item["onto_readouts"]:
                        spikes = spikes.detach() + self.through * (spikes - spikes.detach())
                    place = item["post"], item["port"]
                    arriving[place] = arriving.get(place, 0.0) + spikes @ weight.T
            for k, state in states.items():
                spikes = self._step(k, state, arriving, step, first)
                cells[about["populations"][k]["name"]].append(spikes)
            for item, weight in onto_readouts:
                place = item["post"], item["port"]
                arriving[place] = arriving.get(place, 0.0) + cells[item["pre"]][step] @ weight.T
            for k, item in enumerate(about["populations"]):
                if item["name"] in before:
                    name, v = item["name"], self._collect_values(k)
                    current = v.I if step or not first else torch.zeros_like(v.I)
                    y = current + v.zeta * arriving.get((name, "arriving"), 0.0) + v.kappa * before[name]
                    before[name] = ReplaceGradient.apply(torch.maximum(y, v.low), y)
                    voltages[name].append(before[name] + v.E_L)
        readouts = [torch.stack(voltages[name], dim=1) for name in about["readouts"]]
        spikes = torch.cat([torch.stack(cells[name], dim=1) for name in about["neurons"]], dim=2)
        signal = torch.cat(readouts, dim=2) if readouts else raster.new_zeros((n_samples, n_steps, 0))
        return (signal[0], spikes[0]) if one else (signal, spikes)

    def _build_matrices(self, sizes: dict[str, int]) -> dict[int, list[tuple[int, torch.Tensor]]]:
        """Return the weights of each projection as matrices (targets, sources), one for each delay in steps."""
        found: dict[int, list[tuple[int, torch.Tensor]]] = {}
        for k, item in enumerate(self.about["projections"]):
            weight, shape = self.weights[item["key"]], (sizes[item["post"]], sizes[item["pre"]])
            source, target, delay = (getattr(self, f"{name}_{k}").long() for name in ("source", "target", "delay"))
            found[k] = []
            for d in torch.unique(delay).tolist():
                here = delay == d
                dense = weight.new_zeros(shape).index_put((target[here], source[here]), weight[here], accumulate=True)
                found[k].append((d, dense))
        return found

    def _collect_values(self, k: int) -> SimpleNamespace:
        names = self.about["populations"][k]["values"]
        return SimpleNamespace(**{name: getattr(self, f"value_{k}_{name}") for name in names})

    def _rest_state(self, k: int, n_samples: int) -> SimpleNamespace:
        """Return the state of a population before the first step: all neurons at rest."""
        v, item = self._collect_values(k), self.about["populations"][k]
        v.states = {name: getattr(v, f"start_{name}").expand(n_samples, -1) for name in item["states"]}
        v.z = torch.zeros_like(next(iter(v.states.values())))
        v.counter = torch.zeros_like(v.z)
        return v

    def _step(self, k: int, v: SimpleNamespace, arriving: dict[Later, Later], step: int, first: bool) -> torch.Tensor:
        """Advance the neurons of a population; return their spikes."""
        item, model = self.about["populations"][k], MODELS[self.about["populations"][k]["model"]]
        vars(v).update(v.states)
        for port in item["ports"]:
            setattr(v, port, arriving.get((item["name"], port), torch.zeros_like(v.z)))
        v.I = v.I_e if step >= item["current_from"] or not first else torch.zeros_like(v.I_e)
        v.refractory = (v.counter > 0).to(v.z.dtype)
        learned = model.traces(v)
        new = {
            name: ReplaceGradient.apply(*torch.broadcast_tensors(value, learned[name])) if name in learned else value
            for name, value in model.step(v).items()
        }
        vars(v).update(new)
        v.counter = torch.clamp(v.counter - 1, min=0)
        free = v.counter == 0
        v.x = model.spike(v)
        surrogate = torch.where(free, model.surrogate(v), torch.zeros_like(v.z)).detach()
        z = Spike.apply(v.x, free, surrogate)
        fired = z.detach() > 0
        for name, after in model.reset(v).items():
            value = torch.where(fired, after, new[name])
            if name in item["follow"]:
                new[name] = value + (z - z.detach()) * (after - new[name]).detach()
            else:
                new[name] = ReplaceGradient.apply(value, new[name])
        v.states, v.z = new, z
        v.counter = torch.where(fired, v.t_ref_steps, v.counter)
        return z


def _read_array(name: str) -> torch.Tensor:
    kind, shape, text = ARRAYS[name]
    if not text:
        return torch.zeros(shape, dtype=getattr(torch, kind))
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=getattr(torch, kind)).reshape(shape)


# ---- the network: written by `pareprop export --torch` ---------------------------------------------------------------

MODELS: dict[str, Later] = {}
ABOUT = "{}"
ARRAYS: dict[str, Later] = {}
