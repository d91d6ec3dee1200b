"""Compare the cortical microcircuit in NEST and here: rates, irregularity and correlations of populations, and times.

    python scripts/race/microcircuit.py --scale 0.1 --seconds 2 --seeds 3 --out build/race

Needs NEST 3.10 (extra `peer`). Both simulate the same model, the one of task `microcircuit`: tables, neurons that start
at rest, total numbers of synapses, normal weights and delays within the same bounds, Poisson input; synapses and input
are drawn by each with its own numbers. The first 500 ms (`--warm-up`) are left out. Written: `microcircuit.csv`, a row
for each population and simulator with mean and standard deviation over the seeds; `times.csv`; `environment.json`, the
machine and the versions; `microcircuit.png`, and the spikes of each run, so that a call with the same `--out` continues
after an interruption. The full network, without NEST:

    python scripts/race/microcircuit.py --scale 1 --ranks 2 --only pareprop --seconds 1.5
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pareprop import energy

SAMPLE_MS = 100.0
SIMULATORS = ("NEST", "pareprop", "pareprop, learning")  # the first two have statistics to compare
COLUMNS = ("rate_hz", "cv", "correlation")


def settings(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return the settings of the task."""
    return {
        "scale": options.scale,
        "indegrees": options.indegrees,
        "background": options.background,
        "sample_ms": SAMPLE_MS,
        "seed": seed,
        "precision": options.precision,
    }


def run_pareprop(options: argparse.Namespace, seed: int, learn: bool = False) -> dict[str, Any] | None:
    """Simulate on the ranks of this job, or learn volleys, all synapses plastic; return spikes and times on rank 0."""
    import pareprop
    from pareprop.simulation.loop import Simulation
    from pareprop.tasks.microcircuit import Microcircuit

    exchange = pareprop.exchange()
    task = Microcircuit(**settings(options, seed), **{"learn": "volleys", "batch_size": 1} if learn else {})
    begin = time.perf_counter()
    simulation = Simulation(task.build_model(), task, exchange, settings=task.make_settings())
    built = time.perf_counter()
    steps, ids, seconds, joules, meter = [], [], 0.0, 0.0, energy.Meter()
    for k in range(round(options.seconds * 1000.0 / SAMPLE_MS)):
        start = time.perf_counter()
        simulation.run_sample(k, "train", learn=learn)
        if learn:
            simulation.engine.step_optimizers()
        taken, lap = time.perf_counter() - start, meter.measure_interval()
        if k * SAMPLE_MS >= options.warm_up:
            seconds, joules = seconds + taken, joules + lap
        log = simulation.engine.log
        steps.append(np.repeat(np.arange(len(log.ptr) - 1), np.diff(log.ptr)) + k * task.n_steps)
        ids.append(log.ids[: log.ptr[-1]].copy())
    if exchange.rank:
        return None
    spent = {name: value for name, value in simulation.timers.seconds.items() if value > 0.005}
    print(f"seconds of rank 0, warm-up included: {', '.join(f'{name} {value:.2f}' for name, value in spent.items())}")
    sizes = [item.size for item in simulation.model.of_role("recurrent")]
    synapses = sum(item.N or 0 for item in simulation.model.projections)  # readouts have no number
    return {
        "steps": np.concatenate(steps),
        "ids": np.concatenate(ids),
        "sizes": sizes,
        "synapses": synapses,
        "build": built - begin,
        "seconds": seconds,
        "joules": joules,
        "dt": task.dt_ms,
    }


def run_nest(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Simulate the same model in NEST; return spikes and times."""
    import nest

    from pareprop.tasks.microcircuit import Microcircuit

    task = Microcircuit(**settings(options, seed))
    model = task.build_model()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.ResetKernel()
    nest.set(resolution=task.dt_ms, local_num_threads=options.threads, rng_seed=seed)
    begin = time.perf_counter()
    cells, first = {}, 0
    for item in model.of_role("recurrent"):
        values = {name: getattr(item.params, name) for name in nest.GetDefaults("iaf_psc_exp") if name in NEURON}
        cells[item.name] = nest.Create("iaf_psc_exp", item.size, {**values, "V_m": item.params.E_L})
    for item in model.backgrounds:
        source = nest.Create("poisson_generator", 1, {"rate": item.rate_hz})
        nest.Connect(source, cells[item.post.name], syn_spec={"weight": float(item.weight), "delay": task.dt_ms})
    for item in model.projections:
        low, high = item.delay_range
        mean, std = (task.dt_ms * number for number in item.delay_law.numbers)
        bounds = {"min": (low - 0.5) * task.dt_ms, "max": (high + 0.5) * task.dt_ms - 1e-9}
        nest.Connect(
            cells[item.pre.name],
            cells[item.post.name],
            {"rule": "fixed_total_number", "N": item.N},
            {
                "weight": nest.random.normal(*item.weight.numbers),
                "delay": nest.math.redraw(nest.random.normal(mean, std), **bounds),
            },
        )
    recorder = nest.Create("spike_recorder")
    for neurons in cells.values():
        nest.Connect(neurons, recorder)
    nest.Prepare()
    built = time.perf_counter()
    nest.Run(options.warm_up)
    start, meter = time.perf_counter(), energy.Meter()
    nest.Run(options.seconds * 1000.0 - options.warm_up)
    seconds, joules = time.perf_counter() - start, meter.measure_interval()
    nest.Cleanup()
    first = next(iter(cells.values())).tolist()[0]
    events = recorder.events
    return {
        "steps": np.rint(np.asarray(events["times"]) / task.dt_ms).astype(np.int64) - 1,
        "ids": np.asarray(events["senders"]) - first,
        "sizes": [item.size for item in model.of_role("recurrent")],
        "synapses": sum(item.N for item in model.projections),
        "build": built - begin,
        "seconds": seconds,
        "joules": joules,
        "dt": task.dt_ms,
    }


NEURON = ("C_m", "tau_m", "t_ref", "E_L", "V_th", "V_reset", "tau_syn_ex", "tau_syn_in", "I_e")
RUNS: dict[str, Callable[[argparse.Namespace, int], dict[str, Any] | None]] = {
    "NEST": run_nest,
    "pareprop": run_pareprop,
    "pareprop, learning": partial(run_pareprop, learn=True),
}


def work(options: argparse.Namespace, name: str, seed: int, path: Path) -> None:
    """Simulate in this process and write the spikes."""
    result = RUNS[name](options, seed)
    if result is not None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        part = path.with_suffix(".part.npz")
        np.savez_compressed(part, **result, memory=memory)
        os.replace(part, path)


def start(arguments: list[str], ranks: int, name: str, seed: int, path: Path) -> None:
    """Simulate in a separate process, or on ranks."""
    command = [sys.executable, __file__, *arguments, "--worker", json.dumps([name, seed, str(path)])]
    if name != "NEST" and ranks > 1:
        mpirun = Path(sys.executable).with_name("mpirun")  # of a virtual environment that is not activated
        command = [str(mpirun) if mpirun.exists() else "mpirun", "-n", str(ranks), *command]
    print(f"{name}, seed {seed} ...", flush=True)
    subprocess.run(command, check=True)


def statistics(path: Path, warm_up: float) -> tuple[list[Any], dict[str, float]]:
    """Return the statistics of the populations of a run, and its times."""
    from pareprop.plots.populations import measure_statistics
    from pareprop.tasks.potjans_diesmann import POPULATIONS

    with np.load(path) as data:
        steps, ids, sizes, dt = data["steps"], data["ids"], data["sizes"], float(data["dt"])
        times = {key: float(data[key]) for key in ("build", "seconds", "memory", "synapses")}
        times["n_steps"] = float(steps.max() + 1)
    order = np.argsort(steps, kind="stable")
    steps, ids, measured, first = steps[order], ids[order], [], 0
    for name, size in zip(POPULATIONS, sizes, strict=True):
        mine = (ids >= first) & (ids < first + size)
        n_steps = int(np.ceil((steps[-1] + 1) * dt / 100.0) * 100.0 / dt)
        measured.append(
            measure_statistics(name, steps[mine], ids[mine] - first, int(size), n_steps, dt, first=round(warm_up / dt))
        )
        first += size
    return measured, times


def numbers(item: Any) -> tuple[float, float, float]:
    """Return the means of rates, coefficients of variation and correlations."""
    rate, cv, correlation = (
        float(np.mean(values)) if len(values) else np.nan for values in (item.rates, item.cv, item.correlations)
    )
    return rate, cv, correlation


def write(options: argparse.Namespace, runs: dict[str, list[tuple[list[Any], dict[str, float]]]]) -> None:
    """Write and print the tables, draw the figure."""
    from scipy.stats import ks_2samp, ttest_ind

    from pareprop.runs.provenance import describe_environment

    with open(options.out / "microcircuit.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["population", "simulator", *(f"{c}{s}" for c in COLUMNS for s in ("", "_sd")), "seeds"])
        for k, item in enumerate(next(iter(runs.values()))[0][0]):
            for name, items in runs.items():
                values = np.array([numbers(measured[k]) for measured, _ in items])
                spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(3, np.nan)
                cells = [f"{value:.4g}" for pair in zip(values.mean(axis=0), spread, strict=True) for value in pair]
                cells = ["" if cell == "nan" else cell for cell in cells]
                table.writerow([item.name, name, *cells, len(values)])
                shown = (
                    f"{c} {a:>8}{f' ± {s}' * bool(s):<12}"
                    for c, a, s in zip(COLUMNS, cells[::2], cells[1::2], strict=True)
                )
                print(f"{item.name:5} {name:9} {' '.join(shown)}")
            pooled = [np.concatenate([measured[k].rates for measured, _ in items]) for items in runs.values()]
            if len(pooled) > 1:
                print(f"{item.name:5} distributions of rates differ by {ks_2samp(*pooled).statistic:.3f} (KS)")
            if len(pooled) > 1 and min(map(len, runs.values())) > 1:
                means = np.array([[numbers(measured[k]) for measured, _ in items] for items in runs.values()])
                chances = ttest_ind(means[0], means[1], equal_var=False).pvalue
                print(f"{item.name:5} chance of such differences: {', '.join(f'{p:.2f}' for p in chances)} (Welch)")
    with open(options.out / "times.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["simulator", "seed", "synapses", "build_s", "s_per_s", "memory_mib_of_a_process"])
        model_seconds = options.seconds - options.warm_up / 1000.0
        for name, items in runs.items():
            for seed, (_, times) in enumerate(items, 1):
                cells = [times["synapses"], times["build"], times["seconds"] / model_seconds, times["memory"]]
                table.writerow([name, seed, f"{cells[0]:.0f}", *(f"{cell:.4g}" for cell in cells[1:])])
                print(f"{name}, seed {seed}: build {cells[1]:.1f} s, {cells[2]:.2f} s per s, {cells[3]:.0f} MiB")
    (options.out / "environment.json").write_text(json.dumps(describe_environment(), indent=1) + "\n")
    draw(options, {name: [measured for measured, _ in items] for name, items in runs.items()})


def draw(options: argparse.Namespace, runs: dict[str, list[list[Any]]]) -> None:
    """Draw the distributions of both simulators side by side."""
    from matplotlib.figure import Figure

    from pareprop.plots import style

    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    axes = figure.subplots(1, 3)
    names = [item.name for item in next(iter(runs.values()))[0]]
    labels = ("rate (Hz)", "CV of intervals", "correlation of counts in 2 ms")
    for ax, label, key in zip(axes, labels, ("rates", "cv", "correlations"), strict=True):
        for name, items in runs.items():
            shift, color = (-0.2, style.GREY) if name == "NEST" else (0.2, style.BLUE)
            places = np.arange(len(names)) + shift
            values = [np.concatenate([getattr(measured[k], key) for measured in items]) for k in range(len(names))]
            line, box = {"color": color}, {"facecolor": color, "lw": 0}
            looks = {"medianprops": {"color": "white"}, "boxprops": box, "whiskerprops": line, "capprops": line}
            hidden = {"showfliers": False, "manage_ticks": False}
            ax.boxplot(values, positions=places, widths=0.34, whis=(5, 95), patch_artist=True, **hidden, **looks)
            means = [np.mean(value) if len(value) else np.nan for value in values]
            ax.plot(places, means, "o", color=style.BLACK, ms=2.5, zorder=5)
            ax.plot([], [], "s", color=color, label=name)
        ax.set_xticks(np.arange(len(names)), names, rotation=90)
        ax.set_ylabel(label)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    text = f"scale {options.scale:g}, in-degrees {options.indegrees:g}, seeds: {options.seeds}"
    text = f"microcircuit, {text}; dots: means, boxes: quartiles, whiskers: 5 to 95 %"
    figure.suptitle(text, x=0.01, ha="left", fontsize=8)
    figure.savefig(options.out / "microcircuit.png", dpi=150)
    print(f"figure: {options.out / 'microcircuit.png'}")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="neurons as a fraction of the full network")
    parser.add_argument("--indegrees", type=float, default=1.0, help="in-degrees as a fraction of the full network")
    parser.add_argument("--background", choices=("poisson", "constant"), default="poisson")
    parser.add_argument("--precision", choices=("single", "double"), default="single", help="of pareprop")
    parser.add_argument("--seconds", type=float, default=2.0, help="of the model, warm-up included")
    parser.add_argument("--warm-up", type=float, default=500.0, help="ms at the beginning that are left out")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of NEST")
    parser.add_argument("--ranks", type=int, default=1, help="of pareprop")
    parser.add_argument("--out", type=Path, default=Path("build/race"))
    parser.add_argument("--only", choices=SIMULATORS[:2], help="one simulator, nothing to compare with")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    """Run the missing simulations, then compare."""
    options = parse()
    if options.worker:
        name, seed, path = json.loads(options.worker)
        work(options, name, seed, Path(path))
        return
    if options.seconds * 1000.0 < options.warm_up + SAMPLE_MS:
        sys.exit(f"--seconds = {options.seconds:g} must be at least {(options.warm_up + SAMPLE_MS) / 1000.0:g}")
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [options.only] if options.only else SIMULATORS[:2]
    runs: dict[str, list[tuple[list[Any], dict[str, float]]]] = {name: [] for name in chosen}
    for seed in range(1, options.seeds + 1):
        for name, items in runs.items():
            path = options.out / f"{name}-{options.scale:g}-{options.indegrees:g}-{options.seconds:g}s-{seed}.npz"
            if not path.exists():
                start(sys.argv[1:], options.ranks, name, seed, path)
            items.append(statistics(path, options.warm_up))
    write(options, runs)


if __name__ == "__main__":
    main()
