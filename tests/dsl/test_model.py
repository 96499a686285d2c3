"""What is chosen beside a file: recipe, data, net, single values."""

from __future__ import annotations

import pytest

from alexnet_ir.diagnostics import AlexnetError, Source
from alexnet_ir.dsl.model import Choice, Model, load

TEXT = """alx 1
net A(classes = 10) { image = input(1, 8, 8) return image -> flatten -> fc(classes) }
net B(units) { image = input(1, 8, 8) return image -> flatten -> fc(units) -> relu -> fc(10) }
data d { source: digits() holdout: 20% }
data e { source: synthetic(100, 4) holdout: 10% }
train a { net: A data: d batch: 8 stop: epochs(1) optimizer: sgd(lr = 0.1) }
train b { net: B(units = 7) data: d batch: 16 stop: epochs(1) optimizer: adam(lr = 0.1) }
"""


def model(text: str = TEXT, **choice: object) -> Model:
    return load(Source("model.alx", text), Choice(**choice))  # type: ignore[arg-type]


def test_a_recipe_brings_its_net_data_and_batch() -> None:
    a, b = model(recipe="a"), model(recipe="b")
    assert (a.net, a.batch, b.net, b.batch) == ("A", 8, "B", 16)
    assert b.graph.tensor(b.graph.states["fc1.weight"].read).shape == (7, 64)


def test_beside_the_file() -> None:
    chosen = model(recipe="a", data_section="e", batch=2, settings={"net.classes": "4", "train.seed": "9"})
    assert chosen.train is not None
    assert chosen.data is not None
    assert (chosen.data.name, chosen.batch, chosen.train.batch, chosen.train.seed) == ("e", 2, 2, 9)


def test_sections_of_two_kinds_may_share_a_name() -> None:
    place = "place a { net: A devices: 2 split: outputs(fc1) } data a { source: digits() holdout: 10% }"
    chosen = model(TEXT + place, recipe="a")
    assert [p.name for p in chosen.places] == ["a"]


def test_a_net_without_a_recipe() -> None:
    chosen = model(net="A")
    assert (chosen.net, chosen.train, chosen.batch) == ("A", None, 128)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({}, "several `train` sections: a, b"),
        ({"recipe": "c"}, "no `train` section `c`"),
        ({"recipe": "a", "data_section": "f"}, "no `data` section `f`"),
        ({"net": "C"}, "no net `C`"),
        ({"net": "A", "recipe": "a"}, "a recipe names its net"),
        ({"net": "B"}, "`B` lacks `units`"),
        ({"recipe": "a", "settings": {"net.classes": "4"}}, "scores 4 classes, `digits` has 10"),
        ({"recipe": "a", "settings": {"net.clases": "4"}}, "did you mean `classes`"),
        ({"recipe": "a", "settings": {"place.devices": "4"}}, "a setting is `net.NAME`"),
        ({"recipe": "a", "settings": {"net.": "4"}}, "a setting is `net.NAME`"),
        ({"net": "A", "settings": {"train.batch": "4"}}, "no `train` section is used here"),
        ({"net": "A", "settings": {"data.holdout": "4%"}}, "no `data` section is used here"),
    ],
)
def test_choices_that_cannot_be(choice: dict[str, object], message: str) -> None:
    with pytest.raises(AlexnetError, match=message.replace("(", r"\(")):
        model(**choice)
