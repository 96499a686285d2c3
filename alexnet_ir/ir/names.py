"""Names of what every program has. Users' names have no dots, so none of theirs is taken."""

SCORE = "score"
"""The output that is the net's answer; further results are `score.2`, `score.3`, and exist in training only."""
LOSS = "loss"
LABEL = "train.label"
SEED = "train.seed"
STEP = "train.step"


def layer_of(name: str) -> str:
    """The path of the layer that a node of this name serves: up to the dot, which paths do not have."""
    return name.partition(".")[0]


def rate(name: str) -> str:
    """The input that holds a rate of the recipe: `train.lr`."""
    return f"train.{name}"


def factor(parameter: str, name: str) -> str:
    """The input that holds a parameter's own factor: `conv1.weight.lr_mult`."""
    return f"{parameter}.{name}"


def activation(layer: str) -> str:
    """The output that holds a layer's value, where an evaluation is asked for it."""
    return f"{layer}.value"


def gradient(parameter: str) -> str:
    """The output that holds a parameter's gradient, between backward and update."""
    return f"{parameter}.grad"
