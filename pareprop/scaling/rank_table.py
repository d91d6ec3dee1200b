"""The table of `predict --ranks N,N...`: time, memory, core hours, efficiency and limiting phase by number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..errors import InputError
from .predict import Prediction

HEAD = ("ranks", "nodes", "seconds", "MiB per rank", "GB per node", "core hours", "efficiency")
MAX_ROWS = 64
DOTS = ("...", "…")


def parse_ranks(text: str, most: int) -> list[int]:
    """Return the numbers of ranks in a list such as "64", "1,2,8" or "1,2,...,1024"; dots continue by the same factor.

    Raise `InputError` unless the numbers ascend and lie in 1 to `most`.
    """
    here = f"--ranks {text[:80]}"
    numbers: list[int] = []
    parts = [part.strip() for part in text.split(",")]
    for k, part in enumerate(parts):
        if part in DOTS:
            factor, rest = divmod(numbers[-1], numbers[-2]) if len(numbers) > 1 else (0, 1)
            last = parts[k + 1] if k + 1 < len(parts) else ""
            if rest or factor < 2 or not last.isdecimal() or len(last) > 9:
                raise InputError(f"{here}: dots go between two numbers, one a multiple of the other, and a last one")
            while numbers[-1] * factor < min(int(last), most):
                numbers.append(numbers[-1] * factor)
        elif part.isdecimal() and part.isascii() and len(part) < 10 and 1 <= int(part) <= most:
            numbers.append(int(part))
        else:
            raise InputError(f"{here}: '{part[:20]}' must be a whole number from 1 to {most}")
    if any(a >= b for a, b in pairwise(numbers)) or len(numbers) > MAX_ROWS:
        raise InputError(f"{here}: the numbers must ascend, at most {MAX_ROWS} of them")
    return numbers


def format_table(predictions: Sequence[Prediction], node_bytes: float) -> list[str]:
    """Return a table of predictions, by ascending number of ranks, as lines; efficiency is relative to the first."""
    first = predictions[0]
    rows = [(*HEAD, "limited by")]
    for item in predictions:
        efficiency = first.seconds * first.ranks / (item.seconds * item.ranks) if item.seconds else 1.0
        rows.append(
            (
                f"{item.ranks}",
                f"{item.nodes}",
                f"{item.seconds:.4g}",
                f"{item.rank_bytes / 2**20:.0f}",
                f"{item.node_bytes / 1e9:.3g}",
                f"{item.core_hours:.3g}",
                f"{efficiency:.2f}",
                "memory of a node" if item.node_bytes > node_bytes else find_limiting_phase(item),
            )
        )
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(n) if k == len(wide) - 1 else text.rjust(n)
            for k, (text, n) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]


def find_limiting_phase(item: Prediction) -> str:
    """Return the phase that takes most of the time, with its fraction."""
    name, seconds = max(item.phases.items(), key=lambda phase: phase[1])
    return f"{name} ({seconds / item.seconds:.0%})" if item.seconds else ""
