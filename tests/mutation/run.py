"""Measures the tests: changes passes and type rules one place at a time, and counts the changes that some test finds.

    pip install -e ".[test,mutation]" && python tests/mutation/run.py --sample 300 --seed 1

What is committed is laid out as it is installed, in a folder that is thrown away. There the tests run once, to learn
which of them run which line. Each mutant then gets the tests that run the changed line, quick ones first. Found means
that a test fails, or that the tests take far longer than they should.

A mutant runs in a fork of this process, which holds the libraries that all tests import.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import hypothesis.stateful
import networkx
import numpy
import pytest
from coverage import CoverageData
from mutants import Mutant, mutants

HELD = (hypothesis.stateful, networkx, numpy)
DATA, MEASURED, FINDINGS = "coverage.data", "measured.json", "findings.json"

ROOT = Path(__file__).parents[2]
MUTATED = ("passes/*.py", "ops/*.py", "ir/op.py", "ir/types.py", "ir/verify.py", "ir/graph.py")
"""Inside the package, as it is installed."""
TESTS = ("tests/ir", "tests/ops", "tests/passes")
MOST_SECONDS = 40.0
"""Of tests that one mutant gets, by what they took when they were measured."""
PYTEST = ("-q", "-n0", "-p", "no:cacheprovider", "-p", "plugin", "--hypothesis-profile=mutation")


@dataclass(frozen=True)
class Verdict:
    """`killed`, by a test if it could even start; `timeout`, or `survived`."""

    mutant: Mutant
    word: str
    seconds: float
    tests: int
    by: str = ""


# --- a tree as it is installed ------------------------------------------------------------------------------------


def stage(folder: Path) -> Path:
    """What is committed, with the folders beside the package inside it."""
    folder.mkdir()
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    for package, source in project["package-dir"].items():
        target = folder / package.replace(".", "/")
        if target != folder / source:
            shutil.copytree(folder / source, target)
    return folder


# --- which tests run which lines ----------------------------------------------------------------------------------


class Measured:
    """For each line the tests that run it, and the seconds of each test that passes."""

    def __init__(self, tree: Path) -> None:
        data = CoverageData(str(tree / DATA))
        data.read()
        files = {path.rpartition("/alexnet_ir/")[2]: path for path in data.measured_files()}
        self.lines = {name: data.contexts_by_lineno(files[name]) for name in sorted(files) if _is_mutated(name)}
        self.seconds: dict[str, float] = json.loads((tree / MEASURED).read_text(encoding="utf-8"))["seconds"]

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that run the changed lines, or else the function, quick ones first; of one test function's cases each
        counts as slower than the one before."""
        found = self._running(mutant, mutant.lines) or self._running(mutant, mutant.body)
        before: Counter[str] = Counter()
        ranked = []
        for test in sorted(found, key=lambda test: (self.seconds[test], test)):
            function = test.partition("[")[0]
            ranked.append((self.seconds[test] * (1 + before[function]), test))
            before[function] += 1
        return self._within([test for _, test in sorted(ranked)])

    def _running(self, mutant: Mutant, lines: range) -> set[str]:
        run: Mapping[int, Sequence[str]] = self.lines.get(mutant.path, {})
        return {test for line in lines for test in run.get(line, ()) if test in self.seconds}

    def _within(self, tests: list[str]) -> list[str]:
        chosen, left = [], MOST_SECONDS
        for test in tests:
            if not chosen or left >= self.seconds[test]:
                chosen.append(test)
                left -= self.seconds[test]
        return chosen


def measure(tree: Path, tests: Sequence[str]) -> None:
    """Run all tests once, under coverage."""
    path = os.pathsep.join([str(tree), str(Path(__file__).parent)])
    command = [sys.executable, "-m", "coverage", "run", f"--data-file={DATA}", "--source=alexnet_ir", "-m", "pytest"]
    told = {"PYTHONPATH": path, "MUTATION_FINDINGS": MEASURED}
    subprocess.run([*command, *PYTEST, *tests], cwd=tree, env=os.environ | told)


# --- mutants ------------------------------------------------------------------------------------------------------


def _is_mutated(path: str) -> bool:
    return any(fnmatch(path, pattern) for pattern in MUTATED)


def all_mutants(tree: Path) -> list[Mutant]:
    package = tree / "alexnet_ir"
    paths = sorted(path for pattern in MUTATED for path in package.glob(pattern))
    texts = {path.relative_to(package).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    return [mutant for path, text in texts.items() for mutant in mutants(path, text)]


def judge(mutant: Mutant, tests: Sequence[str], seconds: float, tree: Path) -> Verdict:
    """Run tests on a tree with this mutant in it, which is taken out again."""
    start, path, findings = time.perf_counter(), tree / "alexnet_ir" / mutant.path, tree / FINDINGS
    kept = path.read_text(encoding="utf-8")
    path.write_text(mutant.source, encoding="utf-8")
    findings.unlink(missing_ok=True)
    code = run(tree, tests, 60 + 4 * seconds)
    path.write_text(kept, encoding="utf-8")
    failed = json.loads(findings.read_text(encoding="utf-8"))["failed"] if findings.exists() else []
    word = "timeout" if code is None else "killed" if code else "survived"
    return Verdict(mutant, word, time.perf_counter() - start, len(tests), *failed[:1])


def run(tree: Path, tests: Sequence[str], seconds: float | None = None) -> int | None:
    """The exit status of tests on a tree, in a fork; None if they take too long."""
    process = multiprocessing.get_context("fork").Process(target=_run, args=(tree, tests))
    process.start()
    process.join(seconds)
    code = process.exitcode
    process.kill()
    process.join()
    return code


def _run(tree: Path, tests: Sequence[str]) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    os.chdir(tree)
    os.environ["MUTATION_FINDINGS"] = FINDINGS
    sys.path.insert(0, str(tree))
    sys.dont_write_bytecode = True
    os._exit(pytest.main([*PYTEST, "-x", *tests]))  # at once: an interpreter that ends in a fork of a thread fails


def judge_all(sample: Sequence[Mutant], known: Measured, trees: Sequence[Path]) -> list[Verdict]:
    """The verdicts, one tree for each process. Where there is no mutant all tests are found, and those that found one
    pass."""
    free: queue.Queue[Path] = queue.Queue()
    for tree in trees:
        free.put(tree)

    def one(mutant: Mutant, tests: Sequence[str]) -> Verdict:
        tree = free.get()
        seconds = sum(known.seconds[test] for test in tests)
        verdict = judge(mutant, tests, seconds, tree) if tests else Verdict(mutant, "survived", 0, 0)
        free.put(tree)
        by = f"by {verdict.by}" if verdict.by else ""
        print(f"{verdict.word:9}{verdict.seconds:6.1f} s {mutant} in {mutant.function} {by}", flush=True)
        return verdict

    tests = [known.tests(mutant) for mutant in sample]
    with ThreadPoolExecutor(len(trees)) as pool:
        everything = sorted({test for chosen in tests for test in chosen})
        assert pool.submit(run, trees[0], ["--collect-only", *everything]).result() == 0, "a test is not found"
        verdicts = list(pool.map(one, sample, tests))
        killers = sorted({verdict.by for verdict in verdicts if verdict.by})
        assert not killers or pool.submit(run, trees[0], killers).result() == 0, "a test fails without any mutant"
    return verdicts


# --- the report ---------------------------------------------------------------------------------------------------


def report(verdicts: Sequence[Verdict]) -> None:
    counts = Counter(verdict.word for verdict in verdicts)
    found = counts["killed"] + counts["timeout"]
    print("\nsurvivors:")
    for verdict in verdicts:
        if verdict.word == "survived":
            print(f"\n{verdict.mutant} in {verdict.mutant.function}, {verdict.tests} tests\n{verdict.mutant.diff}")
    print(f"\n{len(verdicts)} mutants: {counts['killed']} killed, {counts['timeout']} by timeout, "
          f"{counts['survived']} survived; {100 * found / len(verdicts):.1f}% found")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=300, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[], help="these mutants, named as survivors: passes/fuse.py:12")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files and folders of tests")
    parser.add_argument("--tree", type=Path, help="a folder to keep for another run, or that was kept by one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = given.tree or Path(folder) / "0"
        if not tree.exists():
            stage(tree)
        everything = all_mutants(tree)
        chosen = [mutant for mutant in everything if str(mutant) in given.only]
        sample = chosen or random.Random(given.seed).sample(everything, min(given.sample, len(everything)))
        print(f"{len(sample)} of {len(everything)} mutants", flush=True)
        if not (tree / MEASURED).exists():
            measure(tree, given.tests)
        trees = [shutil.copytree(tree, Path(folder) / str(n)) for n in range(1, given.processes + 1)]
        report(judge_all(sample, Measured(tree), trees))


if __name__ == "__main__":
    main()
