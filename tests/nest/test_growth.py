"""Nodes and connections that are made in a run: what was there goes on unchanged, what is new begins like a network.

NEST's answers are in `answers/learning.json`: from its synapses, anything that is made in a run takes their traces, so
it tells of networks that have none. Here the twin of a network that grows has the new part from the start, fed by
parrot neurons that were silent until then.
"""

from pathlib import Path

import growing
import numpy as np
import pytest
from growing import add, begin, feedback, make, watch
from tutorials import run

import pareprop.nest as nest
from pareprop.nest.errors import NESTErrors

pytestmark = pytest.mark.filterwarnings("ignore::pareprop.nest.errors.NESTWarning")

UNTIL = 130.0
INTERVAL = {"interval": {}, "interval, Adam": {"type": "adam"}, "interval, batches": {"batch_size": 2}}
SPIKE = {"spike": {}, "spike, Adam": {"type": "adam", "optimize_each_step": False}}
SETTINGS = INTERVAL | SPIKE


def show(recorders: list, suffix: str, since: float = 0.0) -> list[np.ndarray]:
    """What recorders hold after a time, and all weights."""
    shown = []
    for recorder in recorders:
        events = recorder.events
        order = np.lexsort((events["senders"], events["times"]))
        kept = order[events["times"][order] > since]
        shown += [events[key][kept] for key in sorted(events)]
    return [*shown, np.sort(nest.GetConnections(synapse_model="eprop_synapse" + suffix).get("weight"))]


def finish(
    variant: str, change=None, when: tuple[float, ...] = (), twin: bool = False, longest: int = 1
) -> list[np.ndarray]:
    """Run a network, which something is done to after some pieces of time; the twin has all that `add` makes then."""
    suffix, spent, ends = "" if variant.startswith("spike") else "_bsshslm_2020", 0.0, np.cumsum(when)
    begin(nest, suffix, SETTINGS[variant])
    nest.set(eprop_delays_above_one_step=True, min_delay=1.0, max_delay=8.0)
    times, parrots, neurons, readouts = make(nest, suffix)
    recorders, since = watch(nest, neurons, readouts), ends[-1] if twin or change == "add" else 0.0
    for end in ends if twin else ():
        late, silent = nest.Create("spike_generator", 3), nest.Create("parrot_neuron", 3)
        late.set([{"spike_times": column[column + 1.0 >= end]} for column in times])
        nest.Connect(late, silent, "one_to_one", {"delay": 1.0})
        recorders += watch(nest, add(nest, suffix, silent, neurons, readouts, longest), readouts)
    for piece in () if twin else when:
        nest.Simulate(piece)
        spent += piece
        if change == "add":
            recorders += watch(nest, add(nest, suffix, parrots, neurons, readouts, longest), readouts)
        elif change:
            change(suffix, parrots, neurons)
    nest.Simulate(UNTIL - spent)
    return show(recorders, suffix, since)


def make_neurons(suffix, parrots, neurons) -> None:
    nest.Create("eprop_iaf_adapt" + suffix, 2)
    nest.Create("iaf_psc_exp", 2)
    nest.Create("eprop_readout" + suffix, 1, {"tau_m": 12.0})


CHANGES = {
    "a parrot": lambda *_: nest.Create("parrot_neuron"),
    "neurons and a readout": make_neurons,
    "connections of weight 0": lambda suffix, parrots, neurons: nest.Connect(
        parrots, neurons, "all_to_all", {"weight": 0.0, "delay": 1.0}
    ),
}


@pytest.mark.parametrize("variant", SETTINGS)
@pytest.mark.parametrize("change", CHANGES)
def test_what_has_no_effect_changes_no_bit(variant: str, change: str) -> None:
    expected = finish(variant)
    for when in ((3.0,), (80.0,), (45.0, 1.0, 35.0, 2.0)):
        for one, other in zip(finish(variant, CHANGES[change], when), expected, strict=True):
            assert np.array_equal(one, other), when


TIMES = {
    "one step": ((5.0,), (47.0,), (81.0,), (82.0,), (97.0,)),
    "several times in an interval": ((33.0, 1.0, 5.0), (45.0, 2.0, 1.0), (80.0, 2.0, 2.0)),
    "up to six steps": ((5.0,), (45.0, 4.0), (80.0, 2.0, 2.0)),
}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("variant", SETTINGS)
def test_the_same_as_if_sources_had_been_silent(variant: str, times: str) -> None:
    longest = 6 if "six" in times else 1
    for when in TIMES[times]:
        grown, twin = finish(variant, "add", when, longest=longest), finish(variant, None, when, True, longest)
        assert len(grown[4]) and len(grown[-1]) == len(twin[-1]) > 40
        for one, other in zip(grown, twin, strict=True):
            if one.dtype.kind == "i":  # senders, with other ids
                continue
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)


ON_RANKS = """
import nest
nest.verbosity = nest.VerbosityLevel.FATAL
begin(nest, suffix, optimizer)
nest.set(eprop_delays_above_one_step=True, min_delay=1.0, max_delay=6.0)
_, parrots, neurons, readouts = make(nest, suffix)
nest.Simulate(47.0)
more = add(nest, suffix, parrots, neurons, readouts, 6)
nest.Connect(nest.Create("poisson_generator", 1, {"rate": 300.0}), more, "all_to_all", {"weight": 0.2, "delay": 1.0})
meter, spikes, _ = watch(nest, more, readouts)
nest.Simulate(40.0)
add(nest, suffix, parrots + nest.Create("parrot_neuron"), more, readouts, 4)
nest.Simulate(43.0)
events_meter, events_spikes = meter.events, spikes.events
"""


@pytest.mark.mpi
@pytest.mark.parametrize(
    ("variant", "share_above"), [("interval, batches", 0), ("spike, Adam", 0), ("interval, Adam", 1000)]
)
def test_one_digest_on_three_ranks(
    variant: str, share_above: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAREPROP_SHARE_ABOVE", str(share_above))  # one rank alone has neurons if it is high
    suffix = "" if variant.startswith("spike") else "_bsshslm_2020"
    given = f"suffix, optimizer = {suffix!r}, {SETTINGS[variant]!r}\n"
    code = Path(growing.__file__).read_text() + given + ON_RANKS
    found = [run(code, tmp_path, ranks=ranks) for ranks in (1, 3)]
    assert found[0]["digest"] == found[1]["digest"]


def hear_errors(suffix, parrots, neurons) -> None:
    readouts = nest.GetNodes({"model": "eprop_readout" + suffix})
    nest.Connect(readouts, neurons, "all_to_all", feedback(suffix, 0.1))


def share_current(suffix, parrots, neurons) -> None:
    generators = nest.GetNodes({"model": "dc_generator"})
    nest.Connect(generators or nest.Create("dc_generator"), neurons, "all_to_all", {"delay": 1.0})


REFUSED = {
    "learning signals from readouts to neurons that were there": ("interval", hear_errors),
    "a generator of currents that was there": ("interval", share_current),
    "neurons with other kappa": ("spike", lambda *_: nest.Create("eprop_iaf", 1, {"kappa": 0.6, "kappa_reg": 0.6})),
    "neurons with other kappa, kappa_reg": (
        "spike",
        lambda *_: nest.Create("eprop_iaf", 1, {"kappa": 0.9, "kappa_reg": 0.8}),
    ),
    "networks of both variants": ("spike", lambda *_: nest.Create("eprop_iaf_bsshslm_2020")),
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_by_name(text: str) -> None:
    variant, change = REFUSED[text]
    with pytest.raises(NESTErrors.NotImplemented, match=text) as found:
        finish(variant, change, (20.0, 40.0))
    assert "\n" not in str(found.value)
