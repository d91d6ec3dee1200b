"""Any TOML: text, types and sizes of every key, tables of networks, and bytes that are no text."""

import math
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from commands import command
from fuzzing import NUMBERS, judge, mutate, until, value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from pareprop.errors import InputError
from pareprop.network.from_tables import ProjectionEntry
from pareprop.runs import config
from pareprop.tasks import TASKS

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), name=st.sampled_from(sorted(TASKS)))
def test_any_value_of_any_key(data: st.DataObject, name: str) -> None:
    """Values as TOML may hold them: a configuration, or one `InputError` with a message of readable length."""
    sections = {section: dict(keys) for section, keys in config.load(name).to_sections().items()}
    for _ in range(data.draw(st.integers(1, 3))):
        section = data.draw(st.sampled_from(sorted(sections)))
        key = data.draw(st.sampled_from([*sections[section], "x"]))
        sections[section][key] = data.draw(ANY)
    try:
        config.from_sections(config.kind_of(sections, "my.toml"), sections, "my.toml")
    except InputError as problem:
        assert 0 < len(str(problem)) < 2**15


def toml(text: str) -> str:
    """A value of TOML, of text that may be none."""
    return text if text in NUMBERS else repr(text[:3000])


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("name", ["sine-waves", "data", "handwriting", "evidence-accumulation"])
def test_any_file(name: str, tmp_path: Path, capsys: pytest.CaptureFixture, fuzz_seconds: float) -> None:
    printed = command(capsys, "config", name)[1]
    np.savez(tmp_path / "data.npz", rates=np.full((3, 20), 5.0), targets=np.zeros((3, 10, 1)))
    printed = printed.replace('data = "data.npz"', f'data = "{tmp_path / "data.npz"}"')
    for big, small in (("iterations = ", "iterations = 0 # "), ("n_rec = ", "n_rec = 8 # ")):
        printed = printed.replace(f"\n{big}", f"\n{small}")
    path, out = tmp_path / "my.toml", tmp_path / "out"

    def one(draw: random.Random, number: int) -> None:
        lines = printed.splitlines()
        if draw.random() < 0.3:
            content = mutate(draw, printed.encode())
        else:
            for _ in range(draw.choice([1, 1, 2])):
                k = draw.choice([k for k, line in enumerate(lines) if " = " in line])
                lines[k] = f"{lines[k].partition(' = ')[0].lstrip('# ')} = {toml(value(draw))}"
            content = "\n".join(lines).encode(errors="surrogatepass")
        path.write_bytes(content)
        if judge(capsys, f"configuration of {name}", ["run", path, "--out", out / str(number)], out) == 0:
            command(capsys, "config", path)

    out.mkdir()
    until(fuzz_seconds / 2, f"configuration of {name}", one)


WRONG = {
    "text": "x",
    "boolean": True,
    "negative": -1,
    "nan": math.nan,
    "inf": math.inf,
    "huge": 10**400,
    "list": [1, "a"],
    "table": {"a": {"b": 1}},
    "empty": "",
    "long": "x" * 10**5,
}
MORE = {
    "populations": ["sign", "model"],
    "local_readouts": ["name", "of", "tau_m", "weight", "feedback"],
    "projections": [*ProjectionEntry.model_fields],
}


def wrong_sections(name: str, what: str) -> Iterator[tuple[str, dict]]:
    """Yield each key of a task, also of its tables, and sections in which it has a wrong value."""
    given = config.load(name).to_sections()
    for section, keys in given.items():
        for key in keys:
            yield key, given | {section: keys | {key: WRONG[what]}}
            if key == "local_readouts":
                for inner in MORE[key]:
                    yield key, given | {section: keys | {key: {inner: WRONG[what]}}}
            elif key in MORE:
                for k, table in enumerate(tables := keys[key]):
                    for inner in dict.fromkeys([*table, *MORE[key]]):
                        if key == "populations" and (inner, what) == ("name", "text"):
                            continue  # a good name, which the projections don't know
                        wrong = [*tables[:k], table | {inner: WRONG[what]}, *tables[k + 1 :]]
                        yield inner.removesuffix("_ms"), given | {section: keys | {key: wrong}}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("name", sorted(TASKS))
def test_each_key_of_each_table(name: str, what: str) -> None:
    """A wrong value is accepted, or refused in a line below 2 kB that names the key."""
    for key, sections in wrong_sections(name, what):
        try:
            config.from_sections(config.kind_of(sections, "my.toml"), sections, "my.toml").to_toml()
        except InputError as problem:
            told = str(problem)
            assert key in told and len(told.encode()) < 2000 and "\n" not in told, f"{key}: {told[:3000]}"
