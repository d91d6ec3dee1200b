"""Any value of any argument of a network that a script describes."""

import gc
import random
import warnings
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import limit_process, until

from pareprop import Model, Normal, Uniform
from pareprop.errors import InputError
from pareprop.network.local import LocalNetwork

ANY = [
    None, True, 0, -0.0, 1, -1, 0.5, 5e-324, 1e-300, 1e300, np.finfo(float).max, np.inf, -np.inf, np.nan, 10**400,
    2**31, 2**63, "x", "1", "", "\ud800", "x" * 10**5, b"1", 1j, (), [1, 2], [[1, 2], [3, 4]], [[1], [1, 2]], {}, {1},
    {"mean": 1.0, "std": "a"}, range(3), object(), int, Decimal(1), Fraction(1, 2), Path("/missing"), Normal(std=1e300),
    Uniform(low=-1.0, high=1e308), np.float32(0.5), np.float16(0.5), np.int8(1), np.bool_(True), np.array(1.0),
    np.array([1.0, np.nan]), np.array([1j, 2j]), np.array([None]), np.array(["a"]), np.datetime64("2020"),
]  # fmt: skip
CELL = {"C_m": 1.0, "E_L": 0.0, "tau_m": 20.0}
SPACE = {"extent": (1.0, 1.0), "length": 0.2, "cutoff": 0.4, "periodic": True, "sources": None, "targets": None}
PARTS: dict[str, dict[str, Any]] = {
    "Model": dict.fromkeys(["seed", "dt_ms", "populations", "projections", "optimizer", "precision", "local", "loss"]),
    "inputs": {"name": "in", "size": 4, "sign": 0},
    "neurons": {
        "name": "rec", "size": 6, "model": "iaf", "sign": 0, **CELL, "V_m": 0.0, "V_th": 0.6, "V_min": -10.0,
        "I_e": 0.0, "t_ref": 2.0, "c_reg": 1.0, "f_target": 10.0, "surrogate_gradient_width": 1.0,
        "surrogate_gradient_height": 0.3, "surrogate_gradient_function": "piecewise_linear",
    },
    "readouts": {"name": "out", "size": 1, **CELL, "I_e": 0.0, "V_m": 0.0, "V_min": -10.0, "loss": "huber"},
    "all_to_all": {
        "weight": 1.0, "delay": 1, "name": "all", "optimizer": None, "feedback": None, "sign": "free",
        "plastic": True, "keep_signs": True, "rule": "all_to_all", "edges": None, "space": None, "rewire": None,
    },
    "fixed_indegree": {
        "indegree": 2, "weight": 1.0, "delay_ms": 1.0, "sign": 1, "allow_autapses": False, "allow_multapses": False,
        "rewire": {}, "optimizer": {"type": "adam"},
    },
    "fixed_probability": {"probability": 0.5, "delay": (1, 2)},
    "explicit": {"source": [0, 1], "target": [1, 2], "weight": 1.0, "delay": 1},
    "lognormal_degrees": {"indegree": 1, "sigma_in": 0.1, "sigma_out": 0.1, "normalized": True, "inhibition": 1.0},
    "distance": {"probability": 0.5, "space": SPACE},
}  # fmt: skip
TABLES = {
    "space": SPACE,
    "rewire": {"l1": 0.01, "temperature": 0.0, "every": 1},
    "optimizer": {"type": "adam", "eta": 1e-4, "batch_size": 1, "Wmin": -1.0, "Wmax": 1.0, "epsilon": 1e-7},
}


def describe(variant: str, part: str, change: dict[str, Any]) -> Model:
    """A network in which one part has other arguments."""

    def arguments(name: str) -> dict[str, Any]:
        return {**PARTS[name], **(change if name == part else {})}

    model = Model(variant, **(change if part == "Model" else {}))
    inputs, neurons = model.inputs(**arguments("inputs")), model.neurons(**arguments("neurons"))
    out = model.readouts(**arguments("readouts"))
    model.connect(**{"pre": inputs, "post": neurons} | arguments("all_to_all"))
    for rule in list(PARTS)[-5:]:
        model.connect(**{"pre": neurons, "post": neurons, "rule": rule, "name": rule} | arguments(rule))
    model.connect(neurons, out)
    model.connect(out, neurons)
    return model


def wrong(draw: random.Random) -> tuple[str, dict[str, Any]]:
    """A part, and a hostile value of one of its arguments, or within one of its tables."""
    part = draw.choice(list(PARTS))
    key, value = draw.choice([*PARTS[part], *(["pre", "post"] if part == "all_to_all" else [])]), draw.choice(ANY)
    if key in TABLES and part not in ("Model", "all_to_all") and draw.random() < 0.8:
        value = TABLES[key] | {draw.choice(list(TABLES[key])): value}
    return part, {key: value}


@pytest.mark.parametrize("variant", ["interval", "spike"])
def test_any_argument(variant: str, fuzz_seconds: float) -> None:
    """A network, or an `InputError` of one readable line; no warning."""
    gc.collect()  # files that tests before left open are no warnings of this one

    def one(draw: random.Random, number: int) -> None:
        part, change = wrong(draw)
        try:
            with limit_process(), warnings.catch_warnings():
                warnings.simplefilter("error")
                model = describe(variant, part, change)
                if model.size("input", "recurrent", "readout") < 1000:
                    LocalNetwork(model, 0, 1)
        except InputError as problem:
            told = str(problem)
            assert 0 < len(told) < 2500 and "\n" not in told, told[:3000]
        except Exception as problem:
            problem.add_note(f"{part}: {change}"[:500])
            raise

    until(fuzz_seconds, f"arguments of a network, {variant}", one)
