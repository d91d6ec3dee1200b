"""Options that several commands have (`--set`, `--trust`), and types of option values."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import click
from click.decorators import FC

from ..errors import quote
from ..values import AnyValue


class FiniteFloat(click.FloatRange):
    """A finite number within bounds; click itself takes `nan` for a number within any bounds."""

    def convert(self, value: AnyValue, param: click.Parameter | None, ctx: click.Context | None) -> AnyValue:
        """Convert text to a finite number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number.", param, ctx)
        return number


class GivenPath(click.Path):
    """A path; names that no file system takes are refused before any file system is asked."""

    def convert(self, value: AnyValue, param: click.Parameter | None, ctx: click.Context | None) -> AnyValue:
        """Convert text to a path."""
        name = os.fspath(value)
        try:
            parts = os.fsencode(name).split(b"/")
        except UnicodeEncodeError:
            self.fail(f"{quote(name)} is not the name of a file.", param, ctx)
        if max(map(len, parts)) > 255 or len(os.fsencode(name)) > 4000 or "\0" in name or not name:
            self.fail(f"{quote(name)} is not the name of a file.", param, ctx)
        return super().convert(value, param, ctx)


TRUST = click.option(
    "--trust",
    is_flag=True,
    help="Import code, such as an environment, that the configuration of a run names; needed for runs of others.",
)
SET, SET_NEURONS = (
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help=f"Change a {what}; repeatable.")
    for what in (
        "key of the configuration, such as eta=0.01 or record.every=10", "parameter of the neurons, such as V_th=0.6"
    )
)  # fmt: skip
TIME_STEP = click.option(
    "--dt", "dt_ms", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Time step in ms [1]."
)


def make_picture_option(text: str) -> Callable[[FC], FC]:
    """Return the option `--out` of a command that may draw what `text` says."""
    return click.option("--out", type=GivenPath(dir_okay=False, path_type=Path), metavar="FILE.png", help=text)
