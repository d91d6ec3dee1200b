"""scripts/aarch64.py: on ARM, emulated, functions and trainings give the bits that they give here."""

import shutil

import aarch64
import pytest

TOOLS = any(map(shutil.which, aarch64.QEMU)) and shutil.which(aarch64.COMPILER)
needs_tools = pytest.mark.skipif(not TOOLS, reason="no cross compiler for aarch64, or no QEMU, see scripts/aarch64.py")


@needs_tools
@pytest.mark.slow
def test_a_training_of_each_variant() -> None:
    machine = aarch64.Machine(aarch64.FOLDER)
    if not machine.is_ready():
        pytest.skip("the Python for ARM is not there, or kernels have changed since: python scripts/aarch64.py digests")
    assert aarch64.compare_digests(machine, ["sine-waves-interval-double", "sine-waves-spike-double"])


@needs_tools
@pytest.mark.long
def test_all_functions_and_trainings() -> None:
    machine = aarch64.Machine(aarch64.FOLDER)
    machine.prepare()
    assert aarch64.compare_functions() and aarch64.compare_digests(machine, [])


@pytest.mark.parametrize(
    ("arguments", "there", "named"),
    [
        (["functions"], (), "gcc-aarch64-linux-gnu"),
        (["digests"], (aarch64.COMPILER,), "qemu-user-static"),
        (["functions", "sine-waves-spike-double"], (), "'sine-waves-spike-double'"),
    ],
)
def test_what_is_missing_is_named(
    arguments: list[str],
    there: tuple[str, ...],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr("sys.argv", ["aarch64.py", *arguments])
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in there else None)
    with pytest.raises(SystemExit) as stop:
        aarch64.main()
    errors = capsys.readouterr().err
    assert stop.value.code == 2 and named in errors and errors.count("\n") == 1
