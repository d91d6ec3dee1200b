"""Compile generated C once, cache the result, and broadcast it from rank 0 to the other ranks.

A model is compiled in parts, each on first use and for one precision; several parts at a time. A cached file holds a
shared object, or the texts of a model's columns, then the SHA-256 of the content and of the file name, which in turn
contains a hash of everything that decides the content. With these files, a run needs neither SymPy nor a compiler.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from .. import files, kernels, terminal
from ..errors import InputError, ParepropError, quote
from ..values import Given, Later, Numbers, Values
from .derive import NO_LEARNS, Learns
from .language import evaluate_tree, parse_expression, suggest_nearest
from .model import COMMON, NeuronModel

SHIPPED = Path(kernels.build_info.__file__).parent / "models"  # parts compiled with the package, as in wheels
_HEADERS = ("elementary.h", "lanes.h", "neuron_model.h", "rule_row.h")
_SIZES = ("n_constants", "n_states", "n_ports", "n_kept", "n_adjoint", "n_traces", "n_traced")
_FUNCTIONS = {"step": ("start", "step"), "sweep": ("sweep",), "trace": ("trace", "decay")}  # as `generate.PARTS`
_COMPOSED_SIZES = ("n_numbers", "n_others", "n_entries", "n_derived", "n_recorded")
_PRECISIONS = ("double", "single")
_LINES = 60_000  # most lines of C, for which a compiler takes a minute or two
# other code has the flags of kernels; clang vectorizes with -O2, and does not know a flag for that
_LIGHT = ["-O2", "-ftree-vectorize", "-fvect-cost-model=dynamic"] if "--param" in kernels.build_info.flags else ["-O2"]
_OPTIMIZE: dict[str, list[str]] = {"composed": [], "rule_interval": [], "rule_spike": [], "quick": ["-O1"]}
_SECONDS = 3600  # time limit of the compiler, against hangs; large models take minutes on a busy machine
_DIGEST = 32  # bytes of the digest after a cached object
_programs: dict[tuple[str, str, Learns], Program] = {}


class Table(ctypes.Structure):
    """A NEURON_MODEL, see `neuron_model.h`."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("version", "real_bytes", *_SIZES)),
        *((name, ctypes.c_void_p) for names in _FUNCTIONS.values() for name in names),
    ]


class _ComposedTable(ctypes.Structure):
    """The numbers of a NEURON_MAPS, see `neuron_model.h`."""

    _fields_ = [(name, ctypes.c_int64) for name in ("version", "real_bytes", *_COMPOSED_SIZES)]


class Compilable(Protocol):
    """Interface of definitions, other than neuron models, that write their C themselves.

    Attributes
    ----------
    name, digest : str
        Name, and hash of all that decides the C.
    here : str
        Name in messages.
    code_files : tuple of Path
        Modules that write the C.
    """

    name: str
    digest: str
    here: str
    code_files: tuple[Path, ...]

    def write_source(self, headers: Mapping[str, str], part: Part) -> str:
        """Return the C of a part; `headers` as for `generate.source_of`."""


class Part(NamedTuple):
    """A part of a model that is compiled separately.

    Attributes
    ----------
    kind : {"step", "sweep", "trace", "quick", "composed", "derive", "texts", "rule_interval", "rule_spike"}
        Functions of a NEURON_MODEL as in `generate.PARTS`; "quick": all of these, compiled quickly for checks;
        "composed": composed maps of steps (spike variant); "derive": the derivatives that composed maps read; "texts":
        constants and columns of a model, not compiled; a learning rule in the interval or in the spike variant.
    precision : {"double", "single"}
        Precision of the stored numbers.
    ports : tuple of int
        Ports at which synapses learn by composed maps, ascending.
    ahead : bool
        Whether traces are stored ahead, as for NEST's own neurons, see `composed_maps.py`.
    second_trace : bool or None
        Whether synapses have a second filtered trace in addition to ebar; None: code for both cases.
    """

    kind: str
    precision: str = "double"
    ports: tuple[int, ...] = ()
    ahead: bool = False
    second_trace: bool | None = None

    @property
    def suffix(self) -> str:
        """Part of the name of the cached file."""
        more = ["ahead"] * self.ahead + [] if self.second_trace is None else [("alone", "second")[self.second_trace]]
        return "-".join([self.kind, self.precision, *map(str, self.ports), *more])


QUICK = Part("quick")


class Program:
    """A neuron model and its loaded parts.

    `texts` is the result of `generate.texts_of`; `tables` and `composed` map the precision to the address of the
    NEURON_MODEL, and of the NEURON_MAPS (composed maps), of a model compiled with the package.

    Attributes
    ----------
    definition : NeuronModel
        The model.
    learns : Learns
        Learned parameters of neurons.
    n_constants, n_states, n_ports, n_kept, n_adjoint, n_traces, n_traced : int
        Sizes, see `cython_core/neuron_model.h`.
    n_derived : int
        Number of derivatives of a step that take long to compute.
    """

    n_constants: int
    n_states: int
    n_ports: int
    n_kept: int
    n_adjoint: int
    n_traces: int
    n_traced: int
    n_derived: int

    def __init__(
        self,
        definition: NeuronModel,
        texts: str,
        learns: Learns = NO_LEARNS,
        tables: Mapping[str, int] | None = None,
        composed: Mapping[str, int] | None = None,
    ) -> None:
        self.definition, self.learns = definition, learns
        self._built_in, self._composed = dict(tables or {}), dict(composed or {})
        self._loaded: dict[Part, ctypes.CDLL] = {}
        self._tables: dict[tuple[str, bool], Table] = {}  # by precision, and whether compiled quickly
        given = json.loads(texts)
        for name, size in given["sizes"].items():
            setattr(self, name, size)
        known, self._trees = [*COMMON, *definition.parameters, "dt"], {}
        for name, text in given["constants"].items():
            self._trees[name] = parse_expression(text, known, f"constant {name}", internal=True)
            known.append(name)
        self._columns = [parse_expression(text, known, "a constant column", internal=True) for text in given["columns"]]
        self._initial = [
            (*names, parse_expression(text, known, "a slope", internal=True))
            for *names, text in given.get("initial", [])
        ]

    def get_address(self, real: type, *kinds: str) -> int:
        """Return the address of a NEURON_MODEL with the functions of some parts, compiling parts that are missing.

        `real` is `np.float64` or `np.float32`; `kinds` are kinds of parts, or "quick" alone.
        """
        precision = "double" if np.dtype(real).itemsize == 8 else "single"
        if self._built_in:
            return self._built_in[precision]
        self.load_parts([Part(kind, precision) for kind in kinds])
        return ctypes.addressof(self._tables[precision, kinds == ("quick",)])

    def load_parts(self, parts: Iterable[Part], comm: Later = None) -> None:
        """Load the parts that are not loaded yet; collective over `comm`."""
        wanted: list[Part] = []
        for part in parts:
            wanted += [Part("derive", part.precision)] if part.kind == "composed" and self.n_derived else []
            wanted.append(part)
        if lacking := [part for part in dict.fromkeys(wanted) if is_missing(comm, self.has_part(part))]:
            for part, content in zip(lacking, fetch_parts(self.definition, comm, lacking, self.learns), strict=True):
                if not self.has_part(part):
                    self._load(part, content)

    def has_part(self, part: Part) -> bool:
        """Return whether a part is loaded, or was compiled with the package."""
        of_package = part.ahead and any(self._composed.values()) if part.kind == "composed" else bool(self._built_in)
        return of_package or part in self._loaded

    def _load(self, part: Part, content: bytes) -> None:
        library = self._loaded[part] = load_library(content)
        if part.kind == "composed" and (derive := self._loaded.get(Part("derive", part.precision))):
            name = f"derive_{part.precision}"
            ctypes.c_void_p.in_dll(library, name).value = ctypes.cast(getattr(derive, name), ctypes.c_void_p).value
        if part.kind in (*_FUNCTIONS, "quick"):
            found, key = (
                _call_function(library, f"neuron_model_{part.precision}"),
                (part.precision, part.kind == "quick"),
            )
            table = self._tables.setdefault(key, Table.from_buffer_copy(Table.from_address(found)))
            for name in _FUNCTIONS.get(part.kind, ()):
                setattr(table, name, getattr(Table.from_address(found), name))

    def get_composed_address(self, composed: Part) -> int:
        """Return the address of the NEURON_MAPS of a part, compiled by `compile_model` or with the package."""
        if composed not in self._loaded:
            return self._composed[composed.precision]
        return _call_function(self._loaded[composed], f"neuron_maps_{composed.precision}")

    def get_composed_sizes(self, composed: Part) -> tuple[int, ...]:
        """Return the sizes of a NEURON_MAPS, from `n_numbers` on."""
        table = _ComposedTable.from_address(self.get_composed_address(composed))
        return tuple(int(getattr(table, name)) for name in _COMPOSED_SIZES)

    def compute_values(self, values: Given, dt_ms: float) -> Values:
        """Return parameters and constants of neurons as `NeuronModel.complete_values` does, without SymPy."""
        return self.definition.complete_values(values, dt_ms, self._trees)

    def compute_constants(self, values: Given, dt_ms: float, n: int | None = None) -> np.ndarray:
        """Return the constant columns of neurons, float64 (n_constants, n).

        `values` maps parameters to one value or one for each neuron; other parameters have their defaults. `n` is the
        number of neurons (None: the length of the longest array). Raises `InputError` if a constant of the model is not
        finite.
        """
        named = self.compute_values(values, dt_ms)
        return _fill_rows(
            (evaluate_tree(tree, named) for tree in self._columns), self.n_constants, _count_neurons(named, n)
        )

    def compute_initial(self, values: Given, dt_ms: float, n: int | None = None) -> np.ndarray:
        """Return the initial states, float64 (n_states, n); arguments and errors as for `compute_constants`."""
        named = self.compute_values(values, dt_ms)
        return _fill_rows(self.definition.compute_initial(named).values(), self.n_states, _count_neurons(named, n))

    def recompute_columns(self, values: Given, dt_ms: float, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return constants, initial states, and derivatives of these by learned parameters, (n_learned, n_states, n).

        The values may be infinite or NaN: a learned value may be bad on one rank only, and the next sample then ends
        the run.
        """
        named = self.definition.complete_values(values, dt_ms, self._trees, finite=False)
        states = list(self.definition.states)
        slopes = np.zeros((len(self.learns.names), self.n_states, n))
        for state, name, tree in self._initial:
            slopes[self.learns.names.index(name), states.index(state)] = evaluate_tree(tree, named)
        constants = _fill_rows((evaluate_tree(tree, named) for tree in self._columns), self.n_constants, n)
        return (
            constants,
            _fill_rows(self.definition.compute_initial(named, finite=False).values(), self.n_states, n),
            slopes,
        )


def _count_neurons(named: Values, n: int | None) -> int:
    """Return the number of neurons: n, or the length of the longest array."""
    return max((np.size(value) for value in named.values()), default=1) if n is None else n


def _fill_rows(values: Iterable[Numbers], count: int, n: int) -> np.ndarray:
    """Return numbers, or arrays (n,), as float64 (count, n)."""
    rows = np.empty((count, n))
    for row, value in zip(rows, values, strict=True):
        row[:] = value
    return rows


def is_shared(constants: np.ndarray, t_ref: np.ndarray) -> bool:
    """Return whether all neurons have the constants (n_constants, n) and refractory periods (n,) of the first one."""
    return bool(np.all(constants == constants[:, :1]) and np.all(t_ref == t_ref[:1]))


def compile_model(
    definition: NeuronModel, comm: object = None, parts: Iterable[Part] = (QUICK,), learns: Learns = NO_LEARNS
) -> Program:
    """Return the program of a model with the requested parts; collective over `comm` (None: one process).

    Rank 0 reads the parts from the cache or compiles them, then broadcasts them. `learns` lists the learned parameters
    of neurons. Raises `InputError` if there is no compiler, if it fails, or if no spike depends on a learned parameter.
    """
    key = definition.name, definition.digest, learns
    known = _programs.get(key) or (None if learns.names else _find_built_in(definition))
    texts = fetch_parts(definition, comm, [Part("texts")], learns) if is_missing(comm, known) else []
    program = _programs[key] = known or Program(definition, texts[0].decode(), learns)
    program.load_parts(parts, comm)
    return program


def is_missing(comm: Later, known: object) -> bool:
    """Collective: return whether any rank lacks something that other ranks may have loaded alone."""
    return not known if comm is None else bool(comm.allreduce(int(not known)))


def _find_built_in(definition: NeuronModel) -> Program | None:
    """Return the program of a model that was compiled with the package, see `built_in`; None for other models."""
    built_in = kernels.neuron_models.find(definition.digest)
    if not built_in:
        return None
    texts, *addresses = built_in
    tables, composed = (dict(zip(_PRECISIONS, some, strict=True)) for some in addresses)
    return Program(definition, texts, tables=tables, composed=composed)


def fetch_parts(
    definition: NeuronModel | Compilable, comm: Later, parts: Sequence[Part], learns: Learns = NO_LEARNS
) -> list[bytes]:
    """Collective: return parts of a model on all ranks, compiled for the lowest processor level of all ranks."""
    contents, problem, level = [], None, kernels.LEVEL
    levels = list(kernels.build_info.marches)
    if comm is not None:
        level = levels[int(np.argmax(comm.allreduce(np.array(levels) == level)))]
    if comm is None or comm.rank == 0:
        try:
            contents = _find_contents(definition, parts, level, learns)
        except ParepropError as error:
            problem = error
        except OSError as error:
            problem = InputError(f"{definition.here}: cannot compile: {error.strerror or error}")
    if comm is not None:
        contents, problem = comm.bcast((contents, problem), root=0)
    if problem is not None:
        raise problem
    return contents


def cache_folder() -> Path:
    """Return the folder of compiled models: PAREPROP_CACHE, or `pareprop` in the user's cache folder."""
    if given := os.environ.get("PAREPROP_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pareprop"


def fill_cache(
    definition: NeuronModel,
    levels: Iterable[str] = (),
    folder: Path | None = None,
    ports: Iterable[Collection[str]] = (),
) -> list[Path]:
    """Compile a model for later runs, in both precisions; return the paths of the files, both new and existing.

    `levels` are levels of the processor (none: the level in use), `folder` is the destination (None: the cache folder).
    `ports` lists groups of ports at which synapses learn together in the spike variant (none: all ports of the model,
    and each port separately). Raises `InputError` if the compiler is missing or fails, or a level or port is unknown.
    """
    folder, names = folder or cache_folder(), list(definition.ports)
    together = list(ports) or [names, *([name] for name in names)]
    if unknown := sorted(set().union(*together) - {*names}):
        raise InputError(f"{definition.here} has no port {quote(unknown[0])}{suggest_nearest(unknown[0], names)}")
    places = dict.fromkeys(tuple(sorted(map(names.index, some))) for some in together)
    slow = [*_FUNCTIONS, *["derive"] * bool(compile_model(definition, parts=()).n_derived)]
    parts = [Part("texts"), QUICK, *(Part(kind, precision) for kind in slow for precision in _PRECISIONS)]
    parts += [Part("composed", precision, some) for some in places for precision in _PRECISIONS]
    files_of: list[Path] = []
    levels = list(levels) or [kernels.LEVEL]
    at_once, total = len(os.sched_getaffinity(0)), len(levels) * len(parts)
    for level in levels:
        if level not in kernels.build_info.marches:
            known = ", ".join(kernels.build_info.marches)
            raise InputError(f"level {quote(level)} is unknown for this architecture; there are {known}")
        for first in range(0, len(parts), at_once):
            some = parts[first : first + at_once]
            paths = [folder / _file_name(definition, part, level) for part in some]
            if lacking := {path: part for path, part in zip(paths, some, strict=True) if _read(path) is None}:
                which = f" (file {len(files_of) + 1} of {total})"
                contents = _compile_parts(definition, [*lacking.values()], level, which=which)
                for path, content in zip(lacking, contents, strict=True):
                    _write_cache(path, content)
                    if not path.is_file():
                        raise InputError(f"{path}: cannot be written")
            files_of += paths
    return files_of


def _find_contents(
    definition: NeuronModel | Compilable, parts: Sequence[Part], level: str, learns: Learns = NO_LEARNS
) -> list[bytes]:
    """Return parts of a model: shipped with the package, from the cache, or compiled."""
    found: dict[Part, bytes] = {}
    for part in parts:
        for each in (part, part._replace(second_trace=None)):  # code for both cases works too
            name = _file_name(definition, each, level, learns)
            content = _read(SHIPPED / name, belongs_to_package=True) or _read(cache_folder() / name)
            if content is not None:
                found[part] = content
                break
    if lacking := [part for part in parts if part not in found]:
        for part, content in zip(lacking, _compile_parts(definition, lacking, level, learns), strict=True):
            found[part] = content
            _write_cache(cache_folder() / _file_name(definition, part, level, learns), content)
    return [found[part] for part in parts]


def _file_name(definition: NeuronModel | Compilable, part: Part, level: str, learns: Learns = NO_LEARNS) -> str:
    """Return the name of the file of a part of a model for a level of the processor."""
    suffix = part.suffix
    if learns.names:  # a hash, as there may be many names
        suffix += f"-learns-{hashlib.sha256(json.dumps(learns).encode()).hexdigest()[:16]}"
    return f"{definition.name}-{_compute_key(definition)[:40]}-{level}-{suffix}.so"


def _compute_key(definition: NeuronModel | Compilable) -> str:
    """Return a hash of everything that decides a shared object, except the level."""
    here = Path(__file__).parent
    names = "language terms slopes dynamics symbols derive stored_terms expressions generate stages".split()
    names += ["composed_maps", "composed_map_rows", "entries", "model", "surrogates"]
    texts = [(here / f"{name}.py").read_bytes() for name in names]
    texts += [text.encode() for text in _read_headers().values()]
    texts += [path.read_bytes() for path in getattr(definition, "code_files", ())]
    parts = [definition.digest, kernels.build_info.compiler, kernels.build_info.flags, platform.machine()]
    return hashlib.sha256(b"\0".join([*texts, *map(str.encode, parts)])).hexdigest()


def _read_headers() -> dict[str, str]:
    folder = Path(kernels.build_info.__file__).parent
    return {name: (folder / name).read_text() for name in _HEADERS}


def _read(path: Path, belongs_to_package: bool = False) -> bytes | None:
    """Return a cached shared object; None if it is incomplete, or belongs neither to the user nor to the package."""
    try:
        with files.open_regular(path) as file:
            status = os.fstat(file.fileno())
            content = file.read()
    except OSError:
        return None
    whole = _compute_seal(path, content[:-_DIGEST]) == content[-_DIGEST:]
    own = belongs_to_package or (status.st_uid in (os.getuid(), 0) and not status.st_mode & 0o022)
    return content[:-_DIGEST] if whole and own else None


def _compute_seal(path: Path, content: bytes) -> bytes:
    """Return the checksum of a cached file, which also depends on the file's name: model and key."""
    return hashlib.sha256(path.name.encode() + b"\0" + content).digest()


def _write_cache(path: Path, content: bytes) -> None:
    """Write into the cache under a temporary name first, so that no other run reads a partial file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    except OSError:
        return  # without a cached file the next run compiles again
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content + _compute_seal(path, content))
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)


def _compile_parts(
    definition: NeuronModel | Compilable,
    parts: Sequence[Part],
    level: str,
    learns: Learns = NO_LEARNS,
    which: str = "",
) -> list[bytes]:
    """Generate the C of parts of a model and compile them; the progress line ends with `which` of several files this
    is.
    """
    chosen = os.environ.get("PAREPROP_CC", "")  # for nodes without the compiler that built the package; same bits
    command = shlex.split(chosen or kernels.build_info.compiler)
    if command and Path(command[0]).name == "ccache":
        del command[0]
    here = definition.here
    needed = any(part.kind != "texts" for part in parts)
    if needed and (not command or shutil.which(command[0]) is None):
        name = command[0] if command else "cc"
        others = [
            name
            for name in kernels.build_info.marches
            if all((cache_folder() / _file_name(definition, part, name, learns)).is_file() for part in parts)
        ]
        kept = f", which holds it for level {' and '.join(others)} alone, not for {level}" if others else ""
        which = "of PAREPROP_CC" if chosen else "the one that built pareprop"
        raise InputError(
            f"{here} must be compiled, and there is no C compiler '{name}' ({which}) on this machine; load or install "
            "it, name another in PAREPROP_CC, or let `pareprop compile` fill the folder PAREPROP_CACHE on another "
            f"machine{kept}"
        )
    with (
        terminal.show_progress(here + which, "its derivatives are taken") as show,
        ThreadPoolExecutor(len(parts)) as pool,
    ):
        started = []
        for part in parts:
            source = _generate_source(definition, part, learns)
            if (lines := source.count("\n")) > _LINES:
                raise InputError(
                    f"{here}: its equations become {lines} lines of C, more than {_LINES}, which take a compiler "
                    "minutes; write shorter equations, or fewer states"
                )
            work = (
                source.encode
                if part.kind == "texts"
                else partial(_run_compiler, here, command, source, level, part.kind)
            )
            started.append(pool.submit(work))
        show("its code is compiled, and cached for later runs")
        return [one.result() for one in started]


def _generate_source(definition: NeuronModel | Compilable, part: Part, learns: Learns) -> str:
    """Generate the C of a part of a model, or its texts."""
    from .generate import generate_model, source_of, texts_of

    if not isinstance(definition, NeuronModel):
        return definition.write_source(_read_headers(), part)
    kind, precision, *maps = part
    ports, ahead, second_trace = maps if kind == "composed" else (None, False, None)
    generated = generate_model(definition, ports=ports, learns=learns, ahead=ahead, second_trace=second_trace)
    if kind == "texts":
        return texts_of(generated)
    return source_of(
        generated.write_source(*(_FUNCTIONS if kind == "quick" else (kind,))), _read_headers(), [precision]
    )


def _run_compiler(here: str, command: list[str], source: str, level: str, kind: str) -> bytes:
    """Compile C for a level of the processor; `here` describes the model in messages."""
    with tempfile.TemporaryDirectory(prefix="pareprop-") as folder:
        text, target = Path(folder, "model.c"), Path(folder, "model.so")
        text.write_text(source)
        built = kernels.build_info
        flags = [*shlex.split(built.marches[level]), *shlex.split(built.flags), *_OPTIMIZE.get(kind, _LIGHT)]
        flags += ["-g0", "-w", "-fPIC", "-shared", "-fvisibility=hidden"]
        try:
            done = subprocess.run(
                [*command, *flags, str(text), "-o", str(target), "-lm"],
                capture_output=True,
                check=False,
                timeout=_SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise InputError(f"{here}: the C compiler '{command[0]}' took longer than {_SECONDS} s") from None
        if done.returncode or not target.is_file():
            lines = done.stderr.decode(errors="replace").splitlines()
            said = next((line for line in lines if "error" in line), lines[-1] if lines else "")
            raise InputError(
                f"{here}: the C compiler '{command[0]}' cannot compile it (exit code {done.returncode}"
                f"{f': {said.strip()}' if said else ''}); compile the package again with a compiler that works"
            )
        return target.read_bytes()


def bind_call(address: int, arguments: Sequence[object]) -> Callable[[], None]:
    """Return a call of a compiled function; arrays, which it does not keep alive, are passed by address, `None` as
    NULL.
    """
    numbers: dict[type, type] = {float: ctypes.c_double, np.float64: ctypes.c_double, np.float32: ctypes.c_float}
    types: list[type] = [
        ctypes.c_void_p if item is None or isinstance(item, np.ndarray) else numbers.get(type(item), ctypes.c_int64)
        for item in arguments
    ]
    given = [(item.ctypes.data if item.size else None) if isinstance(item, np.ndarray) else item for item in arguments]
    return partial(ctypes.CFUNCTYPE(None, *types)(address), *given)


def _call_function(library: ctypes.CDLL, name: str) -> int:
    """Return the address that a function of a library returns."""
    function = getattr(library, name)
    function.restype, function.argtypes = ctypes.c_void_p, []
    return function()


def load_library(content: bytes) -> ctypes.CDLL:
    """Load a shared object from memory, or through a temporary file on systems without memfd."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pareprop-model")  # stays open: the loader knows a library by its path
        try:
            os.write(descriptor, content)
            return ctypes.CDLL(f"/proc/self/fd/{descriptor}")
        except OSError:
            os.close(descriptor)  # no /proc
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        file.write(content)
        file.flush()
        return ctypes.CDLL(file.name)
