"""Names and habits of other packages are answered with the package's own name."""

import re

import numpy as np
import pytest
import small
from small import Noise

import pareprop
from pareprop import InputError, Model, Simulation
from pareprop.network.optimizers import OPTIMIZERS, Adam, AdamW


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_the_learning_rate_may_come_first(kind: type) -> None:
    assert kind(5e-3) == kind(eta=5e-3) and kind(5e-3, batch_size=2) == kind(eta=5e-3, batch_size=2)
    for bad in (lambda: kind(1e-3, 0.9), lambda: kind(1e-3, eta=1e-3)):
        with pytest.raises(TypeError, match=kind.__name__):
            bad()
    with pytest.raises(InputError, match=rf"{kind.__name__}: eta = -1"):
        kind(-1)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: AdamW(lr=1e-3), "AdamW: unknown parameter 'lr', did you mean 'eta'?"),
        (lambda: Adam(betas=(0.9, 0.99)), "Adam: unknown parameter 'betas', did you mean 'beta_1' and 'beta_2'?"),
        (lambda: Adam(eps=1e-8), "Adam: unknown parameter 'eps', did you mean 'epsilon'?"),
        (lambda: connect(rule="pairwise_bernoulli", p=0.1), "unknown parameter 'p', did you mean 'probability'?"),
        (
            lambda: connect(rule="fixed_outdegree", outdegree=2),
            "unknown parameter 'outdegree', did you mean 'indegree'?",
        ),
        (lambda: connect(conn_spec="all_to_all"), "unknown parameter 'conn_spec', did you mean 'rule'?"),
        (lambda: connect(syn_spec={}), "did you mean 'weight' and 'delay_ms'?"),
        (lambda: connect(receptor_type=1), "unknown parameter 'receptor_type', did you mean 'port'?"),
        (
            lambda: Model().neurons("rec", 5, "iaf_pcs_exp"),
            "unknown model 'iaf_pcs_exp' in variant 'interval', did you mean 'iaf_psc_exp'?",
        ),
        (lambda: Model().neurons("rec", 5, "xyzzy"), "unknown model 'xyzzy' in variant 'interval' (known: adex, "),
        (lambda: Model().neurons("rec", 5, "conductance"), "(known: iaf_cond_exp, resonate_and_fire, "),
        (lambda: Model().neurons("rec", 5, "HH"), "(known: izhikevich, hh_cond_exp_traub, "),
    ],
)
def test_the_setting_that_is_meant_is_named(make: object, named: str) -> None:
    with pytest.raises(InputError, match=re.escape(named)):
        make()


def connect(**options: object) -> None:
    model = Model()
    model.connect(model.inputs("in", 3), model.neurons("rec", 5), **options)


def test_run_lists_epochs_among_its_settings() -> None:
    task = Noise(np.zeros((20, 1)), 3)
    with pytest.raises(InputError, match=r"unknown setting 'epoch', did you mean 'epochs'\?"):
        pareprop.run(Model(), task, epoch=6)
    with pytest.raises(InputError, match=r"unknown setting 'qqq' \(known: iterations, epochs, "):
        pareprop.run(Model(), task, qqq=6)


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_a_loss_may_return_tensors(variant: str) -> None:
    """Also tensors that carry a gradient, and values of one number; the same bits as of NumPy."""
    torch = pytest.importorskip("torch")

    def of_torch(output: np.ndarray, target: np.ndarray) -> tuple:
        error = torch.tensor(output - target, requires_grad=True)
        return error, 0.5 * (error**2).sum()

    def of_numpy(output: np.ndarray, target: np.ndarray) -> tuple:
        error = output - target
        return error, float(0.5 * (torch.tensor(error) ** 2).sum())

    losses = []
    for loss in (of_torch, of_numpy):
        weights = {"into": {"weight": 0.5}, "onto": {"weight": 0.1}, "back": {"weight": 0.1}}
        model = small.network(variant, 4, 5, cell={"V_th": 0.3}, **weights, seed=2, loss=loss)
        losses.append(Simulation(model, Noise(np.ones((20, 1)), 4), quiet=True).train(2))
    assert losses[0] == losses[1]
