"""Neuron models in configurations: `[neuron_models.NAME]` trains, and is kept with the run, which goes on with it."""

import json
import re
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest
import small
from commands import command, digests, on_ranks, output_of, refusal_of

import pareprop
from pareprop.network.model import Model
from pareprop.neurons import library
from pareprop.neurons.model import NeuronModel
from pareprop.runs import config
from pareprop.simulation.loop import Simulation

OWN = library.get_definition("iaf_psc_exp").to_dict()  # under a name of the user's own: compiled once for all tests
CONFIG = """
[task]
name = "data"
data = "{folder}/data.npz"
[run]
iterations = 4
figures = "none"
[learning]
Wmin = -1000.0
Wmax = 1000.0
[model]
populations = [
    {{ name = "in", role = "input", size = 12 }},
    {{ name = "rec", role = "recurrent", size = 8, model = "mine", tau_m = {{ mean = 10.0, std = 1.0 }}, I_e = 300.0 }},
    {{ name = "ad", role = "recurrent", size = 4, model = "adex", I_e = 500.0 }},
    {{ name = "out", role = "readout", size = 1, C_m = 1.0, tau_m = 20.0 }},
]
projections = [
    {{ pre = "in", post = "rec", port = "exc", weight = {{ mean = 100.0, std = 30.0 }} }},
    {{ pre = "in", post = "ad", weight = {{ mean = 100.0, std = 30.0 }} }},
    {{ pre = ["rec", "ad"], post = "out", weight = {{ mean = 0.0, std = 0.1 }} }},
    {{ pre = "out", post = ["rec", "ad"], weight = {{ mean = 0.0, std = 0.1 }} }},
]
"""


def write(folder: Path, change: str = "", new: str = "", **keys: object) -> Path:
    """The configuration and its data, with one text replaced and keys of the model in place of its own."""
    rng = np.random.default_rng(1)
    np.savez(folder / "data.npz", rates=rng.random((3, 60, 12)) * 100, targets=np.full((3, 60, 1), 0.5))
    lines = config._format_equations("neuron_models.mine", OWN | keys)
    text = CONFIG.format(folder=folder) + "\n".join(lines) + "\n"
    assert change in text
    path = folder / "network.toml"
    path.write_text(text.replace(change, new) if change else text)
    return path


@pytest.mark.slow
@pytest.mark.mpi
def test_resumed_without_its_file_on_any_ranks(tmp_path: Path) -> None:
    path, found = write(tmp_path), []
    for n, words in (
        (1, ["run", path, "--out", tmp_path / "whole"]),
        (2, ["run", path, "--out", tmp_path / "part", "--until", "2"]),
        (3, ["resume", tmp_path / "part"]),
    ):
        codes, output, errors = on_ranks(n, [words])
        assert (codes, errors) == ([0], [])
        found += digests(output)
        if n == 2:
            path.unlink()
    assert len(found) == 3 and found[2] == found[0]
    with h5py.File(tmp_path / "whole" / "results.h5") as file:
        assert len(file["dynamics/first/spike_ids"]) > 20
        kept = json.loads(file.attrs["config"])["neuron_models"]
        assert list(kept) == ["mine", "adex"]  # those of the package, too: another version may have others
        for name, group in (("mine", "rec"), ("adex", "ad")):
            definition = NeuronModel.from_json(name, file[f"populations/{group}"].attrs["neuron_model"])
            assert definition == NeuronModel.from_dict(name, kept[name])
        assert NeuronModel.from_dict("adex", kept["adex"]) == library.get_definition("adex")
    kept = tomllib.loads((tmp_path / "whole" / "config.toml").read_text())["neuron_models"]
    assert NeuronModel.from_dict("mine", kept["mine"]) == NeuronModel.from_dict("mine", OWN)


def test_as_in_python(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    output = output_of(capsys, "run", write(tmp_path), "--out", tmp_path / "run")
    task = config.load(str(tmp_path / "run" / "config.toml")).task
    given = task.build_model()
    assert list(given.neuron_models) == ["mine", "adex"]
    model = Model(given.variant, given.seed, optimizer=given.optimizer)
    for item in given.populations:
        if item.role == "recurrent":
            definition = NeuronModel.from_dict("mine", OWN) if item.name == "rec" else library.get_definition("adex")
            values = {name: getattr(item.params, name) for name in ("I_e", "tau_m")[: 1 + (item.name == "rec")]}
            model.neurons(item.name, item.size, definition, **values)
        else:
            model.populations.append(item)
    model.projections += given.projections
    run = Simulation(model, task)
    run.train(4)
    assert digests(output.splitlines()) == [run.hexdigest()]


def test_a_resumed_run_refuses_other_equations(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    output_of(capsys, "run", write(tmp_path), "--out", tmp_path / "run", "--until", "2")
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text().replace('V_m = "E_reset"', 'V_m = "E_L"').replace('"w + b"', '"w + 2*b"'))
    told = r'\S+ belongs to another run: neuron_models\.adex\.reset\.w = "w \+ b", now "w \+ 2\*b"; `pareprop run` beg'
    assert re.match("pareprop: error: " + told, refusal_of(capsys, "resume", tmp_path / "run"))


@pytest.mark.slow
def test_a_script_leaves_its_models_in_its_run(tmp_path: Path) -> None:
    def network(b: float) -> Model:
        reset, one = {"reset": {"V_m": "V_reset", "w": f"w + {b}*b"}}, {"weight": 1.0}
        definition = NeuronModel.from_dict("adex", library.get_definition("adex").to_dict() | reset)
        ways = {"into": one, "onto": one, "back": one}
        return small.network("spike", 12, 4, kind=definition, cell={"I_e": 500.0}, **ways, defaults=True)

    def run(b: float, iterations: int, **options) -> pareprop.Trained:
        task, rest = small.Noise(np.full((40, 1), 0.5), 12), {"iterations": iterations, "figures": "none"} | options
        return pareprop.run(network(b), task, tmp_path / "run", quiet=True, **rest)

    run(2.0, 1)
    kept = tomllib.loads((tmp_path / "run" / "config.toml").read_text())["neuron_models"]
    assert kept["adex"]["reset"]["w"] == "w + 2.0*b"
    with pytest.raises(pareprop.InputError, match=r'neuron_models\.adex\.reset\.w = "w \+ 2\.0\*b", now "w \+ 3'):
        run(3.0, 2, restart=True)


LONG = "1" * 1_000_000
BAD = {
    "unknown key": ("", "", {"stepp": {}}, "unknown key 'stepp', did you mean 'step'?"),
    "deep table": ("[neuron_models.mine]", "x = " + "[" * 10_000 + "]" * 10_000 + "\n[neuron_models.mine]", {},
                   "nested too deeply"),
    "no table": ("[neuron_models.mine]", "[neuron_models]\nother = 5\n[neuron_models.mine]", {},
                 "neuron model 'other' = 5 must be a table"),
    "a taken name": ("[neuron_models.mine]", "[neuron_models.iaf]\n[neuron_models.mine]", {},
                     "neuron model 'iaf': states is missing"),
    "another model": ('model = "mine"', 'model = "mime"', {}, "unknown model 'mime' in variant 'interval', did you"),
    "no such port": ('port = "exc"', 'port = "dend"', {}, "port = 'dend' must be one of exc, inh"),
    "no such parameter": ("I_e = 300.0", "I_ex = 300.0", {}, "unknown parameter 'I_ex', did you mean 'I_e'?"),
    "division by zero": ("", "", {"constants": OWN["constants"] | {"ratio": "1/(V_th + 55)"}},
                         "neuron model 'mine': constants: ratio is inf, where V_th = -55"),
    "no capacitance": ("I_e = 300.0", "I_e = 300.0, C_m = 0.0", {}, "'rec': C_m = 0 must be above 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_models_are_one_line(capsys: pytest.CaptureFixture, tmp_path: Path, name: str) -> None:
    change, new, keys, message = BAD[name]
    code, output, errors = command(capsys, "run", write(tmp_path, change, new, **keys), "--out", tmp_path / "run")
    assert (code, output) == (2, "")
    assert re.fullmatch(r"pareprop: error: [^\n]+\n", errors) and message in errors and len(errors) < 600
    assert not (tmp_path / "run").exists()


def test_a_task_without_a_network_of_the_user(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[task]\nname = "sine-waves"\n[neuron_models.mine]\nspike = "1"\n')
    told = refusal_of(capsys, "run", path, "--out", tmp_path / "run")
    assert "[neuron_models]: task 'sine-waves' has no network of your own that has them" in told


def test_dry_run(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    code, output, errors = command(capsys, "dry-run", write(tmp_path), "--ranks", "3")
    assert (code, errors) == (0, "") and "histories" in output
