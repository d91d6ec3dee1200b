"""Own activity: targets as described, learning with signs kept and rewired, measures and figure, users' files."""

from datetime import UTC
from pathlib import Path

import h5py
import numpy as np
import pytest
from case_files import SONATA
from commands import command, output_of, refusal_of, run_of

from pareprop.errors import InputError
from pareprop.sonata import circuit, nodes, spikes
from pareprop.tasks.own_activity import OwnActivity

SMALL = {"n_rec": 120, "n_in": 60, "n_step": 300, "indegree": 20, "skip": 30}


def test_targets_follow_their_law() -> None:
    task = OwnActivity(n_rec=4000)
    rates = task.rates.read(0, 4000).astype(float)
    assert np.all(rates > 0)
    mean = rates.mean(axis=0)
    assert np.exp(np.log(mean).mean()) == pytest.approx(8.0, rel=0.03)
    assert np.log(mean).std() == pytest.approx(0.4, rel=0.1)
    np.testing.assert_array_equal(task.rates.read(100, 130), rates[:, 100:130].astype(np.float32))
    spectrum = np.abs(np.fft.rfft(np.log(rates), axis=0))[1:]  # of sines of 1, 2 and 3 Hz, nothing else
    assert spectrum[3:].max() < 1e-2 * spectrum[:3].max()
    power = (2 * spectrum[:3] / 1000) ** 2
    np.testing.assert_allclose(np.sqrt(power.mean(axis=1)), 0.45 * np.array([1, 0.8, 0.5]), rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("rewire", [0, 2])
def test_correlations_rise_and_signs_stay(tmp_path: Path, capsys: pytest.CaptureFixture, rewire: int) -> None:
    settings = SMALL | {"iterations": 40, "eta": 5e-3, "rewire_every": rewire}
    output = output_of(capsys, *run_of("own-activity", tmp_path / "run", **settings))
    assert (tmp_path / "run/own_activity.png").is_file() and "own_activity.png" in output
    model = OwnActivity(**SMALL).build_model()
    sign = model.populations[1].sign
    assert set(np.unique(sign)) == {-1, 1}
    with h5py.File(tmp_path / "run/results.h5") as file:
        first, last = (file[f"dynamics/{name}"] for name in ("first", "last"))
        assert last["correlation"][()].mean() > first["correlation"][()].mean() + 0.1
        for sample in (first, last):  # as computed from what was kept
            signal, target = sample["local_signal"][30:].astype(float), sample["local_target"][30:].astype(float)
            ids = sample["local_ids"][()]
            some = np.flatnonzero(np.ptp(signal, axis=0))
            wanted = [np.corrcoef(signal[:, k], target[:, k])[0, 1] for k in some]
            np.testing.assert_allclose(sample["correlation"][()][ids[some]], wanted, atol=1e-6)
        group = file["projections/rec->rec"]
        assert np.all(group["weight"][()] * sign[group["source"][()]] >= 0)
        assert ("moves" in file) == bool(rewire)


def test_rates_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path, rates = tmp_path / "rates.h5", np.random.default_rng(1).random((300, 120)) * 20
    with h5py.File(path, "w") as file:
        file["rates"] = rates
    task = OwnActivity(**SMALL, activity=path)
    np.testing.assert_array_equal(task.rates.read(7, 9), rates[:, 7:9].astype(np.float32))
    with h5py.File(path, "r+") as file:
        file["rates"][5, 8] = -1.0
    with pytest.raises(InputError, match=r"rates\[5, 8\] = -1.0 must lie in 0 to 1e\+06 Hz"):
        OwnActivity(**SMALL, activity=path).rates.read(7, 9)
    told = refusal_of(capsys, *run_of("own-activity", tmp_path / "x", **SMALL | {"n_rec": 100, "activity": path}))
    assert "'rates' has (300, 120), must be (300, 100)" in told
    code, _, errors = command(capsys, *run_of("own-activity", tmp_path / "x", **SMALL, activity=tmp_path / "no.h5"))
    assert code == 2 and "no.h5" in errors and "Traceback" not in errors


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(
    ("name", "sign"), [("bmtk/simulation_config.json", "weights"), ("export-example/circuit_config.json", "free")]
)
def test_network_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture, name: str, sign: str) -> None:
    """With spikes of its virtual population, or with inputs as the drawn network has."""
    path, out = SONATA / name, tmp_path / "run"
    options = [f'sonata_options={{sign="{sign}", values={{V_th=0.5}}, default_weight=0.1}}', "rewire_every=2"]
    output_of(capsys, *run_of("own-activity", out, *options, sonata=path, n_step=200, skip=20, n_in=30, iterations=6))
    found = circuit.read(path)
    populations = {item.name: item for item in nodes.read(found)}
    with h5py.File(out / "results.h5") as file:
        neurons = sum(item.size for item in populations.values() if not item.virtual)
        assert len(file["dynamics/last/correlation"]) == neurons
        assert set(file["moves"]) == set(file["projections"])
        for group in file["projections"].values():
            for key in ("weight", "weight_initial"):
                source = group["source" if key == "weight" else "source_initial"][()]
                signs = np.sign(group[key][()])
                kept = all(len(set(signs[source == k]) - {0}) <= 1 for k in np.unique(source))
                assert kept or sign == "free"
        if found.spikes:
            (spike_file, population), *_ = found.spikes
            steps, ids = spikes.read(spike_file, population, populations[population].size, 1.0)
            wanted = np.unique(np.stack([steps, ids])[:, steps < 200], axis=1)
            sample = file["dynamics/first"]
            np.testing.assert_array_equal(np.stack([sample["input_steps"], sample["input_ids"]]), wanted)


def test_wrong_option_of_a_network(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, _, errors = command(
        capsys, *run_of("own-activity", tmp_path / "x", sonata="nothing.json", sonata_options="{sing=1}")
    )
    assert code == 2 and "sing" in errors and "Traceback" not in errors


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("indegree_in=100000", "indegree_in = 100000 must be at most n_in = 20"),
        ("sigma_degrees=6", "sigma_degrees = 6: Input should be less than or equal to 5"),
    ],
)
def test_a_bad_setting_is_named_as_it_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture, setting: str, words: str
) -> None:
    assert words in refusal_of(capsys, *run_of("own-activity", tmp_path / "x", "n_in=20", setting))


# ---- recordings ------------------------------------------------------------------------------------------------------

STARTS = [0.5, 1.5, 2.25]  # s, of trials
START_TIME = "intervals/trials/start_time"


def write_nwb(path: Path, trains: list[np.ndarray] | None, traces: np.ndarray | None, starts: list = STARTS) -> Path:
    """What a file of NWB 2 holds, of its layout; fluorescence at 20 Hz from 0.4 s on."""
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        if starts:
            file["intervals/trials/start_time"] = np.array(starts)
            file["intervals/trials/stop_time"] = np.array(starts) + 0.2
        if trains is not None:
            file["units/spike_times"] = np.concatenate(trains)
            file["units/spike_times_index"] = np.cumsum(list(map(len, trains))).astype("u1")
        if traces is not None:
            place = file.create_group("processing/ophys/DfOverF/plane0")
            place.attrs["neurodata_type"] = "RoiResponseSeries"
            place["data"] = traces
            place["data"].attrs["conversion"] = 0.5
            place["starting_time"] = 0.4
            place["starting_time"].attrs["rate"] = 20.0
            file["processing/ophys/DfOverF/again"] = h5py.SoftLink("/processing/ophys/DfOverF/plane0")
    return path


def recording() -> tuple[list[np.ndarray], np.ndarray]:
    draws = np.random.default_rng(4)
    return [np.sort(draws.uniform(0, 3, n)) for n in (40, 0, 25)], draws.normal(size=(60, 3))


RECORDED = {"n_rec": 3, "n_in": 20, "indegree": 1, "indegree_in": 5, "n_step": 200, "skip": 20, "tau_out": 50.0}


def test_spike_trains_of_a_recording(tmp_path: Path) -> None:
    """Targets are the mean over trials of spikes as readouts filter them: exponentials that rise with `tau_rise`."""
    trains, _ = recording()
    task = OwnActivity(**RECORDED, activity=write_nwb(tmp_path / "a.nwb", trains, None), tau_rise=8.0, trials=2)
    found = task.rates.read(0, 3)
    assert found.shape == (400, 3) and np.array_equal(found[:200], found[200:])
    keep, slow = np.exp(-1 / 50.0), np.exp(-1 / 8.0)
    expected = np.zeros((200, 3))
    for start in STARTS:
        for k, train in enumerate(trains):
            for t in np.floor((train[(train >= start) & (train < start + 0.2)] - start) * 1000).astype(int):
                n = np.arange(200 - t) + 1  # of both filters in a row, (keep^n - slow^n) / (keep - slow)
                kernel = (keep**n - slow**n) / (keep - slow)
                expected[t:, k] += 1000 * (1 - keep) * (1 - slow) * kernel / len(STARTS)
    np.testing.assert_allclose(found[:200], expected, rtol=1e-5, atol=1e-4)
    assert expected.max() > 5 and not expected[:, 1].any()


def test_fluorescence_of_a_recording(tmp_path: Path) -> None:
    """It lies on straight lines between samples; the mean over trials is taken."""
    _, traces = recording()
    task = OwnActivity(**RECORDED, activity=write_nwb(tmp_path / "a.nwb", None, traces), loss="correlation")
    times = 0.4 + np.arange(60) / 20
    expected = [
        np.mean([np.interp(s + 1e-3 * np.arange(1, 201), times, 0.5 * traces[:, k]) for s in STARTS], axis=0)
        for k in range(3)
    ]
    np.testing.assert_allclose(task.rates.read(0, 3), np.transpose(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("no_figures")
def test_a_recording_is_fitted(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Correlations are told; inputs of noise differ between trials, the others repeat."""
    trains, traces = recording()
    path = write_nwb(tmp_path / "a.nwb", trains, traces)
    settings = RECORDED | {"activity": path, "trials": 2, "noise": 0.25, "loss": "correlation", "iterations": 3}
    text = output_of(capsys, *run_of("own-activity", tmp_path / "run", **settings, figures="none"))
    with h5py.File(tmp_path / "run/results.h5") as file:
        first, last = (file[f"dynamics/{name}"] for name in ("first", "last"))
        for sample, words in ((first, "in the first sample"), (last, "in the last")):
            signal, target = (
                sample[f"local_{name}"][()].reshape(2, 200, 3).mean(axis=0) for name in ("signal", "target")
            )
            some = [k for k in range(3) if np.ptp(signal[20:, k]) and np.ptp(target[20:, k])]
            wanted = np.zeros(3)
            wanted[some] = [np.corrcoef(signal[20:, k], target[20:, k])[0, 1] for k in some]
            np.testing.assert_allclose(sample["correlation"][()], wanted, atol=1e-5)
            assert f"{wanted.mean():z.3f} (median {np.median(wanted):z.3f}) {words}" in text
        spikes = [set(zip(sample["input_steps"], sample["input_ids"], strict=True)) for sample in (first, last)]
    for own in spikes:
        halves = [{(t % 200, k) for t, k in own if t // 200 == trial and t % 200} for trial in range(2)]
        differ = {k for _, k in halves[0] ^ halves[1]}
        assert differ and min(differ) >= 15
    assert {k for _, k in spikes[0] ^ spikes[1]} <= set(range(15, 20))


def test_noise_of_a_test_is_not_that_of_training() -> None:
    task = OwnActivity(**RECORDED, noise=0.5)
    spikes = {phase: task.sample(3, phase).inputs.list_spikes(200) for phase in ("train", "validate", "test")}
    noise = {phase: set(zip(steps[ids >= 10], ids[ids >= 10], strict=True)) for phase, (steps, ids) in spikes.items()}
    assert noise["train"] != noise["test"] != noise["validate"] != noise["train"]
    assert 0 < len(noise["train"] & noise["test"]) < 0.2 * len(noise["test"])  # 2 % by chance
    frozen = [set(zip(steps[ids < 10], ids[ids < 10], strict=True)) for steps, ids in spikes.values()]
    assert frozen[0] and frozen[0] == frozen[1] == frozen[2]


def test_steps_beyond_the_end_of_a_trial_are_told(tmp_path: Path) -> None:
    path = write_nwb(tmp_path / "a.nwb", *recording())
    assert OwnActivity(**RECORDED, activity=path, series="units").list_remarks() == []
    told = f"data: {len(STARTS)} of {len(STARTS)} trials of {path} end by their stop_time, the first after 0.2 s, "
    told += "before n_step = 250 (0.25 s): what follows counts as theirs"
    for series in ("units", "plane0"):
        assert OwnActivity(**RECORDED | {"n_step": 250}, activity=path, series=series).list_remarks() == [told]


@pytest.mark.usefixtures("no_figures")
def test_another_recording_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One that was moved may have another path; with no recording a run does not go on either."""
    trains, _ = recording()
    write_nwb(tmp_path / "a.nwb", trains, None)
    run = run_of("own-activity", tmp_path / "run", **RECORDED, activity=tmp_path / "a.nwb", iterations=2)
    output_of(capsys, *run, "--until", 1)
    (tmp_path / "a.nwb").rename(tmp_path / "b.nwb")
    write_nwb(tmp_path / "a.nwb", [train + 0.01 for train in trains], None)
    told = refusal_of(capsys, "resume", tmp_path / "run")
    assert "belongs to another run: the content of the file of activity is another one" in told
    (tmp_path / "b.nwb").replace(tmp_path / "a.nwb")
    output_of(capsys, "resume", tmp_path / "run")


def test_odd_recordings_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    trains, traces = recording()
    both, none = write_nwb(tmp_path / "both.nwb", trains, traces), write_nwb(tmp_path / "none.nwb", None, None)
    short = write_nwb(tmp_path / "short.nwb", None, traces[:9])
    holes = write_nwb(tmp_path / "holes.nwb", None, np.where(np.arange(3) == 1, np.nan, traces))
    cut = write_nwb(tmp_path / "cut.nwb", trains, None)
    with h5py.File(cut, "r+") as file:
        file["units/spike_times_index"][2] = 60
    wide = write_nwb(tmp_path / "wide.nwb", None, np.zeros((50, 3, 2)))
    pairs, starts = write_nwb(tmp_path / "pairs.nwb", trains, None), write_nwb(tmp_path / "starts.nwb", trains, None)
    for name, key, values in ((pairs, "units/spike_times", np.ones((65, 2))), (starts, START_TIME, [[0.5, 1], [2, 3]])):
        with h5py.File(name, "r+") as file:
            del file[key]
            file[key] = values
    late = write_nwb(tmp_path / "late.nwb", trains, None, [4.0, 5.0])
    elsewhere = tmp_path / "elsewhere.nwb"
    with h5py.File(elsewhere, "w") as file:
        file.attrs["nwb_version"] = "2.7.0"
        file["units"] = h5py.ExternalLink("both.nwb", "/units")
    for path, settings, words in (
        (both, {"n_rec": 4}, "has 3 units, the network has 4 neurons (n_rec)"),
        (both, {"series": "plane1"}, "series = 'plane1' is not one of units, plane0"),
        (none, {}, "has no spike times of units and no fluorescence"),
        (short, {"n_step": 900}, "a trial takes 0.5 to 1.4 s, the fluorescence 0.4 to 0.8 s"),
        (holes, {}, "processing/ophys/DfOverF/plane0/data[0, 1] = nan must be finite"),
        (cut, {}, "units/spike_times_index does not cut 65 spike_times"),
        (wide, {}, "plane0/data has shape (50, 3, 2), must have 1 or 2 axes"),
        (pairs, {}, "units/spike_times has shape (65, 2), must have 1 axis"),
        (starts, {}, "intervals/trials/start_time has shape (2, 2), must have 1 axis"),
        (late, {}, "late.nwb: no unit has a spike in any of the 2 trials, the first takes 4 to 4.2 s"),
        (elsewhere, {}, "is a link to another place"),
    ):
        told = refusal_of(capsys, *run_of("own-activity", tmp_path / "x", **RECORDED | {"activity": path} | settings))
        assert words in told and len(told.strip().splitlines()) == 1, told
        assert not (tmp_path / "x").exists()
    told = refusal_of(capsys, *run_of("own-activity", tmp_path / "x", n_rec=50))
    assert told.endswith("indegree = 110 must be at most 24, half of the n_rec - 1 = 49 other neurons\n")
    told = refusal_of(capsys, *run_of("own-activity", tmp_path / "x", **RECORDED, series="units"))
    assert "series = 'units' needs an NWB file" in told


@pytest.mark.slow
def test_a_file_of_pynwb(tmp_path: Path) -> None:
    """With the links within a file that its writer makes."""
    pynwb = pytest.importorskip("pynwb")
    from datetime import datetime

    from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel

    trains, traces = recording()
    file = pynwb.NWBFile("a session", "a", datetime(2020, 1, 1, tzinfo=UTC))
    for start in STARTS:
        file.add_trial(start_time=start, stop_time=start + 0.2)
    for train in trains:
        file.add_unit(spike_times=train)
    channel = OpticalChannel("green", "of light", 500.0)
    device = file.create_device("microscope")
    plane = file.create_imaging_plane(
        name="plane",
        optical_channel=channel,
        description="one",
        device=device,
        excitation_lambda=600.0,
        indicator="GFP",
        location="V1",
    )
    regions = ImageSegmentation()
    table = regions.create_plane_segmentation(name="cells", description="all", imaging_plane=plane)
    for _ in range(3):
        table.add_roi(image_mask=np.ones((2, 2)))
    module = file.create_processing_module("ophys", "fluorescence")
    module.add(regions)
    series = Fluorescence()
    module.add(series)
    chosen = table.create_roi_table_region(region=[0, 1, 2], description="all")
    series.create_roi_response_series(
        name="dff", data=0.5 * traces, rois=chosen, unit="1", rate=20.0, starting_time=0.4
    )
    with pynwb.NWBHDF5IO(tmp_path / "own.nwb", "w") as writer:
        writer.write(file)
    write_nwb(tmp_path / "like.nwb", trains, traces)
    for names in (("units", "units"), ("dff", "plane0")):
        found = [
            OwnActivity(**RECORDED, activity=tmp_path / f"{kind}.nwb", series=series).rates.read(0, 3)
            for kind, series in zip(("own", "like"), names, strict=True)
        ]
        np.testing.assert_array_equal(*found)
