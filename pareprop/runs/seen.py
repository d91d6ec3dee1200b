"""Recognise the data of a resumed run by checksums of its first and its latest training sample."""

from __future__ import annotations

from ..engines.sample import Sample
from ..errors import InputError
from ..parallel import collectives
from ..simulation.checks import check_sample
from ..simulation.loop import Simulation
from ..simulation.observer import Observer, Outcome, Watched
from ..simulation.task import is_closed, is_open
from ..values import Values


class SampleChecksums(Observer):
    """Keeps checksums of training samples, so that a resumed run recognises its data, even in a renamed file.

    Not of episodes in closed loop: their inputs depend on the network.
    """

    checkpoint_name = "Seen"
    everywhere = False  # the first sample of a batch runs in the first group
    movable = True

    def __init__(self) -> None:
        self.marks: dict[int, dict[str, int]] = {}  # checksums by index: first sample, latest one before a resume
        self._latest: tuple[int, Sample] | None = None

    def after_sample(self, simulation: Watched, outcome: Outcome) -> None:
        """Keep the first sample of a batch, until the next one."""
        if outcome.phase != "train" or outcome.index % simulation.model.optimizer.batch_size or simulation.episodes:
            return
        self._latest = outcome.index, outcome.sample
        if not outcome.index:
            self.marks[0] = outcome.sample.checksums()

    def state(self, simulation: Watched) -> Values:
        """Return checksums of the first and the latest sample by their index."""
        kept = {index: marks for index, marks in self.marks.items() if not index or self._latest is None}
        if self._latest is not None:
            kept[self._latest[0]] = self._latest[1].checksums()
        return {"marks": {str(index): marks for index, marks in kept.items()}}

    def load_state(self, state: Values) -> None:
        """Restore the checksums."""
        self.marks = {int(index): dict(marks) for index, marks in state["marks"].items()}

    def require_same(self, simulation: Simulation, where: str) -> None:
        """Collective: raise `InputError` if a sample with a checksum has changed."""
        task = simulation.task
        if is_closed(task) or is_open(task):  # their samples cannot be made again
            return
        with collectives.share_errors(simulation.world):
            for index, marks in sorted(self.marks.items()):
                sample = task.sample(index, "train")
                check_sample(sample, task)
                now = sample.checksums()
                if changed := [name for name in now if now[name] != marks.get(name, now[name])]:
                    reason = f"sample {index} of the training has another {' and '.join(changed)}"
                    raise InputError(f"{where} belongs to another run: {reason}; its data, or what makes them, changed")
