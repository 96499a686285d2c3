"""Where the first NaN or infinity of a run came from: the run is taken back to the last update before it, and the next
one is made once more, node by node."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.compiler import recipe_of, training_graph
from alexnet_ir.diagnostics import AlexnetError, error, listed
from alexnet_ir.ir.attributes import defaults_of
from alexnet_ir.ir.graph import Graph, Node
from alexnet_ir.ir.names import LABEL
from alexnet_ir.ir.op import Array, Input, Read
from alexnet_ir.ops.loss import LossOp
from alexnet_ir.ops.update import UpdateOp
from alexnet_ir.training.checkpoint import step_of
from alexnet_ir.training.diagnosis.walk import walk
from alexnet_ir.training.observe import Observer, Update
from alexnet_ir.training.step import TrainingStep

if TYPE_CHECKING:
    from alexnet_ir.training.loop import TrainingRun

Batch = tuple[Array | Augmented, Array]


@dataclass(frozen=True)
class Finding:
    """The first value that is not finite although all that it is made of is: a result of `node`, named `value`, with so
    many elements, NaN ones and infinite ones, the first of them at `first`. `largest` are the greatest magnitudes of
    what the node reads, by name."""

    node: Node
    value: str
    size: int
    nan: int
    infinite: int
    first: tuple[int, ...]
    largest: Mapping[str, float]

    def __str__(self) -> str:
        kinds = [f"{count:,} {what}" for count, what in ((self.nan, "NaN"), (self.infinite, "infinite")) if count]
        return f"{listed(kinds)} of {self.size:,} element{'s' * (self.size != 1)}"


def first_non_finite(graph: Graph, given: Mapping[str, Any], float_: DTypeLike = np.float32) -> Finding | None:
    """By the ops' meanings, in the graph's order: forward, loss, backward, update. None where all of it is finite.
    `given` are inputs and states by name."""
    for node, operands, results in walk(graph, given, float_):
        for value, array in zip(node.results, results, strict=True):
            bad = ~np.isfinite(array)
            if bad.any():
                nan = int(np.isnan(array).sum())
                first = tuple(int(place) for place in np.argwhere(bad)[0])
                names = map(graph.value_name, node.operands)
                largest = {name: magnitude(operand) for name, operand in zip(names, operands, strict=True)}
                return Finding(node, graph.value_name(value), array.size, nan, int(bad.sum()) - nan, first, largest)
    return None


def magnitude(array: Array) -> float:
    """The greatest."""
    return float(max(array.max(initial=0), -array.min(initial=0)))


def last_finite(step: TrainingStep, last: int, rewind: Callable[[int], None]) -> int:
    """The greatest number of updates below `last` after which all states are finite, where the net is left; 0 where
    they never are. What is not finite stays so: found by steps back that double, then by halves."""

    def is_finite_after(updates: int) -> bool:
        rewind(updates)
        return all(bool(np.isfinite(state).all()) for state in step.states().values())

    good, bad = last - 1, last
    while good > 0 and not is_finite_after(good):
        good, bad = max(0, 2 * good - last), good
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if is_finite_after(middle) else (good, middle)
    rewind(good)
    return good


def explain(
    step: TrainingStep,
    last: int,
    loss: float,
    rewind: Callable[[int], None],
    batch_of: Callable[[int], Batch],
    before: Sequence[float] = (),
) -> AlexnetError:
    """Why the loss of update `last` (from 1), or what it left, is not finite. `rewind(n)` brings the net, its rates
    included, to where it was after n updates, `batch_of(n)` is what the next one is made on; `before` are losses of the
    updates before."""
    good = last_finite(step, last, rewind)
    images, labels = batch_of(good)
    images = images.evaluate() if isinstance(images, Augmented) else np.asarray(images)
    graph = training_graph(step.model)
    (image,) = (name for name in graph.inputs if "." not in name)
    states = step.states()
    float_ = np.result_type(*states.values())  # float64 on the reference
    finding = first_non_finite(graph, step.scalars() | states | {image: images, LABEL: labels}, float_)
    notes = [f"losses before it: {', '.join(f'{value:.4g}' for value in before)}"] if before else []
    is_quiet = np.isfinite(loss)
    what = f"step {last} leaves values that are not finite" if is_quiet else f"the loss is {loss} at step {last}"
    message = f"{what}: training has diverged"
    if finding is None:
        return _came_out_finite(message, good, step, notes)
    notes = [_what(finding, good), *notes]
    label = f"%{finding.value} ({finding.node.op.name}) is the first value that is not finite"
    limit = float(np.finfo(float_).max)
    helps = list(_helps(finding, step, good, magnitude(images), limit))
    return error(message, span=finding.node.span, label=label, notes=notes, helps=helps)


def _came_out_finite(message: str, good: int, step: TrainingStep, notes: list[str]) -> AlexnetError:
    return error(
        message,
        span=recipe_of(step.model).span,
        notes=[f"made again by the ops' meanings, step {good + 1} comes out finite: rounding decides", *notes],
        helps=[
            _lower_rate(step),
            "kernels that round less: --conv exact on a CPU, --precision fp32 on a GPU",
            "`train --check-gradients` tells whether a kernel is wrong",
        ],
    )


def _lower_rate(step: TrainingStep) -> str:
    optimizer = recipe_of(step.model).optimizer
    settings = asdict(optimizer) | {"lr": min(step.lr / 10, 0.01)}
    defaults = defaults_of(type(optimizer))
    written = ", ".join(f"{name} = {value:g}" for name, value in settings.items() if value != defaults.get(name))
    return f"lower the learning rate, {step.lr:g}: --set 'train.optimizer={optimizer.name}({written})'"


def _what(finding: Finding, good: int) -> str:
    """Where in the step, how much of it, and from what."""
    node, where = finding.node, f"in step {good + 1}: {finding}"
    if isinstance(node.op, Input):
        return f"{where}, the first in image {finding.first[0]} of the batch" if finding.first else where
    if isinstance(node.op, Read):
        return f"before step {good + 1}: {finding}"
    name, largest = max(finding.largest.items(), key=lambda item: item[1])
    return f"{where}; all that it reads is finite, the largest is {largest:.3g} in %{name}"


def _helps(finding: Finding, step: TrainingStep, good: int, image: float, limit: float) -> Iterator[str]:
    """What may mend it, the likeliest first."""
    op, largest = finding.node.op, max(finding.largest.values(), default=0.0)
    if isinstance(op, Input):
        yield "the data hold it, or a transform of the `data` section makes it: no rate will help"
        return
    if isinstance(op, Read):
        yield "the net began with it: look at the weights that it was started from, or at its initialisers"
        return
    if isinstance(op, LossOp):
        yield f"scores of {largest:.3g} are too far apart for floats, which end at {limit:.2g}"
    elif largest > limit**0.5 and not isinstance(op, UpdateOp):
        yield f"sums, products and squares of values like {largest:.3g} overflow: floats end at {limit:.2g}"
    if good > 0 or isinstance(op, UpdateOp):
        yield _lower_rate(step)
    else:
        yield "it is the first step, so no update made these numbers: initial weights or images are too large"
    if image > 16:
        yield f"images reach {image:.3g} here: a smaller scale lets the rate be larger, for instance scale(1/128)"


class Divergence(Observer):
    """Explains a loss that is not finite."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=5)

    def after_step(self, run: TrainingRun, update: Update) -> None:
        """Keep the loss."""
        self._losses.append(update.loss)

    def on_divergence(self, run: TrainingRun, update: Update) -> AlexnetError:
        """By the run's own checkpoints and batches."""

        def rewind(updates: int) -> None:
            run.rewind(updates)
            run.control.steer(run.step)

        run.say(f"step {update.step}: not finite; made again from the newest checkpoint on, to see where that began")
        failure = explain(run.step, update.step, update.loss, rewind, run.batch_of, list(self._losses))
        (found,) = failure.diagnostics
        found = replace(found, helps=(*found.helps, *_ways_on(run)))
        run.folder.log("warning", update.step, text=f"{found.message}: {found.label}" if found.label else found.message)
        return AlexnetError([found])


def _ways_on(run: TrainingRun) -> Iterator[str]:
    """From its checkpoints, of which even the newest may have been on the way there."""
    newest, *older = run.saver.checkpoints.paths()
    if step_of(newest) > 0:
        yield f"to go on from step {step_of(newest)} with other settings: --resume {run.folder.path}"
    if older:
        yield f"or from before, step {step_of(older[-1])}: --resume {older[-1]}"
