"""Any bytes in the files of a SONATA network, and files of it that never end."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import apart
from fuzzing import attack, change, judge, mutate, until, value

pytestmark = pytest.mark.slow
CONFIG = """
[task]
name = "data"
data = "{data}"
[model]
variant = "{variant}"
sonata = "{sonata}"
[[model.populations]]
name = "out"
role = "readout"
size = 1
[[model.projections]]
pre = "rec"
post = "out"
[[model.projections]]
pre = "out"
post = "rec"
"""


@pytest.fixture(scope="session")
def network(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of a run in SONATA files."""
    folder = tmp_path_factory.mktemp("network") / finished.name
    apart("export", finished, folder, "--network").check_returncode()
    return folder


@pytest.fixture
def config(network: Path, tmp_path: Path) -> Path:
    """A configuration of a copy of the network."""
    shutil.copytree(network, tmp_path / "net")
    np.savez(tmp_path / "data.npz", rates=np.full((3, 5), 5.0), targets=np.zeros((3, 10, 1)))
    places = {"data": tmp_path / "data.npz", "sonata": tmp_path / "net/circuit_config.json", "variant": network.name}
    (tmp_path / "my.toml").write_text(CONFIG.format(**places))
    return tmp_path / "my.toml"


def spoil_file(draw: random.Random, path: Path) -> None:
    content = path.read_bytes()
    if path.suffix == ".h5":
        attack(draw, content, path)
    elif path.suffix == ".json" and len(content) > 3 and draw.random() < 0.6:
        path.write_text(json.dumps(change(draw, json.loads(content))))
    elif path.suffix == ".csv" and draw.random() < 0.6:
        lines = [line.split(" ") for line in content.decode().splitlines()]
        line = draw.choice(lines)
        line[draw.randrange(len(line))] = value(draw)
        path.write_bytes("\n".join(map(" ".join, lines)).encode(errors="surrogatepass"))
    else:
        path.write_bytes(mutate(draw, content))


@pytest.mark.usefixtures("no_training")
def test_any_network(config: Path, network: Path, tmp_path: Path, capsys, fuzz_seconds: float) -> None:
    net, out = tmp_path / "net", tmp_path / "out"
    out.mkdir()
    files = sorted(path for path in net.rglob("*") if path.is_file())
    assert judge(capsys, "network", ["run", config, "--out", out / "good"], out) == 0
    shutil.rmtree(out / "good")

    def one(draw: random.Random, number: int) -> None:
        path = draw.choice(files)
        before = path.read_bytes()
        spoil_file(draw, path)
        if judge(capsys, "network", ["run", config, "--out", out / str(number)], out) == 0:
            shutil.rmtree(out / str(number))
        path.write_bytes(before)

    until(fuzz_seconds, f"network {network.name}", one)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("forever", ["fifo", "/dev/zero", "folder", "missing"])
def test_networks_that_never_end(config: Path, fifo: Path, forever: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "folder").mkdir()
    for path in sorted(path for path in (tmp_path / "net").rglob("*") if path.is_file()):
        if path.name == "static.json":  # of synapses, for other simulators
            continue
        path.rename(tmp_path / "kept")
        path.symlink_to(tmp_path / forever)
        assert judge(capsys, "networks that never end", ["run", config, "--out", tmp_path / "run"], tmp_path) == 2, path
        path.unlink()
        (tmp_path / "kept").rename(path)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(("kind", "odd"), [("*.csv", b"\xff"), ("*.json", b"\\udcff")])
def test_text_that_utf_8_cannot_write_is_told(
    config: Path, kind: str, odd: bytes, tmp_path: Path, capsys, fuzz_seconds: float
) -> None:
    """Put an odd byte, or half a pair of surrogates, into names, paths and values: messages quote them."""
    refused = 0
    for path in sorted((tmp_path / "net").rglob(kind)):
        kept = path.read_bytes()
        for place in [k + 1 for k, letter in enumerate(kept) if letter in b'" '][:: 1 if fuzz_seconds else 4]:
            path.write_bytes(kept[:place] + odd + kept[place:])
            refused += judge(capsys, "no text", ["run", config, "--out", tmp_path / "run"], tmp_path) == 2
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
        path.write_bytes(kept)
    assert refused
