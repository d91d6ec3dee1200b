"""Shared by the commands of this subpackage: the largest number of ranks, and the refusal to run under mpirun."""

from __future__ import annotations

from ..errors import InputError
from ..parallel.exchange import Exchange

MAX_RANKS = 2**24  # more ranks or nodes are refused


def require_one_process(exchange: Exchange) -> None:
    """Raise `InputError` if a command that starts ranks itself, or needs none, was started on several."""
    if exchange.size > 1:
        raise InputError("this command starts ranks itself or needs none; run it without mpirun")
