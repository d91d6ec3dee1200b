"""Configuration of a run, from TOML: keys are checked here, their values in the class that has the key.

The fields of the task's class are divided into the sections [model], [learning], [run] and, for all others, [task];
[record] and [checkpoint] are the classes `Record` and `Checkpoint`. `[task] name` names the task. Tables
[neuron_models.NAME] and [learning_rules.NAME] hold neuron models and learning rules that are given by equations.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from .. import files
from ..errors import VALUE_LIMIT, InputError, quote, shorten
from ..network import identity
from ..network.parameters import PROBLEMS, Frozen, is_whole, parse_setting, suggest_name
from ..simulation.checks import count_available
from ..storage.checkpoint_observer import Checkpoint
from ..storage.checkpoint_read import NETWORK
from ..storage.record_settings import Record
from ..tasks import TASKS, TaskBase
from ..values import AnyValue, Given, Values
from .script_task import ScriptTask

CONFIG = "config.toml"  # in a run directory
DIGEST_LINE = "# digest of this configuration:"  # in the configuration of every run
EPOCHS = "epochs"  # key of [run] in place of iterations, which the effective configuration has
FREE = (
    "iterations",
    "figures",
    "log",
    "script",
)  # keys of [run] that a resumed run may change, see `list_free_settings`
SECTIONS = ("model", "learning", "task", "run", "record", "checkpoint")
EQUATIONS = ("neuron_models", "learning_rules")  # sections whose keys are names that the user chose


@dataclass(frozen=True, eq=False)
class Config:
    """A checked configuration."""

    task: TaskBase
    record: Record
    checkpoint: Checkpoint

    def to_sections(self) -> dict[str, Values]:
        """Return all keys by section, as JSON types; paths as text."""
        sections: dict[str, Values] = {name: {} for name in SECTIONS}
        sections["task"]["name"] = self.task.name
        for key, value in self.task.model_dump(mode="json", exclude={*EQUATIONS}).items():
            sections[_find_section(type(self.task), key)][key] = value
        for name in EQUATIONS:
            if own := getattr(self.task, name, None):
                sections[name] = own
        for name in ("record", "checkpoint"):
            sections[name] = getattr(self, name).model_dump(mode="json")
        return sections

    def list_fixed_keys(self) -> Values:
        """Return the keys that must not change when a run is resumed: all except its length and its outputs."""
        sections = {
            name: dict(keys) for name, keys in self.to_sections().items() if name not in ("record", "checkpoint")
        }
        for key in (*FREE, *self.task.list_free_settings()):
            sections["run"].pop(key, None)
        for section, key in itertools.product(("model", "learning", "task"), self.task.by_content):
            sections[section].pop(key, None)
        sections["task"] |= self.task.list_fingerprints()
        network = self.task.list_network_facts()
        return sections | ({NETWORK: network} if network else {})

    def list_facts(self) -> dict[str, str]:
        """Return all settings that must be the same on all ranks, name to value as text."""
        others = {
            f"{section}.{name}": text
            for section in ("record", "checkpoint")
            for name, text in identity.list_fields(getattr(self, section)).items()
        }
        return {"task": self.task.name} | identity.list_fields(self.task) | others

    def to_json(self) -> str:
        """Return all keys by section as JSON, sorted; equations keep their order, as constants may use earlier ones."""
        sections = self.to_sections()
        in_order = json.loads(json.dumps(sections, sort_keys=True))
        return json.dumps({key: sections[key] if key in EQUATIONS else keys for key, keys in in_order.items()})

    def compute_digest(self) -> str:
        """Return the SHA-256 of all keys."""
        return hashlib.sha256(json.dumps(self.to_sections(), sort_keys=True).encode()).hexdigest()

    def to_toml(self) -> str:
        """Return the text of a configuration file, with the meaning of each key."""
        lines = [f"# {self.task.name}: {self.task.summary}"]
        sections = self.to_sections()
        equations = {name: sections.pop(name, {}) for name in EQUATIONS}
        for section, keys in sections.items():
            lines += ["", f"[{section}]"]
            tables = {
                key: value
                for key, value in keys.items()
                if isinstance(value, list) and value and isinstance(value[0], dict)
            }
            for key, value in keys.items():
                text = f"{key} = {_format_toml(value)}" if value is not None else f"# {key} ="
                description = _describe_key(self, section, key)
                if key not in tables:
                    lines.append(f"{text}  # {description}" if description else text)
            for key, value in tables.items():  # TOML requires tables after plain keys
                lines += ["", f"# {_describe_key(self, section, key)}"]
                for entry in value:
                    lines += [
                        f"[[{section}.{key}]]",
                        *(f"{name} = {_format_toml(item)}" for name, item in entry.items()),
                        "",
                    ]
                lines.pop()
        for section, own in equations.items():
            for name, definition in own.items():
                lines += _format_equations(f"{section}.{name}", definition)
        return "\n".join(lines) + "\n"


def _find_section(kind: type[TaskBase], key: str) -> str:
    """Return the section of a task's field: as the field says, or the field of a base class that it overrides."""
    fields = (getattr(owner, "model_fields", {}).get(key) for owner in kind.__mro__)
    extras = (field.json_schema_extra for field in fields if field and field.json_schema_extra)
    return next((str(extra["section"]) for extra in extras), "task")


def _describe_key(config: Config, section: str, key: str) -> str:
    owner = getattr(config, section) if section in ("record", "checkpoint") else config.task
    field = type(owner).model_fields.get(key)
    return (field.description or "") if field else "name of the task"


def _format_toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_format_toml, value))}]"
    if isinstance(value, dict):
        return (
            "{}"
            if not value
            else "{ " + ", ".join(f"{key} = {_format_toml(item)}" for key, item in value.items()) + " }"
        )
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _format_equations(here: str, definition: Given) -> list[str]:
    """Return the lines of a neuron model or rule: plain keys first, then its tables, as TOML requires."""
    lines = ["", f"[{here}]"]
    lines += [f"{key} = {_format_toml(value)}" for key, value in definition.items() if not isinstance(value, Mapping)]
    for key, value in definition.items():
        if isinstance(value, Mapping):
            lines += ["", f"[{here}.{key}]", *(f"{name} = {_format_toml(item)}" for name, item in value.items())]
    return lines


def load(source: str, settings: Iterable[str] = (), trust: bool = False) -> Config:
    """Read the configuration of a task, file ending in .toml or run directory, changed by "key=value" settings.

    With `trust` code that the configuration of a run names may be imported. Raises an `InputError` that lists every
    problem: file or setting, key, value, bound, nearest known name.
    """
    if source not in TASKS and Path(source, CONFIG).is_file():
        return load_of_run(Path(source, CONFIG), settings, trust)
    if source.endswith(".toml"):
        text = _read_text(Path(source))
        sections = _parse_toml(text, source)
        mine = DIGEST_LINE not in text  # a run wrote it otherwise, maybe another user's
        return from_sections(kind_of(sections, source), sections, source, settings, trust or mine)
    if source not in TASKS:
        raise InputError(f"unknown task {quote(source)}{suggest_name(source, TASKS)}")
    return from_sections(TASKS[source], {}, source, settings)


def load_of_run(path: Path, settings: Iterable[str] = (), trust: bool = False) -> Config:
    """Read the configuration in a run directory, maybe another user's; parameters and errors as for `load`."""
    with files.input_errors(path):
        sections = read(files.require_own_file(path))
    return from_sections(kind_of(sections, str(path)), sections, str(path), settings, trust)


def kind_of(sections: Given, source: str) -> type[TaskBase]:
    """Return the class of the task that the sections of a file name."""
    run = sections.get("run", {})
    if isinstance(run, dict) and "script" in run:
        return ScriptTask
    name = sections.get("task", {}).get("name") if isinstance(sections.get("task", {}), dict) else None
    if name is None:
        raise InputError(f"{source}: [task] name is missing (known: {', '.join(TASKS)})")
    if not isinstance(name, str) or name not in TASKS:
        raise InputError(f"{source}: [task] name = {quote(name)} is not a task{suggest_name(str(name), TASKS)}")
    return TASKS[name]


def from_sections(
    kind: type[TaskBase], sections: Given, source: str, settings: Iterable[str] = (), trust: bool = False
) -> Config:
    """Make a checked configuration of a task from sections; messages name `source`.

    Without `trust`, no code that `sections` name is imported.
    """
    parts: dict[str, type[Frozen]] = {"task": kind, "record": Record, "checkpoint": Checkpoint}
    known = {name: list(parts[name].model_fields) if name in ("record", "checkpoint") else [] for name in SECTIONS}
    for key in (name for name in kind.model_fields if name not in EQUATIONS):
        known[_find_section(kind, key)].append(key)
    known["run"].append(EPOCHS)
    values: dict[str, dict[str, tuple[AnyValue, str]]] = {name: {} for name in parts}
    problems: list[str] = []
    sections = dict(sections)
    for name in (name for name in EQUATIONS if name in sections):
        if name in kind.model_fields:
            values["task"][name] = sections.pop(name), f"{source}: [{name}]"
        else:
            problems.append(f"{source}: [{name}]: task '{kind.name}' has no network of your own that has them")
            del sections[name]
    entries = [*_from_file(sections, source, problems), *_from_settings(settings, known, problems)]
    for section, key, value, origin in entries:
        if (section, key) == ("task", "name"):
            continue
        if section not in known:
            problems.append(f"{origin}: unknown section [{section}]{suggest_name(section, SECTIONS)}")
        elif key not in known[section] and len(problems) > PROBLEMS:
            problems.append(origin)  # counted, not shown: looking for near names takes long
        elif key not in known[section]:
            problems.append(f"{origin}: {_explain_unknown(section, key, known)}")
        else:
            values[section if section in parts else "task"][key] = value, origin
    epochs = values["task"].pop(EPOCHS, None)
    made: Values = {name: _make_section(parts[name], values[name], source, problems) for name in parts}
    if epochs is not None and not problems:
        made["task"] = _train_epochs(kind, made["task"], values["task"], *epochs, source, problems)
    if problems:
        lines = [shorten(" ".join(problem.splitlines())) for problem in problems[:PROBLEMS]]
        many = "\n  ".join([f"{len(problems)} problems:", *lines])
        raise InputError(many if len(problems) > 2 else "; ".join(lines))
    made["task"].set_folder(Path(source).parent)
    if not trust and any(
        not values["task"][key][1].startswith("--set ") for key in kind.imports if key in values["task"]
    ):
        made["task"].mark_untrusted(source)
    return Config(**made)


def iterations_of(epochs: object, here: str, task: object, batch_size: int) -> int:
    """Return the iterations of some passes through the training data of a task; `InputError` if they have no end."""
    if not is_whole(epochs) or not isinstance(epochs, int) or epochs < 0:
        raise InputError(f"{here} = {quote(epochs)} must be a whole number of at least 0")
    n_train = count_available(task, "train")
    if not n_train:
        raise InputError(f"{here} = {epochs}: the task does not tell how many samples train: give iterations")
    return -(-epochs * n_train // batch_size)


def _train_epochs(
    kind: type[TaskBase],
    task: TaskBase,
    values: Mapping[str, tuple[AnyValue, str]],
    epochs: object,
    origin: str,
    source: str,
    problems: list[str],
) -> Frozen | None:
    """Return the task with the iterations of some passes through its training data."""
    try:
        if "iterations" in values:
            is_set, other_is_set = (text.startswith("--set ") for text in (origin, values["iterations"][1]))
            if is_set == other_is_set:
                raise InputError(f"{origin}: iterations are given, too: give one of them")
            if other_is_set:
                return task
        n = iterations_of(epochs, origin, task.subject, task.batch_size)
    except InputError as problem:
        problems.append(str(problem))
        return None
    return _make_section(kind, {**values, "iterations": (n, origin)}, source, problems)


def read(path: Path) -> Values:
    """Return the sections of a configuration file, unchecked."""
    return _parse_toml(_read_text(path), str(path))


def _read_text(path: Path) -> str:
    try:
        return files.read(path).decode()
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from None
    except ValueError as problem:
        raise InputError(f"{path}: not a configuration file: {problem}") from None


def _parse_toml(text: str, source: str) -> Values:
    try:
        return files.parse_toml(text)
    except ValueError as problem:
        raise InputError(f"{source}: not a configuration file: {problem}") from None


def _from_file(sections: Given, source: str, problems: list[str]) -> list[tuple[str, str, AnyValue, str]]:
    entries = []
    for section, keys in sections.items():
        if isinstance(keys, Mapping):
            here = f"{source}: [{shorten(section, VALUE_LIMIT)}]"
            entries += [(section, key, value, f"{here} {shorten(key, VALUE_LIMIT)}") for key, value in keys.items()]
            if section not in SECTIONS and not keys:
                problems.append(f"{source}: unknown section [{section}]{suggest_name(section, SECTIONS)}")
        else:
            problems.append(f"{source}: key '{section}' is not in any section ({', '.join(SECTIONS)})")
    return entries


def _from_settings(
    settings: Iterable[str], known: Mapping[str, list[str]], problems: list[str]
) -> list[tuple[str, str, AnyValue, str]]:
    entries = []
    for text in settings:
        try:
            name, value = parse_setting(text)
        except InputError as problem:
            problems.append(str(problem))
            continue
        section, _, key = name.rpartition(".")
        origin, places = f"--set {name}", [section] if section else [p for p, keys in known.items() if key in keys]
        if len(places) > 1:
            problems.append(f"{origin}: '{key}' is a key of {' and '.join(places)}; write {places[0]}.{key}")
        elif not places:
            problems.append(f"{origin}: {_explain_unknown('', key, known)}")
        else:
            entries.append((places[0], key, value, origin))
    return entries


def _explain_unknown(section: str, key: str, known: Mapping[str, list[str]]) -> str:
    elsewhere = [place for place, keys in known.items() if key in keys]
    key = shorten(key, VALUE_LIMIT)
    if elsewhere:
        return f"'{key}' belongs to section [{elsewhere[0]}]"
    names = {name: place for place, keys in known.items() for name in keys}
    if section and not set(known[section]).isdisjoint(names):
        near = suggest_name(key, known[section])
        return f"unknown parameter '{key}'{near if 'did you mean' in near else suggest_name(key, names)}"
    return f"unknown parameter '{key}'{suggest_name(key, names)}"


def _make_section(
    kind: type[Frozen], values: Mapping[str, tuple[AnyValue, str]], source: str, problems: list[str]
) -> Frozen | None:
    try:
        return kind.model_validate({key: value for key, (value, _) in values.items()})
    except ValidationError as failure:
        for error in failure.errors():
            key = error.get("ctx", {}).get("key") or (str(error["loc"][0]) if error["loc"] else "")
            origin = values[key][1] if key in values else source
            if error["type"] == "problems":
                problems += [f"{origin}: {problem}" for problem in error["ctx"]["problems"]]
                continue
            value = f" = {quote(error['input'])}" if key in values else ""
            problems.append(f"{origin}{value}: {error['msg'].removeprefix('Value error, ')}")
        return None
    except InputError as failure:  # raised by a task's own checks
        problems.append(f"{source}: {failure}")
        return None
