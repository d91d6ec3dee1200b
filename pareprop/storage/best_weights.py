"""The best network of a training, stored as a separate checkpoint until the training ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from ..errors import InputError
from ..parallel import collectives
from ..simulation.loop import Simulation
from ..simulation.observer import Watched
from ..values import Values
from . import checkpoint_read, checkpoint_write
from .disk import on_disk


class BestWeights:
    """Writes the network after an iteration into a checkpoint in `folder`, and restores it.

    `identity` is the configuration of the run as JSON; checkpoints must have the same.
    """

    def __init__(self, folder: Path, identity: Values) -> None:
        self.folder, self.identity = folder, identity

    def save_network(self, simulation: Watched, needed: set[int]) -> None:
        """Collective: write the present network; remove all others except those after the iterations `needed`."""
        with simulation.timers.time_phase("checkpoint"):
            collectives.run_in_first_group(simulation.replicas, self._write_network, simulation, needed)

    def _write_network(self, simulation: Watched, needed: set[int]) -> None:
        checkpoint_write.write(cast(Simulation, simulation), self.folder, self.identity, None, with_observers=False)
        self._remove_networks(simulation, lambda iteration: iteration not in {*needed, simulation.iteration})

    def forget_after(self, simulation: Watched) -> None:
        """Collective: remove files that an earlier part of the run wrote after the present iteration."""
        latest = simulation.iteration
        collectives.run_in_first_group(
            simulation.replicas, self._remove_networks, simulation, lambda iteration: iteration > latest
        )

    def _remove_networks(self, simulation: Watched, is_old: Callable[[int], bool]) -> None:
        old = list[Path]()
        with on_disk(simulation.exchange.comm, "best weights", self.folder):
            if simulation.exchange.rank == 0:
                paths = checkpoint_write.list_checkpoints(self.folder)
                old = [path for path in paths if is_old(checkpoint_write.iteration_of(path))]
        checkpoint_write.remove_checkpoints(simulation.exchange, old)

    def has_network(self, simulation: Watched, iteration: int) -> bool:
        """Collective: return whether the network after an iteration is on disk."""
        path = self.folder / checkpoint_write.directory_name(iteration)
        return bool(collectives.broadcast_from_root(simulation.world, path.is_dir()))

    def restore_network(self, simulation: Watched, iteration: int) -> None:
        """Collective: load the network after an iteration into a simulation; its losses and iteration stay.

        `InputError` if the files are damaged.
        """

        def require_sound(path: Path, complaints: list[str]) -> None:
            if complaints or checkpoint_write.iteration_of(path) != iteration:
                reason = "; ".join(complaints) or f"{path} is not that after {iteration} iterations"
                raise InputError(f"best weights: {reason}")

        own = cast(Simulation, simulation)
        checkpoint_read.load(own, self.folder, self.identity, prepare=require_sound, network_only=True)
