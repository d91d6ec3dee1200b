"""NEST's own tests of e-prop, with this package in NEST's place."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tutorials import find_shipped

pytestmark = pytest.mark.peer
FILES = ("test_eprop_bsshslm_2020_plasticity.py", "test_eprop_plasticity.py")
GENERIC = (
    "pytests/connect/test_common_properties_setting.py",
    "pytests/other/test_refractory.py",
    "pytests/recording/test_multimeter_stepping.py",
    "pytests/neurons/test_ignore_and_spike_mechanism.py",
)
INSTEAD = {"stdp_synapse": "static_synapse"}  # of models that are not there
REPLACED = (
    "recording/test_recording_backend_ascii.py",
    "recording/test_recording_backend_memory.py",
    "recording/test_multimeter.py",
    "recording/test_multimeter_offset.py",
    "recording/test_recording_backends.py",
    "recording/test_set_start_stop_origin.py",
    "recording/test_spike_recorder.py",
    "recording/test_weight_recorder.py",
    "stimulating/test_spike_generator.py",
    "connect/test_connect_node_collection.py",
    "connect/test_default_delays_weights.py",
    "connect/test_delay_check.py",
    "connect/test_getconnections.py",
    "connect/test_onetooneconnect.py",
)
REFUSED = {
    "test_multimeter_stepping[eprop_readout]",  # a Poisson generator that drives a readout
    "test_ignore_and_spike_generates_expected_spikes[iaf_psc_delta]",
}


def run_pytest(folder: Path, *arguments: str | Path, path: Path | None = None) -> str:
    """Run pytest with the plugin in `folder`, without the options of the pytest that runs this; return what it says.

    Modules of `path` come before those that are installed.
    """
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += ["-p", "pareprop.nest.plugin"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if path:
        environment["PYTHONPATH"] = str(path)
    line, own = [*command, *map(str, arguments)], {"cwd": folder, "env": environment}
    return subprocess.run(line, capture_output=True, text=True, timeout=900, check=False, **own).stdout


@pytest.mark.slow
def test_all_pass_but_those_on_buffers_that_only_nest_has(tmp_path: Path) -> None:
    files = [find_shipped(f"pytests/synapses/{name}") for name in FILES]
    printed = run_pytest(tmp_path, *files)
    assert re.search(r"\b5 failed, 83 passed\b", printed), printed[-3000:]
    assert re.findall(r"^FAILED \S*::(\w+)", printed, re.M) == ["test_eprop_history_cleaning"] * 5
    refusals = re.findall(r"^E +NESTErrors.NotImplemented: (.*)$", printed, re.M)
    assert len(refusals) == 5 and all("eprop_history_duration" in text for text in refusals)


def test_generic_tests_pass_where_they_are_about_eprop(tmp_path: Path) -> None:
    """Refractory times, recordings in pieces, properties of synapse models; what is refused or not there is named."""
    printed = run_pytest(tmp_path, *map(find_shipped, GENERIC))
    failed = set(re.findall(r"^FAILED \S*::(\S+)", printed, re.M))
    assert failed == REFUSED, printed[-3000:]
    assert re.search(r"\b2 failed, 21 passed\b", printed), printed[-3000:]
    assert "ignore_and_spike = True" in printed


@pytest.mark.slow
def test_files_pass_with_other_models_in_place_of_those_that_are_not_there(tmp_path: Path) -> None:
    suite = find_shipped("pytests/conftest.py").parent
    shutil.copytree(suite / "utilities", tmp_path / "utilities")
    shutil.copy(suite / "conftest.py", tmp_path)
    for name in REPLACED:
        text = (suite / name).read_text()
        for model, other in INSTEAD.items():
            text = re.sub(rf"\b{model}\b", other, text)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    printed = run_pytest(tmp_path, *REPLACED)
    assert re.search(r"\b261 passed\b", printed) and "failed" not in printed, printed[-3000:]


def test_a_copy_of_the_suite_runs_where_no_nest_is_installed(tmp_path: Path) -> None:
    """Its conftest imports `nest` before any plugin is configured."""
    (tmp_path / "nothing" / "nest").mkdir(parents=True)
    (tmp_path / "nothing" / "nest" / "__init__.py").write_text("raise ModuleNotFoundError('no NEST here')\n")
    suite = find_shipped("pytests/conftest.py").parent
    for part in ("conftest.py", "utilities", "connect/test_common_properties_setting.py"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (shutil.copytree if "." not in part else shutil.copy)(suite / part, tmp_path / part)
    printed = run_pytest(tmp_path, tmp_path / "connect", path=tmp_path / "nothing")
    assert re.search(r"\b4 passed\b", printed), printed[-3000:]
