"""What kernels bind: a key that is forgotten or unknown is an error at binding, not memory that isn't there."""

import networks
import numpy as np
import pytest
import spike_networks

from pareprop.kernels import PRECISIONS
from pareprop.network.local import LocalNetwork

CELLS = ("Neurons", "Readouts", "Channel", "Sample", "Recorder")
GROUPS = {
    "interval": (*CELLS, "Synapses"),
    "spike": (*CELLS, "Rates", "Errors", "Rows", "Feedback", "Histories", "Sums", "Online"),
}
NETWORKS = {"interval": networks, "spike": spike_networks}


def names_of_parameters(variant: str) -> list[str]:
    """Parameters of neurons that the kernel of a variant takes."""
    cells = NETWORKS[variant].simulation(NETWORKS[variant].random_case(1)).network.cells
    names = [name for name in cells if hasattr(getattr(PRECISIONS["double"], variant).Neurons, name)]
    assert len(names) == 6
    return names


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("variant", "name"), [(variant, name) for variant, names in GROUPS.items() for name in names])
def test_group_bound_to_nothing(variant: str, name: str, precision: str) -> None:
    group = getattr(getattr(PRECISIONS[precision], variant), name)
    with pytest.raises(TypeError, match=rf"^{name}: missing \['\w+'.*\], unknown \[\]$"):
        group({})


@pytest.mark.parametrize("variant", NETWORKS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_recorder(variant: str, precision: str) -> None:
    """Bound to its keys, and to none fewer or more."""
    local, track = np.arange(2), np.zeros((5, 2))
    values = {"local": local, "V_m": track, "adaptation": track, "psi": track, "state": np.zeros((0, 5, 2))}
    values["kept"] = np.zeros((6, 0, 2))
    group = getattr(PRECISIONS[precision], variant).Recorder
    assert np.shares_memory(group(values).V_m, track)
    for name in values:
        with pytest.raises(TypeError, match=rf"^Recorder: missing \['{name}'\], unknown \[\]$"):
            group({key: value for key, value in values.items() if key != name})
    with pytest.raises(TypeError, match=r"^Recorder: missing \[\], unknown \['V_n'\]$"):
        group(values | {"V_n": track})


@pytest.mark.parametrize(
    ("variant", "name"), [(variant, name) for variant in NETWORKS for name in names_of_parameters(variant)]
)
def test_parameter_that_a_network_lacks(variant: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases, parameters = NETWORKS[variant], LocalNetwork.select_kernel_arrays
    monkeypatch.setattr(
        LocalNetwork,
        "select_kernel_arrays",
        lambda self, kernel: {key: array for key, array in parameters(self, kernel).items() if key != name},
    )
    with pytest.raises(TypeError, match=rf"^Neurons: missing \['{name}'\], unknown \[\]$"):
        cases.simulation(cases.random_case(1))
