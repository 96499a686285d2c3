"""What must hold where a run is taken up from a checkpoint."""

from __future__ import annotations

import numpy as np

from alexnet_ir.data.dataset import Dataset
from alexnet_ir.data.preprocessing import Preprocessing
from alexnet_ir.diagnostics import Source, error
from alexnet_ir.dsl.model import Choice, load
from alexnet_ir.training.checkpoint import Checkpoint
from alexnet_ir.training.control import Control
from alexnet_ir.training.step import TrainingStep


def check_data(checkpoint: Checkpoint, data: Dataset, preprocessing: Preprocessing) -> None:
    """AlexnetError where the data are not those that the run began with, as far as counts and the mean image tell."""
    ours, theirs = preprocessing.mean, checkpoint.saved.mean
    same = ours is theirs is None or (ours is not None and theirs is not None and np.allclose(ours, theirs))
    if (len(data.train), data.classes) != (checkpoint.images, checkpoint.saved.classes) or not same:
        found = f"{len(data.train):,} images of {len(data.classes)} classes"
        was = f"{checkpoint.images:,} images of {len(checkpoint.saved.classes)} classes"
        raise error(
            f"these are not the data of the run: expected {was} with the mean image that it has, found {found}",
            helps=["--data DIR names the folder where they are"],
        )


def take_states(checkpoint: Checkpoint, step: TrainingStep) -> None:
    """Bring a net to where the checkpoint was made, whatever devices that was on; AlexnetError where it is another
    net or has another optimizer."""
    missing = [name for name in step.plan.states if name not in checkpoint.states]
    extra = [name for name in checkpoint.states if name not in step.plan.states]
    try:
        if missing or extra:
            raise ValueError(f"it has {extra or 'nothing'} in the place of {missing or 'nothing'}")
        step.restore(checkpoint.states, checkpoint.saved.step)
    except ValueError as failure:
        raise error(
            f"the checkpoint is not one of this net and optimizer: {failure}",
            helps=["a run goes on with the optimizer that it began with"],
        ) from None


def rate_before(checkpoint: Checkpoint, now: Control) -> float:
    """The rate that the next update would have taken, had nothing been changed."""
    saved = checkpoint.saved
    control = Control(load(Source(saved.model_path, saved.model), Choice(**saved.choice)), now.steps_per_epoch)
    control.restore(checkpoint.control)
    return control.at(saved.step).lr
