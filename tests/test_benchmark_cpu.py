"""benchmarks/cpu.py on tiny nets: the sides have the same results, what they differ in is found, and what is missing is
said."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alexnet_ir.ops.normalize import LocalNorm, LocalNormGrad, Lrn, LrnGrad
from benchmarks import cpu
from benchmarks.cpu_parts import compare, products
from benchmarks.cpu_parts.compare import compared, weights_apart
from benchmarks.cpu_parts.layers import Peak, table
from benchmarks.cpu_parts.nets import CASES, OURS, A
from benchmarks.cpu_parts.worker import Worker
from benchmarks.gpu_parts.report import Report


def needs(*modules: str) -> pytest.MarkDecorator:
    """Skips where one of these is not installed."""
    lacking = [name for name in modules if importlib.util.find_spec(name) is None]
    extra = "torch" if "torch" in modules else "onnx"
    return pytest.mark.skipif(bool(lacking), reason=f"{lacking} not installed: pip install 'alexnet-ir[{extra}]'")


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """With time enough."""
    return Report(tmp_path / "report.md", 1000, "REHEARSAL")


def written(tmp_path: Path) -> str:
    """What the report has so far."""
    return (tmp_path / "report.md").read_text(encoding="utf-8")


@needs("torch")
@pytest.mark.slow
def test_training_in_rehearsal(tmp_path: Path) -> None:
    """ResNet-18 has everything that may go wrong between two sides: running statistics, shortcuts, names in folders."""
    assert cpu.main(["--rehearse", "--only", "resnet", "--threads", "1", "-o", str(tmp_path / "report.md")]) == 0
    said = written(tmp_path)
    assert said.count("| same |") == 2
    assert "| alexnet-ir | " in said
    assert "ResNet-18, batch 8, training step: of the best | 1.3 times as fast" in said
    assert "None." in said.partition("## Failures")[2]


@needs("torch")
@pytest.mark.slow
def test_norms_by_hand_mean_ours(report: Report, tmp_path: Path) -> None:
    """Both nets that have any, on numbers for which they matter, with their gradients."""
    torch = pytest.importorskip("torch")
    twins = importlib.import_module("benchmarks.cpu_parts.twins")  # which need PyTorch
    module_lrn = importlib.import_module("benchmarks.gpu_parts.twins").ModuleLrn
    random = np.random.default_rng(4)
    maps, grads = (300 * random.standard_normal((2, 16, 7, 9)) for _ in range(2))
    lrn: dict[str, Any] = {"n": 5, "k": 2.0, "alpha": 1e-4, "beta": 0.75, "groups": 2}
    local: dict[str, Any] = {"size": 3, "k": 1.0, "alpha": 5e-5 / 9, "beta": 0.75}
    for key, op, grad_op, plain in (
        ("alexnet", Lrn(**lrn), LrnGrad(**lrn), module_lrn(2)),
        ("cifar18", LocalNorm(**local), LocalNormGrad(**local), twins.PooledNorm()),
    ):
        for module in (plain, twins.sliced(key, 2, lambda body: body)):
            x = torch.from_numpy(maps).requires_grad_()
            made = module(x)
            made.backward(torch.from_numpy(grads))
            np.testing.assert_allclose(made.detach(), op.evaluate([maps])[0], rtol=1e-10)
            np.testing.assert_allclose(x.grad, grad_op.evaluate([grads, maps])[0], rtol=1e-8, atol=1e-8)


@needs("onnxruntime", "onnx")
def test_onnx_runtime_has_our_scores(report: Report, tmp_path: Path) -> None:
    case = replace(CASES["inference-32"], opponents=[v for v in CASES["inference-32"].opponents if v.side == "onnx"])
    assert list(compare.compare(report, case, compare.Options(1, 1, True, False))) == ["ONNX Runtime"]
    assert "| ONNX Runtime | same |" in written(tmp_path)
    assert not report.failures


def test_a_row_for_each_step_of_the_plan(report: Report, tmp_path: Path) -> None:
    job = CASES["alexnet-128"].job(1, True, True, "")
    worker = Worker(job, OURS)
    rows = worker.ask("layers", rounds=1)
    memory = worker.ask("memory")
    worker.close()
    found = {name: (op, seconds, macs) for name, op, seconds, macs, _ in rows}
    assert all(seconds >= 0 for _, seconds, _ in found.values())
    assert found["conv2.grad_weight"][2] == 2 * 16 * 8 * 25 * 7 * 7  # batch, kernels, channels a group, window, map
    assert memory["peak"] > memory["planned"] > 0
    table(report, rows, Peak(100, 10))
    assert "| the whole step | " in written(tmp_path)


def test_a_side_that_fails_says_why() -> None:
    job = replace(CASES["cifar"].job(1, True, False, ""), batch=0)
    with pytest.raises(RuntimeError, match=r"alexnet-ir ended: ValueError: batch: expected a whole number"):
        Worker(job, OURS)


def test_other_results_are_found(tmp_path: Path) -> None:
    """Weights are looked at beside what they changed by: a wrong gradient hardly shows in the losses."""
    rng = np.random.default_rng(0)
    start, moved = rng.standard_normal((2, 5, 5))
    files = [tmp_path / f"{name}.npz" for name in ("start", "ours", "same", "other")]
    for file, by in zip(files, (0, 1e-4, 1.0001e-4, 2e-4), strict=True):
        np.savez(file, weight=start + by * moved)
    assert weights_apart(files[0], files[1], files[2])[0] == pytest.approx(1e-4)
    job = replace(CASES["cifar"].job(1, True, False, ""), start=str(files[0]))
    assert not compared(job, ([2.0, 1.0], files[1]), ([2.0, 1.0], files[2]))[0]
    assert compared(job, ([2.0, 1.0], files[1]), ([2.0, 1.0], files[3]))[0]
    assert compared(job, ([2.0, 1.0], files[1]), ([2.0, 1.1], files[2]))[0]
    assert compared(job, ([2.0, 1.0], files[1]), ([2.0, float("nan")], files[2]))[0]


def test_what_is_missing_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cpu.main(["--only", "inference-1"]) == 1
    said = capsys.readouterr()
    assert said.err == "torch and onnxruntime and onnx not installed: pip install 'alexnet-ir[onnx,torch]'\n"
    assert said.out == ""


def test_aims_are_beside_what_is_reached(report: Report) -> None:
    cpu.aims(report, CASES["vgg"], {A.name: 2.0, "PyTorch tuned (b)": 1.5})
    assert [aim[1:] for aim in report.aims] == [("1.7 times as fast", "1.50", False)]


def test_our_products_stand_beside_numpys(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LAYERS", ((40, 30), (30, 7)))
    monkeypatch.setattr(products, "PAUSE", 0.0)
    assert cpu.main(["--only", "products", "--rounds", "1"]) == 0
    assert len([line for line in capsys.readouterr().out.splitlines() if "| fc" in line]) == 9
