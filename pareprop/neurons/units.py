"""Check units: each expression gets the unit that follows from its names, as far as it is known.

A unit is a power of ten and exponents of volt, ampere and second. A number may have any unit.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from .language import CONDITIONS, Tree, write
from .model import NeuronModel

Unit = tuple[int, int, int, int]  # power of ten, volt, ampere, second

NONE: Unit = (0, 0, 0, 0)
_PER_MS: Unit = (3, 0, 0, -1)
_BASE: dict[str, Unit] = {
    "V": (0, 1, 0, 0),
    "A": (0, 0, 1, 0),
    "s": (0, 0, 0, 1),
    "Hz": (0, 0, 0, -1),
    "S": (0, -1, 1, 0),
    "F": (0, -1, 1, 1),
    "Ohm": (0, 1, -1, 0),
    "C": (0, 0, 1, 1),
    "1": NONE,
}
SUMS = ("+", "-", "min", "max", "neg", "abs", "detach", "where")  # their operands have the unit of the result
_PREFIX = {"": 0, "G": 9, "M": 6, "k": 3, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15}


def unit_of(text: str) -> Unit | None:
    """Return the unit of a text such as "mV/ms" or "1/ms"; None if it is not known."""
    total, sign = NONE, 1
    for part in re.split(r"([*/])", text.replace(" ", "").replace("**", "^")):
        if part in ("*", "/"):
            sign = 1 if part == "*" else -1
            continue
        match = re.fullmatch(r"([GMkmunpf]?)(V|A|s|Hz|S|F|Ohm|C)(?:\^|\*\*)?(-?\d)?|(1)", part)
        if not match:
            return None
        base, prefix = _BASE[match[2] or "1"], _PREFIX[match[1] or ""]
        power = sign * int(match[3] or 1)
        total = _multiply_units(total, (prefix, *base[1:]), power)
    return total


def _multiply_units(a: Unit, b: Unit, times: int) -> Unit:
    return a[0] + times * b[0], a[1] + times * b[1], a[2] + times * b[2], a[3] + times * b[3]


@functools.cache
def unit_of_port(model: NeuronModel, port: str) -> str:
    """Return the unit of weights onto a port, by the states that its spikes change; "" if equations leave it open."""
    equations = model.equations
    units = {name: unit_of(text) for name, text in model.units.items()} | {"dt": unit_of("ms"), "I": None}
    reader = _Solver("", units, [])
    for name, tree in equations.constants.items():
        units[name] = reader.find_unit(tree)
    for name, tree in (model.jumps or equations.step).items():
        found = reader.solve_unit(tree, port, units[name])
        if found is not None:
            texts = (f"{prefix}{base}{per}" for per in ("", "/ms") for base in ("1", *_BASE) for prefix in _PREFIX)
            return next((text for text in texts if unit_of(text) == found), "")
    return ""


def list_mismatches(model: NeuronModel) -> list[str]:
    """Return a line for each mismatch of units in a model, which names key and expressions."""
    lines: list[str] = []
    units: dict[str, Unit | None] = {}
    for name, text in model.units.items():
        units[name] = unit_of(text)
        if units[name] is None:
            lines.append(f"unit '{text}' of {name} is not known")
    for name in ("surrogate_gradient_height", "surrogate_gradient_width", "c_reg"):
        units[name] = None if name not in model.parameters else units[name]
    states = {name: units[name] for name in model.states}
    units |= {"dt": unit_of("ms"), "I": units["I_e"], "z": NONE, "refractory": NONE} | dict.fromkeys(model.ports)
    equations = model.equations
    for name, tree in equations.constants.items():
        units[name] = UnitReader(f"constants: {name}", units, lines).find_unit(tree)
    units |= dict.fromkeys(equations.terms)
    for key, trees in (
        ("states", equations.initial),
        ("dynamics", model.dynamics),
        ("step", {name: tree for name, tree in equations.step.items() if name not in model.dynamics}),
        ("traces", equations.traces),
        ("reset", equations.reset),
    ):
        for name, tree in trees.items():
            unit = UnitReader(f"{key}: {name}", units, lines).find_unit(tree)
            wanted = states[name]
            per = " per ms" if key == "dynamics" else ""
            wanted = _multiply_units(wanted, _PER_MS, 1) if per and wanted is not None else wanted
            if unit is not None and wanted is not None and unit != wanted:
                lines.append(f"{key}: {name}: has unit {_format_unit(unit)}, the state{per} {_format_unit(wanted)}")
    units["x"] = UnitReader("spike", units, lines).find_unit(equations.spike)
    UnitReader("surrogate", units, lines).find_unit(equations.surrogate)
    return list(dict.fromkeys(lines))


def _format_unit(unit: Unit) -> str:
    names = [f"{name}{'' if power == 1 else f'^{power}'}" for name, power in zip("VAs", unit[1:], strict=True) if power]
    scale = f"10^{unit[0]} " if unit[0] else ""
    return f"{scale}{' '.join(names) or '1'}"


class UnitReader:
    """Finds the unit of one expression; None if it depends on a number or on an input without a unit."""

    def __init__(self, here: str, units: Mapping[str, Unit | None], lines: list[str]) -> None:
        self.here, self.units, self.lines = here, units, lines

    def find_unit(self, tree: Tree) -> Unit | None:
        """Return the unit of a tree."""
        kind, *items = tree
        if kind == "number":
            return None
        if kind == "name":
            return self.units.get(items[0])
        units = [self.find_unit(item) for item in items]
        first, second = units[0], units[-1]
        if kind in ("*", "/") and first is not None and second is not None:
            return _multiply_units(first, second, 1 if kind == "*" else -1)
        if kind == "**":
            power = items[1][1] if items[1][0] == "number" else None
            if power is None or first is None or not float(power).is_integer():
                return None
            return _multiply_units(NONE, first, int(power))
        if kind in ("+", "-", "min", "max", *CONDITIONS[:6]):
            unit = self.require_same_unit(items, units)
            return NONE if kind in CONDITIONS else unit
        if kind in ("neg", "abs", "detach"):
            return units[0]
        if kind == "where":
            return self.require_same_unit(items[1:], units[1:])
        if kind in ("exp", "log", "tanh"):
            if first is not None and first != NONE:
                self.lines.append(
                    f"{self.here}: {kind}({write(items[0])}): its argument has unit {_format_unit(first)}"
                )
            return NONE
        if kind == "sqrt" and first is not None and all(a % 2 == 0 for a in first):
            return first[0] // 2, first[1] // 2, first[2] // 2, first[3] // 2
        return NONE if kind in CONDITIONS else None

    def require_same_unit(self, items: list[Tree], units: list[Unit | None]) -> Unit | None:
        """Return the unit that two trees share."""
        a, b = units
        if a is not None and b is not None and a != b:
            texts = [text if len(text) <= 60 else f"{text[:57]}..." for text in map(write, items)]
            self.lines.append(
                f"{self.here}: {texts[0]} has unit {_format_unit(a)}, {texts[1]} {_format_unit(b)}; "
                "they stand side by side"
            )
        return b if a is None else a


class _Solver(UnitReader):
    """Finds the unit of one name from the unit of an expression; numbers have none."""

    def find_unit(self, tree: Tree) -> Unit | None:
        """Return the unit of a tree."""
        return NONE if tree[0] == "number" else super().find_unit(tree)

    def solve_unit(self, tree: Tree, name: str, unit: Unit | None) -> Unit | None:
        """Return the unit of a name in a tree whose unit is known; None if the name is missing or its unit stays
        unknown.
        """
        kind, *items = tree
        if unit is None or kind == "number":
            return None
        if kind == "name":
            return unit if items[0] == name else None
        wanted = [(item, unit) for item in items[kind == "where" :]] if kind in SUMS else []
        if kind in ("*", "/"):
            first, second = map(self.find_unit, items)
            sign = 1 if kind == "/" else -1
            wanted += [(items[0], _multiply_units(unit, second, sign))] if second is not None else []
            wanted += [(items[1], _multiply_units(unit, first, -1))] if first is not None and kind == "*" else []
        return next((found for part in wanted if (found := self.solve_unit(part[0], name, part[1])) is not None), None)
