"""The functions and attributes of NEST's Python interface.

The file is long because it has a function for each of NEST's.
"""

from __future__ import annotations

import difflib
import enum
import itertools
import json
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from ..errors import quote
from ..values import AnyValue, Given, Values
from . import logic, math, random, raster_plot, voltage_trace
from .connecting import CollocatedSynapses
from .connections import SynapseCollection
from .errors import (
    MOST,
    NESTError,
    NESTErrors,
    explain_errors,
    format_output,
    make_lookup_error,
    make_refusal,
    warn_once,
)
from .kernel import kernel
from .nodes import NodeCollection
from .rules import RULES
from .settings import DEFAULTS, DELAY_RANGE
from .status import BUILD

_ITSELF = "read what GetConnections and GetNodes return"
_PLACES = "draw positions and connections yourself, and connect arrays of ids"
REFUSED = {
    "Disconnect": "leave the connections out", "TripartiteConnect": "there are no astrocytes",
    "EnableStructuralPlasticity": "connections stay as they are made",
    "DisableStructuralPlasticity": "connections stay as they are made, nothing is to be done",
    "SonataNetwork": "Model.from_sonata of the package pareprop reads circuit_config.json",
    "Compartments": "neurons are points",
    "Receptors": "neurons are points",
    "PlotLayer": "plot the positions yourself", "PlotSources": _PLACES, "PlotTargets": _PLACES,
    "PlotProbabilityParameter": _PLACES, "GetPosition": _PLACES, "Displacement": _PLACES, "Distance": _PLACES,
    "FindCenterElement": _PLACES, "FindNearestElement": _PLACES, "GetSourceNodes": _ITSELF,
    "GetTargetNodes": _ITSELF, "GetSourcePositions": _PLACES, "GetTargetPositions": _PLACES,
    "DumpLayerConnections": _ITSELF, "DumpLayerNodes": _ITSELF, "SelectNodesByMask": _PLACES, "Mask": _PLACES,
    "CreateMask": _PLACES, "CreateParameter": "use nest.random and nest.math", "spatial": _PLACES,
    "spatial_distributions": _PLACES,
    "visualization": "there are no graphs of networks",
    "set_communicator": "start the script by mpirun", "SetAcceptableLatency": "there is no MUSIC",
    "SetMaxBuffered": "there is no MUSIC", "server": "call `pareprop nest` as a command",
}  # fmt: skip


class VerbosityLevel(enum.IntEnum):
    """Verbosity of NEST; only warnings are shown here."""

    ALL = 0
    DEBUG = 5
    STATUS = 7
    INFO = 10
    PROGRESS = 15
    DEPRECATED = 18
    WARNING = 20
    ERROR = 30
    FATAL = 40
    QUIET = 100


def ResetKernel() -> None:
    """Forget all nodes, connections, models and settings."""
    kernel.reset()


def Create(model: str, n: int = 1, params: object = None, positions: object = None) -> NodeCollection:
    """Make `n` nodes of a model.

    Parameters
    ----------
    model : str
        Name of a node model.
    n : int
        Number of nodes; parameters in its place mean one node.
    params : dict or list of dict
        Parameters, each one value, one for each node, or from `nest.random`; or a dictionary for each node.
    positions : object
        Not supported.

    Returns
    -------
    NodeCollection
        The new nodes.

    Raises
    ------
    NESTError
        For an unknown model or parameter, or a bad value.
    """
    if positions is not None:
        raise make_refusal("nodes with positions", "draw positions and connections yourself")
    if isinstance(n, Mapping) and params is None:
        n, params = 1, n
    return kernel.create_nodes(model, n, params)


def Connect(
    pre: object, post: object, conn_spec: object = None, syn_spec: object = None, return_synapsecollection: bool = False
) -> SynapseCollection | None:
    """Connect nodes.

    Parameters
    ----------
    pre, post : NodeCollection or np.ndarray
        Nodes, or arrays of ids, which may repeat.
    conn_spec : str or dict
        Name of a rule, or a dictionary with `rule` and its arguments.
    syn_spec : str, dict or CollocatedSynapses
        Name of a synapse model, or a dictionary with `synapse_model`, `weight` (number, array, random) and others; or
        several of them.
    return_synapsecollection : bool
        Whether to return all connections between `pre` and `post`.

    Raises
    ------
    NESTError
        If such nodes cannot be connected so, or only in NEST.
    """
    kernel.connect_nodes(pre, post, conn_spec, syn_spec)
    return kernel.get_connections(pre, post, None) if return_synapsecollection else None


def GetConnections(
    source: object = None, target: object = None, synapse_model: str | None = None, synapse_label: int | None = None
) -> SynapseCollection:
    """Find connections by their ends and model."""
    if synapse_label is not None:
        raise make_refusal("labels of synapses", "find connections by their source and target")
    return kernel.get_connections(source, target, synapse_model)


def SetDefaults(model: str, params: AnyValue, val: AnyValue = None) -> None:
    """Change the defaults of a node or synapse model."""
    values = params if val is None else {params: val}
    kernel.models.set_defaults(model, values, kernel.resolution, kernel.simulated)


def GetDefaults(model: str, keys: object = None, output: str = "") -> AnyValue:
    """Defaults of a node or synapse model: all, one, or a list of some."""
    values = kernel.models.read_defaults(model, kernel.make_collection(np.zeros(0, np.int64)))
    return format_output(values if keys is None else _pick_values(values, keys, f"defaults of {model}"), output)


def _pick_values(values: Given, keys: AnyValue, where: str) -> AnyValue:
    """Return the value of one key, or the list of values of several keys."""
    for key in [keys] if isinstance(keys, str) else keys:
        if key not in values:
            listed = f"; there are {', '.join(sorted(values))}"
            known = listed if len(listed) < MOST else _suggest_names(str(key), sorted(values))
            raise make_lookup_error(KeyError, f"{where}: there is no {quote(key)}{known}")
    return values[keys] if isinstance(keys, str) else [values[key] for key in keys]


def CopyModel(existing: str, new: str, params: Given | None = None) -> None:
    """Make a model under another name, with other defaults."""
    kernel.models.copy(existing, new, params or {}, kernel.resolution)


def Install(module_name: str) -> None:
    """Load nothing, and say so: where a module's models are in pareprop, a script needs no module."""
    if not isinstance(module_name, str):
        raise NESTErrors.TypeMismatch(f"module_name = {quote(module_name)} must be the name of a module")
    warn_once(
        f"nest.Install({quote(module_name)}) loads nothing: pareprop simulates the module's models if it has them "
        "under the same names",
        kernel.exchange.rank,
    )


def GetStatus(nodes: NodeCollection | SynapseCollection, keys: AnyValue = None, output: str = "") -> AnyValue:
    """Parameters of nodes or connections, one entry for each."""
    values_of_nodes: AnyValue
    if keys is None:
        values_of_nodes = tuple(entry.get() for entry in nodes)
    elif isinstance(keys, str):
        values = [entry.get(keys) for entry in nodes]
        values_of_nodes = values if isinstance(nodes, SynapseCollection) else tuple(values)  # as NEST does
    else:
        values_of_nodes = tuple(tuple(entry.get(key) for key in keys) for entry in nodes)
    return format_output(values_of_nodes, output)


def SetStatus(nodes: NodeCollection | SynapseCollection, params: AnyValue, val: AnyValue = None) -> None:
    """Set parameters of nodes or connections."""
    nodes.set(params if val is None else {params: val})


def GetNodes(properties: Given | None = None, local_only: bool = False) -> NodeCollection:
    """Nodes with these values of `model`, `element_type` or parameters."""
    ids = np.arange(1, kernel.nodes.n + 1)
    everybody = kernel.make_collection(ids)
    mask = np.ones(len(ids), bool)
    for key, value in (properties or {}).items():
        mask &= np.array([_read_value(node, key) == value for node in everybody], bool)
    return kernel.make_collection(ids[mask])


def _read_value(node: NodeCollection, key: str) -> AnyValue:
    try:
        return node.get(key)
    except KeyError:  # another model has it
        return None


def GetLocalNodeCollection(nc: NodeCollection) -> NodeCollection:
    """Nodes of a collection that a rank has: all, on each."""
    if not isinstance(nc, NodeCollection):
        raise TypeError("it takes a NodeCollection")
    return nc


def Simulate(t: float) -> None:
    """Collective: simulate for `t` ms.

    Raises
    ------
    NESTError
        If `t` is not a multiple of the resolution, the network cannot be simulated as it is described, or `Prepare` was
        called and `Cleanup` was not.
    """
    if kernel.prepared:
        raise NESTErrors.KernelException("Simulate between Prepare and Cleanup: call Run, or Cleanup before it")
    kernel.simulate(t)


def Prepare() -> None:
    """Do nothing but allow `Run`."""
    if kernel.prepared:
        raise NESTErrors.KernelException("Prepare called twice")
    kernel.prepared = True


def Run(t: float) -> None:
    """Collective: simulate for `t` ms between `Prepare` and `Cleanup`."""
    if not kernel.prepared:
        raise NESTErrors.KernelException("Run without calling Prepare")
    kernel.simulate(t)


def Cleanup() -> None:
    """End what `Prepare` began."""
    if not kernel.prepared:
        raise NESTErrors.KernelException("Cleanup without calling Prepare")
    kernel.prepared = kernel.files_open = False


@contextmanager
def RunManager() -> Iterator[None]:
    """`Prepare` before and `Cleanup` after a block with `Run`."""
    Prepare()
    try:
        yield
    finally:
        Cleanup()


def set(**values: object) -> None:
    """Set kernel parameters."""
    kernel.set_parameters(values)


def get(*keys: AnyValue) -> AnyValue:
    """Kernel parameters: all, one by its name, or a tuple of some, by their names or a list of these."""
    return GetKernelStatus(keys[0] if len(keys) == 1 else keys or None)


def GetKernelStatus(keys: object = None) -> AnyValue:
    """Kernel parameters: all, one, or a tuple of some."""
    picked = kernel.read_status() if keys is None else _pick_values(kernel.read_status(), keys, "kernel parameters")
    return picked if keys is None or isinstance(keys, str) else tuple(picked)


def SetKernelStatus(params: Given) -> None:
    """Set kernel parameters."""
    kernel.set_parameters(params)


def NumProcesses() -> int:
    """Number of MPI ranks."""
    return kernel.exchange.size


def Rank() -> int:
    """Number of this MPI rank."""
    return kernel.exchange.rank


def SyncProcesses() -> None:
    """Collective: wait for all ranks."""
    if kernel.exchange.comm is not None:
        kernel.exchange.comm.Barrier()


def get_verbosity() -> VerbosityLevel:
    """The level that was set."""
    return Module.level


def set_verbosity(level: AnyValue) -> None:
    """Note a level, also by its old name such as "M_WARNING"."""
    names = VerbosityLevel.__members__
    Module.level = VerbosityLevel(names[level.removeprefix("M_")] if isinstance(level, str) else level)


def make_collection(nodes: AnyValue = None) -> NodeCollection:
    """Make a NodeCollection of ids."""
    ids = np.asarray([] if nodes is None else list(nodes), np.int64)
    if len(ids) and (np.any(np.diff(ids) <= 0) or ids[0] < 1 or ids[-1] > kernel.nodes.n):
        raise NESTErrors.UnknownNode("ids of a NodeCollection must be ascending, and belong to existing nodes")
    return kernel.make_collection(ids)


class _NodeCollections(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, NodeCollection)

    def __call__(cls, *args: object, **named: object) -> AnyValue:
        return explain_errors(make_collection)(*args, **named)


class _PublicCollection(metaclass=_NodeCollections):
    """`nest.NodeCollection`: called with ids, it returns the nodes sorted by id; `Create` returns such a collection."""


def Models(mtype: str = "all", sel: str | None = None) -> tuple[str, ...]:
    """Names of the models of nodes and synapses, or of one kind, those with a text in them."""
    kinds = {
        "all": [*kernel.models.nodes, *kernel.models.synapses],
        "nodes": list(kernel.models.nodes),
        "synapses": list(kernel.models.synapses),
    }
    if mtype not in kinds:
        raise ValueError(f"mtype = '{mtype}' must be one of {', '.join(kinds)}")
    return tuple(sorted(name for name in kinds[mtype] if sel is None or sel in name))


def PrintNodes() -> None:
    """Print the ids of all nodes with their models, neighbours of one model in one line."""
    names = [kernel.nodes.find_block(node)[0].model.name for node in range(1, kernel.nodes.n + 1)]
    lines, last = [], 0
    for name, same in itertools.groupby(names):
        first, last = last + 1, last + len(list(same))
        lines.append((f"{first} .. {last}" if last > first else f"{first}", name))
    width = max((len(ids) for ids, _ in lines), default=0)
    for ids, name in lines:
        print(f"{ids:{width}} {name}")


def GetLocalVPs() -> range:
    """Virtual processes of this rank: all, since each rank shows all nodes."""
    return range(kernel.generators.n)


def to_json(obj: object, **kwargs: AnyValue) -> str:
    """Write a value as JSON, arrays as lists."""
    return json.dumps(obj, default=lambda value: value.tolist(), **kwargs)


KEPT = ("__name__", "__doc__", "__file__", "__version__")


def _suggest_names(name: str, known: list[str]) -> str:
    """Suggestions of similar names, for messages."""
    close = difflib.get_close_matches(name, known, n=2)
    return f"; did you mean {' or '.join(close)}?" if close else "; see dir(nest)"


class Module(types.ModuleType):
    """The module `nest`: kernel parameters are its attributes."""

    __version__ = BUILD["version"]
    level = VerbosityLevel.INFO
    random = random
    math = math
    logic = logic
    raster_plot = raster_plot
    voltage_trace = voltage_trace
    NESTError, NESTErrors, VerbosityLevel = NESTError, NESTErrors, VerbosityLevel
    NodeCollection, SynapseCollection, Parameter = _PublicCollection, SynapseCollection, random.Parameter
    CollocatedSynapses = CollocatedSynapses
    connection_rules = RULES

    def __getattr__(self, name: str) -> AnyValue:
        if name in REFUSED:
            raise make_refusal(f"nest.{name}", REFUSED[name], AttributeError)
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return kernel.read_parameter(name)
        except KeyError:
            raise make_lookup_error(
                AttributeError, f"module 'nest' has no attribute '{name}'{_suggest_names(name, dir(self))}"
            ) from None

    def __dir__(self) -> list[str]:
        own = [name for name in [*vars(Module), *super().__dir__()] if not name.startswith("_") or name in KEPT]
        return sorted({*own, *kernel.read_status()} - {"level"})

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("__") or isinstance(value, types.ModuleType):
            super().__setattr__(name, value)
        elif name == "verbosity":
            set_verbosity(value)
        elif name in (*DEFAULTS, *DELAY_RANGE):
            kernel.set_parameters({name: value})
        elif name in kernel.read_status():
            raise make_lookup_error(AttributeError, f"nest.{name} cannot be set, only read")
        else:
            known = _suggest_names(name, list(DEFAULTS))
            raise make_lookup_error(
                AttributeError, f"Cannot set attribute '{name}' on module 'nest': it is not a kernel parameter{known}"
            )

    @property
    def verbosity(self) -> enum.IntEnum:
        """The level that was set."""
        return Module.level

    @property
    def kernel_status(self) -> Values:
        """All kernel parameters."""
        return kernel.read_status()


for _name, _function in list(globals().items()):
    if isinstance(_function, types.FunctionType) and _function.__module__ == __name__:
        if not _name.startswith("_") and _function is not make_collection:
            setattr(Module, _name, staticmethod(explain_errors(_function)))
