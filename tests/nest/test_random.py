"""Random numbers, connections and classes of errors are NEST's: a script that prints them, run with both."""

import os
import subprocess
from pathlib import Path

import pytest
import ranks
from tutorials import find_shipped

pytestmark = pytest.mark.peer

RULES = """
import hashlib, nest, numpy as np
nest.verbosity = nest.VerbosityLevel.FATAL
R = nest.random

def show(name):
    found = nest.GetConnections().get(["source", "target", "weight", "delay"])
    columns = np.array([found[key] for key in ("source", "target", "weight", "delay")])
    columns = columns[:, np.lexsort(columns[::-1])]
    print("[", name, columns.shape[1], hashlib.sha256(columns.tobytes()).hexdigest())

def synapses():
    u, n = R.uniform(-1.0, 2.0), R.normal(0.5, 2.0)
    yield "one", {"weight": 1.5}
    yield "lognormal", {"weight": R.lognormal(0.1, 0.7)}
    yield "exponential", {"weight": R.exponential(2.0)}
    yield "whole", {"weight": R.uniform_int(2**31 - 3)}
    yield "sum", {"weight": u + n}
    yield "product", {"weight": 3.0 - n * u}
    yield "power", {"weight": R.uniform(0.5, 1.5) ** 2.5}
    yield "negative", {"weight": -u / 3.0}
    yield "ratio", {"weight": R.normal(1.0, 0.2) / R.lognormal(0.0, 0.1)}
    yield "both", {"weight": n, "delay": R.uniform(1.0, 4.0)}
    yield "shared", {"weight": n, "delay": 2.0 + (n * n) ** 2.0}
    yield "delay", {"delay": R.uniform(1.0, 4.0)}
    yield "three", {"synapse_model": "eprop_synapse_bsshslm_2020", "weight": n, "delay": R.uniform(0.6, 1.4),
                    "tau_m_readout": R.uniform(5.0, 6.0)}

MUTUAL = {"rule": "symmetric_pairwise_bernoulli", "allow_autapses": False, "make_symmetric": True}
for n_vp in (1, 3):
    for which in range(13) if n_vp == 1 else (0, 10):  # threads of NEST take long on busy machines
        nest.ResetKernel()
        nest.set(resolution=1.0, rng_seed=77, total_num_virtual_procs=n_vp)
        label, syn = list(synapses())[which]
        a, b = nest.Create("eprop_iaf_bsshslm_2020", 25), nest.Create("eprop_iaf_bsshslm_2020", 20)
        rules = [{"rule": "fixed_indegree", "indegree": 11}, {"rule": "fixed_outdegree", "outdegree": 7},
                 {"rule": "pairwise_bernoulli", "p": 0.3}, {"rule": "all_to_all"},
                 {"rule": "fixed_total_number", "N": 300}, {"rule": "fixed_total_number", "N": 5}]
        if n_vp == 1:
            rules += [rule | {"allow_autapses": False} for rule in rules]
            rules += [rule | {"allow_multapses": False} for rule in rules[:2] + rules[6:8]]
        if label == "one":
            rules += [MUTUAL | {"p": p} for p in (0.1, 0.3, 0.8)]
        for rule in [*rules, {"rule": "fixed_outdegree", "outdegree": 7}]:
            for pre, post in ((a, b), (a, a)):
                try:
                    nest.Connect(pre, post, rule, syn)
                except nest.NESTError as problem:
                    print("[", label, type(problem).__name__, rule)
        nest.Connect(a[:20], b, "one_to_one", syn)
        show(f"{label} {n_vp}")
nest.ResetKernel()
nest.set(resolution=1.0, rng_seed=78)
nodes = nest.Create("eprop_iaf", 2100)
nest.Connect(nodes, nodes, {"rule": "fixed_indegree", "indegree": 150}, {"weight": R.normal(0.0, 1.0)})
show("many")
"""

SCRIPT = """
import nest, numpy as np
nest.verbosity = nest.VerbosityLevel.FATAL
for n_vp in (1, 3):
    nest.ResetKernel()
    nest.set(resolution=1.0, rng_seed=11, total_num_virtual_procs=n_vp)
    kinds = (nest.random.normal(mean=30.0, std=2.0), nest.random.uniform(5.0, 6.0), nest.random.exponential(3.0),
             nest.random.lognormal(1.0, 0.3), 10.0 + 2.0 * nest.random.uniform(0.0, 1.0))
    for kind in kinds:
        print([round(x, 12) for x in nest.Create("eprop_iaf", 7, {"tau_m": kind}).get("tau_m")])
    a, b = nest.Create("eprop_iaf", 12), nest.Create("eprop_iaf", 9)
    rules = [{"rule": "fixed_indegree", "indegree": 4}, {"rule": "fixed_outdegree", "outdegree": 3},
             {"rule": "pairwise_bernoulli", "p": 0.3}, {"rule": "all_to_all"}]
    rules += [rule | {"allow_autapses": False} for rule in rules]
    rules += [{"rule": "fixed_indegree", "indegree": 5, "allow_multapses": False, "allow_autapses": False}]
    if n_vp == 1:
        rules += [{"rule": "fixed_total_number", "N": 20}]
    for rule in rules:
        for pre, post in ((a, b), (a, a)):
            for weight in (1.0, nest.random.uniform(0.0, 2.0), nest.random.normal(0.0, 1.0)):
                nest.Connect(pre, post, rule, {"weight": weight})
    found = nest.GetConnections(a).get(["source", "target", "weight"])
    print(sorted(zip(found["source"], found["target"], np.round(found["weight"], 12).tolist())))

def told(f):
    try:
        f()
        print("fine")
    except Exception as problem:
        print(type(problem).__name__)

nest.ResetKernel()
nest.set(resolution=1.0)
n, p, g = nest.Create("eprop_iaf", 3), nest.Create("parrot_neuron", 2), nest.Create("spike_generator")
r, m, s = nest.Create("step_rate_generator"), nest.Create("multimeter"), nest.Create("spike_recorder")
e = {"synapse_model": "eprop_synapse", "delay": 1.0}
for f in (
    lambda: nest.Create("foo"), lambda: nest.Create("eprop_iaf", 0), lambda: nest.Create("eprop_iaf", 2.5),
    lambda: nest.Create("eprop_iaf", 1, {"foo": 1}), lambda: nest.Create("eprop_iaf", 1, {"C_m": -1.0}),
    lambda: nest.Create("eprop_iaf", 1, {"C_m": "a"}), lambda: n.set({"tau_m": [1.0, 2.0]}), lambda: n.get("foo"),
    lambda: nest.Connect(n, p, "foo"), lambda: nest.Connect(n, p, "one_to_one"),
    lambda: nest.Connect(n, n, {"rule": "fixed_indegree"}),
    lambda: nest.Connect(n, n, "all_to_all", {"synapse_model": "foo"}),
    lambda: nest.Connect(n, n, "all_to_all", e | {"delay": 2.0}), lambda: nest.Connect(p, p, "all_to_all", e),
    lambda: nest.Connect(n, n, "all_to_all", e | {"foo": 1}),
    lambda: nest.Connect(n, n, "all_to_all", e | {"delay": -1.0}),
    lambda: nest.Connect(n, n, "all_to_all", e | {"weight": [1.0, 2.0]}),
    lambda: nest.Connect(n, n, "all_to_all", e | {"weight": np.ones((2, 3))}),
    lambda: nest.SetDefaults("eprop_iaf", {"foo": 1}), lambda: nest.SetDefaults("eprop_synapse", {"foo": 1}),
    lambda: nest.SetDefaults("eprop_synapse", {"optimizer": {"eta": -1.0}}),
    lambda: nest.SetDefaults("eprop_synapse", {"optimizer": {"batch_size": 0}}),
    lambda: nest.GetDefaults("foo"), lambda: nest.CopyModel("foo", "x"),
    lambda: nest.CopyModel("eprop_iaf", "eprop_iaf"),
    lambda: nest.set(foo=1), lambda: setattr(nest, "foo", 1), lambda: g.set({"spike_times": [2.0, 1.0]}),
    lambda: g.set({"spike_times": [1.5]}), lambda: g.set({"spike_times": [0.0]}),
    lambda: r.set({"amplitude_times": [1.0, 2.0], "amplitude_values": [1.0]}),
    lambda: r.set({"amplitude_times": [2.0]}),
    lambda: r.set({"amplitude_times": [2.0, 1.0], "amplitude_values": [1.0, 2.0]}),
    lambda: nest.Create("multimeter", 1, {"interval": 0.5}), lambda: nest.Connect(s, n), lambda: nest.Connect(n, m),
    lambda: n.set({"surrogate_gradient_function": "x"}), lambda: n.set({"t_ref": -1.0}), lambda: n[5],
    lambda: n.set({"flush_event_send_interval": -1.0}),
    lambda: nest.Connect(np.array([1, 99]), np.array([1, 2]), "one_to_one"),
    lambda: nest.Connect(3, n), lambda: nest.Simulate(-1.0),
):
    told(f)
"""


@pytest.mark.parametrize(("text", "n_lines"), [(SCRIPT, 50), (RULES, 15)], ids=["numbers and errors", "rules"])
def test_same_output_as_nest(tmp_path: Path, text: str, n_lines: int) -> None:
    find_shipped("nest/__init__.py")
    script = tmp_path / "draws.py"
    script.write_text(text)
    outputs = []
    for command in ([*ranks.python("nest"), script], [*ranks.python(), "-m", "pareprop", "nest", script]):
        own = {"cwd": tmp_path, "env": os.environ | {"OMP_WAIT_POLICY": "passive"}}
        line = list(map(str, command))
        done = subprocess.run(line, capture_output=True, text=True, timeout=900, check=False, **own)
        assert done.returncode == 0, done.stderr
        lines = [line for line in done.stdout.splitlines() if "INFO" not in line]
        outputs.append([line for line in lines if line.startswith("[") or line.isalpha()])
    assert len(outputs[0]) > n_lines and outputs[0] == outputs[1]
