"""`pareprop verify`: golden cases on any number of ranks, and files that cannot be used."""

import re
from pathlib import Path

import h5py
import networks
import numpy as np
import pytest
import ranks
from case_files import GOLDEN, RESOLUTIONS
from commands import command, digests, on_ranks
from damage import add_to, attribute, delete, edited, group_for, replace
from params import first_rows
from reference import run_case


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case that holds, by the slow twin; with a learning window shorter than the interval."""
    case = networks.random_case(16, dt=1.0, learning_window=20)
    del case["step_currents"]
    case["readout"]["loss"] = "mean_squared_error"
    path = tmp_path_factory.mktemp("case") / "small.h5"
    networks.write_case(path, case, run_case(case))
    return path


@pytest.fixture(scope="module")
def alone() -> list[str]:
    """What `verify` prints of all golden cases in one process."""
    codes, output, errors = on_ranks(1, [["verify", *GOLDEN]])
    assert (codes, errors) == ([0], [])
    return output


@pytest.mark.mpi
def test_golden_cases_hold(alone: list[str]) -> None:
    assert len(alone) == len(GOLDEN) + 1
    assert {line.split(":")[0] for line in alone if line.endswith(": holds")} == {Path(path).name for path in GOLDEN}


@pytest.mark.mpi
@pytest.mark.parametrize(("n", "rounds"), first_rows(0, [(2, 0), (3, 1), (3, 0), (4, 0)], rest=2))
def test_golden_cases_give_one_digest_on_any_number_of_ranks(alone: list[str], n: int, rounds: int) -> None:
    codes, output, errors = on_ranks(n, [["verify", "--round-steps", rounds, *GOLDEN]], timeout=900)
    assert (codes, errors) == ([0], [])
    assert digests(output) == digests(alone)


@pytest.mark.slow
@pytest.mark.mpi
def test_cases_at_other_resolutions_hold_on_any_number_of_ranks() -> None:
    """NEST at 0.1 and 0.5 ms: times are in ms, rates in Hz."""
    found = []
    for n in (1, 3):
        codes, output, errors = on_ranks(n, [["verify", *RESOLUTIONS]])
        assert (codes, errors) == ([0], [])
        assert sum(line.endswith(": holds") for line in output) == len(RESOLUTIONS)
        found += digests(output)
    assert len(found) == 2 and len(set(found)) == 1


@pytest.mark.parametrize("steps", [1, 2])
def test_shorter_rounds_give_the_same_digest(capsys: pytest.CaptureFixture, steps: int) -> None:
    paths = [path for path in GOLDEN if "delay" in path]
    _, expected, _ = command(capsys, "verify", *paths)
    code, output, _ = command(capsys, "verify", "--round-steps", steps, *paths)
    assert (code, output) == (0, expected)


@pytest.mark.parametrize("batch_size", [2, 4])
def test_unfinished_batch(capsys: pytest.CaptureFixture, tmp_path: Path, batch_size: int) -> None:
    """Three intervals: in batches of two the last one spikes but changes no weight, in a batch of four none does."""
    case = networks.random_case(16, dt=1.0, optimizer={"type": "adam", "eta": 0.01, "batch_size": batch_size})
    del case["step_currents"]
    expected = run_case(case)
    assert np.any(expected["spike_steps"] >= 2 * case["interval"])
    networks.write_case(tmp_path / "case.h5", case, expected)
    code, output, errors = command(capsys, "verify", tmp_path / "case.h5")
    assert (code, errors) == (0, ""), output


def test_wrong_expectations_are_told(capsys: pytest.CaptureFixture, small: Path, tmp_path: Path) -> None:
    """Exit code 1 and the first difference, while other cases still run."""
    with h5py.File(small) as file:
        step, neuron = int(file["expected/spike_steps"][7]), int(file["expected/spike_ids"][7])
        weight = tuple(np.argwhere(~np.isnan(file["expected/w_rec"][()]))[0])
        n_spikes = file["expected/spike_steps"].size
        last = int(file["expected/spike_ids"][-1]), int(file["expected/spike_steps"][-1])
    found = f"spike 7 differs: neuron {neuron} in step {step}"
    cases = {
        "id": (add_to("expected/spike_ids", 7, 1), f"{found} instead of neuron {neuron + 1} in step {step},"),
        "step": (add_to("expected/spike_steps", 7, 100), f"{found} instead of neuron {neuron} in step {step + 100},"),
        "signal": (add_to("expected/readout_signal", (-1, 0), 1e-8), "readout 1.0e-08"),
        "weight": (add_to("expected/w_rec", weight, 2e-9), "weights 2.0e-09"),
        "no-synapse": (add_to("expected/w_rec", weight, np.nan), "weights inf"),
        "missing": (
            lambda file: [
                replace(f"expected/{key}", lambda all: all[:-1])(file) for key in ("spike_steps", "spike_ids")
            ],
            f"spike {n_spikes - 1} differs: neuron {last[0]} in step {last[1]} instead of none",
        ),
    }
    paths = [edited(small, tmp_path / f"{name}.h5", edit) for name, (edit, _) in cases.items()]
    code, output, _ = command(capsys, "verify", *paths, small)
    assert code == 1
    lines = output.splitlines()
    for line, (name, (_, message)) in zip(lines, cases.items(), strict=False):
        assert line.startswith(f"{name}.h5: ") and message in line and line.endswith("DOES NOT HOLD")
    assert lines[-2].endswith(": holds")
    assert len(digests(lines)) == 1


BAD = {
    "foreign-format": (attribute("/", "format", "other-1"), "format"),
    "variant": (attribute("/", "variant", "weekly"), "variant"),
    "no-inputs": (delete("inputs"), "inputs"),
    "inputs-text": (replace("inputs", np.array([[b"a"]])), "inputs"),
    "groups-empty": (group_for("groups"), "groups"),
    "model": (attribute("groups/0", "model", "iaf_adept"), "did you mean 'iaf_adapt'"),
    "n": (attribute("groups/0", "n", 10**15), "n = 10"),
    "w_rec-shape": (replace("w_rec", lambda all: all[:, :-1]), "w_rec"),
    "delay": (replace("d_rec", lambda all: 0 * all), "delay = 0"),
    "interval": (attribute("/", "interval", 7), "interval = 7"),
    "window": (attribute("/", "learning_window", 10**6), "learning_window"),
    "tolerance": (attribute("/", "weights_tolerance", "small"), "weights_tolerance"),
    "no-expected": (delete("expected"), "expected"),
    "expected-weights": (lambda file: replace("expected/w_in", file["w_in"][:-1])(file), "expected/w_in"),
    "external": (replace("targets", h5py.ExternalLink("other.h5", "x")), "targets"),
}


@pytest.fixture(scope="module")
def bad(small: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unusable files by name."""
    folder = tmp_path_factory.mktemp("bad")
    paths = {name: edited(small, folder / f"{name}.h5", edit) for name, (edit, _) in BAD.items()}
    paths |= {name: folder / f"{name}.h5" for name in ("absent", "text", "truncated")} | {"directory": folder}
    paths["text"].write_text("not HDF5\n")
    paths["truncated"].write_bytes(small.read_bytes()[:-1000])
    return paths


@pytest.mark.parametrize("name", [*BAD, "absent", "directory", "text", "truncated"])
def test_unusable_file(capsys: pytest.CaptureFixture, bad: dict[str, Path], small: Path, name: str) -> None:
    code, output, errors = command(capsys, "verify", small, bad[name])
    assert (code, output) == (2, "")
    assert re.fullmatch(r"pareprop: error: case [^\n]+\n", errors)
    assert bad[name].name in errors
    assert (BAD[name][1] if name in BAD else "") in errors


@pytest.mark.slow
@pytest.mark.mpi
def test_exit_codes_under_mpirun(small: Path, bad: dict[str, Path], tmp_path: Path) -> None:
    wrong = edited(small, tmp_path / "wrong.h5", add_to("expected/spike_ids", 0, 1))
    for path, code in ((small, 0), (wrong, 1), (bad["text"], 2)):
        assert ranks.run(2, "-m", "pareprop", "verify", path).returncode == code
