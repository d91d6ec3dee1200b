"""What this room uses of the rest of the package, in one place."""

from ..canonical import Digest
from ..errors import InputError
from ..exchange import Exchange
from ..interval import Interval, IntervalSettings
from ..launcher import exchange as make_exchange
from ..learning import evaluate, learning_signal
from ..model import Model, Population
from ..network import Network
from ..params import NEURON_MODELS, READOUT_MODELS, SURROGATES, checked, optimizer
from ..room import require as require_memory
from ..sample import Sample
from ..spike import Spike, SpikeSettings
from ..spikelog import Log, joined
from ..timers import Timers

__all__ = [
    "NEURON_MODELS", "READOUT_MODELS", "SURROGATES", "Digest", "Exchange", "InputError", "Interval", "IntervalSettings",
    "Log", "Model", "Network", "Population", "Sample", "Spike", "SpikeSettings", "Timers", "checked", "evaluate",
    "joined", "learning_signal", "make_exchange", "optimizer", "require_memory",
]  # fmt: skip
