"""Reports: one file that needs no network, with what the runs hold; it is drawn in a real browser."""

import base64
import html
import re
import shutil
import warnings
from html.parser import HTMLParser
from pathlib import Path

import h5py
import numpy as np
import pytest
import small
from commands import as_options, command, refusal_of

from pareprop import Normal, Sample, cli, run
from pareprop.plots import charts
from pareprop.runs import report

SETTINGS = [
    "iterations=4",
    "test_samples=6",
    "batch_size=2",
    "n_ad=4",
    "n_reg=6",
    "record.every=2",
    'record.what=["spikes","V_m","learning_signal"]',
]
RUN = ["run", "evidence-accumulation", *as_options(*SETTINGS)]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs with a recording and a test; the first has figures."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed in (1, 2):
            figures = [] if seed == 1 else ["--no-figures"]
            cli.main([*RUN, "--seed", str(seed), "--out", f"seed-{seed}", *figures])
    return folder


class Page(HTMLParser):
    """Tags left open, and everything that a page would load."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack, self.loads, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.loads += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.loads += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.stack.pop() == tag


@pytest.mark.slow
def test_a_run_has_a_report_that_stands_alone(done: Path) -> None:
    text = (done / "seed-1" / "report.html").read_text()
    page = Page(text)
    assert not page.stack and len(text) < 5_000_000
    assert page.loads and all(place.startswith("data:image/png;base64,") for place in page.loads)
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    images = [base64.b64decode(place.partition(",")[2]) for place in page.loads]
    assert sorted(images) == sorted(path.read_bytes() for path in (done / "seed-1").glob("*.png"))
    assert html.escape((done / "seed-1" / "config.toml").read_text(), quote=False)[:300] in text.replace("&#34;", '"')


def test_the_report_holds_what_the_results_hold(done: Path) -> None:
    text = (done / "seed-1" / "report.html").read_text()
    with h5py.File(done / "seed-1" / "results.h5") as file:
        losses, test = file["loss"][()], file["test"]
        labels, predictions, digest = test["labels"][()], test["predictions"][()], file.attrs["digest"]
    assert f"{losses[0]:.4g} → {losses[-1]:.4g}" in text and digest[:16] in text
    table = re.search(r'<table class="confusion">(.*?)</table>', text, re.DOTALL)[1]
    counts = [int(cell) for cell in re.findall(r"<td[^>]*>\s*(\d+)</td>", table)]
    assert counts == [np.sum((labels == row) & (predictions == column)) for row in (0, 1) for column in (0, 1)]


def test_runs_side_by_side(done: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(done)
    assert command(capsys, "report", "seed-1", "seed-2")[:2] == (0, "report: report.html\n")
    text = (done / "report.html").read_text()
    assert not Page(text).stack and len(text) < 5_000_000
    seeds = re.search(r"<tr><th>run.seed</th><td>(\d)</td><td>(\d)</td>", text)
    assert seeds.groups() == ("1", "2") and "<th>run.iterations</th>" not in text
    assert command(capsys, "report", done, "--out", "again.html")[0] == 0  # the folder of both
    assert (done / "again.html").read_text().count("<summary>Configuration") == 2


@pytest.mark.slow
def test_runs_of_scripts_differ_in_what_their_networks_differ(tmp_path: Path) -> None:
    """Each value that differs has a line with that of each run; what is alike, and files and seeds, have none."""
    for name, tau, std, n in (("short", 20.0, 0.1, 4), ("long", 35.0, 0.2, 4), ("large", 20.0, 0.1, 5)):
        into = {"weight": Normal(std=std), "name": "into", "plastic": False}
        model = small.network("interval", 3, n, cell={"tau_m": tau}, into=into, onto={"weight": 0.1}, back=None)
        silent = small.Once(Sample.from_raster(np.zeros((5, 3)), np.zeros((5, 1))), 5)
        run(model, silent, tmp_path / name, iterations=1, test_samples=0, quiet=True)
    places = [tmp_path / name for name in ("short", "long", "large")]
    text = report.write(places, tmp_path / "out.html").read_text()
    table = text[text.index("Differences of the configurations") :].split("</table>")[0]
    rows = {
        key: re.findall("<td>(.*?)</td>", cells) for key, cells in re.findall("<tr><th>(.*?)</th>(<td>.*?)</tr>", table)
    }
    assert rows.pop("model.populations.rec.size") == ["4", "4", "5"]
    ((key, taus),) = [(key, row) for key, row in rows.items() if key.endswith("tau_m")]
    assert key.startswith("model.populations.rec") and taus == ["20.0", "35.0", "20.0"]
    ((key, stds),) = [(key, row) for key, row in rows.items() if key.endswith("std")]
    assert key.startswith("model.projections.into") and stds == ["0.1", "0.2", "0.1"] and len(rows) == 2


def test_a_study_is_reported_with_its_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "study.csv").write_text(
        "kind,variant,neurons,ranks,train_seconds,memory_bytes_max\nstrong,interval,1000000,1,0.0012345,3684350\n"
    )
    for number, name in enumerate(("phases", "scaling")):
        (tmp_path / f"{name}.png").write_bytes(b"%d" % number)
    assert command(capsys, "report", tmp_path)[0] == 0
    text = (tmp_path / "report.html").read_text()
    assert not Page(text).stack and re.findall(r'alt="(\w+)"', text) == ["scaling", "phases"]
    headings = re.findall("<th>(.*?)</th>", text)
    assert headings == ["kind", "variant", "neurons", "ranks", "seconds", "MiB of the largest rank"]
    cells = re.findall(r'<td class="number">(.*?)</td>', text)
    assert cells == ["strong", "interval", "1,000,000", "1", "0.00123", "3.51"]


def test_nothing_foreign_is_overwritten_or_believed(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "mine.html").write_text("<p>mine")
    code, _, errors = command(capsys, "report", done / "seed-1", "--out", tmp_path / "mine.html")
    assert (code, errors.count("\n")) == (2, 1) and "exists and is not a report" in errors
    assert (tmp_path / "mine.html").read_text() == "<p>mine"
    assert "neither a run directory" in refusal_of(capsys, "report", tmp_path)


def test_names_cannot_break_out_of_the_page(done: Path, tmp_path: Path) -> None:
    copy = tmp_path / "<script>alert(1)<"
    shutil.copytree(done / "seed-1", copy)
    with h5py.File(copy / "results.h5", "r+") as file:
        file.attrs["task"] = "</script><img src=x>"
        file.attrs["model"] = file.attrs["model"].replace('"reg"', '"</script><b>"')
    text = report.write([copy], tmp_path / "out.html").read_text()
    page = Page(text)
    assert not page.stack and "x" not in page.loads and "<script>alert" not in text


@pytest.mark.slow
def test_text_that_is_no_utf8_is_replaced(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In figures and in the report."""
    shutil.copytree(done / "seed-1", tmp_path / "run")
    with h5py.File(tmp_path / "run" / "results.h5", "r+") as file:
        file.attrs.create("task", b"sine\xff", dtype=h5py.string_dtype())
    for name in ("plot", "report"):
        code, _, errors = command(capsys, name, tmp_path / "run")
        assert (code, errors) == (0, "")
    assert "sine?" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_long_curves_keep_their_extremes() -> None:
    values = np.ones(50_000)
    values[12_345], values[40_000] = 9.0, -3.0
    steps, thinned = charts.reduce_curve(np.arange(50_000), values)
    assert len(thinned) <= 2 * charts.MAX_CURVE_PARTS and thinned.max() == 9.0 and thinned.min() == -3.0
    assert (np.diff(steps) > 0).all()


@pytest.mark.parametrize(
    "values",
    [[], [np.nan], [2.0], [0.0, 0.0], [1e-3, 1e3], [np.inf, 1.0], [1e308], [1e308, 1e308, 1.0], [-1e308, 1e308],
     [5e-324, 1e249], [5e-324, 1e308], [1e17, 1e17], [-1e249, 1e249], [5e-324, 1e-323]],
)  # fmt: skip
def test_any_curve_is_drawn(values: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = charts.draw_curves("x", [("a", np.arange(1, len(values) + 1), np.array(values))])
    assert not re.search(r"\b(nan|inf)\b", drawn)
