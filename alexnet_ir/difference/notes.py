"""Why a difference matters, in a line, where it is not plain from the values."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alexnet_ir.difference.meaning import Meaning
from alexnet_ir.difference.words import Words
from alexnet_ir.dsl import spec
from alexnet_ir.ir.initial import Constant

_PLAIN = {
    ("dropout", "scale"): '"test" multiplies by 1 - p in evaluation (the paper), "train" divides by 1 - p in training',
    ("avgpool", "count_pad"): "whether zeros of the padding count in the mean",
    ("lrn", "beta"): "0.75 is the paper's",
}
"""By op and argument."""
_ROUND = {
    "up": '"up" counts a last window that hangs over the edge',
    "down": '"down" leaves out what no whole window is left for',
}


def on_value(old: Meaning, new: Meaning, name: str) -> str:
    """What it means that a layer's value differs."""
    values = old.values[name], new.values[name]
    match new.op, name:
        case "lrn" | "local_norm", "alpha":
            return _alpha(new, *values)
        case "lrn" | "local_norm", "k" if set(values) == {1, 2}:
            return "2 is the paper's, 1 the default of Caffe and PyTorch"
        case "lrn", "groups":
            return _scope(*values)
        case "conv" | "local", "groups":
            return f"a kernel reads {_share(values[0])} of the maps before it, against {_share(values[1])}"
        case "input", "size" if {size[-1] for size in values} == {224, 227}:
            return "the paper says 224; Caffe reads 227, which comes out whole without padding"
        case "maxpool" | "avgpool" | "l2pool", "size" | "stride":
            return _overlap(old, new)
        case _, "round":
            return "; ".join(_ROUND[value] for value in values if value in _ROUND)
        case _, "initial biases" if set(values) == {Constant(0), Constant(1)}:
            return "1 gives the relus behind it something to pass on from the start (section 5 of the paper)"
        case _, "lr_mult" | "bias_lr_mult" if 0 in values:
            return "0: never updated"
    return _PLAIN.get((new.op, name), "")


def _alpha(layer: Meaning, old: float, new: float) -> str:
    """Whether one is the other divided by the size of the window."""
    lrn = layer.op == "lrn"
    count = layer.values["n"] if lrn else layer.values["size"] ** 2
    small, large = sorted((old, new))
    if count == 1 or not math.isclose(small * count, large, rel_tol=1e-6):
        return ""
    division = f"{Words().of(small)} is {Words().of(large)} / {count}: "
    who = "the 2012 code divides alpha by n, as do Caffe and PyTorch" if lrn else "alpha divided by the window's cells"
    return division + who + ("; the paper's formula does not" if lrn else "")


def _scope(old: int, new: int) -> str:
    def words(groups: int) -> str:
        return "runs across all maps" if groups == 1 else f"stays inside each {_part(groups)} of the maps"

    return f"the sum {words(old)}; the sum {words(new)}"


def _part(groups: int) -> str:
    return "half" if groups == 2 else f"1/{groups}"


def _share(groups: int) -> str:
    return "all" if groups == 1 else f"{'a ' if groups == 2 else ''}{_part(groups)}"


def _overlap(old: Meaning, new: Meaning) -> str:
    def overlaps(layer: Meaning) -> bool:
        sides = (value if isinstance(value, tuple) else (value, value) for value in map(layer.values.get, _WINDOW))
        return any(size > stride for size, stride in zip(*sides, strict=True))

    if overlaps(old) == overlaps(new):
        return ""
    return f"windows that {'overlap' if overlaps(old) else 'stand apart'}, against windows that " + (
        "overlap" if overlaps(new) else "do not"
    )


_WINDOW = ("size", "stride")


def on_order(old: Sequence[str], new: Sequence[str]) -> str:
    """What it means that ops stand in another order."""
    if _settled(old) == _settled(new):
        return "the same values: relu keeps the order of numbers, so the largest stays the largest"
    found = [text for pair, text in _ORDERS.items() if _before(*pair, old) != _before(*pair, new)]
    return found[0] if found else ""


_ORDERS = {
    ("lrn", "relu"): "before relu, negative values count in LRN's sums; after it, they are zeros",
    ("lrn", "maxpool"): "before the pool, LRN normalises every cell; after it, those that the pool keeps",
    ("batchnorm", "relu"): "before relu, the mean and variance are those of all values; after it, of what relu lets by",
    ("dropout", "maxpool"): "before the pool, a window falls back on the largest value that was not dropped",
}


def _before(first: str, second: str, ops: Sequence[str]) -> bool | None:
    return ops.index(first) < ops.index(second) if first in ops and second in ops else None


def _settled(ops: Sequence[str]) -> list[str]:
    """The order with every relu in front of the max pools it follows, which is the same function."""
    found: list[str] = []
    for op in ops:
        place = len(found)
        while op == "relu" and place and found[place - 1] == "maxpool":
            place -= 1
        found.insert(place, op)
    return found


def on_field(name: str, old: object, new: object) -> str:
    """What it means that a field of a section differs."""
    kinds = {type(old), type(new)}
    if kinds == {spec.Drops, spec.Plateau}:
        return "drops come at fixed moments; a plateau waits until the validation error stops improving"
    if name == "seed":
        return "other initial values, another order of the images, other masks"
    if name == "optimizer" and kinds == {spec.Sgd, spec.Adam}:
        return "adam divides each step by the root mean square of that number's gradients"
    return ""


def on_factor(name: str) -> str:
    """What the optimizer's factors do, where every layer follows them."""
    which = "biases" if name.startswith("bias_") else "weights"
    rate = "learning rate" if name.endswith("lr_mult") else "weight decay"
    return f"what the {rate} of every layer's {which} is multiplied by"


def on_transforms(old: Sequence[str], new: Sequence[str]) -> str:
    """What it means that transforms come in another order."""
    if _before("random_crop", "subtract_mean", old) != _before("random_crop", "subtract_mean", new):
        return "after a random crop, the centre of the mean is subtracted; before it, each pixel's own mean"
    return ""
