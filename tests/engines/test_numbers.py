"""Numbers and sizes at the ends of what is possible: rates, denormals, bounds, samples of one step, delays, ranks."""

from pathlib import Path

import networks
import numpy as np
import pytest
import spike_networks
from commands import as_options, command, digests, on_ranks
from params import first
from reference import run_case

from pareprop.storage import checkpoint_read
from pareprop.storage.checkpoint_observer import Checkpoints

SMALL = ["n_in=6", "n_step=40", "periods=[40,20]", "iterations=2", "test_samples=0"]


pytestmark = pytest.mark.usefixtures("no_figures")


def arguments(*texts: str) -> list[str]:
    return ["run", "sine-waves", *as_options(*SMALL, *texts)]


def check_interval(case: dict) -> dict:
    return networks.compare_interval(case, networks.simulation(case, keep_gradients=False))


def check_spike(case: dict, n_steps: int) -> dict:
    """As `check_interval`, in samples of `n_steps`."""
    expected = run_case(case)
    spike_networks.compare(case, spike_networks.run_samples(spike_networks.simulation(case, n_steps)), expected)
    return expected


def exploding(case: dict) -> dict:
    """Every neuron fires in every step in which it may."""
    for params in (group["params"] for group in case["groups"]):
        params |= {"t_ref": 0.0, "I_e": 50.0} | ({"adapt_beta": 0.0} if "adapt_beta" in params else {})
    return case | {"inputs": np.ones_like(case["inputs"])}


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_neurons_that_fire_in_every_step(variant: str) -> None:
    if variant == "interval":
        case = exploding(networks.random_case(5, reset=False))
        expected = check_interval(case)
    else:
        case = exploding(spike_networks.random_case(4))
        expected = check_spike(case, 40)
    n_steps, n_rec = case["step_currents"].shape
    assert len(expected["spike_ids"]) > 0.9 * n_steps * n_rec


def test_denormals_are_kept() -> None:
    """Neither a kernel nor a library switches the processor to flush them to 0."""
    case = networks.random_case(5, reset=False, optimizer={"type": "gradient_descent", "eta": 1e-310})
    case["readout"] |= {"loss": "mean_squared_error"}
    case["w_out"] = case["w_out"] * 1e-312
    expected = check_interval(case)
    assert np.nanmax(np.abs(expected["w_out"] - case["w_out"])) > 0
    assert np.nanmax(np.abs(expected["w_out"])) < np.finfo(float).tiny
    smallest = np.nextafter(0.0, 1.0)
    assert smallest > 0.0 and 3.0 * smallest / 3.0 == smallest and np.finfo(float).tiny * np.float64(0.5) > 0.0


@pytest.mark.parametrize("precision", ["double", "single"])
@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_weights_on_their_bounds(variant: str, precision: str, tmp_path: Path) -> None:
    """0.1 is no number of either precision: rounded to single it is beyond the bound. What was trained starts again."""
    bounds = {"type": "gradient_descent", "eta": 1e4, "Wmin": -0.1, "Wmax": 0.1}
    twin = {"interval": networks, "spike": spike_networks}[variant]
    case = twin.random_case(4, precision=precision, optimizer=bounds)
    case["inputs"] = np.ones_like(case["inputs"])
    for key in ("w_in", "w_rec", "w_out"):
        case[key] = np.where(np.isnan(case[key]), np.nan, np.where(case[key] > 0, 0.1, -0.1))
    options = (30,) if variant == "spike" else (None, 0, False)
    whole, again = (twin.simulation(case, *options) for _ in range(2))
    whole.observers = [Checkpoints(tmp_path, {}, 3, every=1)]
    whole.train(2)
    checkpoint_read.load(again, tmp_path, {})
    whole.train(3), again.train(3)
    assert again.hexdigest() == whole.hexdigest()
    found = networks.weights(whole)
    for name, matrix in found.items():
        bound = whole.network.model.kernels.real(0.1)
        assert np.nanmax(np.abs(matrix)) == bound, name
    twin.simulation(case | {f"w_{name}": matrix for name, matrix in found.items()}, *options).train(1)


@pytest.mark.parametrize("interval", [1, 2])
def test_samples_of_one_step(interval: int) -> None:
    case = networks.random_case(5, reset=False)
    n_steps = len(case["inputs"]) // interval * interval
    parts = {key: case[key][:n_steps] for key in ("inputs", "targets", "step_currents")}
    check_interval(case | parts | {"interval": interval, "learning_window": interval})
    check_spike(spike_networks.random_case(4, n_steps=60), interval)


def test_delays_longer_than_a_sample() -> None:
    case = networks.random_case(5, reset=False)
    n_rec = case["step_currents"].shape[1]
    check_interval(case | {"d_rec": np.random.default_rng(1).integers(20, 3 * case["interval"], (n_rec, n_rec))})
    case = spike_networks.random_case(4)
    n_rec = case["step_currents"].shape[1]
    check_spike(case | {"d_rec": np.random.default_rng(1).integers(5, 90, (n_rec, n_rec)), "d_in": 45}, 20)


@pytest.mark.mpi
def test_more_ranks_than_neurons(tmp_path: Path) -> None:
    commands = [
        [*arguments("n_rec=3", "n_out=1", f"variant={variant}"), "--out", tmp_path / f"{{}}-{variant}"]
        for variant in ("interval", "spike")
    ]
    found = []
    for n in (1, 5):
        named = [[str(part).format(n) for part in line] for line in commands]
        codes, output, errors = on_ranks(n, named)
        assert codes == [0, 0], errors
        found.append(digests(output))
    assert found[0] == found[1] and len(set(found[0])) == 2


@pytest.mark.parametrize("variant", first(0, ["spike", "interval"], rest=1))
def test_dry_runs_at_the_largest_sizes(variant: str, capsys: pytest.CaptureFixture) -> None:
    """The largest number of neurons that ids can have, of which a rank keeps what it hears; one more is refused."""
    sizes = ["indegree=2", "n_in=20", "n_step=10", "periods=[10]", f"variant={variant}"]
    settings = as_options(*sizes)
    line = ["dry-run", "sine-waves", *settings, "--ranks", 2**24, "--rank", 2**24 - 1, "--set"]
    code, output, errors = command(capsys, *line, f"n_rec={2**31}")
    assert (code, errors) == (0, "") and "rank 16777215 of 16777216; fires at" in output, output
    code, _, errors = command(capsys, *line, f"n_rec={2**31 + 1}")
    assert (code, errors.count("\n")) == (2, 1) and "must be at most 2147483648" in errors, errors
