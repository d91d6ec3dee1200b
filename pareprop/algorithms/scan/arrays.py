"""Arrays of `scan`: composed maps of steps of this rank's neurons."""

from __future__ import annotations

import numpy as np

from ...arrays import allocate_aligned, round_to_lines
from ...kernels import layout
from ...network.connectivity import Population
from ...network.local import LocalNetwork
from ...values import Values
from ..plan import NetworkPlan, TablePlan

POWERS = 3  # decays of which powers are kept: alpha, kappa, kappa_reg
SPANNED = layout.GAPS * layout.MAP_STEPS  # steps of the longest composed map
NOT_OPEN = -(1 << 30)  # mark of a row without an open window, see algorithms/scan/maps.pxi
# of what is kept of a composed map of NEST's own neurons, by place; in checkpoints behind "stretch_"
MAP_NUMBERS = "QB ZZ BZ QZ EZ EE BE QE QX XB XZ XE".split()


class ComposedMaps:
    """What composed maps of steps make of traces, by target, `ComposedMaps` of the kernels.

    Parameters
    ----------
    network : LocalNetwork
        This rank's share.
    plan : NetworkPlan
        How each projection learns.
    table : TablePlan
        Of the synapses onto neurons.

    Attributes
    ----------
    products : np.ndarray
        (MAPS,), with rewards: products of the discounts, the same on every rank.
    """

    def __init__(self, network: LocalNetwork, plan: NetworkPlan, table: TablePlan) -> None:
        self._network, self._plan, real = network, plan, network.model.kernels.real
        n, beside = network.neurons[1] - network.neurons[0], plan.beside
        posts = {span.projection.post.name: span.projection.post for span in network.incoming.spans}
        wanted = {name: (post, plan.composed(post)) for name, post in posts.items()}
        self._composed = {name: (network.program_of(post), of) for name, (post, of) in wanted.items() if of}
        scanned = [item for item in table.plans if item.way.name == "scan"]
        places = layout.MAPS * any(item.request.definition is None for item in scanned)
        sizes = [program.composed_sizes(of) for program, of in self._composed.values() if not of.ahead]
        width = round_to_lines(max((numbers + others * beside for numbers, others, *_ in sizes), default=0))
        wholes = [round_to_lines(maps + others) + round_to_lines(entries) for maps, others, entries, *_ in sizes]
        derived = max((size for *_, size, _ in sizes), default=0)
        recorded = max((size + beside for *_, size in sizes if size), default=0)
        self.products = np.ones(layout.MAPS)
        self._arrays = {
            "number": allocate_aligned((places, n, table.map_numbers(beside))),
            "products": self.products,
            "of_models": allocate_aligned((layout.SUFFIX * (width > 0), n, width)),
            "suffix_of_models": allocate_aligned((n, max(wholes, default=0))),
            "apart": allocate_aligned((layout.MAPS * (width > 0), n)),
            "derived": allocate_aligned((layout.MAP_STEPS * (width > 0), derived, n), real),
            "records": allocate_aligned((layout.MAP_STEPS * (recorded > 0), n + round_to_lines(1), recorded)),
            "addresses": np.array([self.address_of(piece.population) for piece in network.pieces], np.int64),
        }  # fmt: skip

    def address_of(self, post: Population) -> int:
        """Return the address of what composes the steps of neurons; 0 for readouts, and where no synapse asks."""
        found = self._composed.get(post.name)
        return found[0].composed_address(found[1]) if found else 0

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What a state keeps: name to (rows, n_neurons), on all ranks or on none."""
        number, columns, derived = (self._arrays[name] for name in ("number", "of_models", "derived"))
        names = MAP_NUMBERS[: number.shape[2]] if len(number) else []
        found = {f"stretch_{name}": number[:, :, k] for k, name in enumerate(names)}
        if len(columns):
            found |= {f"stretch_{k}": columns[:, :, k] for k in range(columns.shape[2])}
            found["stretch_apart"] = self._arrays["apart"]
            found |= {f"derived_{k}": derived[:, k] for k in range(derived.shape[1])}
        return found

    @property
    def scratch_bytes(self) -> int:
        """Bytes of what no state keeps."""
        return self._arrays["records"].nbytes

    def kernel(self) -> Values:
        """Return maps as the kernel takes them."""
        in_use = self._network.neurons[1] > self._network.neurons[0] and self._plan.uses("scan")
        kind = 2 if self._network.model.is_rewarded else self._plan.sets - 1
        return self._arrays | {"in_use": in_use, "kind": kind, "recorded": layout.NEVER}
