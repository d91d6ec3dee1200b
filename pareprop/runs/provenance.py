"""Provenance of a run in `provenance.json`: versions, build, machine, configuration, seed, times and memory."""

from __future__ import annotations

import json
import math
import os
import platform
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, median_low
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .. import files
from ..errors import InputError
from ..installation import digest_sources
from ..kernels import LEVEL, build_info
from ..machine import count_cores, peak_rss_bytes, processor_name
from ..network.local import count_kept
from ..network.parameters import validate_values
from ..parallel import collectives, mpi
from ..parallel.mpi import Comm
from ..simulation.observer import Observer, Watched
from ..storage.disk import on_disk, remove_leftover
from ..timers import COMPUTE
from ..values import Values
from .counters import Counters

NAME = "provenance.json"
SHOWN = 64  # a part keeps values of single ranks, and nodes, of at most this many
JOULES_EVERY = 60.0  # seconds at most between looks at counters of joules, which start again after some minutes
MOST_PARTS = 100  # the oldest of more parts are joined into one
LIMIT = 2**25  # bytes; longer files are refused: a provenance file is several times smaller
PACKAGES = ("pareprop", "numpy", "h5py", "mpi4py", "pydantic", "Cython")
HOST_NAMES = "PAREPROP_HOST_NAMES"  # set to 1 to store host names


Number = Annotated[float, Field(ge=0, lt=2**63)]
Numbers = dict[str, Number]


class _Division(BaseModel):
    """A division of the neurons among ranks."""

    model_config = ConfigDict(extra="forbid", strict=True)

    after_iteration: int
    first_neurons: list[int]


class _Part(BaseModel):
    """Fields of a part that lines and reports read, as `Provenance` writes them."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    peak_rss_bytes: list[Annotated[int, Field(ge=0, lt=2**63)]] = []
    memory_of_ranks: Numbers = {}
    rank_seconds: list[Numbers] = []
    phases: Numbers = {}
    cuts: list[_Division] = []
    parts: int = Field(1, ge=1, lt=2**31)
    wall_seconds: Number = 0.0
    core_hours: Number = 0.0
    joules: Number = 0.0


def count_ranks_by_host(comm: Comm) -> Counter[str]:
    """Collective: return the number of ranks on each host, in the order of the hosts' first ranks."""
    return collectives.count_texts(comm, socket.gethostname())


def collect_facts(simulation: Watched) -> Values:
    """Collective: return the facts about a part of a run at its start."""
    comm, groups = simulation.world, simulation.replicas.count
    hosts, is_first = count_ranks_by_host(comm), comm is None or comm.rank == 0  # whose facts are written
    entries = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv[1:]),
        "python": platform.python_version(),
        "packages": {name: _read_version(name) for name in PACKAGES if is_first},
        "build": {"mode": build_info.mode, "flags": build_info.flags},
        "levels": dict(collectives.count_texts(comm, LEVEL)),
        "commit": _find_commit() if is_first else "",
        "sources": {"package": digest_sources() if is_first else "", "kernels": build_info.sources},
        "mpi": "" if comm is None else _describe_mpi(),
        "interconnect": "" if comm is None else mpi.describe_interconnect(),
        "ranks": groups * simulation.exchange.size,
        "replicas": groups,
        "nodes": len(hosts),
        "ranks_per_node": list(hosts.values())[:SHOWN],
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": count_cores(),
        "first_iteration": simulation.iteration,
    }
    if kept := count_kept(simulation.model):
        entries["kept_per_neuron_and_step"] = kept
    if os.environ.get(HOST_NAMES) == "1":
        entries["hosts"] = list(hosts)
    return entries


def describe_environment(comm: object = None) -> dict[str, str]:
    """Return the environment of a measurement: date, processor, versions, MPI, flags; all as text."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": processor_name(),
        "level": LEVEL,
        "versions": ", ".join([f"Python {platform.python_version()}", *(f"{p} {_read_version(p)}" for p in PACKAGES)]),
        "mpi": "" if comm is None else _describe_mpi(),
        "flags": f"{build_info.mode}: {build_info.flags}",
    }


def _read_version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _describe_mpi() -> str:
    from mpi4py import MPI  # loaded already, because a communicator exists

    return MPI.Get_library_version().partition("\n")[0].partition(",")[0].strip("\0 ")


def _find_commit() -> str:
    """Return the commit of the checkout of this package, with a + if files differ from it; "" outside of a checkout."""
    here = Path(__file__).parents[1]
    if not (here / ".git").exists():
        return ""
    try:
        git = ["git", "-C", str(here)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


class Provenance(Observer):
    """Writes each part of a run, from its start or a resume to its end, into `provenance.json`.

    `about` has the facts that all parts have in common: task, configuration digest, seed. `counters` measure the energy
    of the part.
    """

    movable = True

    def __init__(self, directory: Path, about: Values, counters: Counters) -> None:
        self.parts: list[Values] = []
        self.path, self.about, self._counters = directory / NAME, about, counters
        self._clock = self._looked = time.monotonic()

    def start(self, simulation: Watched) -> None:
        """Write the part at its start, so that a killed run has an entry."""
        comm, before = simulation.world, list[Values]()
        with collectives.share_errors(comm):
            if (comm is None or comm.rank == 0) and simulation.iteration and self.path.is_file():
                before = read(self.path.parent)["parts"]
        self.parts = [*_shorten_parts(before), collect_facts(simulation)]
        self._write(simulation, "running")

    def after_batch(self, simulation: Watched, first: int, n: int, phase: str) -> None:
        """Look at the counters of joules before they can have started again twice."""
        if (now := time.monotonic()) - self._looked > JOULES_EVERY:
            self._counters.stop_counting()
            self._looked = now

    def finish(self, simulation: Watched) -> None:
        """Write the end of the part."""
        self._write(simulation, "ended")

    def failed(self, simulation: Watched, problem: Exception) -> str:
        """Write the reason of the failure, if the disk allows."""
        if not self.parts or not self.path.parent.exists():  # it failed before the first iteration, or was moved
            return ""
        try:
            self._write(simulation, f"failed: {problem}")
        except Exception as another:
            return f"{another}" if str(another) != str(problem) else ""
        return ""

    def _write(self, simulation: Watched, state: str) -> None:
        self._counters.stop_counting()
        comm, own = (
            simulation.world,
            (peak_rss_bytes(), split_seconds(simulation.timers.seconds), self._counters.joules),
        )
        measures = [own] if comm is None else comm.gather(own)
        with on_disk(comm, "provenance", self.path):
            if measures is not None:  # on rank 0
                self._end_part(simulation, state, *zip(*measures, strict=True))
                part = remove_leftover(self.path.with_suffix(".part"))
                part.write_text(json.dumps(self.about | {"parts": self.parts}, indent=1) + "\n")
                os.replace(part, self.path)

    def _end_part(
        self,
        simulation: Watched,
        state: str,
        peaks: Sequence[int],
        seconds: Sequence[dict[str, float]],
        joules: Sequence[float],
    ) -> None:
        """Write bytes and seconds of all ranks, and the `state` at the end, into the latest part."""
        slowest = max(seconds, key=lambda share: share["compute"])
        wall = time.monotonic() - self._clock
        self.parts[-1] |= {
            "state": state,
            "last_iteration": simulation.iteration,
            "peak_rss_bytes": list(peaks[:SHOWN]),
            "memory_of_ranks": _summarize_memory(peaks),
            "wall_seconds": round(wall, 3),
            "core_hours": round(wall * len(peaks) / 3600.0, 6),
            "phases": {name: round(value, 6) for name, value in simulation.timers.seconds.items()},
            "slowest_rank_seconds": {name: round(value, 6) for name, value in slowest.items()},
            "rank_seconds": [{name: round(value, 6) for name, value in share.items()} for share in seconds[:SHOWN]],
            "mean_rank_seconds": {name: round(fmean(share[name] for share in seconds), 6) for name in slowest},
        }
        if not math.isnan(taken := math.fsum(joules)):
            self.parts[-1]["joules"] = round(taken, 3)
        if simulation.exchange.size > 1:
            self.parts[-1] |= {"rounds": _describe_intervals(simulation), "cuts": _describe_bounds(simulation)}


def _summarize_memory(peaks: Sequence[int]) -> dict[str, int]:
    """Return the lowest, the median and the highest bytes of all ranks, and the ranks of the lowest and highest."""
    ordered = sorted(peaks)
    low, middle, high = ordered[0], median_low(ordered), ordered[-1]
    return {
        "lowest": low,
        "lowest_rank": peaks.index(low),
        "median": middle,
        "highest": high,
        "highest_rank": peaks.index(high),
    }


def _shorten_parts(parts: list[Values]) -> list[Values]:
    """Return earlier parts, shortened: values of at most `SHOWN` ranks and nodes, the oldest of many parts joined."""
    for part in parts:
        for name in ("peak_rss_bytes", "ranks_per_node", "hosts"):
            if isinstance(part.get(name), list):
                part[name] = part[name][:SHOWN]
    while len(parts) >= MOST_PARTS:
        parts = [_join_parts(*parts[:2]), *parts[2:]]
    return parts


def _join_parts(first: Values, second: Values) -> Values:
    """Return two successive parts joined into one, with the seconds of both."""
    phases, later = first.get("phases", {}), second.get("phases", {})
    sums = {key: first[key] + second[key] for key in ("core_hours", "joules") if key in first and key in second}
    second = {key: value for key, value in second.items() if key not in ("core_hours", "joules")}  # else of one of them
    return (
        second
        | sums
        | {key: first[key] for key in ("started", "first_iteration") if key in first}
        | {
            "parts": count_parts(first) + count_parts(second),
            "wall_seconds": round(first.get("wall_seconds", 0.0) + second.get("wall_seconds", 0.0), 3),
            "phases": {name: round(phases.get(name, 0.0) + later.get(name, 0.0), 6) for name in phases | later},
        }
    )


def count_parts(part: Values) -> int:
    """Return the number of parts of a run that were joined into this one."""
    return part.get("parts", 1)


def _describe_intervals(simulation: Watched) -> Values:
    """Return how often ranks of rank 0's node exchanged spikes, and nodes messages, in this part of a run."""
    engine, nodes = simulation.engine, simulation.exchange.node_starts
    meeting = engine.channel.meeting
    facts: Values = {"within_nodes": meeting.n_within, "steps_within_nodes": engine.steps_within_nodes}
    if nodes is None:
        return facts
    return facts | {
        "between_nodes": meeting.n_between,
        "steps_between_nodes": engine.round_steps,
        "nodes": len(nodes) - 1,
        "sending": simulation.exchange.sending,
        "received_bytes": simulation.exchange.received_bytes,
    }


def _describe_bounds(simulation: Watched) -> list[Values]:
    """Return each division of the neurons among ranks: first neuron of each rank, and the iteration after which."""
    return [
        {"after_iteration": done, "first_neurons": bounds[:-1][:SHOWN].tolist()} for done, bounds in simulation.cuts
    ]


def split_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds that a rank computed, waited for others, and exchanged spikes."""
    compute = sum(seconds.get(name, 0.0) for name in COMPUTE)
    transfer = sum(seconds.get(name, 0.0) for name in ("communicate", "pack", "look_up"))
    return {"compute": compute, "wait": seconds.get("wait", 0.0), "transfer": transfer}


def read(directory: Path) -> Values:
    """Return the content of `provenance.json` of a run.

    Raises
    ------
    InputError
        If the file is missing, too long or malformed.
    """
    path = directory / NAME
    try:
        content = json.loads(files.read(files.require_own_file(path), LIMIT))
        if not isinstance(content, dict) or not all(isinstance(part, dict) for part in content["parts"]):
            raise ValueError("no parts")
        for part in content["parts"]:
            validate_values(_Part, part, f"{path} is malformed")
    except OSError as problem:
        raise InputError(f"{directory} is not a run directory: {path}: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise InputError(f"{path} is malformed: {problem}") from None
    return content


def _format_bounds(value: Values) -> str:
    """Return the first neurons of ranks as text."""
    return f"after iteration {value['after_iteration']} ranks begin at {', '.join(map(str, value['first_neurons']))}"


def _memory_lines(value: Values) -> Iterator[str]:
    """Yield the memory of ranks as texts."""
    for name in ("lowest", "median", "highest"):
        if name in value:
            rank = f" (rank {value[f'{name}_rank']})" if f"{name}_rank" in value else ""
            yield f"{name} {value[name] / 2**20:.0f} MiB{rank}"


def describe_iterations(part: Values) -> str:
    """Return the iterations of a part as text; of one that runs or was killed the last is not known."""
    last = "?" if part.get("state") == "running" else part.get("last_iteration")  # written at the end
    return f"iterations {part.get('first_iteration')} to {last}"


def format_lines(content: Values) -> list[str]:
    """Return the provenance as lines of text."""
    texts = [f"{key}: {value}" for key, value in content.items() if key != "parts"]
    done = 0
    for part in content["parts"]:
        first, done = done + 1, done + count_parts(part)
        which = f"part {done}" if first == done else f"parts {first} to {done}"
        texts.append(f"{which}: {describe_iterations(part)}")
        for key, value in part.items():
            if key in ("rank_seconds", "parts"):  # for the report
                continue
            if key == "peak_rss_bytes":
                value = ", ".join(f"{peak / 2**20:.0f} MiB" for peak in value) + " (by rank)"
            elif key == "memory_of_ranks":
                value = ", ".join(_memory_lines(value))
            elif key == "cuts":
                value = "; ".join(map(_format_bounds, value))
            elif isinstance(value, dict):
                value = ", ".join(f"{name} {entry}" for name, entry in value.items())
            if not key.endswith("_iteration") and value != "":
                texts.append(f"    {key}: {value}")
        if "core_hours" in part and "joules" not in part:
            texts.append("    joules: not told by the counters of all its machines")
    return texts
