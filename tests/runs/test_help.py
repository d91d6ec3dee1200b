"""`pareprop help`: commands, and tables of all parameters."""

import pydoc
import re
from pathlib import Path

import pytest
from commands import command, refusal_of

import pareprop
from pareprop import Model
from pareprop.cli import COMMANDS
from pareprop.network.connection import Connection
from pareprop.network.variants import VARIANTS
from pareprop.runs import commands as commands_of_runs

ROOT = Path(__file__).parents[2]


def test_only_commands_that_exist_are_recommended() -> None:
    texts = [*(ROOT / "pareprop").rglob("*.py"), *ROOT.glob("scripts/**/*.md")]
    named = {name for path in texts for name in re.findall(r"`pareprop ([a-z][a-z-]+)", path.read_text())}
    assert len(named) > 15 and named - COMMANDS.keys() == set()


def test_a_parameter_of_the_spike_variant(capsys: pytest.CaptureFixture) -> None:
    """Default, unit and bound are those of NEST's documentation of eprop_iaf."""
    code, output, errors = command(capsys, "help", "parameters", "tau_m")
    assert (code, errors) == (0, "")
    assert "tau_m (ms): default 10; above 0; all" in output and "Membrane time constant in ms." in output
    assert "V_th" not in output


def test_every_parameter_has_a_meaning(capsys: pytest.CaptureFixture) -> None:
    code, output, _ = command(capsys, "help", "parameters")
    lines = output.splitlines()
    names = {line.split(":")[0].split(" (")[0].strip() for line in lines if line[:3].strip() and line.startswith("  ")}
    wanted = {name for variant in VARIANTS.values() for kind in variant.neurons.values() for name in kind.model_fields}
    assert code == 0 and wanted | set(Connection.model_fields) <= names
    assert not [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("  ") and not line.startswith("   ") and not after.startswith("      ")
    ]


def test_parameters_of_a_model_given_by_equations(capsys: pytest.CaptureFixture) -> None:
    """Names and defaults are those of NEST's aeif_cond_exp where it has them."""
    code, output, _ = command(capsys, "help", "parameters", "adex")
    lines = output.splitlines()
    assert code == 0 and lines[0].startswith("adex: ") and len(lines) > 8 and "  C_m (pF): default 200" in lines
    assert "adex" in command(capsys, "help", "parameters")[1].splitlines()[-1]
    (name,) = [line for line in lines if "tau_w" in line]
    assert name in command(capsys, "help", "parameters", "tau_w")[1]


@pytest.mark.parametrize("method", ["neurons", "readouts"])
def test_help_of_a_method_lists_all_parameters(method: str) -> None:
    text = pydoc.plain(pydoc.render_doc(getattr(Model, method)))
    assert "Filled" not in text and "- C_m = 250.0: Capacitance in pF." in text
    for variant in VARIANTS.values():
        for kind in variant.neurons.values() if method == "neurons" else [variant.readout]:
            assert not [name for name in kind.model_fields if f"- {name} = " not in text]
    assert "- regular_spike_arrival = True (interval variant): " in text


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SgdMomentum", "GradientDescent", "Normal", "ShortTerm"])
def test_help_of_a_description_has_its_settings_and_nothing_of_others(name: str) -> None:
    kind = getattr(pareprop, name)
    text = pydoc.render_doc(kind, renderer=pydoc.plaintext)
    assert not [word for word in ("model_", "__pydantic", "inherited", "construct") if word in text]
    assert not [word for word in ("Annotated", " at 0x", "-> None") if word in text]
    first = kind.positional or f"*, {next(iter(kind.model_fields))}"
    assert f"{name}({first}" in text
    if name not in ("Normal", "ShortTerm"):
        assert [field for field in kind.model_fields if not re.search(rf"\| +{field} : .*\n .*\w", text)] == []
    assert len(text.splitlines()) < 70


def test_the_handbook_is_one_file(tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(commands_of_runs, "HANDBOOK", tmp_path / "handbook.html")
    refusal = refusal_of(capsys, "help", "handbook")
    pages, script = re.findall(r"scripts/handbook/\S+\b", refusal)
    assert (ROOT / script).is_file() and [*ROOT.glob(pages)] and "`pip install '.[docs]'`" in refusal
    (tmp_path / "handbook.html").write_text("<!DOCTYPE html>")
    assert command(capsys, "help", "handbook") == (0, f"{tmp_path / 'handbook.html'}\n", "")


@pytest.mark.parametrize(
    ("topics", "told"),
    [
        (["parameters", "tau"], "did you mean 'tau_m'"),
        (["no"], "'no' is not a command"),
        (["scaling", "no"], "'scaling no' is not a command"),
    ],
)
def test_unknown_topics(topics: list[str], told: str, capsys: pytest.CaptureFixture) -> None:
    assert told in refusal_of(capsys, "help", *topics)


def test_help_of_commands(capsys: pytest.CaptureFixture) -> None:
    assert "Commands:" in command(capsys, "help")[1]
    assert command(capsys, "help", "scaling", "plot")[1] == command(capsys, "scaling", "plot", "--help")[1]
