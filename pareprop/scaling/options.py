"""What commands that start ranks themselves have in common."""

from __future__ import annotations

from ..errors import InputError
from ..parallel.exchange import Exchange

MOST = 2**24  # ranks or nodes


def require_one_process(exchange: Exchange) -> None:
    """Raise `InputError` if a command that starts ranks itself, or needs none, was started on several."""
    if exchange.size > 1:
        raise InputError("this command starts ranks itself or needs none; run it without mpirun")
