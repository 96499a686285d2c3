"""What a recipe says of each step of a run: the rate, the events in force, and whether the run is over.

control = Control(model, steps_per_epoch)
while control.done(step.steps) is None:
    changes = control.steer(step)           # before every update; what to log
    step(images, labels)
    ... at the end of an epoch: control.end_of_epoch(metrics)

Everything but a plateau follows from the number of the step alone; what a plateau and `error_below` have seen is
`state()`, which a checkpoint keeps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from alexnet_ir.compiler import recipe_of
from alexnet_ir.diagnostics import counted, error, nearest
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import Model
from alexnet_ir.dsl.scope import within
from alexnet_ir.ir.names import factor, layer_of
from alexnet_ir.training.run import EpochMetrics
from alexnet_ir.training.schedule import learning_rate, length_of, steps_of
from alexnet_ir.training.step import TrainingStep

_Event = spec.SetEvent | spec.Freeze


@dataclass(frozen=True, slots=True)
class Change:
    """What is different from a step on, for the log: a `rate` for its reason, or an `event`."""

    kind: Literal["rate", "event"]
    text: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for one update: the rate; factors by their input's name (`conv1.weight.lr_mult`); arguments of
    transforms of the training set ({"pca_light": {"std": 0}}); and parameters that get no more updates."""

    lr: float
    factors: Mapping[str, float]
    transforms: Mapping[str, Mapping[str, float]]
    frozen: tuple[str, ...]


class Control:
    """Follows a checked model's recipe. `freeze` names layers or scopes that are frozen from the first step on
    (AlexnetError where there is none). `total` is the number of updates of the run, None where only errors end it."""

    def __init__(self, model: Model, steps_per_epoch: int, freeze: Sequence[str] = ()) -> None:
        self.recipe, self.steps_per_epoch = recipe_of(model), steps_per_epoch
        self.total = length_of(self.recipe.stop, steps_per_epoch)
        self._parameters = [name for name, state in model.graph.states.items() if state.role == "parameter"]
        self._transforms = {transform.name for transform in (model.data.train if model.data else ())}
        self._events = sorted(self._all_events(freeze), key=itemgetter(0))
        self._best, self._waited, self._drops = math.inf, 0, list[int]()
        self._errors: dict[str, float] = {}
        self._stilled: tuple[str, ...] = ()

    def _all_events(self, freeze: Sequence[str]) -> Iterator[tuple[int, str, _Event]]:
        """Each event's first step, its moment in words, and what happens."""
        layers = dict.fromkeys(layer_of(name) for name in self._parameters)
        for name in freeze:
            if not self._of(name):
                close = nearest(name, layers)
                helps = [f"did you mean `{close}`?" if close else f"layers with parameters: {', '.join(layers)}"]
                raise error(f"--freeze {name}: the net has no layer of that name with parameters", helps=helps)
            yield 0, "the start", spec.Freeze(spec.Reference(name))
        for at in self.recipe.events:
            yield steps_of(at.moment, self.steps_per_epoch), _words(at.moment), at.event

    def _of(self, target: str) -> list[str]:
        """The parameters of a layer, or of all layers of a scope."""
        return [name for name in self._parameters if within(layer_of(name), target)]

    # --- a step -------------------------------------------------------------------------------------------------------

    def at(self, step: int) -> Settings:
        """What holds for update `step`, from 0. Of two events that set one thing, the later holds; frozen is frozen."""
        factors: dict[str, float] = {}
        transforms: dict[str, dict[str, float]] = {}
        frozen: list[str] = []
        for start, _, event in self._events:
            if start > step:
                break
            if isinstance(event, spec.Freeze):
                frozen += self._of(event.target.id)
            elif event.target.id in self._transforms:
                transforms.setdefault(event.target.id, {}).update(event.values)
            else:
                factors |= self._factors(event)
        factors |= {factor(name, "lr_mult"): 0.0 for name in frozen}
        return Settings(self._rate(step), factors, transforms, tuple(dict.fromkeys(frozen)))

    def _rate(self, step: int) -> float:
        schedule, base = self.recipe.schedule, self.recipe.optimizer.lr
        return learning_rate(schedule, base, step, self.steps_per_epoch, self.total or 1, self._drops)

    def _factors(self, event: spec.SetEvent) -> dict[str, float]:
        """`bias_lr_mult` is the factor `lr_mult` of the biases; without `bias_`, of the weights."""
        return {
            factor(parameter, word.removeprefix("bias_")): value
            for word, value in event.values
            for parameter in self._of(event.target.id)
            if parameter.endswith(".bias") == word.startswith("bias_")
        }

    def changes(self, step: int) -> list[Change]:
        """What is different from update `step` on. Rates that move at every step are not said."""
        rates = [Change("rate", text) for start, text in self._drops_said() if start == step]
        events = [Change("event", f"{_said(event)} at {when}") for start, when, event in self._events if start == step]
        return rates + events

    def _drops_said(self) -> Iterator[tuple[int, str]]:
        """The first step and reason of each drop of the rate."""
        schedule = self.recipe.schedule
        if isinstance(schedule, spec.Drops):
            drops = sorted((steps_of(moment, self.steps_per_epoch), _words(moment)) for moment in schedule.at)
            for number, (start, when) in enumerate(drops, 1):
                yield start, f"drop {number} of {len(drops)} at {when}"
        elif isinstance(schedule, spec.Plateau):
            for number, start in enumerate(self._drops, 1):
                yield start, f"drop {number} of {schedule.max_drops}, plateau: {_plateau(schedule)}"

    def steer(self, step: TrainingStep) -> list[Change]:
        """Set the rate and the factors of the next update, stop what is frozen from there on, and say what changed."""
        now, changes = self.at(step.steps), self.changes(step.steps)
        step.lr = now.lr
        step.factors = dict(now.factors)
        if now.frozen != self._stilled:  # also where a run is taken up with layers frozen that were not
            step.still(now.frozen)
            self._stilled = now.frozen
        return changes

    # --- the end of an epoch, and of the run --------------------------------------------------------------------------

    def end_of_epoch(self, epoch: EpochMetrics) -> None:
        """Take note of an epoch's errors, for a plateau and for stops."""
        self._errors = {"train": epoch.error, "eval": epoch.eval_top1}
        if epoch.eval_top1 < self._best:
            self._best, self._waited = epoch.eval_top1, 0
            return
        self._waited += 1
        if (plateau := self._flat) and len(self._drops) < plateau.max_drops:
            self._drops.append(epoch.step)
            self._waited = 0

    @property
    def _flat(self) -> spec.Plateau | None:
        """The schedule, where it is a plateau's and the error has not improved for as long as it waits."""
        schedule = self.recipe.schedule
        return schedule if isinstance(schedule, spec.Plateau) and self._waited >= schedule.patience else None

    def done(self, steps: int) -> str | None:
        """Why the run ends after so many updates; None where it goes on."""
        for stop in self.recipe.stop:
            if not isinstance(stop, spec.ErrorBelow):
                if steps >= steps_of(stop, self.steps_per_epoch):
                    return f"{stop.name}({stop.count:.12g}) is reached"
            elif self._errors and self._errors[stop.on] < stop.error:
                which = "training" if stop.on == "train" else "validation"
                return f"the {which} error of {self._errors[stop.on]:.2%} is below {stop.error:.2%}"
        if plateau := self._flat:
            return f"{_plateau(plateau)}, after {counted(len(self._drops), 'drop')} of the rate"
        return None

    def state(self) -> dict[str, Any]:
        """What a run's past decides, as JSON has it."""
        best = None if math.isinf(self._best) else self._best
        return {"best": best, "waited": self._waited, "drops": list(self._drops), "errors": dict(self._errors)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state()`."""
        self._best = math.inf if state["best"] is None else state["best"]
        self._waited, self._drops, self._errors = state["waited"], list(state["drops"]), dict(state["errors"])


def _words(moment: spec.Moment) -> str:
    """`epoch 25`, `step 1000`."""
    return f"{moment.name.removesuffix('s')} {moment.count:.12g}"


def _plateau(schedule: spec.Plateau) -> str:
    return f"the validation error has not improved for {counted(schedule.patience, 'epoch')}"


def _said(event: _Event) -> str:
    """As it is written."""
    values = [f"{word} = {value:g}" for word, value in event.values] if isinstance(event, spec.SetEvent) else []
    return f"{event.name}({', '.join([event.target.id, *values])})"
