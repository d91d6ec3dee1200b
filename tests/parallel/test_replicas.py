"""Batches shared by groups of ranks: the same bits for any number of groups."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import ranks
from commands import digests, on_ranks, output_of, run_of
from drawn_network import results

from pareprop.engines.sample import Sample
from pareprop.errors import InputError
from pareprop.parallel import launcher
from pareprop.parallel.exchange import Exchange
from pareprop.parallel.replicas import LEAVES, MIN_TREE_BATCH, Replicas, TreeSum, assign_leaf
from pareprop.simulation.loop import Simulation
from pareprop.tasks.sine_waves import SineWaves

SMALL = ("iterations=4", "validate_every=2", "stop_below=0", "n_reg=6", "n_ad=6", "n_cues=3", "cue=20", "spacing=10",
         "pause=30", "recall=40", "n_group=3", "spike_probability=0.2", "test_samples=3")  # fmt: skip
EVIDENCE = ("evidence-accumulation", *SMALL, "batch_size=8", "validate_samples=10")
RUNS = (
    ("evidence-accumulation", *SMALL, "batch_size=6", "validate_samples=7", "eta_validate=0.01"),
    ("sine-waves", "iterations=3", "batch_size=7", "n_rec=20", "n_step=200", "feedback=symmetric"),
    ("sine-waves", "iterations=3", "batch_size=4", "n_rec=20", "n_step=200", "precision=single"),
    ("sine-waves", "variant=spike", "iterations=3", "batch_size=7", "n_rec=20", "n_step=200", "feedback=symmetric"),
    ("evidence-accumulation", *SMALL, "variant=spike", "batch_size=6", "validate_samples=7", "eta_validate=0.01"),
)
PLACES = ((1, 1), (2, 2), (4, 2), (4, 4))  # ranks, replicas


def words(settings: tuple[str, ...], out: Path, replicas: int, *more: object) -> list[object]:
    """Arguments of a run."""
    task, *others = settings
    return [*run_of(task, out, *others), "--replicas", replicas, *more]


@pytest.mark.slow
@pytest.mark.mpi
def test_same_results(tmp_path: Path) -> None:
    found = {}
    for n in (1, 2, 4):
        places = [(replicas, k) for ranks, replicas in PLACES if ranks == n for k in range(len(RUNS))]
        commands = [words(RUNS[k], tmp_path / f"{n}-{replicas}-{k}", replicas) for replicas, k in places]
        codes, output, errors = on_ranks(n, commands, timeout=900)
        assert (codes, errors) == ([0] * len(commands), [])
        found |= {(n, *place): digest for place, digest in zip(places, digests(output), strict=True)}
    assert len(found) == len(PLACES) * len(RUNS) and len(set(found.values())) == len(RUNS)
    for k in range(len(RUNS)):
        assert len({digest for (*_, number), digest in found.items() if number == k}) == 1
        alone = results(tmp_path / f"1-1-{k}")
        assert np.ptp(alone["loss"]) > 0 and alone["firing_rate"].min() > 1.0
        for n, replicas in PLACES[1:]:
            other = results(tmp_path / f"{n}-{replicas}-{k}")
            assert other.keys() == alone.keys()
            for name, values in alone.items():
                np.testing.assert_array_equal(values, other[name], err_msg=f"{n} ranks, {replicas} replicas: {name}")


@pytest.mark.slow
@pytest.mark.mpi
def test_resume_with_other_replicas(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    expected = digests(output_of(capsys, *words(EVIDENCE, tmp_path / "whole", 1)).splitlines())
    codes, output, errors = on_ranks(4, [words(EVIDENCE, tmp_path / "first", 4, "--until", 2)])
    assert (codes, errors) == ([0], []) and digests(output) != expected
    (checkpoint,) = (tmp_path / "first" / "checkpoints").glob("*02")
    assert len(list(checkpoint.iterdir())) == 3  # manifest, table, one share
    for part in ("alone", "two"):
        shutil.copytree(tmp_path / "first", tmp_path / part)
    assert digests(output_of(capsys, "resume", tmp_path / "alone").splitlines()) == expected
    codes, output, errors = on_ranks(2, [["resume", tmp_path / "two", "--replicas", 2]])
    assert (codes, errors, digests(output)) == ([0], [], expected)
    assert results(tmp_path / "two").keys() == results(tmp_path / "whole").keys()


@pytest.mark.mpi
def test_bad_input(tmp_path: Path) -> None:
    evidence, sines = EVIDENCE, ("sine-waves", "iterations=1")
    wrong = [
        (evidence, 3, "replicas = 3 must be a power of two from 1 to 8"),
        (evidence, 0, "replicas = 0 must be a power of two from 1 to 8"),
        (evidence, 16, "replicas = 16 must be a power of two from 1 to 8"),
        (evidence, 4, "replicas = 4 must divide the number of ranks, 2"),
        (sines, 2, "replicas = 2 needs a batch_size of at least 4, it is 1"),
        ((*sines, "batch_size=3"), 2, "replicas = 2 needs a batch_size of at least 4, it is 3"),
        ((*sines, "variant=spike"), 2, "replicas = 2 needs a batch_size of at least 4, it is 1"),
    ]
    commands = [words(settings, tmp_path / str(k), replicas) for k, (settings, replicas, _) in enumerate(wrong)]
    codes, output, errors = on_ranks(2, commands)
    assert (codes, output) == ([2] * len(wrong), [])
    assert errors == [f"pareprop: error: {message}" for *_, message in wrong]


class Broken(SineWaves):
    """A sample of the second group can't be run."""

    def sample(self, index: int, phase: str = "train") -> Sample:
        sample = super().sample(index, phase)
        if index == 7:
            sample.target[0] = np.nan
        return sample


def train(folder: str, words: list[str], exchange: Exchange) -> None:
    task = Broken(batch_size=4, n_rec=10, n_step=100)
    simulation = Simulation(
        task.build_model(), task, launcher.split_into_replicas(exchange, 2), settings=task.make_settings()
    )
    with pytest.raises(InputError) as problem:
        simulation.train(3)
    print(simulation.iteration, problem.value, flush=True)


@pytest.mark.mpi
def test_trouble_in_one_group_ends_all(tmp_path: Path) -> None:
    told = ranks.train(2, __file__, tmp_path, silent=True).splitlines()
    assert told == ["1 sample: target holds values that are not finite"] * 2


def tree(leaves: list[list[np.ndarray]]) -> np.ndarray:
    """The sum as it is defined, by recursion."""
    if len(leaves) == 1:
        total = np.zeros(5)
        for sample in leaves[0]:
            total = total + sample
        return total
    middle = len(leaves) // 2
    return tree(leaves[:middle]) + tree(leaves[middle:])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 8, 13, 32])
def test_sum_is_that_of_the_tree(n: int) -> None:
    samples = np.random.default_rng(n).normal(size=(n, 5)) * 10.0 ** np.arange(-3, 2)
    few = n < MIN_TREE_BATCH  # these are added one after the other
    leaves = [0 if few else k * LEAVES // n for k in range(n)]
    expected = tree([[samples[k] for k in range(n) if leaves[k] == number] for number in range(LEAVES)])
    for count in (1, 2, 4, 8):
        groups = []
        for index in range(count):
            sums = TreeSum([np.zeros(5)])
            for _ in range(2):  # again, with arrays used before
                for k in Replicas(count, index).list_samples(n):
                    sums.open_leaf(assign_leaf(k, n))
                    sums.arrays[0] += samples[k]
                total = sums.sum_over_groups(Replicas())[0].copy()
                sums.arrays[0].fill(0.0)
            groups.append(total)
            assert sums.nbytes <= 40 * (1 if few else 1 + np.log2(LEAVES))
        assert sorted(k for index in range(count) for k in Replicas(count, index).list_samples(n)) == list(range(n))
        while len(groups) > 1:
            groups = [groups[k] + groups[k + 1] for k in range(0, len(groups), 2)]
        np.testing.assert_array_equal(groups[0], expected)
    if n == 32:
        assert np.any(sum(samples) != expected)
