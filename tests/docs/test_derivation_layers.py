"""Formulas (1) to (23) of docs/derivation.md, computed in float64 with NumPy, against the functions they name."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.config import ModelConfig
from resnet_jax.models import cost
from resnet_jax.models.conv import conv2d, taps
from resnet_jax.models.layers import BatchNorm, BatchStatsScope, he_normal, head_uniform
from resnet_jax.models.resnet import build
from resnet_jax.training.losses import cross_entropy
from tests.docs import reference
from tests.docs.reference import EPSILON, Array

pytestmark = pytest.mark.usefixtures("x64")
close = partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-11)
F64: Any = jnp.float64
MOMENTUM = 0.9


def draw(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def norm(groups: int = 1) -> BatchNorm:
    return BatchNorm(MOMENTUM, EPSILON, BatchStatsScope(groups), F64)


def norm_variables(channels: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    values = lambda: rng.uniform(0.5, 2.0, channels)  # noqa: E731
    return {
        "params": {"scale": values(), "bias": values()},
        "batch_stats": {"mean": values(), "var": values()},
    }


def train(groups: int, variables: Any, x: Any) -> tuple[Any, Any]:
    """Output and new running statistics."""
    y, updated = norm(groups).apply(variables, x, train=True, mutable=["batch_stats"])
    return y, updated["batch_stats"]


# Convolution


@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (1, 2)])
def test_convolution(kernel: int, stride: int) -> None:
    """By the sum as it is written, an element at a time."""
    x, w, pad = draw(1, 8, 9, 2), draw(kernel, kernel, 2, 3, seed=1), (kernel - 1) // 2
    y = np.asarray(conv2d(x, w, stride=stride, pad=pad))
    expected = np.zeros(y.shape)
    for n, p, q, f in np.ndindex(*y.shape):
        for i, j, c in np.ndindex(kernel, kernel, 2):
            row, column = stride * p + i - pad, stride * q + j - pad
            if 0 <= row < 8 and 0 <= column < 9:  # outside x is zero
                expected[n, p, q, f] += w[i, j, c, f] * x[n, row, column, c]
    close(y, expected)
    close(reference.conv(x, w, stride), expected)  # what the other tests rely on


@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(7, 2, 3), (3, 2, 1), (3, 1, 1), (1, 2, 0), (5, 3, 2), (4, 2, 1)]
)
def test_output_size(kernel: int, stride: int, pad: int) -> None:
    """By counting where the window fits."""
    for size in (*range(4, 20), 224):
        fits = sum(1 for start in range(0, size + 2 * pad - kernel + 1) if start % stride == 0)
        assert fits == (size + 2 * pad - kernel) // stride + 1
        if kernel % 2 == 1 and pad == (kernel - 1) // 2:
            assert fits == -(-size // stride)
        shapes = [jax.ShapeDtypeStruct(shape, F64) for shape in ((1, size, size, 1), (kernel, kernel, 1, 1))]
        assert jax.eval_shape(partial(conv2d, stride=stride, pad=pad), *shapes).shape == (1, fits, fits, 1)


def test_a_bias_before_batch_norm_cancels() -> None:
    x, w, b, weights = draw(4, 6, 6, 2), draw(3, 3, 2, 3, seed=1), draw(3, seed=2), draw(4, 6, 6, 3, seed=3)
    variables = norm_variables(3)
    without = conv2d(x, w, stride=1, pad=1)
    y, stats = train(1, variables, without)
    shifted = reference.batch_norm(reference.conv(x, w) + b, variables["params"]["scale"], variables["params"]["bias"])
    close(y, shifted)
    # The running mean takes the bias up, so that it cancels in eval mode as well.
    _, with_bias = train(1, variables, without + b.reshape(1, 1, 1, -1))
    close(with_bias["mean"] - stats["mean"], (1 - MOMENTUM) * b)
    close(with_bias["var"], stats["var"])
    # And its gradient is zero, so that training leaves it where it is.
    loss = lambda b: (weights * train(1, variables, without + b.reshape(1, 1, 1, -1))[0]).sum()  # noqa: E731
    close(jax.grad(loss)(jnp.asarray(b)), 0.0)
    close(reference.gradient(lambda b: (weights * reference.batch_norm(reference.conv(x, w) + b)).sum(), b), 0.0)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (7, 2)])
def test_gradients_of_a_convolution(kernel: int, stride: int) -> None:
    """By the sums as they are written, and by the complex step."""
    x, w, pad = draw(2, 5, 6, 2), draw(kernel, kernel, 2, 3, seed=1), (kernel - 1) // 2
    y, pull = jax.vjp(partial(conv2d, stride=stride, pad=pad), jnp.asarray(x), jnp.asarray(w))
    dy = draw(*y.shape, seed=2)
    input_gradient, kernel_gradient = np.zeros(x.shape), np.zeros(w.shape)
    for i, j, p, q in np.ndindex(kernel, kernel, *dy.shape[1:3]):
        row, column = stride * p + i - pad, stride * q + j - pad
        if 0 <= row < 5 and 0 <= column < 6:
            input_gradient[:, row, column] += dy[:, p, q] @ w[i, j].T
            kernel_gradient[i, j] += x[:, row, column].T @ dy[:, p, q]
    for ours, formula in zip(pull(jnp.asarray(dy)), (input_gradient, kernel_gradient), strict=True):
        close(ours, formula)
    close(reference.gradient(lambda x: (dy * reference.conv(x, w, stride)).sum(), x), input_gradient)
    close(reference.gradient(lambda w: (dy * reference.conv(x, w, stride)).sum(), w), kernel_gradient)


@pytest.mark.parametrize("stride", [1, 2])
def test_kernel_gradient_by_taps_on_both_sides(stride: int) -> None:
    """Every column tap of x times every row tap of dy, over the rows of one phase of the stride."""
    size, pad, (n, h, w, c, f) = 3, 1, (2, 6, 8, 2, 3)
    x, dy = draw(n, h, w, c), draw(n, h // stride, w // stride, f, seed=1)
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (0, 0)))
    expected = np.zeros((size, size, c, f))
    for i in range(size):
        shift, phase = divmod(i - pad, stride)
        for row in range(h // stride):  # of this phase; dy is read `shift` rows before
            if 0 <= row - shift < dy.shape[1]:
                for j in range(size):
                    tap = padded[:, phase + stride * row, j : j + stride * (dy.shape[2] - 1) + 1 : stride]
                    expected[i, j] += np.einsum("nqc,nqf->cf", tap, dy[:, row - shift])
    found = taps.kernel_gradient(jnp.asarray(x), jnp.asarray(dy), stride=stride, pad=pad, size=size, groups=1)
    close(found, expected)
    kernel = np.zeros((size, size, c, f))
    close(reference.gradient(lambda k: (dy * reference.conv(x, k, stride)).sum(), kernel), expected)


def test_cost_of_a_convolution() -> None:
    """The first layer of an ImageNet net, by counting what the sum of formula (1) runs over."""
    stem = cost.layers(ModelConfig(family="imagenet", depth=152, shortcut="B", num_classes=1000), (224, 224, 3))[0]
    taps = len([(i, j, c) for i in range(7) for j in range(7) for c in range(3)])
    assert stem.output == (112, 112, 64)
    assert stem.parameters == taps * 64 == 9_408
    assert stem.multiply_adds == 112 * 112 * 64 * taps == 118_013_952


# Initial values


@pytest.mark.parametrize(("c", "f"), [(8, 4096), (4096, 8)], ids=["forward", "backward"])
def test_variances_through_a_convolution(c: int, f: int) -> None:
    """Mean squares of one pixel's outputs and of its gradients, over thousands of channels with their own weights."""
    rng = np.random.default_rng(0)
    x, dy, variance = relu_of_normal(rng, (1, 3, 3, c)), rng.normal(size=(1, 3, 3, f)), 0.01
    w = rng.normal(0.0, np.sqrt(variance), (3, 3, c, f))
    y, pull = jax.vjp(lambda x: conv2d(x, w, stride=1, pad=1), jnp.asarray(x))
    (dx,) = pull(jnp.asarray(dy))
    # In the middle of 3x3 pixels, where no tap falls on the padding. Relative deviation of a mean of 4,096 squares of
    # normal numbers: sqrt(2 / 4096) = 2.2 %; five of them.
    found = np.square(y[0, 1, 1]).mean() if f > c else np.square(dx[0, 1, 1]).mean()
    expected = variance * (9 * c * np.square(x).mean() if f > c else 9 * f * np.square(dy).mean())
    assert found == pytest.approx(expected, rel=0.11)


def relu_of_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.maximum(rng.normal(size=shape), 0.0)


def test_he_initialisation() -> None:
    # ReLU halves the mean square: of a million normal numbers, to 0.22 % (the deviation of a mean of such squares).
    assert np.square(relu_of_normal(np.random.default_rng(0), (10**6,))).mean() == pytest.approx(0.5, rel=0.011)
    kernel = np.asarray(he_normal(jax.random.key(0), (3, 3, 128, 256), F64))  # 294,912 numbers: variance to 0.26 %
    assert kernel.var() == pytest.approx(2 / (9 * 256), rel=0.013)
    assert abs(kernel.mean()) < 5 * np.sqrt(2 / (9 * 256) / kernel.size)


def test_initial_values_of_the_last_layer() -> None:
    kernel = np.asarray(head_uniform(jax.random.key(0), (256, 1000), F64))
    bound = 1 / np.sqrt(256)
    assert np.abs(kernel).max() == pytest.approx(bound, rel=1e-4)
    assert np.abs(kernel).max() <= bound
    # The square of a uniform number deviates by sqrt(4 / 45) / (1 / 3) = 0.89 of its mean: 0.18 % of 256,000.
    assert kernel.var() == pytest.approx(1 / (3 * 256), rel=0.009)


# Batch normalisation


def test_batch_statistics_and_normalisation() -> None:
    x, variables = 3.0 + 2.0 * draw(4, 3, 5, 2), norm_variables(2)
    y, _ = train(1, variables, x)
    scale, bias = variables["params"]["scale"], variables["params"]["bias"]
    for c in range(2):
        values = x[..., c].ravel()  # N H W numbers
        m = len(values)
        mean = sum(values) / m
        variance = sum((v - mean) ** 2 for v in values) / m
        close(y[..., c], scale[c] * (x[..., c] - mean) / np.sqrt(variance + EPSILON) + bias[c])
    close(y, reference.batch_norm(x, scale, bias))


def test_running_statistics() -> None:
    """Step by step in both conventions, and as one weighted sum."""
    variables, batches = norm_variables(2), [draw(3, 2, 2, 2, seed=s) for s in range(4)]
    start = {name: value.copy() for name, value in variables["batch_stats"].items()}
    statistics = {
        "mean": [x.mean(axis=(0, 1, 2)) for x in batches],
        "var": [x.var(axis=(0, 1, 2)) for x in batches],
    }
    theirs = dict(start)
    for t, x in enumerate(batches, start=1):
        _, variables["batch_stats"] = train(1, variables, x)
        for name, seen in statistics.items():
            theirs[name] = (1 - 0.1) * theirs[name] + 0.1 * seen[t - 1]  # PyTorch's momentum, 0.1
            close(variables["batch_stats"][name], theirs[name])
            total = MOMENTUM**t * start[name]
            total += (1 - MOMENTUM) * sum(MOMENTUM ** (t - s) * b for s, b in enumerate(seen[:t], start=1))
            close(variables["batch_stats"][name], total)


def test_inference_is_one_affine_map() -> None:
    x, variables = draw(3, 2, 2, 4), norm_variables(4)
    y, after = norm().apply(variables, x, train=False, mutable=["batch_stats"])
    p, s = variables["params"], variables["batch_stats"]
    factor = p["scale"] / np.sqrt(s["var"] + EPSILON)
    close(y, factor * x + (p["bias"] - factor * s["mean"]))
    for name, value in s.items():
        np.testing.assert_array_equal(after["batch_stats"][name], value)
    # One image alone gives the same: nothing depends on the rest of a batch.
    close(norm().apply(variables, x[:1], train=False), np.asarray(y)[:1])


def test_biased_and_unbiased_variance() -> None:
    """This project and Flax keep the biased one; PyTorch's is looked at in tests/parity."""
    x, variables = draw(2, 3, 3, 2), norm_variables(2)
    m = 2 * 3 * 3
    biased, unbiased = x.var(axis=(0, 1, 2)), x.var(axis=(0, 1, 2), ddof=1)
    close(unbiased, m / (m - 1) * biased)
    expected = MOMENTUM * variables["batch_stats"]["var"] + (1 - MOMENTUM) * biased
    close(train(1, variables, x)[1]["var"], expected)
    flax = nn.BatchNorm(use_running_average=False, momentum=MOMENTUM, epsilon=EPSILON, dtype=F64, param_dtype=F64)
    with jax.numpy_dtype_promotion("standard"):  # Flax promotes float64 and float32 on the way
        _, updated = flax.apply(variables, jnp.asarray(x), mutable=["batch_stats"])
    close(updated["batch_stats"]["var"], expected)


def test_groups_of_images() -> None:
    x, variables = draw(6, 2, 2, 3) + np.arange(6).reshape(6, 1, 1, 1), norm_variables(3)
    y, stats = train(3, variables, x)
    groups = np.split(x, 3)
    p, old = variables["params"], variables["batch_stats"]
    close(y, np.concatenate([reference.batch_norm(g, p["scale"], p["bias"]) for g in groups]))
    means, variances = ([getattr(g, what)(axis=(0, 1, 2)) for g in groups] for what in ("mean", "var"))
    close(stats["mean"], MOMENTUM * old["mean"] + (1 - MOMENTUM) * np.mean(means, axis=0))
    close(stats["var"], MOMENTUM * old["var"] + (1 - MOMENTUM) * np.mean(variances, axis=0))
    # What it leaves out of the whole batch's variance: that of the groups' means.
    close(x.var(axis=(0, 1, 2)), np.mean(variances, axis=0) + np.var(means, axis=0))


def test_gradient_through_batch_norm() -> None:
    x, dy, variables = draw(2, 2, 3, 2), draw(2, 2, 3, 2, seed=1), norm_variables(2)
    scale, bias = variables["params"]["scale"], variables["params"]["bias"]

    def ours(x: Any, scale: Any, bias: Any) -> Any:
        changed = {"params": {"scale": scale, "bias": bias}, "batch_stats": variables["batch_stats"]}
        return (dy * train(1, changed, x)[0]).sum()

    found = jax.grad(ours, (0, 1, 2))(*map(jnp.asarray, (x, scale, bias)))
    axes = (0, 1, 2)
    deviation = np.sqrt(x.var(axis=axes) + EPSILON)
    normalised = (x - x.mean(axis=axes)) / deviation
    dx = scale / deviation * (dy - dy.mean(axis=axes) - normalised * (dy * normalised).mean(axis=axes))
    for got, formula in zip(found, (dx, (dy * normalised).sum(axis=axes), dy.sum(axis=axes)), strict=True):
        close(got, formula)
    close(reference.gradient(lambda x: (dy * reference.batch_norm(x, scale, bias)).sum(), x), dx)


# The end of the net, and the loss

NET = ModelConfig(depth=8, width=2, dtype="float64", num_classes=5)


@pytest.fixture(scope="module")
def end() -> dict[str, Array]:
    """A net's last feature map, logits and gradients of its mean loss, from random variables."""
    with jax.enable_x64(True):
        model, images, labels = build(NET), jnp.asarray(draw(4, 8, 8, 1)), jnp.asarray([0, 3, 1, 3], jnp.int32)
        shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
        rng = np.random.default_rng(2)
        variables = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.1, 1.0, leaf.shape)), shapes)
        kernel = variables["params"]["head"]["kernel"]
        variables["params"]["head"]["kernel"] = jnp.asarray(rng.normal(size=kernel.shape))
        logits, seen = model.apply(
            variables, images, train=False, capture_intermediates=True, mutable=["intermediates"]
        )

        def loss(head: Any, shift: Any) -> Any:
            params = dict(variables["params"], head=head)
            block = params["stage3_block1"]
            params["stage3_block1"] = dict(block, norm2=dict(block["norm2"], bias=shift))
            return cross_entropy(model.apply({**variables, "params": params}, images, train=False), labels).mean()

        params = variables["params"]
        grads = jax.grad(loss, (0, 1))(params["head"], params["stage3_block1"]["norm2"]["bias"])
        return {
            "map": np.asarray(seen["intermediates"]["stage3_block1"]["__call__"][0]),
            "kernel": np.asarray(params["head"]["kernel"]),
            "bias": np.asarray(params["head"]["bias"]),
            "logits": np.asarray(logits),
            "labels": np.asarray(labels),
            "kernel gradient": np.asarray(grads[0]["kernel"]),
            "bias gradient": np.asarray(grads[0]["bias"]),
            "shift gradient": np.asarray(grads[1]),
        }


def softmax(logits: Array) -> Array:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_average_pooling_and_the_last_layer(end: dict[str, Array]) -> None:
    n, h, w, c = end["map"].shape
    assert (n, h, w, c) == (4, 2, 2, 8)
    pooled = sum(end["map"][:, p, q] for p in range(h) for q in range(w)) / (h * w)
    close(end["logits"], pooled @ end["kernel"] + end["bias"])
    # Backward, from the gradient of the mean loss with respect to the logits.
    dz = (softmax(end["logits"]) - np.eye(5)[end["labels"]]) / n
    close(end["kernel gradient"], pooled.T @ dz)
    close(end["bias gradient"], dz.sum(axis=0))
    # Every pixel gets the same share. The last BN's bias shifts all of a channel's pixels that its ReLU lets through.
    share = (dz @ end["kernel"].T / (h * w)).reshape(n, 1, 1, c)
    close(end["shift gradient"], ((end["map"] > 0) * share).sum(axis=(0, 1, 2)))


def test_cross_entropy_and_its_gradient() -> None:
    logits, labels = 3.0 * draw(4, 6), np.array([0, 5, 2, 2], np.int32)
    expected = [np.log(np.exp(z).sum()) - z[label] for z, label in zip(logits, labels, strict=True)]
    close(cross_entropy(jnp.asarray(logits), jnp.asarray(labels)), expected)
    close(-np.log(softmax(logits)[range(4), labels]), expected)
    found = jax.grad(lambda z: cross_entropy(z, jnp.asarray(labels)).mean())(jnp.asarray(logits))
    close(found, (softmax(logits) - np.eye(6)[labels]) / 4)
    # Equal logits: log K nats. Large ones: no overflow.
    close(cross_entropy(jnp.zeros((1, 10)), jnp.asarray([3], jnp.int32)), np.log(10.0))
    close(cross_entropy(jnp.asarray([[1000.0, 0.0]]), jnp.asarray([1], jnp.int32)), 1000.0)
