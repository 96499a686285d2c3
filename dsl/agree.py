"""Whether the parts of a file fit each other: recipe and net, data and net, placement and net."""

from __future__ import annotations

from collections.abc import Mapping

from alexnet_ir.diagnostics import Diagnostic, Diagnostics, counted, nearest
from alexnet_ir.dsl import spec
from alexnet_ir.dsl.layers import LAYERS, WithParameters
from alexnet_ir.dsl.lower import Lowering
from alexnet_ir.dsl.scope import Layer, within
from alexnet_ir.dsl.sections import SectionReader
from alexnet_ir.dsl.signature import describe
from alexnet_ir.ir.attributes import NON_NEGATIVE, Kind, kinds_of
from alexnet_ir.ir.types import TensorType, sample_text, shape_text

PARAMETRIC = ("conv", "local", "fc")


def image_shape(lowering: Lowering) -> tuple[int, ...] | None:
    """(channels, rows, columns) of the net's input."""
    inputs = [layer for layer in lowering.layers if layer.op == "input"]
    return lowering.graph.tensor(lowering.graph.named(inputs[0].value)).shape[1:] if inputs else None


def check_recipe(recipe: spec.TrainSpec, data: spec.DataSpec | None, lowering: Lowering, reader: SectionReader) -> None:
    """Report where a `train` section asks for what its net or data do not have; without data, it is the caller's."""
    report = reader.report
    scores = [lowering.graph.type(value) for value in lowering.graph.outputs.values()]
    for type_ in scores:
        if isinstance(type_, TensorType) and len(type_.shape) != 2:
            report.error(
                "R003",
                f"`{recipe.net.id}` returns a map of {sample_text(type_)}, and a loss wants a score for each class",
                recipe.net.span or recipe.span,
                helps=["end the net in `-> flatten -> fc(classes)` or `-> global_avgpool`"],
            )  # fmt: skip
    weights = recipe.loss.weights
    if weights is not None and len(weights) != len(scores):
        report.error(
            "R004", f"{counted(len(weights), 'weight')} for {counted(len(scores), 'result')} of `{recipe.net.id}`",
            reader.spans.get(("train", recipe.name, "loss"), recipe.span),
            helps=["give one weight for each value it returns"],
        )  # fmt: skip
    classes = [type_.shape[1] for type_ in scores if isinstance(type_, TensorType) and len(type_.shape) == 2]
    if len(set(classes)) > 1:
        report.error(
            "R005",
            f"`{recipe.net.id}` scores {' and '.join(map(str, classes))} classes, and one set of labels is for all",
            recipe.net.span or recipe.span,
            helps=["end each of its results in as many units"],
        )
    elif classes and data is not None:
        _check_classes(classes[0], recipe, data, reader)
    if data is not None:
        _check_images(data, lowering, recipe, reader)
    _check_length(recipe, reader)
    for event in recipe.events:
        _check_event(event.event, data, lowering, reader)


def _check_classes(classes: int, recipe: spec.TrainSpec, data: spec.DataSpec, reader: SectionReader) -> None:
    has = data.source.classes if isinstance(data.source, spec.Synthetic) else data.source.class_count
    if has is not None and has != classes:
        where = reader.spans.get(("data", data.name, "source"), data.span)
        reader.report.add(wrong_classes(classes, has, recipe, data, f"the data is named at {where}"))


def wrong_classes(classes: int, has: int, recipe: spec.TrainSpec, data: spec.DataSpec, where: str) -> Diagnostic:
    """The net scores so many classes and the data has others; also where only reading tells."""
    return Diagnostic(
        "R005", f"`{recipe.net.id}` scores {classes} classes, `{data.source.name}` has {has}",
        recipe.net.span or recipe.span, f"{classes} classes", (where,),
        (f"give the net's last layer {has} units; with a parameter: `net: {recipe.net.id}(classes = {has})`",),
    )  # fmt: skip


def _check_images(data: spec.DataSpec, lowering: Lowering, recipe: spec.TrainSpec, reader: SectionReader) -> None:
    wants = image_shape(lowering)
    for which, transforms in (("train", data.train), ("eval", data.eval)):
        _check_order(which, transforms, reader)
        shape = _shape_after(data, transforms, reader)
        if shape is None or wants is None or all(a in (None, b) for a, b in zip(shape, wants, strict=True)):
            continue
        sizes = ["?" if n is None else str(n) for n in shape]
        given = " x ".join(sizes)
        reader.report.error(
            "R006", f"`{recipe.net.id}` reads images of {shape_text(wants)}, the data gives {given}",
            reader.spans.get(("data", data.name, which)) or reader.spans.get(("data", data.name, "source")),
            label=f"these give {given}",
            helps=[f"say `input({', '.join(sizes)})` in the net, or crop to its size"],
        )  # fmt: skip


def _check_order(which: str, transforms: tuple[spec.Transform, ...], reader: SectionReader) -> None:
    """Ten crops are averaged, which only evaluation does; `resize` is a part of reading."""
    cropped = False
    for transform in transforms:
        if isinstance(transform, spec.TenCrop) and which == "train":
            reader.report.error(
                "R011", f"`train` takes one crop of an image, and `ten_crop({transform.size})` gives ten",
                reader.span_of(transform), helps=[f"say `random_crop({transform.size})`"],
            )  # fmt: skip
        if isinstance(transform, spec.Resize) and cropped:
            reader.report.error(
                "R011", "whole images are resized, and this one is cropped already",
                reader.span_of(transform), helps=["put `resize` before the crops"],
            )  # fmt: skip
        cropped |= isinstance(transform, spec.RandomCrop | spec.CenterCrop | spec.TenCrop)


def _shape_after(
    data: spec.DataSpec, transforms: tuple[spec.Transform, ...], reader: SectionReader
) -> tuple[int | None, int | None, int | None] | None:
    """What the transforms make of a stored image; None in the place of what only the data knows."""
    channels, rows, columns = data.source.stored or (None, None, None)
    for transform in transforms:
        if isinstance(transform, spec.Resize):
            rows = columns = None
        if isinstance(transform, spec.RandomCrop | spec.CenterCrop | spec.TenCrop):
            least = min(n for n in (rows, columns, transform.size) if n is not None)
            if least < transform.size:
                reader.report.error(
                    "R007", f"a crop of {transform.size} is larger than the image of {rows} x {columns}",
                    reader.span_of(transform), helps=[f"crop to at most {least}"],
                )  # fmt: skip
                return None
            rows = columns = transform.size
    return channels, rows, columns


def _check_length(recipe: spec.TrainSpec, reader: SectionReader) -> None:
    """A schedule over the whole run wants to know how long that is."""
    schedule = recipe.schedule
    if isinstance(schedule, spec.Polynomial | spec.Cosine) and all(isinstance(s, spec.ErrorBelow) for s in recipe.stop):
        reader.report.error(
            "R009", f"`{schedule.name}(...)` goes from the first step to the last, and `stop` does not say how many",
            reader.spans.get(("train", recipe.name, "stop"), recipe.span), label="this ends it at some time",
            helps=["say when it ends at the latest: `stop: [error_below(25%), epochs(60)]`"],
        )  # fmt: skip


def _check_event(
    event: spec.SetEvent | spec.Freeze, data: spec.DataSpec | None, lowering: Lowering, reader: SectionReader
) -> None:
    target, report = event.target, reader.report
    transforms = {t.name: type(t) for t in (data.train if data and isinstance(event, spec.SetEvent) else ())}
    if isinstance(event, spec.SetEvent) and target.id in transforms:
        # The size of an image must stay what the net reads.
        sized = kinds_of(transforms[target.id])
        _check_values(event, {name: kind for name, kind in sized.items() if name != "size"}, reader)
        return
    layers = [layer for layer in lowering.layers if within(layer.path, target.id)]
    if not layers:
        scopes = [layer.path.partition("/")[0] for layer in lowering.layers]
        _unknown_layer(target, (*(layer.path for layer in lowering.layers), *scopes, *transforms), report)
        return
    weighted = [layer.path for layer in layers if _has_parameters(layer)]
    if not weighted:
        report.error(
            "R010", f"`{target.id}` has no parameters to {event.name}", target.span,
            helps=["name a layer with weights, or a scope that has one"],
        )  # fmt: skip
    elif isinstance(event, spec.SetEvent):
        _check_values(event, dict.fromkeys(kinds_of(WithParameters), NON_NEGATIVE), reader)
        biases = any(name.startswith("bias_") for name, _ in event.values)
        if biases and not any(f"{path}.bias" in lowering.graph.states for path in weighted):
            report.error("R010", f"`{target.id}` has no biases to set", target.span, helps=["leave these factors out"])


def _has_parameters(layer: Layer) -> bool:
    return layer.op in LAYERS and issubclass(LAYERS[layer.op].attributes, WithParameters)


def _check_values(event: spec.SetEvent, kinds: Mapping[str, Kind], reader: SectionReader) -> None:
    """What is set must be one of these, and suit it."""
    target = event.target
    for name, value in event.values:
        if name not in kinds:
            close = nearest(name, kinds)
            has = [f"it has {', '.join(kinds)}"] if kinds else ["nothing of it changes during a run"]
            helps = [f"did you mean `{close}`?"] if close else has
            reader.report.error("N002", f"`{target.id}` has no `{name}` to set", target.span, helps=helps)
            continue
        try:
            kinds[name].convert(value)
        except (ValueError, TypeError):
            message = f"`{name}` of `{target.id}`: expected {kinds[name].expects}"
            reader.report.error("T004", message, reader.span_of(event), label=f"found {describe(value)}")


def _unknown_layer(target: spec.Reference, known: tuple[str, ...], report: Diagnostics) -> None:
    close = nearest(target.id, known)
    helps = [f"did you mean `{close}`?"] if close else ["`alexnet-ir summary` lists the layers"]
    report.error("N009", f"unknown layer `{target.id}`", target.span, helps=helps)


def check_place(place: spec.PlaceSpec, lowering: Lowering, reader: SectionReader) -> None:
    """Report splits that cannot be made."""
    layers = {layer.path: number for number, layer in enumerate(lowering.layers)}
    for split in place.splits:
        ends = [split.first, split.last] if isinstance(split, spec.BatchSplit | spec.ChannelSplit) else [split.layer]
        if any(end.id not in layers for end in ends):
            for end in ends:
                if end.id not in layers:
                    _unknown_layer(end, tuple(layers), reader.report)
            continue
        first, last = layers[ends[0].id], layers[ends[-1].id]
        if first > last:
            reader.report.error(
                "D001",
                f"`{ends[0].id}` comes after `{ends[-1].id}`",
                ends[0].span,
                helps=["give the earlier layer as `from`"],
            )
        for layer in lowering.layers[first : last + 1]:
            _check_split(split, layer, place, lowering, reader)


def _check_split(
    split: spec.Split, layer: Layer, place: spec.PlaceSpec, lowering: Lowering, reader: SectionReader
) -> None:
    span = reader.span_of(split)
    if isinstance(split, spec.OnDevice):
        if split.device >= place.devices:
            last = place.devices - 1
            reader.report.error("D002", f"there is no device {split.device}: they are 0 to {last}", span)
        return
    if layer.op not in PARAMETRIC:
        if isinstance(split, spec.InputSplit | spec.OutputSplit):
            reader.report.error(
                "D004", f"`{layer.path}` has no weights to cut: it is a `{layer.op}`", split.layer.span,
                helps=["name the conv, local or fc before it: what follows goes with it"],
            )  # fmt: skip
        return
    graph = lowering.graph
    node = graph.node(graph.named(layer.path))
    read, made = graph.tensor(node.operands[0]), graph.tensor(node.results[0])
    refused = _uneven(split, layer, made.shape, read.shape, getattr(node.op, "groups", 1), place.devices)
    if refused is not None:
        reason, label, mend = refused
        whole = 2 * (read.nbytes + made.nbytes) * (place.devices - 1) // place.devices
        reader.report.error(
            "D003", f"{layer.path}: {reason}", span, label=label,
            notes=[f"whole on one device, it would move {whole:,} bytes a step (what it reads and makes, both ways)"],
            helps=[f"{mend}, or leave `{layer.path}` out of the split"],
        )  # fmt: skip


def _uneven(
    split: spec.Split, layer: Layer, made: tuple[int, ...], read: tuple[int, ...], groups: int, devices: int
) -> tuple[str, str, str] | None:
    """Why a layer cannot be shared out so, the sum that shows it, and what would do."""
    what, count = {
        "batch": ("images of a batch", made[0]),
        "inputs": ("inputs", read[1]),
    }.get(split.name, ("units" if layer.op == "fc" else "kernels", made[1]))
    even = f"cannot be shared out evenly over {devices} devices"
    if count % devices:
        return f"{count} {what} {even}", f"{count} / {devices} = {count / devices:g}", f"use a multiple of {devices}"
    if groups > 1 and split.name == "inputs":
        return f"its {groups} groups read different inputs already", f"groups = {groups}", "cut its outputs"
    if groups > 1 and split.name != "batch" and groups % devices:
        return f"its {groups} groups {even}", f"{groups} / {devices} = {groups / devices:g}", "cut it over the batch"
    return None
