"""The work of counting and finding connections does not grow with the calls of `Connect`; names are imported late."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pareprop.nest as nest
from pareprop.nest.kernel import kernel


@pytest.fixture(autouse=True)
def fresh() -> None:
    nest.ResetKernel()


def count_calls(action: Callable[[], Any]) -> int:
    """Calls of functions, in Python and C, that an action makes."""
    n = 0

    def note(frame: object, event: str, argument: object) -> None:
        nonlocal n
        n += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    return n


@pytest.mark.parametrize(
    ("action", "more"),
    [
        (lambda: nest.num_connections, 0),
        (lambda: nest.min_delay, 0),
        (lambda: nest.resolution, 0),
        (nest.get, 0),
        (lambda: nest.SetDefaults("static_synapse", {"weight": 2.0}), 0),
        (lambda: nest.Connect(nest.NodeCollection([3]), nest.NodeCollection([4])), 0),
        (lambda: nest.GetConnections(nest.NodeCollection([7]), nest.NodeCollection([8])), 150),  # levels of the index
        (lambda: nest.GetConnections(target=nest.NodeCollection([8])), 150),
    ],
    ids=["num_connections", "min_delay", "resolution", "get", "SetDefaults", "Connect", "pair", "target"],
)
def test_work_after_many_single_connections(action: Callable[[], Any], more: int) -> None:
    nodes, recorder = nest.Create("eprop_iaf", 1001), nest.Create("spike_recorder")
    counts = []
    for first, last in ((0, 20), (20, 1000)):
        for k in range(first, last):
            nest.Connect(nodes[k], nodes[k + 1])
            nest.Connect(nodes[k], recorder)
        action()
        counts.append(count_calls(action))
    assert counts[1] <= counts[0] + more


def test_found_are_all_that_fit() -> None:
    """Against a walk through all connections, while they are made one by one and in bundles."""
    rng = np.random.default_rng(3)
    nodes = nest.Create("eprop_iaf", 30)
    nest.CopyModel("static_synapse", "other")
    made = []
    for k in range(120):
        pre, post = (np.sort(rng.choice(30, int(rng.choice([1, 1, 1, 5])), replace=False)) for _ in range(2))
        model = ("static_synapse", "other")[int(rng.integers(2))]
        nest.Connect(nodes[pre], nodes[post], "all_to_all", {"synapse_model": model, "weight": float(k)})
        made += [(model != "static_synapse", int(s) + 1, int(t) + 1, k) for t in post for s in pre]
        ends = [None if size == 0 else np.sort(rng.choice(30, size, replace=False)) for size in rng.integers(0, 5, 2)]
        wanted = (None, "static_synapse", "other")[int(rng.integers(3))]
        found = nest.GetConnections(*(None if end is None else nodes[end] for end in ends), wanted)
        expected = sorted(
            row
            for row in made
            if (ends[0] is None or row[1] - 1 in ends[0])
            and (ends[1] is None or row[2] - 1 in ends[1])
            and wanted in (None, ("static_synapse", "other")[row[0]])
        )
        columns = [
            [name == "other" for name in found.list_values("synapse_model")],
            list(found.sources()),
            list(found.targets()),
            found.list_values("weight"),
        ]
        assert list(zip(*columns, strict=True)) == expected
    assert nest.num_connections == len(made) == len(nest.GetConnections())


@pytest.mark.parametrize("small", [1, 1000])
def test_single_calls_are_one_call(small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles that are joined before a run give the spikes and weights of bundles that are not."""
    from pareprop.nest import bundles

    monkeypatch.setattr(bundles, "SMALL", small)
    nest.set(resolution=1.0)
    generator = nest.Create("spike_generator", 1, {"spike_times": [2.0, 5.0, 9.0]})
    parrots, neurons = nest.Create("parrot_neuron", 3), nest.Create("eprop_iaf", 4, {"V_th": -69.0, "C_m": 1.0})
    recorder = nest.Create("spike_recorder")
    rng = np.random.default_rng(5)
    for k in range(3):
        nest.Connect(generator, parrots[k], "one_to_one", {"delay": 1.0 + k})
    synapse = {"synapse_model": "eprop_synapse", "delay": 1.0}
    for pre, post in [(p, n) for p in parrots for n in neurons] + [(n, m) for n in neurons for m in neurons]:
        nest.Connect(pre, post, "all_to_all", synapse | {"weight": rng.normal(1.0, 0.5)})
        nest.Connect(neurons, recorder) if pre == neurons[0] and post == neurons[0] else None
    nest.Simulate(30.0)
    found = recorder.events["times"].tolist(), nest.GetConnections().get(["source", "target", "weight"])
    assert len(kernel.bundles) == (32 if small == 1 else 3)  # two models, and the recorder
    assert found == RESULTS.setdefault("single calls", found) and len(found[0]) > 10


RESULTS: dict[str, Any] = {}  # of the first case of a test


def test_description_loads_no_engine() -> None:
    """A script that only describes a network starts as fast as with NEST."""
    code = """if True:
        import sys
        import pareprop.nest as nest
        slow = [name for name in ("mpi4py", "tqdm", "click", "matplotlib", "pareprop.engines", "pareprop.runs",
                "pareprop.tasks", "pareprop.storage", "pareprop.simulation") if name in sys.modules]
        nodes = nest.Create("eprop_iaf", 3)
        nest.Connect(nodes, nodes)
        print(slow, nest.num_connections)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=900, check=True)
    assert done.stdout.split("\n")[0] == "[] 9", done.stdout


def test_names_of_the_package() -> None:
    import pareprop

    assert set(pareprop.__all__) <= set(dir(pareprop))
    homes = [name for names in pareprop._HOMES.values() for name in names]
    assert sorted(homes) == sorted(pareprop.__all__)
    assert all(getattr(pareprop, name).__name__ == name for name in pareprop.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Modell'"):
        pareprop.Modell  # noqa: B018
