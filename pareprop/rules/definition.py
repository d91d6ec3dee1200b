"""A learning rule (or e-prop with options) as its user writes it: names, units and equations, checked at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from ..errors import InputError, quote
from ..neurons import entries
from ..neurons.language import NAME, Tree, check_name, names_of, parse_expression
from ..neurons.slopes import negate_tree
from ..values import Given, Values
from .linear import AFTER, BEFORE, NEW, Form, Linear

#: names of a step in addition to the names of a neuron's step
SIGNALS = ("z", "psi", "x", "I", "refractory", "dt", "L", "F", "M", "kappa")
WORDS = {"psi", "L", "F", "M", "kappa", "pre", NEW, BEFORE, AFTER}  # names that a rule cannot define itself
LEARNED = {"L", "M"}  # signals that are known late in the spike variant
MOST = {"parameters": 200, "constants": 200, "reads": 200, "states": 64, "neuron": 64, "synapse": 64}
KEYS = (
    "parameters",
    "constants",
    "reads",
    "states",
    "neuron",
    "synapse",
    "gradient",
    "change",
    "description",
    "source",
)
THROUGH = ("all", "no own spike", "leak")
FILTERS = ("readout", "none")


class LearningRule(entries.Definition):
    """A learning rule given by equations, linear in the states of a synapse.

    Parameters
    ----------
    name : str
        Name of the rule.
    parameters : dict of str to (float, str)
        Default and unit of each parameter.
    constants : dict of str to str
        Expressions in parameters, `dt` (ms), earlier constants, and parameters or constants that the rule reads.
    reads : sequence of str
        States, parameters and constants of the target's model that stand in the equations.
    states : dict of str to (float or str, str)
        Initial value and unit of states of `neuron`; others start at 0.
    neuron : dict of str to str
        Extra numbers of the target: new values from old ones and from what the step gives.
    synapse : dict of str to str
        New value of each state of a synapse, linear in these states and `pre`; none where a step reads `pre` alone.
    gradient, change : str
        What each step adds to the gradient, or to the weight; one of them.
    description, source : str
        What the rule is, and where its equations come from.

    Raises
    ------
    InputError
        One line that names rule, key, state and term.
    """

    most, taken = MOST, WORDS

    def __init__(
        self,
        name: str,
        *,
        parameters: Given | None = None,
        constants: Given | None = None,
        reads: object = (),
        states: Given | None = None,
        neuron: Given | None = None,
        synapse: Given | None = None,
        gradient: object = None,
        change: object = None,
        description: str = "",
        source: str = "",
    ) -> None:
        check_name(name, "rule")
        if name == "eprop":
            raise InputError("rule eprop: the package has this one; give yours another name")
        self.name, self.here = name, f"rule {name}"
        tables = {
            "parameters": parameters,
            "constants": constants,
            "states": states,
            "neuron": neuron,
            "synapse": synapse,
        }
        self._set_common(tables, description, source)
        self.reads = entries.check_names(f"{self.here}: reads", reads, MOST["reads"])
        if (gradient is None) == (change is None):
            raise InputError(f"{self.here}: gradient or change, one of them")
        self._final = ("gradient", gradient) if change is None else ("change", change)
        self._check_names()
        self._parse_equations()

    # ---- checking ----------------------------------------------------------------------------------------------------

    def _describe_key(self, key: str) -> str:
        return f"{self.here}, {key}"

    def _check_names(self) -> None:
        keys = ("parameters", "constants", "reads", "neuron", "synapse")
        self._check_own_names({key: self.reads if key == "reads" else self._given[key] for key in keys})
        for name in self.states:
            if name in self._given["synapse"]:
                raise InputError(
                    f"{self.here}, states: only states of neuron have initial values; synapse states start at 0"
                )
            if name not in self._given["neuron"]:
                raise InputError(f"{self.here}, states: {quote(name)} is not in neuron")
        self._check_length(self._final[1])

    def _parse_equations(self) -> None:
        fixed = [*self.parameters, *self.reads, "dt"]
        self.constants: dict[str, Tree] = {}
        for name, text in self._given["constants"].items():
            self.constants[name] = self._parse_expression(text, fixed, (), "constants", name)
            fixed.append(name)
        self.initial = {
            name: self._parse_expression(value, fixed, (), "states", name) for name, (value, _) in self.states.items()
        }
        moments = [f"{word} {name}" for name in self.reads for word in (AFTER, BEFORE)] + [f"{BEFORE} z"]
        step, own = [*fixed, *SIGNALS], list(self._given["neuron"])
        self.neuron: dict[str, Tree] = {}
        for name, text in self._given["neuron"].items():
            earlier = [f"{NEW} {other}" for other in self.neuron]
            self.neuron[name] = self._parse_expression(text, [*step, *own], [*moments, *earlier], "neuron", name)
        moments += [f"{BEFORE} {name}" for name in own]
        states = list(self._given["synapse"])
        linear = Linear(states)
        self.forms: dict[str, Form] = {}
        self.synapse: dict[str, Tree] = {}
        for name, text in self._given["synapse"].items():
            earlier = [f"{NEW} {other}" for other in self.synapse]
            known = [*step, *own, *states, "pre"]
            tree = self._parse_expression(text, known, [*moments, *earlier], "synapse", name)
            self.synapse[name] = tree
            self.forms[name] = linear.read_form(tree, f"{self.here}, synapse, {name}")
        key, text = self._final
        moments += [f"{BEFORE} {name}" for name in states]
        tree = self._parse_expression(text, [*step, *own, *states, "pre"], moments, key, "")
        self.gradient = tree if key == "gradient" else ("neg", tree)
        self.credit = linear.read_form(tree, f"{self.here}, {key}")
        if key == "change":
            self.credit = {name: negate_tree(part) for name, part in self.credit.items()}

    def _parse_expression(self, text: object, names: list[str], moments: Collection[str], key: str, name: str) -> Tree:
        here = f"{self.here}, {key}{f', {name}' if name else ''}"

        def describe_unknown(found: str) -> str:
            if found == "w":
                return f"{here}: a rule may not read the weight w"
            word, _, of = found.rpartition(" ")
            shown = of if len(of) <= NAME else quote(of)
            if word:
                return f"{here}: {word}({shown}) is not known here{self._advise_moment(word, of, shown, names, key)}"
            return f"{here}: {shown} is not known here; known are {', '.join(dict.fromkeys(names))}"

        return parse_expression(text, names, here, moments=moments, unknown=describe_unknown)

    def _advise_moment(self, word: str, name: str, shown: str, names: list[str], key: str) -> str:
        """Return what to write in place of a name at a moment that it has no value at."""
        own = {*self._given["neuron"], *self._given["synapse"]}
        is_of_key = name in own and name in self._given.get(key, ())
        if word == NEW and is_of_key:
            return ": new values are those of entries above"
        if word == AFTER and name in names:
            return ": only states of the target in reads are"
        if name not in names:
            return f", nor is {shown}" if word == NEW else ": a state of the target must stand in reads"
        if name not in {*SIGNALS, *self.reads, *own, "pre"} - {"dt", "kappa"}:
            return f": write {shown}, which does not vary"
        if word == NEW or is_of_key:
            return f": write {shown}, which is the {'new value already' if word == NEW else 'old value'}"
        table = "synapse" if name == "pre" else "neuron"
        return f': keep it, with {table} = {{last = "{name}"}}, and write {"last" if key == table else "before(last)"}'

    # ---- what follows ------------------------------------------------------------------------------------------------

    @cached_property
    def signals(self) -> frozenset[str]:
        """Names of the step that the rule reads."""
        trees = [*self.neuron.values(), *self.synapse.values(), self.gradient]
        return frozenset().union(*(names_of(tree) for tree in trees)) & {*SIGNALS}

    @property
    def is_late(self) -> bool:
        """Whether the spike variant takes steps only when their learning signals are known."""
        return bool(self.signals & LEARNED)

    # ---- forms -------------------------------------------------------------------------------------------------------

    def to_dict(self) -> Values:
        """Return the definition as TOML and JSON hold it; keys with nothing in them are left out."""
        definition: Values = {"description": self.description, "source": self.source}
        definition |= self._list_forms("parameters", "constants") | {"reads": list(self.reads)}
        definition |= self._list_forms("states", "neuron", "synapse")
        return entries.without_empty(definition | {self._final[0]: self._final[1]})

    def __repr__(self) -> str:
        return f"LearningRule({self.name!r}, states={list(self.synapse)})"


@dataclass(frozen=True)
class Eprop:
    """E-prop, derived from the target's model, or a part of it.

    Attributes
    ----------
    through : str
        What of the model's derivatives traces follow: "all"; "no own spike", without what the own spike adds to later
        steps; "leak", the constant diagonal entries of the step alone.
    filter : str
        "readout": traces are filtered as the readout filters spikes; "none": they are not.
    name : str
        What configurations call it; without one "eprop" and the options, such as "eprop_leak_unfiltered".
    """

    through: str = "all"
    filter: str = "readout"
    name: str = ""

    def __post_init__(self) -> None:
        for key, value, known in (("through", self.through, THROUGH), ("filter", self.filter, FILTERS)):
            if value not in known:
                here = f"rule {self.name or 'eprop'}: {key} = {quote(value)}"
                raise InputError(f"{here} must be one of {', '.join(known)}")
        if not self.name:
            through = "" if self.through == "all" else f"_{self.through.replace(' ', '_')}"
            object.__setattr__(self, "name", f"eprop{through}{'_unfiltered' if self.filter == 'none' else ''}")
        check_name(self.name, "rule")
        if self.name == "eprop" and not self.is_plain:
            raise InputError("rule eprop: without options it has this name; give yours another")

    @property
    def is_plain(self) -> bool:
        """Whether it is e-prop without options."""
        return (self.through, self.filter) == (THROUGH[0], FILTERS[0])

    def to_dict(self) -> Values:
        """Return the definition as TOML and JSON hold it."""
        return {"rule": "eprop", "through": self.through, "filter": self.filter}


Rule = LearningRule | Eprop


def from_dict(name: str, given: object, origin: str = "") -> Rule:
    """Return the rule that a table describes.

    `given` is a table as `to_dict` returns it; `origin` names its place in messages. `InputError` as for the class, and
    for unknown keys.
    """
    if isinstance(given, Mapping) and "rule" in given:
        return entries.make_definition("rule", ("rule", "through", "filter"), _make_eprop, name, given, origin)
    return entries.make_definition("rule", KEYS, LearningRule, name, given, origin)


def _make_eprop(name: str, rule: object, **options: str) -> Eprop:
    if rule != "eprop":
        raise InputError(f"rule {quote(name)}: rule = {quote(rule)} must be eprop, the one with options")
    check_name(name, "rule")
    return Eprop(**options, name=name)


def read_rules(given: object, origin: str) -> dict[str, Rule]:
    """Return the rules of a table `rules` or `learning_rules`, name to definition; `origin`: where it stands."""
    return entries.make_definitions("rules", from_dict, given, origin)
