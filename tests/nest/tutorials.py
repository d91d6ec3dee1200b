"""NEST's e-prop tutorials and tests, as the wheel ships them, run with NEST and with `pareprop nest`."""

import ast
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from launch import mpirun

NAMES = {
    "sine": "supervised_regression_sine-waves_bsshslm_2020",
    "plus": "supervised_regression_sine-waves",
    "lemniscate": "supervised_regression_lemniscate_bsshslm_2020",
    "handwriting": "supervised_regression_handwriting_bsshslm_2020",
    "evidence": "supervised_classification_evidence-accumulation_bsshslm_2020",
    "n-mnist": "supervised_classification_neuromorphic_mnist",
}
KEEP = """
def _keep():
    import sys, numpy, nest
    kept = {}
    for name, value in list(globals().items()):
        if name == "loss":
            kept["loss"] = value
        elif name == "results_dict":
            kept |= {"result_" + key: numpy.asarray(entry) for key, entry in value.items()}
        elif name == "weights_post_train":
            kept |= {"weight_" + key: entry["weight_matrix"] for key, entry in value.items()}
        elif name.startswith("events_"):
            kept |= {name + "/" + key: numpy.asarray(entry) for key, entry in value.items() if key != "ports"}
    if nest.Rank() == 0:
        numpy.savez(sys.argv[1], **kept)
_keep()
"""


def shipped(ending: str) -> Path:
    """A file of the wheel; the test is skipped without it."""
    try:
        files = importlib.metadata.files("nest-simulator") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("no NEST: install the extra 'peer'")
    return next(Path(file.locate()) for file in files if str(file).endswith(ending))


def tutorial(name: str) -> Path:
    """A tutorial by its short name."""
    return shipped(f"eprop_plasticity/eprop_{NAMES[name]}.py")


def edited(path: Path, after: dict[str, str] | None = None, **values: object) -> str:
    """A script with other values, without its figures, and with what it computed kept in a file.

    Parameters
    ----------
    path : of the script
    after : name that is assigned at the top level to code that follows its first assignment
    **values : name that is assigned a constant, anywhere, to its new value
    """
    tree = ast.parse(path.read_text())
    used = set()
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
        if after and name in after:
            body += ast.parse(after.pop(name)).body
    assert not after, f"{path.name} assigns no {after}"
    tree.body = [*body, *ast.parse(KEEP).body]
    return ast.unparse(tree)


def run(code: str, folder: Path, peer: bool = False, ranks: int = 1, timeout: float = 300) -> dict[str, np.ndarray]:
    """Run a script, with NEST if `peer`; return what it kept, and the digest."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "peer" if peer else f"ours-{ranks}"
    script, kept = folder / f"{name}.py", folder / f"{name}.npz"
    script.write_text(code)
    environment = {"MPLBACKEND": "Agg", "PYNEST_QUIET": "1"}
    if peer or ranks == 1:
        command = [sys.executable, script, kept] if peer else [
            sys.executable, "-m", "pareprop", "nest", "--timings", script, kept]  # fmt: skip
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, cwd=folder,
                              env=os.environ | environment, check=False)  # fmt: skip
    else:
        done = mpirun(ranks, "-m", "pareprop", "nest", "--timings", script, kept, timeout=timeout, cwd=folder,
                      env=environment)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(np.load(kept))
    if not peer:
        found["digest"] = done.stdout.splitlines()[-1]
    return found


def assert_same(ours: dict, peer: dict, losses: float = 1e-8, weights: float = 1e-9, others: float = 1e-7) -> None:
    """Spikes equal, losses, weights and everything recorded as close as said."""
    for key, other in peer.items():
        one = ours[key]
        assert one.shape == other.shape, f"{key}: {one.shape} instead of {other.shape}"
        if "/" in key:
            recorder = key.split("/")[0]
            one, other = one[order(ours, recorder)], other[order(peer, recorder)]
        if other.dtype.kind in "iuUb" or key.endswith("times"):
            assert np.array_equal(one, other), key
        else:
            bound = losses if "loss" in key else weights if "weight" in key else others
            np.testing.assert_allclose(one, other, rtol=0 if "weight" in key else bound, atol=bound, err_msg=key)


def order(kept: dict, recorder: str) -> np.ndarray:
    """Events by time, sender and target."""
    keys = [f"{recorder}/{name}" for name in ("weights", "targets", "senders", "times")]
    return np.lexsort([kept[key] for key in keys if key in kept])
