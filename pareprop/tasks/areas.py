"""Tables of cortical areas with four layers each, from a user's file or made up, and networks of some of the areas.

Weights, delays and input follow M. Schmidt et al., PLoS Comput. Biol. 14 (2018) e1006359, doi
10.1371/journal.pcbi.1006359.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import elementary, files
from ..errors import InputError, describe
from ..values import AnyValue
from . import potjans_diesmann as column
from .circuit import Circuit, Poisson

INHIBITION = -11.0  # weight of an inhibitory synapse, relative to an excitatory one
EXTERNAL_HZ = 10.0  # of each source outside these areas
SPEED = 3.5  # mm/ms, between areas
READ = "L5E"  # population of the last area that readouts receive from
LIMIT = 2**26  # longer files of tables, in bytes, are refused
SOURCE = "the tables of macaque cortex come from github.com/INM-6/multi-area-model (Schmidt et al. 2018), see tasks"

# in-degrees of the made-up areas, target: source, from an area onto the next one, and back; half if one is between
FORWARD = {
    "L23E": {"L23E": 80},
    "L23I": {"L23E": 80},
    "L4E": {"L23E": 500, "L5E": 50},
    "L4I": {"L23E": 300},
    "L5E": {"L23E": 60},
    "L6E": {"L23E": 50},
}
BACK = {
    "L23E": {"L5E": 60, "L6E": 60},
    "L23I": {"L5E": 40, "L6E": 40},
    "L5E": {"L5E": 80, "L6E": 40},
    "L5I": {"L6E": 40},
    "L6E": {"L6E": 100},
    "L6I": {"L6E": 60},
}
DISTANCE = 15.0  # mm, between neighbours
RATES_HZ = (
    0.8782, 1.442, 5.225, 2.991, 1.666, 4.452, 0.2723, 4.17,
    0.9474, 1.474, 5.573, 3.097, 1.826, 4.516, 0.2772, 4.19,
    0.9897, 1.482, 5.776, 3.158, 1.828, 4.549, 0.2787, 4.196,
)  # fmt: skip


@dataclass(frozen=True)
class Tables:
    """Numbers of a network of n populations in several areas.

    `populations` has area and name of each; `sizes` (int64), `external` (in-degrees from outside these areas) and
    `rates_hz` (mean rates in the ground state) have shape (n,); `indegrees` has shape (n, n), target and source;
    `distances` in mm has shape (n_areas, n_areas).
    """

    populations: tuple[tuple[str, str], ...]
    sizes: np.ndarray
    external: np.ndarray
    rates_hz: np.ndarray
    indegrees: np.ndarray
    distances: np.ndarray

    @property
    def areas(self) -> tuple[str, ...]:
        """Names of the areas, each once."""
        return tuple(dict.fromkeys(area for area, _ in self.populations))


@functools.cache
def make_up_tables() -> Tables:
    """Return three areas A, B and C: each the microcircuit, with made-up synapses between them.

    The rates are the ground state's (chi = 1) by mean-field theory (N. Fourcaud, N. Brunel, Neural Comput. 14 (2002)
    2057-2110, doi 10.1162/089976602320264015).
    """
    names, n = column.POPULATIONS, len(column.POPULATIONS)
    indegrees = np.kron(np.eye(3), column.list_indegrees())
    for post in range(3):
        for pre in range(3):
            synapses = {} if pre == post else FORWARD if pre < post else BACK
            for target, sources in synapses.items():
                for source, number in sources.items():
                    place = post * n + names.index(target), pre * n + names.index(source)
                    indegrees[place] = number / (1 if abs(post - pre) == 1 else 2)
    return Tables(
        populations=tuple((area, name) for area in "ABC" for name in names),
        sizes=np.tile(column.SIZES, 3),
        external=np.tile(column.BACKGROUND_INDEGREE, 3).astype(float),
        rates_hz=np.array(RATES_HZ),
        indegrees=indegrees,
        distances=DISTANCE * np.abs(np.subtract.outer(np.arange(3), np.arange(3))),
    )


@functools.cache
def read_tables(path: Path | None) -> Tables:
    """Return the tables of a file, or the made-up ones for None. An unreadable or incomplete file raises `InputError`.

    The file is JSON with the tables of the published model by its names of areas and populations ("23E"): `area_list`;
    `neuron_numbers`, area, population; `indegrees`, area and population of the target, then of the source, with
    synapses from outside under "external", "external"; `distances`, area, area, in mm; `rates`, area, population, in
    Hz.
    """
    if path is None:
        return make_up_tables()
    try:
        return _parse_tables(files.parse_json(files.read(path, LIMIT).decode()))
    except OSError as problem:
        reason = f"cannot be read: {problem.strerror or problem}"
    except KeyError as problem:
        reason = f"has no {problem}"
    except (LookupError, TypeError, ValueError, AttributeError) as problem:
        reason = f"is not such a file: {describe(problem)}"
    raise InputError(f"tables = '{path}': {reason}; {SOURCE}")


def _parse_tables(found: AnyValue) -> Tables:
    names, numbers, synapses = found["area_list"], found["neuron_numbers"], found["indegrees"]
    places = [(area, name[1:]) for area in names for name in column.POPULATIONS]
    places = [(area, name) for area, name in places if numbers[area].get(name, 0)]
    if not places:
        raise ValueError("no area has neurons")
    tables = Tables(
        populations=tuple((area, f"L{name}") for area, name in places),
        sizes=np.array([numbers[area][name] for area, name in places]).astype(int),
        external=np.array([synapses[area][name]["external"]["external"] for area, name in places], float),
        rates_hz=np.array([found["rates"][area][name] for area, name in places], float),
        indegrees=np.array(
            [[synapses[area][name][source][pre] for source, pre in places] for area, name in places], float
        ),
        distances=np.array([[found["distances"][area][other] for other in names] for area in names], float),
    )
    for name in ("sizes", "external", "rates_hz", "indegrees", "distances"):
        values = getattr(tables, name)
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"{name.removesuffix('_hz')} must be finite and at least 0")
    if (tables.distances + np.eye(len(names)) <= 0).any():
        raise ValueError("distances between areas must be above 0")
    return tables


def list_weights(tables: Tables, chi: float, chi_inhibitory: float) -> np.ndarray:
    """Return the mean weights in pA of the network of all areas, (n, n): target, source; see `circuit`."""
    areas, names = (np.array(part) for part in zip(*tables.populations, strict=True))
    excites = np.char.endswith(names, "E")
    weights = column.WEIGHT * np.where(excites, 1.0, INHIBITION) * np.ones((len(names), 1))
    source, target = column.DOUBLED
    weights[(names[:, None] == target) & (names == source)] *= 2.0
    between = column.WEIGHT * chi * np.where(excites, 1.0, chi_inhibitory)[:, None]
    return np.where(areas[:, None] == areas, weights, between)


@functools.cache
def build_circuit(
    areas: tuple[str, ...], chi: float, chi_inhibitory: float, delay_spread: float, path: Path | None = None
) -> Circuit:
    """Return the network of some areas; Poisson spikes with the rates of the ground state replace the others.

    The thalamus projects to the first area, and readouts receive from the last one. `chi` scales the weights between
    areas, `chi_inhibitory` further those onto inhibitory neurons. `delay_spread` is the standard deviation of delays
    between areas, relative to their mean. `path` is a file for `read_tables`.
    """
    table = read_tables(path)
    weights = list_weights(table, chi, chi_inhibitory)
    mine = np.array([k for area in areas for k, (other, _) in enumerate(table.populations) if other == area])
    others = np.setdiff1d(np.arange(len(weights)), mine)
    own_areas, names = zip(*(table.populations[k] for k in mine), strict=True)
    excites = np.array([name.endswith("E") for name in names])
    delays = np.array([column.DELAY[bool(value)] for value in excites]) * np.ones((len(mine), 1, 1))
    place = np.array([table.areas.index(area) for area in own_areas])
    apart = place[:, None] != place
    mean = table.distances[np.ix_(place, place)] / SPEED
    delays[apart] = np.stack([mean, delay_spread * mean], axis=-1)[apart]
    arriving = elementary.total_rows(table.indegrees[np.ix_(mine, others)] * table.rates_hz[others])
    thalamic = dict(zip(column.POPULATIONS, column.list_thalamic_indegrees(), strict=True))
    return Circuit(
        names=tuple(map("-".join, zip(own_areas, names, strict=True))),
        areas=own_areas,
        excitatory=excites,
        sizes=table.sizes[mine],
        indegrees=table.indegrees[np.ix_(mine, mine)],
        weights=weights[np.ix_(mine, mine)],
        delays=delays,
        poisson=(
            Poisson(table.external[mine] * EXTERNAL_HZ, np.full(len(mine), column.WEIGHT)),
            Poisson(arriving, column.WEIGHT * chi * np.where(excites, 1.0, chi_inhibitory), "other areas"),
        ),
        thalamic=np.array([thalamic[name] * (area == areas[0]) for area, name in zip(own_areas, names, strict=True)]),
        rates_hz=table.rates_hz[mine],
        read=f"{areas[-1]}-{READ}",
    )
