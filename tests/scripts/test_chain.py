"""jobs/chain.sbatch with stand-ins for srun and scontrol: what its log holds, and when."""

import os
import select
import subprocess
from pathlib import Path

import pytest

CHAIN = Path(__file__).parents[2] / "jobs" / "chain.sbatch"
SRUN = """#!/usr/bin/env bash
echo "iteration 1 of 9" >&2
read -r <"$GO"
printf -- '-----\\nwarning of MPI\\n-----\\n' >&2
printf -- '-----\\nexited with non-zero status\\n   Exit code:    %s\\n-----\\n' "$CODE" >&2
echo "srun: error: task 0: Exited with exit code $CODE" >&2
exit "$CODE"
"""


@pytest.mark.parametrize("code", [75, 3])
def test_log_of_a_job(tmp_path: Path, code: int) -> None:
    """Lines come as they are written; what launchers say of code 75 is left out, of other codes it is not."""
    for name, text in (("srun", SRUN), ("scontrol", '#!/usr/bin/env bash\necho "$@"\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    os.mkfifo(tmp_path / "go")
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "GO": str(tmp_path / "go"), "CODE": str(code),
        "SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "chain", "OUT": str(tmp_path / "run"),
    }  # fmt: skip
    environment.pop("VENV", None)
    process = subprocess.Popen(
        ["timeout", "120", "bash", CHAIN, "sine-waves"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert select.select([process.stderr], [], [], 100)[0], "nothing is told while the run goes on"
    (tmp_path / "go").write_text("\n")
    output, errors = process.communicate()
    assert errors.startswith("iteration 1 of 9\n-----\nwarning of MPI\n-----\n")
    if code == 75:
        assert errors.count("\n") == 4
        assert output == "job 7 goes on from this checkpoint\nrequeue 7\n" and process.returncode == 0
    else:
        assert "Exit code:    3" in errors and "Exited with exit code 3" in errors
        assert output == "" and process.returncode == 3
