"""Export of a run as an RO-Crate: one ZIP file with its files, and a description that archives can read."""

from __future__ import annotations

import json
import mimetypes
import shutil
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .. import files
from ..exchange_formats.export_checks import require_target
from ..storage.disk import output_errors, replace_file
from ..values import Values
from . import provenance
from .directory import CONFIG, RECORD, RESULTS
from .log_files import CSV, EPOCHS, LOG

METADATA = "ro-crate-metadata.json"
CRATE = "https://w3id.org/ro/crate/1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.1"  # of runs of programs
MEANING = {
    CONFIG: "Effective configuration; `pareprop run` of this file repeats the run",
    RESULTS: "Losses, scores, final weights and recorded samples",
    f"{RECORD}.h5": "Recording",
    provenance.NAME: "Versions, machine, ranks, times and memory of each part",
    LOG: "What the run printed",
    CSV: "Curves of the training",
    EPOCHS: "Means of each pass through the training data",
}
MIME = {".h5": "application/x-hdf5", ".toml": "application/toml", ".log": "text/plain"}
STATES = {"ended": "CompletedActionStatus", "running": "ActiveActionStatus"}  # any other: it failed


def export_crate(directory: Path, target: Path, overwrite: bool = False) -> int:
    """Write configuration, results, recording, curves and figures of a run; return the number of files.

    Checkpoints are left out. `target` is the crate, a name that ends in .zip; with `overwrite` an old crate is
    replaced. Raises an `InputError` if there is no run, or the crate exists.
    """
    about = provenance.read(directory)
    require_target(target, "crate", ".zip", overwrite, _is_crate)
    names = sorted(_list_files(directory, target))
    with output_errors(target), replace_file(target) as part, zipfile.ZipFile(part, "w") as crate:
        crate.writestr(METADATA, json.dumps(describe_run(about, names), indent=1) + "\n", zipfile.ZIP_DEFLATED)
        for name in names:
            with (
                files.open_regular(files.require_own_file(directory / name)) as source,
                crate.open(name, "w", force_zip64=True) as copy,
            ):
                shutil.copyfileobj(source, copy, 2**20)
    return len(names)


def _is_crate(path: Path) -> bool:
    """Return whether a file is a crate, so that it may be replaced."""
    try:
        with zipfile.ZipFile(path) as crate:
            return METADATA in crate.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def _list_files(directory: Path, target: Path) -> Iterator[str]:
    """Yield the files of a run except checkpoints and a crate of the run."""
    for path in (*directory.glob("*.*"), *directory.glob(f"{RECORD}/*.h5")):
        if path.is_file() and not path.is_symlink() and path.suffix not in (".part", ".zip") and path != target:
            yield path.relative_to(directory).as_posix()


def describe_run(about: Values, names: list[str]) -> Values:
    """Return the description of a run, in JSON-LD, from its provenance and the names of its files."""
    parts = about["parts"]
    packages = parts[-1].get("packages", {}) if parts else {}
    task, given = about.get("task", "run"), [CONFIG] if CONFIG in names else []
    actions = [_describe_action(number, part, names, given) for number, part in enumerate(parts, 1)]
    program = {
        "@id": "#pareprop",
        "@type": "SoftwareApplication",
        "name": "pareprop",
        "version": packages.get("pareprop", ""),
        "softwareRequirements": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "operatingSystem": parts[-1].get("machine", "") if parts else "",
    }
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": f"pareprop: {task}",
        "description": f"Training of the task {task} with e-prop: configuration, results and provenance",
        "datePublished": datetime.now(UTC).isoformat(timespec="seconds"),
        "identifier": about.get("config_digest", ""),
        "conformsTo": {"@id": PROFILE},
        "hasPart": [{"@id": name} for name in names],
        "mentions": [{"@id": action["@id"]} for action in actions],
    }
    kept = [{"@id": name, "@type": "File", "name": name, **_guess_media_type(name)} for name in names]
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.1"}
    itself = {"@id": METADATA, "@type": "CreativeWork", "about": {"@id": "./"}, "conformsTo": {"@id": CRATE}}
    return {"@context": f"{CRATE}/context", "@graph": [itself, root, profile, program, *kept, *actions]}


def _guess_media_type(name: str) -> Values:
    kind = MIME.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"encodingFormat": kind} | ({"description": MEANING[name]} if name in MEANING else {})


def _describe_action(number: int, part: Values, names: list[str], given: list[str]) -> Values:
    """Return the action that made the files: the run, or a part of it between two checkpoints."""
    started, state = str(part.get("started", "")), str(part.get("state", "running"))
    times = {"startTime": started} if started else {}
    if started and "wall_seconds" in part:
        end = datetime.fromisoformat(started) + timedelta(seconds=part["wall_seconds"])
        times["endTime"] = end.isoformat(timespec="seconds")
    return {
        "@id": f"#part-{number}",
        "@type": "CreateAction",
        "name": f"pareprop {part.get('command', 'run')}",
        "description": f"{provenance.describe_iterations(part)}, ranks: {part.get('ranks', 1)}",
        "instrument": {"@id": "#pareprop"},
        "object": [{"@id": name} for name in given],
        "result": [{"@id": name} for name in names if name not in given],
        **times,
        "actionStatus": {"@id": f"http://schema.org/{STATES.get(state, 'FailedActionStatus')}"},
        **({} if state in STATES else {"error": state}),
    }
