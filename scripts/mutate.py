"""Test the tests: change the code at random places, one at a time, and run the tests that reach the place.

Works on a copy of the checkout, in one process after another. `mutations.py` draws the changes from a seed; kernels are
rebuilt each time. One run of the rooms' tests with coverage finds the tests of each line and their
times: of a mutation these run, the fastest first, then tests of its room that start ranks. Prints a line for each,
then a table of how many were found, and the survivors. `--map FILE` saves the results of the run with coverage.

    nice -n 19 python scripts/mutate.py --count 300 --kernels 24 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from mutations import KERNELS, ROOMS, ROOT, Mutation, draw_mutations

MAPPED = [
    *sorted(ROOMS.keys() - {"algorithms", "ground"}),
    "fuzz/test_corpus.py",
    *sorted(path.name for path in ROOT.glob("tests/test_*.py")),
]
DEFAULT = "not peer and not slurm and not slow and not long"
QUICK, RANKS = f"not mpi and {DEFAULT}", f"mpi and {DEFAULT}"
BUILD = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "build_ext", "--inplace"]
FAILED = r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$"


def copy_checkout(folder: Path) -> Path:
    """A copy of the checkout with its compiled kernels, importable by itself."""
    tree = folder / "tree"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    built = [str(path.relative_to(ROOT)) for path in (*ROOT.glob("cython_core/**/*.so"), *ROOT.glob("build/**/*"))]
    for name in filter(None, [*names, *built]):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    (tree / "pareprop" / "core").symlink_to(tree / "cython_core")
    return tree


def environment(tree: Path) -> dict[str, str]:
    """Environment of the tests: modules of the copy."""
    own = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1", "PAREPROP_FUZZ_SECONDS": "1"}
    return os.environ | own


def run(command: list[str], tree: Path, seconds: float) -> tuple[int, str]:
    """Exit code and output of a command in the copy; -1 after too long a time."""
    process = subprocess.Popen(
        ["timeout", "-k", "5", str(seconds), *command],
        cwd=tree,
        env=environment(tree),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    output = process.communicate()[0]
    return (-1 if process.returncode in (124, 137) else process.returncode), output


class Tests:
    """Which tests run a line, how long they take, and which fail in a clean copy.

    Parameters
    ----------
    clean : Path
        Copy of the checkout without a mutation.
    seconds : float
        Longest time of the tests of one mutation.
    kept : Path or None
        File with the results of an earlier run with coverage, or to save them in.
    quick : bool
        Whether to leave out tests that start ranks.
    """

    def __init__(self, clean: Path, seconds: float, kept: Path | None, quick: bool) -> None:
        self.clean, self.seconds, self.quick, self.failing = clean, seconds, quick, set()
        if kept and kept.is_file():
            self.durations, self.lines = json.loads(kept.read_text())
            return
        self.durations, self.lines = self.measure()
        if kept:
            kept.write_text(json.dumps([self.durations, self.lines]))

    def measure(self) -> tuple[dict[str, float], dict[str, dict[str, list[str]]]]:
        """Seconds of each test, and the tests that run each line of each module."""
        import coverage

        (self.clean / "mutate.ini").write_text("[run]\nsource_pkgs = pareprop\n")
        options = ["--cov=pareprop", "--cov-context=test", "--cov-report=", "--cov-config=mutate.ini", "--durations=0"]
        output = self.pytest(self.clean, [f"tests/{place}" for place in MAPPED], 7200, QUICK, *options, "-vv")[1]
        durations = Counter()
        for seconds, test in re.findall(r"^([\d.]+)s (?:setup|call|teardown) +(tests/.+)$", output, re.MULTILINE):
            durations[test] += float(seconds)
        data, lines = coverage.CoverageData(str(self.clean / ".coverage")), {}
        data.read()
        tree = self.clean.resolve()
        for path in filter(lambda path: Path(path).is_relative_to(tree), data.measured_files()):
            of_file = {
                str(line): sorted({context.rpartition("|")[0] for context in contexts} - {""})
                for line, contexts in data.contexts_by_lineno(path).items()
            }
            lines[str(Path(path).relative_to(tree))] = of_file
        return durations, lines

    def pytest(self, tree: Path, tests: list[str], seconds: float, selected: str, *more: str) -> tuple[int, str]:
        """Run tests in a copy."""
        names = tree / "tests.txt"  # too many for a command line
        names.write_text("\n".join(tests))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-n",
            "0",
            "--dist",
            "no",
            "-m",
            selected,
            *more,
        ]
        return run([*command, f"@{names}"], tree, seconds)

    def list_reaching(self, mutation: Mutation) -> list[str]:
        """Tests that run the place, the fastest first, as many as fit into the time."""
        if mutation.room == "kernels":
            reaching = {test for test in self.durations for place in KERNELS[1] if test.startswith(f"tests/{place}")}
        else:
            of_file = self.lines.get(mutation.path, {})
            lines = range(mutation.line, mutation.line + mutation.old.count("\n") + 1)
            reaching = {test for line in lines for test in of_file.get(str(line), ())}
            if not reaching:  # run at the import only, such as a default
                reaching = {test for tests in of_file.values() for test in tests}
        chosen, total = [], 0.0
        for test in sorted(reaching - self.failing, key=lambda test: (self.durations.get(test, 0), test)):
            total += self.durations.get(test, 0)
            if chosen and total > self.seconds:
                break
            chosen.append(test)
        return chosen

    def find_failing(self, tree: Path, tests: list[str], selected: str) -> str | None:
        """Return which of the tests fails although it passes in a clean copy."""
        while tests:
            limit = 300 + 10 * self.seconds  # the machine may be busy
            skipped = [f"--deselect={test}" for test in self.failing]
            code, output = self.pytest(tree, tests, limit, selected, "-x", *skipped)
            if code in (0, 5):  # 5: none selected
                return None
            failed = re.search(FAILED, output, re.MULTILINE)
            if code < -1:
                raise TimeoutError  # killed, such as for its memory
            if code == -1 and self.pytest(self.clean, tests, limit, selected, *skipped)[0] == -1:
                raise TimeoutError  # without the mutation, too: the machine is too busy
            if failed is None:
                return "takes too long" if code == -1 else f"pytest ends with {code}"
            if self.pytest(self.clean, [failed[1]], limit, selected)[0] == 0:
                return failed[1]
            self.failing.add(failed[1])
            tests = [test for test in tests if test != failed[1]]
        return None

    def try_mutation(self, tree: Path, mutation: Mutation) -> str:
        """Return "found" with the test that found it, or "survived"."""
        quick = self.list_reaching(mutation)
        ranks = ROOMS[mutation.room][1] if mutation.room in ROOMS else KERNELS[1]
        failing = self.find_failing(tree, quick, QUICK)
        if not failing and not self.quick:
            failing = self.find_failing(tree, [f"tests/{place}" for place in ranks], RANKS)
        if failing:
            return f"found: {failing}"
        return f"survived {len(quick)} tests" + " and those on ranks" * (not self.quick)


def judge(tree: Path, tests: Tests, mutation: Mutation) -> str:
    """Verdict on a mutation; the copy is as before afterwards."""
    path = tree / mutation.path
    before = path.read_bytes()
    path.write_bytes(mutation.apply(before))
    try:
        if mutation.room == "kernels" and run(BUILD, tree, 900)[0]:
            return "found: does not compile"
        return tests.try_mutation(tree, mutation)
    finally:
        path.write_bytes(before)
        if mutation.room == "kernels":
            os.utime(path)
            for name in tree.glob("cython_core/**/*.so"):  # a later mutation of Python code must not meet this one
                shutil.copy2(tests.clean / name.relative_to(tree), name)


def main() -> None:
    """Draw, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="mutations of Python modules [200]")
    parser.add_argument("--kernels", type=int, default=24, help="mutations of kernels, a rebuild each [24]")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first one, to continue from [0]")
    parser.add_argument("--seconds", type=float, default=60, help="time of the tests of one mutation [60]")
    parser.add_argument("--map", type=Path, help="file that keeps which tests run which line")
    parser.add_argument("--quick", action="store_true", help="leave out tests that start ranks")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after this time")
    options = parser.parse_args()
    chosen, end, survivors = draw_mutations(options.count, options.kernels, options.seed), time.monotonic(), []
    end += 60 * options.minutes
    found, tried = Counter(), Counter()
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        tree, clean = (copy_checkout(Path(folder, name)) for name in ("changed", "clean"))
        tests = Tests(clean, options.seconds, options.map, options.quick)
        for number, mutation in enumerate(chosen[options.first :], options.first):
            if time.monotonic() > end:
                print(f"out of time; --first {number} continues")
                break
            try:
                verdict = judge(tree, tests, mutation)
            except TimeoutError:
                verdict = "undecided: the machine is too busy"
            print(f"{number}: {mutation.room}: {mutation}: {verdict}", flush=True)
            tried[mutation.room] += not verdict.startswith("undecided")
            found[mutation.room] += verdict.startswith("found")
            survivors += [mutation] * verdict.startswith("survived")
    print(f"\n{'room':14s} tried found")
    for room in tried:
        print(f"{room:14s} {tried[room]:5d} {found[room]:5d}")
    print(f"{'together':14s} {tried.total():5d} {found.total():5d}")
    for mutation in survivors:
        print(f"survived: {mutation}")


if __name__ == "__main__":
    main()
