"""E-prop training of large sparse recurrent spiking networks.

The names here are what a script needs; the rooms (folders) say in their docstrings what lives in them. Rooms import one
way: `scaling` and `runs` use `tasks`, `storage` and `plots`; `storage` uses `simulation`, that `engines`, that
`network`, that `parallel`, and all use the modules of this folder.
"""

from .engines.sample import Sample
from .errors import InputError, ParepropError, StateError
from .network.model import Model
from .network.optimizers import Adam, GradientDescent
from .network.parameters import Normal, Uniform
from .parallel.launcher import exchange
from .simulation import Observer, Outcome, Simulation, Task

__version__ = "0.1.0"
__all__ = [
    "Adam",
    "GradientDescent",
    "InputError",
    "Model",
    "Normal",
    "Observer",
    "Outcome",
    "ParepropError",
    "Sample",
    "Simulation",
    "StateError",
    "Task",
    "Uniform",
    "exchange",
]
