"""benchmarks/gpu.py up to the point where it needs a GPU: kernels on the host runner behind a double of CuPy, PyTorch
on the CPU, tiny shapes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_ir.backends.cuda import found
from alexnet_ir.backends.cuda.executor import CupyMachine
from alexnet_ir.backends.cuda.found import available
from alexnet_ir.training.step import TrainingStep
from benchmarks import gpu
from benchmarks.gpu_parts import compare, kernels, verify
from benchmarks.gpu_parts.compare import Case, Pace
from benchmarks.gpu_parts.lab import Lab, Rehearsal
from benchmarks.gpu_parts.models import NETS, start
from benchmarks.gpu_parts.report import Report
from benchmarks.gpu_parts.timing import called

from .backends.cuda import cupy_double, rounded
from .backends.cuda.running import needs_gxx

ALEXNET = NETS["alexnet"]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rehearsal]:
    """Everything as on a GPU."""
    made = Rehearsal()
    yield made
    made.leave()


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """With time enough."""
    return Report(tmp_path / "report.md", 1000, "REHEARSAL")


def written(tmp_path: Path) -> str:
    """What the report has so far."""
    return (tmp_path / "report.md").read_text(encoding="utf-8")


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    if not available().missing:
        pytest.skip("there is a GPU")
    assert gpu.main([]) == 1
    said = capsys.readouterr()
    assert "no GPU can be used" in said.err
    assert "--rehearse" in said.err
    assert said.out == ""


@needs_gxx
@pytest.mark.slow
def test_verification_in_rehearsal(tmp_path: Path) -> None:
    arguments = ["--rehearse", "--quick", "--verify-only", "--precision", "bf16", "-o", str(tmp_path / "report.md")]
    assert gpu.main(arguments) == 0
    said = written(tmp_path)
    assert "FAIL" not in said
    assert "| bf16 conv2.grad_weight: conv_mma_weight" in said
    assert "| digits, bf16: one device, graph = one device, list | pass | the same bits |" in said
    assert "NaN through maxpool | pass" in said
    assert all("(REHEARSAL)" in line for line in said.splitlines() if line.startswith("#"))
    assert "None." in said.partition("## Failures")[2]


@needs_gxx
def test_what_a_kernel_should_not_compute_is_found(
    lab: Rehearsal, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = rounded.meaning

    def wrong(op: Any, operands: Any, precision: Any) -> tuple[Any, ...]:
        return tuple(a * 1.001 if a.dtype.kind == "f" else a for a in exact(op, operands, precision))

    monkeypatch.setattr(verify, "meaning", wrong)
    verify.every_kernel(report, lab, ALEXNET, 2, "fp32", 2)
    failed = [line for line in written(tmp_path).splitlines() if "| FAIL |" in line]
    assert any("conv_mma" in line for line in failed)
    assert len(failed) > 30
    assert report.end() == 1


@needs_gxx
def test_images_between_those_looked_at_count_for_nothing_in_sums(lab: Rehearsal, report: Report) -> None:
    """Filter gradients are looked at for some images: the memory has the others again afterwards."""
    step = TrainingStep(ALEXNET.model(3, True), lab.setup("fp32", graph=False))
    step.load(start(step.model))
    images = np.random.default_rng(0).standard_normal((3, *step.model.image)).astype("f4")
    fed = step.scalars() | {"image": images, "train.label": np.arange(3)}
    looked = verify.Verified(step, "fp32", (0, 2))
    for planned, _, _, used in looked.steps(fed):
        assert used <= 1, planned.name
        if planned.name == "conv2.grad_weight":
            assert looked.value(planned.operands[0])[1].any()


@needs_gxx
@pytest.mark.slow
def test_rates_and_kernels_in_rehearsal(lab: Rehearsal, report: Report, tmp_path: Path) -> None:
    known = kernels.rates(report, lab, ("tf32",))
    assert known.copy > 0
    timed = kernels.each(report, lab, ALEXNET, 2, "tf32", known)
    assert not report.failures
    said = written(tmp_path)
    assert {one.kind for one in timed} == {"", *kernels.KINDS}
    products = {(one.step.name, called(one.command)) for one in timed if one.flop}
    assert {("conv2.grad_weight", "conv_mma_weight"), ("relu2", "conv_mma"), ("fc7.grad_input", "cuBLAS")} <= products
    for row in ("| conv2 |", "| fc6 |", "| all layers |", "| copy of", "The whole step as a graph"):
        assert row in said
    assert ("conv3, input gradient, tf32", "200 TFLOP/s") in [aim[:2] for aim in report.aims]


@needs_gxx
def test_the_gpu_is_asked_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a rehearsal has in another way, on the double too."""
    cupy_double.enter(cupy_double.World(), monkeypatch)
    monkeypatch.setattr(found, "CupyMachine", partial(CupyMachine, compile=cupy_double.pickled))
    lab = Lab()
    assert lab.precisions == ("tf32", "bf16", "fp32")
    assert lab.machine() is lab.machine()
    assert lab.machine("0,0", graph=False).devices == (0, 0)
    assert lab.facts()[0].startswith("GPU: Double (sm_90)")
    assert any(line.startswith("cublas: 13.1") for line in lab.facts())


@needs_gxx
def test_without_pytorch_our_side_is_alone(
    lab: Rehearsal, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ImportError("No module named 'torch'")

    monkeypatch.setattr(compare, "opponents", missing)
    seconds = compare.compare(report, lab, Case(ALEXNET, 2, "tf32", ("0", "0,0")), Pace(2, 1))
    assert list(seconds) == ["alexnet-ir", "alexnet-ir on 0,0"]
    assert "our side alone" in written(tmp_path)
    assert not report.failures


# --- beside PyTorch ---------------------------------------------------------------------------------------------------


@needs_gxx
@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "precision", "compiled"),
    [("alexnet", "bf16", True), ("torchvision", "tf32", False)],  # ResNet-18 has many kernels: a rehearsal has it
)
def test_all_sides_have_the_same_losses(
    key: str, precision: Any, compiled: bool, lab: Rehearsal, report: Report, tmp_path: Path
) -> None:
    opponents = twin_module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same = compare.same_losses(report, lab, Case(NETS[key], 2, precision, compiled=compiled))
    assert same == ["alexnet-ir", *(v.name for v in opponents.VARIANTS if compiled or not v.whole)]
    assert not report.failures


@needs_gxx
def test_other_losses_are_not_timed(
    lab: Rehearsal, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opponents = twin_module()
    monkeypatch.setattr(opponents, "RATE", 3e-3)
    seconds = compare.compare(report, lab, Case(NETS["torchvision"], 2, "fp32", compiled=False), Pace(1, 1))
    assert list(seconds) == ["alexnet-ir"]
    assert "| PyTorch eager | OTHER |" in written(tmp_path)
    assert report.end() == 1


@needs_gxx
def test_an_opponent_that_fails_is_reported(
    lab: Rehearsal, report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opponents = twin_module()
    plain = opponents.Opponent.prepare

    def prepare(self: Any, *arguments: Any) -> None:
        if "best" in self.name:
            raise RuntimeError("CUDA out of memory")
        plain(self, *arguments)

    monkeypatch.setattr(opponents.Opponent, "prepare", prepare)
    seconds = compare.compare(report, lab, Case(NETS["torchvision"], 2, "fp32", compiled=False), Pace(1, 1))
    assert list(seconds) == ["alexnet-ir", "PyTorch eager"]
    assert "CUDA out of memory" in written(tmp_path)
    assert report.end() == 0


def test_normalisations_of_pytorch_mean_ours(report: Report, tmp_path: Path) -> None:
    twin_module().check_lrn(report)
    assert written(tmp_path).count("| pass |") == 2


def test_twins_have_our_parameters() -> None:
    """At full size: every parameter and statistic by name and shape, and no other."""
    opponents = twin_module()
    import torch

    for net in NETS.values():
        model = net.model(1, tiny=False)
        shapes = {name: model.graph.tensor(state.read).shape for name, state in model.graph.states.items()}
        with torch.device("meta"):
            twin = opponents.TWINS[net.key](shapes, opponents.ModuleLrn, 0.5)
        tensors = dict(twin.named_parameters()) | dict(twin.named_buffers())
        theirs = {n: tuple(t.shape) for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
        assert theirs == {name.replace("/", "."): shape for name, shape in shapes.items()}
    assert sum(np.prod(shape) for shape in theirs.values()) == 11_689_512 + 9_600


def twin_module() -> Any:
    """PyTorch's side; where there is none, the test is skipped."""
    pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'alexnet-ir[torch]'")
    return compare.opponents()


# --- the report -------------------------------------------------------------------------------------------------------


def test_what_was_measured_is_there_when_the_run_is_killed(report: Report, tmp_path: Path) -> None:
    report.head("what", "", "")
    report.check("first", "")
    assert "| first | pass |" in written(tmp_path)
    with report.going_on("second"):
        raise ValueError("no\nmore")
    report.check("third", "wrong")
    lines = written(tmp_path).splitlines()
    assert lines[3].startswith("| second did not work: ValueError: no (")
    assert lines[4] == "| third | FAIL | wrong |"
    assert report.end() == 1


def test_the_budget_is_kept(tmp_path: Path) -> None:
    report = Report(tmp_path / "report.md", 30)
    assert report.has_time("this", 20)
    assert not report.has_time("that", 40)
    assert "Left out, as the time is up: that." in written(tmp_path)
