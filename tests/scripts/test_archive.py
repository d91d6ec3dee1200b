"""`scripts/archive.py`: one file with all that git holds of a commit, and how to cite it."""

import hashlib
import json
import subprocess
import sys
import tarfile
import tomllib
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no checkout of git")
def test_archive_of_a_commit(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=True).stdout

    line = [sys.executable, ROOT / "scripts" / "archive.py", "--out", tmp_path]
    told = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    project = tomllib.loads(git("show", "HEAD:pyproject.toml"))["project"]
    top = f"pareprop-{project['version']}"
    path = tmp_path / f"{top}.tar.gz"
    assert told == f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}\n"
    with tarfile.open(path) as archive:
        files = {member.name.removeprefix(f"{top}/") for member in archive if member.isfile()}
        text = archive.extractfile(f"{top}/CITATION.cff").read().decode()
    assert files == {*git("ls-tree", "-r", "--name-only", "HEAD").splitlines(), "CITATION.cff"}
    cited = {key: json.loads(value) for key, value in (entry.split(": ", 1) for entry in text.splitlines())}
    assert {key: cited[key] for key in ("version", "keywords", "authors")} == {
        key: project[key] for key in ("version", "keywords", "authors")
    }
    assert cited["license"] == "BSD-3-Clause"
    assert cited["cff-version"] == "1.2.0" and date.fromisoformat(cited["date-released"])
