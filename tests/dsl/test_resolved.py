"""The text with the caller's choice written into it means what the choice meant, and is in the one style."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from alexnet_ir.diagnostics import AlexnetError, Source, Span
from alexnet_ir.dsl.formatter import format_source
from alexnet_ir.dsl.model import Choice, Model, load, read_source
from alexnet_ir.dsl.resolved import resolved
from alexnet_ir.ir.text import print_graph

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXT = """alx 1  # the version

net Small(classes, act = relu) {
  image = input(1, 8, 8)
  return image -> conv1: conv(4, 3) -> act -> flatten -> fc(classes)
}

# Digits.
data digits { source: digits()  holdout: 20% }
data half {
  source: digits()
  holdout: 50%  # by class
}

# The first
# of two.
train slow {
  net: Small(10)
  data: digits  batch: 32  stop: epochs(2)
  optimizer: sgd(lr = 0.01)  # slowly
}
train fast { net: Small(classes = 10, act = tanh) data: half batch: 8 stop: steps(3) optimizer: adam(lr = 0.1) }
"""
CHOICES = [
    Choice("slow"),
    Choice("fast"),
    Choice("slow", "half", None, 16, {"train.batch": "8", "train.seed": "7"}),
    Choice(
        "fast", None, None, None, {"net.act": "relu", "data.holdout": "10%", "train.stop": "[epochs(3), steps(99)]"}
    ),
    Choice("slow", settings={"net.act": "tanh", "data.train": "[subtract_mean(), scale(1/128)]"}),
    Choice("fast", settings={"train.optimizer": "sgd(lr = 1/10,\n momentum=.9)", "train.net": "Small(10)"}),
]


def plain(value: Any) -> Any:
    """A section as values, without where each of them stands."""
    if is_dataclass(value):
        named = {f.name: getattr(value, f.name) for f in fields(value)}
        return type(value).__name__, {name: plain(own) for name, own in named.items() if not isinstance(own, Span)}
    return [plain(own) for own in value] if isinstance(value, tuple) else value


def meaning(model: Model) -> list[Any]:
    assert model.train is not None
    recipe = plain(model.train)
    recipe[1]["net"] = model.net  # its arguments are in the graph
    return [print_graph(model.graph), model.batch, model.image, recipe, plain(model.data)]


@pytest.mark.parametrize("choice", CHOICES)
def test_it_means_what_the_choice_meant(choice: Choice) -> None:
    chosen = load(Source("model.alx", TEXT), choice)
    text = resolved(chosen)
    again = load(Source("model.alx", text))
    assert meaning(again) == meaning(chosen)
    assert format_source(Source("model.alx", text)) == text
    assert resolved(again) == text


def test_the_rest_stays_as_it_was_written() -> None:
    slow = resolved(load(Source("model.alx", TEXT), Choice("slow", settings={"train.seed": "3"})))
    assert slow == format_source(
        Source("", TEXT[: TEXT.index("train fast")].replace("  # slowly\n", "  # slowly\n  seed: 3\n"))
    )
    fast = resolved(load(Source("model.alx", TEXT), Choice("fast")))
    assert "# The first" not in fast
    assert "# Digits." in fast


def test_placements_that_are_not_in_force_need_not_suit_the_batch() -> None:
    places = """# By batch.
place thirds { devices: 3 split: batch(from = conv1, to = conv1) }
place halves { devices: 2 split: batch(from = conv1, to = conv1) }
"""
    chosen = load(Source("model.alx", TEXT + places), Choice("slow", batch=16))
    text = resolved(chosen, "halves")
    assert meaning(load(Source("model.alx", text))) == meaning(chosen)
    assert "place halves" in text
    assert "thirds" not in text
    assert "By batch" not in text
    assert "place" not in resolved(chosen, "single")
    with pytest.raises(AlexnetError, match="batch"):  # what it is good for
        load(Source("model.alx", (TEXT[: TEXT.index("train fast")] + places).replace("batch: 32", "batch: 16")))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.alx")), ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    source = read_source(path)
    recipe = next(line.split()[1] for line in source.text.splitlines() if line.startswith("train "))
    choice = Choice(recipe, batch=8, settings={"train.seed": "5", "train.stop": "steps(7)"})
    chosen = load(source, choice)
    again = load(Source(source.name, resolved(chosen)))
    assert meaning(again) == meaning(chosen)
