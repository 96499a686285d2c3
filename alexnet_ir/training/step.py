"""A compiled net that can be trained a batch at a time, and asked for scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from operator import index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alexnet_ir.backends.augment import Augmented
from alexnet_ir.backends.base import Executable, Storage
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.emission.machine import on_gpu
from alexnet_ir.compiler import compile_inference, compile_step, recipe_of
from alexnet_ir.diagnostics import error
from alexnet_ir.dsl.model import Model
from alexnet_ir.ir.names import LABEL, LOSS, SCORE, SEED, STEP, rate
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.plan import Plan
from alexnet_ir.setup import Setup
from alexnet_ir.training.interrupt import finished_first

Floats = NDArray[np.floating[Any]]
SEEDS = 2**63
"""Seeds are below this."""


class Weights(MutableMapping[str, Array]):
    """A net's parameters and running statistics by name, channels first; what is set is what the next step reads.

    What is read is a copy that cannot be written to: `weights[name] = value` sets."""

    def __init__(self, storage: Storage, names: tuple[str, ...]) -> None:
        self._storage, self._names = storage, names

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        value = self._storage.read(name)
        value.flags.writeable = False
        return value

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        if name not in self._names:
            raise KeyError(name)
        self._storage.write(name, np.asarray(value))

    def __delitem__(self, name: str) -> None:
        raise TypeError("a net keeps all its weights")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Predictor:
    """A compiled net with weights, which can be asked for scores; without the memory that training takes.

    `compiled` is the training step of the net on these devices, as which evaluation is placed; `plan` is what states
    and memory are made for.
    """

    def __init__(self, model: Model, setup: Setup, seed: int | None = None, *, training: bool = False) -> None:
        self.model, self.setup = model, setup
        self.seed = recipe_of(model).seed if seed is None else index(seed)
        if not 0 <= self.seed < SEEDS:
            raise ValueError(f"seed: expected a whole number of at least 0 and less than 2**63, found {seed}")
        self.compiled = compile_step(model, setup)
        self.plan = plan = self.compiled.plan if training else self._inference_plan()
        if isinstance(setup.backend, CudaBackend):
            setup.backend.check_room(plan, model.batch, lambda batch: compile_step(model.at_batch(batch), setup).plan)
        self._storage: Storage = setup.backend.storage(plan, InitialValues(plan, self.seed))
        names = tuple(name for name, state in plan.states.items() if state.role != "slot")
        self.weights = Weights(self._storage, names)
        (self._image,) = (name for name in plan.inputs if name in model.graph.inputs and name not in (SEED, STEP))
        self._classes = plan.outputs[SCORE].type.shape[1]

    def predict(self, images: ArrayLike | Augmented) -> Floats:
        """Scores [n, classes] of n images, by the weights as they are: dropout a factor, running statistics."""
        return self._scored(self._inference, self._images(images, exact=False), (self._classes,))

    def dense(self, height: int, width: int) -> Callable[[ArrayLike | Augmented], Floats]:
        """From images [n, channels, height, width], not below the net's own size, to maps of scores [n, classes, rows,
        columns], by the weights as they are then. AlexnetError where the net cannot take that size."""
        plan = compile_inference(self.model, self.setup, self.compiled, (index(height), index(width))).plan
        executable, scores = self.setup.backend.build(plan, self._storage), plan.outputs[SCORE].type.shape[1:]
        image = (self.model.image[0], height, width)
        return lambda images: self._scored(executable, self._images(images, exact=False, image=image), scores)

    def fetching(self, fetch: Mapping[str, str]) -> Callable[[ArrayLike | Augmented], dict[str, Floats]]:
        """From n images to the values [n, ...] of nodes of the forward graph, by names of one's own, as evaluation has
        them: {"fc7.value": "relu7"}."""
        plan = compile_inference(self.model, self.setup, self.compiled, fetch=fetch).plan
        executable = self.setup.backend.build(plan, self._storage)
        shapes = {name: plan.outputs[name].type.shape[1:] for name in fetch}
        return lambda images: self._outputs(executable, self._images(images, exact=False), shapes)

    def _scored(self, executable: Executable, given: Array | Augmented, shape: tuple[int, ...]) -> Floats:
        """Scores [n, *shape] of n images."""
        return self._outputs(executable, given, {SCORE: shape})[SCORE]

    def _outputs(
        self, executable: Executable, given: Array | Augmented, shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, Floats]:
        """Outputs [n, *shape] for n images by their names, a batch at a time."""
        parts: dict[str, list[Floats]] = {name: [np.zeros((0, *shape), np.float32)] for name, shape in shapes.items()}
        size = self.model.batch
        for start in range(0, len(given), size):
            count = min(len(given) - start, size)
            chosen = slice(start, start + size) if count == size else start + np.arange(size) % count
            part = given.rows(chosen) if isinstance(given, Augmented) else given[chosen]
            outputs = executable.run({self._image: part})
            for name, found in parts.items():
                found.append(outputs[name][:count])
        return {name: np.concatenate(found) for name, found in parts.items()}

    def load(self, tensors: Mapping[str, ArrayLike]) -> None:
        """Take over all weights by name; AlexnetError where one is missing, unknown or of another shape."""
        missing = [name for name in self.weights if name not in tensors]
        unknown = [name for name in tensors if name not in self.weights]
        if missing or unknown:
            what = [f"lack {', '.join(missing)}"] * bool(missing) + [f"have {', '.join(unknown)}"] * bool(unknown)
            raise error(f"these weights are not those of {self.model.net}: they {' and '.join(what)}")
        for name, value in tensors.items():
            try:
                self.weights[name] = value
            except ValueError as failure:
                raise error(f"these weights are not those of {self.model.net}: {failure}") from None

    @cached_property
    def _inference(self) -> Executable:
        return self.setup.backend.build(self._inference_plan(), self._storage)

    def _inference_plan(self) -> Plan:
        return compile_inference(self.model, self.setup, self.compiled).plan

    def _images(self, images: ArrayLike | Augmented, *, exact: bool, image: Sequence[int] = ()) -> Array | Augmented:
        is_ready = isinstance(images, Augmented) or self._is_on_gpu("images", images)
        array: Any = images if is_ready else np.asarray(images, np.float32)
        want = (self.model.batch, *(image or self.model.image))
        if tuple(array.shape[1:]) != want[1:] or (exact and len(array) != want[0]):
            shown = f"[{want[0] if exact else 'n'}, {', '.join(map(str, want[1:]))}]"
            raise ValueError(f"images: expected shape {shown}, found {list(array.shape)}")
        return array  # type: ignore[no-any-return]

    def _is_on_gpu(self, what: str, array: object) -> bool:
        """Where an array lies; TypeError for one on a GPU that the net does not run on."""
        found, name = on_gpu(array), self.setup.backend.name
        if found and name != "cuda":
            raise TypeError(f"{what}: expected a NumPy array, as the net runs on {name}; found one on a GPU")
        return found


class TrainingStep(Predictor):
    """`loss = step(images, labels)` updates the weights once.

    `lr` is the recipe's learning rate, to be set by whoever follows a schedule; `steps` counts the updates made;
    `scores` and `last_loss` are the last batch's, from before the update. `compiled` is the program it runs.
    """

    def __init__(self, model: Model, setup: Setup, seed: int | None = None) -> None:
        super().__init__(model, setup, seed, training=True)
        optimizer, plan = recipe_of(model).optimizer, self.compiled.plan
        self.lr = optimizer.lr
        self.steps = 0
        self.scores: Floats = np.zeros((0, 0), np.float32)
        self.last_loss = 0.0
        self._training: Executable = setup.backend.build(plan, self._storage)
        self._rates = {
            name: getattr(optimizer, f.name) for f in fields(optimizer) if (name := rate(f.name)) in plan.inputs
        }
        self._extra = [name for name in (SEED, STEP) if name in plan.inputs]
        self.factors: dict[str, float] = {}
        """By the input's name (`conv1.weight.lr_mult`), in the place of what the model says."""

    def __call__(self, images: ArrayLike | Augmented, labels: ArrayLike) -> float:
        """One update on a batch: images [batch, channels, rows, columns], labels [batch] from 0. Returns the loss from
        before it; ValueError for arrays of another shape or labels that are no class. On GPUs the arrays may lie there
        too (CuPy's, or whatever has `__cuda_array_interface__`): their content is copied on the device, after what is
        queued on CuPy's current stream, and may be written on at once. Whether such labels are classes is not looked
        at, as the host would have to wait for them."""
        batch = {self._image: self._images(images, exact=True), LABEL: self._labels(labels)}
        with finished_first():
            outputs = self._training.run(self.scalars() | batch)
            self.steps += 1
            self.scores = outputs[SCORE]
            self.last_loss = float(outputs[LOSS])
        return self.last_loss

    def scalars(self) -> dict[str, Any]:
        """What the program is fed beside a batch: rates, and where it draws random numbers, seed and step."""
        drawn = {name: value for name, value in ((SEED, self.seed), (STEP, self.steps)) if name in self._extra}
        return self._rates | self.factors | {rate("lr"): self.lr} | drawn

    def states(self) -> dict[str, Array]:
        """All that training changes, whole and by name: weights, running statistics and the optimizer's slots
        (`conv1.weight.velocity`). The same for every placement."""
        return {name: self._storage.read(name) for name in self.plan.states}

    def restore(self, states: Mapping[str, Array], steps: int) -> None:
        """Take up where `states` were read after so many updates. KeyError or ValueError where they are not this
        net's."""
        for name in self.plan.states:
            self._storage.write(name, states[name])
        self.steps = steps

    def still(self, parameters: Iterable[str]) -> None:
        """Take the momentum of these parameters, so that with a factor of 0 they do not move from here on. What Adam
        keeps does not move them by itself, and stays."""
        for slot in (f"{name}.velocity" for name in parameters):
            if slot in self.plan.states:
                self._storage.write(slot, np.zeros(self.plan.states[slot].type.shape, np.float32))

    @property
    def exchanged_bytes(self) -> int:
        """What the last update moved between devices, as counted."""
        return self._training.exchanged_bytes

    def _labels(self, labels: ArrayLike) -> Array:
        there = self._is_on_gpu("labels", labels)
        array: Any = labels if there else np.asarray(labels)
        dtype = np.dtype(array.__cuda_array_interface__["typestr"]) if there else array.dtype
        if tuple(array.shape) != (self.model.batch,) or not np.issubdtype(dtype, np.integer):
            raise ValueError(f"labels: expected {self.model.batch} whole numbers, found {dtype}{list(array.shape)}")
        if not there and not 0 <= array.min() <= array.max() < self._classes:
            raise ValueError(f"labels: expected 0 to {self._classes - 1}, found {array.min()} to {array.max()}")
        return array  # type: ignore[no-any-return]


@dataclass(frozen=True)
class InitialValues(Mapping[str, Array]):
    """What the states of a plan hold before the first step, each made when it is asked for."""

    plan: Plan
    seed: int

    def __getitem__(self, name: str) -> Array:
        state = self.plan.states[name]
        return state.initial.values(name, state.type.shape, self.seed)

    def __contains__(self, name: object) -> bool:
        return name in self.plan.states

    def __iter__(self) -> Iterator[str]:
        return iter(self.plan.states)

    def __len__(self) -> int:
        return len(self.plan.states)
