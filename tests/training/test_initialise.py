"""Fine-tuning: what is taken over from another net's weights, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

import alexnet_ir
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.training.initialise import take_over

from .models import TINY


def net(old: str = "", new: str = "", seed: int = 0) -> alexnet_ir.training.step.TrainingStep:
    return alexnet_ir.compile(TINY.replace(old, new)).trainer(devices="cpu", seed=seed)


def test_layers_are_taken_by_name_and_shape_and_the_others_said() -> None:
    source = net(seed=1)
    for statistic in ("running_mean", "running_var"):
        source.weights[f"batchnorm1.{statistic}"] = np.arange(4.0)
    target = net("fc1: fc(classes)", "fc(8) -> relu -> fc1: fc(classes)")
    before = dict(target.weights)
    taken = take_over(target, {**source.weights, "conv9.weight": np.zeros((1, 2))}, "old.safetensors")
    assert taken.layers == ("conv1", "batchnorm1")
    for name, value in target.weights.items():
        expected = before if name.startswith("fc") and name != "fc1.bias" else source.weights
        assert np.array_equal(value, expected[name]), name
    assert (
        taken.text
        == """initialised from old.safetensors: conv1 and batchnorm1
  not taken: fc2.weight, which is not in the file
  not taken: fc2.bias, which is not in the file
  not taken: fc1.weight, which has shape [3, 36] there and [3, 8] here
  not taken: conv9.weight, which is not in the net"""
    )


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(AlexnetError, match="nothing in it has a name and shape of Tiny") as raised:
        take_over(net(), {"features.0.weight": np.zeros((64, 3, 11, 11))}, "torch.safetensors")
    assert "features.0.weight [64, 3, 11, 11]" in str(raised.value)
