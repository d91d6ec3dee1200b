"""The table of what does not go together: it refuses each of its rows, alone, and models show their features."""

import pytest

from pareprop import Adam, Eprop, InputError, Model, Normal, Reward
from pareprop.network.features import list_features
from pareprop.network.unsupported import MEANINGS, UNSUPPORTED, list_features_of, require_supported


@pytest.mark.parametrize("features", UNSUPPORTED, ids=" + ".join)
def test_each_row_is_refused_in_a_line_and_nothing_less(features: tuple[str, ...]) -> None:
    found = {name: f"<{name}>" for name in features}
    named = f"here: <{features[0]}> does not go with " + " and ".join(f"<{name}>" for name in features[1:])
    with pytest.raises(InputError) as refused:
        require_supported("here: ", found)
    assert str(refused.value) == f"{named}: {UNSUPPORTED[features]}"
    assert len(features) > 1 and set(features) <= set(MEANINGS)
    for left_out in features:
        require_supported("", {name: text for name, text in found.items() if name != left_out})


def test_every_feature_is_in_a_row() -> None:
    assert {name for features in UNSUPPORTED for name in features} == set(MEANINGS)


def test_no_row_holds_another_one() -> None:
    rows = list(map(set, UNSUPPORTED))
    assert not [(a, b) for a in rows for b in rows if a < b]


def everything(variant: str) -> Model:
    """A model with features that go together."""
    model = Model(variant, learning_signal=lambda signals, errors, context: signals)
    cells = model.neurons("rec", 3)
    model.connect(model.inputs("in", 2), cells, learning_rule=Eprop(filter="none"), weight=Normal(std=1.0))
    model.connect(model.currents("dc", 1), cells)
    model.connect(cells, model.readouts("out", 1, tau_m=20.0))
    model.silence(cells)
    return model


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_features_of_a_model(variant: str) -> None:
    model = everything(variant)
    assert list_features(model) == {
        variant: f"the {variant} variant",
        "learning_signal": "learning_signal",
        "single samples": "batch_size = 1",
        "current sources": "input currents 'dc'",
        "perturbations": f"perturbations ({model.perturbations[0].name})",
        "other rules": "rule 'eprop_unfiltered' of projection 'in->rec'",
    }
    plain = {variant: f"the {variant} variant"}
    assert list_features_of(model.projections[0], variant) == plain | {
        "learning_rule": "learning_rule = 'eprop_unfiltered'"
    }
    assert list_features_of(model.projections[1], variant) == plain


def test_features_of_populations_and_losses() -> None:
    model = Model(loss=Reward())
    cells = model.neurons("rec", 3, learn={"tau_m": Adam(low=5.0, high=50.0)})
    model.connect(cells, model.readouts("out", 1, tau_m=20.0))
    model.connect(cells, model.readouts("slow", 1, tau_m=30.0))
    found = list_features(model)
    assert found["parameters"] == "parameters that learn (rec.tau_m)" and found["reward"] == "loss 'reward'"
    assert found["different tau_m"] == "readouts of different tau_m (20, 30)"
    inner = model.connect(cells, cells, learn_delay=Adam(high=4.0))
    found = list_features_of(inner, "interval")
    assert found["learn"] == "parameters of 'rec' that learn (tau_m)" and found["learn_delay"] == "learn_delay"


def test_rewards_have_no_local_readouts() -> None:
    model = Model(loss=Reward())
    model.local_readouts("own", model.neurons("rec", 3))
    with pytest.raises(InputError, match=r"^loss 'reward' does not go with local_readouts 'own': an episode has no"):
        require_supported("", list_features(model))
