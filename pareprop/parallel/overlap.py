"""Let nodes compute while messages between them are under way: how long rounds are, and how long messages may take."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..errors import InputError, quote

VARIABLE = "PAREPROP_OVERLAP"


class Rounds(NamedTuple):
    """Steps of rounds.

    Attributes
    ----------
    between : int
        Steps between exchanges of nodes, or of all ranks of a single node.
    within : int
        Steps between meetings of the ranks of a node, at most.
    overlap : int
        Steps of the next round that ranks run while messages are under way.
    """

    between: int
    within: int
    overlap: int = 0


def asked() -> int:
    """Return how many steps PAREPROP_OVERLAP says that ranks run while messages are under way; by default 0.

    Raises
    ------
    InputError
        If that is not a whole number of at least 0.
    """
    text = os.environ.get(VARIABLE, "")
    if text and not (text.isdecimal() and text.isascii()):
        raise InputError(f"{VARIABLE} = {quote(text)} must be a whole number of steps of at least 0")
    return int(text or 0)


def most(delay: int) -> int:
    """Return the most steps that can overlap where spikes take `delay` steps between nodes: one message at a time."""
    return delay // 2


def shorten(within: int, between: int, overlap: int, longest: int = 0) -> Rounds:
    """Return rounds of which the last spikes are still on their way while ranks run the next steps.

    Parameters
    ----------
    within, between : int
        Steps that spikes take at least within a node, and between nodes.
    overlap : int
        Steps that are asked for.
    longest : int
        Most steps of a round that are asked for; 0: as many as delays allow.
    """
    longest = longest or between
    overlap = min(overlap, most(between), longest)
    return Rounds(min(longest, between - overlap), min(longest, within), overlap)
