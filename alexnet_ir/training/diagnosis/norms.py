"""How long weights and their updates are, layer by layer: a rate that suits moves weights by about a thousandth."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from alexnet_ir.ir.op import Array
from alexnet_ir.training.observe import Observer, Update
from alexnet_ir.training.run import EpochMetrics

if TYPE_CHECKING:
    from alexnet_ir.training.loop import TrainingRun


class Norms(Observer):
    """At each step that is logged a `norms` line: for every parameter the L2 norm of its value after the update, and of
    the update. After each epoch a line of the ratios of weights: biases begin at 0."""

    def __init__(self) -> None:
        self._before: dict[str, Array] = {}
        self._ratios: dict[str, float] = {}

    def before_step(self, run: TrainingRun) -> None:
        """Keep the weights where the next step is logged."""
        self._before = _parameters(run) if (run.step.steps + 1) % run.every == 0 else {}

    def after_step(self, run: TrainingRun, update: Update) -> None:
        """Measure how far they moved."""
        if not self._before:
            return
        found = {
            name: {"weight": norm(value), "update": norm(value - self._before[name])}
            for name, value in _parameters(run).items()
        }
        run.folder.log("norms", update.step, layers=found)
        weights = {name: norms for name, norms in found.items() if name.endswith(".weight") and norms["weight"] > 0}
        self._ratios = {name: norms["update"] / norms["weight"] for name, norms in weights.items()}

    def after_epoch(self, run: TrainingRun, metrics: EpochMetrics) -> None:
        """The ratios of the step that was logged last."""
        if self._ratios:
            run.say(ratios_line(self._ratios))


def _parameters(run: TrainingRun) -> dict[str, Array]:
    states = run.step.plan.states
    return {name: run.step.weights[name] for name in run.step.weights if states[name].role == "parameter"}


def norm(array: Array) -> float:
    """The L2 norm, added up in float64."""
    return float(np.sqrt(np.sum(np.square(array, dtype=np.float64))))


def ratios_line(ratios: dict[str, float]) -> str:
    """The least, the median and the largest, with the parameters' names."""
    least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
    return (
        f"  update / weight: least {ratios[least]:.1e} ({least}), median {median(ratios.values()):.1e}, "
        f"largest {ratios[most]:.1e} ({most})"
    )
