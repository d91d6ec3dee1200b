"""The tasks: settings, inputs and targets. `TASKS` maps their names on the command line to classes.

May import `engines`, `network`, `neurons`, `parallel`, `rules`, `sonata` and the ground.

Where to add
------------
A task: a module with a class of `TaskBase`, listed here. `lemniscate` is the smallest example. One with rewards, in
closed loop: a class of `closed.ClosedBase`; `reach` is an example. A setting: a field of the class, with its bounds;
of all tasks: `base`.
"""

from .base import TaskBase
from .cart_pole import CartPole
from .data import Data
from .delayed_choice import DelayedChoice
from .event_data import EventData
from .event_files import Gestures, Spoken
from .evidence_accumulation import EvidenceAccumulation
from .gym import Gym
from .handwriting import Handwriting
from .lemniscate import Lemniscate
from .microcircuit import Microcircuit
from .n_mnist import NMnist
from .own_activity import OwnActivity
from .reach import Reach
from .sine_waves import SineWaves, SineWavesPlus
from .store_recall import StoreRecall

TASKS: dict[str, type[TaskBase]] = {
    kind.name: kind
    for kind in (
        SineWaves,
        SineWavesPlus,
        Lemniscate,
        Handwriting,
        EvidenceAccumulation,
        NMnist,
        StoreRecall,
        OwnActivity,
        Microcircuit,
        DelayedChoice,
        Reach,
        CartPole,
        Gym,
        Data,
    )
}

__all__ = ["TASKS", "EventData", "Gestures", "Spoken", "TaskBase"]
