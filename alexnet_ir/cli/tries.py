"""What `alexnet-ir train` does in the place of training: try whether the net's gradients are right, and whether it can
learn one batch by heart. Neither writes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alexnet_ir.compiler import recipe_of
from alexnet_ir.diagnostics import AlexnetError, Diagnostic, error
from alexnet_ir.dsl.model import Model
from alexnet_ir.setup import Setup
from alexnet_ir.training.diagnosis.gradients import Checked, check_ops, check_parameters
from alexnet_ir.training.diagnosis.overfit import Learnt, overfit
from alexnet_ir.training.loop import TrainingRun

SHOWN = 3
"""Wrong gradients of which the line is shown: one mistake spoils all that comes before it."""


def check_gradients(model: Model, setup: Setup) -> int:
    """Print a line for every gradient; AlexnetError, which shows their lines, where some are wrong."""
    recipe_of(model)  # which says the loss
    small = model.at_batch(model.choice.batch or max(2, len(setup.devices)))
    print(f"gradients of {small.net} at batch {small.batch}, on made-up images")
    print("\nops, by their meanings, against finite differences in float64 (each along a random direction):")
    wrong = list(_listed(check_ops(small), small))
    print(f"\nparameters, as {', '.join(setup.devices)} computes them, against the meanings in float64:")
    wrong += _listed(check_parameters(small, setup), small)
    if wrong:
        raise AlexnetError(_wrong(checked, len(wrong)) for checked in wrong[:SHOWN])
    print("\nall of them are right")
    return 0


def _listed(found: Iterable[Checked], model: Model) -> Iterator[Checked]:
    """Print each as it comes; those that are wrong."""
    names = [layer.path for layer in model.layers] + list(model.graph.states)
    width = max(map(len, names))
    print(f"  {'':{width}}  {'':22}  {'off by':7}  at most")
    for checked in found:
        figures = f"{checked.error:7.1e}  {checked.limit:7.1e}  {'ok' if checked.ok else 'wrong'}"
        print(f"  {checked.layer:{width}}  {checked.what:22}  {figures}", flush=True)
        if not checked.ok:
            yield checked


def _wrong(checked: Checked, count: int) -> Diagnostic:
    others = [f"it is one of {count} that are wrong, all in the table"] if count > SHOWN else []
    return Diagnostic(
        "",
        f"{checked.layer} ({checked.what}): the gradient is off by {checked.error:.1e}, more than {checked.limit:.1e}",
        checked.span,
        notes=(*others, "the net is not at fault: this is a mistake in alexnet-ir"),
        helps=("report it, with the model file", "on a CPU, --conv exact and --devices reference run other kernels"),
    )


def overfit_one_batch(training: TrainingRun, steps: int) -> int:
    """Train on the first batch only; whether it could be learnt is the exit code."""
    if steps < 1:
        raise error(f"--overfit-one-batch {steps}: expected a number of steps above 0")
    print(f"the first batch only: {training.model.batch} images, at most {steps} steps; nothing is saved", flush=True)
    training.control.steer(training.step)
    found = overfit(training.step, training.batch_of(0), steps, _tell)
    if found.all:
        print(f"learnt: all {found.images} images are right after {found.steps} steps; the net can learn")
        return 0
    went = f"from {found.first:.4g} to {found.loss:.4g}"
    falls = found.loss < 0.9 * found.first
    lines = [
        f"not learnt: {found.right} of {found.images} images are right after {found.steps} steps",
        f"the loss fell {went}: more steps may do" if falls else f"the loss went {went}: a rate too high, or too low?",
        "weights may be too small for so deep a net, or too large: weight = he() fits them to each layer",
        "images that are alike may have different labels: no net learns those",
        "`train --check-gradients` tells whether gradients are right",
    ]
    print("\n  - ".join(lines))
    return 1


def _tell(found: Learnt) -> None:
    print(f"  step {found.steps}: loss {found.loss:.4f}, {found.right} of {found.images} right", flush=True)
