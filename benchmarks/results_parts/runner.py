"""Training arms by `alexnet-ir train`, each run a process of its own, and keeping what came of the finished ones."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

if sys.platform != "win32":
    import fcntl

from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.streams import cores
from alexnet_ir.durable import write_durably
from alexnet_ir.training.environment import processor
from alexnet_ir.training.run import CHECKPOINTS, MODEL, read_metrics
from alexnet_ir.version import __version__
from benchmarks.results_parts.experiments import Arm, Run

ALEXNET_IR = (sys.executable, "-P", "-m", "alexnet_ir")
COLUMNS = ("loss", "error", "eval_top1", "seconds")


@dataclass(frozen=True)
class Place:
    """Where runs are, and the rows of finished ones; where the data sets lie; how many threads a run has."""

    root: Path
    work: Path
    rows: Path
    data: Mapping[str, Path]
    threads: int = 1

    def folder(self, arm: Arm, seed: int) -> Path:
        """A run's."""
        return self.work / f"{arm.name}-{arm.key}-{seed}"

    @property
    def machine(self) -> str:
        """Cores, and what a run has of them."""
        return f"{processor()}, {cores()} cores ({CpuBackend(threads=self.threads).about} a run)"

    def is_of(self, arm: Arm, seed: int) -> bool:
        """Whether a run is of the arm's net as that is now."""
        model = self.folder(arm, seed) / MODEL
        return model.exists() and net_hash(model) == net_hash(self.root / arm.net)


@dataclass(frozen=True)
class Row:
    """What is known of an arm: its finished runs by seed, the last lines of their metrics, and the machine."""

    arm: Arm
    runs: Mapping[int, Run]
    final: Mapping[int, Mapping[str, Any]]
    machine: str = ""


def shown(arm: Arm) -> str:
    """The command of an arm, for one to type."""
    return f"alexnet-ir train {shlex.join((arm.net, *arm.arguments))} --data DIR --seed SEED"


def net_hash(path: Path) -> str:
    """Of what a net file says, comments and its recipes' `stop` aside: the end of a run is said by the arm."""
    lines = (line.partition("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines())
    said = repr([line for line in lines if line and line[0] != "stop:"])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


# --- running ----------------------------------------------------------------------------------------------------------


def run_all(arms: Sequence[Arm], place: Place, jobs: int) -> list[str]:
    """Train what is not finished, `jobs` runs at a time, the first seed of all arms before the second and of these the
    longest first; say what failed. When interrupted, no other begins."""
    todo = [(arm, seed) for arm in arms for seed in arm.seeds if seed not in collected(arm, place).runs]
    todo.sort(key=lambda run: (run[1], -run[0].epochs))
    place.work.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(jobs)
    try:
        return [line for line in pool.map(lambda run: run_one(run[0], run[1], place), todo) if line]
    finally:
        pool.shutdown(cancel_futures=True)


def run_one(arm: Arm, seed: int, place: Place) -> str:
    """Train, or go on with a run that was broken off; say what failed."""
    folder, name = place.folder(arm, seed), f"{arm.name}, seed {seed}"
    log, began = folder.with_name(f"{folder.name}.log"), time.monotonic()
    with log.open("a", encoding="utf-8") as output:
        if not locked(output):
            return f"{name}: is being trained by another process"
        say(f"{name}: begins")
        code = subprocess.run(_command(arm, seed, place), cwd=place.root, stdout=output, stderr=output).returncode
    if not arm.is_complete(run_of(read_metrics(folder))):
        last = log.read_text(encoding="utf-8").strip().rpartition("\n")[2]
        return f"{name}: exit code {code}: {last} ({log})"
    say(f"{name}: finished in {time.monotonic() - began:.0f} s")
    return ""


def locked(file: TextIO) -> bool:
    """Lock a file for this process and those that inherit it: a run may outlive what began it. False where another
    holds it."""
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _command(arm: Arm, seed: int, place: Place) -> list[str]:
    folder = place.folder(arm, seed)
    if place.is_of(arm, seed) and any((folder / CHECKPOINTS).glob("*.safetensors")):
        return [*ALEXNET_IR, "train", "--resume", str(folder)]
    shutil.rmtree(folder, ignore_errors=True)  # of another net, or with nothing to go on from
    data = ["--data", str(place.data[arm.data])] if arm.data in place.data else []
    where = ["--threads", str(place.threads), "--run-dir", str(folder), "--no-pictures"]
    return [*ALEXNET_IR, "train", arm.net, *arm.arguments, "--seed", str(seed), *data, *where]


def say(line: str) -> None:
    """With the time, for a log."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


# --- rows -------------------------------------------------------------------------------------------------------------


def run_of(metrics: Iterable[Mapping[str, Any]]) -> Run:
    """The columns of the epochs among the lines of a run's metrics."""
    epochs = [record for record in metrics if record["kind"] == "epoch"]
    return {name: [round(epoch[name], 6) for epoch in epochs] for name in COLUMNS}


def read_row(arm: Arm, place: Place) -> dict[str, Any]:
    """What was written of an arm. Nothing, if that was trained otherwise than the arm says now, or of another net; one
    without the net's hash is from before that was kept."""
    path = place.rows / f"{arm.name}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    net = net_hash(place.root / arm.net)
    return dict(found) if found.get("key") == arm.key and found.get("net", net) == net else {}


def collected(arm: Arm, place: Place) -> Row:
    """An arm's row, with runs that were finished since it was written; it is written anew if there are."""
    row = read_row(arm, place)
    runs, final = ({int(seed): value for seed, value in row.get(name, {}).items()} for name in ("runs", "final"))
    known, machine = len(runs), row.get("machine", "")
    for seed in arm.seeds:
        metrics = read_metrics(place.folder(arm, seed)) if seed not in runs and place.is_of(arm, seed) else []
        run = run_of(metrics)
        if arm.is_complete(run):
            runs[seed] = run
            final.update((seed, record) for record in metrics if record["kind"] == "final")
            machine = place.machine
    whole = Row(arm, runs, final, machine)
    if len(runs) == known and ("net" in row or not row):
        return whole
    found = {
        "key": arm.key, "net": net_hash(place.root / arm.net), "machine": machine, "version": __version__,
        "runs": dict(sorted(runs.items())), "final": final,
    }  # fmt: skip
    place.rows.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(f'"{name}": {json.dumps(value)}' for name, value in found.items())
    write_durably(place.rows / f"{arm.name}.json", f"{{\n{lines}\n}}\n".encode())
    return whole
