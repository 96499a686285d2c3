"""What is exchanged: predicted from the logical graph, moved by the plan's transfers, and counted at run time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from alexnet_ir.compiler import compile_step, read_model, training_passes
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.plan import Program
from alexnet_ir.ir.profile import PROFILES
from alexnet_ir.passes.base import run_passes
from alexnet_ir.passes.exchanges import emitted_bytes, exchanges
from alexnet_ir.passes.partition import Partition
from alexnet_ir.passes.schedule import Schedule
from alexnet_ir.passes.table import pipeline
from alexnet_ir.placement import Placing, placing_of
from alexnet_ir.setup import setup_of
from alexnet_ir.training.step import TrainingStep

EXAMPLES = Path(__file__).parents[2] / "examples"
BUILT_IN = ("columns", "data", "weird_trick")
SPLIT = "channels(from = conv1, to = fc7)"
TO_FC8 = "channels(from = conv1, to = fc8)"
BY_TURNS = "[batch(from = conv1, to = conv5), inputs(fc6), outputs(fc7), inputs(fc8)]"
TOTALS = {
    SPLIT: 60_030_976,
    "data": 487_721_792,
    "columns": 60_030_976,
    "weird_trick": 36_500_480,
    TO_FC8: 62_130_176,
    BY_TURNS: 32_803_840,
}


def never(placing: Placing) -> float:
    raise AssertionError(f"{placing.name} was not to be timed")


def placed(text: str, place: str) -> tuple[Graph, Program]:
    """The logical graph on two devices, and the program of what they do."""
    model = read_model(text)
    options = training_passes(model)
    placing = placing_of(model, run_passes(model.graph, [options["loss"]]), 2, place, PROFILES["cpu"], never)
    options |= {"partition": Partition(2, placing.strategies)}
    logical = run_passes(model.graph, pipeline("train", options))
    return logical, Schedule().run(run_passes(logical, pipeline("lower", {})))


def alexnet(split: str) -> tuple[Graph, Program]:
    """The paper's net, batch 128, on two devices by this split, or by the built-in placement of this name."""
    text = (EXAMPLES / "alexnet.alx").read_text()
    assert SPLIT in text
    return placed(text, split) if split in BUILT_IN else placed(text.replace(SPLIT, split), "two_gpus")


@pytest.mark.parametrize("split", TOTALS)
def test_alexnet(split: str) -> None:
    logical, program = alexnet(split)
    assert sum(edge.nbytes for edge in exchanges(logical)) == TOTALS[split]
    assert emitted_bytes(program) == TOTALS[split]


def test_where_the_columns_meet() -> None:
    found = [(e.layer, e.kind, e.phase, e.line) for e in exchanges(alexnet("columns")[0])]
    assert found == [
        ("conv3", "all_gather", "forward", 21),
        ("fc6", "all_gather", "forward", 26),
        ("fc7", "all_gather", "forward", 27),
        ("fc8", "gather", "forward", 28),
        ("fc8", "scatter", "backward", 28),
        ("fc7", "reduce_scatter", "backward", 27),
        ("fc6", "reduce_scatter", "backward", 26),
        ("conv3", "reduce_scatter", "backward", 21),
    ]


@pytest.mark.parametrize("devices", ["cpu,cpu", "cpu,cpu,cpu,cpu"])
@pytest.mark.parametrize("place", BUILT_IN)
def test_predicted_is_emitted_is_counted(place: str, devices: str) -> None:
    step = TrainingStep(read_model(EXAMPLES / "digits.alx"), setup_of(devices, place))
    step(np.zeros((32, 1, 8, 8)), np.arange(32) % 10)
    predicted = sum(edge.nbytes for edge in exchanges(step.compiled.logical))
    assert predicted == emitted_bytes(step.compiled.plan) == step.exchanged_bytes
    assert predicted > 0


NORMALISED = """alx 1
net N() {
  image = input(2, 6, 6)
  return image -> conv(4, 3, bias = none) -> batchnorm -> relu -> lrn(3, 1, 0.1, 0.5) -> flatten -> fc(4)
}
data d { source: synthetic(16, 4) }
train t { batch: 8  stop: steps(1)  optimizer: sgd(lr = 0.1) }
place channels { net: N  devices: 2  split: channels(from = conv1, to = fc1) }
"""


@pytest.mark.parametrize(
    ("place", "kinds"),
    [
        ("channels", {("lrn1", "halo"): 2, ("fc1", "all_gather"): 1, ("fc1", "reduce_scatter"): 1}),
        ("data", {("batchnorm1", "all_reduce"): 2, ("conv1", "all_reduce"): 1, ("fc1", "all_reduce"): 2}),
    ],
)
def test_ops_that_exchange_inside(place: str, kinds: dict[tuple[str, str], int]) -> None:
    logical, program = placed(NORMALISED, place)
    edges = exchanges(logical)
    found = Counter((edge.layer, edge.kind) for edge in edges)
    assert {key: found[key] for key in kinds} == kinds
    assert sum(edge.nbytes for edge in edges) == emitted_bytes(program)


def test_one_device_exchanges_nothing() -> None:
    made = compile_step(read_model(EXAMPLES / "digits.alx"), setup_of())
    assert exchanges(made.logical) == []
    assert emitted_bytes(made.plan) == 0
