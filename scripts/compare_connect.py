#!/usr/bin/env python3
"""Compare how long NEST and `pareprop nest` take to connect, build and simulate the same script, by connection rule.

Needs the extra `peer`. Each run is a fresh process with one thread; both run in turn, and medians are printed.
"Connect" is what `Connect` takes, "start" the first step, in which networks are built, "simulate" an update interval;
"all" is their sum. Weights are drawn from a normal distribution, but for `symmetric_pairwise_bernoulli`, which takes
none, and `one_to_one`, which gets arrays of ids and weights. Neurons get a current that makes them spike.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np

RULES = ("fixed_indegree", "fixed_outdegree", "fixed_total_number", "pairwise_bernoulli",
         "symmetric_pairwise_bernoulli", "all_to_all", "one_to_one")  # fmt: skip
PARTS = ("connect", "start", "simulate", "all")
SCRIPT = """
import json, sys, time
import nest, numpy as np
rule, n, degree, ms = sys.argv[1], *map(int, sys.argv[2:])
nest.verbosity = nest.VerbosityLevel.FATAL
nest.set(resolution=1.0, rng_seed=3, eprop_update_interval=float(ms), eprop_learning_window=float(ms))
params = {"C_m": 250.0, "I_e": 380.0, "c_reg": 0.0, "regular_spike_arrival": False}
neurons = nest.Create("eprop_iaf_bsshslm_2020", n, params)
syn = {"synapse_model": "eprop_synapse_bsshslm_2020", "delay": 1.0, "weight": nest.random.normal(0.0, 0.1)}
conn, pre, post = {"rule": rule}, neurons, neurons
if rule == "symmetric_pairwise_bernoulli":
    conn |= {"p": 0.5 * degree / n, "allow_autapses": False, "make_symmetric": True}
    syn["weight"] = 0.1
elif rule == "all_to_all":
    pre = neurons[:degree]
elif rule == "one_to_one":
    pre, post = np.random.default_rng(1).integers(1, n + 1, (2, n * degree))
    syn |= {"weight": np.random.default_rng(2).normal(0.0, 0.1, n * degree), "delay": np.ones(n * degree)}
else:
    conn |= {"fixed_indegree": {"indegree": degree}, "fixed_outdegree": {"outdegree": degree},
             "fixed_total_number": {"N": n * degree}, "pairwise_bernoulli": {"p": degree / n}}[rule]
marks = [time.perf_counter()]
nest.Connect(pre, post, conn, syn)
marks.append(time.perf_counter())
nest.Simulate(1.0)
marks.append(time.perf_counter())
nest.Simulate(ms + 2.0)
marks.append(time.perf_counter())
found = dict(zip(("connect", "start", "simulate"), np.diff(marks).tolist()))
print(json.dumps(found | {"all": sum(found.values()), "connections": int(nest.num_connections)}))
"""


def run(command: list[str], rule: str, size: tuple[int, int], ms: int) -> dict[str, Any]:
    """Seconds and connections of one run in a fresh process."""
    environment = os.environ | {"PYNEST_QUIET": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "connect.py")
        script.write_text(SCRIPT)
        done = subprocess.run(
            [sys.executable, *command, script, rule, *map(str, (*size, ms))],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise click.ClickException(f"{rule}, {size}: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(lines[-1])


def parse_size(text: str) -> tuple[int, int]:
    """Read "NEURONSxDEGREE"."""
    try:
        n, degree = map(int, text.split("x"))
    except ValueError:
        raise click.BadParameter(f"{text} is not a size such as 2000x100", param_hint="--size") from None
    return n, degree


@click.command(help=__doc__)
@click.option("--size", "sizes", multiple=True, default=("2000x100", "10000x100", "10000x1000"), show_default=True,
              help="Neurons, and connections of each of them.")  # fmt: skip
@click.option("--rule", "rules", multiple=True, type=click.Choice(RULES), default=RULES, help="Rules; all by default.")
@click.option("--ms", type=click.IntRange(1), default=100, show_default=True, help="Length of the update interval.")
@click.option("--repeat", "n", type=click.IntRange(1), default=3, show_default=True, help="Repetitions.")
def main(sizes: tuple[str, ...], rules: tuple[str, ...], ms: int, n: int) -> None:
    """Run all rules in all sizes."""
    if find_spec("nest") is None:
        raise click.ClickException("NEST is missing: install the extra 'peer'")
    head = "".join(f"{name:>17s}" for name in PARTS)
    click.echo(f"{'':45s}{head}   seconds, NEST / pareprop")
    for size in map(parse_size, sizes):
        for rule in rules:
            runs: dict[str, list[dict[str, Any]]] = {"nest": [], "pareprop": []}
            for _ in range(n):
                runs["nest"].append(run([], rule, size, ms))
                runs["pareprop"].append(run(["-m", "pareprop", "nest"], rule, size, ms))
            counts = {result["connections"] for results in runs.values() for result in results}
            medians = [
                [float(np.median([result[part] for result in results])) for results in runs.values()] for part in PARTS
            ]
            cells = "".join(f"{theirs:8.2f} /{ours:7.2f}" for theirs, ours in medians)
            slower = "  SLOWER" if medians[-1][1] > medians[-1][0] > 0.5 else ""
            differ = "" if len(counts) == 1 else f"  connections differ: {sorted(counts)}"
            click.echo(f"{rule:30s} {size[0]:6d} x {size[1]:4d} {cells}{slower}{differ}")


if __name__ == "__main__":
    main()
