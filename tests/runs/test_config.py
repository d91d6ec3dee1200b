"""Configurations: what is accepted runs, with one digest on any number of ranks; what is refused writes nothing."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import ranks
from commands import as_options, command, digests, output_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from pareprop.errors import InputError
from pareprop.parallel.exchange import Alone, Exchange
from pareprop.runs import config
from pareprop.runs import run as runs
from pareprop.simulation.loop import Simulation
from pareprop.storage.record_settings import check
from pareprop.tasks import TASKS


@pytest.mark.parametrize("name", TASKS)
def test_a_printed_configuration_says_the_same(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "my.toml"
    path.write_text(output_of(capsys, "config", name, *as_options("run.seed=7", "checkpoint.keep=5")))
    again = config.load(str(path))
    assert (
        again.compute_digest()
        == config.load(name, ["seed=7", "keep=5"]).compute_digest()
        != config.load(name).compute_digest()
    )
    assert (again.task.seed, again.checkpoint.keep) == (7, 5)


def test_any_text_in_a_printed_configuration_is_toml(capsys: pytest.CaptureFixture) -> None:
    name = 'a "b" \\ \u00e9 \U0001f9e0.npz'  # TOML has no pairs of surrogates, as JSON does
    text = output_of(capsys, "config", "data", "--set", f"data={name}")
    assert tomllib.loads(text)["task"]["data"] == name


def test_every_problem_in_one_go(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(
        '[task]\nname = "sine-waves"\nn_stepp = 3\n[model]\nn_rec = 0\neta = 1\n[learnin]\neta = 2\n'
        '[record]\nwhat = ["spikes", "foo"]\n'
    )
    with pytest.raises(InputError) as caught:
        config.load(str(path), ["every=3", "etta=3", "eta=-1", "foo"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "9 problems:"
    for part in (
        f"{path}: [task] n_stepp: unknown parameter 'n_stepp', did you mean 'n_step'?",
        f"{path}: [model] n_rec = 0: Input should be greater than or equal to 1",
        f"{path}: [model] eta: 'eta' belongs to section [learning]",
        f"{path}: [learnin] eta: unknown section [learnin], did you mean 'learning'?",
        f"{path}: [record] what = 'foo': Input should be 'spikes', ",
        "--set every: 'every' is a key of record and checkpoint; write record.every",
        "--set etta: unknown parameter 'etta', did you mean 'eta'?",
        "--set eta = -1: Input should be greater than or equal to 0",
        "--set foo: must be key=value",
    ):
        assert any(line.strip().startswith(part) for line in lines), part


def test_a_hint_stays_in_its_section(tmp_path: Path) -> None:
    """Even where a key of another section, which may not stand here, is nearer."""
    path = tmp_path / "my.toml"
    path.write_text('[task]\nname = "sine-waves"\n[record]\nn_stp = 3\n')
    with pytest.raises(InputError, match=r"\[record\] n_stp: unknown parameter 'n_stp', did you mean 'step'\?"):
        config.load(str(path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[task", "not a configuration file"),
        ("seed = 3", "[task] name is missing"),
        ('[task]\nname = "sine"', "[task] name = 'sine' is not a task"),
        ("\x89HDF", "not a configuration file"),
        ("task = 3\n", "[task] name is missing"),
        ("#" * 2**21, "bytes, at most 1048576 are read"),
    ],
)
def test_a_file_of_another_kind(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="latin1")
    with pytest.raises(InputError, match=re.escape(expected)):
        config.load(str(path))


def test_refused_before_anything_is_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for wrong in ("record.neurons=[0,100]", 'projections=["in->out"]', "indegree=100000000000000000000"):
        arguments = ["run", "sine-waves", "--set", wrong, "--set", "record.every=1", "--out", tmp_path / "run"]
        code, output, errors = command(capsys, *arguments)
        assert (code, output) == (2, "") and errors.startswith("pareprop: error: ")
        assert not (tmp_path / "run").exists()


# ---- any configuration -----------------------------------------------------------------------------------------------

GOOD = {
    "variant": st.sampled_from(["interval", "spike"]), "n_in": st.integers(1, 8), "n_rec": st.integers(2, 9),
    "n_out": st.integers(1, 3), "n_step": st.integers(2, 40), "neuron": st.sampled_from(["iaf", "iaf_adapt"]),
    "indegree": st.integers(0, 8), "delay": st.integers(1, 31), "eta": st.floats(0.0, 1e-2),
    "feedback": st.sampled_from(["random", "symmetric", "adaptive"]), "batch_size": st.integers(1, 3),
    "input_rate": st.floats(0.0, 1.0), "kappa": st.floats(0.0, 0.99), "cutoff": st.integers(0, 60),
    "c_reg": st.floats(0.0, 400.0), "f_target": st.floats(0.0, 50.0), "seed": st.integers(0, 2**32 - 1),
    "record.every": st.integers(0, 2), "record.step": st.integers(1, 3), "keep": st.integers(1, 2),
    "checkpoint.every": st.integers(0, 2),
}  # fmt: skip
BAD = {  # with a delta neuron and spikes these are accepted, too
    "variant": st.just("both"), "n_in": st.integers(-2, 0), "n_rec": st.sampled_from([-1, 0, 10**15]),
    "n_out": st.integers(-1, 0), "n_step": st.sampled_from([-5, 0, 1, 10**14]), "indegree": st.integers(-3, -1),
    "neuron": st.sampled_from(["iaf_psc_delta", "iaf_psc_delta_adapt", "lif"]), "delay": st.sampled_from([0, 32]),
    "eta": st.sampled_from([-1e-9, "nan", "inf"]), "feedback": st.just("none"), "batch_size": st.integers(-1, 0),
    "input_rate": st.sampled_from([-0.1, 1.1]), "kappa": st.sampled_from([-0.1, 1.0]), "cutoff": st.integers(-3, -1),
    "c_reg": st.just(-1.0), "seed": st.sampled_from([-1, 2**32]), "record.step": st.just(0), "keep": st.just(0),
    "no_such": st.just(1),
}  # fmt: skip
SPOILS = [st.just({})] * 3 + [st.sampled_from(sorted(BAD)).flatmap(lambda key: st.fixed_dictionaries({key: BAD[key]}))]
accepted: dict[str, tuple[list[str], str]] = {}
refused: set[str] = set()


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(values=st.fixed_dictionaries({}, optional=GOOD), spoil=st.one_of(SPOILS))
def test_any_configuration_runs_or_is_refused(values: dict, spoil: dict, tmp_path_factory) -> None:
    values = {"n_rec": 5, "n_in": 4, "n_step": 20, **values}
    if values.get("variant") == "spike":
        values.pop("batch_size", None)  # that variant has no batches
    values |= spoil
    texts = [*(f"{key}={value}" for key, value in values.items()), "iterations=2"]
    try:
        chosen = config.load("sine-waves", texts)
        model = chosen.task.build_model()
        check(chosen.record, model)
        simulation = Simulation(model, chosen.task, settings=chosen.task.make_settings())
    except InputError as problem:
        assert str(problem)
        assert set(spoil), texts  # what lies within the bounds is never refused
        refused.add(json.dumps(spoil))
        return
    simulation.train(2)
    digest = simulation.hexdigest()
    accepted[json.dumps(texts)] = texts, digest
    if len(accepted) % 5:
        return
    run = runs.Run(chosen, tmp_path_factory.mktemp("any") / "run", Alone())  # with all its files
    run.directory.mkdir()
    run.begin_run()
    run.simulation.train(2)
    assert run.simulation.hexdigest() == digest


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    for texts in json.loads(Path(folder, "settings.json").read_text()):
        task = config.load("sine-waves", texts).task
        simulation = Simulation(task.build_model(), task, exchange, settings=task.make_settings())
        simulation.train(2)
        digest = simulation.hexdigest()
        if exchange.rank == 0:
            print("digest:", digest, flush=True)


@pytest.mark.slow
@pytest.mark.mpi
def test_what_was_accepted_has_one_digest_on_three_ranks(tmp_path: Path, tmp_path_factory) -> None:
    if not accepted:
        test_any_configuration_runs_or_is_refused(tmp_path_factory=tmp_path_factory)
    chosen = list(accepted.values())
    (tmp_path / "settings.json").write_text(json.dumps([texts for texts, _ in chosen]))
    found = digests(ranks.train(3, __file__, tmp_path).splitlines())
    assert found == [digest for _, digest in chosen]
    assert len(found) >= examples(75) and len(refused) >= examples(10)
