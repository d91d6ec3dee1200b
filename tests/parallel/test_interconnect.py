"""Whether MPI uses the InfiniBand of a node: told from its devices and from the libraries of the process."""

from pathlib import Path

import pytest

from pareprop.parallel import mpi


@pytest.mark.parametrize(
    ("library", "told"),
    [
        ("libibverbs.so.1.14", "mlx5_0, mlx5_1, by libibverbs"),
        ("libucp.so.0", "mlx5_0, mlx5_1, not used: MPI loaded no driver"),
    ],
)
def test_devices_and_drivers(tmp_path: Path, library: str, told: str) -> None:
    for name in ("mlx5_1", "mlx5_0"):
        (tmp_path / "infiniband" / name).mkdir(parents=True)
    (tmp_path / "maps").write_text(f"7f00-7f01 r-xp 00000000 08:01 12 /usr/lib/{library}\n")
    assert mpi.describe_interconnect(tmp_path / "infiniband", tmp_path / "maps") == told


def test_a_node_without_devices(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text("")
    assert mpi.describe_interconnect(tmp_path / "infiniband", tmp_path / "maps") == ""
    (tmp_path / "infiniband").mkdir()
    assert mpi.describe_interconnect(tmp_path / "infiniband", tmp_path / "maps") == ""
