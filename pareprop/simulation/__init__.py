"""The training loop: samples in, weight changes out, observers called; the digest of a run.

The loop imports no files, tasks or figures.

May import `engines`, `network`, `parallel`, `algorithms` and the core utilities.

Where to add:

- a hook: a method of `Observer` in `observer`, and its call in `loop`;
- a notice (warning of a run): `notices`;
- a check of the objects that a script passes: `checks`.
"""

from .loop import Simulation
from .observer import Observer, Outcome
from .schedule import Annealing, LearningRate
from .score import Score
from .task import ClosedTask, OpenTask, Task

__all__ = ["Annealing", "ClosedTask", "LearningRate", "Observer", "OpenTask", "Outcome", "Score", "Simulation", "Task"]
