"""Ask NEST's interface odd things by small scripts; `answers` has them by subject, each with NEST's answers beside it.

`python asking.py` asks the NEST that is installed, and writes its answers.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DIGITS = 9  # of real numbers that are kept
FOLDER = Path(__file__).parent / "answers"
INTERVALS = "_bsshslm_2020"  # ends the names of models of the interval variant


def plain(value: Any) -> Any:
    """A value as JSON keeps it."""
    if isinstance(value, dict):
        return {str(key): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, int | str | None):
        return value
    kind = type(value).__name__
    if kind == "NodeCollection":
        return [kind, *value.tolist()] if len(value) else [kind]
    if kind == "SynapseCollection":
        return [kind, *sorted(map(list, zip(value.sources(), value.targets(), strict=True)))] if len(value) else [kind]
    return kind


def events(recorder: Any) -> list[tuple]:
    """Events of a recorder, by time, sender and what else they are."""
    found = recorder.events
    keys = ["times", "senders", *sorted(set(found) - {"times", "senders"})]
    return sorted(zip(*(plain(found[key]) for key in keys), strict=True))


def synapses(nest: Any, *keys: str, **chosen: Any) -> list[tuple]:
    """Sources and targets of connections, with their values of some keys."""
    found = nest.GetConnections(**chosen)
    return sorted(zip(found.sources(), found.targets(), *(found.get(key) for key in keys), strict=True))


def attempt(call: Callable, *args: Any, **named: Any) -> Any:
    """What a call returns, or the name of its error."""
    try:
        return call(*args, **named)
    except Exception as problem:
        return f"error: {type(problem).__name__}"


def meter(nest: Any, nodes: Any, *keys: str, **settings: Any) -> Any:
    """A multimeter of nodes, by default of their voltage."""
    made = nest.Create("multimeter", 1, {"record_from": list(keys) or ["V_m"]} | settings)
    nest.Connect(made, nodes)
    return made


def recorder(nest: Any, nodes: Any, **settings: Any) -> Any:
    """A recorder of the spikes of nodes."""
    made = nest.Create("spike_recorder", 1, settings)
    nest.Connect(nodes, made)
    return made


def rates(nest: Any, readouts: Any, port: int | Sequence[int], times: list, values: list, **settings: Any) -> Any:
    """A generator of the windows (port 1) or targets (port 2) of readouts."""
    table = {"amplitude_times": times, "amplitude_values": values} | settings
    made = nest.Create("step_rate_generator", 1, table)
    for number in np.atleast_1d(port).tolist():
        rate(nest, made, readouts, number)
    return made


def rate(nest: Any, generators: Any, readouts: Any, port: int, rule: str = "all_to_all", delay: float = 1.0) -> None:
    """Connect generators of rates to a port of readouts."""
    table = {"synapse_model": "rate_connection_delayed", "delay": delay, "receptor_type": port}
    nest.Connect(generators, readouts, rule, table)


def learn(nest: Any, pre: Any, post: Any, weight: float, suffix: str = "", **more: Any) -> None:
    """Connect by synapses that learn, of a variant given by the suffix of its models."""
    nest.Connect(
        pre, post, "all_to_all", {"synapse_model": "eprop_synapse" + suffix, "delay": 1.0, "weight": weight} | more
    )


def feed_back(nest: Any, readouts: Any, cells: Any, weight: float, suffix: str = "", delay: float = 1.0) -> None:
    """Connect the learning signals of readouts to cells."""
    name = "eprop_learning_signal_connection" + suffix
    nest.Connect(readouts, cells, "all_to_all", {"synapse_model": name, "delay": delay, "weight": weight})


def run(script: Callable, nest: Any) -> list[Any]:
    """What a script shows, in a fresh kernel."""
    nest.ResetKernel()
    nest.set(eprop_update_interval=1000.0, eprop_reset_neurons_on_update=True)  # which ResetKernel leaves as they are
    nest.set(eprop_learning_window=1000.0)
    nest.verbosity = nest.VerbosityLevel.FATAL
    shown: list[Any] = []
    script(nest, lambda *values: shown.append(plain(values)))
    return shown


def scripts(subject: str) -> dict[str, Callable]:
    """The scripts of a subject: what it defines that shows something."""
    module = importlib.import_module(f"answers.{subject}")
    return {
        name: script
        for name, script in vars(module).items()
        if getattr(script, "__module__", "") == module.__name__ and not name.startswith("_")
    }


SUBJECTS = sorted(path.stem for path in FOLDER.glob("*.py"))


if __name__ == "__main__":
    import nest as peer

    for subject in SUBJECTS:
        lines = [f"{json.dumps(name)}: {json.dumps(run(script, peer))}" for name, script in scripts(subject).items()]
        FOLDER.joinpath(f"{subject}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
