"""One suite for all backends: random nets train to the same losses; masks, seeds, refusals, storage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from alexnet_ir.backends.base import Backend
from alexnet_ir.backends.cpu.backend import CpuBackend
from alexnet_ir.backends.cpu.isa import AVX2, SSE, Isa
from alexnet_ir.backends.cuda.backend import CudaBackend
from alexnet_ir.backends.cuda.gpu import GPUS
from alexnet_ir.backends.cuda.host.compile import compiler
from alexnet_ir.backends.cuda.host.machine import HostMachine
from alexnet_ir.backends.numpy.backend import NumpyBackend
from alexnet_ir.backends.reference.executor import ReferenceBackend
from alexnet_ir.compiler import inference_graph, plan_of, read_model, training_graph
from alexnet_ir.ir.graph import Graph
from alexnet_ir.ir.initial import Constant
from alexnet_ir.ir.op import Array
from alexnet_ir.ir.types import TensorType, f32
from alexnet_ir.ops.dropout import Dropout
from alexnet_ir.ops.elementwise import Add, Identity, Scale
from alexnet_ir.setup import CPU, Setup
from alexnet_ir.training.step import InitialValues, TrainingStep

from .. import strategies
from .cpu.running import needs_cc
from .cuda.running import needs_gxx

REFERENCE = ReferenceBackend()
REFERENCE32 = ReferenceBackend(np.dtype("f4"))
HOST = CudaBackend(GPUS["sm_90"], "fp32", HostMachine())
NUMPY, EMITTED = NumpyBackend(), CpuBackend(threads=2)
ALL: dict[str, Backend] = {
    "reference-f64": REFERENCE, "reference-f32": REFERENCE32, "numpy": NUMPY, "cpu": EMITTED
}  # fmt: skip
EACH = pytest.mark.parametrize(
    "backend",
    [
        *(pytest.param(backend, id=name) for name, backend in ALL.items()),
        pytest.param(HOST, id="cuda", marks=needs_gxx),
    ],
)
RECIPE = "train r { batch: 4 stop: steps(3) optimizer: sgd(lr = 0.05, momentum = 0.9) seed: 3 }"
TEXT = f"""\
alx 1
net N {{
  image = input(2, 6, 6)
  return image -> conv(4, 3, pad = 1, groups = 2) -> batchnorm -> relu -> lrn(3, 2, 1e-2, 0.75) -> maxpool(2)
    -> dropout(0.5) -> flatten -> dropout(0.25, scale = "train") -> fc(3)
}}
{RECIPE}
"""


def images(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 2, 6, 6)).astype("f4")


# Training


def losses(grown: strategies.Grown, backend: Backend, steps: int = 3) -> tuple[list[float], dict[str, Array]]:
    """The losses of some steps on batches of their own, and the weights after them."""
    step = TrainingStep(read_model(grown.text), Setup(backend))
    found = []
    for number in range(steps):
        feeds = grown.feeds(seed=number)
        found.append(step(feeds["image"], feeds["train.label"]))
    return found, dict(step.weights)


def check_training(grown: strategies.Grown, backend: Backend) -> None:
    """Against float64; where float32 itself loses digits, a backend may lose as many."""
    exact, weights = losses(grown, REFERENCE)
    plain, plain_weights = losses(grown, REFERENCE32)
    fast, fast_weights = losses(grown, backend)
    assert np.isfinite(exact).all()
    np.testing.assert_allclose(plain, exact, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fast, exact, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=1e-5)
    assert list(weights) == list(plain_weights) == list(fast_weights)
    for name, value in weights.items():
        size = np.abs(value).max()
        slack = 1e-3 * size + 10 * np.abs(plain_weights[name] - value).max()
        np.testing.assert_allclose(fast_weights[name], value, rtol=0, atol=slack, err_msg=name)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(strategies.nets())
def test_any_net_trains_alike_with_numpy(grown: strategies.Grown) -> None:
    check_training(grown, NUMPY)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(strategies.nets())
def test_any_net_trains_alike_in_c(grown: strategies.Grown) -> None:
    check_training(grown, EMITTED)


@needs_cc
@pytest.mark.parametrize("isa", [AVX2, SSE], ids=lambda isa: isa.name)
@pytest.mark.parametrize("threads", [1, 3])
def test_c_for_other_vectors_and_threads(isa: Isa, threads: int) -> None:
    model, found = read_model(TEXT), []
    for backend in (CpuBackend(threads=threads, isa=isa), EMITTED, REFERENCE):
        step = TrainingStep(model, Setup(backend))
        found.append([step(images(4, number), [0, 1, 2, 0]) for number in range(3)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-4)


@needs_gxx
@settings(max_examples=4, deadline=None, derandomize=True)
@given(strategies.nets())
def test_any_net_trains_alike_as_emitted_kernels(grown: strategies.Grown) -> None:
    exact, _ = losses(grown, REFERENCE)
    plain, _ = losses(grown, REFERENCE32)
    emitted, _ = losses(grown, HOST)
    np.testing.assert_allclose(emitted, exact, rtol=1e-4, atol=1e-5 + 10 * np.abs(np.subtract(plain, exact)).max())


def check_bits(grown: strategies.Grown, backend: Backend) -> None:
    first, weights = losses(grown, backend, 2)
    second, again = losses(grown, backend, 2)
    assert first == second
    for name, value in weights.items():
        np.testing.assert_array_equal(again[name], value)


@settings(max_examples=25, deadline=None)
@given(strategies.nets())
def test_the_same_seed_is_the_same_bits_with_numpy(grown: strategies.Grown) -> None:
    check_bits(grown, NUMPY)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(strategies.nets())
def test_the_same_seed_is_the_same_bits_in_c(grown: strategies.Grown) -> None:
    """On more threads than there may be cores; what is drawn is what was compiled before."""
    check_bits(grown, CpuBackend(threads=3))


@EACH
def test_another_seed_is_another_net(backend: Backend) -> None:
    model = read_model(TEXT)
    steps = [TrainingStep(model, Setup(backend), seed) for seed in (1, 2, 1)]
    found = [step(images(4), [0, 1, 2, 0]) for step in steps]
    assert found[0] == found[2] != found[1]
    weights = [step.weights["conv1.weight"] for step in steps]
    assert not np.array_equal(weights[0], weights[1])


@EACH
def test_the_seed_moves_the_masks_too(backend: Backend) -> None:
    plan = plan_of(training_graph(read_model(TEXT)), backend.target)
    values = InitialValues(plan, 0)
    feeds = {"image": images(4), "train.label": np.zeros(4, "i4"), "train.step": 0, **strategies.RATES}
    found = [
        float(backend.build(plan, backend.storage(plan, values)).run({**feeds, "train.seed": seed})["loss"])
        for seed in (0, 1, 0)
    ]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("p", [0.5, 0.1])
def test_masks_are_the_same_everywhere(p: float) -> None:
    graph = Graph("net")
    x = graph.input("x", f32(3, 5, 7))
    seed, step = (graph.input(name, TensorType("i64", ())) for name in ("seed", "step"))
    for stream in range(3):
        graph.outputs[f"y{stream}"] = graph.emit(Dropout(p, stream=stream), x, seed, step, name="y")
    feeds = {"x": np.ones((3, 5, 7)), "seed": 2**40 + 9, "step": 11}
    backends = [*ALL.values(), *([HOST] if compiler() else [])]
    plans = [plan_of(graph, backend.target) for backend in backends]
    outputs = [b.build(plan, b.storage(plan, {})).run(feeds) for b, plan in zip(backends, plans, strict=True)]
    for name in graph.outputs:
        for output in outputs[1:]:
            np.testing.assert_array_equal(output[name], outputs[0][name])
        assert 0 < outputs[0][name].mean() < 1
    assert not np.array_equal(outputs[0]["y0"], outputs[0]["y1"])


# Prediction


@EACH
def test_scores_do_not_depend_on_who_else_is_asked(backend: Backend) -> None:
    step = TrainingStep(read_model(TEXT), Setup(backend))
    step(images(4), [0, 1, 2, 0])
    given = images(11, 1)
    together = step.predict(given)
    assert together.shape == (11, 3)
    one_by_one = np.concatenate([step.predict(image[None]) for image in given])
    np.testing.assert_allclose(one_by_one, together, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(step.predict(given[::-1])[::-1], together, rtol=1e-5, atol=1e-6)
    assert step.predict(given[:0]).shape == (0, 3)


@settings(max_examples=25, deadline=None)
@given(strategies.nets())
def test_prediction_of_any_net_does_not_train_it(grown: strategies.Grown) -> None:
    step = TrainingStep(read_model(grown.text), Setup(NUMPY))
    before = dict(step.weights)
    given = grown.feeds()["image"]
    scores = step.predict(given)
    np.testing.assert_array_equal(step.predict(given), scores)
    np.testing.assert_allclose(step.predict(given[:1]), scores[:1], rtol=1e-4, atol=1e-5)
    for name, value in before.items():
        np.testing.assert_array_equal(step.weights[name], value)


@settings(max_examples=25, deadline=None)
@given(strategies.nets())
def test_no_run_writes_on_what_it_is_fed(grown: strategies.Grown) -> None:
    graph = training_graph(read_model(grown.text))
    for backend in (REFERENCE32, NUMPY):
        plan = plan_of(graph)
        executable = backend.build(plan, backend.storage(plan, strategies.initial(graph)))
        feeds = grown.feeds()
        arrays = {name: value for name, value in feeds.items() if isinstance(value, np.ndarray)}
        before = {name: value.tobytes() for name, value in arrays.items()}
        for value in arrays.values():
            value.setflags(write=False)
        executable.run(feeds)
        assert {name: value.tobytes() for name, value in arrays.items()} == before


# NaN


@EACH
@pytest.mark.parametrize(
    "op",
    ["relu", "leaky_relu", "tanh", "abs", "maxpool(2)", "avgpool(2)", "l2pool(2)", "lrn(3, 2, 0.1, 0.75)",
     "local_norm(3, 2, 0.1, 0.75)", "conv(2, 3, pad = 1)", "local(2, 2)", "batchnorm", "dropout(0)", "identity"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:invalid value")
def test_nan_reaches_the_loss(backend: Backend, op: str) -> None:
    text = f"alx 1 net N {{ image = input(2, 6, 6) return image -> {op} -> flatten -> fc(3) }} {RECIPE}"
    given = images(4)
    given[1, 1, 3, 2] = np.nan
    step = TrainingStep(read_model(text), Setup(backend))
    assert np.isnan(step(given, [0, 1, 2, 0]))
    assert np.isnan(step.scores[1]).any()


# Refusals, defaults, storage


def adder() -> Graph:
    """y = x + 2 a + w with a default for `a`; w becomes x."""
    graph = Graph("net")
    x, a = graph.input("x", f32(2, 3)), graph.input("a", f32(2, 3), default=None)
    scale = graph.input("scale", TensorType("i64", ()), default=7)
    w = graph.state("w", f32(2, 3), Constant(1))
    total = graph.emit(Add(), graph.emit(Add(), x, graph.emit(Scale(2.0), a, name="d"), name="s"), w, name="y")
    graph.outputs |= {"y": total, "scale": scale}
    graph.set_update("w", graph.emit(Identity(), x, name="next"))
    return graph


X = np.arange(6.0).reshape(2, 3)


@EACH
@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"x": X}, "nothing was fed to a"),
        ({"a": X}, "nothing was fed to x"),
        ({"x": X, "a": X[:1]}, r"a has shape \(2, 3\), not \(1, 3\)"),
        ({"x": X, "a": 1.0}, r"a has shape \(2, 3\), not \(\)"),
        ({"x": X, "a": X, "scale": [1]}, r"scale has shape \(\), not \(1,\)"),
    ],
)
def test_what_does_not_fit_an_input_is_refused(backend: Backend, feeds: dict[str, Any], message: str) -> None:
    plan = plan_of(adder(), backend.target)
    storage = backend.storage(plan, {"w": np.ones((2, 3))})
    with pytest.raises(ValueError, match=message):
        backend.build(plan, storage).run(feeds)
    np.testing.assert_array_equal(storage.read("w"), np.ones((2, 3)))


@EACH
def test_defaults_are_fed_and_states_replaced(backend: Backend) -> None:
    plan = plan_of(adder(), backend.target)
    storage = backend.storage(plan, {"w": np.ones((2, 3)), "another": np.zeros(2)})
    executable = backend.build(plan, storage)
    outputs = executable.run({"x": X, "a": X, "more": 1})
    np.testing.assert_array_equal(outputs["y"], 3 * X + 1)
    assert outputs["scale"] == 7
    np.testing.assert_array_equal(storage.read("w"), X)
    np.testing.assert_array_equal(executable.run({"x": X, "a": X})["y"], 4 * X)


@EACH
def test_storage_gives_and_takes_copies(backend: Backend) -> None:
    given = np.ones((2, 3), "f4" if backend is not REFERENCE else "f8")
    storage = backend.storage(plan_of(adder(), backend.target), {"w": given})
    given[...] = 5
    np.testing.assert_array_equal(storage.read("w"), np.ones((2, 3)))
    storage.read("w")[...] = 6
    np.testing.assert_array_equal(storage.read("w"), np.ones((2, 3)))
    storage.write("w", given)
    given[...] = 7
    np.testing.assert_array_equal(storage.read("w"), np.full((2, 3), 5))
    assert "w" in storage
    assert "v" not in storage
    with pytest.raises(KeyError):
        storage.read("v")
    with pytest.raises(ValueError, match="w has shape"):
        storage.write("w", np.ones(3))


@EACH
def test_no_array_is_shared_with_the_caller(backend: Backend) -> None:
    """Not even where an update or an output hands on what was fed or kept."""
    graph = adder()
    graph.outputs |= {"x": graph.inputs["x"], "w": graph.states["w"].read, "next": graph.named("next")}
    plan = plan_of(graph, backend.target)
    storage = backend.storage(plan, {"w": np.ones((2, 3))})
    given = X.astype("f4" if backend is not REFERENCE else "f8")
    outputs = backend.build(plan, storage).run({"x": given, "a": given})
    given[...] = -1
    np.testing.assert_array_equal(outputs["x"], X)
    for output in outputs.values():
        output[...] = -2
    np.testing.assert_array_equal(storage.read("w"), X)
    np.testing.assert_array_equal(given, np.full((2, 3), -1))


@EACH
def test_a_plan_without_its_states_is_not_built(backend: Backend) -> None:
    stateless = plan_of(Graph("net"), backend.target)
    with pytest.raises(ValueError, match="the storage lacks w"):
        backend.build(plan_of(adder(), backend.target), backend.storage(stateless, {}))
    with pytest.raises(ValueError, match="no values for w"):
        backend.storage(plan_of(adder(), backend.target), {})


@EACH
def test_training_and_evaluation_share_their_states(backend: Backend) -> None:
    model = read_model(TEXT)
    training, evaluation = (plan_of(g(model), backend.target) for g in (training_graph, inference_graph))
    assert evaluation.states.keys() <= training.states.keys()
    storage = backend.storage(training, InitialValues(training, 0))
    train, evaluate = backend.build(training, storage), backend.build(evaluation, storage)
    before = evaluate.run({"image": images(4)})["score"]
    feeds = {"image": images(4), "train.label": np.zeros(4, "i4"), **strategies.RATES}
    train.run(feeds)
    assert not np.array_equal(evaluate.run({"image": images(4)})["score"], before)


def test_the_table_of_backends_names_each() -> None:
    assert {name: backend.name for name, backend in CPU.items()} == {"cpu": "cpu", "reference": "reference"}
