"""Rate connections: targets, learning windows and the sums of a softmax, which leave the graph of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..network.variants import VARIANTS
from .catalogue import NodeModel
from .connections import Bundle
from .devices.base import RateSource
from .errors import make_refusal, warn_once

SOFTMAX, WINDOW, TARGET = 1, 1, 2  # receptor types of readouts; 1 is the window in the spike variant


class RateConnections:
    """Meaning of the rate connections of a network; `readouts` are int64 ids, ascending.

    Attributes
    ----------
    targets, window : dict
        Generator to readouts and weights.
    """

    def __init__(self, variant: str, readouts: np.ndarray) -> None:
        self._spikes, self._readouts = VARIANTS[variant].is_online, readouts
        self.targets: dict[int, list[tuple[int, float]]] = {}
        self.window: dict[int, list[tuple[int, float]]] = {}
        self._softmax: list[Bundle] = []

    def add_connections(self, bundle: Bundle, ends: Sequence[tuple[NodeModel, NodeModel]]) -> None:
        """Take connections, of which those that do not reach parrot neurons have models `ends`, each pair once."""
        if np.any(np.asarray(bundle.delay) != 1):
            raise make_refusal("rate connections with a delay of several steps", "give them one step")
        if all(post.kind == "readout" for _, post in ends) and len({pre.base for pre, _ in ends}) == 1:
            origin = ends[0][0]
            if origin.kind == "readout" and not self._spikes and bundle.receptor == SOFTMAX:
                self._softmax.append(bundle)
                return
            window = self._spikes and bundle.receptor == WINDOW
            if origin.is_a(RateSource) and (window or bundle.receptor == TARGET):
                place = self.window if window else self.targets
                readout = np.searchsorted(self._readouts, bundle.target)
                for source, target, weight in zip(bundle.source, readout, bundle.weight, strict=True):
                    place.setdefault(int(source), []).append((int(target), float(weight)))
                return
        names = " and ".join(sorted({f"{pre.base} to {post.kind}" for pre, post in ends}))
        raise make_refusal(
            f"rate_connection_delayed from {names} with receptor_type {bundle.receptor}",
            "connect step_rate_generators to readouts by type 2, or 1 for a learning window",
        )

    def keep_last_links(self) -> None:
        """Leave each readout one target and one learning window: as in NEST, the last one in a step counts."""
        for place, name in ((self.targets, "target"), (self.window, "learning window")):
            links = [(target, source, weight) for source in sorted(place) for target, weight in place[source]]
            kept = {target: (source, weight) for target, source, weight in links}
            if len(kept) < len(links):
                warn_once(
                    f"several generators give a readout its {name}: the one with the highest id counts, as in NEST"
                )
            place.clear()
            for target, (source, weight) in sorted(kept.items()):
                place.setdefault(source, []).append((target, weight))

    def check(self, cross_entropy: bool) -> None:
        """Refuse a softmax that is not over all readouts, by a `KernelException`: `NotImplemented`.

        With `cross_entropy` the loss of the readouts needs a softmax.
        """
        n, softmax = len(self._readouts), self._softmax
        n_softmax = sum(len(bundle) for bundle in softmax)
        pairs = {pair for bundle in softmax for pair in zip(bundle.source, bundle.target, strict=True)}
        complete = len(pairs) == n_softmax == n * (n - 1) and all(np.all(bundle.weight == 1.0) for bundle in softmax)
        if (cross_entropy and not complete) or (softmax and not cross_entropy):
            raise make_refusal(
                "a softmax over a part of the readouts, or weighted",
                "connect each readout to every other one with weight 1 if loss is cross_entropy, else none",
            )
