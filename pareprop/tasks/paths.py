"""Paths in the plane: of a word in a single-stroke font or of a user's file; resampled at equal distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .. import elementary, files
from ..errors import InputError

FONT = "cursive"
LIMIT = 2**24  # longer files of points, in bytes, are refused


def draw_word(word: str) -> np.ndarray:
    """Return the path of a word, (n, 2), with straight lines where the pen is lifted.

    Letters that the font (Hershey's, of ASCII) does not have raise `InputError`.
    """
    from HersheyFonts import HersheyFonts

    foreign = sorted({letter for letter in word if not 32 <= ord(letter) < 127})
    if foreign or not word.strip():
        raise InputError(f"word = '{word}': must have letters of ASCII" + (f", not {foreign}" if foreign else ""))
    font = HersheyFonts()
    font.load_default_font(FONT)
    font.normalize_rendering(1.0)
    points = np.array([point for stroke in font.strokes_for_text(word) for point in stroke])
    return _drop_repeats(points, f"word = '{word}'")


def read_path(path: Path) -> np.ndarray:
    """Return x and y of every line of a file, (n, 2), separated by comma, semicolon or blanks.

    A heading and lines with # are skipped. A line without two finite numbers raises `InputError` with file and line.
    """
    with files.input_errors(f"path = '{path}': cannot be read", ValueError):
        lines = files.read(path, LIMIT).decode().splitlines()
    points: list[tuple[float, float]] = []
    for number, line in enumerate(lines, 1):
        words = line.replace(",", " ").replace(";", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            x, y = map(float, words)
        except ValueError:
            if not points and number == 1:
                continue
            raise InputError(f"path = '{path}': line {number}, '{line[:40]}', must be two numbers x,y") from None
        if not (np.isfinite(x) and np.isfinite(y)):
            raise InputError(f"path = '{path}': line {number}, '{line[:40]}', must be finite")
        points.append((x, y))
    return _drop_repeats(np.array(points).reshape(-1, 2), f"path = '{path}'")


def _drop_repeats(points: np.ndarray, origin: str) -> np.ndarray:
    """Return the points without those that equal their predecessor."""
    points = points.reshape(-1, 2)
    moved = np.any(np.diff(points, axis=0) != 0, axis=1)
    if not moved.any():
        raise InputError(f"{origin}: has fewer than two different points")
    return points[np.concatenate([[True], moved])]


def resample_path(points: np.ndarray, n: int) -> np.ndarray:
    """Return `n` points of a polyline (m, 2) at equal distances along it, (n, 2)."""
    steps = np.diff(points, axis=0)
    x, y = np.ldexp(steps, -np.frexp(np.abs(steps).max())[1]).T  # scaled to at most 1, so that squares are finite
    length = np.concatenate([[0.0], np.cumsum(np.sqrt(x * x + y * y))])
    places = np.linspace(0.0, length[-1], n)
    return np.column_stack([elementary.interpolate(places, length, column) for column in points.T])


def normalize_path(points: np.ndarray) -> np.ndarray:
    """Divide each coordinate by its largest absolute value, then subtract its mean, as NEST's tutorial does."""
    largest = np.abs(points).max(axis=0)
    scaled = points / np.where(largest > 0, largest, 1.0)
    return scaled - np.cumsum(scaled, axis=0)[-1] / len(scaled)
