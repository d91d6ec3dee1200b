"""NEST's six tutorials, shortened and varied by their syntax tree, give with `pareprop nest` what they give with NEST.

NEST loses the last learning signal of an interval for synapses whose source spikes in step 1 of the next one. Where
inputs are drawn, twins of the tutorials leave these spikes out; nothing else differs then, nor with --nest-losses.
"""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from case_files import RECORDINGS
from nest_tutorials import NAMES, edit
from params import first
from tutorials import assert_same, find_shipped, run, tutorial

pytestmark = [pytest.mark.peer, pytest.mark.slow]

SILENT = {"input_spike_bools": "input_spike_bools[:, :2] = 0"}
DRAW = "generate_evidence_accumulation_input_output"
QUIET = {DRAW: f"_draw = {DRAW}\ndef {DRAW}(*a):\n    b, c = _draw(*a)\n    b[:, 1, :] = 0\n    return b, c"}
EARLY = {DRAW: QUIET[DRAW].replace("b[:, 1, :] = 0", "b[1:, 1, :2] = 1")}  # two inputs
PIECES = {
    "params_syn_static": (
        "_simulate = nest.Simulate\n"
        "def _pieces(t):\n"
        "    for n in (1, 2, 3, 700, 1, 999, 1700):\n"
        "        if t > n: _simulate(float(n)); t -= n\n"
        "    _simulate(t)\n"
        "class _Nest:\n"
        "    def __getattr__(self, name): return _pieces if name == 'Simulate' else getattr(_real, name)\n"
        "    def __setattr__(self, name, value): setattr(_real, name, value)\n"
        "_real, nest = nest, _Nest()"
    )
}
SPARSE = {
    "params_conn_one_to_one": (
        "_connect = nest.Connect\n"
        "def _sparse(pre, post, conn, syn):\n"
        "    if syn.get('synapse_model', '').startswith('eprop_synapse') and len(pre) == len(post):\n"
        "        syn = {**syn, 'weight': syn['weight'][:, :10] * 3}\n"
        "        conn = {'rule': 'fixed_indegree', 'indegree': 10, 'allow_multapses': False}\n"
        "    _connect(pre, post, conn, syn)\n"
        "class _Nest:\n"
        "    def __getattr__(self, name): return _sparse if name == 'Connect' else getattr(_real, name)\n"
        "    def __setattr__(self, name, value): setattr(_real, name, value)\n"
        "_real, nest = nest, _Nest()"
    )
}
PLAIN = {"params_syn_static": "params_common_syn_eprop['optimizer'] |= {'type': 'adam', 'eta': 1e-3}"}
DESCENT = {"params_syn_static": "params_common_syn_eprop['optimizer'] = {'type': 'gradient_descent', 'eta': 1e-5}"}
ADAPTIVE = {"params_nrn_rec": "params_nrn_rec |= {'adapt_beta': 0.01, 'adapt_tau': 200.0}"}
CASES = {
    "sine": ("sine", SILENT, {"n_iter": 3}),
    "plus": ("plus", {}, {"n_iter": 3}),
    "lemniscate": ("lemniscate", SILENT, {"n_iter": 2}),
    "handwriting": ("handwriting", SILENT, {"n_iter": 1}),
    "evidence": ("evidence", QUIET, {"batch_size": 2, "n_iter_train": 2, "n_iter_test": 1}),
    "n-mnist": ("n-mnist", {}, {"group_size": 2, "n_iter_train": 2, "n_iter_test": 1}),
    # ten variations
    "fewer neurons": ("sine", SILENT, {"n_iter": 3, "n_in": 33, "n_rec": 47}),
    "another seed": ("sine", SILENT, {"n_iter": 3, "rng_seed": 7}),
    "several readouts": ("sine", SILENT | {"n_out": "n_out = 3"}, {"n_iter": 3}),
    "adam": ("sine", SILENT | PLAIN, {"n_iter": 3}),
    "descent": ("lemniscate", SILENT | DESCENT, {"n_iter": 2, "n_rec": 50}),
    "odd pieces": ("sine", SILENT | PIECES, {"n_iter": 3}),
    "odd pieces, every spike": ("plus", PIECES, {"n_iter": 3}),
    "fixed indegree": ("sine", SILENT | SPARSE, {"n_iter": 3}),
    "adaptive, every spike": ("plus", ADAPTIVE, {"n_iter": 2, "model_nrn_rec": "eprop_iaf_adapt"}),
    "delta, every spike": ("plus", {}, {"n_iter": 2, "model_nrn_rec": "eprop_iaf_psc_delta"}),
}


# All tutorials, and the variations that change which functions a script calls, not only its numbers; --long takes all.
KEPT = ("sine", "plus", "lemniscate", "handwriting", "evidence", "n-mnist", "fixed indegree", "odd pieces, every spike")
ON_RANKS = {"plus": 2, "evidence": 3}  # both variants; `test_on_ranks` takes the others


def script_of(case: str, tmp_path: Path) -> str:
    """The code of a case; the files that it reads lie in the folder then."""
    name, after, values = CASES[case]
    code = edit(tutorial(name), dict(after), **values)
    if name == "handwriting":
        shutil.copy(find_shipped("chaos_handwriting.txt"), tmp_path)
    if name == "n-mnist":
        shutil.copy(find_shipped("NMNIST_pixels_blocklist.txt"), tmp_path)
        for part in ("Train", "Test"):
            zipfile.ZipFile(RECORDINGS / f"{part}.zip").extractall(tmp_path / "468j46mzdv-1")
        for folder in (tmp_path / "468j46mzdv-1" / "Train").iterdir():  # the script wants all digits in both
            if not (other := folder.parents[1] / "Test" / folder.name).exists():
                shutil.copytree(folder, other)
    return code


@pytest.mark.parametrize("case", first(0, sorted(CASES, key=lambda case: case not in KEPT), rest=len(KEPT)))
def test_same_as_nest(case: str, tmp_path: Path) -> None:
    code = script_of(case, tmp_path)
    peer, ours = run(code, tmp_path, peer=True), run(code, tmp_path)
    for kept in (peer, ours):
        without_flushes(kept)
    assert_same(ours, peer)
    if case in ON_RANKS:
        assert run(code, tmp_path, ranks=ON_RANKS[case])["digest"] == ours["digest"]


@pytest.mark.long
@pytest.mark.parametrize("case", [name for name in NAMES if name not in ON_RANKS])
def test_on_ranks(case: str, tmp_path: Path) -> None:
    code = script_of(case, tmp_path)
    assert len({run(code, tmp_path, ranks=ranks)["digest"] for ranks in (1, 2, 3)}) == 1


def without_flushes(kept: dict[str, np.ndarray]) -> None:
    """Keep one event of the weight recorder for each spike: NEST adds some where it flushes silent neurons."""
    names = [key for key in kept if key.startswith("events_wr/")]
    spikes = [key.split("/")[0] for key in kept if key.startswith("events_sr") and key.endswith("times")]
    if names:
        sent = np.concatenate([[kept[f"{name}/times"], kept[f"{name}/senders"]] for name in spikes], axis=1)
        sent = set(map(tuple, sent.T.tolist()))
        rows = np.stack([kept[f"events_wr/{name}"] for name in ("times", "senders", "targets")])
        _, first = np.unique(rows, axis=1, return_index=True)
        chosen = [k for k in np.sort(first).tolist() if tuple(rows[:2, k].tolist()) in sent]
        for key in names:
            kept[key] = kept[key][chosen]


@pytest.mark.parametrize("name", first(0, ["evidence", "lemniscate", "sine", "handwriting"], rest=1))
def test_nothing_differs_with_nest_losses(name: str, tmp_path: Path) -> None:
    """Where inputs spike in step 1 of an interval, as they do in NEST's tutorials, on any number of ranks."""
    short = {"batch_size": 2, "n_iter_train": 2, "n_iter_test": 1} if name == "evidence" else {"n_iter": 2}
    code = edit(tutorial(name), EARLY if name == "evidence" else None, **short)
    if name == "handwriting":
        shutil.copy(find_shipped("chaos_handwriting.txt"), tmp_path)
    peer, ours = run(code, tmp_path, peer=True), run(code, tmp_path)
    losing = run(code, tmp_path, options=("--nest-losses",))
    assert_same(losing, peer)
    assert np.abs(peer["weight_in_rec"] - ours["weight_in_rec"]).max() > 1e-9
    assert run(code, tmp_path, ranks=2, options=("--nest-losses",))["digest"] == losing["digest"]
