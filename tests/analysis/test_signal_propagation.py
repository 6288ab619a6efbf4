"""Forward variance and autocorrelation, against NumPy and closed forms."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.analysis.modules import block_outputs, with_statistics_of
from resnet_jax.analysis.signal_propagation import (
    activations,
    autocorrelation,
    forward_variance,
    lagged_products,
    outputs,
)
from tests.analysis.reference import NumPyNet, examples, small


@pytest.mark.usefixtures("x64")
def test_statistics_of_a_batch_held_fixed_give_its_train_mode() -> None:
    model, variables = small(14)
    images, _ = examples(6)
    fixed = jax.jit(partial(with_statistics_of, model))(variables, images)
    assert outputs(model, fixed, images).names == ["stem", *(f"stage{i}_block{j}" for i in (1, 2, 3) for j in (1, 2))]
    ours = jax.jit(lambda v: activations(model, v, images))(fixed)
    theirs = jax.jit(lambda v: list(block_outputs(model, v, images, train=True).values()))(variables)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, np.asarray(b).reshape(a.shape), rtol=1e-12, atol=1e-12)
    net = NumPyNet(model, variables, train=True)
    net(images)
    stem = np.maximum(net.responses["stem_conv"], 0.0)
    assert forward_variance(model, fixed, images)[0] == pytest.approx(stem.var(), rel=1e-12)


@pytest.mark.usefixtures("x64")
def test_autocorrelation_of_known_sequences() -> None:
    points, lags = 400, 5
    t = np.arange(points)
    wave = np.cos(2 * np.pi * t / 20)  # twenty whole periods: its mean is zero
    noise = np.random.default_rng(0).standard_normal((points, 1000))
    products = lagged_products(jnp.asarray(wave[:, None]), lags)
    # Of a cosine: cos(2 pi k / 20), times the share of points that have a partner; the k that have none keep the other
    # term of cos a cos b, a cosine too, from vanishing, by k / points at most.
    expected = np.cos(2 * np.pi * np.arange(lags + 1) / 20) * (1 - np.arange(lags + 1) / points)
    np.testing.assert_allclose(products / products[0], expected, atol=lags / points)
    products = lagged_products(jnp.asarray(noise), lags)
    # White: each of 400,000 products has variance 1.
    np.testing.assert_allclose(products[1:] / products[0], 0.0, atol=5 / np.sqrt(noise.size) + 1 / points)
    apart = noise[:, 0] - noise[:, 0].mean()
    by_hand = [sum(apart[i] * apart[i + k] for i in range(points - k)) for k in range(lags + 1)]
    np.testing.assert_allclose(lagged_products(jnp.asarray(noise[:, :1]), lags), by_hand, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("x64")
def test_autocorrelation_of_a_net_is_that_of_differences_along_the_line() -> None:
    model, variables = small(8)
    images, _ = examples(4)
    fixed = jax.jit(partial(with_statistics_of, model))(variables, images)
    points, lags = 33, 3
    compiled = jax.jit(lambda x: activations(model, fixed, x))
    found = autocorrelation(model, fixed, images[:2], images[2:], points, lags)
    sums = np.zeros((4, lags + 1))
    for start, end in zip(images[:2], images[2:], strict=True):
        t, step = np.linspace(0.0, 1.0, points).reshape(-1, 1, 1, 1), 1e-7
        ahead, behind = (compiled(start + (t + h) * (end - start)) for h in (step, -step))
        for i, (a, b) in enumerate(zip(ahead, behind, strict=True)):
            d = np.asarray(a - b) / (2 * step)
            d = d - d.mean(0)
            sums[i] += [np.vdot(d[: points - k], d[k:]) for k in range(lags + 1)]
    # Where a ReLU's kink lies between two of the points that are compared, the difference is off: nowhere here.
    np.testing.assert_allclose(found, sums / sums[:, :1], rtol=1e-5, atol=1e-6)
    assert found.shape == (4, lags + 1)
    linear, variables = small(8, activation_order="full_preactivation")
    found = autocorrelation(linear, variables, images[:2], images[2:], points, lags)
    assert np.isnan(found[0]).all()  # the stem, one convolution
    assert np.isfinite(found[1:]).all()
