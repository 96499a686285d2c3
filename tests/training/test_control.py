"""What a recipe says of each step: rates, events and ends, beside a second, plainer telling of the same."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alexnet_ir
from alexnet_ir.cli.main import main
from alexnet_ir.compiler import read_model, recipe_of
from alexnet_ir.diagnostics import AlexnetError
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.model import Model
from alexnet_ir.training.control import Change, Control, Settings
from alexnet_ir.training.run import EpochMetrics, read_metrics, weights_path
from alexnet_ir.training.weights import read_weights

from .models import TINY

STEPS = 4
"""Of an epoch, here."""
TEXT = TINY.replace("conv1: conv", "stage: (conv1: conv").replace("-> maxpool(2)", "-> maxpool(2))")


@cache
def plain() -> Model:
    return read_model(TEXT)


def model(**changes: Any) -> Model:
    """The tiny net with another recipe."""
    return replace(plain(), train=replace(recipe_of(plain()), **changes))


def after(step: int, eval_error: float = 0.5, train_error: float = 0.5) -> EpochMetrics:
    known = {"step": step, "error": train_error, "eval_top1": eval_error}
    return EpochMetrics(**{field.name: 0 for field in fields(EpochMetrics)} | known)


# --- against a second implementation ------------------------------------------------------------------------------

moments = st.builds(spec.Epochs, st.sampled_from([0.5, 1, 2, 3, 5.25])) | st.builds(spec.Steps, st.integers(1, 30))
factors = st.sampled_from([0.1, 0.5, 2.0])
schedules = st.one_of(
    st.just(spec.Constant()),
    st.builds(spec.Drops, st.lists(moments, max_size=4), factors),
    st.builds(spec.Plateau, factors, st.integers(1, 3), max_drops=st.integers(1, 3)),
    st.builds(spec.Exponential, factors, moments),
    st.builds(spec.Polynomial, factors),
    st.just(spec.Cosine()),
)
targets = st.sampled_from(["stage", "fc1"])
words = st.sampled_from(["lr_mult", "decay_mult", "bias_lr_mult", "bias_decay_mult"])
numbers = st.sampled_from([0.0, 0.1, 3.0])
happenings = st.one_of(
    st.builds(
        lambda t, v: spec.SetEvent(spec.Reference(t), tuple(v.items())),
        targets,
        st.dictionaries(words, numbers, min_size=1),
    ),
    st.builds(lambda t: spec.Freeze(spec.Reference(t)), targets),
    st.builds(lambda x: spec.SetEvent(spec.Reference("scale"), (("factor", x),)), numbers),
)
events = st.lists(st.builds(spec.At, moments, happenings), max_size=4).map(tuple)
errors = st.lists(st.tuples(*[st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5])] * 2), min_size=10, max_size=10)
stops = st.lists(
    moments | st.builds(spec.ErrorBelow, st.sampled_from([0.15, 0.25]), st.sampled_from(["train", "eval"])), max_size=2
).flatmap(lambda some: st.permutations([*some, spec.Epochs(8)]))


class Told:
    """A run as a story: step by step, what happens when it happens."""

    def __init__(self, recipe: spec.TrainSpec) -> None:
        self.recipe, self.lr, self.step = recipe, recipe.optimizer.lr, 0
        self.factors: dict[str, float] = {}
        self.transforms: dict[str, dict[str, float]] = {}
        self.frozen: set[str] = set()
        self.best, self.waited, self.drops = math.inf, 0, 0
        self.over = False
        self.length = min(self.steps(stop) for stop in recipe.stop if not isinstance(stop, spec.ErrorBelow))

    @staticmethod
    def steps(moment: spec.Moment) -> int:
        return moment.count if isinstance(moment, spec.Steps) else round(STEPS * moment.count)

    def before_a_step(self) -> Settings:
        schedule = self.recipe.schedule
        if isinstance(schedule, spec.Drops):
            for moment in schedule.at:
                self.lr *= schedule.factor if self.steps(moment) == self.step else 1
        for at in self.recipe.events:
            if self.steps(at.moment) == self.step:
                self.happen(at.event)
        lr, share = self.lr, self.step / self.length
        match schedule:
            case spec.Exponential(factor=factor, every=every):
                lr *= math.exp(math.log(factor) * self.step / self.steps(every))
            case spec.Polynomial(power=power):
                lr *= (1 - share) ** power
            case spec.Cosine():
                lr *= math.cos(math.pi * share / 2) ** 2
        return Settings(lr, dict(self.factors), self.transforms, tuple(sorted(self.frozen)))

    def happen(self, event: spec.SetEvent | spec.Freeze) -> None:
        inside = {"stage": ["stage/conv1", "stage/batchnorm1"], "fc1": ["fc1"]}
        if event.target.id == "scale":
            assert isinstance(event, spec.SetEvent)
            self.transforms["scale"] = dict(event.values)
            return
        for layer in inside[event.target.id]:
            if isinstance(event, spec.Freeze):
                for what in ("weight", "bias"):
                    self.frozen.add(f"{layer}.{what}")
                    self.factors[f"{layer}.{what}.lr_mult"] = 0
                continue
            for word, value in event.values:
                what = "bias" if word.startswith("bias") else "weight"
                if not (f"{layer}.{what}" in self.frozen and word.endswith("lr_mult")):
                    self.factors[f"{layer}.{what}.{word.removeprefix('bias_')}"] = value

    def after_a_step(self, train_error: float, eval_error: float) -> None:
        self.step += 1
        if self.step % STEPS == 0 or self.step == self.length:
            self.judge(train_error, eval_error)
        self.over |= self.step >= self.length

    def judge(self, train_error: float, eval_error: float) -> None:
        for stop in self.recipe.stop:
            if isinstance(stop, spec.ErrorBelow):
                self.over |= (train_error if stop.on == "train" else eval_error) < stop.error
        if isinstance(self.recipe.schedule, spec.Plateau):
            self.waited = 0 if eval_error < self.best else self.waited + 1
            self.best = min(self.best, eval_error)
            if self.waited == self.recipe.schedule.patience:
                if self.drops == self.recipe.schedule.max_drops:
                    self.over = True
                self.drops, self.waited = self.drops + 1, 0
                self.lr *= self.recipe.schedule.factor


def follow(control: Control, found: list[tuple[float, float]], first: int = 0) -> list[tuple[Settings, list[Change]]]:
    """What a run under these errors of epochs is told at each step, from `first` on."""
    told, step = [], first
    while control.done(step) is None:
        told.append((control.at(step), control.changes(step)))
        step += 1
        if step % STEPS == 0 or step == control.total:
            train_error, eval_error = found[(step - 1) // STEPS]
            control.end_of_epoch(after(step, eval_error, train_error))
    return told


@given(schedules, events, stops, errors)
def test_a_run_as_a_story(schedule: Any, events: Any, stops: Any, errors: list[tuple[float, float]]) -> None:
    recipe = model(schedule=schedule, events=events, stop=tuple(stops))
    told, story = follow(Control(recipe, STEPS), errors), Told(recipe_of(recipe))
    for now, changes in told:
        before = story.lr
        assert not story.over
        expected = story.before_a_step()
        assert now.lr == pytest.approx(expected.lr, rel=1e-9, abs=1e-12)
        assert (dict(now.factors), now.transforms) == (expected.factors, expected.transforms)
        assert tuple(sorted(now.frozen)) == expected.frozen
        happens = [at for at in events if Told.steps(at.moment) == story.step]
        assert sum(change.kind == "event" for change in changes) == len(happens)
        if isinstance(schedule, spec.Drops):
            assert any(change.kind == "rate" for change in changes) == (story.lr != before)
        story.after_a_step(*errors[story.step // STEPS])
    assert story.over


@given(schedules, events, stops, errors, st.integers(0, 32))
def test_restored_anywhere_the_future_is_the_same(
    schedule: Any, events: Any, stops: Any, errors: list[tuple[float, float]], cut: int
) -> None:
    recipe = model(schedule=schedule, events=events, stop=tuple(stops))
    whole = follow(Control(recipe, STEPS), errors)
    cut = min(cut, len(whole))
    half, again = Control(recipe, STEPS), Control(recipe, STEPS)
    for step in range(1, cut + 1):
        if step % STEPS == 0 or step == half.total:
            train_error, eval_error = errors[(step - 1) // STEPS]
            half.end_of_epoch(after(step, eval_error, train_error))
    again.restore(json.loads(json.dumps(half.state())))
    assert again.state() == half.state()
    assert follow(again, errors, cut) == whole[cut:]


# --- what is said -------------------------------------------------------------------------------------------------


def texts(control: Control, step: int) -> list[tuple[str, str]]:
    return [(change.kind, change.text) for change in control.changes(step)]


def test_drops_and_events_are_said_with_their_reason() -> None:
    slow = spec.SetEvent(spec.Reference("fc1"), (("lr_mult", 0.1), ("bias_lr_mult", 2)))
    control = Control(
        model(
            schedule=spec.Drops([spec.Steps(12), spec.Epochs(2)]),
            events=(spec.At(spec.Epochs(3), slow), spec.At(spec.Steps(5), spec.Freeze(spec.Reference("stage")))),
        ),
        STEPS,
        freeze=["fc1"],
    )
    assert texts(control, 0) == [("event", "freeze(fc1) at the start")]
    assert texts(control, 5) == [("event", "freeze(stage) at step 5")]
    assert texts(control, 8) == [("rate", "drop 1 of 2 at epoch 2")]
    assert texts(control, 12) == [
        ("rate", "drop 2 of 2 at step 12"), ("event", "set(fc1, lr_mult = 0.1, bias_lr_mult = 2) at epoch 3"),
    ]  # fmt: skip
    assert texts(control, 9) == []


def test_a_plateau_says_why_and_ends_the_run_after_its_last_drop() -> None:
    control = Control(model(schedule=spec.Plateau(0.1, 2, max_drops=1), stop=(spec.Epochs(50),)), STEPS)
    for epoch, error in enumerate([0.5, 0.4, 0.4, 0.41], 1):
        assert control.done(epoch * STEPS) is None
        control.end_of_epoch(after(epoch * STEPS, error))
    reason = "the validation error has not improved for 2 epochs"
    assert texts(control, 16) == [("rate", f"drop 1 of 1, plateau: {reason}")]
    assert control.at(15).lr == pytest.approx(10 * control.at(16).lr)
    control.end_of_epoch(after(20, 0.45))
    assert control.done(20) is None
    control.end_of_epoch(after(24, 0.4))  # as low as the best is not lower
    assert control.done(24) == f"{reason}, after 1 drop of the rate"


@pytest.mark.parametrize(
    ("stop", "said"),
    [
        ((spec.Epochs(1.5),), "epochs(1.5) is reached"),
        ((spec.Epochs(9), spec.Steps(6)), "steps(6) is reached"),
        ((spec.ErrorBelow(0.25),), "the training error of 20.00% is below 25.00%"),
        ((spec.Epochs(9), spec.ErrorBelow(0.35, "eval")), "the validation error of 30.00% is below 35.00%"),
    ],
)
def test_ends_are_said(stop: tuple[spec.Stop, ...], said: str) -> None:
    control = Control(model(stop=stop), STEPS)
    assert control.done(0) is control.done(5) is None
    control.end_of_epoch(after(6, eval_error=0.3, train_error=0.2))
    assert control.done(6) == said


def test_a_layer_to_freeze_that_is_not_there() -> None:
    with pytest.raises(AlexnetError, match=r"--freeze fc2: .*no layer of that name") as raised:
        Control(model(), STEPS, freeze=["fc2"])
    assert "did you mean `fc1`?" in str(raised.value)
    with pytest.raises(AlexnetError, match="with parameters"):
        Control(model(), STEPS, freeze=["dropout1"])


# --- what it does to weights --------------------------------------------------------------------------------------

RNG = np.random.default_rng(5)
BATCHES = [(RNG.normal(size=(16, 2, 6, 6)).astype(np.float32), RNG.integers(0, 3, 16)) for _ in range(8)]


def trained(steps: int, devices: str = "cpu", **settings: str) -> list[dict[str, Any]]:
    """A few updates under a recipe's control, and the states before each of them and after the last."""
    compiled = alexnet_ir.compile(TEXT, settings={f"train.{key}": value for key, value in settings.items()})
    step, control = compiled.trainer(devices=devices), Control(compiled.model, STEPS)
    states = []
    for images, labels in BATCHES[:steps]:
        control.steer(step)
        states.append(step.states())
        step(images, labels)
    return [*states, step.states()]


@pytest.mark.parametrize("devices", ["cpu", "cpu,cpu"])
@pytest.mark.parametrize("optimizer", ["sgd(lr = 0.05, momentum = 0.9, weight_decay = 0.1)", "adam(lr = 0.01)"])
def test_what_is_frozen_stays_to_the_bit_though_it_had_momentum(optimizer: str, devices: str) -> None:
    states = trained(6, devices, optimizer=optimizer, events="[at(steps(3), freeze(stage))]")
    moved = {name for name in states[0] if not np.array_equal(states[3][name], states[6][name])}
    parameters = {name for name in states[0] if name.startswith("stage/") and name.endswith((".weight", ".bias"))}
    assert len(parameters) == 4
    assert not parameters & moved
    assert {"fc1.weight", "stage/batchnorm1.running_mean"} <= moved
    assert all(not np.array_equal(states[2][name], states[3][name]) for name in parameters)


def test_a_run_taken_up_with_a_layer_frozen_that_was_not() -> None:
    compiled = alexnet_ir.compile(TEXT)
    step, control = compiled.trainer(devices="cpu"), Control(compiled.model, STEPS)
    for images, labels in BATCHES[:3]:
        control.steer(step)
        step(images, labels)
    frozen = Control(alexnet_ir.compile(TEXT, settings={"train.events": "[at(steps(1), freeze(fc1))]"}).model, STEPS)
    frozen.restore(control.state())
    before = step.weights["fc1.weight"]
    frozen.steer(step)
    step(*BATCHES[3])
    assert np.array_equal(step.weights["fc1.weight"], before)


def test_a_factor_changes_the_update_by_just_that() -> None:
    settings = {"optimizer": "sgd(lr = 0.0625)"}
    usual = trained(4, **settings)
    slowed = trained(4, **settings, events="[at(steps(3), set(fc1, lr_mult = 0.125))]")
    for name in ("fc1.weight", "fc1.bias", "stage/conv1.weight"):
        update = f"{name}.velocity"  # without momentum
        share = 0.125 if name == "fc1.weight" else 1
        assert np.array_equal(slowed[4][update], np.float32(share) * usual[4][update]), name
        assert usual[4][update].any()


# --- whole runs ---------------------------------------------------------------------------------------------------

RUN = TINY.replace("stop: epochs(2)", "stop: [error_below(0.01%), epochs(12)]").replace(
    "momentum = 0.9, weight_decay = 1e-4)",
    """momentum = 0.9)
  schedule: plateau(1/2, patience = 1, max_drops = 2)
  events: [at(epochs(1), set(scale, factor = 1/100)), at(steps(8), freeze(conv1))]""",
)


def train(folder: Path, *flags: str) -> list[dict[str, Any]]:
    """A run by the command line, and its metrics."""
    (folder / "model.alx").write_text(RUN)
    run = [] if "--resume" in flags else [str(folder / "model.alx"), "--run-dir", str(folder / "run")]
    assert main(["train", *run, "--devices", "cpu", "--no-pictures", *flags]) == 0
    return read_metrics(folder / "run")


def told(metrics: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What was decided, and what it was decided by."""
    return [
        tuple(map(line.get, ("kind", "step", "lr", "eval_top1", "event")))
        for line in metrics
        if line["kind"] in ("rate", "event", "epoch")
    ]


def weights(folder: Path) -> dict[str, Any]:
    return dict(read_weights(weights_path(folder / "run")).tensors)


def test_a_plateau_drops_the_rate_by_the_errors_of_the_run_and_ends_it(tmp_path: Path) -> None:
    metrics = train(tmp_path)
    best, drops, flat = math.inf, [], False
    for epoch in (line for line in metrics if line["kind"] == "epoch"):
        assert not flat, "the run went on after its end"
        assert epoch["lr"] == pytest.approx(0.05 / 2 ** len(drops))
        if epoch["eval_top1"] >= best:
            flat = len(drops) == 2
            drops += [] if flat else [epoch["step"]]
        best = min(best, epoch["eval_top1"])
    assert flat, "the errors fell for 12 epochs: another seed would test more"
    rates = [(line["step"], line["lr"]) for line in metrics if line["kind"] == "rate"]
    assert rates == [(step, pytest.approx(0.05 / 2**number)) for number, step in enumerate(drops, 1)]
    assert [(line["step"], line["event"]) for line in metrics if line["kind"] == "event"] == [
        (6, "set(scale, factor = 0.01) at epoch 1"), (8, "freeze(conv1) at step 8"),
    ]  # fmt: skip


def test_a_run_taken_up_drops_and_ends_as_one_in_one_go(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    train(parts, "--epochs", "3")
    stop = "train.stop=[error_below(0.01%), epochs(12)]"
    found = told(train(parts, "--resume", str(parts / "run"), "--set", stop))
    assert found == told(train(whole))
    ours, theirs = weights(parts), weights(whole)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
