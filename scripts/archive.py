#!/usr/bin/env python3
"""Write a release as one file for an archive: the files of a commit, and CITATION.cff from its pyproject.toml.

    python scripts/archive.py             # build/pareprop-VERSION.tar.gz of the latest commit, and its SHA-256
    python scripts/archive.py v0.2.0 --out releases

Archives and GitHub read CITATION.cff at the top of an archive; in the repository the metadata stand once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def git(*arguments: str) -> str:
    """Return the output of git."""
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True, text=True).stdout


def citation(project: dict, date: str) -> str:
    """Return CITATION.cff, in YAML, from the table [project] and the date of the release.

    Several licences there would be a choice: it has the program's licence, not the licence of a data file.
    """
    entries = {
        "cff-version": "1.2.0",
        "type": "software",
        "title": project["name"],
        "abstract": project["description"],
        "message": "If you use this software, please cite it as below.",
        "authors": project["authors"],
        "keywords": project["keywords"],
        "license": project["license"].partition(" AND ")[0],
        "version": project["version"],
        "date-released": date,
    }
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in entries.items())


def main() -> None:
    """Write the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", default="HEAD")
    parser.add_argument("--out", type=Path, default=ROOT / "build")
    options = parser.parse_args()
    project = tomllib.loads(git("show", f"{options.commit}:pyproject.toml"))["project"]
    text = citation(project, git("show", "-s", "--format=%cs", options.commit).strip())
    name = f"{project['name']}-{project['version']}"
    path = options.out.resolve() / f"{name}.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    added = f"--add-virtual-file={name}/CITATION.cff:{text}"
    git("archive", f"--prefix={name}/", added, f"--output={path}", options.commit)
    print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path}")


if __name__ == "__main__":
    main()
