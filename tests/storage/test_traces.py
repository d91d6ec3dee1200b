"""Recorded eligibility traces and gradients against the slow twin; on any ranks, and after a restart."""

import json
import os
from pathlib import Path

import h5py
import networks
import neuron_twin
import numpy as np
import pytest
import ranks
import small
import spike_networks
from case_files import find
from commands import output_of, run_of
from params import first
from reference import run_case

import pareprop
from pareprop import Adam, GradientDescent, InputError, Model, Normal
from pareprop.neurons import library
from pareprop.simulation.loop import Simulation
from pareprop.storage.record_settings import Record
from pareprop.storage.recorder import Recorder

WHAT = ("eligibility", "eligibility_trace", "gradient")


def record(simulation: Simulation, path: Path, n: int, **settings: object) -> dict[str, dict[str, np.ndarray]]:
    """All that `Record` keeps of the synapses in n iterations, by projection."""
    simulation.observers = [Recorder(path, Record(every=1, what=WHAT, **settings))]
    simulation.train(n)
    with h5py.File(path.with_suffix(".h5")) as file:
        return {name: {key: data[()] for key, data in group.items()} for name, group in file["weights"].items()}


def ends(model: Model, name: str, group: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Targets and sources as the twin numbers them, among all of their role."""
    projection = next(item for item in model.projections if item.name == name)
    return group["target"] + model.offset(projection.post), group["source"] + model.offset(projection.pre)


def compare_with_intervals(case: dict, expected: dict, simulation: Simulation, path: Path, n: int) -> list[float]:
    """Fail unless all traces of n intervals are those of the twin; return the largest of each."""
    found, n_in, seen = record(simulation, path, n), case["w_in"].shape[1], []
    for name, group in found.items():
        kind = "onto readouts" if name.endswith("out") else "onto neurons"
        if "gradient" not in group or kind not in expected["traces"][0]:  # of no synapse
            continue
        target, source = ends(simulation.model, name, group)
        column = source + n_in * (not name.startswith("in") and kind == "onto neurons")
        for key in WHAT:
            wanted = np.concatenate(
                [
                    np.broadcast_to(part[kind][key], part[kind]["gradient"].shape)[:, target, column]
                    for part in expected["traces"]
                ]
            )
            np.testing.assert_allclose(group[key], wanted, rtol=1e-9, atol=1e-12, err_msg=f"{name} {key}")
            seen.append(np.abs(wanted).max())
        totals = np.split(group["gradient"], n)
        gradients = expected[{"in": "g_in", "re": "g_out" if kind == "onto readouts" else "g_rec"}[name[:2]]]
        for total, gradient in zip(totals, gradients, strict=True):
            np.testing.assert_allclose(total.sum(axis=0), gradient[target, source], rtol=1e-9, atol=1e-10)
    return seen


@pytest.mark.parametrize("seed", [1, 5, 8, 13])
def test_traces_of_the_interval_variant_are_the_twins(seed: int, tmp_path: Path) -> None:
    """Each step of e, its filtered trace and the gradient, whose sum is what the optimizer takes."""
    case = networks.random_case(seed, average_gradient=False)
    expected, simulation = run_case(case | {"traces": True}), networks.simulation(case)
    seen = compare_with_intervals(case, expected, simulation, tmp_path / "record", 3)
    assert len(seen) > 5 and np.mean(np.array(seen) > 1e-3) > 0.5


def cut(name: str, n_steps: int, n: int = 6) -> dict:
    """The first n neurons of each group, and steps, of a golden case whose neurons are given by equations."""
    case = neuron_twin.load_case(next(path for path in find("neurons") if Path(path).stem == name))
    starts = np.cumsum([0, *(group["n"] for group in case["groups"])])[:-1]
    cells = np.concatenate([start + np.arange(n) for start in starts])
    for group in case["groups"]:
        group["params"] = {key: value[:n] if np.ndim(value) else value for key, value in group["params"].items()}
        group["n"] = n
    case |= {"w_in": case["w_in"][cells], "w_rec": case["w_rec"][np.ix_(cells, cells)], "w_fb": case["w_fb"][cells]}
    case |= {"w_out": case["w_out"][:, cells], "step_currents": np.zeros((n_steps, len(cells)))}
    case |= {key: case[key][np.ix_(cells, cells)] for key in ("d_rec",) if np.ndim(case.get(key))}
    case |= {key: case[key][:n_steps] for key in ("inputs", "targets", "window") if key in case}
    return case


@pytest.mark.parametrize("name", ["adex-adam-heterogeneous", "iaf-psc-exp-ports-delays", "mixed-three-models-adam"])
def test_traces_of_equations_are_the_twins_in_the_interval_variant(name: str, tmp_path: Path) -> None:
    case = {"reset": True} | cut(f"interval-{name}", 480) | {"average_gradient": False}
    expected, simulation = neuron_twin.run(case | {"traces": True}), networks.simulation(case)
    seen = compare_with_intervals(case, expected, simulation, tmp_path / "record", 2)
    assert len(seen) >= 6 and np.mean(np.array(seen) > 1e-9) > 0.5


def compare_with_rows(case: dict, expected: dict, simulation: Simulation, path: Path, n: int) -> list[float]:
    """Fail unless all traces of n samples are those of the twin; return the largest of each."""
    found = record(simulation, path, n)
    n_steps, d_out = len(case["inputs"]), int(case.get("d_out", 1))
    m, length = d_out + int(case.get("d_fb", 1)) - 1, len(case["inputs"]) // n
    seen, twin = [], {}
    for name, source, delay, targets, steps in expected["traces"]:
        for number, target in enumerate(targets):
            values = np.zeros((3, n_steps))
            for u, *tracks in steps:
                if 0 <= u < n_steps:
                    values[:, u] = [track[number] for track in tracks]
            twin[name, target, source, delay] = values
    for name, group in found.items():
        if "gradient" not in group:
            continue
        target, source = ends(simulation.model, name, group)
        kind = "out" if name.endswith("out") else "in" if name.startswith("in") else "rec"
        for k in range(len(target)):
            delay = group["delay"][k] - (kind == "in")
            wanted = twin.get((kind, target[k], source[k], delay), np.zeros((3, n_steps)))
            for key, track in zip(WHAT, wanted, strict=True):
                late = d_out if key == "gradient" and kind != "out" else 0
                # rows of the twin end where its last spike arrives: what is later changes no weight
                row = np.concatenate([np.zeros(late), track[: n_steps - late]])
                # past a cutoff, a spike that arrives after the sample decides over its last m steps
                known = np.arange(n_steps) % length < length - m + late
                wrong = ~np.isclose(group[key][:, k], row, rtol=1e-9, atol=1e-12)
                assert not np.any(wrong & known), f"{name} {key} {k}: {np.flatnonzero(wrong)}"
                seen.append(np.abs(row).max())
    return seen


@pytest.mark.parametrize(
    ("cutoff", "seed"), [("none", 2), ("none", 3), ("none", 7), ("none", 11), ("drawn", 3), ("drawn", 7), ("drawn", 19)]
)
def test_traces_of_the_spike_variant_are_the_twins(seed: int, cutoff: str, tmp_path: Path) -> None:
    """Over the ends of samples; a row of the gradient has the error of its step and the trace of d_out before.

    Cutoffs of 0 steps to 100, below and above the lag of learning signals.
    """
    case = spike_networks.random_case(seed, n_steps=180, d_fb=1)
    for group in (case["readout"], *(item["params"] for item in case["groups"])) if cutoff == "none" else ():
        group["eprop_isi_trace_cutoff"] = np.inf
    expected, simulation = run_case(case | {"traces": True}), spike_networks.simulation(case, 60)
    seen = compare_with_rows(case, expected, simulation, tmp_path / "record", 3)
    assert len(seen) > 15 and np.mean(np.array(seen) > 1e-6) > 0.3


@pytest.mark.parametrize(
    "name",
    first(
        2,
        [
            "spike-adex-adam",
            "spike-glif3-two-compartment-each-step-half-ms",
            "spike-iaf-psc-exp-ports-delays-cutoff",
            "spike-nest-models-cutoff",
        ],
    ),
)
def test_traces_of_equations_are_the_twins_in_the_spike_variant(name: str, tmp_path: Path) -> None:
    """The last three with a cutoff: past it, traces of most states end."""
    case = cut(name, 240)
    expected, simulation = neuron_twin.run(case | {"traces": True}), spike_networks.simulation(case, 80)
    seen = compare_with_rows(case, expected, simulation, tmp_path / "record", 3)
    assert len(seen) > 15 and np.mean(np.array(seen) > 1e-12) > 0.3


def delayed(variant: str, n: int, kind: object, indegree: int, values: dict, optimizer: object) -> Model:
    """A network with other delays in each of its projections."""
    cell = small.READOUT | {"V_th": 0.6, "c_reg": 0.1} | values
    among = {"rule": "fixed_indegree", "indegree": indegree, "weight": Normal(std=0.1), "delay": (2, 5)}
    onto, into = {"weight": Normal(std=0.1), "delay": 2}, {"weight": Normal(mean=0.1, std=0.1), "delay": 3}
    ways = {"into": into, "among": among, "onto": onto, "back": 1.0}
    return small.network(variant, 20, n, kind=kind, cell=cell, **ways, seed=4, optimizer=optimizer)


# cutoffs are of the spike variant
@pytest.mark.parametrize(("variant", "cutoff"), [("interval", np.inf), ("spike", np.inf), ("spike", 6.0)])
@pytest.mark.parametrize("name", ["iaf", "iaf_adapt"])
def test_equations_of_a_neuron_of_the_package_have_its_traces(
    variant: str, name: str, cutoff: float, tmp_path: Path
) -> None:
    found = []
    for kind in (name, library.get_definition(name + ("" if variant == "spike" else "_bsshslm_2020"))):
        more = {"eprop_isi_trace_cutoff": cutoff} if variant == "spike" else {}
        more |= {"adapt_beta": 0.1} if name == "iaf_adapt" else {}
        model = delayed(variant, 8, kind, 3, more, GradientDescent(eta=1e-4))
        found.append(record(Simulation(model, RAMP), tmp_path / f"record-{len(found)}", 3))
    for projection, group in found[0].items():
        for key, data in group.items():
            np.testing.assert_allclose(found[1][projection][key], data, rtol=1e-9, atol=1e-12, err_msg=key)
    assert all(np.any(group["gradient"]) for group in found[0].values())


def network(variant: str) -> Model:
    rule = GradientDescent(eta=1e-4) if variant == "spike" else Adam(eta=1e-3, batch_size=2)
    model = delayed(variant, 14, "iaf_adapt", 4, {"adapt_beta": 0.1}, rule)
    inputs, _, out = model.populations
    cutoff = {"eprop_isi_trace_cutoff": 8.0} if variant == "spike" else {}
    exp = model.neurons("exp", 6, "iaf_psc_exp", I_e=300.0, c_reg=0.1, **cutoff)
    model.connect(inputs, exp, weight=Normal(mean=50.0, std=10.0))
    model.connect(exp, out, weight=Normal(std=0.1), delay=2)
    model.connect(out, exp, weight=Normal(std=1.0))
    model.dropout(inputs, p=0.2)
    return model


RAMP = small.ramp(40, 20)


def train(folder: str, words: list[str], exchange: object) -> None:
    for variant in ("interval", "spike"):
        ranks.run_part(
            words,
            exchange,
            network(variant),
            RAMP,
            Path(folder, variant),
            iterations=6,
            validate_every=2,
            validate_samples=2,
            record={"every": 2, "what": [*WHAT, "weights"], "synapses": 17},
        )


def on_ranks(n: int, folder: Path, *words: str) -> dict[str, np.ndarray]:
    ranks.train(n, __file__, folder, *words)
    found = {}
    for variant in ("interval", "spike") if "part" not in words else ():
        with h5py.File(folder / variant / "record.h5") as file:
            file["weights"].visititems(
                lambda name, data, variant=variant: (
                    found.update({f"{variant}/{name}": data[()]}) if isinstance(data, h5py.Dataset) else None
                )
            )
    return found


@pytest.mark.slow
def test_traces_are_the_same_on_any_ranks_and_after_a_restart(tmp_path: Path) -> None:
    whole = on_ranks(1, tmp_path / "one")
    assert len(whole) == 2 * 5 * 7 and all(np.any(data) for name, data in whole.items() if name.endswith("gradient"))
    on_ranks(3, tmp_path / "part", "part")
    found = on_ranks(2, tmp_path / "part", "rest")
    assert found.keys() == whole.keys()
    for name, data in whole.items():
        np.testing.assert_array_equal(found[name], data, err_msg=name)


# Rank 1 has no compiler, and another cache than rank 0.
OF_RANK_0 = """
import os, sys
from test_traces import RAMP, WHAT, network
import pareprop
exchange = pareprop.exchange()
os.environ["PAREPROP_CACHE"] = f"{sys.argv[1]}/cache-{exchange.rank}"
if exchange.rank == 1:
    os.environ["PAREPROP_CC"] = "no-such-cc"
pareprop.run(
    network("spike"), RAMP, f"{sys.argv[1]}/run", iterations=2, figures="none", quiet=True, exchange=exchange,
    record={"every": 1, "what": [*WHAT], "synapses": 17},
)
"""


@pytest.mark.mpi
def test_one_rank_compiles_what_traces_need(tmp_path: Path) -> None:
    here = Path(__file__).parent
    done = ranks.run(2, "-c", OF_RANK_0, tmp_path, env={"PYTHONPATH": f"{here}{os.pathsep}{here.parent}"})
    assert done.returncode == 0, done.stderr
    assert any("quick" in path.name for path in (tmp_path / "cache-0").iterdir())
    assert not (tmp_path / "cache-1").exists()


def test_a_configuration_records_them(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    np.savez(tmp_path / "data.npz", targets=np.ones((2, 30, 1)), raster=np.ones((2, 30, 20), bool))
    kept = ["record.every=1", "record.step=10", 'what=["eligibility_trace"]', 'record.projections=["rec->rec"]']
    chosen = {"data": json.dumps(str(tmp_path / "data.npz")), "iterations": 2, "synapses": 5, "figures": "none"}
    output_of(capsys, *run_of("data", tmp_path / "run", *kept, **chosen))
    with h5py.File(tmp_path / "run" / "record.h5") as file:
        (group,) = file["weights"].values()
        assert group["eligibility_trace"].shape == (6, 5) and "weight" not in group
        assert np.any(group["eligibility_trace"][()]) and group["eligibility_trace"].attrs["unit"] == "1/mV"


def test_what_cannot_be_recorded_is_named(tmp_path: Path) -> None:
    def refused(model: Model, **settings: object) -> str:
        options = {"every": 1, "what": ["gradient"], **settings}
        with pytest.raises(InputError) as problem:
            pareprop.run(model, RAMP, tmp_path / "run", iterations=1, record=options, figures="none", quiet=True)
        return str(problem.value)

    model = network("spike")
    model.dropout(model.populations[1], p=0.1)
    assert "dropout 'dropout->rec' and c_reg of 'rec': dropped spikes are hidden" in refused(model)
    model = network("spike")
    cells = model.neurons("learning", 3, learn={"tau_m": Adam(low=5.0, high=50.0)})
    model.connect(model.populations[0], cells)
    assert "parameters of 'learning' that learn (tau_m)" in refused(model)
    model.connect(cells, cells, "fixed_indegree", indegree=1, rewire={"l1": 0.01}, allow_multapses=False)
    told = "[record] weights of 'learning->learning' can't be recorded: its synapses move; name others in [record]"
    for what in ("weights", "synapse_states", "gradient"):
        assert told in refused(model, what=[what])
    assert not (tmp_path / "run").exists()
