"""Which recorder records what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..values import Later
from .bundles import Bundles
from .catalogue import HISTORY
from .connections import AMONG_NEURONS, Bundle
from .devices.base import Recorder, SpikeSource
from .devices.multimeter import Multimeter
from .devices.spike_recorder import SpikeRecorder
from .errors import NESTErrors, make_refusal
from .network import Wiring
from .recorders import EventList, Meter
from .taps import AHEAD, Taps, WeightTap
from .text_files import TextFiles


class Recorders:
    """Recorders of a session and the nodes that they are connected to."""

    def __init__(self, session: Later) -> None:
        self._session, self._nodes = session, session.nodes
        self._links: list[tuple[np.ndarray, np.ndarray]] = []
        self._made: dict[int, Meter | EventList] = {}
        self._files: dict[int, TextFiles] = {}
        self._meters: dict[int, set[int]] = {}  # of each node
        self._connected_meters: set[int] = set()
        self._moved: set[int] = set()  # nodes of those with another window, or other nodes, since the taps were made
        self.changed = False  # since the taps were made

    def connect_recorder(self, made: Bundle) -> list[Bundle]:
        """Connect multimeters to nodes, or nodes to spike recorders; return the connections with their receptors."""
        source, target = made.source, made.target
        pre, post = (self._nodes.list_models(ids) for ids in (source, target))
        self.changed = True
        if all(model.is_a(Multimeter) for model in pre) and not any(model.is_a(Multimeter) for model in post):
            self._moved.update(source.tolist())
            self._check_recordables(source, target)
            parts = self._number_meters(made)
            self._links.append((source, target))
            self._connected_meters.update(source.tolist())
            return parts
        elif all(model.is_a(SpikeRecorder) for model in post) and not any(model.is_a(Recorder) for model in pre):
            for model in pre:
                if model.kind not in ("neuron", "parrot") and not model.is_a(SpikeSource):
                    raise NESTErrors.IllegalConnection(f"{model.base} sends no spikes to a spike_recorder")
            self._links.append((target, source))
            return [made]
        else:
            raise NESTErrors.IllegalConnection(
                "spike recorders are connected as Connect(neurons, recorder), multimeters as Connect(meter, neurons), "
                "weight recorders as a parameter of the synapse model"
            )

    def _number_meters(self, made: Bundle) -> list[Bundle]:
        """Connections of multimeters by receptor, which is their number at the node."""
        receptor = np.zeros(len(made), np.int64)
        pairs = list(zip(made.source.tolist(), made.target.tolist(), strict=True))
        if len(set(pairs)) < len(pairs) or any(meter in self._meters.get(node, ()) for meter, node in pairs):
            raise NESTErrors.IllegalConnection("each multimeter can be connected to a node once")
        for place, (meter, node) in enumerate(pairs):
            mine = self._meters.setdefault(node, set())
            mine.add(meter)
            receptor[place] = len(mine)
        parts = []
        for number in np.unique(receptor).tolist():
            chosen = receptor == number
            values = {key: getattr(made, key)[chosen] for key in ("source", "target", "weight")}
            delay = made.delay if isinstance(made.delay, int) else made.delay[chosen]
            parts.append(replace(made, **values, delay=delay, receptor=number))
        return parts

    def _check_recordables(self, meters: np.ndarray, targets: np.ndarray) -> None:
        for meter in np.unique(meters):
            block, local = self._nodes.find_block(int(meter))
            for other, _ in self._nodes.list_blocks(np.unique(targets[meters == meter])):
                known = other.model.recordables
                unknown = [field for field in block.get_value("record_from", local) if field not in known]
                if unknown or not known:
                    raise NESTErrors.IllegalConnection(
                        f"Cannot connect with unknown recordable {unknown[0] if unknown else ''}; "
                        f"{other.model.name} has {', '.join(known) or 'none'}"
                    )

    def _get_device(self, node: int) -> Recorder:
        return self._nodes.get_device(node, self._session.resolution, Recorder)

    def get_recording(self, node: int) -> Meter | EventList:
        """Return the recording of a recorder; an empty one before the run."""
        return self._made.get(node) or self._get_device(node).make_recording(self._list_recorded(node))

    def get_text_files(self, node: int) -> TextFiles:
        """The text files of a recorder."""
        if node not in self._files:
            self._files[node] = TextFiles(self._get_device(node), self._session.generators.n)
        return self._files[node]

    def list_files(self) -> Iterator[tuple[Meter | EventList, TextFiles]]:
        """The recorders of the run that record to text, and their files."""
        for node, recorder in self._made.items():
            if self._get_device(node).get("record_to") != "memory":
                yield recorder, self.get_text_files(node)

    def has_meter(self, nodes: list[int]) -> bool:
        """Whether some nodes are multimeters that are connected."""
        return not self._connected_meters.isdisjoint(nodes)

    def is_made(self, node: int) -> bool:
        """Whether a recorder takes part in the run."""
        return node in self._made

    def mark_moved(self, nodes: list[int]) -> None:
        """Let recorders read their windows again in the next stretch."""
        self._moved.update(nodes)
        self.changed = True

    def _list_recorded(self, node: int) -> np.ndarray:
        node_ids = [targets[recorders == node] for recorders, targets in self._links]
        return np.concatenate([np.zeros(0, np.int64), *node_ids])

    def check_history(self, bundles: list[Bundle]) -> None:
        """Refuse to record the length of NEST's buffers, unless nothing learns there, so that it is 0."""
        for block in self._nodes.list_blocks_of_kind("recorder"):
            for local in range(block.n if block.model.is_a(Multimeter) else 0):
                ids = self._list_recorded(block.first + local)
                if HISTORY in block.get_value("record_from", local) and any(
                    group.model.plastic and np.isin(group.target, ids).any() for group in bundles
                ):
                    raise make_refusal(f"recording {HISTORY}", "it is the length of a buffer that only NEST has")

    def make_taps(self, wiring: Wiring) -> Taps:
        """Make all recorders for a run of a network.

        Existing recorders continue, with another window or other nodes if these were changed; others begin now.
        """
        self.changed = False
        bundles, now, n_processes = self._session.bundles, self._session.step, self._session.generators.n
        late = (bundles.delays or (1, 1))[0] + AHEAD
        meters, spikes = [], []
        weights: list[WeightTap] = []
        fixed: list[WeightTap] = []
        for node in self._nodes.list_ids_of_kind("recorder").tolist():
            device, ids = self._get_device(node), self._list_recorded(node)
            if node in self._made and node in self._moved:
                self._made[node].change_window(np.unique(ids), device.window, self._session.shown, now)
            recorder = self._made[node] = self._made.get(node) or device.make_recording(ids, now, late)
            if isinstance(recorder, Meter):
                meters.append(recorder)
            elif isinstance(device, SpikeRecorder):
                spikes.append((recorder, np.bincount(ids, minlength=self._nodes.n + 1)))
            else:
                chosen = {key: device.get(key) for key in ("senders", "targets")}
                for plastic, taps in ((True, weights), (False, fixed)):
                    taps += _make_weight_taps(recorder, node, chosen, plastic, bundles, n_processes)
        self._moved.clear()
        return Taps(meters, spikes, weights, fixed, wiring.recurrent, wiring.readouts)


def _make_weight_taps(
    recorder: EventList, node: int, chosen: dict[str, np.ndarray], plastic: bool, bundles: Bundles, n_processes: int
) -> list[WeightTap]:
    """Connections that a weight recorder watches, those that learn or the others; not those from generators."""
    watched = []
    for index, group in enumerate(bundles):
        wanted: object = group.model.defaults.get("weight_recorder")
        if wanted is None or node not in np.asarray(wanted):
            continue
        if group.model.plastic != plastic or group.table != AMONG_NEURONS:
            continue
        mask = np.ones(len(group), bool)
        for key, ids in (("senders", group.source), ("targets", group.target)):
            mask &= np.isin(ids, chosen[key]) if len(chosen[key]) else True
        place = np.flatnonzero(mask)
        n = len(place)
        watched.append((group.source[place], group.target[place], np.full(n, group.receptor), np.full(n, index), place))
    if not watched:
        return []
    source, target, receptor, which, places = (np.concatenate(column) for column in zip(*watched, strict=True))
    port = bundles.list_ports(which, places, n_processes)
    return [WeightTap(recorder, source, target, receptor, port, np.stack([which, places], axis=1))]
