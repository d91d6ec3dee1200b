"""Scaling studies: points, tables, figures."""

import csv
import json
import os
import subprocess

import numpy as np
import pytest
import ranks
from commands import command, refusal_of
from launch import ENVIRONMENT, find_mpirun
from matplotlib.backends.backend_agg import FigureCanvasAgg

from pareprop import machine
from pareprop.errors import InputError
from pareprop.plots import scaling as figures
from pareprop.runs import benchmark
from pareprop.scaling import collect, launchers, study

TOML = """
kind = "strong"
ranks = [1, 2]
variants = ["interval", "spike"]
neurons = [80]
indegrees = [10]
rates = [30.0]
inputs = 10
steps = 60
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small study that ran, and what the runs printed: (folder, first run, second run)."""
    if find_mpirun() is None:
        pytest.skip("no mpirun: install the extra 'mpi' or a system MPI")
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.toml").write_text(TOML)
    line = [*ranks.python(), "-m", "pareprop", "scaling", "run", folder / "small.toml", "--out", folder / "out"]
    environment = os.environ | ENVIRONMENT | {"SLURM_NTASKS": "1"}  # so that two ranks are told to share cores
    runs = []
    for _ in range(2):
        done = subprocess.run(line, capture_output=True, text=True, timeout=900, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        runs.append(done.stdout.splitlines())
        if len(runs) == 1:
            next(iter((folder / "out").glob("spike*-r2-0.json"))).unlink()
    return folder / "out", *runs


@pytest.mark.slow
@pytest.mark.mpi
def test_finished_points_are_not_run_again(finished):
    _, first, second = finished
    assert first[0] == "4 points, 0 finished before" and len(first) == 6
    assert first[1].startswith("note: 2 of these points have more ranks than there are cores or SLURM tasks")
    assert second[0] == "4 points, 3 finished before" and len(second) == 3 and "-r2-" in second[2]


@pytest.mark.slow
@pytest.mark.mpi
def test_table(finished, capsys):
    folder = finished[0]
    code, output, _ = command(capsys, "scaling", "collect", folder)
    assert code == 0 and "4 of 4 points" in output
    rows = list(csv.DictReader((folder / "study.csv").open()))
    assert [(row["variant"], row["ranks"]) for row in rows] == [(v, n) for v in ("interval", "spike") for n in "12"]
    for row in rows:
        name = f"{row['variant']}-n80-k10-d1-h30-s1-r{row['ranks']}-0.json"
        shares = json.loads((folder / name).read_text())["shares"]
        assert len(shares) == int(row["ranks"])
        times = [share["phases"]["deliver"] for share in shares]
        expected = [min(times), float(np.mean(times)), max(times)]
        assert [float(row[f"deliver_s_{end}"]) for end in ("min", "mean", "max")] == pytest.approx(expected)
        assert float(row["memory_bytes_max"]) == max(sum(share["memory"].values()) for share in shares)
        assert float(row["real_time_factor"]) == pytest.approx(float(row["train_seconds"]) / 0.06)
        assert (float(row["wait_s_max"]) > 0.0) == (row["ranks"] != "1")
        assert row["sending"] == ("" if row["ranks"] == "1" else "shared") and float(row["listens_to_min"]) == 80
        assert row["oversubscribed"] == str(int(int(row["ranks"]) > machine.count_cores()))
    for variant in ("interval", "spike"):  # the control is the same run on any number of ranks
        assert len({(row["digest"], row["events"]) for row in rows if row["variant"] == variant}) == 1


@pytest.mark.slow
@pytest.mark.mpi
def test_figures(finished, capsys):
    folder = finished[0]
    assert command(capsys, "scaling", "collect", folder)[0] == 0
    code, output, _ = command(capsys, "scaling", "plot", folder)
    assert code == 0 and len(output.splitlines()) == 2
    for stem in ("scaling", "phases"):
        assert (folder / f"{stem}.png").stat().st_size > 5000 and (folder / f"{stem}.pdf").exists()
    rows = figures.read(folder / "study.csv")
    legend = figures.scaling_figure(rows).legends[0].get_title().get_text()
    assert (figures.CROWDED in legend) == (2 > machine.count_cores())


def test_a_study_without_mpirun(tmp_path, capsys, monkeypatch, quick_starts):
    """From its points to table and figures; a point whose result is gone runs again, one that fails is told."""
    monkeypatch.setattr(launchers, "make_command", lambda launcher, n_ranks: [])
    text, out = TOML.replace("[1, 2]", "[1]"), tmp_path / "out"
    (tmp_path / "s.toml").write_text(text)
    (tmp_path / "never.toml").write_text(f"{text}timeout_s = 0.001\n")
    run = ("scaling", "run", tmp_path / "s.toml", "--out", out)
    code, output, errors = command(capsys, *run)
    assert code == 0 and output.startswith("2 points, 0 finished before\n"), errors
    lost = out / "spike-n80-k10-d1-h30-s1-r1-0.json"
    digest = json.loads(lost.read_text())["digest"]
    lost.unlink()
    code, _, errors = command(capsys, *run[:2], tmp_path / "never.toml", *run[3:])
    assert code == 3 and f"1 of 2 points failed: {lost.stem}: killed after 0.001 s" in errors
    code, output, _ = command(capsys, *run)
    assert code == 0 and output.startswith("2 points, 1 finished before\n") and output.count("\n") == 2

    code, output, _ = command(capsys, "scaling", "collect", out)
    assert code == 0 and "2 of 2 points" in output
    interval, spike = csv.DictReader((out / "study.csv").open())
    assert spike["digest"] == digest and interval["digest"] != digest
    [share] = json.loads(lost.read_text())["shares"]
    for end in ("min", "mean", "max"):
        assert float(spike[f"deliver_s_{end}"]) == share["phases"]["deliver"]
        assert float(spike[f"memory_bytes_{end}"]) == sum(share["memory"].values())
    lines = [json.loads(line) for line in (out / "study.extra-p.jsonl").read_text().splitlines()]
    assert {
        "params": {"ranks": 1},
        "callpath": "spike n80 k10 d1 h30->deliver",
        "metric": "time",
        "value": share["phases"]["deliver"],
    } in lines
    assert [one["digest"] for one in json.loads((out / "study.json").read_text())["runs"]] == [
        interval["digest"],
        digest,
    ]


def test_seeds_are_joined(tmp_path):
    """Three seeds of one point: mean and standard deviation, with n - 1; joules where all runs tell them."""
    sizes = {"kind": "strong", "variant": "spike", "neurons": 80, "indegree": 9, "delay": 1, "rate": 0.0, "events": 2}
    runs = [
        sizes
        | {
            "ranks": 1,
            "seed": k,
            "train_seconds": s,
            "real_time_factor": 2 * s,
            "core_hours": s,
            "joules": 1.0,
            "joules_per_event": 1e-6 * s,
        }
        for k, s in enumerate((1.0, 2.0, 6.0))
    ]
    runs.append(sizes | {"ranks": 2, "seed": 1, "train_seconds": 5.0, "real_time_factor": 10.0})
    one, two = collect.summarize_rows(runs)
    deviation = np.sqrt((4 + 1 + 9) / 2)
    assert (one["runs"], one["train_seconds"], one["real_time_factor"]) == (3, 3.0, 6.0) and one["core_hours"] == 3.0
    assert one["train_seconds_sd"] == pytest.approx(deviation)
    assert one["real_time_factor_sd"] == pytest.approx(2 * deviation)
    assert (two["runs"], two["train_seconds_sd"]) == (1, "") and "joules_per_event" not in two
    head, _, first, second = collect.format_summary([one, two])
    assert "real-time factor | µJ per synaptic event" in head
    assert "| 3 ± 2.6 | 6 ± 5.3 | 3 ± 2.6 |" in first and "| 5 | 10 |  |" in second
    small = [item | dict.fromkeys((f"{name}_s_mean" for name in benchmark.PHASES), 1.0) for item in runs]
    collect.write_tables(small, tmp_path / "study.csv")
    with open(tmp_path / "summary.csv") as file:
        assert [row["real_time_factor"] for row in csv.DictReader(file)] == ["6.0", "10.0"]


def test_a_study_without_results(tmp_path, capsys):
    (tmp_path / "study.toml").write_text(TOML)
    assert "no point of the study is finished" in refusal_of(capsys, "scaling", "collect", tmp_path)


def row(**changes):
    phases = {f"{phase}_s_{end}": 0.5 for phase in figures.PHASES for end in ("min", "mean", "max")}
    fixed = {"kind": "strong", "variant": "interval", "neurons": 10.0, "indegree": 2.0, "delay": 1.0, "rate": 0.0}
    more = {"real_time_factor": 2.0, "memory_bytes_max": 1e6, "oversubscribed": 0.0, "simulated_seconds": 0.5}
    return phases | fixed | more | changes


@pytest.mark.parametrize(("kind", "gain"), [("strong", [1.0, 1.6]), ("weak", [1.0, 1.6])])
def test_speed_up_and_efficiency(kind, gain):
    """Strong: 10 s to 6.25 s on two ranks; weak: twice the network in 12.5 s."""
    seconds = {"strong": 6.25, "weak": 12.5}[kind]
    sizes = {"strong": 10.0, "weak": 20.0}[kind]
    rows = [row(kind=kind, ranks=1.0, train_seconds=10.0)]
    rows.append(row(kind=kind, ranks=2.0, train_seconds=seconds, neurons=sizes))
    axes = figures.scaling_figure(rows).axes
    np.testing.assert_allclose(axes[1].lines[0].get_ydata(), gain)
    np.testing.assert_allclose(axes[2].lines[0].get_ydata(), [1.0, 0.8])


def test_axes_can_be_read():
    """Bars end below the frame, also if the phase on top takes no time; a narrow logarithmic axis has several ticks."""
    idle = {f"optimize_s_{end}": 0.0 for end in ("min", "mean", "max")}
    sizes = ((1.0, 133e6), (2.0, 58e6))
    rows = [row(ranks=n, train_seconds=10.0 / n, memory_bytes_max=size, **idle) for n, size in sizes]
    (phases,) = figures.phase_figure(rows).axes
    assert phases.get_ylim()[0] == 0.0
    assert phases.get_ylim()[1] > 1.02 * max(bar.get_y() + bar.get_height() for bar in phases.patches)
    memory = figures.scaling_figure(rows).axes[4]
    low, high = memory.get_ylim()
    assert sum(low <= tick <= high for tick in memory.get_yticks()) > 2


def test_energy_and_load_are_shown():
    rows = [
        row(ranks=n, train_seconds=10.0 / n, joules_per_event=2e-6, other_cores=n / 10, seed=1.0) for n in (1.0, 2.0)
    ]
    energy = figures.scaling_figure(rows).axes[5]
    assert "µJ" in energy.get_title(loc="left") and list(energy.lines[0].get_ydata()) == [2.0, 2.0]
    assert "other programs kept 0.1 to 0.2 cores of a machine busy" in figures.describe_study(rows)
    assert "kept up to 0.2 cores" in figures.scaling_figure(rows).legends[0].get_title().get_text()
    rows[0]["joules_per_event"] = ""  # its machine does not tell
    assert "events" in figures.scaling_figure(rows).axes[5].get_title(loc="left")


def test_the_axis_of_nodes_leaves_titles_free():
    rows = [row(ranks=n, train_seconds=10.0 / n, hosts=n) for n in (1.0, 2.0)]
    figure = figures.scaling_figure(rows)
    FigureCanvasAgg(figure).draw()
    first = figure.axes[0]
    (nodes,) = first.child_axes
    assert nodes.get_xlabel() == "nodes"
    title = first._left_title.get_window_extent()
    assert not title.overlaps(nodes.get_tightbbox())


def test_study_points(tmp_path):
    text = TOML.replace("strong", "weak").replace("ranks = [1, 2]", "ranks = [1, 2, 4]")
    (tmp_path / "s.toml").write_text(text + "repeats = 2\nseeds = [1, 2]\n")
    points = study.read(tmp_path / "s.toml").list_points()
    assert len(points) == len({point.label for point in points}) == 3 * 2 * 2 * 2
    assert {(point.ranks, point.bench.neurons) for point in points} == {(1, 80), (2, 160), (4, 320)}
    assert [point.repeat for point in points] == sorted(point.repeat for point in points)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("rank = [1]", "ranks"),
        ("repeats = 0", "repeats"),
        ("ranks = [0]", "ranks"),
        ("indegrees = [80]", "80"),
        ("variants = ['spikes']", "variants"),
        ("rates = [nan]", "rates"),
        ("ranks = [", "not a configuration"),
    ],
)
def test_bad_study(line, wanted, tmp_path):
    key = line.split(" ")[0]
    kept = [text for text in TOML.splitlines() if not text.startswith(key)]
    (tmp_path / "s.toml").write_text("\n".join([*kept, line]))
    with pytest.raises(InputError, match=wanted):
        study.read(tmp_path / "s.toml")


def test_results_of_another_study_are_refused(tmp_path, capsys):
    point = study.Study(neurons=(30,), indegrees=(3,), ranks=(1,), steps=20, inputs=5, warmup=0).list_points()[0]
    file = tmp_path / "point.json"
    assert command(capsys, *point.make_arguments(file))[0] == 0
    assert collect.read_results(point, file)["steps"] == 20
    changed = study.Study(neurons=(30,), indegrees=(3,), ranks=(1,), steps=21, inputs=5, warmup=0).list_points()[0]
    with pytest.raises(InputError, match="steps = 20, now 21"):
        collect.read_results(changed, file)
    file.write_text("{}")
    with pytest.raises(InputError, match="not a result"):
        collect.read_results(point, file)
