"""The tasks: settings, inputs and targets as data. `TASKS` maps the names of the command line to them."""

from pareprop.tasks.base import TaskBase
from pareprop.tasks.data import Data
from pareprop.tasks.evidence_accumulation import EvidenceAccumulation
from pareprop.tasks.handwriting import Handwriting
from pareprop.tasks.lemniscate import Lemniscate
from pareprop.tasks.n_mnist import NMnist
from pareprop.tasks.sine_waves import SineWaves, SineWavesPlus

TASKS: dict[str, type[TaskBase]] = {
    kind.name: kind for kind in (SineWaves, SineWavesPlus, Lemniscate, Handwriting, EvidenceAccumulation, NMnist, Data)
}

__all__ = ["TASKS", "TaskBase"]
