"""Each neuron model with each transmission in each export: held exactly, or refused or reported in one line."""

import json
import re
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
import ranks
import small
from commands import command

import pareprop
from pareprop import Adam, Model, Normal, Sample, ShortTerm, Simulation

pytestmark = pytest.mark.usefixtures("no_figures")
N_IN, STEPS = 10, 300
RASTER = np.random.default_rng(7).random((STEPS, N_IN)) < 0.08
TASK = small.Once(Sample.from_raster(RASTER, np.ones((STEPS, 1))), STEPS)
TWO = {"exc": "exc", "inh": "inh"}
MODELS = {  # variant, model: parameters, scale of weights, ports, whether NEST has the model
    ("interval", "iaf"): ({"t_ref": 1.0}, 6.0, None, True),
    ("interval", "iaf_psc_exp"): ({"I_e": 300.0}, 500.0, TWO, True),
    ("interval", "izhikevich"): ({"I_e": 3.0}, 8.0, None, True),
    ("interval", "iaf_cond_exp"): ({"t_ref": 1.0}, 4.0, TWO, True),
    ("interval", "adex"): ({"I_e": 300.0}, 3000.0, None, False),
    ("interval", "glif5"): ({"I_e": 200.0}, 60.0, {"exc": "receptor_1", "inh": "receptor_2"}, False),
    ("spike", "iaf_adapt"): ({"adapt_beta": 0.1}, 6.0, None, True),
    ("spike", "iaf_psc_delta"): ({"I_e": 300.0, "V_reset": -68.0}, 6.0, None, True),
    ("spike", "iaf_psc_exp"): ({"I_e": 300.0}, 500.0, TWO, True),
    ("spike", "iaf_psc_alpha"): ({"I_e": 300.0}, 300.0, TWO, True),
    ("spike", "izhikevich"): ({"I_e": 3.0}, 8.0, None, True),
    ("spike", "iaf_cond_exp"): ({"t_ref": 1.0}, 4.0, TWO, True),
    ("spike", "adex"): ({"I_e": 300.0}, 3000.0, None, False),
}
TRANSMISSIONS = {
    "static": None,
    "shared": ShortTerm(U=0.3, tau_rec=120.0, tau_fac=40.0, u=0.2),
    "by source": ShortTerm(U=np.linspace(0.2, 0.8, N_IN), tau_rec=np.linspace(50.0, 200.0, N_IN), x=0.9),
}
OPTIMIZER = Adam(eta=1e-3, Wmin=-1e5, Wmax=1e5)
EXPORTS = {"--nest": "net.py", "--network": "net", "--nir": "net.nir", "--torch": "net.py"}
FIRST = """
import h5py, json, nest, net
with h5py.File(net.RESULTS) as file:
    theirs, group = net.simulate_sample(nest, file, "first"), file["dynamics/first"]
    ours = group["spike_steps"][()], group["spike_ids"][()]
first = [sorted(zip(*(part.tolist() for part in (ids, steps))), reverse=True) for steps, ids in (ours, theirs)]
print(json.dumps(first))
"""  # spikes by neuron, late ones first, so that a dictionary keeps the first of each
SHORT = "short-term plasticity"


def build(variant: str, kind: str, transmission: str) -> Model:
    values, scale, ports, _ = MODELS[variant, kind]
    scale *= 1.0 if transmission == "static" else 5.0
    dt_ms = 0.1 if kind == "iaf_cond_exp" else 1.0  # at which the methods of integration differ little
    model = Model(variant, seed=5, dt_ms=dt_ms, optimizer=OPTIMIZER)
    inputs, out = model.inputs("in", N_IN), model.readouts("out", 1)
    rec = model.neurons("rec", 8, kind, **values)
    more = {"transmission": TRANSMISSIONS[transmission], "plastic": False}
    for port, sign in (("exc", 1.0), ("inh", 1.0 if kind == "iaf_cond_exp" else -1.0)):
        weight = np.abs(np.random.default_rng(3).normal(scale, 0.3 * scale, (8, N_IN))) * sign
        weight = weight * (1.0 if port == "exc" else 0.3)
        onto = {"port": ports[port]} if ports else {}
        target, source = (places.ravel() for places in np.indices((8, N_IN)))
        ends = {"source": source, "target": target, "delay": 1 + (source + target) % 3}
        model.connect(inputs, rec, "explicit", weight=weight.ravel(), name=f"in_{port}", **ends, **onto, **more)
    onto = {"port": ports["exc"]} if ports else {}
    model.connect(rec, rec, weight=0.05 * scale, delay=2, plastic=False, **onto)
    model.connect(rec, out, weight=Normal(std=0.1))
    model.connect(out, rec, weight=Normal(std=0.1))
    return model


def expected_refusal(kind: str, variant: str, transmission: str, how: str) -> str:
    """What the line of a refusal says, "" where the export holds the network."""
    has_model = MODELS[variant, kind][3]
    if how == "--nest":
        return "" if has_model else f"model '{kind}' is a custom model"
    if how == "--network":
        written = has_model or kind == "glif5"
        if not written or kind in ("izhikevich", "iaf_cond_exp"):
            return f"model '{kind}' is a custom model"
        return "by source" if transmission == "by source" else ""
    if transmission != "static":
        return SHORT
    return "" if how == "--torch" else None


@pytest.mark.peer
@pytest.mark.parametrize("transmission", TRANSMISSIONS)
@pytest.mark.parametrize(("variant", "kind"), MODELS)
def test_each_export(variant: str, kind: str, transmission: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with warnings.catch_warnings(action="ignore"):
        model = build(variant, kind, transmission)
        done = pareprop.run(model, TASK, tmp_path / "run", iterations=1, quiet=True)
    run = pareprop.open_run(tmp_path / "run")
    wanted = run.spikes("first")
    assert len(wanted["id"]) > 20, len(wanted["id"])
    for how, name in EXPORTS.items():
        (folder := tmp_path / how).mkdir()
        code, output, errors = command(capsys, "export", how, tmp_path / "run", folder / name)
        refusal = expected_refusal(kind, variant, transmission, how)
        if refusal is None:  # NIR has few models
            assert (code == 0) or (code == 2 and errors.count("\n") == 1)
        elif refusal:
            assert (code, errors.count("\n")) == (2, 1) and refusal in errors, (how, errors)
            assert not (folder / name).exists()
        else:
            assert code == 0, (how, errors)
            if how == "--nest":
                check_in_nest(folder, kind, output)
            elif how == "--network":
                check_read_back(folder / name, model, variant, transmission)
    assert done is not None


def check_in_nest(folder: Path, kind: str, output: str) -> None:
    """Run the script, and compare spikes one by one; models that NEST integrates otherwise have about as many."""
    pytest.importorskip("nest")
    line = [*ranks.python("nest"), "net.py", "first"]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    equal, total, more = map(
        int, re.search(r"(\d+) of (\d+) spikes are equal, NEST has (\d+) more", done.stdout).groups()
    )
    if kind == "iaf_cond_exp":
        assert "integrates iaf_cond_exp by another method" in output
        assert abs(equal + more - total) <= max(2, 0.1 * total), done.stdout
        first = subprocess.run(
            [*ranks.python("nest"), "-c", FIRST], cwd=folder, capture_output=True, text=True, check=True
        )
        both = [dict(pairs) for pairs in json.loads(first.stdout.splitlines()[-1])]
        assert both[0].keys() == both[1].keys() and len(both[0]) > 4
        assert all(abs(step - both[1][k]) <= 2 for k, step in both[0].items()), both  # 0.2 ms
    else:
        assert "another method" not in output and equal == total > 20 and more == 0, done.stdout


def check_read_back(folder: Path, model: Model, variant: str, transmission: str) -> None:
    """The network that the folder holds has the spikes of the one that was written."""
    back = Model.from_sonata(folder / "circuit_config.json", variant=variant, optimizer=OPTIMIZER)
    tables = {path.name: path.read_text() for path in (folder / "network").glob("in_*_edge_types.csv")}
    assert len(tables) == 2
    assert all(("tsodyks2_synapse" in table) == (transmission != "static") for table in tables.values())
    short = [json.loads(path.read_text()) for path in (folder / "components/synapse").glob("*.json")]
    assert any("tau_rec" in item for item in short) == (transmission != "static")
    rec = back.of_role("recurrent")[0]
    out = back.readouts("out", 1)
    back.connect(rec, out, weight=0.0)
    found = []
    for each in (model, back):
        simulation = Simulation(each, TASK)
        simulation.run_sample(0, "test", learn=False)
        found.append(np.stack(simulation.engine.log.list_spikes(STEPS)))
    np.testing.assert_array_equal(*found)
