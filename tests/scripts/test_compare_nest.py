"""scripts/compare_nest.py: the same networks in NEST and in pareprop, paired runs, and tables."""

import json
from dataclasses import replace

import compare_nest
import numpy as np
import pytest
from click.testing import CliRunner
from contests import Contest, Kind, fresh, run_pareprop
from params import first_rows

VARIANTS = pytest.mark.parametrize("variant", ["interval", "spike"])
CHOICES = [("interval", True), ("spike", False), ("interval", False), ("spike", True)]
pytestmark = pytest.mark.usefixtures("quick_starts")
SMALL = Contest("bench-small", "interval", 2, (100, 10, 10), 300)


@pytest.fixture
def nest():
    pytest.importorskip("nest", reason="no NEST: install the extra 'peer'")


@pytest.mark.peer
@pytest.mark.parametrize(("variant", "learn"), first_rows(0, CHOICES, rest=2))
def test_same_spikes_as_nest(variant, learn, nest):
    contest = Contest("small", variant, 2, (200, 20, 20))
    theirs, ours = fresh(contest, Kind("nest", learn)), run_pareprop(contest, learn)
    found = compare_nest.compare_spikes(contest, theirs, ours)
    assert found["first_sample"] > 1000 and found["first_sample_equal"]
    if learn or variant == "spike":  # static synapses carry spikes into the next sample, others don't
        assert np.array_equal(theirs["spike_steps"], ours["spike_steps"])
        assert np.array_equal(theirs["spike_ids"], ours["spike_ids"])
    theirs["spike_ids"][0] += 1
    assert not compare_nest.compare_spikes(contest, theirs, ours)["first_sample_equal"]


@pytest.mark.peer
@pytest.mark.parametrize("synapse", ["tsodyks2_synapse", "stdp_synapse"])
def test_other_synapses(synapse, nest):
    """All spikes are NEST's, but those of STDP, whose weights move in another order; their number is about the same."""
    contest = Contest("small", "spike", 2, (200, 40, 100), 400, synapse=synapse)
    learning, fixed = (
        compare_nest.compare_spikes(contest, fresh(contest, Kind("nest", learn)), run_pareprop(contest, learn))
        for learn in (True, False)
    )
    for found in (learning, fixed)[synapse == "stdp_synapse" :]:
        assert found["first_sample"] > 1000 and found["first_sample_equal"] and found["nest"] == found["pareprop"]
    assert learning["nest"] != fixed["nest"]
    assert learning["pareprop"] == pytest.approx(learning["nest"], rel=0.02)


@pytest.mark.mpi
@VARIANTS
def test_ranks_make_the_same_spikes(variant):
    contest = replace(SMALL, variant=variant)
    one, two = run_pareprop(contest, True), fresh(contest, Kind("pareprop", True, 2))
    assert len(one["spike_ids"]) > 100 and two["seconds"] > 0 and two["bytes"] > 0
    for name in ("spike_steps", "spike_ids"):
        assert np.array_equal(one[name], two[name])


def test_a_run_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"(?s)bench-small, pareprop_static: .*KeyError: 'bench-small'"):
        fresh(replace(SMALL, sizes=None), Kind("pareprop", False))


def made_up(seconds):
    spikes = {"spike_steps": np.array([1, 2]), "spike_ids": np.array([3, 4])}
    return {"seconds": seconds, "build_seconds": 0.1, "bytes": 2**20} | spikes


def made_up_runs(workers, factor):
    return {
        kind: [made_up(factor * (8.0 if kind.simulator == "nest" else 2.0) * (1.0 if kind.learn else 0.25))]
        for kind in compare_nest.kinds(workers)
    }


def test_ratios_pair_runs_and_workers():
    runs = made_up_runs((1, 2), 1.0)
    for kind, more in made_up_runs((1, 2), 3.0).items():
        runs[kind] += more
    found = compare_nest.summarize(SMALL, runs)
    assert found["runs"]["nest"]["seconds"] == found["runs"]["nest_2"]["seconds"] == [8.0, 24.0]
    assert found["ratios"]["learning"] == [4.0, 4.0] and found["ratios"]["learning_to_nest_static"] == [1.0, 1.0]
    assert found["ratios"]["cost_of_learning_2"] == [4.0, 4.0] and found["ratios"]["gain_nest_2"] == [1.0, 1.0]
    assert found["synapses"] == 100 * (10 + 10 + 1) and found["simulated_seconds"] == pytest.approx(0.6)


def test_unequal_spikes_are_told():
    runs = made_up_runs((1,), 1.0)
    runs[Kind("nest", True)][0]["spike_ids"] = np.array([3, 5])
    spikes = compare_nest.summarize(SMALL, runs)["spikes"]
    assert not spikes["learning"]["first_sample_equal"] and spikes["no_learning"]["first_sample_equal"]
    assert spikes["learning"]["must_be_equal"]
    spikes = compare_nest.summarize(replace(SMALL, variant="spike", synapse="stdp_synapse"), runs)["spikes"]
    assert not spikes["learning"]["must_be_equal"] and spikes["no_learning"]["must_be_equal"]


@pytest.mark.peer
def test_the_script(nest, monkeypatch, tmp_path):
    monkeypatch.setattr(compare_nest, "CONTESTS", (SMALL,))
    done = CliRunner().invoke(compare_nest.main, ["--repeat", "1", "--json", str(tmp_path / "figures.json")])
    assert done.exit_code == 0, done.output
    assert "times faster than NEST, learning" in done.output and "first sample" in done.output
    (result,) = json.loads((tmp_path / "figures.json").read_text())
    runs = result["runs"]
    assert result["ratios"]["learning"] == [runs["nest"]["seconds"][0] / runs["pareprop"]["seconds"][0]]
    assert min(runs["nest"]["bytes"]) > 0 and result["spikes"]["learning"]["first_sample_equal"]
