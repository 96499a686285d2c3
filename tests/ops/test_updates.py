"""Update rules over several steps: by hand, and against torch's optimizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from alexnet_ir.ir.op import Array
from alexnet_ir.ops.update import Adam, Sgd

from .helpers import rng

STEPS = 6
Rates = Callable[[int], float]


def scalars(*values: float) -> list[Array]:
    """Rates as the graph feeds them: arrays without axes."""
    return [np.array(value, "float64") for value in values]


def gradient_of(parameter: Array, step: int) -> Array:
    """That of a bumpy function: it depends on the parameter, so that mistakes pile up."""
    return np.asarray(np.cos(3 * parameter + step) + parameter)


def train_sgd(start: Array, lr: Rates, *others: float) -> list[Array]:
    """The parameter after each step; `others` are momentum, weight_decay, lr_mult, decay_mult."""
    parameter, velocity, seen = start, np.zeros_like(start), []
    for step in range(STEPS):
        operands = [parameter, velocity, gradient_of(parameter, step), *scalars(lr(step), *others)]
        parameter, velocity = Sgd().evaluate(operands)
        seen.append(parameter)
    return seen


def train_adam(start: Array, *rates: float) -> list[Array]:
    """The same; `rates` are lr, beta1, beta2, eps, weight_decay, lr_mult, decay_mult."""
    parameter, mean, square, seen = start, np.zeros_like(start), np.zeros_like(start), []
    for step in range(STEPS):
        operands = [parameter, mean, square, gradient_of(parameter, step), *scalars(step, *rates)]
        parameter, mean, square = Adam().evaluate(operands)
        seen.append(parameter)
    return seen


def train_torch(name: str, start: Array, **options: object) -> list[Array]:
    """The same, by an optimizer of torch."""
    torch = pytest.importorskip("torch", reason="torch's optimizers are the second implementation")
    parameter = torch.from_numpy(start.copy()).requires_grad_()
    optimizer = getattr(torch.optim, name)([parameter], **options)
    seen = []
    for step in range(STEPS):
        parameter.grad = torch.from_numpy(gradient_of(parameter.detach().numpy(), step))
        optimizer.step()
        seen.append(parameter.detach().numpy().copy())
    return seen


def same(found: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Equal at every step."""
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


START = rng(5).standard_normal((3, 4))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_torch_at_a_constant_rate(momentum: float) -> None:
    """The factors multiply: a rate of 0.02 times 1.5, a decay of 0.05 times 0.5."""
    found = train_sgd(START, lambda step: 0.02, momentum, 0.05, 1.5, 0.5)
    same(found, train_torch("SGD", START, lr=0.03, momentum=momentum, weight_decay=0.025))


def test_adam_is_torch() -> None:
    found = train_adam(START, 0.02, 0.8, 0.95, 1e-6, 0.05, 1.5, 0.5)
    same(found, train_torch("Adam", START, lr=0.03, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.025))


def test_sgd_is_the_formula_of_the_paper_when_the_rate_changes() -> None:
    """v = 0.9 v - 0.0005 lr w - lr g; w = w + v: a velocity keeps the rates that it was made with."""
    rates = [0.1, 0.1, 0.01, 0.01, 0.001, 0.1]
    w, v, wanted = START.copy(), np.zeros_like(START), []
    for step, lr in enumerate(rates):
        g = gradient_of(w, step)
        for at in np.ndindex(w.shape):
            v[at] = 0.9 * v[at] - 0.0005 * lr * w[at] - lr * g[at]
            w[at] = w[at] + v[at]
        wanted.append(w.copy())
    same(train_sgd(START, lambda step: rates[step], 0.9, 0.0005, 1.0, 1.0), wanted)


def test_a_rate_of_zero_does_not_stop_what_is_moving() -> None:
    """Where PyTorch's form, with the rate outside the velocity, would."""
    first, second, *_ = train_sgd(START, lambda step: 0.1 if step == 0 else 0.0, 0.5, 0.0, 1.0, 1.0)
    np.testing.assert_allclose(second - first, 0.5 * (first - START))


def test_a_factor_of_zero_freezes() -> None:
    np.testing.assert_array_equal(train_sgd(START, lambda step: 0.1, 0.9, 0.1, 0.0, 1.0)[-1], START)
    np.testing.assert_array_equal(train_adam(START, 0.1, 0.9, 0.99, 1e-8, 0.1, 0.0, 1.0)[-1], START)


def test_no_decay_where_its_factor_is_zero() -> None:
    """The 2012 code's biases."""
    same(
        train_sgd(START, lambda step: 0.1, 0.9, 0.5, 2.0, 0.0),
        train_sgd(START, lambda step: 0.2, 0.9, 0.0, 1.0, 1.0),
    )


def test_adams_first_step_is_the_rate() -> None:
    """With both averages corrected for their start, whatever the gradient's size."""
    first, *_ = train_adam(START, 0.02, 0.9, 0.999, 1e-12, 0.0, 1.0, 1.0)
    np.testing.assert_allclose(np.abs(first - START), 0.02, rtol=1e-8)


def test_names_of_slots_and_rates() -> None:
    assert Sgd.slots() == ("velocity",)
    assert Sgd.rates() == ("lr", "momentum", "weight_decay")
    assert Adam.slots() == ("mean", "square")
    assert Adam.rates() == ("step", "lr", "beta1", "beta2", "eps", "weight_decay")
