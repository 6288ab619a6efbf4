"""Formulas (24) to (43) of docs/derivation.md, computed in float64 with NumPy, against the blocks they name."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.models.blocks import Block
from resnet_jax.models.layers import BatchNorm, BatchStatsScope, Conv
from tests.docs import reference
from tests.docs.reference import EPSILON, Array

pytestmark = pytest.mark.usefixtures("x64")
close = partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
F64: Any = jnp.float64
RESIDUAL, PLAIN = "A", "none"
# Between neighbouring layers of a wide net with BN, of the gradient's mean square: formula (39).
GAIN = math.pi / (math.pi - 1)


def make(
    shortcut: str, order: str = "original", *, kind: str = "basic", width: int = 2, expansion: int = 1, stride: int = 1
) -> Block:
    """As the net builds it, for float64."""
    if kind == "basic":
        return of_convs((3, 3), (width, width), (stride, 1), shortcut, order)
    return of_convs((1, 3, 1), (width, width, expansion * width), (stride, 1, 1), shortcut, order)


def of_convs(
    kernels: tuple[int, ...], features: tuple[int, ...], strides: tuple[int, ...], shortcut: str, order: str
) -> Block:
    kind = "bottleneck" if len(kernels) == 3 else "basic"
    return Block(
        config=ModelConfig(depth=11 if kind == "bottleneck" else 8, block=kind, activation_order=order),
        convs=tuple(zip(features, kernels, strides, strict=True)),
        shortcut=shortcut,
        conv=partial(Conv, dtype=F64),
        norm=partial(BatchNorm, 0.9, EPSILON, BatchStatsScope(), F64),
    )


def random_variables(block: Block, x: Array, seed: int) -> dict[str, Any]:
    """Every leaf random: with the initial scales of 1 and biases of 0, a test could not tell them apart."""
    shapes = jax.eval_shape(lambda x: block.init(jax.random.key(0), x, train=True), jax.ShapeDtypeStruct(x.shape, F64))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape) + (0.5 if len(leaf.shape) == 1 else 0.0), shapes)


def apply(block: Block, variables: Any, x: Any) -> Any:
    """In train mode: what the formulas say of BN is of batch statistics."""
    return block.apply(variables, x, train=True, mutable=["batch_stats"])[0]


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(100 + seed).normal(size=shape)


# One block


@pytest.mark.parametrize(("kind", "width", "expansion"), [("basic", 4, 1), ("bottleneck", 2, 2)])
def test_a_block_is_its_branch_plus_its_input(kind: str, width: int, expansion: int) -> None:
    x = draw(2, 3, 4, 4)
    block = make(RESIDUAL, kind=kind, width=width, expansion=expansion)
    variables = random_variables(block, x, seed=1)
    branch = {"basic": reference.basic, "bottleneck": reference.bottleneck}[kind](x, variables["params"])
    close(apply(block, variables, x), reference.relu(branch + x))
    # The plain block: the same parameters, and no sum.
    plain = make(PLAIN, kind=kind, width=width, expansion=expansion)
    close(apply(plain, variables, x), reference.relu(branch))


@pytest.mark.parametrize(("kind", "width", "expansion"), [("basic", 4, 1), ("bottleneck", 2, 2)])
def test_a_projection(kind: str, width: int, expansion: int) -> None:
    x, block = draw(2, 4, 5, 2), make("B", kind=kind, width=width, expansion=expansion, stride=2)
    variables = random_variables(block, x, seed=1)
    p = variables["params"]
    branch = {"basic": reference.basic, "bottleneck": reference.bottleneck}[kind](x, p, stride=2)
    y = apply(block, variables, x)
    assert y.shape == (2, 2, 3, 4)
    close(y, reference.relu(branch + reference.projection(x, p, stride=2)))


def test_option_a() -> None:
    x, block = draw(2, 4, 5, 2), make(RESIDUAL, width=4, stride=2)
    variables = random_variables(block, x, seed=1)
    y = reference.basic(x, variables["params"], stride=2)
    for p, q in np.ndindex(2, 3):
        y[:, p, q, :2] += x[:, 2 * p, 2 * q]  # channels 3 and 4 get zeros
    close(apply(block, variables, x), reference.relu(y))


def test_a_block_does_not_add_successive_feature_maps() -> None:
    x, block = draw(2, 3, 4, 4), make(RESIDUAL, width=4)
    variables = random_variables(block, x, seed=1)
    p = variables["params"]
    wrong = reference.relu(reference.basic(x, p) + reference.conv(x, p["conv1"]["kernel"]))
    y = np.asarray(apply(block, variables, x))
    assert np.abs(y - wrong).max() > 0.1 * np.abs(y).max()


def test_a_preactivation_block() -> None:
    x, block = draw(2, 3, 4, 2), make(RESIDUAL, "full_preactivation")
    variables = random_variables(block, x, seed=1)
    close(apply(block, variables, x), x + reference.preactivation(x, variables["params"]))


# Blocks in a row

SHAPE = (2, 2, 2, 2)
BLOCKS = 3


class Stack:
    """Three blocks of 2x2x2x2 numbers: ours, and the branches of formula (30) or (25) with the same parameters."""

    def __init__(self, shortcut: str, order: str, factors: tuple[float, ...] = ()) -> None:
        self.factors = factors
        self.block, x = make(shortcut, order), draw(*SHAPE)
        self.variables = [random_variables(self.block, x, seed) for seed in range(BLOCKS)]
        branch = {"original": reference.basic, "full_preactivation": reference.preactivation}[order]
        self.branches = [partial(branch, p=v["params"]) for v in self.variables]
        self.x = [jnp.asarray(x)]  # x_0 to x_L, by our code
        for i in range(BLOCKS):
            self.x.append(self.step(self.x[-1], i))

    def step(self, x: Any, i: int) -> Any:
        """Block i; with factors, of a plain pre-activation block, which is its branch: factor * x + branch."""
        y = apply(self.block, self.variables[i], x)
        return y + jnp.asarray(self.factors[i]) * x if self.factors else y

    def gradient(self, weights: Array, first: int) -> Array:
        """The gradient of E = sum(weights * x_L) with respect to x_first, by our code and JAX."""

        def loss(x: Any) -> Any:
            for i in range(first, BLOCKS):
                x = self.step(x, i)
            return (weights * x).sum()

        return np.asarray(jax.grad(loss)(self.x[first]))

    def jacobian(self) -> Array:
        """The Jacobian of x_L with respect to x_0, a row for each element of x_L, by our code and JAX."""

        def last(x: Any) -> Any:
            for i in range(BLOCKS):
                x = self.step(x, i)
            return x

        _, pull = jax.vjp(last, self.x[0])
        rows = np.eye(math.prod(SHAPE)).reshape(-1, *SHAPE)
        return np.stack([np.ravel(pull(jnp.asarray(row))[0]) for row in rows])

    def branch_jacobians(self) -> list[Array]:
        """dF/dx of each block at its own input, by the complex step."""
        return [reference.jacobian(f, np.asarray(x)) for f, x in zip(self.branches, self.x, strict=False)]


@pytest.fixture(scope="module")
def preactivation() -> Stack:
    """Blocks with h and f the identity."""
    with jax.enable_x64(True):
        return Stack(RESIDUAL, "full_preactivation")


@pytest.mark.parametrize("first", range(BLOCKS))
def test_forward_sum(preactivation: Stack, first: int) -> None:
    x = [np.asarray(x) for x in preactivation.x]
    residuals = [f(x_i) for f, x_i in zip(preactivation.branches, x, strict=False)]
    close(x[-1], x[first] + sum(residuals[first:]))


@pytest.mark.parametrize("first", range(BLOCKS))
def test_backward_sum(preactivation: Stack, first: int) -> None:
    def sum_of_residuals(x: Array) -> Array:
        start = x
        for f in preactivation.branches[first:]:
            x = x + f(x)
        return x - start

    at_the_end = draw(*SHAPE, seed=1)  # dE/dx_L
    jacobian = reference.jacobian(sum_of_residuals, np.asarray(preactivation.x[first]))
    expected = at_the_end.ravel() + at_the_end.ravel() @ jacobian
    close(preactivation.gradient(at_the_end, first).ravel(), expected)


@pytest.mark.parametrize("shortcut", [RESIDUAL, PLAIN])
def test_products_of_the_original_blocks(shortcut: str) -> None:
    """With f a ReLU, a factor of the product is its mask times (1 + J); without shortcut, its mask times J."""
    stack = Stack(shortcut, "original")
    product = np.eye(math.prod(SHAPE))
    for jacobian, after in zip(stack.branch_jacobians(), stack.x[1:], strict=True):
        mask = np.diag((np.ravel(after) > 0).astype(float))
        product = mask @ (jacobian + (np.eye(len(mask)) if shortcut == RESIDUAL else 0.0)) @ product
    close(stack.jacobian(), product)


def test_product_written_out_as_a_sum_over_paths(preactivation: Stack) -> None:
    a, b, c = preactivation.branch_jacobians()
    one = np.eye(len(a))
    close(preactivation.jacobian(), one + (a + b + c) + (b @ a + c @ a + c @ b) + c @ b @ a)


@pytest.mark.parametrize("factors", [(0.5, 0.5, 0.5), (2.0, 0.3, 1.5)])
def test_shortcuts_with_a_factor(factors: tuple[float, ...]) -> None:
    stack = Stack(PLAIN, "full_preactivation", factors)  # without shortcut, such a block is its branch
    weights = [math.prod(factors[i + 1 :]) for i in range(BLOCKS)]
    x = [np.asarray(x) for x in stack.x]
    for first in range(BLOCKS):
        scaled = sum(w * f(v) for w, f, v in list(zip(weights, stack.branches, x, strict=False))[first:])
        close(x[-1], math.prod(factors[first:]) * x[first] + scaled)

        def sum_of_scaled(x: Array, first: int = first) -> Array:
            total = np.zeros(SHAPE)
            for i in range(first, BLOCKS):
                residual = stack.branches[i](x)
                total = total + weights[i] * residual
                x = factors[i] * x + residual
            return total

        at_the_end = draw(*SHAPE, seed=1)
        through = at_the_end.ravel() @ reference.jacobian(sum_of_scaled, x[first])
        expected = math.prod(factors[first:]) * at_the_end.ravel() + through
        close(stack.gradient(at_the_end, first).ravel(), expected)


# Many wide layers: 256 channels, 256 images of one pixel, 1x1 convolutions from He's initial values. The formulas are
# of means over infinitely many; the mean square of 256 x 256 correlated numbers deviates from layer to layer by some
# per cent, which 20 layers average out to less than the tolerances.

WIDE, DEEP = 256, 20


def he(rng: np.random.Generator, variance: float = 2.0 / WIDE) -> Any:
    return jnp.asarray(rng.normal(0.0, math.sqrt(variance), (1, 1, WIDE, WIDE)))


def mean_square(x: Any) -> float:
    return float(np.square(np.asarray(x)).mean())


def mean_variance(x: Any) -> float:
    """The variance of a channel over the batch, as BN takes it; the mean over channels."""
    return float(np.asarray(x).var(axis=(0, 1, 2)).mean())


def run(layers: list[Any]) -> tuple[list[Any], list[float]]:
    """x_0, ..., x_L of layers in a row, and the mean squares of the gradients there; the last gradient is random."""
    xs, pulls = [jnp.asarray(draw(WIDE, 1, 1, WIDE))], []
    for layer in layers:
        x, pull = jax.vjp(layer, xs[-1])
        xs.append(x)
        pulls.append(pull)
    g = jnp.asarray(draw(WIDE, 1, 1, WIDE, seed=1))
    squares = [mean_square(g)]
    for pull in reversed(pulls):
        (g,) = pull(g)
        squares.append(mean_square(g))
    return xs, squares[::-1]


@pytest.mark.parametrize("q", [0.5, 1.0, 2.0])
def test_without_normalisation_gradients_decay_or_grow(q: float) -> None:
    rng, conv = np.random.default_rng(0), Conv(WIDE, 1, dtype=F64)
    kernels = [he(rng, variance=2.0 * q / WIDE) for _ in range(DEEP)]
    layers = [lambda x, k=k: nn.relu(conv.apply({"params": {"kernel": k}}, x)) for k in kernels]
    _, gradients = run(layers)
    assert (gradients[0] / gradients[-1]) ** (1 / DEEP) == pytest.approx(q, rel=0.05)


def test_scale_of_the_weights_cancels() -> None:
    x, w, weights, alpha = draw(3, 2, 2, 2), draw(1, 1, 2, 3, seed=1), draw(3, 2, 2, 3, seed=2), 7.0
    conv, norm = Conv(3, 1, dtype=F64), BatchNorm(0.9, 0.0, BatchStatsScope(), F64)  # epsilon 0, so that it is exact
    start = {"params": {"scale": np.ones(3), "bias": np.zeros(3)}}
    start["batch_stats"] = {"mean": np.zeros(3), "var": np.ones(3)}

    def ours(w: Any) -> Any:
        y, _ = norm.apply(start, conv.apply({"params": {"kernel": w}}, x), train=True, mutable=["batch_stats"])
        return (weights * y).sum(), y

    (grads, y), (scaled_grads, scaled_y) = (jax.grad(ours, has_aux=True)(jnp.asarray(k)) for k in (w, alpha * w))
    close(y, reference.batch_norm(reference.conv(x, w), epsilon=0.0))
    close(scaled_y, y)
    formula = reference.gradient(lambda w: (weights * reference.batch_norm(reference.conv(x, w), epsilon=0.0)).sum(), w)
    close(grads, formula)
    close(scaled_grads, formula / alpha)
    close((w * np.asarray(grads)).sum(axis=(0, 1, 2)), 0.0)  # at right angles to the weights of each channel


def test_with_batch_norm_gradients_grow() -> None:
    rng, conv = np.random.default_rng(0), Conv(WIDE, 1, dtype=F64)
    norm = BatchNorm(0.9, EPSILON, BatchStatsScope(), F64)
    start = {"params": {"scale": np.ones(WIDE), "bias": np.zeros(WIDE)}}
    start["batch_stats"] = {"mean": np.zeros(WIDE), "var": np.ones(WIDE)}

    def layer(x: Any, kernel: Any) -> Any:
        y = conv.apply({"params": {"kernel": kernel}}, x)
        return nn.relu(norm.apply(start, y, train=True, mutable=["batch_stats"])[0])

    # The input goes through a ReLU first, so that it is what a layer of the net sees.
    kernels = [he(rng) for _ in range(DEEP)]
    xs, gradients = run([nn.relu, *(partial(layer, kernel=kernel) for kernel in kernels)])
    assert (gradients[1] / gradients[-1]) ** (1 / DEEP) == pytest.approx(GAIN, rel=0.03)
    before = [np.asarray(x) @ np.asarray(kernel[0, 0]) for x, kernel in zip(xs[1:], kernels, strict=False)]
    assert np.mean([mean_variance(y) for y in before]) == pytest.approx(1 - 1 / math.pi, rel=0.05)


def test_in_a_preactivation_net_they_grow_by_a_power_of_depth() -> None:
    rng, block = np.random.default_rng(0), of_convs((1, 1), (WIDE, WIDE), (1, 1), RESIDUAL, "full_preactivation")
    norms = {"scale": np.ones(WIDE), "bias": np.zeros(WIDE)}
    stats = {"mean": np.zeros(WIDE), "var": np.ones(WIDE)}

    def layer(x: Any, kernels: tuple[Any, Any]) -> Any:
        params = {"norm1": norms, "norm2": norms, "conv1": {"kernel": kernels[0]}, "conv2": {"kernel": kernels[1]}}
        return apply(block, {"params": params, "batch_stats": {"norm1": stats, "norm2": stats}}, x)

    xs, gradients = run([partial(layer, kernels=(he(rng), he(rng))) for _ in range(DEEP)])
    squares, variances = [mean_square(x) for x in xs], [mean_variance(x) for x in xs]
    before = np.arange(DEEP + 1)  # blocks before each x
    # Each block adds a mean square of 1, and to the variance over the batch 1 - 1 / pi.
    np.testing.assert_allclose(squares, squares[0] + before, rtol=0.05)
    growing = variances[0] + before * (1 - 1 / math.pi)
    np.testing.assert_allclose(variances, growing, rtol=0.05)
    expected = 1 + GAIN / growing[:-1]
    np.testing.assert_allclose(np.divide(gradients[:-1], gradients[1:]), expected, rtol=0.05)
    assert gradients[0] / gradients[-1] == pytest.approx(np.prod(expected), rel=0.1)
    # A plain net of as many convolutions is far beyond.
    assert np.prod(expected) < 0.01 * GAIN ** (2 * DEEP)
