"""One side in a process of its own, told over a pipe what to do: thread pools and settings of malloc would disturb each
other. `python -m benchmarks.cpu_parts.worker` reads a job and a variant, then commands, each a line of JSON."""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .job import Job, Variant

ROOT = Path(__file__).resolve().parents[2]
SIDES = {"ours": ("our_side", "OurSide"), "torch": ("torch_side", "TorchSide"), "onnx": ("onnx_side", "OnnxSide")}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TUNED = {
    "MALLOC_TOP_PAD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}  # fmt: skip
"""Of glibc: memory that was freed is kept, in huge pages. On the machine where it was tried, THP_MEM_ALLOC_ENABLE=1 and
MALLOC_MMAP_MAX_=0 with MALLOC_ARENA_MAX=1 were no quicker."""


class Worker:
    """The process, from the side of whoever asks it."""

    def __init__(self, job: Job, variant: Variant) -> None:
        self.name = variant.name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, env=environment(job.threads, variant.tuned), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self._tell(job.to_json(), variant.to_json())
        try:
            self._answer()
        except RuntimeError:
            self.close()
            raise

    def ask(self, what: str, **arguments: object) -> Any:
        """The answer to a command; RuntimeError where it fails."""
        self._tell(json.dumps([what, arguments]))
        return self._answer()

    def close(self) -> None:
        """It ends."""
        self._process.communicate()
        self._errors.close()

    def _tell(self, *lines: str) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write("".join(f"{line}\n" for line in lines))
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # why, is said where the answer is missed

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = [one for one in self._errors.read().splitlines() if one.strip()]
            raise RuntimeError(f"{self.name} ended: {said[-1] if said else f'code {self._process.wait()}'}")
        return json.loads(line)


def environment(threads: int, tuned: bool) -> dict[str, str]:
    """Of a worker: settings of malloc are its own alone."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "THP_", "GLIBC_TUNABLES"))}
    return plain | dict.fromkeys(THREADS, str(threads)) | (TUNED if tuned else {})


# --- within it --------------------------------------------------------------------------------------------------------


class Served:
    """What a worker can be asked: each method is a command."""

    def __init__(self, job: Job, variant: Variant) -> None:
        module, name = SIDES[variant.side]
        made = getattr(importlib.import_module(f"{__package__}.{module}"), name)
        self._job, self._bare = job, peak_bytes()
        self._side = made(job, variant)
        self._side.feed(*job.given(0))

    def run(self, steps: int) -> list[float]:
        """Seconds of each."""
        step = self._side.step if self._job.train else self._side.predict
        found = []
        for _ in range(steps):
            begun = time.perf_counter()
            step()
            found.append(time.perf_counter() - begun)
        return found

    def save(self, file: str) -> None:
        """The weights, as they are."""
        numpy = importlib.import_module("numpy")
        numpy.savez(file, **dict(self._side.weights()))

    def update(self, count: int) -> list[float]:
        """Losses of so many updates, each on a batch of its own."""
        losses = []
        for number in range(count):
            self._side.feed(*self._job.given(number))
            losses.append(float(self._side.step()))
        return losses

    def predict(self) -> list[list[float]]:
        """Scores of a batch."""
        return self._side.predict().tolist()  # type: ignore[no-any-return]

    def memory(self) -> dict[str, int]:
        """Bytes: the most that were resident, what was before the net was built, and what our plan says."""
        planned = self._side.planned() if hasattr(self._side, "planned") else 0
        return {"peak": peak_bytes(), "bare": self._bare, "planned": planned}

    def layers(self, rounds: int) -> list[list[Any]]:
        """Of our side: see `layers.measured`."""
        layers = importlib.import_module(f"{__package__}.layers")
        return layers.measured(self._side, rounds)  # type: ignore[no-any-return]


def peak_bytes() -> int:
    """The most memory that was resident. Linux knows it of this program alone: what `getrusage` says there begins with
    that of the process which started it."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        if "VmHWM" in lines:
            return int(lines["VmHWM"].split()[0]) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def main() -> None:
    """Answers go where standard output was; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    served = Served(Job.from_json(sys.stdin.readline()), Variant.from_json(sys.stdin.readline()))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        what, arguments = json.loads(line)
        print(json.dumps(getattr(served, what)(**arguments)), file=answers, flush=True)


if __name__ == "__main__":
    main()
