"""E-prop training of large sparse recurrent spiking networks.

The names here are what a script needs; the rooms (folders) say in their docstrings what lives in them. Rooms import one
way: `scaling` and `runs` use `tasks`, `storage` and `plots`; `storage` uses `simulation`, that `engines`, that
`network`, that `parallel`, and all use the modules of this folder.
"""

from .engines.episode import Episode, Reply
from .engines.sample import Sample
from .errors import InputError, ParepropError, StateError
from .network.losses import Loss
from .network.model import Model
from .network.optimizers import Adam, GradientDescent
from .network.parameters import Normal, Uniform
from .network.reward import Reward, Rollout
from .neurons.model import NeuronModel
from .parallel.launcher import exchange
from .runs.script import Trained, run
from .simulation import ClosedTask, LearningRate, Observer, Outcome, Simulation, Task
from .storage.opened import open_run

__version__ = "0.2.0"
__all__ = [
    "Adam",
    "ClosedTask",
    "Episode",
    "GradientDescent",
    "InputError",
    "LearningRate",
    "Loss",
    "Model",
    "NeuronModel",
    "Normal",
    "Observer",
    "Outcome",
    "ParepropError",
    "Reply",
    "Reward",
    "Rollout",
    "Sample",
    "Simulation",
    "StateError",
    "Task",
    "Trained",
    "Uniform",
    "exchange",
    "open_run",
    "run",
]
