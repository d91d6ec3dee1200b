"""Tasks: settings, inputs and targets. `TASKS` maps their names on the command line to classes.

May import `exchange_formats`, `engines`, `network`, `neurons`, `parallel`, `rules`, `sonata` and the core utilities.

Where to add:

- a task: a module with a class of `TaskBase`, listed here; `lemniscate` is the smallest example;
- a task with rewards, in closed loop: a class of `closed.ClosedBase`; `reach` is an example;
- a setting: a field with bounds of the class; for all tasks: `base`.
"""

from typing import TYPE_CHECKING, Any

from ..later import Later
from .base import TaskBase

if TYPE_CHECKING:
    from ..exchange_formats.event_reader import Folder, Gestures, Spoken
    from .event_data import EventData

TASKS: Later[type[TaskBase]] = Later(
    __name__,
    {
        "sine-waves": "sine_waves.SineWaves",
        "sine-waves-plus": "sine_waves.SineWavesPlus",
        "lemniscate": "lemniscate.Lemniscate",
        "handwriting": "handwriting.Handwriting",
        "evidence-accumulation": "evidence_accumulation.EvidenceAccumulation",
        "n-mnist": "n_mnist.NMnist",
        "store-recall": "store_recall.StoreRecall",
        "own-activity": "own_activity.OwnActivity",
        "microcircuit": "microcircuit.Microcircuit",
        "multi-area": "multi_area.MultiArea",
        "delayed-choice": "delayed_choice.DelayedChoice",
        "reach": "reach.Reach",
        "cart-pole": "cart_pole.CartPole",
        "gym": "gym.Gym",
        "data": "data.Data",
    },
)

__all__ = ["TASKS", "EventData", "Folder", "Gestures", "Spoken", "TaskBase"]

_BASES: Later[type[TaskBase]] = Later(
    "pareprop",
    {
        "EventData": "tasks.event_data.EventData",
        "Folder": "exchange_formats.event_reader.Folder",
        "Gestures": "exchange_formats.event_reader.Gestures",
        "Spoken": "exchange_formats.event_reader.Spoken",
    },
)


def __getattr__(name: str) -> Any:  # Any: type checkers see the imports above
    if name in _BASES:
        return _BASES[name]
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
