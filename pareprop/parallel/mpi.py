"""Addresses of MPI's calls and handles, for compiled code that is built without MPI's headers."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from ..errors import InputError

DRIVERS = ("libibverbs", "libpsm2", "libcxi")
UNUSED = "not used: MPI loaded no driver"
Comm = Any  # a communicator: of mpi4py, which is imported where ranks start alone, or a stand-in; None for one process
SIZES = (4, 8)  # bytes of a handle: a number (MPICH and its kin) or a pointer (Open MPI)


def find_address(comm: Comm, call: str) -> tuple[int | None, int, int] | None:
    """Return addresses for calling MPI from compiled code: of function `call`, of `comm`, and of MPI_UINT32_T.

    The result is None for a stub communicator in Python.
    """
    if not hasattr(comm, "Get_attr"):
        return None
    from mpi4py import MPI  # starts MPI, so not at the top of the file

    size = MPI._sizeof(MPI.Comm)
    require_handles(size)
    function = ctypes.cast(getattr(ctypes.CDLL(MPI.__file__), call), ctypes.c_void_p).value
    mask = (1 << 8 * size) - 1
    return function, _to_signed(MPI._handleof(comm) & mask), _to_signed(MPI._handleof(MPI.UINT32_T) & mask)


def find_operation(comm: Comm, name: str) -> object:
    """Return an operation of MPI, such as "MAX"; its name for a stand-in written in Python."""
    if not hasattr(comm, "Get_attr"):
        return name
    from mpi4py import MPI  # where there is a communicator, it is loaded

    return getattr(MPI, name)


def describe_interconnect(devices: Path = Path("/sys/class/infiniband"), maps: Path = Path("/proc/self/maps")) -> str:
    """Return the InfiniBand (or RoCE, Omni-Path) devices of this node, and whether MPI loaded their driver.

    MPI libraries use TCP without a warning if libibverbs, or a library that replaces it, is missing. `devices` is a
    folder with an entry for each device, `maps` the list of libraries of this process after the start of MPI. The
    result is such as "mlx5_0, by libibverbs" or "mlx5_0, not used: MPI loaded no driver"; "" for a node without
    devices.
    """
    try:
        names = sorted(path.name for path in devices.iterdir())
        loaded = maps.read_text()
    except OSError:
        return ""
    if not names:
        return ""
    driver = next((library for library in DRIVERS if f"/{library}" in loaded), None)
    return f"{', '.join(names)}, {f'by {driver}' if driver else UNUSED}"


def require_handles(n_bytes: int) -> None:
    """Raise `InputError` unless handles of `n_bytes` fit the calls of compiled code."""
    if n_bytes not in SIZES:
        raise InputError(f"this MPI library has handles of {n_bytes} bytes, must be 4 or 8: build mpi4py with another")


def _to_signed(handle: int) -> int:
    """Return the same 64 bits as a number with a sign."""
    return handle - (1 << 64) if handle >> 63 else handle
