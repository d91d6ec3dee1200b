"""E-prop training of large sparse recurrent spiking networks.

The names here are the public interface. Subpackages state in their docstrings their contents, their permitted imports
and the places of additions. Imports run one way: `scaling` and `runs` use `tasks`, `storage` and `plots`; `storage`
uses `simulation`, which uses `engines`, which uses `network`, which uses `parallel`. All use modules of this folder,
the core utilities: errors, aligned arrays, keyed random numbers, timers, memory of the machine, access to the kernels.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engines.episode import Episode, Reply
    from .engines.sample import Sample
    from .errors import InputError, ParepropError, StateError
    from .network.losses import Context, Loss
    from .network.model import Model
    from .network.optimizers import Adam, AdamW, GradientDescent, Optimizer, SgdMomentum
    from .network.parameters import LogNormal, Normal, Scaled, Uniform
    from .network.reward import Reward, Rollout
    from .network.rule_options import ShortTerm
    from .network.trajectory_losses import Correlation, TrialAverage
    from .neurons.model import NeuronModel
    from .parallel.launcher import exchange
    from .rules.definition import Eprop, LearningRule
    from .runs.opened import open_run
    from .runs.script import Trained, run
    from .scaling.sweep_command import sweep
    from .simulation import ClosedTask, LearningRate, Observer, OpenTask, Outcome, Score, Simulation, Task

__version__ = "0.2.0"
__all__ = [
    "Adam",
    "AdamW",
    "ClosedTask",
    "Context",
    "Correlation",
    "Episode",
    "Eprop",
    "GradientDescent",
    "InputError",
    "LearningRate",
    "LearningRule",
    "LogNormal",
    "Loss",
    "Model",
    "NeuronModel",
    "Normal",
    "Observer",
    "OpenTask",
    "Optimizer",
    "Outcome",
    "ParepropError",
    "Reply",
    "Reward",
    "Rollout",
    "Sample",
    "Scaled",
    "Score",
    "SgdMomentum",
    "ShortTerm",
    "Simulation",
    "StateError",
    "Task",
    "Trained",
    "TrialAverage",
    "Uniform",
    "exchange",
    "open_run",
    "run",
    "sweep",
]

_HOMES = {  # module of each name: it is imported when the name is used, so that a start loads few modules
    "engines.episode": ("Episode", "Reply"),
    "engines.sample": ("Sample",),
    "errors": ("InputError", "ParepropError", "StateError"),
    "network.trajectory_losses": ("Correlation", "TrialAverage"),
    "network.losses": ("Context", "Loss"),
    "network.model": ("Model",),
    "network.optimizers": ("Adam", "AdamW", "GradientDescent", "Optimizer", "SgdMomentum"),
    "network.parameters": ("LogNormal", "Normal", "Scaled", "Uniform"),
    "network.reward": ("Reward", "Rollout"),
    "network.rule_options": ("ShortTerm",),
    "neurons.model": ("NeuronModel",),
    "parallel.launcher": ("exchange",),
    "rules.definition": ("Eprop", "LearningRule"),
    "runs.opened": ("open_run",),
    "runs.script": ("Trained", "run"),
    "scaling.sweep_command": ("sweep",),
    "simulation": ("ClosedTask", "LearningRate", "Observer", "OpenTask", "Outcome", "Score", "Simulation", "Task"),
}
_ROOMS = (
    "engines",
    "network",
    "neurons",
    "parallel",
    "algorithms",
    "rules",
    "runs",
    "simulation",
    "sonata",
    "storage",
    "tasks",
)


def __getattr__(name: str) -> Any:  # Any: type checkers see the imports above
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
