"""Building a network takes time that grows with the number of populations, not with its square."""

import sys
from collections import Counter
from types import FrameType
from typing import Any

import numpy as np
import pytest
from small import READOUT, Noise

from pareprop import GradientDescent, Model, Simulation

FEW, MANY = 12, 36
LEAST = 100  # lines that run less often are left out: some populations are compiled or shown, others are not


def count_lines(variant: str, kind: str, rule: str | None, n: int) -> Counter[tuple[str, int]]:
    """Return how often each line of the package runs while a network of `n` populations is built and trained."""
    found = Counter[tuple[str, int]]()

    def trace_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            found[frame.f_code.co_filename, frame.f_lineno] += 1
        return trace_line

    def trace_call(frame: FrameType, *_: Any) -> Any:
        return trace_line if str(frame.f_globals.get("__name__")).startswith("pareprop.") else None

    before = sys.gettrace()
    sys.settrace(trace_call)
    try:
        model = Model(variant, optimizer=GradientDescent(eta=1e-4))
        out = model.readouts("out", 1, **READOUT)
        for k in range(n):
            cells = model.neurons(f"rec{k}", 2, kind)
            model.connect(model.inputs(f"in{k}", 1), cells, weight=1.0, learning_rule=rule)
            model.connect(cells, out, weight=1.0)
            model.connect(out, cells, weight=1.0)
        Simulation(model, Noise(np.zeros((10, 1)), n), quiet=True).train(1)
    finally:
        sys.settrace(before)
    return found


@pytest.mark.parametrize(
    ("variant", "kind", "rule"),
    [
        ("interval", "iaf", None),
        ("interval", "izhikevich", None),
        ("spike", "iaf", None),
        ("spike", "izhikevich", None),
        ("spike", "iaf", "pair_stdp"),
    ],
)
def test_no_line_runs_for_each_pair_of_populations(variant: str, kind: str, rule: str | None) -> None:
    """A line that does runs nine times as often in a network of three times as many."""
    count_lines(variant, kind, rule, 2)  # compiles, imports
    few, many = (count_lines(variant, kind, rule, n) for n in (FEW, MANY))
    squared = {line: n for line, n in many.items() if n > LEAST and n > 5 * few[line]}
    assert len(many) > 500 and not squared, squared
