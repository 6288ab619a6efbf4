"""Convolution and batch norm against NumPy, in float64."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.models.layers import BatchNorm, BatchStatsScope, Conv, he_normal, head_uniform

pytestmark = pytest.mark.usefixtures("x64")
F64 = jnp.float64


def naive_conv(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Cross-correlation with symmetric zero padding, by its definition."""
    k, pad = kernel.shape[0], (kernel.shape[0] - 1) // 2
    n, h, w, _ = x.shape
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    rows, columns = range(0, h, stride), range(0, w, stride)
    out = np.zeros((n, len(rows), len(columns), kernel.shape[-1]))
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            out[:, i, j] = np.einsum("nabc,abcd->nd", padded[:, row : row + k, column : column + k], kernel)
    return out


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2), (7, 2)])
@pytest.mark.parametrize("size", [8, 7])
def test_conv_equals_its_definition(kernel: int, stride: int, size: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, size, size, 3))
    conv = Conv(features=4, kernel=kernel, stride=stride, dtype=F64)
    variables = conv.init(jax.random.key(0), x)
    weights = np.asarray(variables["params"]["kernel"])
    np.testing.assert_allclose(conv.apply(variables, x), naive_conv(x, weights, stride), rtol=1e-12, atol=1e-12)


def norm(groups: int = 1) -> BatchNorm:
    return BatchNorm(momentum=0.9, epsilon=1e-5, stats_scope=BatchStatsScope(groups), dtype=F64)


def variables_for(channels: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    draw = lambda: rng.uniform(0.5, 2.0, channels)  # noqa: E731
    return {"params": {"scale": draw(), "bias": draw()}, "batch_stats": {"mean": draw(), "var": draw()}}


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_batch_norm_in_train_mode(groups: int) -> None:
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(8, 5, 4, 3))
    variables = variables_for(3)
    y, updated = norm(groups).apply(variables, x, train=True, mutable=["batch_stats"])
    parts = np.split(x, groups)
    means = [p.reshape(-1, 3).mean(0) for p in parts]
    vars_ = [p.reshape(-1, 3).var(0) for p in parts]  # biased
    scale, bias = variables["params"]["scale"], variables["params"]["bias"]
    expected = [(p - m) / np.sqrt(v + 1e-5) * scale + bias for p, m, v in zip(parts, means, vars_, strict=True)]
    np.testing.assert_allclose(y, np.concatenate(expected), rtol=1e-12)
    for name, batch in (("mean", means), ("var", vars_)):
        old = variables["batch_stats"][name]
        np.testing.assert_allclose(updated["batch_stats"][name], 0.9 * old + 0.1 * np.mean(batch, axis=0), rtol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norms_derivatives_are_those_of_its_definition(groups: int) -> None:
    """The layer states its own derivative; automatic differentiation of the definition knows nothing of that.

    First derivatives forward and in reverse, and the second ones by both orders of the two.
    """
    rng = np.random.default_rng(0)
    variables = variables_for(3)
    x, dx, weight = (jnp.asarray(rng.normal(3.0, 2.0, size=(4, 3, 2, 3))) for _ in range(3))
    inputs = (variables["params"], x)
    direction = ({"scale": jnp.asarray([0.3, -1.0, 2.0]), "bias": jnp.asarray([1.0, 0.5, -0.2])}, dx)

    def layer(params: Any, x: jax.Array) -> jax.Array:
        y, _ = norm(groups).apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return (weight * jnp.sin(y)).sum()

    def definition(params: Any, x: jax.Array) -> jax.Array:
        parts = x.reshape(groups, -1, *x.shape[1:])
        mean, var = parts.mean((1, 2, 3), keepdims=True), parts.var((1, 2, 3), keepdims=True)
        y = ((parts - mean) / jnp.sqrt(var + 1e-5)).reshape(x.shape) * params["scale"].reshape(1, 1, 1, -1)
        y = y + params["bias"].reshape(1, 1, 1, -1)
        return (weight * jnp.sin(y)).sum()

    def derivatives(f: Any) -> Any:
        gradient = jax.grad(f, argnums=(0, 1))
        along = lambda *at: jax.jvp(f, at, direction)[1]  # noqa: E731
        return gradient(*inputs), along(*inputs), jax.jvp(gradient, inputs, direction), jax.grad(along, (0, 1))(*inputs)

    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)  # noqa: E731
    jax.tree.map(close, derivatives(layer), derivatives(definition))


def test_batch_norm_in_eval_mode_uses_running_statistics_and_keeps_them() -> None:
    x = np.random.default_rng(0).normal(size=(8, 5, 4, 3))
    variables = variables_for(3)
    y, updated = norm().apply(variables, x, train=False, mutable=["batch_stats"])
    mean, var = variables["batch_stats"]["mean"], variables["batch_stats"]["var"]
    expected = (x - mean) / np.sqrt(var + 1e-5) * variables["params"]["scale"] + variables["params"]["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    jax.tree.map(np.testing.assert_array_equal, updated["batch_stats"], variables["batch_stats"])


def test_initialising_leaves_the_running_statistics_at_their_start() -> None:
    variables = norm().init(jax.random.key(0), jnp.full((4, 2, 2, 3), 7.0, F64), train=True)
    np.testing.assert_array_equal(variables["batch_stats"]["mean"], 0.0)
    np.testing.assert_array_equal(variables["batch_stats"]["var"], 1.0)


def test_variance_survives_a_large_mean_in_float32() -> None:
    # E[x^2] - E[x]^2 would lose every digit here: 1e4 squared has no room for 1 in float32's 24 bits.
    x = np.random.default_rng(0).normal(1e4, 1.0, size=(64, 8, 8, 1)).astype(np.float32)
    module = BatchNorm(0.0, 1e-5, BatchStatsScope(), jnp.float32)
    variables = module.init(jax.random.key(0), x, train=False)
    _, updated = module.apply(variables, x, train=True, mutable=["batch_stats"])
    # x itself is rounded to 1e4 * 2^-24 = 6e-4, which is what remains.
    np.testing.assert_allclose(updated["batch_stats"]["var"], np.var(x.astype(np.float64)), rtol=2e-3)


@pytest.mark.parametrize("shape", [(3, 3, 1, 16), (7, 7, 3, 64), (1, 1, 512, 256)], ids=str)
def test_initial_values_are_jaxs_own(shape: tuple[int, ...]) -> None:
    """Drawn in other lengths than JAX's initializers draw, the last in more than the shortest.

    jax 0.10 scales them in our order, to the bit; jax 0.12 in another, with two roundings that may differ.
    """
    key = jax.random.key(3)
    gaussian = nn.initializers.variance_scaling(2.0, "fan_out", "normal")(key, shape, jnp.float32)
    np.testing.assert_array_max_ulp(np.asarray(he_normal(key, shape, jnp.float32)), np.asarray(gaussian), maxulp=2)
    uniform = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")(key, shape[2:], jnp.float32)
    np.testing.assert_array_max_ulp(
        np.asarray(head_uniform(key, shape[2:], jnp.float32)), np.asarray(uniform), maxulp=2
    )
