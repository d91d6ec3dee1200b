"""Results that explain themselves: all parameters, units, named axes; `open_run` gives them as NumPy and pandas."""

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import small
from commands import as_options, output_of
from params import first

import pareprop
from pareprop import Adam, Model, rng
from pareprop.errors import InputError
from pareprop.exchange_formats import sonata_spikes_writer as sonata
from pareprop.network.local import LocalNetwork
from pareprop.runs import config, run
from pareprop.storage import record_settings

RUN = [
    "run",
    "evidence-accumulation",
    *as_options(
        "iterations=2", "test_samples=3", "batch_size=2", "n_ad=4", "n_reg=6", "validate_every=1", "figures=none"
    ),
]


pytestmark = pytest.mark.usefixtures("no_figures")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short classification: adaptive and other neurons, a softmax."""
    out = tmp_path_factory.mktemp("runs") / "run"
    chosen = config.load("evidence-accumulation", [text for text in RUN if "=" in text])
    began = run.Run(chosen, out, pareprop.exchange())
    out.mkdir()
    began.begin_run()
    began.train()
    return out


def test_parameters_of_all_neurons_are_those_of_the_network(done: Path) -> None:
    opened = pareprop.open_run(done)
    model = config.load(str(done / "config.toml")).task.build_model()
    cells = LocalNetwork(model, 0, 1).cells
    for population in model.of_role("recurrent"):
        found = opened.parameters(population.name)
        place = slice(model.offset(population), model.offset(population) + population.size)
        np.testing.assert_allclose(np.exp(-model.dt_ms / found["tau_m"]), cells["alpha"][place], rtol=1e-15)
        np.testing.assert_allclose(found["V_th"] - found["E_L"], cells["V_th"][place], rtol=1e-15)
        assert found.keys() >= set(type(population.params).model_fields) - {"V_m"}
    assert opened.populations == sorted(population.name for population in model.populations)


def test_drawn_values_are_stored_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn by number of the neuron: here again from the generator of random numbers itself."""
    levels = np.linspace(0.5, 0.9, 9)
    into = {"rule": "fixed_indegree", "indegree": 2, "weight": pareprop.Normal(std=0.5)}
    drawn = {"V_th": levels, "tau_m": pareprop.Normal(mean=20.0, std=2.0), "t_ref": 2.0}
    model = small.network("interval", 3, 9, cell=drawn, into=into, back=None, seed=7)
    from pareprop.storage import self_description

    monkeypatch.setattr(self_description, "BLOCK", 4)  # several blocks
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for projection in model.projections:
            file.create_group(f"projections/{projection.name}")
        self_description.write_parameters(file, model)
        rec = file["populations/rec"]
        expected = 20.0 + 2.0 * rng.draw_normal(rng.make_key(7, "rec/tau_m"), np.arange(9), 1)[:, 0]
        np.testing.assert_array_equal(rec["tau_m"][()], expected)
        np.testing.assert_array_equal(rec["V_th"][()], levels)
        assert rec["tau_m"].attrs["drawn_from"] == "Normal(mean=20.0, std=2.0)" and rec["tau_m"].attrs["unit"] == "ms"
        assert rec.attrs["t_ref"] == 2.0 and rec.attrs["role"] == "recurrent"
        assert rec["tau_m"].dims[0].label == "neuron"
        attributes = dict(file["projections/in->rec"].attrs)
        assert attributes["rule"] == "fixed_indegree" and attributes["indegree"] == 2 and attributes["plastic"]
        assert attributes["weight_drawn_from"] == "Normal(mean=0.0, std=0.5)"
        assert json.loads(attributes["optimizer"])["type"] == "gradient_descent"


def test_units_and_axes(done: Path) -> None:
    with h5py.File(done / "results.h5") as file:
        sample = file["dynamics/last"]
        units = {name: data.attrs.get("unit") for name, data in sample.items()}
        axes = {name: [dim.label for dim in data.dims] for name, data in sample.items()}
        delay = file["projections/" + next(iter(file["projections"]))]["delay"].attrs["unit"]
    assert units["readout_signal"] == units["target_signal"] == "1"  # a softmax is not a voltage
    assert (units["V_m"], units["surrogate_gradient"], delay) == ("mV", "1/mV", "steps")
    assert axes["V_m"] == ["step", "neuron"] and axes["readout_signal"] == ["step", "readout"]
    assert axes["spike_steps"] == axes["spike_ids"] == ["spike"]


@pytest.mark.parametrize("group", first(1, ["/", "dynamics/last"]))
def test_xarray_opens_groups_with_named_axes(done: Path, group: str) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    with xarray.open_dataset(done / "results.h5", group=group, engine="h5netcdf") as data:
        if group == "/":
            assert data["loss"].dims == ("iteration",) and data["iteration"].values.tolist() == [1, 2]
            return
        assert data["V_m"].dims == ("step", "neuron") and data["spike_ids"].dims == ("spike",)
        with h5py.File(done / "results.h5") as file:
            assert data["neuron"].values.tolist() == file["dynamics/last/record"][()].tolist()


def test_tables_as_numpy_and_pandas(done: Path) -> None:
    opened = pareprop.open_run(done)
    with h5py.File(done / "results.h5") as file:
        losses, steps = file["loss"][()], file["dynamics/last/spike_steps"][()]
        weights = file["projections/rec->out/weight"][()] if "rec->out" in file["projections"] else None
    np.testing.assert_array_equal(opened.losses["loss"], losses)
    assert opened.losses["iteration"].tolist() == [1, 2] and len(opened.validations["value"]) == 2
    np.testing.assert_array_equal(opened.spikes()["time_ms"], steps + 1.0)
    assert opened.signals()["readout_signal"].shape[1] == 2
    name = opened.projections[0]
    assert opened.weights(name).keys() == {"source", "target", "delay", "weight_initial", "weight"}
    assert weights is None or np.array_equal(opened.weights("rec->out")["weight"], weights)
    assert opened.config["run"]["iterations"] == 2 and "2 iterations" in repr(opened)
    pandas = pytest.importorskip("pandas")
    frame = opened.losses.to_pandas()
    assert isinstance(frame, pandas.DataFrame) and frame["loss"].tolist() == losses.tolist()


def test_populations_keep_their_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In recordings, exported spikes and results; weights and traces have the unit of the port."""
    model = Model("interval", seed=3)
    inputs = [model.inputs(name, 8) for name in ("left", "right")]
    cells = [model.neurons("mid", 6, "iaf", **small.CELL), model.neurons("top", 5, "iaf_psc_exp", V_th=-69.0)]
    out = model.readouts("out", 1, **small.READOUT)
    for pre, post in ((inputs[0], cells[0]), (inputs[1], cells[1]), (cells[0], cells[1])):
        model.connect(pre, post, weight=0.3 if post is cells[0] else 200.0, optimizer=Adam(Wmax=1000.0))
    for neurons in cells:
        model.connect(neurons, out, weight=0.1)
        model.connect(out, neurons, weight=0.1)
    what = ["spikes", "input_spikes", "V_m", "weights", "eligibility"]
    record = {"every": 1, "what": what, "neurons": {"mid": 2, "top": [0, 3]}}
    done = pareprop.run(
        model, small.ramp(40, 16, 0.3), tmp_path / "run", record=record, iterations=2, figures="none", quiet=True
    )
    output_of(capsys, "export", tmp_path / "run", tmp_path / "spikes.h5")
    with h5py.File(tmp_path / "run" / "record.h5") as kept, h5py.File(tmp_path / "spikes.h5") as file:
        assert kept["state/id"][()].tolist() == [0, 5, 6, 9]
        for group, populations in (
            ("spikes", {"recurrent": (0, 11), "mid": (0, 6), "top": (6, 11)}),
            ("input_spikes", {"inputs": (0, 16), "left": (0, 8), "right": (8, 16)}),
        ):
            iteration, step, ids = (kept[f"{group}/{key}"][()].astype(int) for key in ("iteration", "step", "id"))
            for name, (first, last) in populations.items():
                mine = (ids >= first) & (ids < last)
                assert np.count_nonzero(mine) > 10
                np.testing.assert_array_equal(file[f"spikes/{name}/timestamps"], (40 * iteration + step)[mine] + 1.0)
                np.testing.assert_array_equal(file[f"spikes/{name}/node_ids"], ids[mine] - first)
        assert file["spikes"].keys() == {"recurrent", "mid", "top", "inputs", "left", "right"}
        units = {
            f"{name}/{key}": kept[f"weights/{name}/{key}"].attrs["unit"]
            for name in ("left->mid", "mid->top")
            for key in ("weight", "eligibility")
        }
    assert units == {
        "left->mid/weight": "mV",
        "left->mid/eligibility": "1/mV",
        "mid->top/weight": "pA",
        "mid->top/eligibility": "1/pA",
    }
    with h5py.File(tmp_path / "run" / "results.h5") as file:
        named = {name: group["weight"].attrs.get("unit") for name, group in file["projections"].items()}
    assert named == {
        "left->mid": "mV",
        "right->top": "pA",
        "mid->top": "pA",
        "mid->out": "mV",
        "top->out": "mV",
        "out->mid": None,
        "out->top": None,
    }
    opened = done.open()
    every, own = opened.spikes(), opened.spikes(of="top")
    mine = every["id"] >= 6
    np.testing.assert_array_equal(own["id"], every["id"][mine] - 6)
    np.testing.assert_array_equal(own["step"], every["step"][mine])


@pytest.mark.parametrize(
    ("neurons", "words"),
    [
        ("mdi", "neurons: 'mdi' is not a population of neurons, did you mean 'mid'"),
        ({"mid": [6]}, "neurons of mid: 6 must lie in 0 to 5"),
        ({"top": -1}, "neurons of top = -1 must be at least 0"),
        ([6], "neurons: 6 must lie in 0 to 5"),
    ],
)
def test_neurons_that_cannot_be_recorded(neurons: object, words: str) -> None:
    model = small.population(6)
    model.populations[0] = replace(model.populations[0], name="mid")
    with pytest.raises(InputError, match=re.escape(words)):
        record_settings.check(record_settings.Record(neurons=neurons), model)


def test_what_is_not_there_is_named(done: Path, tmp_path: Path) -> None:
    opened = pareprop.open_run(done)
    with pytest.raises(InputError, match="no projection 'x'"):
        opened.weights("x")
    with pytest.raises(InputError, match=r"no sample 'test-0' .*; --set record\.test=N keeps the first N samples of"):
        opened.signals("test-0")
    with pytest.raises(InputError, match=r"run: the run has recorded nothing; --set record\.every=1, or record="):
        sonata.export_spikes(done, tmp_path / "spikes.h5")
    (tmp_path / "killed" / "record").mkdir(parents=True)
    (tmp_path / "killed" / "results.h5").touch()
    with pytest.raises(
        InputError, match="killed: the run has not ended; resume it: at its end the recording can be read"
    ):
        sonata.export_spikes(tmp_path / "killed", tmp_path / "spikes.h5")
    with pytest.raises(InputError, match="must be 'neurons' or 'inputs'"):
        opened.spikes(of="x")
    with pytest.raises(InputError, match=r"results\.h5"):
        pareprop.open_run(tmp_path)
