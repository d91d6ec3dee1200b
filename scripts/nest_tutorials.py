"""Find NEST's e-prop tutorials in its wheel, run one of them unchanged, and compare two runs.

As a script, run by NEST's Python or by `pareprop nest`: `nest_tutorials.py TUTORIAL.py RESULT.npz` runs a tutorial and
stores its results.
"""

from __future__ import annotations

import ast
import importlib.metadata
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    "sine": "supervised_regression_sine-waves_bsshslm_2020",
    "plus": "supervised_regression_sine-waves",
    "lemniscate": "supervised_regression_lemniscate_bsshslm_2020",
    "handwriting": "supervised_regression_handwriting_bsshslm_2020",
    "evidence": "supervised_classification_evidence-accumulation_bsshslm_2020",
    "n-mnist": "supervised_classification_neuromorphic_mnist",
}


def find_shipped(ending: str) -> Path:
    """A file of NEST's wheel.

    Raises
    ------
    PackageNotFoundError
        Without the extra `peer`.
    """
    files = importlib.metadata.files("nest-simulator") or []
    return next(Path(file.locate()) for file in files if str(file).endswith(ending))


def tutorial(name: str) -> Path:
    """A tutorial by its short name."""
    return find_shipped(f"eprop_plasticity/eprop_{NAMES[name]}.py")


def edit(path: Path, after: dict[str, str] | None = None, **values: object) -> str:
    """A tutorial with other values and without its figures.

    Parameters
    ----------
    path : Path
        The script.
    after : dict or None
        Name that is assigned at the top level to code that follows its first assignment.
    **values : object
        Name that is assigned a constant, anywhere, to its new value.

    Returns
    -------
    str
        The code of the script.
    """
    tree, after, used = ast.parse(path.read_text()), dict(after or {}), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in values:
            if isinstance(node.value, ast.Constant):
                used.add(node.targets[0].id)
                node.value = ast.Constant(values[node.targets[0].id])
        if isinstance(node, ast.Dict):
            for k, key in enumerate(node.keys):
                if isinstance(key, ast.Constant) and key.value in values and isinstance(node.values[k], ast.Constant):
                    used.add(key.value)
                    node.values[k] = ast.Constant(values[key.value])
    assert used == set(values), f"{path.name} assigns no {set(values) - used}"
    body = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "do_plotting":
            break
        body.append(node)
        name = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else getattr(node, "name", "")
        if name in after:
            body += ast.parse(after.pop(name)).body
    assert not after, f"{path.name} assigns no {after}"
    tree.body = body
    return ast.unparse(tree)


def results(variables: dict[str, Any]) -> dict[str, np.ndarray]:
    """Values of the variables of a tutorial: losses, weights after training, recordings."""
    kept = {"loss": variables["loss"]} if "loss" in variables else {}
    kept |= {"result_" + key: np.asarray(entry) for key, entry in variables.get("results_dict", {}).items()}
    kept |= {"weight_" + key: entry["weight_matrix"] for key, entry in variables.get("weights_post_train", {}).items()}
    for name, value in variables.items():
        if name.startswith("events_"):
            kept |= {f"{name}/{key}": np.asarray(entry) for key, entry in value.items() if key != "ports"}
    return kept


def order(kept: Any, recorder: str) -> np.ndarray:
    """Order of a recorder's events by time, sender and target."""
    keys = [f"{recorder}/{name}" for name in ("weights", "targets", "senders", "times")]
    return np.lexsort([kept[key] for key in keys if key in kept])


def first_difference(one: Any, other: Any) -> float | None:
    """Time in ms of the first spike that only one of two runs has, None if all are equal."""
    times = [
        time
        for key in one
        if key.startswith("events_sr") and key.endswith("/times")
        if (time := _first(*(_spikes(run, key.split("/")[0]) for run in (one, other)))) is not None
    ]
    return min(times, default=None)


def _spikes(kept: Any, recorder: str) -> np.ndarray:
    by_time = order(kept, recorder)
    return np.stack([kept[f"{recorder}/{name}"][by_time] for name in ("times", "senders")])


def _first(one: np.ndarray, other: np.ndarray) -> float | None:
    n = min(one.shape[1], other.shape[1])
    apart = np.flatnonzero(np.any(one[:, :n] != other[:, :n], axis=0))
    if len(apart):
        return float(min(one[0, apart[0]], other[0, apart[0]]))
    longer = max(one, other, key=lambda spikes: spikes.shape[1])
    return float(longer[0, n]) if longer.shape[1] > n else None


def agreement(one: Any, other: Any) -> dict[str, float | None]:
    """First differing spike, and the largest differences of losses (relative) and of final weights."""
    losses = [np.max(np.abs(one[key] - other[key]) / np.abs(other[key])) for key in one if key.endswith("loss")]
    weights = [np.max(np.abs(one[key] - other[key])) for key in one if key.startswith("weight_")]
    return {"spikes": first_difference(one, other), "loss": float(max(losses)), "weights": float(max(weights))}


def main() -> None:
    """Run a tutorial unchanged; its folder is the first of the path, as if Python ran it."""
    script, kept = sys.argv[1:]
    sys.argv, sys.path[0] = [script], str(Path(script).resolve().parent)
    variables = runpy.run_path(script, run_name="__main__")
    import nest

    if nest.Rank() == 0:
        np.savez(kept, **results(variables))


if __name__ == "__main__":
    main()
