"""The loop: samples in, weight changes out, observers informed; the digest of a run.

May import `engines`, `network`, `parallel`, `algorithms` and the ground.

Where to add
------------
A hook: a method of `Observer` in `observer`, and its call in `loop`. A notice (warning of a run): `notices`. A check of
what a script hands over: `checks`. The loop knows nothing of files, tasks or figures.
"""

from .loop import Simulation
from .observer import Observer, Outcome
from .schedule import Annealing, LearningRate
from .score import Score
from .task import ClosedTask, OpenTask, Task

__all__ = ["Annealing", "ClosedTask", "LearningRate", "Observer", "OpenTask", "Outcome", "Score", "Simulation", "Task"]
