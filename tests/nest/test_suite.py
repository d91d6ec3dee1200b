"""NEST's own tests of e-prop, with this package in NEST's place."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tutorials import shipped

pytestmark = pytest.mark.peer
FILES = ("test_eprop_bsshslm_2020_plasticity.py", "test_eprop_plasticity.py")


@pytest.mark.slow
def test_all_pass_but_those_on_buffers_that_only_nest_has(tmp_path: Path) -> None:
    files = [shipped(f"pytests/synapses/{name}") for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pareprop.nest.plugin", *files]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, cwd=tmp_path,
                          check=False)  # fmt: skip
    assert re.search(r"\b5 failed, 71 passed\b", done.stdout), done.stdout[-3000:]
    failed = re.findall(r"^FAILED \S*::(\w+)", done.stdout, re.M)
    assert failed == ["test_eprop_history_cleaning"] * 5
    refusals = re.findall(r"^E +NESTErrors.NotImplemented: (.*)$", done.stdout, re.M)
    assert len(refusals) == 5 and all("eprop_history_duration" in text for text in refusals)


@pytest.mark.slow
def test_common_properties(tmp_path: Path) -> None:
    """Of the generic tests, the four on `average_gradient`."""
    file = shipped("pytests/connect/test_common_properties_setting.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pareprop.nest.plugin", file,
               "-k", "average_gradient or eprop"]  # fmt: skip
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, cwd=tmp_path,
                          check=False)  # fmt: skip
    assert "failed" not in done.stdout and re.search(r"\b[1-9]\d* passed", done.stdout), done.stdout[-3000:]
