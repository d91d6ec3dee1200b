"""The files of NEST's e-prop neurons and the classes of their parameters tell the same; so do names of surrogates."""

import pytest

from pareprop.errors import InputError
from pareprop.network import neurons
from pareprop.network.model import Model
from pareprop.network.variants import VARIANTS
from pareprop.neurons import library
from pareprop.neurons.model import COMMON
from pareprop.neurons.surrogates import SURROGATES
from pareprop.storage.self_description import UNITS

NAMES = [(variant, name) for variant, known in VARIANTS.items() for name in known.neurons]
BY_HAND = {"V_m", "refractory_input", "surrogate_gradient_function"}  # of the classes alone


@pytest.mark.parametrize(("variant", "name"), NAMES)
def test_file_and_class_agree(variant: str, name: str) -> None:
    known = VARIANTS[variant]
    suffix = known.nest_suffix
    definition = library.get(f"{name}{suffix}")
    assert definition.nest == f"eprop_{name}{suffix}"
    fields = {key: item.default for key, item in known.neurons[name].model_fields.items() if key not in BY_HAND}
    learning = {"kappa", "kappa_reg", "eprop_isi_trace_cutoff"} if not known.is_online else set()
    assert set(definition.defaults) - learning == set(fields)
    for key, default in fields.items():
        assert definition.defaults[key] == float(default), key
        if key in UNITS:
            assert definition.units[key] == UNITS[key], key
    assert definition.surrogate == known.neurons[name].model_fields["surrogate_gradient_function"].default


def test_names_of_surrogates_are_those_of_the_registry() -> None:
    assert list(neurons.SURROGATES) == list(SURROGATES)
    assert set(COMMON) >= {"surrogate_gradient_height", "surrogate_gradient_width"}


def test_surrogate_of_the_user() -> None:
    """An expression is compiled and acts; an unknown name is told with those that there are."""
    model = Model("interval")
    text = "surrogate_gradient_height*exp(-x*x/surrogate_gradient_width)"
    cells = model.neurons("rec", 2, "adex", surrogate_gradient_function=text)
    assert cells.params.surrogate_gradient_function == text
    with pytest.raises(InputError, match=r"surrogate: unknown name 'exponentiel', did you mean 'exponential'"):
        model.neurons("other", 2, "adex", surrogate_gradient_function="exponentiel")
    psi = cells.params.definition.equations.surrogate
    assert psi != library.get("adex").equations.surrogate
