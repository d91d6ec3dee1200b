"""E-prop+ at a resolution other than 1 ms: NEST compares firing rates with f_target * dt, which a line says."""

import warnings

import pytest

import pareprop.nest as nest
from pareprop.nest import errors


def list_lines(
    monkeypatch: pytest.MonkeyPatch, suffix: str = "", dt: float = 0.5, losses: bool = False, **cell
) -> list:
    """Return what two runs of a network say."""
    monkeypatch.setattr(errors, "_given", set())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            nest.ResetKernel()
            nest.set(resolution=dt, eprop_nest_losses=losses)
            if suffix:
                nest.set(eprop_update_interval=20.0, eprop_learning_window=20.0)
            generator = nest.Create("spike_generator", params={"spike_times": [2.0, 9.0]})
            parrot = nest.Create("parrot_neuron")
            neurons = nest.Create(f"eprop_iaf{suffix}", 2, {"c_reg": 1.0} | cell)
            nest.Connect(generator, parrot, "all_to_all", {"delay": dt})
            nest.Connect(parrot, neurons, "all_to_all", {"synapse_model": f"eprop_synapse{suffix}", "delay": dt})
            nest.Simulate(40.0)
    return [str(entry.message) for entry in caught]


@pytest.mark.parametrize("f_target", [10.0, [10.0, 0.0]])
def test_a_line_says_that_target_rates_differ(monkeypatch: pytest.MonkeyPatch, f_target: object) -> None:
    assert list_lines(monkeypatch, f_target=f_target) == [
        "resolution 0.5 ms: firing rates are regularized towards f_target; NEST takes f_target * 0.5, as does "
        "nest.set(eprop_nest_losses=True) or pareprop nest --nest-losses"
    ]


@pytest.mark.parametrize(
    "how", [{"dt": 1.0}, {"losses": True}, {"c_reg": 0.0}, {"f_target": 0.0}, {"suffix": "_bsshslm_2020"}], ids=str
)
def test_no_line_where_they_are_the_same(monkeypatch: pytest.MonkeyPatch, how: dict) -> None:
    assert list_lines(monkeypatch, **how) == []
