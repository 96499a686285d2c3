"""The first value that is not finite: found in graphs whose first one is known, and in runs that were spoilt."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.cli.main import main
from alexnet_ir.compiler import read_model, training_graph
from alexnet_ir.diagnostics import Diagnostic
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.names import LABEL
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.elementwise import Add, Relu, Scale
from alexnet_ir.ops.loss import SoftmaxCrossEntropy
from alexnet_ir.setup import setup_of
from alexnet_ir.training.checkpoint import Checkpoints
from alexnet_ir.training.diagnosis.divergence import explain, first_non_finite, last_finite
from alexnet_ir.training.diagnosis.walk import walk
from alexnet_ir.training.run import read_metrics
from alexnet_ir.training.step import TrainingStep

from ..meaning import results
from .models import TINY

BIG = 3e38


@cache
def tiny() -> Model:
    return read_model(TINY)


def batches(count: int) -> list[tuple[Array, Array]]:
    random = np.random.default_rng(0)
    shape = (tiny().batch, *tiny().image)
    return [(random.standard_normal(shape).astype("f4"), random.integers(3, size=shape[0])) for _ in range(count)]


class Run:
    """A run of the tiny net on made-up batches, which can be taken back as a real one is."""

    def __init__(self, lr: float, states: dict[str, float] | None = None, devices: str = "cpu") -> None:
        self.step = TrainingStep(tiny(), setup_of(devices), 1)
        self.step.lr = lr
        self.batches = batches(40)
        for name, value in (states or {}).items():
            array = self.step.weights[name].copy()
            array.flat[0] = value
            self.step.weights[name] = array
        self.start, self.rewound = self.step.states(), list[int]()

    def rewind(self, updates: int) -> None:
        self.rewound.append(updates)
        self.step.restore(self.start, 0)
        for batch in self.batches[:updates]:
            self.step(*batch)

    def diverged(self) -> Diagnostic:
        """What is said of the first loss that is not finite."""
        losses: list[float] = []
        while not losses or np.isfinite(losses[-1]):
            losses.append(self.step(*self.batches[len(losses)]))
        failure = explain(self.step, len(losses), losses[-1], self.rewind, lambda n: self.batches[n], losses[:-1])
        (diagnostic,) = failure.diagnostics
        assert f"at step {len(losses)}: training has diverged" in diagnostic.message
        return diagnostic


def line_of(diagnostic: Diagnostic) -> str:
    span = diagnostic.span
    assert span is not None
    return span.source.line(span.line)[span.column - 1 : span.end_column - 1]


# --- in a graph ---------------------------------------------------------------------------------------------------


def test_walking_is_what_the_graph_means() -> None:
    """Every output and update, though values are forgotten on the way."""
    run = Run(0.1)
    graph = training_graph(tiny())
    images, labels = run.batches[0]
    given = run.step.scalars() | run.step.states() | {"image": images, LABEL: labels}
    expected, found = results(graph, given), {}
    for node, _, made in walk(graph, given, np.float64):
        found |= dict(zip(node.results, made, strict=True))
    updates = {f"%{s.name}": s.update for s in graph.states.values() if s.update is not None}
    for name, value in (graph.outputs | updates).items():
        np.testing.assert_array_equal(found[value], expected[name], err_msg=name)


def test_the_first_in_the_graphs_order() -> None:
    """Of two nodes that overflow, the one that runs first; what both read is finite."""
    graph = Graph("g")
    x = graph.input("x", f32(2, 3))
    small = graph.emit(Scale(0.5), x, name="small")
    twice = graph.emit(Add(), x, x, name="twice")
    graph.outputs = {"a": graph.emit(Relu(), twice, name="after"), "b": graph.emit(Scale(9.0), small, name="other")}
    finding = first_non_finite(graph, {"x": np.array([[1, 2, 3], [4, -BIG, BIG]])})
    assert finding is not None
    assert (finding.value, finding.first, finding.size, finding.nan, finding.infinite) == ("twice", (1, 1), 6, 0, 2)
    assert finding.largest == {"x": pytest.approx(BIG)}
    assert str(finding) == "2 infinite of 6 elements"
    assert first_non_finite(graph, {"x": np.ones((2, 3))}) is None


def test_the_logarithm_of_zero() -> None:
    """A probability of 0 for the right class: scores that float32 cannot tell apart from infinitely far."""
    graph = Graph("g")
    scores, label = graph.input("scores", f32(1, 2)), graph.input("label", TensorType("i32", (1,)))
    graph.outputs = {"loss": graph.emit(SoftmaxCrossEntropy(), scores, label, name="loss")}
    finding = first_non_finite(graph, {"scores": [[BIG, -BIG]], "label": [1]})
    assert finding is not None
    assert (finding.value, finding.infinite, str(finding)) == ("loss", 1, "1 infinite of 1 element")


# --- in a run -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu", "reference"])
def test_a_rate_that_is_too_high(devices: str) -> None:
    """The update itself is finite, a later forward pass is not: the layer whose squares overflow is named, in float64
    later than in float32."""
    diagnostic = Run(1e25, devices=devices).diverged()
    assert "%batchnorm1.variance (batchnorm)" in diagnostic.label
    assert line_of(diagnostic) == "batchnorm"
    assert "4 infinite of 4 elements" in diagnostic.notes[0]
    assert any("lower the learning rate, 1e+25: --set 'train.optimizer=sgd(lr = 0.01," in h for h in diagnostic.helps)


def test_an_update_that_overflows() -> None:
    with np.errstate(over="ignore"):
        diagnostic = Run(1e39).diverged()
    assert diagnostic.span is not None
    assert "%train.lr (input)" in diagnostic.label  # 1e39 is infinity in float32
    assert diagnostic.span == tiny().train.span  # type: ignore[union-attr]


def test_a_weight_that_is_infinite_from_the_beginning() -> None:
    diagnostic = Run(0.01, {"fc1.weight": np.inf}).diverged()
    assert "%fc1.weight (state) is the first value that is not finite" in diagnostic.label
    assert line_of(diagnostic) == "fc(classes)"
    assert diagnostic.notes[0] == "before step 1: 1 infinite of 108 elements"


def test_data_that_hold_nan() -> None:
    run = Run(0.01)
    run.batches[3][0][5, 1, 2, 2] = np.nan
    diagnostic = run.diverged()
    assert line_of(diagnostic) == "input(2, 6, 6)"
    assert "in step 4: 1 NaN of 1,152 elements, the first in image 5 of the batch" in diagnostic.notes[0]
    assert "the data hold it" in diagnostic.helps[0]


def test_what_became_infinite_long_before_the_loss() -> None:
    """A bias of minus infinity, which relu hides, until momentum's NaN shows: the update that made it is found."""
    step, made = Run(0.01).step, 7
    bad: Callable[[int], dict[str, float]] = lambda n: {"fc1.bias": np.inf} if n >= made else {}  # noqa: E731
    start, asked = step.states(), list[int]()

    def rewind(updates: int) -> None:
        asked.append(updates)
        step.restore(start, updates)
        for name, value in bad(updates).items():
            step.weights[name] = np.full_like(step.weights[name], value)

    for last in (8, 9, 30, 101):
        assert last_finite(step, last, rewind) == made - 1
        assert asked[-1] == made - 1
    assert len(asked) < 50
    made = 0
    assert last_finite(step, 12, rewind) == 0


def test_what_the_meanings_do_not_confirm() -> None:
    """A loss that only the backend finds not finite: its rounding, or a kernel."""
    run = Run(0.01)
    (diagnostic,) = explain(run.step, 3, float("nan"), run.rewind, lambda n: run.batches[n]).diagnostics
    assert diagnostic.notes[0] == "made again by the ops' meanings, step 3 comes out finite: rounding decides"
    assert any("--check-gradients" in help_ for help_ in diagnostic.helps)


# --- from the command line ----------------------------------------------------------------------------------------


def test_a_run_whose_schedule_makes_it_diverge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The rate of the bad step is that of its schedule, and the newest checkpoint is finite."""
    monkeypatch.chdir(tmp_path)
    Path("m.alx").write_text(TINY)
    steep = ["--set", "train.schedule=drops(at = [steps(8)], factor = 1e26)"]
    assert main(["train", "m.alx", "--no-pictures", "--checkpoint-every", "3", *steep]) == 1
    said = capsys.readouterr().err
    assert "at step 10: training has diverged" in said
    assert "%batchnorm1.variance (batchnorm) is the first value that is not finite" in said
    assert "6 |     -> conv1: conv(4, 3, pad = 1) -> batchnorm -> act" in said
    assert "lower the learning rate, 5e+24:" in said
    assert "to go on from step 9 with other settings: --resume runs/m-1" in said
    assert "or from before, step 3: --resume runs/m-1/checkpoints/step-000000003.safetensors" in said
    (checkpoint, problems) = Checkpoints(Path("runs/m-1")).newest()
    assert not problems
    assert checkpoint.saved.step == 9
    assert all(np.isfinite(state).all() for state in checkpoint.states.values())
    assert read_metrics(Path("runs/m-1"))[-1]["kind"] == "warning"
