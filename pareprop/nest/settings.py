"""Kernel parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..errors import quote
from ..network.parameters import is_number, is_whole
from ..values import AnyValue, Given, Numbers, Values
from .errors import NESTErrors, make_refusal
from .versions import VERSIONS

DEFAULTS: Values = {
    "resolution": 0.1, "rng_seed": 143202461, "rng_type": "mt19937_64", "total_num_virtual_procs": 1,
    "local_num_threads": 1, "print_time": False, "overwrite_files": False, "data_path": "", "data_prefix": "",
    "eprop_update_interval": 1000.0, "eprop_learning_window": 1000.0, "eprop_reset_neurons_on_update": True,
    "keep_source_table": True, "use_compressed_spikes": True, "eprop_delays_above_one_step": False,
    "eprop_nest_losses": False, "eprop_as": "",
    # from here on without effect: buffers, waveforms and growth that only NEST has
    "adaptive_target_buffers": True, "buffer_size_spike_data": 2, "buffer_size_target_data": 2,
    "dict_miss_is_error": True, "growth_factor_buffer_spike_data": 1.5, "growth_factor_buffer_target_data": 1.5,
    "max_buffer_size_target_data": 16777216,
    "spike_buffer_grow_extra": 0.5, "spike_buffer_shrink_limit": 0.2, "spike_buffer_shrink_spare": 0.1,
    "structural_plasticity_update_interval": 10000.0, "update_time_limit": math.inf, "use_wfr": True,
    "wfr_comm_interval": 1.0, "wfr_interpolation_order": 3, "wfr_max_iterations": 15, "wfr_tol": 1e-4,
}  # fmt: skip
DELAY_RANGE = ("min_delay", "max_delay")
KEPT_BY_RESET = (  # settings that NEST's ResetKernel does not change
    "eprop_update_interval",
    "eprop_learning_window",
    "eprop_reset_neurons_on_update",
    "data_path",
    "data_prefix",
    "adaptive_target_buffers",
)
INTERVALS = ("eprop_learning_window", "eprop_update_interval")
MS_PER_TIC = 0.001  # of NEST's clock
MOST_STEPS = 2**31
MOST_PROCESSES = 2**16  # virtual ones, with a random number generator each
FIXED_IN_A_RUN = {
    "resolution",
    "eprop_update_interval",
    "eprop_learning_window",
    "eprop_reset_neurons_on_update",
    "rng_seed",
    "total_num_virtual_procs",
    "local_num_threads",
    "rng_type",
    "eprop_nest_losses",
    "eprop_as",
}


def merge_settings(present: Given, values: Given, runs: bool, has_nodes: bool) -> Values:
    """Return the kernel parameters after a change of the present ones by `values`.

    `runs` is whether the network was simulated, `has_nodes` whether there are nodes. Raises a `ValueError` for an
    unknown name, and a `KernelException` for a value that is out of bounds or comes too late.
    """
    if unknown := [key for key in values if key not in DEFAULTS]:
        raise ValueError(f"`{unknown[0]}` is not a valid kernel parameter, valid parameters are: {sorted(DEFAULTS)}")
    try:
        given = {key: _cast_value(key, value) for key, value in values.items()}
    except OverflowError:
        raise NESTErrors.TypeMismatch("a kernel parameter has a value beyond all numbers") from None
    for key, value in given.items():
        if runs and key in FIXED_IN_A_RUN and value != present[key]:
            raise make_refusal(f"another {key} after the first step", "set it before")
        if key == "resolution" and has_nodes and value != present[key]:
            raise NESTErrors.KernelException("resolution cannot change when nodes exist")
    merged = dict(present) | given
    if "local_num_threads" in values and "total_num_virtual_procs" not in values:
        merged["total_num_virtual_procs"] = merged["local_num_threads"]
    _check(merged)
    if "eprop_learning_window" in values and merged["eprop_learning_window"] > merged["eprop_update_interval"]:
        raise NESTErrors.KernelException(
            f"eprop_learning_window = {merged['eprop_learning_window']} must be at most eprop_update_interval = "
            f"{merged['eprop_update_interval']}"
        )
    check_intervals(merged, values.keys() & set(INTERVALS))
    return merged


def read_delays(values: Given, dt: float, has_connections: bool) -> tuple[int, int]:
    """Return the smallest and the largest delay that a script sets, in steps; `values` has `DELAY_RANGE` in ms."""
    low, high = (_cast_value(key, values[key], float) if key in values else None for key in DELAY_RANGE)
    if low is None or high is None:
        raise NESTErrors.BadProperty("Both min_delay and max_delay have to be specified")
    if has_connections:
        raise NESTErrors.BadProperty("Connections already exist. Please call ResetKernel first")
    if not low >= dt * (1 - 1e-9):
        raise NESTErrors.BadDelay(f"Delay value {low} is invalid: min_delay must be at least the resolution, {dt}.")
    if not low <= high <= MOST_STEPS * dt:
        raise NESTErrors.BadDelay(
            f"Delay value {high} is invalid: max_delay must be at least min_delay, and at most {MOST_STEPS} steps."
        )
    return int(low / dt + 1e-9), int(to_steps(np.array(high), dt))


def _cast_value(key: str, value: object, kind: type | None = None) -> AnyValue:
    """A value as the type that NEST takes, no other."""
    kind = kind or type(DEFAULTS[key])
    good = {
        bool: isinstance(value, bool | np.bool_),
        str: isinstance(value, str),
        int: is_whole(value),
        float: is_number(value),
    }[kind]
    if not good:
        raise NESTErrors.TypeMismatch(f"{key} = {quote(value)} must be of type {kind.__name__}")
    return kind(value)


def _check(values: Given) -> None:
    for key in ("resolution", "eprop_update_interval", "eprop_learning_window"):
        if not 0 < values[key] < math.inf:
            raise NESTErrors.BadProperty(f"{key} = {values[key]} must be finite and above 0")
        if values[key] > MOST_STEPS * values["resolution"]:
            raise NESTErrors.BadProperty(f"{key} = {values[key]} must be at most {MOST_STEPS} steps of the resolution")
    for key in ("total_num_virtual_procs", "local_num_threads"):
        if not 1 <= values[key] <= MOST_PROCESSES:
            raise NESTErrors.BadProperty(f"{key} = {values[key]} must lie in [1, {MOST_PROCESSES}]")
    if not 0 < values["rng_seed"] < 2**32:
        raise NESTErrors.BadProperty(f"rng_seed = {values['rng_seed']} must lie in (0, 2^32)")
    if values["eprop_as"] not in ("", *VERSIONS):
        raise NESTErrors.BadProperty(f"eprop_as = {quote(values['eprop_as'])} must be one of {', '.join(VERSIONS)}")
    if not values["dict_miss_is_error"]:
        raise make_refusal("dict_miss_is_error = False", "leave out the parameters that models do not have")
    if values["rng_type"] != "mt19937_64":
        raise make_refusal(f"rng_type = {values['rng_type']}", "use mt19937_64")


def check_intervals(values: Given, keys: Iterable[str] = INTERVALS) -> None:
    """Raise `BadProperty` for an update interval, or a learning window, that is not a whole number of steps."""
    dt = values["resolution"]
    for key in keys:
        if abs(values[key] / dt - round(values[key] / dt)) > 1e-9 * values[key] / dt:
            raise NESTErrors.BadProperty(f"{key} = {values[key]} must be a multiple of the resolution, {dt}")


def to_steps(times: np.ndarray, dt: float) -> np.ndarray:
    """Steps at whose end, or before it, times in ms lie: int64."""
    steps = times / dt
    nearest = np.rint(steps)
    near = np.abs(steps - nearest) <= 1e-9 * np.maximum(1.0, np.abs(steps))
    return np.where(near, nearest, np.ceil(steps)).astype(np.int64)


def to_ms(steps: Numbers, dt: float) -> Numbers:
    """Times of steps in ms, to the last bit as NEST computes them: in tics."""
    return steps * round(dt / MS_PER_TIC) * MS_PER_TIC
