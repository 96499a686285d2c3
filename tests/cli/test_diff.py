"""`alexnet-ir diff`: what is a difference in meaning, and what only reads differently."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alexnet_ir.diagnostics import AlexnetError, Source
from alexnet_ir.difference.compare import Comparison, compare
from alexnet_ir.difference.nets import Difference
from alexnet_ir.dsl.formatter import format_source
from alexnet_ir.dsl.model import load

from ..strategies import Grown, nets
from .conftest import EXAMPLES, Run

HERE = Path(__file__).parent
GROWING = settings(max_examples=25, deadline=None)

BASE = """alx 1

net Base(classes = 10) {
  defaults { conv: (weight = normal(0.01)) }
  image = input(4, 16, 16)
  return image
    -> conv1: conv(8, 3, pad = 1) -> relu
    -> lrn(n = 5, k = 2, alpha = 1e-4, beta = 0.75, groups = 2)
    -> pool1: maxpool(2)
    -> conv2: conv(16, 3, pad = 1, groups = 2) -> relu
    -> pool2: avgpool(2)
    -> flatten
    -> fc3: fc(32, bias = 1) -> relu -> dropout(0.5)
    -> fc4: fc(classes)
}

data images {
  source: folder("images")
  train: [subtract_mean(), random_crop(16), random_flip()]
  eval: [subtract_mean(), center_crop(16)]
}

train recipe {
  loss: softmax_cross_entropy()
  batch: 8
  stop: epochs(9)
  optimizer: sgd(lr = 0.1, momentum = 0.9)
  schedule: drops(at = [epochs(4)], factor = 0.1)
  events: [at(epochs(8), freeze(conv1))]
}

place two {
  devices: 2
  split: channels(from = conv1, to = fc3)
}
"""


def difference(old: str, new: str) -> Comparison:
    return compare(load(Source("a.alx", old)), load(Source("b.alx", new)))


def edited(old: str, new: str) -> str:
    assert BASE.count(old) == 1
    return BASE.replace(old, new)


def test_alexnet_as_it_was_released_and_as_the_paper_has_it(run: Run, golden: Callable[[Path, str], None]) -> None:
    done = run("diff", EXAMPLES / "alexnet-2012.alx", EXAMPLES / "alexnet.alx")
    assert (done.code, done.err) == (0, "")
    head, _, page = done.out.partition("\n")
    assert re.fullmatch(r"\S*alexnet-2012.alx  ->  \S*alexnet.alx", head)
    assert all(len(line) <= 120 for line in page.splitlines())
    golden(HERE / "diff.txt", page)


EDITS = [
    ("conv(8, 3", "conv(16, 3", ["conv1  kernels  8 -> 16", "conv1  output  8 x 16 x 16 -> 16 x 16 x 16"]),
    ("conv(16, 3, pad = 1", "conv(16, 5, pad = 2", ["conv2  size  3 -> 5", "pad  1 -> 2"]),
    ("conv(8, 3, pad = 1)", "conv(8, 3, stride = 2, pad = (1, 0))", ["stride  1 -> 2", "pad  1 -> (1, 0)"]),
    ("conv(8, 3, pad = 1)", "conv(8, 3, pad = (0, 2))", ["conv1  pad  1 -> (0, 2)"]),
    ("conv(8, 3, pad = 1)", "conv(8, 3, pad = ((1, 1), (0, 2)))", ["conv1  pad  1 -> ((1, 1), (0, 2))"]),
    ("conv(8, 3, pad = 1)", "conv(8, 3, pad = 2, dilation = 2)", ["dilation  1 -> 2"]),
    ("1, groups = 2)", "1)", ["conv2  groups  2 -> 1", "a kernel reads a half of the maps before it, against all"]),
    ("0.75, groups = 2", "0.75", ["lrn1  groups  2 -> 1", "the sum stays inside each half of the maps; the sum runs"]),
    ("alpha = 1e-4", "alpha = 2e-5", ["lrn1  alpha  1e-4 -> 2e-5", "2e-5 is 1e-4 / 5: the 2012 code divides alpha"]),
    ("alpha = 1e-4", "alpha = 3e-5", ["lrn1  alpha  1e-4 -> 3e-5"]),
    ("k = 2", "k = 1", ["lrn1  k  2 -> 1", "2 is the paper's, 1 the default of Caffe and PyTorch"]),
    ("n = 5", "n = 3", ["lrn1  n  5 -> 3"]),
    ("beta = 0.75", "beta = 0.5", ["lrn1  beta  0.75 -> 0.5"]),
    ("maxpool(2)", 'maxpool(3, stride = 2, round = "up")', ["pool1  size  2 -> 3", "windows that stand apart"]),
    ("avgpool(2)", "maxpool(2)", ["pool2  op  avgpool(2, stride = 2) -> maxpool(2, stride = 2)"]),
    ("avgpool(2)", "avgpool(4, stride = 2, pad = 1)", ["pool2  size  2 -> 4", "pad  0 -> 1"]),
    ("normal(0.01)", "normal(0.02)", ["conv1  initial weights  normal(0.01) -> normal(0.02)", "conv2  initial"]),
    ("normal(0.01)", "normal(0.0100000001)", ["normal(0.01) -> normal(0.0100000001)"]),
    ("normal(0.01)", "uniform(-1, 1/2)", ["normal(0.01) -> uniform(-1, 0.5)"]),
    ("fc(32, bias = 1)", "fc(32)", ["fc3  initial biases  1 -> 0", "1 gives the relus behind it something"]),
    ("fc(32, bias = 1)", "fc(32, bias = none)", ["fc3  initial biases  1 -> none", "fc3  parameters"]),
    ("fc(32, bias = 1)", "fc(64, bias = 1)", ["fc3  units  32 -> 64", "fc4  parameters  330 -> 650"]),
    ("fc(classes)", "fc(classes, lr_mult = 0, decay_mult = 2)", ["fc4  lr_mult  1 -> 0", "0: never updated"]),
    ("dropout(0.5)", "dropout(0.4)", ["dropout1  p  0.5 -> 0.4"]),
    ("dropout(0.5)", 'dropout(0.5, scale = "train")', ['dropout1  scale  "test" -> "train"', "(the paper)"]),
    ("dropout(0.5)", "dropout(0.5) -> tanh", ["tanh1  added  tanh, after dropout1"]),
    ("relu\n    -> pool2", "tanh\n    -> pool2", ["tanh1  op  relu -> tanh"]),
    (" -> dropout(0.5)", "", ["dropout1  removed  dropout(0.5), after relu3"]),
    ("classes = 10", "classes = 9", ["fc4  units  10 -> 9"]),
    (
        "relu\n    -> lrn(n = 5, k = 2, alpha = 1e-4, beta = 0.75, groups = 2)\n    -> pool1: maxpool(2)",
        "pool1: maxpool(2)\n    -> lrn(n = 5, k = 2, alpha = 1e-4, beta = 0.75, groups = 2) -> relu",
        ["conv1  followed by  relu, lrn, pool1 -> pool1, lrn, relu", "before relu, negative values count in LRN's"],
    ),
    (
        "relu\n    -> pool2: avgpool(2)", "pool2: avgpool(2) -> relu",
        ["conv2  followed by  relu, pool2 -> pool2, relu"],
    ),
    ('folder("images")', 'folder("others")', ['source  folder("images") -> folder("others")']),
    ("random_flip()]", "random_flip(), pca_light(0.1)]", ["train  added  pca_light(0.1)"]),
    (", random_flip()", "", ["train  removed  random_flip()"]),
    (
        "[subtract_mean(), random", '[subtract_mean("channel"), random',
        ['train  subtract_mean  subtract_mean("pixel") -> subtract_mean("channel")'],
    ),
    (
        "[subtract_mean(), random_crop(16)", "[random_crop(16), subtract_mean()",
        ["train  order  subtract_mean, random_crop, random_flip", "after a random crop, the centre of the mean"],
    ),
    ("eval:", "holdout: 20%  eval:", ["holdout  none -> 0.2"]),
    ("softmax_cross_entropy", "hinge", ["loss  softmax_cross_entropy() -> hinge()"]),
    ("batch: 8", "batch: 16", ["batch  8 -> 16"]),
    ("stop: epochs(9)", "stop: error_below(25%)", ['stop  epochs(9) -> error_below(error = 0.25, on = "train")']),
    ("stop: epochs(9)", "stop: [error_below(25%), epochs(9)]", ["stop  added  error_below(error = 0.25, on = "]),
    ("momentum = 0.9", "momentum = 0.5", ["optimizer  momentum  0.9 -> 0.5"]),
    ("sgd(lr = 0.1, momentum = 0.9)", "adam(lr = 0.1)", ["optimizer  sgd(", "-> adam(lr = 0.1, beta1 = 0.9"]),
    ("momentum = 0.9", "momentum = 0.9, bias_lr_mult = 2", ["optimizer  bias_lr_mult  1 -> 2", "every layer's biases"]),
    ("factor = 0.1", "factor = 0.5", ["schedule  factor  0.1 -> 0.5"]),
    ("at = [epochs(4)]", "at = [epochs(4), steps(5)]", ["schedule  at  [epochs(4)] -> [epochs(4), steps(5)]"]),
    ("drops(at = [epochs(4)], factor = 0.1)", "plateau(0.1, max_drops = 3)", ["drops come at fixed moments"]),
    ("freeze(conv1)", "freeze(conv2)", ["removed  at(epochs(8), freeze(conv1))", "added  at(epochs(8), freeze("]),
    ("stop:", "seed: 7  stop:", ["seed  0 -> 7", "other initial values, another order of the images"]),
    ("devices: 2", "devices: 1", ["devices  2 -> 1"]),
    ("to = fc3", "to = conv2", ["split  removed  channels(from = conv1, to = fc3)"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "parts"), EDITS, ids=[f"{old} / {new}"[:60] for old, new, _ in EDITS])
def test_each_kind_of_difference(run: Run, tmp_path: Path, old: str, new: str, parts: list[str]) -> None:
    a, b = tmp_path / "a.alx", tmp_path / "b.alx"
    a.write_text(BASE)
    b.write_text(edited(old, new))
    done = run("diff", a, b)
    assert (done.code, done.err) == (0, "")
    flat = re.sub(r"\s+", " ", re.sub(r"[ab]\.alx:\d+", "", done.out))
    for part in parts:
        assert re.sub(r"\s+", " ", part) in flat
    assert "in meaning" in done.out
    assert difference(BASE, b.read_text()).differences


def test_only_what_was_changed_is_a_difference() -> None:
    (found,) = difference(BASE, edited("conv(8, 3, pad = 1)", "conv(8, 3, pad = 1, bias = 1)")).differences
    assert found == Difference("net", "conv1", "initial biases", "0", "1", (7, 7), found.note)


def test_a_larger_image_and_what_follows(run: Run, tmp_path: Path) -> None:
    a, b = tmp_path / "a.alx", tmp_path / "b.alx"
    a.write_text(BASE)
    b.write_text(BASE.replace("16, 16)", "20, 20)").replace("crop(16)", "crop(20)"))
    page = run("diff", a, b).out
    assert re.search(r"image +size +\(4, 16, 16\)  ->  \(4, 20, 20\) +a.alx:5 +b.alx:5\n", page)
    assert re.search(r"what follows\n  fc3 +parameters +8,224  ->  12,832 +a.alx:13 +b.alx:13\n", page)
    assert "MACs an image" in page


SAME = [
    ("image = input(4, 16, 16)\n  return image\n", "return input(4, 16, 16)\n"),
    ("conv(8, 3, pad = 1)", "conv(8, (3, 3), stride = 1, pad = ((1, 1), (1, 1)), groups = 1, dilation = 1, bias = 0)"),
    ("fc(classes)", "fc(classes, weight = he(), bias = 0, lr_mult = 1) -> identity"),
    ("maxpool(2)", 'maxpool(2, stride = 2, round = "up")'),
    ("avgpool(2)", 'avgpool(2, round = "down")'),
    ("pool1: ", ""),
    ("conv1: conv", "first: conv"),
    ("momentum = 0.9", "momentum = 0.9, weight_decay = 0, lr_mult = 1"),
    ("  loss: softmax_cross_entropy()\n", "  seed: 0  # as it is\n"),
    ("net Base", "net Other"),
    ("train recipe", "train other"),
    ("place two", "place other"),
    ("1e-4", "0.0005 / 5"),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_other_words_for_the_same(old: str, new: str) -> None:
    text = edited(old, new)
    if "first" in new:
        text = text.replace("conv1", "first")
    assert difference(BASE, text).differences == ()
    assert difference(text, BASE).differences == ()


def test_rounding_up_and_the_padding_it_stands_for() -> None:
    net = "alx 1\nnet N { return input(2, 16, 16) -> c: conv(2, 3, stride = 2, WINDOW) -> flatten -> fc(3) }\n"
    up, padded, down = (net.replace("WINDOW", text) for text in ('round = "up"', "pad = (0, 1)", 'round = "down"'))
    comparison = difference(up, padded)
    assert comparison.differences == ()
    assert comparison.said_otherwise == (
        Difference(
            "net", "c", "windows", 'pad = 0, round = "up"', 'pad = (0, 1), round = "exact"', (2, 2),
            "the same 2 x 8 x 8 from the same windows: rounding up reads zeros past the edge, as padding does",
        ),
    )  # fmt: skip
    (found,) = difference(up, down).differences
    assert (found.subject, found.what, found.old, found.new) == ("c", "round", '"up"', '"down"')
    assert [(d.subject, d.what) for d in difference(up, down).consequences] == [("c", "output"), ("fc1", "parameters")]
    averaged = BASE.replace("avgpool(2)", "avgpool(3, stride = 2, pad = (0, 1), count_pad = true)")
    assert [d.what for d in difference(averaged, averaged.replace("(0, 1), c", '0, round = "up", c')).differences] == [
        "pad",
        "round",
    ]


def test_factors_on_the_layers_are_those_of_the_optimizer() -> None:
    by_optimizer = edited("momentum = 0.9", "momentum = 0.9, bias_lr_mult = 2")
    by_layers = BASE.replace("defaults {", "defaults { fc: (bias_lr_mult = 2) conv: (bias_lr_mult = 2) ")
    assert difference(by_optimizer, by_layers).differences == ()
    (found,) = difference(by_layers.replace("(bias_lr_mult = 2) conv: ", "() conv: "), BASE).differences[:1]
    assert (found.subject, found.what, found.old, found.new) == ("conv1", "bias_lr_mult", "2", "1")


def test_values_read_from_elsewhere() -> None:
    text = """alx 1
net N {
  image = input(2, 4, 4)
  a = image -> x: conv(2, 1)
  b = a -> y: conv(2, 1)
  return add(b, a) -> flatten -> fc(3)
}
"""
    (found,) = difference(text, text.replace("add(b, a)", "add(b, image)")).differences
    assert found == Difference("net", "add1", "reads", "y, x", "y, image", (6, 6))


def test_branches_named_in_another_order_are_the_same() -> None:
    head = "alx 1\nnet N { image = input(2, 4, 4)\n"
    a, b = "  a = image -> conv(2, 1) -> relu\n", "  b = image -> conv(3, 3, pad = 1) -> tanh\n"
    tail = "  return concat(a, b) -> flatten -> fc(3)\n}\n"
    assert difference(f"{head}{a}{b}{tail}", f"{head}{b}{a}{tail}").differences == ()
    assert difference(f"{head}{a}{b}{tail}", f"{head}{b}{a}{tail.replace('a, b', 'b, a')}").differences != ()


def test_a_repeat_and_its_turns() -> None:
    net = "alx 1\nnet N { image = input(2, 4, 4)  return image -> STAGES -> flatten -> fc(3) }\n"
    repeat = net.replace("STAGES", "(conv(2, 3, pad = 1) -> relu) * 3")
    turns = net.replace("STAGES", " -> ".join(["conv(2, 3, pad = 1) -> relu"] * 3))
    comparison = difference(repeat, turns)
    assert comparison.same
    assert [(d.subject, d.what) for d in comparison.said_otherwise] == [("6 layers", "name")]


@pytest.mark.parametrize("kind", ["train", "data", "place"])
def test_sections_that_one_file_lacks(kind: str) -> None:
    start = BASE.index(f"{kind} ", BASE.index("\ndata"))
    without = BASE[:start] + BASE[BASE.index("\n}\n", start) + 3 :]
    name = BASE[start:].split()[1]
    (removed,) = difference(BASE, without).differences
    assert (removed.section, removed.what, removed.old) == (kind, "removed", name)
    (added,) = difference(without, BASE).differences
    assert (added.section, added.what, added.new) == (kind, "added", name)


def test_the_order_of_stops_says_nothing() -> None:
    one, other = "stop: [error_below(25%), epochs(9)]", "stop: [epochs(9), error_below(25%)]"
    assert difference(edited("stop: epochs(9)", one), edited("stop: epochs(9)", other)).same


def test_json(run: Run, tmp_path: Path) -> None:
    a, b = tmp_path / "a.alx", tmp_path / "b.alx"
    a.write_text(BASE)
    b.write_text(edited("conv(8, 3", "conv(16, 3").replace("train recipe", "train other"))
    found: dict[str, Any] = json.loads(run("diff", a, b, "--json").out)
    assert (found["same"], found["old"]["net"], found["new"]["file"]) == (False, "Base", str(b))
    assert found["differences"] == [
        {"section": "net", "subject": "conv1", "what": "kernels", "old": "8", "new": "16", "lines": [7, 7], "note": ""}
    ]
    assert found["old"]["totals"]["parameters"] < found["new"]["totals"]["parameters"]
    assert [d["new"] for d in found["said_otherwise"]] == ["other"]
    assert json.loads(run("diff", a, a, "--json").out)["same"] is True


def test_nets_without_a_recipe_are_chosen_by_name(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "two.alx"
    one = "net A { image = input(1, 4, 4)  return image -> flatten -> fc(3) }\n"
    path.write_text(f"alx 1\n{one}{one.replace('net A', 'net B')}")
    assert run("diff", path, path, "--net", "A").out.endswith("\nthe same net\n")
    done = run("diff", path, path)
    assert (done.code, done.out) == (1, "")
    assert "choose one with --net NAME" in done.err


def test_mistakes_are_the_users(run: Run, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.alx", tmp_path / "bad.alx"
    good.write_text(BASE)
    bad.write_text(edited("relu\n    -> lrn", "rellu\n    -> lrn"))
    assert run("diff", good, tmp_path / "none.alx").code == 1
    done = run("diff", good, bad)
    assert (done.code, done.out) == (1, "")
    assert "did you mean `relu`" in done.err


@GROWING
@given(nets(), nets())
def test_nets_against_themselves_and_others(one: Grown, other: Grown) -> None:
    comparison = difference(one.text, format_source(Source("a.alx", one.text)))
    assert (comparison.differences, comparison.said_otherwise) == ((), ())
    assert difference(one.text, other.text).same == difference(other.text, one.text).same


@GROWING
@given(nets(), st.data())
def test_a_number_changed(grown: Grown, data: st.DataObject) -> None:
    numbers = list(re.finditer(r"(?<![\w.])[1-9](?![\w.])", grown.text))
    found = data.draw(st.sampled_from(numbers))
    text = f"{grown.text[: found.start()]}{data.draw(st.integers(1, 9))}{grown.text[found.end() :]}"
    try:
        load(Source("b.alx", text))
    except AlexnetError:
        return
    assert difference(grown.text, text).same == difference(text, grown.text).same
