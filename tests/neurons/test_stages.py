"""Loops over neurons cut into stages: each computes what the one loop does, bit by bit."""

import math
import random
import re

import numpy as np
import pytest

from pareprop.neurons import library
from pareprop.neurons.calls import Cells
from pareprop.neurons.compile import compile_model
from pareprop.neurons.stages import BLOCK, split_loop

PYTHON = {"exp": math.sin, "log": math.cos, "tanh": math.atan}  # any functions will do


def run(loops: list[list[str]], buffers: list[str], n: int) -> dict[str, list[float]]:
    """Run the loops in Python; functions of the language stand as `@name(...)`."""
    arrays = {name: [0.1 * k + j for j in range(n)] for k, name in enumerate(("a", "b", "c"))}
    arrays |= {name: [math.nan] * n for name in [*buffers, "out", "psi"]}
    for loop in loops:
        for j in range(n):
            names: dict[str, float] = {}
            for line in loop:
                target, text = re.fullmatch(r"(?:const REAL )?(.+?) = (.*);", line).groups()
                value = eval(text.replace("@", ""), PYTHON | arrays | {"j": j}, names)
                if target.endswith("[j]"):
                    arrays[target[:-3]][j] = value
                else:
                    names[target] = value
    return arrays


def draw(seed: int) -> list[str]:
    """Return a random body: loads, sums, functions of what was there before, and what is written."""
    rng = random.Random(seed)
    lines, names = [f"const REAL t{k} = {name}[j];" for k, name in enumerate("abc")], ["t0", "t1", "t2"]
    for k in range(3, rng.randint(6, 25)):
        if rng.random() < 0.3:
            text = f"@{rng.choice(list(PYTHON))}({rng.choice(names)})"
        else:
            text = f"{rng.choice(names)} {rng.choice('+-*')} {rng.choice(names)}"
        names.append(f"t{k}")
        lines.append(f"const REAL t{k} = {text};")
        if rng.random() < 0.1:
            lines.append(f"psi[j] = t{k};")
    return [*lines, f"a[j] = {rng.choice(names)};", f"out[j] = {names[-1]};"]


def test_stages_compute_the_same() -> None:
    """300 random bodies, of which many are cut."""
    n_cut = 0
    for seed in range(300):
        lines = draw(seed)
        buffers, loops = split_loop(lines)
        n_cut += len(loops) > 1
        expected, found = run([lines], [], 3), run(loops, buffers, 3)
        assert all(found[name] == expected[name] for name in ("a", "b", "c", "out")), seed
        np.testing.assert_array_equal(found["psi"], expected["psi"])
        for loop in loops[:-1]:
            assert not any(line.startswith(("a[j]", "out[j]", "psi[j]")) for line in loop)  # inputs stay until the last
    assert 50 < n_cut < 300


@pytest.mark.parametrize("real", [np.float64, np.float32])
def test_blocks_do_not_matter(real: type) -> None:
    """Neurons of several blocks and a rest do what each does alone."""
    n = 2 * BLOCK + 21
    program, draw_ = compile_model(library.get_definition("adex")), np.random.default_rng(1)
    current, arriving = draw_.uniform(300.0, 900.0, n), draw_.normal(0.0, 300.0, (12, 1, n))
    signal, rate = draw_.normal(size=(2, n))
    chosen = [0, 7, BLOCK - 1, BLOCK, 2 * BLOCK - 1, 2 * BLOCK, n - 1]

    def go(which: np.ndarray) -> list[np.ndarray]:
        cells = Cells(program, len(which), {}, 1.0, real)
        rows, found = [cells.before], []
        for step in arriving:
            z, psi, kept = cells.step(step[:, which], current[which])
            rows.append(kept)
            found += [z, psi, cells.state.copy()]
        adjoint = np.zeros((program.n_adjoint, len(which)), real)
        given = [np.ascontiguousarray(values[which], real) for values in (signal, rate)]
        for before, kept, psi in zip(rows[-2::-1], rows[:0:-1], found[-2::-3], strict=True):
            found += [cells.run_backward_step(before, kept, 0.1, *given, adjoint, psi), adjoint.copy()]
        return found

    together = go(np.arange(n))
    assert any(values.any() for values in together[::3])  # some spike
    for j in chosen:
        for one, all_ in zip(go(np.array([j])), together, strict=True):
            np.testing.assert_array_equal(one[..., 0], all_[..., j])
