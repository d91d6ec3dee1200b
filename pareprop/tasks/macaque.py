"""The tables of 32 vision-related areas of macaque cortex, and networks of some of them; `macaque.txt` has the sources.

Neurons, delays and input are those of M. Schmidt et al., PLoS Comput. Biol. 14 (2018) e1006359,
doi 10.1371/journal.pcbi.1006359.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import elementary
from . import potjans_diesmann as column
from .circuit import Circuit, Poisson

AREAS = (
    "V1", "V2", "VP", "V3", "V3A", "MT", "V4t", "V4", "VOT", "MSTd", "PIP", "PO", "DP", "MIP", "MDP", "VIP", "LIP",
    "PITv", "PITd", "MSTl", "CITv", "CITd", "FEF", "TF", "AITv", "FST", "7a", "STPp", "STPa", "46", "AITd", "TH",
)  # fmt: skip
INHIBITION = -11.0  # weight of an inhibitory synapse, relative to an excitatory one
EXTERNAL_HZ = 10.0  # of each source outside these areas
SPEED = 3.5  # mm/ms, between areas
READ = "L5E"  # population of the last area that readouts listen to


@dataclass(frozen=True)
class Tables:
    """What `macaque.txt` holds.

    Attributes
    ----------
    populations : tuple
        Area and population, (n,).
    sizes : np.ndarray
        int64 (n,), numbers of neurons.
    external : np.ndarray
        float64 (n,), in-degrees from outside these areas.
    rates_hz : np.ndarray
        float64 (n,), mean rates in the ground state.
    indegrees : np.ndarray
        float64 (n, n), target and source.
    distances : np.ndarray
        float64 (32, 32), mm.
    """

    populations: tuple[tuple[str, str], ...]
    sizes: np.ndarray
    external: np.ndarray
    rates_hz: np.ndarray
    indegrees: np.ndarray
    distances: np.ndarray


@functools.cache
def read_tables() -> Tables:
    """Return the tables of all areas."""
    lines = [line.split() for line in Path(__file__).with_suffix(".txt").read_text().splitlines() if line[0] != "#"]
    rows = [words for words in lines if words[0] != "distances"]
    place = {(area, name): k for k, (area, name, *_) in enumerate(rows)}
    indegrees = np.zeros((len(rows), len(rows)))
    for k, (_, _, _, _, _, *groups) in enumerate(rows):
        for area, _, items in (group.partition(":") for group in groups):
            for name, _, number in (item.partition("=") for item in items.split(",")):
                indegrees[k, place[area, name]] = float(number)
    distances = np.zeros((len(AREAS), len(AREAS)))
    for k, (_, _, *numbers) in enumerate(words for words in lines if words[0] == "distances"):
        distances[k, :k] = distances[:k, k] = [float(number) for number in numbers]
    sizes, external, rates = (np.array([float(words[k]) for words in rows]) for k in (2, 3, 4))
    return Tables(tuple(place), sizes.astype(int), external, rates, indegrees, distances)


def list_weights(chi: float, chi_inhibitory: float) -> np.ndarray:
    """Return the mean weights in pA of the network of all areas, (n, n): target, source; see `circuit`."""
    areas, names = (np.array(part) for part in zip(*read_tables().populations, strict=True))
    excites = np.char.endswith(names, "E")
    weights = column.WEIGHT * np.where(excites, 1.0, INHIBITION) * np.ones((len(names), 1))
    source, target = column.DOUBLED
    weights[(names[:, None] == target) & (names == source)] *= 2.0
    between = column.WEIGHT * chi * np.where(excites, 1.0, chi_inhibitory)[:, None]
    return np.where(areas[:, None] == areas, weights, between)


@functools.cache
def circuit(areas: tuple[str, ...], chi: float, chi_inhibitory: float, delay_spread: float) -> Circuit:
    """Return the network of some areas; Poisson spikes with the rates of the ground state stand for the others.

    Parameters
    ----------
    areas : tuple of str
        Names, of `AREAS`; the thalamus projects to the first one, readouts listen to the last one.
    chi, chi_inhibitory : float
        Factor of the weights between areas, and a further one of those onto inhibitory neurons.
    delay_spread : float
        Standard deviation of delays between areas by their mean.
    """
    table, weights = read_tables(), list_weights(chi, chi_inhibitory)
    mine = np.array([k for area in areas for k, (other, _) in enumerate(table.populations) if other == area])
    others = np.setdiff1d(np.arange(len(weights)), mine)
    own_areas, names = zip(*(table.populations[k] for k in mine), strict=True)
    excites = np.array([name.endswith("E") for name in names])
    delays = np.array([column.DELAY[bool(value)] for value in excites]) * np.ones((len(mine), 1, 1))
    place = np.array([AREAS.index(area) for area in own_areas])
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
