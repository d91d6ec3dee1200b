"""Every block of code of the handbook runs, its tables hold all that the registries do, its first page leads to all."""

import inspect
import re
import subprocess
from pathlib import Path

import pytest
import ranks
from pages import ROOT, blocks, furnish

import pareprop
from pareprop.network.connection_rules import RULES
from pareprop.network.losses import LOSSES
from pareprop.network.neurons import SURROGATES
from pareprop.network.optimizers import OPTIMIZERS
from pareprop.network.variants import VARIANTS
from pareprop.neurons import library

HANDBOOK = ROOT / "scripts" / "handbook"
PAGES = sorted(HANDBOOK.rglob("*.md"))
SHELL = "import subprocess; subprocess.run(['bash', '-euo', 'pipefail', '-c', {!r}], check=True)\n"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("sphinx", reason="the handbook needs the extra 'docs'")
    monkeypatch.syspath_prepend(str(HANDBOOK))
    import tables

    return tables


def script(page: Path) -> str:
    """The blocks of a page as one script of Python, in which those of the shell are calls."""
    return "\n".join(
        block.text if block.language == "python" else SHELL.format(block.text) for block in blocks(page) if block.runs
    )


@pytest.mark.slow
@pytest.mark.mpi
@pytest.mark.parametrize("page", [page for page in PAGES if script(page)], ids=lambda page: page.stem)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    """In a folder of their own, from top to bottom; those of Python share their names."""
    environment = furnish(tmp_path)
    code = f"import warnings\nwarnings.simplefilter('error')\n{script(page)}"
    command = [*ranks.python(), "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_most_blocks_are_run() -> None:
    """What is not run says why, or is an installation or a batch job; other languages are only shown."""
    found = [block for page in PAGES for block in blocks(page)]
    assert {block.language for block in found} <= {"sh", "python", "text"}
    code = [block for block in found if block.language != "text"]
    assert sum(block.runs for block in code) > 0.8 * len(code) > 20


def test_every_page_is_in_the_contents() -> None:
    contents = re.findall(r"^/?([\w./]+)$", (HANDBOOK / "index.md").read_text(), re.M)
    assert {str(page.relative_to(HANDBOOK).with_suffix("")) for page in PAGES} - {"index"} <= set(contents)
    assert {"README", "jobs/README", "scripts/README", ".github/CONTRIBUTING"} <= set(contents)
    assert not [*ROOT.glob("pareprop/**/*.md"), *ROOT.glob("cython_core/**/*.md")]


def test_changes_are_short() -> None:
    """A line for each change, so that users read them."""
    section = (HANDBOOK / "reference" / "changelog.md").read_text().split("\n## ")[1]
    assert len(section.splitlines()) <= 120
    assert not [line for line in section.splitlines() if line.startswith("  ")]


def test_included_code_is_there() -> None:
    """Lines at which a page begins and ends to show a file are in it."""
    shown = 0
    for page in PAGES:
        for path, options in re.findall(r"^```{literalinclude} (\S+)\n((?:^:.*\n)*)", page.read_text(), re.M):
            text = (page.parent / path).read_text()
            for _, named in re.findall(r"^:(?:start|end)-(?:at|before|after): ([\"']?)(.*)\1$", options, re.M):
                named = named.replace('\\"', '"')
                assert named in text, f"{page.stem}: {path}: {named}"
                shown += 1
    assert shown > 10


def test_library_has_all_public_names() -> None:
    named = re.findall(r"auto\w+:: (\w+)$", (HANDBOOK / "reference" / "library.md").read_text(), re.M)
    assert sorted(named) == sorted(pareprop.__all__)


def test_tables_hold_all_of_the_registries(tables) -> None:
    """Each name stands in its table, each parameter with a meaning."""
    for name, registry in (
        ("losses", LOSSES),
        ("optimizers", OPTIMIZERS),
        ("rules", RULES),
        ("surrogates", SURROGATES),
    ):
        text = "\n".join(tables.TABLES[name]())
        assert all(f'`"{key}"`' in text for key in registry), name
    text = "\n".join(tables.TABLES["neuron-models"]())
    assert all(f"| `{name}` |" in text for name in library.list_names())
    readouts = [variant.readout for variant in VARIANTS.values()]
    cells = [kind for variant in VARIANTS.values() for kind in variant.neurons.values()]
    for name, kinds in (("neurons", cells), ("readouts", readouts), ("optimizers", OPTIMIZERS.values())):
        text = "\n".join(tables.TABLES[name]())
        for key in {key for kind in kinds for key in kind.model_fields} - {"type"}:
            assert re.search(rf"^\| `{key}` \|", text, re.M), f"{name}: {key}"


def test_tables_name_defaults_units_and_bounds(tables) -> None:
    """Those of NEST 3.10, written down by hand."""
    found = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:5] for line in tables.TABLES["neurons"]()}
    assert found["`C_m`"] == ["`250`", "pF", "above 0", "Capacitance in pF."]
    assert found["`V_th`"][:3] == ["`-55`", "mV", "at least V_min"]
    assert found["`V_min`"][:3] == ["none", "mV", "at most V_th"]
    assert found["`t_ref`"][:3] == ["`2`", "ms", "at least 0"]
    assert found["`kappa`"][:3] == ["`0.97`", "", "at least 0, below 1"]
    assert found["`f_target`"][:3] == ["`10`", "Hz", "at least 0"]
    optimizers = "\n".join(tables.TABLES["optimizers"]())
    assert (
        "| `Wmin` | `-100` |  | at most Wmax |" in optimizers and "| `Wmax` | `100` |  | at least Wmin |" in optimizers
    )


def test_what_the_directive_writes_is_markdown(tables) -> None:
    """As many cells in each row of a table as in its head."""
    for name, make in tables.TABLES.items():
        assert inspect.getdoc(make) or make.__name__ == "<lambda>"
        width = 0
        for line in make() if name != "commands" else ():
            cells = len(re.findall(r"(?<!\\)\|", line))
            width = cells if not width or not line else width
            assert cells in (0, width) or line.startswith("| NEST"), f"{name}: {line}"


def test_one_file_holds_all_that_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Style sheets with what they name, images and downloads; links to other pages lead to headings."""
    monkeypatch.syspath_prepend(str(HANDBOOK))
    import one_file

    for name, content in (
        ("a.css", "p { background: url(b.svg); }"),
        ("b.svg", "<svg/>"),
        ("_images/c.png", "x"),
        ("_downloads/1/d.sh", "echo"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    made = one_file.embed(
        '<link rel="stylesheet" type="text/css" href="a.css?v=1" /><link rel="search" href="s.html">'
        '<script src="x.js"></script><a class="image" href="_images/c.png"><img alt="c" src="_images/c.png" /></a>'
        '<a download="" href="_downloads/1/d.sh">d</a><a href="#document-page#part">there</a><h2 id="part"></h2>',
        tmp_path,
    )
    assert made == (
        "<style>\np { background: url(data:image/svg+xml;base64,PHN2Zy8+); }</style>"
        '<img alt="c" src="data:image/png;base64,eA==" />'
        f'<a download="" href="data:{one_file.mimetypes.guess_type("d.sh")[0]};base64,ZWNobw==">d</a>'
        '<a href="#part">there</a><h2 id="part"></h2>'
    )
