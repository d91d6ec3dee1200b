"""Random small networks over all axes: one digest, or one line that refuses them, however they are trained.

Each network is trained alone at two levels of the processor, on some ranks and pretended nodes, with cuts of ids that
are drawn or change as it learns, and once more in two parts on other ranks, the second from the checkpoint of the
first. Four ranks are started once for many networks: a start takes longer than a network.
"""

from __future__ import annotations

import faulthandler
import math
import os
import random
import re
import shutil
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import any_network
import launch
import pytest
from any_network import BLOCK, Network

import pareprop
from pareprop import Model, Simulation, kernels, machine
from pareprop.algorithms.prefix import arrays as prefix_arrays
from pareprop.errors import InputError, ParepropError
from pareprop.network import partition_bounds, sharing, synapse_table
from pareprop.parallel import launcher
from pareprop.parallel.collectives import gather_values
from pareprop.parallel.exchange import SENDING_MODES, Alone, Exchange, Ranks
from pareprop.parallel.node import number_by_node, split_by_node
from pareprop.runs.compare import compare_directories
from pareprop.runs.phases import Phases
from pareprop.storage import checkpoint_read, repartition
from pareprop.storage.checkpoint_observer import Checkpoints
from pareprop.storage.repartition import Repartition

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

RANKS, FEWEST = 4, 5  # networks, however slow the machine is
LONGEST = 1000.0  # seconds of a test
SECONDS = 600  # of one network, on a busy machine
HERE = Path(__file__)
START = """
import os, sys
os.environ["PAREPROP_LEVEL"] = sys.argv[1].split(",")[int(os.environ["OMPI_COMM_WORLD_RANK"])]
import test_random_networks as here
here.try_networks(*map(int, sys.argv[2:4]), float(sys.argv[4]), sys.argv[5])
"""
Outcome = dict[str, Any]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Long tries are tests of their own, as a test that takes half an hour is taken for a hang."""
    parts = math.ceil(float(metafunc.config.getoption("--fuzz-seconds") or 0.0) / LONGEST)
    metafunc.parametrize("part", range(1 if "PAREPROP_FUZZ_NETWORK" in os.environ else max(parts, 1)))


def test_random_networks(fuzz_seconds: float, part: int, tmp_path: Path) -> None:
    """Numbers follow PAREPROP_FUZZ_SEED; with PAREPROP_FUZZ_NETWORK one network alone is tried."""
    end, tried, failed = time.monotonic() + min(fuzz_seconds - part * LONGEST, LONGEST), 0, []
    only = os.environ.get("PAREPROP_FUZZ_NETWORK")
    number = int(only) if only else int(os.environ.get("PAREPROP_FUZZ_SEED", "0")) * 1_000_000 + part * 100 * BLOCK
    while tried < (1 if only else FEWEST) or (not only and time.monotonic() < end - 1.0):
        last = number + 1 if only else (number // BLOCK + 1) * BLOCK
        folder = tmp_path / str(number)
        folder.mkdir()
        done = start(number, last, max(end - time.monotonic(), 0.0), folder)
        begun = [int(found) for found in re.findall(r"^network (\d+)$", done.stdout, re.MULTILINE)]
        failed += re.findall(r"^FAILED .*(?:\n  .*)*", done.stdout, re.MULTILINE)
        if done.returncode or not begun:
            failed.append(
                f"FAILED network {begun[-1] if begun else number}: exit {done.returncode}\n{done.stderr[-6000:]}"
            )
        tried += len(begun)
        number = begun[-1] + 1 if begun else last
        shutil.rmtree(folder)
        print(*re.findall(r"^told .*", done.stdout, re.MULTILINE), sep="\n", flush=True)
    again = "PAREPROP_FUZZ_NETWORK=NUMBER pytest -n 0 tests/fuzz/test_random_networks.py --all"
    assert not failed, f"{len(failed)} of {tried} networks; {again}\n" + "\n".join(failed)


def start(first: int, last: int, seconds: float, folder: Path) -> Any:
    """Try networks [first, last) on ranks, of which each has a level of the processor."""
    known = [name for name, (_, sets) in kernels.build_info.levels.items() if set(sets) <= machine.read_instructions()]
    drawn = random.Random(f"levels {first // BLOCK}")
    levels = ",".join([known[-1], *(drawn.choice(known) for _ in range(RANKS - 1))])
    path = {"PYTHONPATH": f"{HERE.parent}{os.pathsep}{HERE.parents[1]}"}
    arguments = [levels, first, last, seconds, folder]
    return launch.mpirun(RANKS, "-c", START, *arguments, env=path, timeout=seconds + 2 * SECONDS)


# ---- on ranks --------------------------------------------------------------------------------------------------------


def try_networks(first: int, last: int, seconds: float, folder: str) -> None:
    """Collective: try networks one after the other while there is time, at least `FEWEST`; print what failed."""
    from mpi4py import MPI

    world, end, told = MPI.COMM_WORLD, time.monotonic() + seconds, Counter[str]()
    warnings.simplefilter("ignore")
    for number in range(first, last):
        if not world.bcast(number < first + FEWEST or time.monotonic() < end):
            break
        if world.rank == 0:
            print(f"network {number}", flush=True)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        try:
            problems, counts = try_one(any_network.draw_network(number), world, Path(folder))
        except BaseException:
            print(f"rank {world.rank} of {number}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)
            world.Abort(1)
            raise
        told.update(counts)
        if world.rank == 0 and problems:
            shown = "\n  ".join([*problems, *str(any_network.draw_network(number)).splitlines()])
            print(f"FAILED network {number}: {shown}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    if world.rank == 0:
        print(f"told {dict(told)}", flush=True)


def try_one(net: Network, world: Any, folder: Path) -> tuple[list[str], Counter[str]]:
    """Collective: train a network in all ways; return on rank 0 what is wrong, and counts of what was tried."""
    draw, place, problems = random.Random(f"ways {net.number}"), folder / str(net.number), list[str]()
    told: Counter[str] = Counter()

    def look(what: str, found: Outcome | None, whole: Outcome | None) -> Outcome | None:
        """Compare what ranks found with `whole`, by default with the first of them; return it."""
        everybodys = [item for item in wait_and_gather(world, found) if item is not None]
        expected = whole or everybodys[0]
        if whole and len({str(item) for item in everybodys}) == 1:
            # of several mistakes of a network ranks may tell another one first, all the same
            pair = expected, everybodys[0]
            expected, one = ({"code": item["code"]} if "refused" in item else item for item in pair)
            everybodys = [one]
        for rank, item in enumerate(everybodys):
            different = [key for key in {**expected, **item} if item.get(key) != expected.get(key)]
            if different:
                shown = "; ".join(f"{key} {item.get(key)!r:.900}, not {expected.get(key)!r:.900}" for key in different)
                problems.append(f"{what}, rank {rank}: {shown}")
        return expected

    alone = train(net, Alone(), place / f"alone{world.rank}") if world.rank < 2 else None
    whole = look("at two levels", alone, None)
    assert whole is not None
    if refused := whole.get("refused", ""):
        told[f"refused: {without_numbers(whole)['refused'][:70]}"] += 1
        if "\n" in refused or len(refused) > 2500:
            problems.append(f"refused in more than a line: {refused}")
    else:
        told["trained"] += 1
        told["spiked"] += any(rate > 0 for rate in whole["rates"])
    surroundings = [
        draw_surroundings(draw, net, n)
        for n in (draw.randint(2, RANKS), draw.randint(1, RANKS), draw.randint(1, RANKS))
    ]
    first: Outcome | None = None
    for k, (what, part) in enumerate(
        (("on ranks", {}), ("its first part", {"until": net.until}), ("resumed", {"restart": True}))
    ):
        around, target = surroundings[k], place / ("ranks" if k == 0 else "parts")
        split = world.Split(0 if world.rank < around["ranks"] else 1, world.rank)
        found = None
        if world.rank < around["ranks"]:
            with surrounded(around, world.rank, net.number):
                numbered = number_by_node(split, split_by_node(split))
                exchange = Ranks(numbered, around["sending"]) if split.size > 1 else Alone()
                found = train(net, exchange, target, **part | ({"replicas": around["replicas"]} if k == 0 else {}))
                del exchange
        split.Free()
        if k == 1:  # which may end before what refuses the whole one
            first = look(f"{what} {around}", found, None)
        else:  # after a first part that was refused there may be nothing to resume
            look(f"{what} {around}", found, None if k == 2 and "refused" in (first or {}) else whole)
        if world.rank == 0 and net.in_files and k != 1 and not problems and "refused" not in whole:
            problems += [f"{what} {around}: {line}" for line in compare_directories(place / "alone0", target)]
    wait_and_gather(world, None)
    if world.rank == 0:
        shutil.rmtree(place, ignore_errors=True)
    return problems, told


def without_numbers(found: Outcome) -> Outcome:
    """Return what was found, in a refusal without numbers, and without the rank that met the problem."""
    if "refused" not in found:
        return found
    return found | {"refused": re.sub(r"-?[0-9][0-9.e+-]*", "N", re.sub(r" \(rank \d+\)", "", found["refused"]))}


def wait_and_gather(world: Any, found: Outcome | None) -> list[Outcome | None]:
    """Collective: return what all ranks found; ranks that wait for others leave them the processor."""
    request = world.Ibarrier()
    while not request.Test():
        time.sleep(0.002)
    return world.allgather(found)


def draw_surroundings(draw: random.Random, net: Network, n: int) -> dict[str, Any]:
    """Return what must not matter to a training on `n` ranks."""
    size = sum(table["size"] for role, table in net.populations if role == "neurons")
    given = draw.random() < 0.3 and n > 1
    replicated = net.model["optimizer"].get("batch_size", 1) >= 4 and net.settings.get("reset", True)
    replicated = replicated and net.model.get("loss") != "own"
    replicated = replicated and not any(role == "currents" for role, _ in net.populations)
    return {
        "ranks": n,
        "per_node": draw.choice(["", "1", "2"]),
        "sending": draw.choice(SENDING_MODES),
        "cuts": ",".join(map(str, sorted(draw.randint(0, size) for _ in range(n - 1)))) if given else "",
        "share_above": "0" if given or draw.random() < 0.85 else "",
        "anew": draw.random() < 0.5,
        "rows": draw.choice([0, synapse_table.FEWEST_ROWS]),
        "cells": draw.choice([0, prefix_arrays.FEW_CELLS]),
        "replicas": 2 if replicated and not given and n % 2 == 0 and draw.random() < 0.6 else 1,  # cuts are of a group
    }


@contextmanager
def surrounded(around: dict[str, Any], rank: int, number: int) -> Iterator[None]:
    """A block in these surroundings. Neurons are shared anew after each look, by seconds that are drawn."""
    clock, time_of = random.Random(f"seconds {number} {rank}"), [0.0]

    def seconds(_: object) -> float:
        time_of[0] += clock.uniform(0.1, 3.0)
        return time_of[0]

    names = {"PAREPROP_RANKS_PER_NODE": "per_node", partition_bounds.VARIABLE: "cuts", sharing.VARIABLE: "share_above"}
    values = [
        (repartition, "PICOSECONDS_PER_REPARTITION", -(10**30)),
        (repartition, "LEAST_SAVING", -1e9),
        (repartition, "sum_compute_seconds", seconds),
    ]
    with pytest.MonkeyPatch.context() as patch:
        for variable, name in names.items():
            patch.setenv(variable, around[name])
        for module, name, value in values if around["anew"] else []:
            patch.setattr(module, name, value)
        patch.setattr(synapse_table, "FEWEST_ROWS", around["rows"])
        patch.setattr(prefix_arrays, "FEW_CELLS", around["cells"])
        yield


def train(net: Network, exchange: Exchange, folder: Path, **options: Any) -> Outcome:
    """Collective: train a network; return what does not depend on ranks, or how it was refused."""
    try:
        model, task = net.build()
        if net.in_files:
            done = pareprop.run(
                model, task, folder, exchange=exchange, figures="none", quiet=True, **(net.training | options)
            )
            simulation, validations, test = done.simulation, done.validations, done.test
        else:
            simulation, phases = train_in_memory(net, model, task, exchange, folder, **options)
            validations, test = phases.history.validations, phases.test
        digest = gather_values(exchange.comm, simulation.hexdigest())[0]
    except ParepropError as problem:
        code = 2 if isinstance(problem, InputError) else 3
        return {"refused": re.sub("; (safe|no checkpoint).*", "", str(problem)), "code": code}
    return {
        "digest": digest,
        "losses": simulation.losses,
        "rates": simulation.rates,
        "validations": validations,
        "test": None if test is None else (test.value, test.losses),
        "moves": simulation.moves,
        "algorithms": simulation.algorithms,
    }


def train_in_memory(
    net: Network,
    model: Model,
    task: Any,
    exchange: Exchange,
    folder: Path,
    until: int | None = None,
    restart: bool = False,
    replicas: int = 1,
) -> tuple[Simulation, Phases]:
    """Collective: do what `pareprop.run` does, with no files but a checkpoint of a training that goes on."""
    last = net.training["iterations"]
    usual = {
        "eta_validate": 0.0,
        "eta_test": 0.0,
        "stop_below": 0.0,
        "patience": 0,
        "batch_size": model.optimizer.batch_size,
    }
    phases, checkpoints = Phases(SimpleNamespace(**(usual | net.training)), last), folder / "checkpoints"
    observers = [phases, *([Checkpoints(checkpoints, {}, until)] if until else []), Repartition(until or last)]
    if restart:
        model.rates_hz = checkpoint_read.measured_rates(checkpoints, exchange)
    group = launcher.split_into_replicas(exchange, replicas)
    simulation = Simulation(model, task, group, observers, settings=task.make_settings())
    if restart:
        checkpoint_read.load(simulation, checkpoints, {})
    simulation.train(until or last)
    return simulation, phases
